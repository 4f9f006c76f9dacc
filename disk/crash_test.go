package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

var errCrash = errors.New("crash")

// memory is a target that loses on a crash what wasn't synced, or part of it.
type memory struct {
	mu      sync.Mutex
	now     []byte   // what reads see
	stable  []byte   // what survives
	unsaved [][2]int // ranges of now that may be lost
	budget  int      // calls left until the crash; below 0: none comes
	writes  [][2]int64
}

func newMemory(b []byte) *memory {
	return &memory{now: bytes.Clone(b), stable: bytes.Clone(b), budget: -1}
}

// step counts a call down.
func (m *memory) step() error {
	if m.budget == 0 {
		return errCrash
	}
	m.budget--
	return nil
}

func (m *memory) Size() int64 { return int64(len(m.now)) }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(m.now).ReadAt(p, off)
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		copy(m.now[off:], p[:len(p)/2]) // torn
		m.unsaved = append(m.unsaved, [2]int{int(off), int(off) + len(p)/2})
		return len(p) / 2, err
	}
	m.writes = append(m.writes, [2]int64{off, int64(len(p))})
	m.unsaved = append(m.unsaved, [2]int{int(off), int(off) + len(p)})
	return copy(m.now[off:], p), nil
}

func (m *memory) Zero(off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	m.unsaved = append(m.unsaved, [2]int{int(off), int(off + n)})
	clear(m.now[off : off+n])
	return nil
}

func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	copy(m.stable, m.now)
	m.unsaved = nil
	return nil
}

// crash gives the target as it is after the power came back: of what wasn't
// synced some 512-byte sectors are there and some aren't.
func (m *memory) crash(r *rand.Rand) *memory {
	after := bytes.Clone(m.stable)
	for _, u := range m.unsaved {
		for off := u[0]; off < u[1]; off += 512 {
			if r.IntN(2) == 0 {
				end := min(off+512, u[1])
				copy(after[off:end], m.now[off:end])
			}
		}
	}
	return newMemory(after)
}

// relayout are mappings that move things about, with gaps before, between and
// after, in no order; and what a target with them holds in the end.
func relayout(src disk.Image, content []byte, size int) ([]disk.Mapping, []byte) {
	maps := []disk.Mapping{
		{Source: src, SourceOffset: 2 * disk.BlockSize, TargetOffset: 1024, Length: disk.BlockSize + 512},
		{Source: src, SourceOffset: 512, TargetOffset: 5*disk.BlockSize + 512, Length: disk.BlockSize + 1536},
		{Source: src, SourceOffset: 512, TargetOffset: 2 * disk.BlockSize, Length: 2 * disk.BlockSize},
		{TargetOffset: 4*disk.BlockSize + 4096, Length: 4096},
	}
	want := make([]byte, size)
	for _, m := range maps {
		if m.Source != nil {
			copy(want[m.TargetOffset:m.TargetOffset+m.Length], content[m.SourceOffset:])
		}
	}
	return maps, want
}

// A copy is cut at every single call to the target in turn, the target then
// forgets what wasn't synced, and a second run must end in the same bits.
func TestCopyResumesAfterCrash(t *testing.T) {
	const size = 7*disk.BlockSize + 512
	content := disktest.Content(4*disk.BlockSize, 11)
	clear(content[disk.BlockSize : 2*disk.BlockSize+disk.BlockSize/2])
	src := disk.FromReaderAt(bytes.NewReader(content), int64(len(content)))
	maps, want := relayout(src, content, size)
	stale := bytes.Repeat([]byte{0xee}, size)
	r := rand.New(rand.NewPCG(1, 2))

	var skipped int64
	steps := 1
	if testing.Short() {
		steps = 5
	}
	budget := 0
	for ; ; budget += steps {
		path := filepath.Join(disktest.FastDir(t), "digests")
		d, err := disk.CreateDigests(path, "src", size, maps)
		if err != nil {
			t.Fatal(err)
		}
		d.CheckpointEvery(2 * disk.BlockSize)
		dst := newMemory(stale)
		dst.budget = budget
		_, err = disk.Copy(context.Background(), dst, maps, disk.Options{Digests: d, Workers: 1 + budget%4})
		if cerr := d.Close(); cerr != nil {
			t.Fatal(cerr)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("Copy with a crash at call %d = %v; want %v", budget, err, errCrash)
		}
		skipped += resume(t, dst.crash(r), path, maps, want)
	}
	t.Logf("%d cuts; %d bytes in all weren't copied again", budget/steps, skipped)
	if skipped == 0 && !testing.Short() {
		t.Error("no resume had anything to skip")
	}
	if budget < 20 {
		t.Errorf("the copy made %d calls; want enough for the test to mean something", budget)
	}
}

