package appliance

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// fetched is something to read in pieces, and how.
func fetched(size int) (data []byte, p *pieces, calls *int) {
	data = make([]byte, size)
	for i := range data {
		data[i] = byte(i >> 8 * 7)
	}
	calls = new(int)
	return data, &pieces{size: int64(size), fetch: func(off, length int64) ([]byte, error) {
		*calls++
		return bytes.Clone(data[off : off+length]), nil
	}}, calls
}

func TestPieces(t *testing.T) {
	for _, size := range []int{0, 1, 1000, smallFile, smallFile + 1, 40 << 20} {
		data, p, calls := fetched(size)
		got, err := io.ReadAll(io.NewSectionReader(p, 0, int64(size)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes are read as %d, %v", size, len(got), err)
		}
		if size <= smallFile && *calls > 1 || *calls > 20 {
			t.Errorf("%d bytes take %d calls", size, *calls)
		}
	}
	data, p, calls := fetched(40 << 20)
	for off := 100; off < len(data); off += 3 << 20 {
		b := make([]byte, 4)
		if n, err := p.ReadAt(b, int64(off)); n != 4 || err != nil || !bytes.Equal(b, data[off:off+4]) {
			t.Errorf("ReadAt(%d) = %d, %v, %x; want %x", off, n, err, b, data[off:off+4])
		}
		if len(p.piece) > minPiece {
			t.Errorf("for 4 bytes at %d %d are fetched", off, len(p.piece))
		}
	}
	if *calls != 14 {
		t.Errorf("%d calls for 14 places", *calls)
	}
	small, p, _ := fetched(5000)
	if err := iotest.TestReader(io.NewSectionReader(p, 0, 5000), small); err != nil {
		t.Error(err)
	}
}

func TestPiecesFail(t *testing.T) {
	broken := errors.New("broken")
	p := &pieces{size: 20 << 20, fetch: func(off, length int64) ([]byte, error) {
		if off > 0 {
			return nil, broken
		}
		return make([]byte, length), nil
	}}
	b := make([]byte, maxPiece+1)
	if n, err := p.ReadAt(b, 0); n != maxPiece || !errors.Is(err, broken) {
		t.Errorf("ReadAt = %d, %v; want what there was, and why no more", n, err)
	}
	p = &pieces{size: 10, fetch: func(int64, int64) ([]byte, error) { return []byte("short"), nil }}
	if _, err := p.ReadAt(b, 0); err == nil || err.Error() != "5 bytes at 0, but 10 were asked for" {
		t.Errorf("ReadAt of a file that shrinks = %v", err)
	}
}
