package part

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
)

// memory is an image in memory. Every read is noted in reads.
type memory struct {
	*bytes.Reader
	reads *[]int64
}

func newMemory(b []byte) memory { return memory{Reader: bytes.NewReader(b), reads: new([]int64)} }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	*m.reads = append(*m.reads, off)
	return m.Reader.ReadAt(p, off)
}

func (m memory) Size() int64 { return m.Reader.Size() }

func (m memory) Extents() iter.Seq2[disk.Extent, error] { return one(m.Size()) }

func one(size int64) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		if size > 0 {
			yield(disk.Extent{Length: size}, nil)
		}
	}
}

// sparse is a file as an image.
type sparse struct {
	*os.File
	size int64
}

func (s sparse) Size() int64                            { return s.size }
func (s sparse) Extents() iter.Seq2[disk.Extent, error] { return one(s.size) }

// broken is an image whose reads fail.
type broken struct{ size int64 }

var errBroken = errors.New("the link is down")

func (b broken) ReadAt([]byte, int64) (int, error)      { return 0, errBroken }
func (b broken) Size() int64                            { return b.size }
func (b broken) Extents() iter.Seq2[disk.Extent, error] { return one(b.size) }

// tool finds a program, and fails or skips the test without it.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p := filepath.Join(dir, name); exec.Command("test", "-x", p).Run() == nil {
			return p
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
		tb.Fatalf("%s is not installed", name)
	}
	tb.Skipf("%s is not installed", name)
	return ""
}

// run runs a tool with a text as its input and returns what it prints.
func run(tb testing.TB, stdin string, argv ...string) string {
	tb.Helper()
	cmd := exec.Command(tool(tb, argv[0]), argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%v: %v: %s%s", argv, err, out, stderr.String())
	}
	return string(out)
}

// blank makes a sparse file of size bytes.
func blank(tb testing.TB, size int64) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		tb.Fatal(err)
	}
	return path
}

func open(tb testing.TB, path string) sparse {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		tb.Fatal(err)
	}
	return sparse{File: f, size: size}
}
