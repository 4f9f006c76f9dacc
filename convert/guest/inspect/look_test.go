package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/disk"
)

const mib = 1 << 20

// image is a file as an image that counts what is read of it.
type image struct {
	*os.File
	size         int64
	bytes, reads atomic.Int64
	fail         error // what reads end in from failAfter bytes on
	failAfter    int64
}

func (f *image) Size() int64 { return f.size }

func (f *image) ReadAt(p []byte, off int64) (int, error) {
	f.reads.Add(1)
	if n := f.bytes.Add(int64(len(p))); f.fail != nil && n > f.failAfter {
		return 0, f.fail
	}
	return f.File.ReadAt(p, off)
}

func (f *image) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) { yield(disk.Extent{Length: f.size}, nil) }
}

func open(tb testing.TB, path string) *image {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		tb.Fatal(err)
	}
	return &image{File: f, size: size}
}

func run(tb testing.TB, stdin string, argv ...string) string {
	tb.Helper()
	path := ""
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if _, err := os.Stat(filepath.Join(dir, argv[0])); err == nil && path == "" {
			path = filepath.Join(dir, argv[0])
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			tb.Fatalf("%s is not installed", argv[0])
		}
		tb.Skipf("%s is not installed", argv[0])
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

// unpack writes a tree of testdata, and what edit changes of it, to a
// directory.
func unpack(tb testing.TB, name string, edit map[string]string) string {
	tb.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range a.Files {
		files[f.Name] = string(f.Data)
	}
	maps.Copy(files, edit)
	dir := tb.TempDir()
	for _, name := range unpackOrder(files) {
		data := files[name]
		if data == "-" {
			continue
		}
		path := filepath.Join(dir, strings.TrimSuffix(name, ".LINK"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if strings.HasSuffix(name, ".LINK") {
			err = os.Symlink(strings.TrimSpace(data), path)
		} else {
			err = os.WriteFile(path, []byte(data), 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// unpackOrder lists files before the links, which may lead to them, and last
// what lies beyond a link: bin/x where bin is one.
func unpackOrder(files map[string]string) []string {
	rank := func(name string) int {
		for at := path.Dir(name); at != "."; at = path.Dir(at) {
			if _, ok := files[at+".LINK"]; ok {
				return 2
			}
		}
		if strings.HasSuffix(name, ".LINK") {
			return 1
		}
		return 0
	}
	names := slices.Sorted(maps.Keys(files))
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

// fill puts the output of a mkfs into a part of a disk. @FS and @SIZE in argv
// stand for the file made and its size in KiB.
func fill(tb testing.TB, diskPath string, off, size int64, argv ...string) {
	tb.Helper()
	part := filepath.Join(tb.TempDir(), "part")
	blank(tb, part, size)
	args := make([]string, len(argv))
	for i, a := range argv {
		args[i] = strings.NewReplacer("@FS", part, "@SIZE", fmt.Sprintf("%dk", size/1024)).Replace(a)
	}
	run(tb, "", args...)
	copyInto(tb, diskPath, off, part)
}

func copyInto(tb testing.TB, diskPath string, off int64, part string) {
	tb.Helper()
	run(tb, "", "dd", "if="+part, "of="+diskPath, "bs=1M", "conv=notrunc,sparse", "oflag=seek_bytes", fmt.Sprintf("seek=%d", off))
}

func blank(tb testing.TB, path string, size int64) {
	tb.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		tb.Fatal(err)
	}
}

const (
	rootUUID = "11111111-1111-4111-8111-111111111111"
	swapUUID = "22222222-2222-4222-8222-222222222222"
)

// debianDisk is an MBR disk with a Debian root and swap.
func debianDisk(tb testing.TB, edit map[string]string, mkfs ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "disk.img")
	blank(tb, path, 128*mib)
	run(tb, "label: dos\nlabel-id: 0xcafe0001\n2048,96M,83,*\n,,5\n,16M,82\n", "sfdisk", "--quiet", path)
	if len(mkfs) == 0 {
		mkfs = []string{"-t", "ext4"}
	}
	argv := append([]string{"mke2fs", "-q", "-F", "-L", "root", "-U", rootUUID, "-d", unpack(tb, "debian.txtar", edit)}, mkfs...)
	fill(tb, path, mib, 96*mib, append(argv, "@FS", "@SIZE")...)
	fill(tb, path, 98*mib, 16*mib, "mkswap", "-U", swapUUID, "@FS")
	return path
}

func TestLookDebian(t *testing.T) {
	path := debianDisk(t, nil)
	data := filepath.Join(t.TempDir(), "data.img")
	blank(t, data, 32*mib)
	run(t, "label: gpt\nlabel-id: 0F0F0F0F-0000-4000-8000-000000000001\nsize=16M,type=L,name=data,uuid=0F0F0F0F-0000-4000-8000-000000000002\n", "sfdisk", "--quiet", data)
	fill(t, data, mib, 16*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-U", "33333333-3333-4333-8333-333333333333", "@FS", "@SIZE")
	img := open(t, path)
	got, err := Look(t.Context(), []Source{{"scsi0:0", img}, {"scsi0:1", open(t, data)}})
	if err != nil {
		t.Fatal(err)
	}
	want := guest.Guest{
		OS: "linux", Distro: "debian", Version: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)", Hostname: "web-01",
		Root: "scsi0:0 partition 1",
		Disks: []guest.DiskLayout{
			{Address: "scsi0:0", Size: 128 * mib, Table: "mbr", TableID: "cafe0001", Partitions: []guest.Partition{
				{Number: 1, Offset: mib, Length: 96 * mib, Type: "83", TypeName: "Linux", Active: true, Content: "ext4", Label: "root", UUID: rootUUID, Mount: "/"},
				{Number: 2, Offset: 97 * mib, Length: 31 * mib, Type: "05", TypeName: "extended", Container: true},
				{Number: 5, Offset: 98 * mib, Length: 16 * mib, Type: "82", TypeName: "Linux swap or Solaris", Logical: true, Content: "swap", UUID: swapUUID, Mount: "swap"},
			}},
			{Address: "scsi0:1", Size: 32 * mib, Table: "gpt", TableID: "0F0F0F0F-0000-4000-8000-000000000001", Partitions: []guest.Partition{
				{
					Number: 1, Offset: mib, Length: 16 * mib, Type: "0FC63DAF-8483-4772-8E79-3D69D8477DE4", TypeName: "Linux", Name: "data",
					GUID: "0F0F0F0F-0000-4000-8000-000000000002", Content: "ext4", UUID: "33333333-3333-4333-8333-333333333333", Mount: "/srv/data files",
				},
			}},
		},
		Kernels: []string{"6.1.0-9-amd64", "6.1.0-18-amd64"},
		Initrds: []guest.Initrd{
			{Kernel: "6.1.0-9-amd64", Path: "/boot/initrd.img-6.1.0-9-amd64", Virtio: guest.Yes, Evidence: "MODULES=most in /etc/initramfs-tools/initramfs.conf: the initrd has the drivers of all disks"},
			{
				Kernel: "6.1.0-18-amd64", Path: "/boot/initrd.img-6.1.0-18-amd64", Virtio: guest.Yes, Evidence: "MODULES=most in /etc/initramfs-tools/initramfs.conf: the initrd has the drivers of all disks",
				Modules: []string{"dm_mod", "virtio_blk", "virtio_pci"},
			},
		},
		Cmdline:     "root=UUID=" + rootUUID + " ro console=tty0 console=ttyS0,115200n8 quiet",
		Consoles:    []string{"tty0", "ttyS0,115200n8"},
		SerialLogin: []string{"ttyS1"},
		Interfaces:  []string{"ens192", "ens224", "ens256", "eth7"},
		PinnedNames: []string{"eth7"},
		DiskNames:   []string{"/dev/sdb1"},
		Agent:       true, OpenVMTools: true,
	}
	got.Config = guest.Config{} // TestConfig's
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Look (-want +got):\n%s", diff)
	}
	t.Logf("%d bytes in %d reads", img.bytes.Load(), img.reads.Load())
	if img.bytes.Load() > 8*mib {
		t.Errorf("%d bytes read; want a few MiB", img.bytes.Load())
	}
}

func TestLookFailures(t *testing.T) {
	path := debianDisk(t, nil)
	t.Run("transport", func(t *testing.T) {
		for _, after := range []int64{0, 100 << 10, 500 << 10} {
			img := open(t, path)
			img.fail, img.failAfter = errors.New("connection reset"), after
			_, err := Look(t.Context(), []Source{{"scsi0:0", img}})
			if !errors.Is(err, img.fail) || !strings.HasPrefix(err.Error(), "looking inside disk scsi0:0: ") {
				t.Errorf("Look with reads failing after %d bytes: %v; want the cause", after, err)
			}
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Look(ctx, []Source{{"scsi0:0", open(t, path)}}); !errors.Is(err, context.Canceled) {
			t.Errorf("Look: %v; want context canceled", err)
		}
	})
	t.Run("cancelled within", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("ctrl-c")
		img := &cancelling{image: open(t, path), cancel: func() { cancel(cause) }}
		if _, err := Look(ctx, []Source{{"scsi0:0", img}}); !errors.Is(err, cause) {
			t.Errorf("Look: %v; want the cause", err)
		}
	})
}

// cancelling ends the context in its fifth read and waits until that is known.
type cancelling struct {
	*image
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if c.reads.Load() == 4 {
		c.cancel()
		time.Sleep(50 * time.Millisecond)
	}
	return c.image.ReadAt(p, off)
}

func TestLookStates(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  map[string]string
		mkfs  []string
		spoil func(t *testing.T, path string)
		check func(g guest.Guest) any
		want  any
	}{
		{
			name: "ext3 root, dep initrd, device names",
			edit: map[string]string{
				"etc/fstab": "/dev/sda1 / ext3 defaults 0 1\n/dev/sda5 none swap sw 0 0\n",
				"etc/initramfs-tools/conf.d/driver-policy": "# Driver inclusion policy\nMODULES=dep\n",
				"boot/grub/grub.cfg":                       "-",
				"boot/grub/menu.lst":                       "default 1\ntitle old\nkernel /boot/x root=/dev/sda1\ntitle new\nkernel /boot/y root=/dev/sda1 console=ttyS1\n",
			},
			mkfs: []string{"-t", "ext3", "-b", "1024", "-I", "128"},
			check: func(g guest.Guest) any {
				return []any{g.Root, g.DiskNames, g.Initrds[0].Virtio, g.Initrds[0].Evidence, g.Cmdline, g.Disks[0].Partitions[0].Mount, g.Disks[0].Partitions[2].Mount}
			},
			want: []any{
				"scsi0:0 partition 1",
				[]string{"/dev/sda1", "/dev/sda5"},
				guest.No,
				"MODULES=dep in /etc/initramfs-tools/conf.d/driver-policy: the initrd has only the drivers of the machine on which it was made",
				"root=/dev/sda1 console=ttyS1", "/", "swap",
			},
		},
		{
			name: "links that loop or lead out",
			edit: map[string]string{
				"etc/hostname": "-", "etc/hostname.LINK": "../../../../../../real", "real": "found",
				"etc/network/interfaces": "-", "etc/network/interfaces.LINK": "/etc/network/other", "etc/network/other.LINK": "interfaces",
			},
			check: func(g guest.Guest) any { return []any{g.Hostname, g.Notes} },
			want:  []any{"found", []string{"/etc/network/interfaces: more than 40 symbolic links"}},
		},
		{
			name:  "a file too large, and one with escapes",
			edit:  map[string]string{"etc/fstab": strings.Repeat("# padding\n", 10000), "etc/hostname": "evil\x1b[2Jname\n"},
			check: func(g guest.Guest) any { return []any{g.Hostname, g.Notes} },
			want:  []any{"evil\ufffd[2Jname", []string{"/etc/fstab: 100000 bytes; the limit is 65536"}},
		},
		{
			name: "dirty journal and hibernated",
			spoil: func(t *testing.T, path string) {
				t.Helper()
				img := filepath.Join(t.TempDir(), "root")
				run(t, "", "dd", "if="+path, "of="+img, "bs=1M", "skip=1", "count=96")
				run(t, "", "debugfs", "-w", "-R", "feature needs_recovery", img)
				copyInto(t, path, mib, img)
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteAt([]byte("S1SUSPEND\x00"), 98*mib+4086); err != nil {
					t.Fatal(err)
				}
			},
			check: func(g guest.Guest) any {
				return []any{g.Hostname, g.Disks[0].Partitions[0].Dirty, g.Disks[0].Partitions[2].Suspended, g.Notes}
			},
			want: []any{"web-01", true, true, []string{
				"scsi0:0 partition 1: the journal of the ext4 file system holds changes, so the machine is running or was not shut down; its files may be some seconds old",
				"scsi0:0 partition 5: the swap holds a hibernated system: start the VM and shut it down",
			}},
		},
		{
			name: "hibernated in a swap file",
			edit: map[string]string{
				"etc/fstab": "/swap/old none swap sw 0 0\n/swap/file none swap sw 0 0\n/swap/gone none swap sw 0 0\nUUID=" + rootUUID + " / ext4 defaults 0 1\n",
				"swap/old":  strings.Repeat("\x00", 4086) + "SWAPSPACE2", "swap/file.LINK": "/swap/real", "swap/real": strings.Repeat("\x00", 4086) + "S1SUSPEND\x00" + strings.Repeat("\x00", 64<<10),
			},
			check: func(g guest.Guest) any { return []any{g.Disks[0].Partitions[0].Suspended, g.Notes} },
			want:  []any{true, []string{"scsi0:0 partition 1, /swap/file: the swap holds a hibernated system: start the VM and shut it down"}},
		},
		{
			name:  "woken",
			edit:  map[string]string{"etc/fstab": "/swap/old none swap sw 0 0\n", "swap/old": strings.Repeat("\x00", 4086) + "SWAPSPACE2"},
			check: func(g guest.Guest) any { return []any{g.Disks[0].Partitions[0].Suspended, g.Notes} },
			want:  []any{false, []string(nil)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := debianDisk(t, tt.edit, tt.mkfs...)
			if tt.spoil != nil {
				tt.spoil(t, path)
			}
			g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.check(g)); diff != "" {
				t.Errorf("(-want +got):\n%s\nnotes: %q", diff, g.Notes)
			}
		})
	}
}

func TestLookUnreadable(t *testing.T) {
	for _, tt := range []struct {
		name  string
		table string
		mkfs  []string
		os    string
		notes []string
	}{
		{
			"btrfs root", "label: dos\n2048,300M,83\n",
			[]string{"mkfs.btrfs", "-q", "@FS"},
			"linux",
			[]string{"scsi0:0 partition 1 holds btrfs, whose files aren't read before the copy: what depends on them isn't known yet"},
		},
		{"ntfs", "label: dos\n2048,300M,7,*\n", []string{"mkfs.ntfs", "-q", "-F", "@FS"}, "windows", nil},
		{"dynamic disk", "label: dos\n2048,300M,42\n", []string{"true"}, "windows", []string{"scsi0:0 partition 1 is part of a Windows dynamic disk"}},
		{"bsd", "label: dos\n2048,300M,a5\n", []string{"true"}, "bsd", nil},
		{"nothing known", "label: gpt\nsize=300M\n", []string{"true"}, "", nil},
		{"broken table", "label: dos\n2048,4G,83\n", []string{"true"}, "", []string{"scsi0:0: malformed partition table: partition 1 (type 83, bytes 1048576 to 4296015872) goes beyond the disk of 335544320 bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.img")
			blank(t, path, 5<<30)
			run(t, tt.table, "sfdisk", "--quiet", path)
			fill(t, path, mib, 300*mib, tt.mkfs...)
			if err := os.Truncate(path, 320*mib); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(tt.table, "label: gpt") {
				run(t, "", "sgdisk", "-e", path)
			}
			g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.notes, g.Notes); diff != "" || g.OS != tt.os || len(g.Disks[0].Partitions) != 1 {
				t.Errorf("OS = %q, %d partitions; want %q, 1; notes (-want +got):\n%s", g.OS, len(g.Disks[0].Partitions), tt.os, diff)
			}
		})
	}
}

func TestLookEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	blank(t, path, mib)
	got, err := Look(t.Context(), []Source{{"ide0:0", open(t, path)}})
	want := guest.Guest{Disks: []guest.DiskLayout{{Address: "ide0:0", Size: mib, Table: "none"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Look: %v (-want +got):\n%s", err, diff)
	}
	if got, err := Look(t.Context(), nil); err != nil || len(got.Disks) != 0 {
		t.Errorf("Look at no disks = %+v, %v", got, err)
	}
}

func TestLookEFI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	blank(t, path, 192*mib)
	run(t, "label: gpt\nsize=40M,type=U\nsize=96M,type=L\n", "sfdisk", "--quiet", path)
	esp := filepath.Join(t.TempDir(), "esp")
	blank(t, esp, 40*mib)
	run(t, "", "mkfs.vfat", "-F", "32", "-n", "EFI", esp)
	for _, d := range []string{"EFI", "EFI/debian", "EFI/BOOT", "EFI/Microsoft", "EFI/Microsoft/Boot"} {
		run(t, "", "mmd", "-i", esp, "::"+d)
	}
	for _, f := range []string{"EFI/debian/shimx64.efi", "EFI/debian/grub.cfg", "EFI/BOOT/BOOTX64.EFI", "EFI/Microsoft/Boot/bootmgfw.efi"} {
		run(t, "content", "mcopy", "-i", esp, "-", "::"+f)
	}
	copyInto(t, path, mib, esp)
	edit := map[string]string{"etc/fstab": "LABEL=root / ext4 defaults 0 1\nLABEL=EFI /boot/efi vfat umask=0077 0 1\n"}
	fill(t, path, 41*mib, 96*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-d", unpack(t, "debian.txtar", edit), "@FS", "@SIZE")
	g, err := Look(t.Context(), []Source{{"sata0:0", open(t, path)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"EFI/BOOT/BOOTX64.EFI", "EFI/Microsoft/Boot/bootmgfw.efi", "EFI/debian/shimx64.efi"}
	if diff := cmp.Diff(want, g.EFILoaders); diff != "" || g.Disks[0].Partitions[0].Mount != "/boot/efi" {
		t.Errorf("loaders (-want +got):\n%s\n%+v", diff, g.Disks[0].Partitions[0])
	}
	if diff := cmp.Diff([]string{"the disks hold traces of several systems: linux, windows"}, g.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}
