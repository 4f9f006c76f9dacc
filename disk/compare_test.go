package disk_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// twoSides is a finished copy in another layout: 512 bytes of the source are left
// out, the target has a head of its own and zeros at its end.
type twoSides struct {
	content []byte // of the source
	img     disk.Image
	dst     *disk.Raw
	maps    []disk.Mapping
	digests *disk.Digests
	dir     string
}

const (
	sidesHead = 1 << 20
	sidesSize = 6*disk.BlockSize + 512
)

func newSides(t *testing.T) *twoSides {
	t.Helper()
	s := &twoSides{content: disktest.Content(sidesSize, 7), dir: disktest.FastDir(t)}
	clear(s.content[2*disk.BlockSize : 4*disk.BlockSize])
	s.img = disk.FromReaderAt(bytes.NewReader(s.content), sidesSize)
	head := disk.FromReaderAt(bytes.NewReader(disktest.Content(sidesHead, 8)), sidesHead)
	s.maps = []disk.Mapping{
		{Source: head, Length: sidesHead},
		{Source: s.img, SourceOffset: 512, TargetOffset: sidesHead, Length: sidesSize - 512},
	}
	var err error
	if s.dst, err = disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), sidesHead+sidesSize+disk.BlockSize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.dst.Close() })
	s.digests = s.create(t, "digests")
	if _, err := disk.Copy(t.Context(), s.dst, s.maps, disk.Options{Digests: s.digests}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *twoSides) create(t *testing.T, name string) *disk.Digests {
	t.Helper()
	d, err := disk.CreateDigests(filepath.Join(s.dir, name), "src", s.dst.Size(), s.maps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// flip flips a bit of the target.
func (s *twoSides) flip(t *testing.T, off int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := s.dst.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := s.dst.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// TestCompareTarget: all that differs is counted, and the first of it named, in the
// head, the zeros, and in zeros between.
func TestCompareTarget(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	const blocks = 1 + 6 + 2 // of head, source and zeros: 6 MiB and 512 bytes are one block and a rest
	o := disk.Options{Digests: s.digests}
	got, err := disk.CompareTarget(t.Context(), s.dst, s.maps, nil, o)
	if err != nil || got.Differ != 0 || got.Blocks != blocks || got.Bytes != s.dst.Size() || got.First != (disk.Range{}) {
		t.Fatalf("CompareTarget = %+v, %v; want %d blocks, all the same", got, err, blocks)
	}
	zeros := s.dst.Size() - 1
	s.flip(t, zeros)
	s.flip(t, sidesHead+3*disk.BlockSize+9)
	got, err = disk.CompareTarget(t.Context(), s.dst, s.maps, nil, o)
	if want := (disk.Range{Offset: sidesHead + 3*disk.BlockSize, Length: disk.BlockSize}); err != nil || got.Differ != 2 || got.First != want || got.Blocks != blocks {
		t.Errorf("CompareTarget with two flipped bits = %+v, %v; want two blocks, the first %+v", got, err, want)
	}
	apart, err := disk.Apart(s.dst, got.First.Offset, s.img, got.First.Offset-sidesHead+512, got.First.Length)
	if err != nil || apart == nil || *apart != (disk.Range{Offset: sidesHead + 3*disk.BlockSize + 9, Length: 1}) {
		t.Errorf("Apart = %+v, %v; want the byte that was flipped", apart, err)
	}
	if apart, err := disk.Apart(s.dst, sidesHead, s.img, 512, disk.BlockSize); err != nil || apart != nil {
		t.Errorf("Apart of what is the same = %+v, %v; want nil", apart, err)
	}
}

// TestCompareSource: what the mappings take of the source is compared, and nothing
// else.
func TestCompareSource(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	o := disk.Options{Digests: s.digests}
	s.content[3] ^= 1 // isn't taken
	got, err := disk.CompareSource(t.Context(), s.img, s.dst.Size(), s.maps, o)
	if err != nil || got.Differ != 0 || got.Blocks != 6 || got.Bytes != sidesSize-512 || got.Read != got.Bytes {
		t.Fatalf("CompareSource = %+v, %v; want 6 blocks, all the same", got, err)
	}
	at := int64(512 + 5*disk.BlockSize + 1)
	s.content[at] ^= 1
	got, err = disk.CompareSource(t.Context(), s.img, s.dst.Size(), s.maps, o)
	if want := (disk.Range{Offset: 512 + 5*disk.BlockSize, Length: disk.BlockSize}); err != nil || got.Differ != 1 || got.First != want {
		t.Errorf("CompareSource with a flipped bit = %+v, %v; want one block, %+v", got, err, want)
	}
}

// TestCompareFirst: the first block that differs is the one that lies first, not the
// one that was read first.
func TestCompareFirst(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	s.content[512] ^= 1
	s.content[512+4*disk.BlockSize] ^= 1
	late := &lateFirst{Image: s.img, last: make(chan struct{})}
	s.maps[1].Source = late
	got, err := disk.CompareSource(t.Context(), late, s.dst.Size(), s.maps, disk.Options{Digests: s.digests, Workers: 2})
	if want := (disk.Range{Offset: 512, Length: disk.BlockSize}); err != nil || got.Differ != 2 || got.First != want {
		t.Errorf("CompareSource = %+v, %v; want two blocks, the first %+v", got, err, want)
	}
}

// lateFirst is an image whose first block comes only when the last one is asked for.
type lateFirst struct {
	disk.Image

	last chan struct{}
}

func (l *lateFirst) ReadAt(p []byte, off int64) (int, error) {
	switch off {
	case 512:
		<-l.last
	case 512 + 5*disk.BlockSize:
		close(l.last)
	}
	return l.Image.ReadAt(p, off)
}

// TestRecord: what was changed on purpose is the same as it was left, all else as it
// was copied; blocks that no range touches have no digest of their own.
func TestRecord(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	later := s.create(t, "later")
	o := disk.Options{Digests: s.digests}
	changed := []int64{5, sidesHead + 2*disk.BlockSize, s.dst.Size() - 1}
	ranges := []disk.Range{{0, 4096}, {sidesHead + 2*disk.BlockSize - 1, 2}, {s.dst.Size() - 512, 512}}
	for _, off := range changed {
		s.flip(t, off)
	}
	if err := disk.Record(t.Context(), s.dst, s.maps, ranges, disk.Options{Digests: later}); err != nil {
		t.Fatal(err)
	}
	const touched = 4 // the second range touches two blocks
	if known, _, err := later.Blocks(); known != touched || err != nil {
		t.Errorf("Record kept %d digests (%v); want %d", known, err, touched)
	}
	got, err := disk.CompareTarget(t.Context(), s.dst, s.maps, later, o)
	if err != nil || got.Differ != 0 || got.Later != touched {
		t.Errorf("CompareTarget = %+v, %v; want all the same, %d of them later", got, err, touched)
	}
	s.flip(t, changed[0])
	s.flip(t, sidesHead+4*disk.BlockSize)
	got, err = disk.CompareTarget(t.Context(), s.dst, s.maps, later, o)
	if want := (disk.Range{Length: sidesHead}); err != nil || got.Differ != 2 || got.First != want || !got.FirstLater {
		t.Errorf("CompareTarget with a change taken back and another = %+v, %v; want both, the first later", got, err)
	}
}

// TestCompareFails: what can't be compared is no difference.
func TestCompareFails(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	empty := s.create(t, "empty")
	if _, err := disk.CompareTarget(t.Context(), s.dst, s.maps, nil, disk.Options{Digests: empty}); !errors.Is(err, disk.ErrNotCopied) {
		t.Errorf("CompareTarget before the copy = %v; want %v", err, disk.ErrNotCopied)
	}
	if _, err := disk.CompareSource(t.Context(), s.img, s.dst.Size(), s.maps, disk.Options{Digests: empty}); !errors.Is(err, disk.ErrNotCopied) {
		t.Errorf("CompareSource before the copy = %v; want %v", err, disk.ErrNotCopied)
	}
	broken := &flaky{Image: s.img}
	maps := []disk.Mapping{s.maps[0], s.maps[1]}
	maps[1].Source = broken
	var read *disk.ReadError
	if _, err := disk.CompareSource(t.Context(), broken, s.dst.Size(), maps, disk.Options{Digests: s.digests}); !errors.As(err, &read) || !errors.Is(err, errCrash) {
		t.Errorf("CompareSource of a source that fails = %v; want its error", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCrash)
	if _, err := disk.CompareTarget(ctx, s.dst, s.maps, nil, disk.Options{Digests: s.digests}); !errors.Is(err, errCrash) {
		t.Errorf("CompareTarget, cancelled = %v; want the cause", err)
	}
	if _, err := disk.CompareTarget(t.Context(), s.dst, nil, nil, disk.Options{Digests: s.digests}); !errors.Is(err, disk.ErrOtherPlan) {
		t.Errorf("CompareTarget with other mappings = %v; want %v", err, disk.ErrOtherPlan)
	}
}