// resume ends a copy and returns how much of it needn't be done again.
func resume(t *testing.T, dst *memory, path string, maps []disk.Mapping, want []byte) int64 {
	t.Helper()
	ctx := context.Background()
	d, err := disk.OpenDigests(path, "src", dst.Size(), maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var done atomic.Int64
	st, err := disk.Copy(ctx, dst, maps, disk.Options{Digests: d, Progress: func(n int64) { done.Add(n) }})
	if err != nil {
		t.Fatalf("resumed Copy: %v", err)
	}
	if !bytes.Equal(dst.stable, want) {
		t.Fatalf("after a crash and a resume the target differs (skipped %d bytes)", st.Skipped)
	}
	if st.Bytes != dst.Size() || done.Load() != dst.Size() || st.Written+st.Zero+st.Skipped != dst.Size() {
		t.Errorf("resumed Copy = %+v, progress of %d; want %d accounted for", st, done.Load(), dst.Size())
	}
	if _, err := disk.Verify(ctx, dst, maps, disk.Options{Digests: d}); err != nil {
		t.Errorf("Verify after the resume: %v", err)
	}
	return st.Skipped
}

// The image fails now and then; each run must keep what the one before did.
func TestCopyKeepsProgressOnSourceErrors(t *testing.T) {
	const size = 20 * disk.BlockSize
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	path := filepath.Join(disktest.FastDir(t), "digests")
	img := &flaky{Image: disk.FromReaderAt(bytes.NewReader(content), size)}
	maps := disk.Whole(img)
	d, err := disk.CreateDigests(path, "src", size, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	dst := newMemory(make([]byte, size))
	var last int64
	for runs := 0; ; runs++ {
		img.left.Store(6)
		st, err := disk.Copy(context.Background(), dst, maps, disk.Options{Digests: d})
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if st.Skipped < last {
			t.Fatalf("run %d skips %d bytes, the one before %d", runs, st.Skipped, last)
		}
		last = st.Skipped
		if runs > 20 {
			t.Fatal("no end after 20 runs: progress is lost")
		}
	}
	if last == 0 {
		t.Error("no run had anything to skip")
	}
	if !bytes.Equal(dst.stable, content) {
		t.Error("the target differs")
	}
}

// flaky fails every read after some.
type flaky struct {
	disk.Image
	left atomic.Int64
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) < 0 {
		return 0, errCrash
	}
	return f.Image.ReadAt(p, off)
}

func TestVerify(t *testing.T) {
	const size = 9*disk.BlockSize + 512
	content := disktest.Content(size, 4)
	clear(content[4*disk.BlockSize : 6*disk.BlockSize])
	src := disk.FromReaderAt(bytes.NewReader(content), size)
	maps := disk.Whole(src)
	d, err := disk.CreateDigests(filepath.Join(disktest.FastDir(t), "digests"), "src", size, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := context.Background()
	dst, err := disk.CreateRaw(filepath.Join(t.TempDir(), "raw"), size)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	o := disk.Options{Digests: d}
	if _, err := disk.Verify(ctx, dst, maps, o); !errors.Is(err, disk.ErrNotCopied) {
		t.Errorf("Verify before the copy = %v; want %v", err, disk.ErrNotCopied)
	}
	if _, err := disk.Copy(ctx, dst, maps, o); err != nil {
		t.Fatal(err)
	}
	if st, err := disk.Verify(ctx, dst, maps, o); err != nil || st.Bytes != size {
		t.Errorf("Verify = %+v, %v; want %d bytes, nil", st, err, size)
	}
	known, total, err := d.Blocks()
	if known != 10 || total != 10 || err != nil {
		t.Errorf("Blocks() = %d, %d, %v; want 10, 10, nil", known, total, err)
	}
	if sum, err := d.Sum(); err != nil || sum == [32]byte{} {
		t.Errorf("Sum() = %x, %v; want a hash", sum, err)
	}
	for _, off := range []int64{0, 5*disk.BlockSize + 77, size - 1} {
		old := make([]byte, 1)
		dst.ReadAt(old, off)
		dst.WriteAt([]byte{old[0] ^ 1}, off)
		_, err := disk.Verify(ctx, dst, maps, o)
		var m *disk.MismatchError
		if !errors.As(err, &m) || off < m.Offset || off >= m.Offset+m.Length || m.Offset%disk.BlockSize != 0 {
			t.Errorf("Verify with a flipped bit at %d = %v; want a MismatchError for its block", off, err)
		}
		dst.WriteAt(old, off)
	}
}

// lying is an image whose extents are as given.
type lying struct {
	disk.Image
	list []disk.Extent
	err  error
}

func (l lying) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for _, e := range l.list {
			if !yield(e, nil) {
				return
			}
		}
		if l.err != nil {
			yield(disk.Extent{}, l.err)
		}
	}
}

