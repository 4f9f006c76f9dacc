package xfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/disk/disktest"
)

// tool finds a program, and fails or skips the test without it.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	lacking(tb, name+" is not installed")
	return ""
}

func lacking(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
		tb.Fatal(what)
	}
	tb.Skip(what)
}

func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	cmd := exec.Command(tool(tb, argv[0]), argv[1:]...)
	// Lets mkfs.xfs make file systems of less than 300 MiB.
	cmd.Env = append(cmd.Environ(), "LC_ALL=C", "TEST_DIR=1", "TEST_DEV=1", "QA_CHECK_FS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

// mkfs makes a file system in a sparse file.
func mkfs(tb testing.TB, size int64, argv ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		tb.Fatal(err)
	}
	run(tb, append(append([]string{"mkfs.xfs", "-q", "-f"}, argv...), path)...)
	return path
}

// mount lets the kernel have an image while use runs.
func mount(tb testing.TB, path string, use func(dir string)) {
	tb.Helper()
	needMount(tb)
	dir := tb.TempDir()
	run(tb, "mount", "-t", "xfs", "-o", "loop", path, dir)
	defer unmount(tb, path, dir)
	use(dir)
}

// unmount returns when the kernel has let go of the image. A program that
// began in a mount namespace of its own while this was mounted, as whoever
// builds a guest on this machine does, has it mounted until it ends.
func unmount(tb testing.TB, path, dir string) {
	tb.Helper()
	run(tb, "umount", dir)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command(tool(tb, "losetup"), "-j", path).CombinedOutput()
		if err == nil && len(out) == 0 {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("%s is still mounted somewhere: losetup: %s (%v)", path, out, err)
		}
	}
}

// needMount fails or skips the test where XFS can't be mounted at all.
func needMount(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		lacking(tb, "only root can mount")
	}
	exec.Command("modprobe", "xfs").Run() // it may be built in
	if known, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(known), "\txfs\n") {
		lacking(tb, "the kernel has no XFS")
	}
}

// mounts reports whether the kernel mounts an image. Newer ones don't mount
// version 4, older ones only blocks up to a page.
func mounts(tb testing.TB, path string) bool {
	tb.Helper()
	dir := tb.TempDir()
	if exec.Command("mount", "-t", "xfs", "-o", "loop", path, dir).Run() != nil {
		return false
	}
	unmount(tb, path, dir)
	return true
}

