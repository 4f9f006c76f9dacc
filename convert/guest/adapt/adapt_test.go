package adapt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/convert/guest/initrd"
	"esxodus/convert/guest/inspect"
	"esxodus/convert/guest/nics"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/lilo/conf"
	"esxodus/convert/lilo/guestfiles"
	"esxodus/disk"
	"esxodus/inventory"
)

var update = flag.Bool("update", false, "write what is as what is wanted")

// image is a file as an image.
type image struct {
	*os.File
	size int64
}

func (f image) Size() int64 { return f.size }

func (f image) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) { yield(disk.Extent{Length: f.size}, nil) }
}

func tool(tb testing.TB, argv ...string) {
	tb.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" && os.Getenv("ESXODUS_NEED_TOOLS") == "" && strings.Contains(err.Error(), "not found") {
			tb.Skip(err)
		}
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// unpack puts the files of an archive below tree/ into a directory. The value of
// a file tree/….LINK is a link's target.
func unpack(tb testing.TB, a *txtar.Archive) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, f := range a.Files {
		name, ok := strings.CutPrefix(f.Name, "tree/")
		if !ok {
			continue
		}
		path := filepath.Join(dir, strings.TrimSuffix(name, ".LINK"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && strings.HasSuffix(name, ".LINK") {
			err = os.Symlink(strings.TrimSpace(string(f.Data)), path)
		} else if err == nil {
			err = os.WriteFile(path, f.Data, 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// look puts the tree of an archive into an ext4 file system, has debugfs do
// something to it, and looks inside.
func look(tb testing.TB, a *txtar.Archive, requests ...string) guest.Guest {
	tb.Helper()
	dir, path := unpack(tb, a), filepath.Join(tb.TempDir(), "root")
	tool(tb, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-U", "00000000-1111-4222-8333-444444444444", "-d", dir, path, "512m")
	for _, r := range requests {
		tool(tb, "debugfs", "-w", "-R", r, path)
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	g, err := inspect.Look(tb.Context(), []inspect.Source{{Address: "scsi0:0", Image: image{f, 512 << 20}}})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// input makes the arguments of New that an archive describes, changed by
// debugfs.
func input(tb testing.TB, a *txtar.Archive, requests ...string) Input {
	tb.Helper()
	in := Input{Guest: look(tb, a, requests...)}
	for _, f := range a.Files {
		var err error
		switch f.Name {
		case "layout.json":
			err = json.Unmarshal(f.Data, &in.Layout)
		case "nics.json":
			var vm []inventory.NIC
			err = json.Unmarshal(f.Data, &vm)
			in.NICs, _ = nics.Of(in.Guest, vm)
		}
		if err != nil {
			tb.Fatalf("%s: %v", f.Name, err)
		}
	}
	return in
}

// show writes a conversion as a person would read it.
func show(c guest.Conversion, entries []ledger.Entry, concerns []ledger.Concern) string {
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	for _, m := range c.Mounts {
		p("mount %s at %s (%s)", m.Device, m.At, m.Content)
	}
	for _, m := range c.Checks {
		p("check %s at %q (%s)", m.Device, m.At, m.Content)
	}
	p("install %q\nremove %q", c.Install, c.Remove)
	for _, e := range c.Edits {
		out.WriteString(e.Diff())
	}
	for _, f := range c.Programs {
		p("program %s from %s, mode %o", f.Path, f.Source, f.Mode)
	}
	for _, o := range c.Overlays {
		p("overlay on %s of %s: %s\n\tfiles %q\n\talso %q\n\tmodules %q", o.Initrd, o.Kernel, o.Reason, o.Files, o.Also, o.Modules)
		for _, e := range o.Texts {
			out.WriteString(e.Diff())
		}
	}
	for _, argv := range c.Commands {
		p("run %q", argv)
	}
	p("loader %q %s", c.Loader, c.OwnLoader)
	for _, t := range c.Touches {
		p("touch %s (%s)", t.Pattern, t.Reason)
	}
	for _, e := range entries {
		p("ledger %s %s: %s -> %s (%s)", e.Fate, e.Property, e.Source, e.Target, e.Reason)
	}
	for _, e := range concerns {
		p("%s %s %s: %s; %s", e.Severity, e.ID, e.Subject, e.Evidence, e.Advice)
	}
	return out.String()
}

func TestNew(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			conv, entries, concerns := New(input(t, a))
			checkLilo(t, conv)
			for _, p := range conv.Programs {
				if _, err := guestfiles.File(p.Source); err != nil && p.Source != "lilo" {
					t.Error(err)
				}
			}
			got := show(conv, entries, concerns)
			last := &a.Files[len(a.Files)-1]
			if last.Name != "want" {
				t.Fatalf("the last file of %s is %s; want want", name, last.Name)
			}
			if *update {
				last.Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(last.Data), got); diff != "" {
				t.Errorf("New (-want +got):\n%s", diff)
			}
		})
	}
}

// checkLilo reads the lilo.conf of a conversion as lilo does.
func checkLilo(t *testing.T, conv guest.Conversion) {
	t.Helper()
	for _, e := range conv.Edits {
		if e.Path != liloConf || e.Remove || conv.OwnLoader != "" {
			continue
		}
		c, err := conf.Parse(liloConf, []byte(e.New))
		if err != nil || len(c.Warnings) > 0 || len(c.Images) < 2 || c.Find(c.Default) == nil || c.Boot == "" || c.Timeout != timeout {
			t.Errorf("lilo reads %+v, %v; want two images or more, the default among them, and no warning in\n%s", c, err, e.New)
		}
	}
}

func archive(tb testing.TB, name string) *txtar.Archive {
	tb.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// TestCmdline follows kernel parameters with blanks from grub.cfg to what LILO
// gives the kernel.
func TestCmdline(t *testing.T) {
	c, _, _ := New(input(t, archive(t, "debian-mbr.txtar")))
	i := slices.IndexFunc(c.Edits, func(e guest.Edit) bool { return e.Path == liloConf })
	lilo, err := conf.Parse(liloConf, []byte(c.Edits[i].New))
	if err != nil {
		t.Fatal(err)
	}
	want := `root=/dev/mapper/debian--vg-root ro console=tty0 console=ttyS0,115200n8 quiet resume=/dev/mapper/debian--vg-swap mitigations=off dyndbg="file foo.c +p" sunrpc.dyndbg="file bar.c +p" "odd one"`
	for _, im := range lilo.Images {
		if got := im.CommandLine(""); got != want {
			t.Errorf("%s starts with %s; want %s", im.Label, got, want)
		}
	}
}

// TestInstalledLVM: where lvm2 is installed already, what an initrd gets of it
// is taken from the guest.
func TestInstalledLVM(t *testing.T) {
	a := archive(t, "lvm-unused.txtar")
	c, _, _ := New(input(t, a))
	root, ok := os.DirFS(unpack(t, a)).(fs.ReadLinkFS)
	if !ok || len(c.Install) > 0 || len(c.Overlays) != 2 {
		t.Fatalf("New installs %q and adds to %+v; want nothing installed, and two additions", c.Install, c.Overlays)
	}
	for _, o := range c.Overlays {
		b, err := initrd.Build(root, o)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		cpio, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"sbin/lvm", "sbin/dmsetup", "lib/udev/rules.d/56-lvm.rules", "lib/udev/rules.d/69-lvm.rules", "lib/modules/" + o.Kernel + "/kernel/drivers/md/dm-mod.ko"} {
			if !bytes.Contains(cpio, []byte(name+"\x00")) {
				t.Errorf("what is added to %s has no %s", o.Initrd, name)
			}
		}
	}
}

// TestNo64Bits: where the kernel that runs after the migration can't run the
// lilo that goes into the guest, it doesn't go there.
func TestNo64Bits(t *testing.T) {
	for _, tt := range []struct{ name, arch, want string }{
		{"debian-mbr.txtar", "amd64", ""},
		{"debian-mbr.txtar", "i386", "the guest's system is i386, "},
		{"own-lilo.txtar", "i386", ""},
	} {
		a := archive(t, tt.name)
		for i, f := range a.Files {
			if f.Name == "tree/var/lib/dpkg/status" {
				a.Files[i].Data = fmt.Appendf(slices.Clip(f.Data), "\nPackage: dpkg\nStatus: install ok installed\nVersion: 1\nArchitecture: %s\n", tt.arch)
			}
		}
		c, _, concerns := New(input(t, a))
		got := ""
		for _, c := range concerns {
			if c.Severity == ledger.Blocker && strings.Contains(c.Advice, "--layout keep") {
				got += c.Evidence
			}
		}
		if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) || (len(c.Loader) > 0) != (tt.want == "") {
			t.Errorf("%s of %s: refused for %q, loader %q; want %q", tt.name, tt.arch, got, c.Loader, tt.want)
		}
	}
	b := &builder{g: guest.Guest{Kernels: []string{"2.6.32-754.el6.i686"}}}
	if b.runsLilo() || len(b.concerns) != 1 {
		t.Errorf("an RPM guest of 32 bits: %+v, want a blocker", b.concerns)
	}
}

// TestManyKernels: of many kernels' initrds those are adapted that LILO starts.
func TestManyKernels(t *testing.T) {
	a := archive(t, "debian-mbr.txtar")
	for i := range 2 * maxOverlays {
		v := fmt.Sprintf("6.2.0-%d-amd64", i)
		for _, name := range []string{"tree/boot/vmlinuz-" + v, "tree/boot/initrd.img-" + v} {
			a.Files = append(a.Files, txtar.File{Name: name})
		}
		a.Files = append(a.Files, txtar.File{Name: "tree/usr/lib/modules/" + v + "/modules.dep", Data: []byte("dm-mod.ko:\nvirtio_blk.ko:\nvirtio_pci.ko:\n")})
	}
	c, _, concerns := New(input(t, a))
	var got []string
	for _, o := range c.Overlays {
		got = append(got, o.Kernel)
	}
	want := []string{"6.1.0-18-amd64", "6.2.0-15-amd64", "6.2.0-14-amd64"} // the default, LinuxOLD, and the newest
	if len(got) != maxOverlays || !slices.Equal(got[:3], want) {
		t.Errorf("initrds of %q are adapted, want %d, first %q: %+v", got, maxOverlays, want, concerns)
	}
}

// TestManyUnfitKernels: kernels whose modules are gone are one note, not one each.
func TestManyUnfitKernels(t *testing.T) {
	a := archive(t, "lvm-unused.txtar")
	for i := range 7 {
		v := fmt.Sprintf("5.10.0-%d-amd64", i)
		for _, name := range []string{"tree/boot/vmlinuz-" + v, "tree/boot/initrd.img-" + v} {
			a.Files = append(a.Files, txtar.File{Name: name})
		}
	}
	_, _, concerns := New(input(t, a))
	var notes []ledger.Concern
	for _, c := range concerns {
		if c.ID == ConcernKernel && c.Severity == ledger.Note {
			notes = append(notes, c)
		}
	}
	if len(notes) != 1 || !strings.Contains(notes[0].Subject, "5.10.0-6-amd64, 5.10.0-5-amd64") {
		t.Errorf("notes on kernels %+v; want one", notes)
	}
}

func TestPasswords(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool // of a password
	}{
		{"", false},
		{"image=/vmlinuz\n\tlabel=Linux\n", false},
		{"password=x\n", true},
		{"  Password = \"x\"\n", true},
		{"restricted password=x\n", true},
		{"image=/vmlinuz password=x # why\n", true},
		{"label=\"a\"password=x\n", true},
		{"append=\"a#b\" password=x\n", true},
		{"\"password\"=x\n", true},
		{"password\n  =\n x\n", true},
		{"an unknown word PASSWORD=\"\"", true},
		{"append=\"ip=dhcp password=x\"\n", true},
		{"# password=tatercounter2000\n", false},
		{"#password=x\nimage=/vmlinuz # password=x\n", false},
		{"append=\"a\" # password=x\n", false},
		{"append=\"nopassword=1 password\"\nrestricted\n", false},
	} {
		b := &builder{c: guest.Config{Files: map[string]guest.File{liloConf: {Text: tt.text}}}}
		if got := !b.passwords(); got != tt.want || got != (len(b.concerns) == 1) {
			t.Errorf("a password in %q: %v, %v; want %v", tt.text, got, b.concerns, tt.want)
		}
	}
}

func TestLinkDir(t *testing.T) {
	there, gone := guest.Link{Target: "x"}, guest.Link{Target: "x", Missing: true}
	for _, tt := range []struct {
		name, conf, distro string
		root, boot         *guest.Link
		want               string
	}{
		{name: "nothing", want: "/"},
		{name: "nothing, Ubuntu", distro: "ubuntu", want: "/boot"},
		{name: "link in the root", root: &there, boot: &there, distro: "ubuntu", want: "/"},
		{name: "link in boot", boot: &there, want: "/boot"},
		{name: "dangling link", root: &gone, boot: &there, want: "/boot"},
		{name: "all dangle", root: &gone, boot: &gone, want: "/"},
		{name: "configured", conf: "link_in_boot = yes\n", root: &there, want: "/boot"},
		{name: "configured, dangling link", conf: "link_in_boot = Yes\n", root: &gone, want: "/boot"},
		{name: "configured, but off: it is turned on", conf: "do_symlinks = no\nlink_in_boot = yes\n", root: &there, want: "/boot"},
		{name: "configured as not so", conf: "link_in_boot = no\n", boot: &there, want: "/boot"},
		{name: "destination", conf: "image_dest = boot/\n", root: &there, want: "/boot"},
		{name: "destination root", conf: "image_dest = /\n", boot: &there, want: "/"},
		{name: "an odd destination", conf: "image_dest = /opt\n", boot: &there, want: "/boot"},
	} {
		b := &builder{g: guest.Guest{Distro: tt.distro}, c: guest.Config{Files: map[string]guest.File{}, Links: map[string]guest.Link{}}}
		b.c.Files[kernelImgFile] = guest.File{Text: tt.conf}
		for name, link := range map[string]*guest.Link{"/vmlinuz": tt.root, "/boot/vmlinuz": tt.boot} {
			if link != nil {
				b.c.Links[name] = *link
			}
		}
		if got := b.linkDir(); got != tt.want {
			t.Errorf("%s: linkDir() = %s; want %s", tt.name, got, tt.want)
		}
	}
}

func TestKeepChangesNothing(t *testing.T) {
	c, entries, concerns := New(Input{Layout: layout.Layout{Kind: layout.Keep}, NICs: []guest.NIC{{}}})
	if diff := cmp.Diff(guest.Conversion{}, c); diff != "" || len(entries)+len(concerns) > 0 {
		t.Errorf("New for keep: %s %v %v; want nothing", diff, entries, concerns)
	}
}

// add adds a file to an archive that has none of its name.
func add(a *txtar.Archive, name, text string) {
	if !slices.ContainsFunc(a.Files, func(f txtar.File) bool { return f.Name == name }) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
	}
}
