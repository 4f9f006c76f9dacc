package xfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"esxodus/disk/disktest"
	"esxodus/disk/internal/fsview"
)

const mib = 1 << 20

// TestAgainstKernel lets the kernel make files on file systems of every shape
// that it mounts, and compares what it reads with what this package reads.
func TestAgainstKernel(t *testing.T) {
	needMount(t)
	for _, tt := range []struct {
		name string
		argv []string
		big  int
		then []string // done to the image afterwards
	}{
		{"as mkfs makes it", nil, 10000, nil},
		{"1 KiB blocks", []string{"-b", "size=1024"}, 3000, nil},
		{"2 KiB blocks, 16 KiB directory blocks", []string{"-b", "size=2048", "-n", "size=16384"}, 2000, nil},
		{"64 KiB directory blocks", []string{"-n", "size=65536"}, 2000, nil},
		{"64 KiB blocks", []string{"-b", "size=65536"}, 300, nil},
		{"4 KiB sectors", []string{"-s", "size=4096"}, 200, nil},
		{"2 KiB inodes", []string{"-i", "size=2048"}, 500, nil},
		{"many groups", []string{"-d", "agcount=16"}, 2000, nil},
		{"odd size", []string{"-d", "agsize=24m"}, 1000, nil},
		{"large extent counters", []string{"-i", "nrext64=1"}, 2000, nil},
		{"no sparse inodes, no big times, no reflinks", []string{"-i", "sparse=0", "-m", "bigtime=0,reflink=0,finobt=0"}, 1000, nil},
		{"reverse map", []string{"-m", "rmapbt=1"}, 500, nil},
		{"another UUID", nil, 1000, []string{"xfs_admin", "-U", "generate"}},
		{"striped, large log records", []string{"-d", "su=64k,sw=4", "-l", "su=256k"}, 500, nil},
		{"version 4", []string{"-m", "crc=0"}, 5000, nil},
		{"version 4, 512-byte blocks", []string{"-m", "crc=0", "-b", "size=512", "-n", "ftype=0"}, 1000, nil},
		{"version 4, 16 KiB directory blocks, old attributes", []string{"-m", "crc=0", "-n", "size=16384", "-i", "attr=1"}, 1000, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := mkfs(t, 384*mib+12345*512, tt.argv...)
			if !mounts(t, path) {
				t.Skip("the kernel mounts no such file system")
			}
			var want map[string]string
			mount(t, path, func(dir string) {
				if testing.Short() {
					tt.big = min(tt.big, 200)
				}
				populate(t, dir, tt.big)
				want = manifest(t, os.DirFS(dir).(fs.ReadLinkFS))
			})
			if tt.then != nil {
				run(t, append(tt.then, path)...)
			}
			fsys, _, _ := openImage(t, path)
			if diff := cmp.Diff(want, manifest(t, fsys)); diff != "" {
				t.Errorf("tree (-want +got):\n%.2000s", diff)
			}
			if fsys.NeedsRecovery() {
				t.Error("NeedsRecovery = true after an unmount")
			}
			if found, refused := faults(t, path); len(found)+len(refused) > 0 {
				t.Errorf("Faults = %q, %q; want none", found, refused)
			}
		})
	}
}

// TestAgainstMkfs reads what mkfs.xfs made of a tree, in version 4, which not
// every kernel mounts. (In version 5 mkfs.xfs 6.1 forgets the headers of long
// links.)
func TestAgainstMkfs(t *testing.T) {
	when := regexp.MustCompile(` \d{4}-\S+Z`) // mkfs.xfs doesn't keep times
	strip := func(m map[string]string) map[string]string {
		for name, line := range m {
			m[name] = when.ReplaceAllString(line, "")
		}
		return m
	}
	dir := plainTree(t, 3000, 1, 30, 200, 700, 1000)
	proto := disktest.XFSProto(t, dir)
	want := strip(manifest(t, os.DirFS(dir).(fs.ReadLinkFS)))
	for _, tt := range []struct {
		name string
		argv []string
	}{
		{"as mkfs makes it", nil},
		{"types in directories", []string{"-n", "ftype=1"}},
		{"no types in directories", []string{"-n", "ftype=0"}},
		{"512-byte blocks, 256-byte inodes", []string{"-b", "size=512", "-i", "size=256"}},
		{"512-byte blocks, 8 KiB directory blocks", []string{"-b", "size=512", "-n", "size=8192"}},
		{"1 KiB blocks", []string{"-b", "size=1024"}},
		{"64 KiB blocks", []string{"-b", "size=65536"}},
		{"old attributes, old log, 32-bit projects off", []string{"-i", "attr=1,projid32bit=0", "-l", "version=1,lazy-count=0"}},
		{"no case", []string{"-n", "version=ci"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys, _, _ := openImage(t, mkfs(t, 384*mib, append([]string{"-p", proto}, append(tt.argv, "-m", "crc=0")...)...))
			if diff := cmp.Diff(want, strip(manifest(t, fsys))); diff != "" {
				t.Errorf("tree (-want +got):\n%.2000s", diff)
			}
		})
	}
}

