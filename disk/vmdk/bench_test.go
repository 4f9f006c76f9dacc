package vmdk_test

import (
	"bytes"
	"testing"

	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

// BenchmarkStreamOptimized reads a compressed disk from memory, MB/s of the
// disk, in the blocks that a copy reads. Half of it is text, half is random.
func BenchmarkStreamOptimized(b *testing.B) {
	want := disktest.Content(32<<20, 1)
	for off := 0; off < len(want); off += 128 << 10 {
		copy(want[off:off+64<<10], bytes.Repeat([]byte("some lines of text that repeat\n"), 3000))
	}
	var file bytes.Buffer
	if err := disktest.StreamOptimized(&file, bytes.NewReader(want), int64(len(want)), "x", 6); err != nil {
		b.Fatal(err)
	}
	m, err := vmdk.Open(memOpener{"x.vmdk": file.Bytes()}, "x.vmdk")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	buf := make([]byte, 4<<20)
	b.SetBytes(int64(len(want)))
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < m.Size(); off += int64(len(buf)) {
			if _, err := m.ReadAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