// plainTree makes files that disktest.XFSProto can describe, and links as long as
// given.
func plainTree(tb testing.TB, many int, links ...int) string {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, content string) {
		tb.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	write("etc/fstab", "UUID=1 / xfs defaults 0 0\n")
	write("short/ä", "")
	write("short/100%s", "%")
	write(strings.Repeat("deep/", 20)+"file", "deep")
	for i := range 30 {
		write(fmt.Sprintf("block/file%02d", i), fmt.Sprint(i))
	}
	for i := range many {
		write(fmt.Sprintf("many/a-file-with-quite-a-long-name-so-that-the-directory-grows-%06d", i), "")
	}
	random := make([]byte, 100<<10+17)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write("random", string(random))
	for _, n := range links {
		if err := os.Symlink(strings.Repeat("x/../", 300)[:n], filepath.Join(dir, fmt.Sprintf("link%d", n))); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// odd are names that something might trip over.
var odd = []string{
	"name with spaces ä", `"quoted" 'twice'`, "100%s%d", "new\nline", `back\slash`, "\xff\xfe no UTF-8", "日本語",
	strings.Repeat("n", 255), "-rf", "*",
}

// populate makes files that exercise the reader. big is how many entries the
// big directories and extents the fragmented files get.
func populate(tb testing.TB, dir string, big int) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	write := func(name, content string) {
		tb.Helper()
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte(content), 0o644))
	}
	write("etc/fstab", "UUID=1 / xfs defaults 0 0\n")
	write("empty", "")
	must(os.Mkdir(filepath.Join(dir, "empty dir"), 0o1777))
	for _, n := range odd {
		write("odd/"+n, n)
	}
	for i := range 40 {
		write(fmt.Sprintf("block/some file %02d", i), fmt.Sprint(i))
	}
	write(strings.Repeat("deep/", 60)+"file", "deep")
	for i := range big {
		write(fmt.Sprintf("many/a file with quite a long name, so that the directory grows %06d", i), "")
		write(fmt.Sprintf("shrunk/a file with quite a long name, so that the directory grows %06d", i), "")
	}
	for i := big / 10; i < big*9/10; i++ {
		must(os.Remove(filepath.Join(dir, fmt.Sprintf("shrunk/a file with quite a long name, so that the directory grows %06d", i))))
	}
	for _, n := range []int{1, 30, 200, 700, 1000, 1023} {
		must(os.Symlink(strings.Repeat("x/../", 300)[:n], filepath.Join(dir, fmt.Sprintf("link %d", n))))
	}
	must(os.Symlink("/etc/fstab", filepath.Join(dir, "absolute")))
	must(os.Link(filepath.Join(dir, "etc/fstab"), filepath.Join(dir, "hard link")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, 1<<8|3))
	must(unix.Mknod(filepath.Join(dir, "sda"), unix.S_IFBLK|0o660, 8<<8))
	write("setuid", "")
	must(os.Chmod(filepath.Join(dir, "setuid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	write("old", "")
	must(os.Chtimes(filepath.Join(dir, "old"), time.Time{}, time.Unix(-12345, 987654321)))
	write("new", "")
	must(os.Chtimes(filepath.Join(dir, "new"), time.Time{}, time.Unix(1<<31-2, 999999999)))
	write("attributes", "with a fork beside")
	must(unix.Setxattr(filepath.Join(dir, "attributes"), "user.x", []byte(strings.Repeat("v", 100)), 0))
	populateData(tb, dir, big)
}

// populateData makes files with every kind of extent.
func populateData(tb testing.TB, dir string, extents int) {
	tb.Helper()
	open := func(name string) *os.File {
		tb.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { f.Close() })
		return f
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		tb.Fatal(err)
	}
	random := make([]byte, min(1<<20, 100*extents)+17)
	rand.NewChaCha8([32]byte{1}).Read(random)
	whole := open("whole")
	defer whole.Close()
	whole.Write(random)
	fragmented := open("fragmented")
	defer fragmented.Close()
	for i := range int64(min(extents, 5000)) { // every second block, so that each is an extent
		if _, err := fragmented.WriteAt([]byte(fmt.Sprintf("piece %d", i)), 2*i*st.Bsize+5); err != nil {
			tb.Fatal(err)
		}
	}
	sparse := open("sparse")
	defer sparse.Close()
	sparse.WriteAt([]byte("far"), 1<<20+3)
	sparse.WriteAt([]byte("farther"), 1<<25)
	sparse.Truncate(1<<25 + 1<<18)
	unwritten := open("unwritten")
	defer unwritten.Close()
	if err := unix.Fallocate(int(unwritten.Fd()), 0, 0, 1<<19); err != nil {
		tb.Fatal(err)
	}
	unwritten.WriteAt([]byte("written"), 100000)
	beyond := open("allocated past its end")
	defer beyond.Close()
	if err := unix.Fallocate(int(beyond.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1<<19); err != nil {
		tb.Fatal(err)
	}
	beyond.WriteString("short")
	clone := open("clone")
	defer clone.Close()
	if err := unix.IoctlFileClone(int(clone.Fd()), int(whole.Fd())); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		tb.Fatal(err)
	}
	clone.WriteAt([]byte("changed"), 1<<19)
}

// manifest is a line for every path: its mode, size, time, and a digest of its
// content or its target.
func manifest(tb testing.TB, fsys fs.ReadLinkFS) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.Type() != info.Mode().Type() {
			return fmt.Errorf("%s: the entry is %v, the inode %v", name, d.Type(), info.Mode())
		}
		content := ""
		switch {
		case !fs.ValidPath(name) || d.Type().IsRegular() && info.Size() == 0:
			// No io/fs opens names that aren't UTF-8; the others take long in
			// big directories, each of which is read for each of its files.
		case d.Type().IsRegular():
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			n, err := io.Copy(h, f)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			content = fmt.Sprintf("%d %x", n, h.Sum(nil)[:8])
		case d.Type() == fs.ModeSymlink:
			if content, err = fsys.ReadLink(name); err != nil {
				return err
			}
		}
		size := info.Size()
		if d.IsDir() {
			size = 0 // differs between file systems
		}
		out[name] = fmt.Sprintf("%v %d %s %s", info.Mode(), size, info.ModTime().UTC().Format(time.RFC3339Nano), content)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
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
