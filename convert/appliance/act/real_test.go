package act

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/packages"
	"esxodus/convert/volume"
	"esxodus/disk/extfs"
	"esxodus/fixtures"
)

// The Debian guest's root: where it is on the disk, in bytes.
const (
	rootStart = 1 << 20
	rootSize  = 2559 << 20
)

// root opens the Debian guest's root on a raw disk.
func root(t *testing.T, disk string) *extfs.FS {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	root, err := extfs.Open(io.NewSectionReader(f, rootStart, rootSize), rootSize)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func read(t *testing.T, root *extfs.FS, name string) []byte {
	t.Helper()
	f, err := root.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// lvm2 gets the packages that the guest lacks for LVM.
func lvm2(t *testing.T, status []byte) ([]string, int64) {
	t.Helper()
	g := packages.Guest{ID: "debian", Codename: "bookworm", Arch: "amd64", Status: status}
	set, err := packages.Resolver{Tool: host.Tool{}, TempDir: t.TempDir()}.Resolve(t.Context(), g, "lvm2")
	if errors.Is(err, packages.ErrNoSource) {
		fixtures.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	paths, err := packages.Fetch(t.Context(), host.Tool{}, t.TempDir(), set)
	if err != nil {
		t.Fatal(err)
	}
	return paths, set.Unpacked
}

// TestDebian carries a conversion out in the Debian guest, and looks at what
// that left on its disk.
func TestDebian(t *testing.T) {
	for _, env := range fixtures.Appliance(t) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	fixtures.Tool(t, "qemu-img")
	base := filepath.Join(fixtures.Guest(t, "debian"), "debian-flat.vmdk")
	before := root(t, base)
	debs, unpacked := lvm2(t, read(t, before, "var/lib/dpkg/status"))
	disk := overlay(t, base)
	initrd := initrdOf(t, before)
	added := bytes.Repeat([]byte("070701 and so on "), 1000)
	fstab := string(read(t, before, "etc/fstab"))
	c := guest.Conversion{
		Mounts:  []guest.Mount{{Device: "disk:scsi0:0#1", At: "/", Content: "ext4"}},
		Checks:  []guest.Mount{{Device: "disk:scsi0:0#2", At: "swap", Content: "swap"}, {Device: "disk:scsi0:1", At: "/srv", Content: "xfs"}},
		Install: []string{"lvm2"},
		Remove:  []string{"grub-pc", "grub-pc-bin", "grub2-common", "grub-common"},
		Edits: []guest.Edit{
			{Path: "/etc/fstab", Old: fstab, New: "# new\n" + fstab},
			{Path: "/etc/new dir/it's \"new\"", Make: true, New: "x\x00y\xff", Mode: 0o640},
			{Path: "/vmlinuz.test", Make: true, Link: true, New: "boot/nothing"},
			{Path: "/etc/os-release", Old: string(read(t, before, "usr/lib/os-release")), New: "changed\n"},
			{Path: "/etc/initramfs-tools/conf.d/resume", Old: "RESUME=none\n", Remove: true},
		},
		Programs: []guest.Program{{Path: "/usr/sbin/lilo", Source: "lilo", Mode: 0o755}, {Path: "/etc/initramfs/post-update.d/runlilo", Source: "hook", Mode: 0o755}},
		Overlays: []guest.Overlay{{Initrd: initrd}},
		Commands: [][]string{{"systemctl", "enable", "getty@tty2.service"}},
		Loader:   []string{"lilo", "-v"},
	}
	in := Input{
		Packages: debs, Unpacked: unpacked,
		Programs: map[string][]byte{"lilo": []byte("#!/bin/sh\necho Added Linux \"$@\"; lvm version >&2\n"), "hook": []byte("#!/bin/sh\n")},
		Overlay: func(root fs.ReadLinkFS, _ guest.Overlay) ([]byte, error) {
			info, err := fs.Stat(root, "usr/sbin/lvm") // of the package
			if err != nil || info.Size() < 1<<20 {
				return nil, fmt.Errorf("usr/sbin/lvm: %v, %w", info, err)
			}
			return added, nil
		},
	}
	disks := []appliance.Disk{
		{Name: "scsi0:0", Path: disk, Format: "qcow2"},
		{Name: "scsi0:1", Path: overlay(t, damagedXFS(t)), Format: "qcow2"},
	}
	got, err := Run(t.Context(), host.Tool{}, disks, appliance.Options{TempDir: t.TempDir()}, c, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, took := range got.Took {
		t.Logf("%-30s %6.1f s", took.What, took.Seconds)
	}
	if !strings.HasPrefix(got.Loader, "Added Linux -v\n") || !strings.Contains(got.Loader, "LVM version") {
		t.Errorf("the loader printed %q", got.Loader)
	}
	if want := "/etc/os-release is a symbolic link to /usr/lib/os-release: that file is changed"; len(got.Notes) != 1 || got.Notes[0] != want {
		t.Errorf("notes %q; want %q", got.Notes, want)
	}
	for i, want := range []guest.Verdict{guest.CheckedSound, guest.CheckedSound, guest.CheckedDamaged} {
		if c := got.Checks[i]; c.Verdict != want || want == guest.CheckedDamaged != strings.Contains(c.Said, "agf_freeblks ") {
			t.Errorf("%+v; want it %s", c, want)
		}
	}
	after := root(t, raw(t, disk))
	checkFiles(t, before, after, c)
	checkPackages(t, string(read(t, after, "var/lib/dpkg/status")))
	want := append(read(t, before, initrd[1:]), added...)
	if b := read(t, after, initrd[1:]); !bytes.Equal(b, want) {
		t.Errorf("the initrd has %d bytes; want %d, the old ones first", len(b), len(want))
	}
}

// damagedXFS is a data disk of which an allocation group counts a free block that
// isn't there.
func damagedXFS(t *testing.T) string {
	t.Helper()
	path := filepath.Join(fixtures.OpenDir(t), "data.img")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 512<<20)); err != nil {
		t.Fatal(err)
	}
	fixtures.Tool(t, "mkfs.xfs")
	run := func(argv ...string) string {
		out, err := (host.Tool{}).Run(t.Context(), argv...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	run("mkfs.xfs", "-q", "-f", path)
	var free int
	if _, err := fmt.Sscanf(run("xfs_db", "-r", "-c", "agf 1", "-c", "print freeblks", path), "freeblks = %d", &free); err != nil {
		t.Fatal(err)
	}
	run("xfs_db", "-x", "-c", "agf 1", "-c", fmt.Sprintf("write -d freeblks %d", free+1), path)
	return path
}

// overlay makes an overlay over a disk.
func overlay(t *testing.T, base string) string {
	t.Helper()
	paths, err := volume.Overlays(t.Context(), host.Tool{}, filepath.Join(fixtures.OpenDir(t), "o"), []string{base})
	if err != nil {
		t.Fatal(err)
	}
	return paths[0]
}

// raw makes a raw disk out of an overlay.
func raw(t *testing.T, overlay string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if _, err := (host.Tool{}).Run(t.Context(), "qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, disk); err != nil {
		t.Fatal(err)
	}
	return disk
}

// initrdOf finds the guest's initrd.
func initrdOf(t *testing.T, root *extfs.FS) string {
	t.Helper()
	names, err := fs.Glob(root, "boot/initrd.img-*")
	if err != nil || len(names) != 1 {
		t.Fatalf("initrds %q, %v; want one", names, err)
	}
	return "/" + names[0]
}

func checkFiles(t *testing.T, before, after *extfs.FS, c guest.Conversion) {
	t.Helper()
	if b := read(t, after, "etc/fstab"); string(b) != c.Edits[0].New {
		t.Errorf("etc/fstab is %q; want %q", b, c.Edits[0].New)
	}
	for name, want := range map[string]fs.FileMode{
		`etc/new dir/it's "new"`: 0o640, "usr/sbin/lilo": 0o755, "etc/initramfs/post-update.d/runlilo": 0o755,
		"vmlinuz.test": fs.ModeSymlink | 0o777, "etc/os-release": fs.ModeSymlink | 0o777, "usr/lib/os-release": 0o644,
	} {
		if info, err := after.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, want)
		}
	}
	for _, name := range []string{"etc/initramfs-tools/conf.d/resume", "usr/sbin/policy-rc.d", "etc/default/grub", "usr/sbin/update-grub", "run/lock/lvm", "run/0.deb"} {
		if _, err := after.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	if !bytes.Equal(read(t, before, "usr/sbin/update-initramfs"), read(t, after, "usr/sbin/update-initramfs")) {
		t.Error("update-initramfs is not the guest's own any more")
	}
	left, err := fs.Glob(after, "etc/.esxodus-*")
	if more, err2 := fs.Glob(after, "boot/.esxodus-*"); err != nil || err2 != nil || len(left)+len(more) > 0 {
		t.Errorf("temporary files are left: %q, %q", left, more)
	}
}

// checkPackages holds that every package is in a state that a normal system has.
func checkPackages(t *testing.T, status string) {
	t.Helper()
	for stanza := range strings.SplitSeq(status, "\n\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(stanza, "Package: "), "\n")
		if strings.Contains(name, "grub") {
			t.Errorf("%s is still known to dpkg", name)
		}
		if stanza != "" && !strings.Contains(stanza, "\nStatus: install ok installed\n") {
			t.Errorf("%s is in a bad state", name)
		}
		if strings.Contains(stanza, "\nTriggers-") {
			t.Errorf("%s waits for a trigger", name)
		}
	}
	if !strings.Contains(status, "Package: lvm2\nStatus: install ok installed\n") {
		t.Error("lvm2 is not installed")
	}
}
