package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// piped is a stream of a disk, in runs of 64 KiB, unpacked as it comes.
type piped struct {
	disk   []byte
	pos    int
	cut    int // where it ends with an error; 0: nowhere
	broken int // where the packed bytes are no good; 0: nowhere
	runs   []disk.Run
}

var errStreamCut = errors.New("cut")

func (p *piped) Size() int64 { return int64(len(p.disk)) }

func (p *piped) Next() (disk.Run, error) {
	if len(p.runs) > 0 {
		r := p.runs[0]
		p.runs = p.runs[1:]
		return r, nil
	}
	for ; p.pos < len(p.disk); p.pos += 64 << 10 {
		if p.cut > 0 && p.pos >= p.cut {
			return disk.Run{}, errStreamCut
		}
		n := min(64<<10, len(p.disk)-p.pos)
		if bytes.Count(p.disk[p.pos:][:n], []byte{0}) < n {
			return disk.Run{Offset: int64(p.pos), Length: int64(n), Packed: int64(n)}, nil
		}
	}
	if p.cut > 0 {
		return disk.Run{}, errStreamCut
	}
	return disk.Run{}, io.EOF
}

func (p *piped) Packed(buf []byte) ([]byte, error) {
	from := p.pos
	p.pos = min(p.pos+64<<10, len(p.disk))
	return append(buf, p.disk[from:p.pos]...), nil
}

func (p *piped) Unpack(b, packed []byte) error {
	if p.broken > 0 && bytes.Equal(packed, p.disk[p.broken:][:len(packed)]) {
		return errStreamCut
	}
	copy(b, packed)
	return nil
}

// streamTarget is a raw file of that many bytes that held others before, with digests.
func streamTarget(t *testing.T, p *piped) (*disk.Raw, disk.Options) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(path, bytes.Repeat([]byte("stale..."), len(p.disk)/8), 0o600); err != nil {
		t.Fatal(err)
	}
	dst, err := disk.OpenRaw(path, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dst.Close() })
	d, err := disk.CreateDigests(filepath.Join(t.TempDir(), "digests"), "x", dst.Size(), disk.StreamMappings(p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return dst, disk.Options{Digests: d}
}

// A stream that is cut comes again from its beginning, but writes only what is missing.
func TestStreamAgain(t *testing.T) {
	want := disktest.Content(13*disk.BlockSize+512*8, 4)
	clear(want[5*disk.BlockSize : 9*disk.BlockSize])
	want[len(want)-1] = 1 // the last run ends where the disk does
	for _, cut := range []int{1, 2*disk.BlockSize + 1, 10 * disk.BlockSize, 13 * disk.BlockSize, len(want)} {
		p := &piped{disk: want, cut: cut}
		dst, o := streamTarget(t, p)
		if _, err := disk.CopyStream(t.Context(), dst, p, o); !errors.Is(err, errStreamCut) {
			t.Fatalf("cut at %d: error is %v", cut, err)
		}
		known, total, err := o.Digests.Blocks()
		if err != nil || known == total {
			t.Fatalf("cut at %d, %d of %d blocks are there (%v)", cut, known, total, err)
		}
		var progress int64
		o.Workers, o.Progress = 1, func(n int64) { progress += n }
		st, err := disk.CopyStream(t.Context(), dst, &piped{disk: want}, o)
		if err != nil {
			t.Fatalf("again after the cut at %d: %v", cut, err)
		}
		got := make([]byte, len(want))
		if _, err := dst.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("cut at %d: the target differs, or %v", cut, err)
		}
		if st.Skipped != known*disk.BlockSize || st.Skipped+st.Written+st.Zero != st.Bytes || st.Bytes != dst.Size() || progress != st.Bytes {
			t.Errorf("cut at %d: again %+v with progress of %d; want %d blocks skipped", cut, st, progress, known)
		}
		if known == 0 && cut >= 10*disk.BlockSize { // more than what is in work
			t.Errorf("cut at %d: no block is known", cut)
		}
		if _, err := disk.Verify(t.Context(), dst, disk.StreamMappings(p), disk.Options{Digests: o.Digests}); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// A disk that was written to between two tries is no longer the one that was begun.
func TestStreamChanged(t *testing.T) {
	first := disktest.Content(6*disk.BlockSize, 4)
	clear(first[2*disk.BlockSize : 4*disk.BlockSize])
	for _, at := range []int{17, 3 * disk.BlockSize} {
		p := &piped{disk: first}
		dst, o := streamTarget(t, p)
		if _, err := disk.CopyStream(t.Context(), dst, p, o); err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(first)
		changed[at]++
		if _, err := disk.CopyStream(t.Context(), dst, &piped{disk: changed}, o); !errors.Is(err, disk.ErrStreamChanged) {
			t.Errorf("another byte at %d: error is %v", at, err)
		}
	}
	zeroed := bytes.Clone(first)
	clear(zeroed[5*disk.BlockSize:])
	p := &piped{disk: first}
	dst, o := streamTarget(t, p)
	if _, err := disk.CopyStream(t.Context(), dst, p, o); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.CopyStream(t.Context(), dst, &piped{disk: zeroed}, o); !errors.Is(err, disk.ErrStreamChanged) {
		t.Errorf("zeros where data was: error is %v", err)
	}
}

func TestStreamFaults(t *testing.T) {
	content := disktest.Content(3*disk.BlockSize, 4)
	content[2*disk.BlockSize] = 1
	tests := []struct {
		name string
		p    piped
		want string
	}{
		{"no good packing", piped{broken: 2 * disk.BlockSize}, "image offset 8388608: cut"},
		{"back", piped{runs: []disk.Run{{Offset: 64 << 10, Length: 64 << 10, Packed: 64 << 10}, {Length: 64 << 10}}}, "impossible run of 65536 bytes at 0"},
		{"beyond", piped{runs: []disk.Run{{Offset: 3 * disk.BlockSize, Length: 1}}}, "impossible run of 1 bytes at 12582912"},
		{"empty", piped{runs: []disk.Run{{Offset: 5}}}, "impossible run of 0 bytes"},
		{"across blocks", piped{runs: []disk.Run{{Offset: disk.BlockSize - 1, Length: 2}}}, "crosses the border of a block"},
		{"short", piped{runs: []disk.Run{{Length: 64 << 10, Packed: 3}}}, "65536 bytes for the run at 0, which was to have 3"},
	}
	for _, tt := range tests {
		tt.p.disk = content
		dst, o := streamTarget(t, &tt.p)
		if _, err := disk.CopyStream(t.Context(), dst, &tt.p, o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v; want %q", tt.name, err, tt.want)
		}
	}
	stop, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	p := &piped{disk: content}
	dst, o := streamTarget(t, p)
	if _, err := disk.CopyStream(stop, dst, p, o); !errors.Is(err, why) {
		t.Errorf("stopped: error is %v", err)
	}
	if _, err := disk.CopyStream(t.Context(), dst, &piped{disk: make([]byte, 4*disk.BlockSize)}, o); err == nil {
		t.Error("a disk larger than the target is taken")
	}
}
