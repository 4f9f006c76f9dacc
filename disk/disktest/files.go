package disktest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// OpenFile opens a file until the test ends, and returns its size in bytes.
func OpenFile(tb testing.TB, path string) (*os.File, int64) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		tb.Fatal(err)
	}
	return f, size
}

// XFSProto describes a tree of files to `mkfs.xfs -p`, and returns the file to name. It can't describe names
// and targets with spaces.
func XFSProto(tb testing.TB, root string) string {
	tb.Helper()
	var b strings.Builder
	b.WriteString("none\n1 1\n")
	var add func(dir string)
	add = func(dir string) {
		b.WriteString("d--755 0 0\n")
		es, err := os.ReadDir(dir)
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range es {
			path := filepath.Join(dir, e.Name())
			b.WriteString(e.Name() + " ")
			switch {
			case e.IsDir():
				add(path)
			case e.Type()&os.ModeSymlink != 0:
				target, err := os.Readlink(path)
				if err != nil {
					tb.Fatal(err)
				}
				fmt.Fprintf(&b, "l--777 0 0 %s\n", target)
			default:
				fmt.Fprintf(&b, "---644 0 0 %s\n", path)
			}
		}
		b.WriteString("$\n")
	}
	add(root)
	b.WriteString("$\n")
	name := filepath.Join(tb.TempDir(), "proto")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}
