package disk

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenRegular: what is no regular file is refused, and at once: a pipe has
// nobody at its other end here, and waiting for one would be for ever.
func TestOpenRegular(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, err := range []error{
		os.Mkdir(at("dir"), 0o700), os.Symlink("pipe", at("link")), os.Symlink("/dev/zero", at("device")),
		os.WriteFile(at("file"), []byte("x"), 0o600), os.Symlink("file", at("good")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"pipe", "socket", "dir", "link", "device"} {
		if f, err := Files(dir).Open(name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("open %s = %v, %v; want it refused as no regular file", name, f, err)
		}
	}
	for _, name := range []string{"file", "good"} {
		b, err := fs.ReadFile(Files(dir), name)
		if err != nil || string(b) != "x" {
			t.Errorf("read %s = %q, %v", name, b, err)
		}
	}
	if _, err := Files(at("dir")).Open("../file"); err == nil {
		t.Error("../file was opened")
	}
}
