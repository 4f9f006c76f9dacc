package xfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update makes the stored images anew. See testdata/README.
var update = flag.Bool("update", false, "make testdata anew; the kernel must mount version 4 (testdata/make.sh sees to that)")

// stored are images that a kernel filled which mounts version 4.
var stored = []struct {
	name string
	argv []string
}{
	{"v4", []string{"-m", "crc=0", "-b", "size=1024", "-i", "size=256"}},
	{"v4-small-blocks", []string{"-m", "crc=0", "-b", "size=512", "-i", "size=256", "-n", "ftype=0"}},
	{"v5", []string{"-b", "size=1024", "-i", "nrext64=1"}},
}

func pack(tb testing.TB, name string, b []byte) {
	tb.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		tb.Fatal(err)
	}
	w.Write(b)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".gz"), out.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
}

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const storedBlock = 4096

// withoutZeros is an image's size, and its blocks that aren't zeros with their
// numbers.
func withoutZeros(b []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	for i := range len(b) / storedBlock {
		if block := b[i*storedBlock:][:storedBlock]; !bytes.Equal(block, make([]byte, storedBlock)) {
			out = append(binary.BigEndian.AppendUint32(out, uint32(i)), block...)
		}
	}
	return out
}

// storedImage undoes withoutZeros.
func storedImage(tb testing.TB, name string) []byte {
	tb.Helper()
	in := unpack(tb, name+".img")
	b := make([]byte, binary.BigEndian.Uint32(in))
	for in = in[4:]; len(in) > 0; in = in[4+storedBlock:] {
		copy(b[binary.BigEndian.Uint32(in)*storedBlock:], in[4:4+storedBlock])
	}
	return b
}

// list is a manifest as text.
func list(m map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%q %s\n", name, m[name])
	}
	return b.String()
}

// makeStored makes an image and its manifest anew.
func makeStored(t *testing.T, name string, argv []string) {
	t.Helper()
	path := mkfs(t, 33*mib, append([]string{"-d", "agcount=2"}, argv...)...)
	mount(t, path, func(dir string) {
		populate(t, dir, 100)
		pack(t, name+".manifest", []byte(list(manifest(t, os.DirFS(dir).(fs.ReadLinkFS)))))
	})
	run(t, "xfs_admin", "-U", "generate", path) // clears the log, which makes the image small
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, name+".img", withoutZeros(b))
}

// TestStored reads the stored images as the kernel read them.
func TestStored(t *testing.T) {
	for _, tt := range stored {
		t.Run(tt.name, func(t *testing.T) {
			if *update {
				makeStored(t, tt.name, tt.argv)
			}
			b := storedImage(t, tt.name)
			fsys, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if fsys.NeedsRecovery() {
				t.Error("NeedsRecovery = true after an unmount")
			}
			if diff := cmp.Diff(string(unpack(t, tt.name+".manifest")), list(manifest(t, fsys))); diff != "" {
				t.Errorf("tree (-want +got):\n%.2000s", diff)
			}
		})
	}
}
