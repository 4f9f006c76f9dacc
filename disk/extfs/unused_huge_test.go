package extfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"esxodus/disk/disktest"
)

// meter counts how a reader is used.
type meter struct {
	io.ReaderAt
	reads, bytes, longest int64
}

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	m.reads++
	m.bytes += int64(len(p))
	m.longest = max(m.longest, int64(len(p)))
	return m.ReaderAt.ReadAt(p, off)
}

// TestUnusedHuge: a file system of 30 TiB takes few requests and little memory.
func TestUnusedHuge(t *testing.T) { // not parallel: it looks at what is allocated
	path := makeImage(t, "30T", "-t", "ext4", "-O", "^metadata_csum,uninit_bg", "-J", "size=4", "-E", "lazy_itable_init=1,lazy_journal_init=1")
	var free int64
	for line := range strings.Lines(run(t, "dumpe2fs", "-h", path)) {
		_, _ = fmt.Sscanf(line, "Free blocks: %d", &free)
	}
	// 245,760 groups with descriptors of 64 bytes, read twice, 256 KiB at a time. Their
	// bitmaps lie together for 16 groups each. Of those one was written; when the
	// journal is to be replayed all count.
	const groups, descriptors = 245_760, 2 * 245_760 * 64 / descriptorsRead
	check := func(most int64) {
		t.Helper()
		file, size := disktest.OpenFile(t, path)
		m := &meter{ReaderAt: file}
		f, err := Open(m, size)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		total, end := int64(0), int64(0)
		for r, err := range f.Unused(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset <= end || r.Length <= 0 || r.Offset+r.Length > size {
				t.Fatalf("%+v after %d, size %d", r, end, size)
			}
			end = r.Offset + r.Length
			total += r.Length
		}
		runtime.ReadMemStats(&after)
		if total != free*f.blockSize {
			t.Errorf("%d blocks are unused; want %d", total/f.blockSize, free)
		}
		if m.reads > most || m.longest > 1<<20 {
			t.Errorf("%d reads of at most %d bytes; want %d of 1 MiB", m.reads, m.longest, most)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 { // all together; not at once
			t.Errorf("%d bytes were allocated", n)
		}
		t.Logf("%d reads, %d bytes, %d allocated", m.reads, m.bytes, after.TotalAlloc-before.TotalAlloc)
	}
	check(descriptors + groups/16 + 20)
	overwrite(t, path, superOffset+96, string(binary.LittleEndian.AppendUint32(nil, 0x2c6)))
	check(descriptors + groups/16 + 20)
}
