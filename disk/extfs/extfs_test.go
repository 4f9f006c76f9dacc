package extfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	backend "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/google/go-cmp/cmp"

	"esxodus/disk/disktest"
	"esxodus/disk/internal/fsview"
)

// tool finds a program, and fails or skips the test without it.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
		tb.Fatalf("%s is not installed", name)
	}
	tb.Skipf("%s is not installed", name)
	return ""
}

func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	cmd := exec.Command(tool(tb, argv[0]), argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

// tree makes files that exercise the reader: deep paths, many entries, long
// and short links, holes, a file of many blocks.
func tree(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	write("etc/fstab", "UUID=1 / ext4 defaults 0 1\n")
	write("empty", "")
	write("tiny", "inline?")
	write("medium", strings.Repeat("inline data beyond sixty bytes; ", 4))
	write("a/b/c/d/e/name with spaces ä", "deep")
	for i := range 700 {
		write(fmt.Sprintf("many/a file with quite a long name, so that the directory grows %04d", i), fmt.Sprint(i))
	}
	big := make([]byte, 3<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(big)
	write("big", string(big))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		tb.Fatal(err)
	}
	defer sparse.Close()
	for i := range int64(40) { // enough extents for a tree of depth 1
		if _, err := sparse.WriteAt([]byte(fmt.Sprintf("piece %d", i)), i*65536*2+5); err != nil {
			tb.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"short": "etc/fstab", "absolute": "/etc/fstab", "long": strings.Repeat("x/../", 30) + "etc/fstab", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func openImage(tb testing.TB, path string) (*FS, *os.File, int64) {
	tb.Helper()
	f, size := disktest.OpenFile(tb, path)
	fsys, err := Open(f, size)
	if err != nil {
		tb.Fatal(err)
	}
	return fsys, f, size
}

// snapshot is every path with its type, mode and content or target.
func snapshot(t *testing.T, fsys fs.ReadLinkFS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "lost+found" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch d.Type() {
		case 0:
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			if int64(len(b)) != info.Size() {
				return fmt.Errorf("%s: %d bytes read of %d", name, len(b), info.Size())
			}
			content = string(b)
		case fs.ModeSymlink:
			if content, err = fsys.ReadLink(name); err != nil {
				return err
			}
		}
		out[name] = fmt.Sprintf("%v %x", info.Mode(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(out, ".")
	return out
}

func TestReadTree(t *testing.T) {
	dir := tree(t)
	want := snapshot(t, os.DirFS(dir).(fs.ReadLinkFS))
	for _, tt := range []struct {
		name string
		argv []string
	}{
		{"ext2, 1 KiB", []string{"-t", "ext2", "-b", "1024"}},
		{"ext2, revision 0", []string{"-t", "ext2", "-r", "0", "-O", "none"}},
		{"ext2, 128-byte inodes, no filetype", []string{"-t", "ext2", "-I", "128", "-O", "^filetype"}},
		{"ext3", []string{"-t", "ext3", "-b", "4096"}},
		{"ext3, 1 KiB", []string{"-t", "ext3", "-b", "1024", "-I", "128"}},
		{"ext4", []string{"-t", "ext4"}},
		{"ext4 of old", []string{"-t", "ext4", "-O", "^metadata_csum,^64bit,^orphan_file", "-I", "256"}},
		{"ext4, 1 KiB", []string{"-t", "ext4", "-b", "1024"}},
		{"ext4, 2 KiB, meta_bg", []string{"-t", "ext4", "-b", "2048", "-O", "meta_bg,^resize_inode"}},
		{"ext4, inline data", []string{"-t", "ext4", "-O", "inline_data"}},
		{"ext4, no 64bit, uninit_bg", []string{"-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg"}},
		{"ext4, bigalloc", []string{"-t", "ext4", "-O", "bigalloc", "-C", "16384"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "img")
			run(t, append(append([]string{"mke2fs", "-q", "-F", "-d", dir}, tt.argv...), path, "48M")...)
			fsys, _, _ := openImage(t, path)
			if diff := cmp.Diff(want, snapshot(t, fsys)); diff != "" {
				t.Errorf("tree (-want +got):\n%.2000s", diff)
			}
			run(t, "e2fsck", "-f", "-D", "-y", path) // builds directory indexes
			fsys, _, _ = openImage(t, path)
			if diff := cmp.Diff(want, snapshot(t, fsys)); diff != "" {
				t.Errorf("indexed tree (-want +got):\n%.2000s", diff)
			}
		})
	}
}

// TestAgainstGoDiskfs compares the reader with another one, and shows why it
// exists: go-diskfs opens no file system without metadata checksums.
func TestAgainstGoDiskfs(t *testing.T) {
	dir := tree(t)
	for _, tt := range []struct {
		features string
		opens    bool
	}{{"metadata_csum", true}, {"^metadata_csum", false}, {"^extents,^64bit,^metadata_csum", false}} {
		t.Run(tt.features, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "img")
			run(t, "mke2fs", "-q", "-F", "-d", dir, "-t", "ext4", "-O", tt.features, path, "48M")
			fsys, f, size := openImage(t, path)
			other, err := ext4.Read(backend.New(f, true), size, 0, 512)
			if (err == nil) != tt.opens {
				t.Fatalf("go-diskfs: %v; want opens = %v. Is this package still needed?", err, tt.opens)
			}
			if err != nil {
				return
			}
			for _, name := range []string{"etc/fstab", "a/b/c/d/e/name with spaces ä", "big", "many/a file with quite a long name, so that the directory grows 0350"} {
				want, err := other.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := fs.ReadFile(fsys, name); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v; go-diskfs reads %d others", name, len(got), err, len(want))
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	run(t, "mke2fs", "-q", "-F", "-d", tree(t), "-t", "ext4", path, "48M")
	fsys, f, size := openImage(t, path)
	for _, tt := range []struct {
		name, path, err string
		is              error
	}{
		{"missing", "etc/none", "open etc/none: file does not exist", fs.ErrNotExist},
		{"through a file", "empty/x", "open empty/x: inode 13: not a directory", fsview.ErrNotDir},
		{"link", "short", "open short: neither a regular file nor a directory", fsview.ErrNotFile},
		{"invalid", "/etc", "open /etc: invalid argument", fs.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := fsys.Open(tt.path)
			if err == nil || !errors.Is(err, tt.is) || !strings.HasPrefix(err.Error(), "open "+tt.path) {
				t.Errorf("Open: %v; want %s", err, tt.err)
			}
		})
	}
	if _, err := Open(f, size/2); !errors.Is(err, ErrFormat) {
		t.Errorf("Open of half of it: %v; want ErrFormat", err)
	}
	run(t, "debugfs", "-w", "-R", "feature needs_recovery", path)
	if fsys, _, _ = openImage(t, path); !fsys.NeedsRecovery() {
		t.Error("NeedsRecovery = false with the feature set")
	}
}

// counter bounds what a hostile image may make us read.
type counter struct {
	io.ReaderAt
	bytes, calls int64
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.bytes += int64(len(p))
	c.calls++
	return c.ReaderAt.ReadAt(p, off)
}

// smallImage is an ext4 of 512 KiB with a few files.
func smallImage(tb testing.TB, features string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range []string{"a/b/file", "etc/fstab"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("content "), 300), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.Symlink("a/b/file", filepath.Join(dir, "link")); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "img")
	run(tb, "mke2fs", "-q", "-F", "-d", dir, "-b", "1024", "-N", "32", "-O", features, path, "512k")
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func FuzzOpen(f *testing.F) {
	images := [][]byte{smallImage(f, "extents,^has_journal"), smallImage(f, "^extents,^has_journal,inline_data"), smallImage(f, "none,filetype")}
	f.Add(uint8(0), uint32(1024+24), uint64(2), uint32(1024+40), uint64(0xffff))
	for i := range images {
		f.Add(uint8(i), uint32(7*1024), uint64(0xffffffff), uint32(9*1024+40), uint64(1<<40))
	}
	f.Fuzz(func(t *testing.T, which uint8, at1 uint32, v1 uint64, at2 uint32, v2 uint64) {
		b := bytes.Clone(images[int(which)%len(images)])
		for _, p := range []struct {
			at uint32
			v  uint64
		}{{at1, v1}, {at2, v2}} {
			for i := range 8 {
				b[(int(p.at)+i)%len(b)] = byte(p.v >> (8 * i))
			}
		}
		c := &counter{ReaderAt: bytes.NewReader(b)}
		fsys, err := Open(c, int64(len(b)))
		if err != nil {
			return
		}
		for _, name := range []string{"a/b/file", "etc/fstab", "link"} {
			if file, err := fsys.Open(name); err == nil {
				if _, err := io.Copy(io.Discard, io.LimitReader(file, 1<<20)); err == nil {
					file.Close()
				}
			}
			if _, err := fsys.ReadLink(name); err == nil && name != "link" {
				continue
			}
		}
		if _, err := fsys.ReadDir("."); err == nil && c.bytes > 64<<20 {
			t.Errorf("%d bytes read of an image of %d", c.bytes, len(b))
		}
	})
}

// TestFree compares what is free with dumpe2fs.
func TestFree(t *testing.T) {
	number := func(text, name string) int64 {
		m := regexp.MustCompile(`(?m)^` + name + `: +(\d+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("dumpe2fs prints no %q: %s", name, text)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, argv := range map[string][]string{
		"ext4, 64 bits": {"-t", "ext4", "-O", "64bit"},
		"ext2, 1 KiB":   {"-t", "ext2", "-b", "1024", "-m", "10"},
		"none reserved": {"-t", "ext4", "-m", "0"},
	} {
		path := filepath.Join(t.TempDir(), "fs")
		run(t, append(append([]string{"mke2fs", "-q", "-F", "-d", tree(t)}, argv...), path, "64m")...)
		fsys, _, _ := openImage(t, path)
		text := run(t, "dumpe2fs", "-h", path)
		want := (number(text, "Free blocks") - number(text, "Reserved block count")) * number(text, "Block size")
		if got := fsys.Free(); got != want || want <= 0 {
			t.Errorf("%s: Free = %d, want %d", name, got, want)
		}
		if got, want := fsys.FreeFiles(), number(text, "Free inodes"); got != want || want <= 0 {
			t.Errorf("%s: FreeFiles = %d, want %d", name, got, want)
		}
	}
}

// TestAttributes reads what chattr(1) gives files and directories.
func TestAttributes(t *testing.T) {
	for _, kind := range []string{"ext2", "ext3", "ext4"} {
		path := filepath.Join(t.TempDir(), "img")
		run(t, "mke2fs", "-q", "-F", "-t", kind, "-d", tree(t), path, "32m")
		for name, attribute := range map[string]uint32{"etc/fstab": 0x10, "a/b": 0x10, "tiny": 0x20, "many": 0x20, "medium": 0x40} {
			flags := debugfsFlags(t, path, name) | attribute
			run(t, "debugfs", "-w", "-R", fmt.Sprintf("set_inode_field /%s flags %#x", name, flags), path)
		}
		fsys, _, _ := openImage(t, path)
		for name, want := range map[string][2]bool{
			"etc/fstab": {true, false}, "a/b": {true, false}, "tiny": {false, true}, "many": {false, true}, "medium": {}, "etc": {}, "big": {},
		} {
			info, err := fsys.Lstat(name)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := info.Sys().(fsview.Node)
			if got := [2]bool{n.Immutable(), n.AppendOnly()}; got != want {
				t.Errorf("%s: %s is immutable, append-only: %v; want %v", kind, name, got, want)
			}
		}
	}
}

// debugfsFlags are a file's flags, as debugfs shows them.
func debugfsFlags(tb testing.TB, path, name string) uint32 {
	tb.Helper()
	out := run(tb, "debugfs", "-R", "stat /"+name, path)
	m := regexp.MustCompile(`Flags: (0x[0-9a-f]+)`).FindStringSubmatch(out)
	if m == nil {
		tb.Fatalf("no flags in %s", out)
	}
	flags, err := strconv.ParseUint(m[1], 0, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return uint32(flags)
}
