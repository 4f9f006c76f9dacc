package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestManyNames: a kernel is found among tens of thousands of names.
func TestManyNames(t *testing.T) {
	files := map[string]string{"boot/vmlinuz-6.1": "", "boot/initrd.img-6.1": ""}
	for i := range 25_000 {
		files[fmt.Sprintf("boot/a%05d", i)] = ""
	}
	l := lookAt(files)
	l.kernels()
	l.config()
	l.finish()
	if g := l.guest; !slices.Equal(g.Kernels, []string{"6.1"}) || len(g.Initrds) != 1 || len(g.Config.Boot) != len(files) || len(g.Config.Unread) > 0 {
		t.Errorf("kernels %q, %d initrds, %d names, unread %q; want 6.1 with its initrd, %d names and nothing unread", g.Kernels, len(g.Initrds), len(g.Config.Boot), g.Config.Unread, len(files))
	}
}

// unlistable is a root whose /boot can't be listed.
type unlistable struct{ fstest.MapFS }

func (u unlistable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "boot" {
		return nil, errors.New("a directory of 9000000 bytes ; the limit is 8")
	}
	return u.MapFS.ReadDir(name)
}

// TestUnlisted: a directory that can't be listed isn't an empty one.
func TestUnlisted(t *testing.T) {
	l := lookAt(nil)
	l.tree.mounts["."] = unlistable{fstest.MapFS{"boot/vmlinuz-6.1": {}}}
	l.tree.unlisted = func(err error) { l.unread("%v", err) }
	l.kernels()
	l.finish()
	const want = "/boot: a directory of 9000000 bytes ; the limit is 8"
	if !slices.Equal(l.guest.Config.Unread, []string{want}) || !slices.Equal(l.guest.Notes, []string{want}) {
		t.Errorf("unread %q, notes %q; want %q in both", l.guest.Config.Unread, l.guest.Notes, want)
	}
}

// TestCut: what isn't read to its end is told, and decides nothing.
func TestCut(t *testing.T) {
	many := func(n int, name, text string) map[string]string {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf(name, i)] = text
		}
		return files
	}
	status := strings.Builder{}
	for i := range 50_001 {
		fmt.Fprintf(&status, "Package: p%d\nStatus: install ok installed\nVersion: 1\n\n", i)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		look  func(l *look)
		want  string
	}{
		{"kernels", many(maxKernels+1, "boot/vmlinuz-6.%d", ""), (*look).kernels, "/boot holds 1001 kernels, of which only the newest 1000 are read"},
		{"units", many(maxFew+1, "etc/systemd/system/a%04d.mount", ""), func(l *look) { l.unitFiles() }, "there are 2001 files like /etc/systemd/system/a2000.mount, of which only the first 2000 are read"},
		{
			"bytes", many(20, "etc/initramfs-tools/conf.d/%02d", strings.Repeat("#", maxFile)), func(l *look) { l.resumeFiles() },
			"there are 21 files like /etc/initramfs-tools/conf.d/16, of which only the first 17 are read",
		},
		{"packages", map[string]string{"var/lib/dpkg/status": status.String()}, (*look).config, "/var/lib/dpkg/status: more than 50000 packages are installed"},
		{"directories of GRUB", many(maxBelow, "boot/grub/%04d/x", ""), (*look).config, "there are more than 1000 directories in /boot/grub and similar places: what is immutable (chattr +i) in the rest isn't known"},
	} {
		l := lookAt(tt.files)
		tt.look(l)
		l.finish()
		if !slices.Equal(l.guest.Config.Unread, []string{tt.want}) || !slices.Equal(l.guest.Notes, []string{tt.want}) {
			t.Errorf("%s: unread %q, notes %q; want %q in both", tt.name, l.guest.Config.Unread, l.guest.Notes, tt.want)
		}
	}
}

// TestManyNeeds: all lines of a long fstab count, and so does a saved entry of
// GRUB's beyond hundreds.
func TestManyNeeds(t *testing.T) {
	fstab := strings.Builder{}
	for i := range 1000 {
		fmt.Fprintf(&fstab, "/dev/sdb%d /srv/%d ext4 defaults 0 2\n", i+1, i)
	}
	l := lookAt(map[string]string{"etc/fstab": fstab.String()})
	if l.fstab(); len(l.guest.Config.Needs) != 1000 {
		t.Errorf("%d volumes are needed; want 1000", len(l.guest.Config.Needs))
	}
	files := map[string]string{"boot/grub2/grubenv": "# GRUB Environment Block\nsaved_entry=old\n", "boot/loader/entries/old.conf": "title old\nversion 1\nlinux /vmlinuz-1\noptions root=/dev/old\n"}
	for i := range 300 {
		files[fmt.Sprintf("boot/loader/entries/x-%d.conf", i+2)] = fmt.Sprintf("title x\nversion %d\nlinux /vmlinuz-%d\noptions root=/dev/new\n", i+2, i+2)
	}
	l = lookAt(files)
	if l.bootLoader(); !strings.Contains(l.guest.Cmdline, "root=/dev/old") {
		t.Errorf("the default entry's command line is %q; want that of the saved one", l.guest.Cmdline)
	}
}

// TestManySystems: titles that aren't listed are told of.
func TestManySystems(t *testing.T) {
	l := lookAt(nil)
	l.root = &volume{}
	var menu strings.Builder
	for i := range maxTitles + 2 {
		fmt.Fprintf(&menu, "menuentry 'other %d' {\n\tchainloader +1\n}\n", i)
	}
	l.tree.mounts["."] = fstest.MapFS{"boot/grub/grub.cfg": {Data: []byte(menu.String())}}
	l.starts()
	want := []string{"the boot menu starts more than 16 other systems; the first are listed"}
	if len(l.guest.OtherSystems) != maxTitles || !slices.Equal(l.guest.Notes, want) {
		t.Errorf("%d systems, notes %q; want %d, %q", len(l.guest.OtherSystems), l.guest.Notes, maxTitles, want)
	}
}

// TestSpent: a disk that costs more than may be read decides nothing.
func TestSpent(t *testing.T) {
	g := &guarded{}
	if err := g.admit(maxRead); err != nil || g.spent() {
		t.Errorf("admit(%d) = %v, spent %v; want it admitted", maxRead, err, g.spent())
	}
	if err := g.admit(1); err == nil || !g.spent() {
		t.Errorf("a byte more: %v, spent %v; want no more", err, g.spent())
	}
}