// short is a reader that breaks the contract of io.ReaderAt.
type short struct{ n int }

func (s short) ReadAt(p []byte, _ int64) (int, error) { return min(s.n, len(p)), nil }

func TestCopyErrors(t *testing.T) {
	const size = 2 * disk.BlockSize
	good := disk.FromReaderAt(bytes.NewReader(make([]byte, size)), size)
	one := func(img disk.Image, n int64) []disk.Mapping { return []disk.Mapping{{Source: img, Length: n}} }
	extents := func(err error, es ...disk.Extent) []disk.Mapping { return one(lying{good, es, err}, size) }
	tests := []struct {
		name string
		maps []disk.Mapping
		want string
	}{
		{"overlap", []disk.Mapping{{good, 0, 0, 1024}, {good, 0, 512, 512}}, "mapping to target offset 512 overlaps the one before it, which ends at 1024"},
		{"beyond the target", []disk.Mapping{{good, 0, 512, size}}, "the target has only 8388608 bytes"},
		{"beyond the image", []disk.Mapping{{good, 512, 0, size}}, "the image has only 8388608 bytes"},
		{"overflow", []disk.Mapping{{good, 1 << 62, 512, 1<<63 - 512}}, "the target has only"},
		{"odd length", one(good, 1000), "not whole sectors of 512 bytes"},
		{"odd target", []disk.Mapping{{good, 0, 100, 512}}, "not whole sectors"},
		{"negative", []disk.Mapping{{good, -512, 0, 512}}, "impossible numbers"},
		{"nothing", one(good, 0), "impossible numbers"},
		{
			"image shorter than it says", one(disk.FromReaderAt(bytes.NewReader(make([]byte, 5<<20)), size), size),
			"reading 4194304 bytes at image offset 4194304: 1048576 of 4194304 bytes at 4194304: unexpected EOF",
		},
		{"short read without error", one(disk.FromReaderAt(short{100}, size), size), "100 of 4194304 bytes at"},
		{"extents end early", extents(nil, disk.Extent{Length: 4096}), "extents of the image end at 4096"},
		{"no extents", extents(nil), "extents of the image end at 0"},
		{"extents overlap", extents(nil, disk.Extent{Length: 4096}, disk.Extent{Offset: 512, Length: size - 512}), "starts at 512 where 4096 was next"},
		{"extents with a gap", extents(nil, disk.Extent{Length: 512}, disk.Extent{Offset: 1024, Length: size - 1024}), "starts at 1024 where 512 was next"},
		{"empty extent", extents(nil, disk.Extent{}), "impossible extent of 0 bytes at 0"},
		{"endless extent", extents(nil, disk.Extent{Length: 1<<63 - 1}), "impossible extent"},
		{"unused without a mask", extents(nil, disk.Extent{Length: size, Kind: disk.Unused}), "8388608 bytes at 0 are unused, but no mask is named"},
		{"extents fail", extents(errCrash, disk.Extent{Length: 512}), "extents of the image from offset 512: crash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := newMemory(make([]byte, size))
			_, err := disk.Copy(context.Background(), dst, tt.maps, disk.Options{Workers: 1})
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("Copy = %v; want %q in it", err, tt.want)
			}
		})
	}
}

// A bad mapping must be found before the good ones are written.
func TestCopyChecksFirst(t *testing.T) {
	img := disk.FromReaderAt(bytes.NewReader(bytes.Repeat([]byte{1}, 4096)), 4096)
	dst := newMemory(make([]byte, 4096))
	dst.budget = 0
	_, err := disk.Copy(context.Background(), dst, []disk.Mapping{{img, 0, 0, 1024}, {img, 0, 1024, 8192}}, disk.Options{})
	if err == nil || errors.Is(err, errCrash) {
		t.Errorf("Copy = %v; want an error about the mapping, and the target untouched", err)
	}
}

// stuck is a reader that ends only with its context.
type stuck struct {
	ctx     context.Context
	started chan struct{}
	once    *sync.Once
}