// small is an image without the parts that only make it large.
func small(tb testing.TB, argv ...string) (*FS, []byte) {
	tb.Helper()
	path := mkfs(tb, 16*mib, append([]string{"-p", disktest.XFSProto(tb, plainTree(tb, 100, 1, 200)), "-d", "agcount=1", "-l", "size=1368b"}, argv...)...)
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	fsys, _, _ := openImage(tb, path)
	return fsys, b
}

func TestPathErrors(t *testing.T) {
	fsys, _ := small(t)
	for _, tt := range []struct {
		name, path, err string
		is              error
	}{
		{"missing", "etc/none", "open etc/none: file does not exist", fs.ErrNotExist},
		{"through a file", "etc/fstab/x", ": not a directory", fsview.ErrNotDir},
		{"through a link", "link1/etc", ": not a directory", fsview.ErrNotDir},
		{"link", "link1", "open link1: neither a regular file nor a directory", fsview.ErrNotFile},
		{"invalid", "/etc", "open /etc: invalid argument", fs.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := fsys.Open(tt.path)
			if err == nil || !errors.Is(err, tt.is) || !strings.HasPrefix(err.Error(), "open "+tt.path) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Open: %v; want %s", err, tt.err)
			}
		})
	}
	if _, err := fsys.ReadLink("etc/fstab"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a file: %v; want ErrInvalid", err)
	}
}

// memory is an image in memory that counts what is read of it.
type memory struct {
	b     []byte
	bytes int64
	reads int
	fail  int64 // reads of these fail with errBroken, from this offset on; 0 for none
}

var errBroken = errors.New("cable pulled")

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.bytes += int64(len(p))
	m.reads++
	if m.fail > 0 && off >= m.fail {
		return 0, errBroken
	}
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seal makes the checksum at a place in b right.
func seal(b []byte, at int) {
	clear(b[at : at+4])
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// where is the offset of a path's inode.
func (f *FS) where(tb testing.TB, name string) int64 {
	tb.Helper()
	info, err := f.Lstat(name)
	if err != nil {
		tb.Fatal(err)
	}
	in := nodeOf(tb, info)
	block, err := f.linear(uint64(in.number)>>f.perBits, 1)
	if err != nil {
		tb.Fatal(err)
	}
	return block*f.blockSize + in.number&(1<<f.perBits-1)*f.inodeSize
}

func nodeOf(tb testing.TB, info fs.FileInfo) *inode {
	tb.Helper()
	in, ok := info.Sys().(*inode)
	if !ok {
		tb.Fatalf("%s is no inode", info.Name())
	}
	return in
}

// TestFree compares what is free with xfs_db.
func TestFree(t *testing.T) {
	path := mkfs(t, 384*mib, "-p", disktest.XFSProto(t, plainTree(t, 10, 1)))
	fsys, _, _ := openImage(t, path)
	var blocks, size int64
	for field, to := range map[string]*int64{"fdblocks": &blocks, "blocksize": &size} {
		text := run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "print "+field, path)
		if _, err := fmt.Sscanf(text, field+" = %d", to); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if got, want := fsys.Free(), blocks*size; got != want || want <= 0 {
		t.Errorf("Free = %d, want %d", got, want)
	}
}

// TestAttributes reads what chattr(1) gives files and directories.
func TestAttributes(t *testing.T) {
	for _, crc := range []string{"crc=0", "crc=1"} {
		path := mkfs(t, 384*mib, "-m", crc, "-p", disktest.XFSProto(t, plainTree(t, 10, 1)))
		fsys, _, _ := openImage(t, path)
		number := func(name string) int64 {
			info, err := fsys.Lstat(name)
			if err != nil {
				t.Fatal(err)
			}
			return nodeOf(t, info).number
		}
		for name, field := range map[string]string{"etc/fstab": "immutable", "many": "immutable", "etc": "append", "random": "nodump"} {
			run(t, "xfs_db", "-x", "-c", fmt.Sprintf("inode %d", number(name)), "-c", "write core."+field+" 1", path)
		}
		fsys, _, _ = openImage(t, path)
		for name, want := range map[string][2]bool{"etc/fstab": {true, false}, "many": {true, false}, "etc": {false, true}, "random": {}, ".": {}} {
			info, err := fsys.Lstat(name)
			if err != nil {
				t.Fatal(err)
			}
			in := nodeOf(t, info)
			if got := [2]bool{in.Immutable(), in.AppendOnly()}; got != want {
				t.Errorf("%s: %s is immutable, append-only: %v; want %v", crc, name, got, want)
			}
		}
	}
}

// TestFreeFiles compares how many files can be made with what the kernel says.
func TestFreeFiles(t *testing.T) {
	for _, argv := range [][]string{{"-i", "maxpct=25"}, {"-i", "maxpct=1"}, {"-i", "maxpct=0,size=1024"}} {
		path := mkfs(t, 384*mib, append(argv, "-p", disktest.XFSProto(t, plainTree(t, 3000, 1)))...)
		fsys, _, _ := openImage(t, path)
		var st unix.Statfs_t
		mount(t, path, func(dir string) {
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
		})
		want := int64(st.Ffree)
		if got := fsys.FreeFiles(); got < want*97/100 || got > want*103/100 || want <= 0 {
			t.Errorf("%s: FreeFiles = %d; the kernel says %d", argv, got, want)
		}
	}
}