func (s stuck) ReadAt([]byte, int64) (int, error) {
	s.once.Do(func() { close(s.started) })
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

func TestCopyCancelled(t *testing.T) {
	why := errors.New("the user pressed Ctrl-C")
	for _, recorded := range []bool{false, true} {
		t.Run(fmt.Sprintf("digests %t", recorded), func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			src := stuck{ctx, make(chan struct{}), new(sync.Once)}
			maps := disk.Whole(disk.FromReaderAt(src, 16*disk.BlockSize))
			var o disk.Options
			if recorded {
				d, err := disk.CreateDigests(filepath.Join(disktest.FastDir(t), "d"), "", 16*disk.BlockSize, maps)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				o.Digests = d
			}
			go func() {
				<-src.started
				cancel(why)
			}()
			if _, err := disk.Copy(ctx, newMemory(make([]byte, 16*disk.BlockSize)), maps, o); !errors.Is(err, why) {
				t.Errorf("Copy = %v; want %v", err, why)
			}
		})
	}
}

// Whenever the cancel comes: either the copy is whole and on stable storage, or
// Copy says why it isn't.
func TestCopyCancelledAnywhere(t *testing.T) {
	why := errors.New("the user pressed Ctrl-C")
	const blocks = 6
	content := bytes.Repeat([]byte{1}, blocks*disk.BlockSize)
	maps := disk.Whole(disk.FromReaderAt(bytes.NewReader(content), int64(len(content))))
	for after := range int64(blocks + 1) {
		d, err := disk.CreateDigests(filepath.Join(disktest.FastDir(t), "d"), "", int64(len(content)), maps)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		var done atomic.Int64
		o := disk.Options{Digests: d, Progress: func(int64) {
			if done.Add(1) == after {
				cancel(why)
			}
		}}
		dst := newMemory(make([]byte, len(content)))
		_, err = disk.Copy(ctx, dst, maps, o)
		if err == nil && !bytes.Equal(dst.stable, content) {
			t.Errorf("cancelled after block %d: no error, but not all is on stable storage", after)
		}
		if err != nil && !errors.Is(err, why) {
			t.Errorf("cancelled after block %d: %v; want %v", after, err, why)
		}
		if after == 0 && err != nil {
			t.Errorf("not cancelled: %v", err)
		}
		cancel(nil)
		d.Close()
	}
}

// What is known to be zero must not be read.
func TestCopyReadsNoZeros(t *testing.T) {
	const size = 40 * disk.BlockSize
	list := []disk.Extent{
		{Length: 64 << 10},
		{Offset: 64 << 10, Length: 30*disk.BlockSize - 64<<10, Kind: disk.Zero},
		{Offset: 30 * disk.BlockSize, Length: disk.BlockSize},
		{Offset: 31 * disk.BlockSize, Length: 9 * disk.BlockSize, Kind: disk.Zero},
	}
	content := make([]byte, size)
	copy(content, bytes.Repeat([]byte{7}, 64<<10))
	copy(content[30*disk.BlockSize+128<<10:], "data")
	img := lying{Image: disk.FromReaderAt(bytes.NewReader(content), size), list: list}
	dst := newMemory(bytes.Repeat([]byte{0xee}, size))
	st, err := disk.Copy(context.Background(), dst, disk.Whole(img), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := disk.Stats{Bytes: size, Read: 64<<10 + disk.BlockSize, Written: 128 << 10, Zero: size - 128<<10}
	if st != want {
		t.Errorf("Copy = %+v; want %+v", st, want)
	}
	if !bytes.Equal(dst.now, content) {
		t.Error("the target differs")
	}
}

func TestDigestsRefuse(t *testing.T) {
	img := disk.FromReaderAt(bytes.NewReader(make([]byte, 1<<20)), 1<<20)
	maps := disk.Whole(img)
	path := filepath.Join(disktest.FastDir(t), "digests")
	d, err := disk.CreateDigests(path, "a", 1<<20, maps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.OpenDigests(path, "a", 1<<20, maps); err == nil {
		t.Error("OpenDigests of a file in use = nil; want an error")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, source string
		size         int64
		maps         []disk.Mapping
	}{
		{"source", "b", 1 << 20, maps},
		{"size", "a", 2 << 20, maps},
		{"mappings", "a", 1 << 20, []disk.Mapping{{img, 512, 0, 4096}}},
	} {
		if _, err := disk.OpenDigests(path, tt.source, tt.size, tt.maps); !errors.Is(err, disk.ErrOtherPlan) {
			t.Errorf("OpenDigests with another %s = %v; want %v", tt.name, err, disk.ErrOtherPlan)
		}
	}
	again, err := disk.OpenDigests(path, "a", 1<<20, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Sum(); err == nil {
		t.Error("Sum of a copy not begun = nil; want an error")
	}
	if _, err := disk.CreateDigests(path, "a", 1<<20, maps); err == nil {
		t.Error("CreateDigests of a file that exists = nil; want an error")
	}
}
