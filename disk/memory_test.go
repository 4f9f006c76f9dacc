package disk_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/source"
	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"
)

const (
	largest     = 64 << 40 // of all disks
	mostMemory  = 256 << 20
	memoryChild = "ESXODUS_TEST_MEMORY" // in the environment of a process that is measured
	sampleSize  = 64 << 10
)

// TestPeakMemory copies a disk of 64 TiB with next to nothing in it, by each way, in a
// process of its own that may take no more than 256 MiB. By the ways that don't tell
// where nothing is, 64 TiB would have to be sent, which takes most of a day at 1 GB/s:
// there it is the rest of a copy of which all but the samples is on record.
func TestPeakMemory(t *testing.T) {
	if text := os.Getenv(memoryChild); text != "" {
		measuredCopy(t, text)
		return
	}
	t.Parallel()
	dir := disktest.FastDir(t)
	want := newSamples()
	flat := filepath.Join(dir, "store", "flat", "x-flat.vmdk")
	sparseFlat(t, flat, want)
	sparseChain(t, filepath.Dir(flat), want)
	stream := filepath.Join(t.TempDir(), "x.vmdk")
	ova := sync.OnceValue(func() string { return streamed(t, stream, want) })
	h, err := fixture.Start(context.Background(), fixture.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	c := &cutter{t: t, dir: filepath.Join(dir, "store"), host: h}
	for _, way := range []struct {
		name   string
		origin plan.Origin
		local  func() string // a file of this machine instead
		rest   bool          // of a copy of which all else is on record
		often  bool          // in make test, too
		once   bool          // the file is read as a stream
	}{
		{name: "flat over HTTPS", origin: plan.Origin{Path: "[datastore1] flat/x.vmdk", Way: plan.WayHTTPS}, rest: true, often: true},
		{name: "chain over HTTPS", origin: plan.Origin{Path: "[datastore1] flat/x-000001.vmdk", Way: plan.WayHTTPS}, rest: true},
		{name: "flat by SSH", origin: plan.Origin{Path: "[datastore1] flat/x.vmdk", Way: plan.WaySSH}, rest: true, often: true},
		{name: "chain by SSH", origin: plan.Origin{Path: "[datastore1] flat/x-000001.vmdk", Way: plan.WaySSH}, rest: true},
		{name: "flat from a mount", origin: plan.Origin{Path: "[datastore1] flat/x.vmdk", Way: plan.WayFile}},
		{name: "chain from a mount", origin: plan.Origin{Path: "[datastore1] flat/x-000001.vmdk", Way: plan.WayFile}},
		{name: "streamOptimized", local: func() string { return strings.TrimSuffix(ova(), ".ova") + ".vmdk" }},
		{name: "OVA", local: ova},
		{name: "a lease's stream", local: func() string { return strings.TrimSuffix(ova(), ".ova") + ".vmdk" }, once: true},
	} {
		t.Run(way.name, func(t *testing.T) {
			if !way.often {
				fixtures.Rung(t, "boot")
			}
			c.t, c.origin = t, way.origin
			a := c.attempt(filepath.Join(dir, "target"))
			a.Digests = filepath.Join(t.TempDir(), "digests") // of 512 MiB
			if way.local != nil {
				a.Local, a.Once = way.local(), way.once
			}
			measured(t, a, way.rest, want)
		})
	}
}

// samples are the data of a disk that has next to none: at its beginning, its end,
// beyond 62 TiB, and here and there.
type samples struct {
	offsets []int64 // ascending, whole grains of 64 KiB
	content map[int64][]byte
}

func newSamples() *samples {
	s := &samples{content: map[int64][]byte{}}
	for _, off := range []int64{0, 3 << 30, 1<<40 + 5<<20, 20<<40 + sampleSize, 62<<40 + 7<<20, largest - sampleSize} {
		s.offsets = append(s.offsets, off)
		s.content[off] = disktest.Content(sampleSize, uint64(off>>16)+1)
		s.content[off][0], s.content[off][sampleSize-1] = 1, 1
	}
	return s
}

// NextData implements what disktest.StreamOptimized asks for.
func (s *samples) NextData(off int64) int64 {
	for _, at := range s.offsets {
		if at+sampleSize > off {
			return max(at, off)
		}
	}
	return largest
}

// ReadAt reads grains of 64 KiB.
func (s *samples) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off%sampleSize != 0 || len(p) != sampleSize {
		return 0, fmt.Errorf("%d bytes at %d: not a grain", len(p), off)
	}
	return copy(p, s.content[off]), nil
}

// sparseFlat makes a flat disk of them, with a descriptor.
func sparseFlat(t *testing.T, path string, s *samples) {
	t.Helper()
	writeAll(t, filepath.Dir(path), map[string]string{"x.vmdk": fixtures.Descriptor(largest/disk.SectorSize, filepath.Base(path)), filepath.Base(path): ""})
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(largest); err != nil {
		fixtures.Missing(t, fmt.Sprintf("a file system with files of 64 TiB (%v)", err))
	}
	for _, off := range s.offsets {
		if _, err := f.WriteAt(s.content[off], off); err != nil {
			t.Fatal(err)
		}
	}
}

// sparseChain lays a seSparse snapshot over that, which holds a grain of each sample's
// middle, and changes it.
func sparseChain(t *testing.T, dir string, s *samples) {
	t.Helper()
	const (
		grain, entries = 4096, 4096
		tables         = int64(largest / (grain * entries))
		directory      = 4096 * disk.SectorSize // where it begins
		grainTables    = directory + tables*8
		grains         = grainTables + tables*entries*8
	)
	head := disktest.SeSparse(disktest.Delta{})[:2*disk.SectorSize]
	for at, v := range map[int]int64{16: largest / 512, 136: tables * 8 / 512, 144: grainTables / 512, 152: tables * entries * 8 / 512, 192: grains / 512, 200: largest/512 + 8} {
		binary.LittleEndian.PutUint64(head[at:], uint64(v))
	}
	f, err := os.Create(filepath.Join(dir, "x-000001-sesparse.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(at int64, b []byte) {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	put(0, head)
	for i, off := range s.offsets {
		n, at := uint64(i), off+sampleSize/2
		put(directory+at/(grain*entries)*8, binary.LittleEndian.AppendUint64(nil, 1<<60|n))
		put(grainTables+int64(n)*entries*8+at/grain%entries*8, binary.LittleEndian.AppendUint64(nil, 3<<60|n<<48))
		put(grains+int64(n)*grain, bytes.Repeat([]byte{7}, grain))
	}
	writeAll(t, dir, map[string]string{
		"x-000001.vmdk": disktest.Descriptor("seSparse", "SESPARSE", "x-000001-sesparse.vmdk", largest, 1, 0xfffffffe, "x.vmdk"),
	})
}

// streamed makes a streamOptimized file of them, and an OVA, whose path it returns.
func streamed(t *testing.T, path string, s *samples) string {
	t.Helper()
	var b bytes.Buffer
	if err := disktest.StreamOptimized(&b, s, largest, filepath.Base(path), 1); err != nil {
		t.Fatal(err)
	}
	ova := strings.TrimSuffix(path, ".vmdk") + ".ova"
	f, err := os.Create(ova)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, m := range []struct{ name, content string }{{"x.ovf", "<Envelope/>"}, {"x.vmdk", b.String()}} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: 0o644}))
		_, wrong := io.WriteString(w, m.content)
		err = errors.Join(err, wrong)
	}
	if err := errors.Join(err, w.Close(), f.Close(), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	return ova
}

// measured has a process make a copy, and looks at its memory and at the target.
func measured(t *testing.T, a *attempt, rest bool, want *samples) {
	t.Helper()
	dst, err := disk.CreateRaw(a.Target, largest)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(a.Target)
	defer dst.Close()
	if rest {
		onRecord(t, a.Digests, want)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPeakMemory$")
	cmd.Env = append(os.Environ(), memoryChild+"="+string(text))
	begin := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var peak int64
	var st disk.Stats
	if _, err := fmt.Sscanf(string(out), "peak %d read %d bytes %d", &peak, &st.Read, &st.Bytes); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("peak %d MiB, %d MiB read, in %v", peak>>20, st.Read>>20, time.Since(begin).Round(100*time.Millisecond))
	if peak == 0 || peak > mostMemory || st.Bytes != largest {
		t.Errorf("peak memory %d bytes for %d of %d bytes; want at most %d", peak, st.Bytes, int64(largest), mostMemory)
	}
	chain := strings.Contains(a.Origin.Path, "-0000")
	for _, off := range want.offsets {
		content := bytes.Clone(want.content[off])
		if chain {
			copy(content[sampleSize/2:], bytes.Repeat([]byte{7}, 4096))
		}
		got := make([]byte, sampleSize)
		if _, err := dst.ReadAt(got, off); err != nil || !bytes.Equal(got, content) {
			t.Errorf("the data at %d isn't there (%v)", off, err)
		}
	}
}

// onRecord makes digests that say that all is copied but the samples' blocks.
func onRecord(t *testing.T, path string, s *samples) {
	t.Helper()
	const header, record = 4096, 32
	d, err := disk.CreateDigests(path, "", largest, disk.Whole(disk.FromReaderAt(nil, largest)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := bytes.Repeat([]byte{1}, 1<<20)
	for at := int64(0); at < largest/disk.BlockSize*record; at += int64(len(known)) {
		if _, err := f.WriteAt(known, header+at); err != nil {
			t.Fatal(err)
		}
	}
	for _, off := range s.offsets {
		if _, err := f.WriteAt(make([]byte, record), header+off/disk.BlockSize*record); err != nil {
			t.Fatal(err)
		}
	}
}

// measuredCopy is what the process does that is measured.
func measuredCopy(t *testing.T, text string) {
	t.Helper()
	var a attempt
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	st, err := a.whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(line, &kib); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "peak %d read %d bytes %d\n", kib<<10, st.Read, st.Bytes)
}

// whole makes the copy.
func (a *attempt) whole(ctx context.Context) (st disk.Stats, err error) {
	if a.Once {
		return a.streamed(ctx)
	}
	img, closeImage, err := a.open(ctx)
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, closeImage()) }()
	dst, err := disk.OpenRaw(a.Target, true)
	if err != nil {
		return st, err
	}
	defer dst.Close()
	maps := disk.Whole(img)
	digests, err := disk.OpenDigests(a.Digests, "", largest, maps)
	if errors.Is(err, fs.ErrNotExist) {
		digests, err = disk.CreateDigests(a.Digests, "", largest, maps)
	}
	if err != nil {
		return st, err
	}
	defer digests.Close()
	return disk.Copy(ctx, dst, maps, disk.Options{Digests: digests, Workers: 8})
}

// streamed is whole of a file that is read as a stream.
func (a *attempt) streamed(ctx context.Context) (st disk.Stats, err error) {
	f, err := os.Open(a.Local)
	if err != nil {
		return st, err
	}
	defer f.Close()
	s, err := vmdk.OpenStream(f)
	if err != nil {
		return st, err
	}
	dst, err := disk.OpenRaw(a.Target, true)
	if err != nil {
		return st, err
	}
	defer dst.Close()
	digests, err := disk.CreateDigests(a.Digests, "", largest, disk.StreamMappings(s))
	if err != nil {
		return st, err
	}
	defer digests.Close()
	return disk.CopyStream(ctx, dst, s, disk.Options{Digests: digests, Workers: 8})
}

// open opens the disk by the way that is asked for.
func (a *attempt) open(ctx context.Context) (disk.Image, func() error, error) {
	switch filepath.Ext(a.Local) {
	case ".ova":
		return (&source.Package{Path: a.Local}).OpenDisk(ctx, plan.Origin{Path: "x.vmdk", Way: plan.WayFile})
	case ".vmdk":
		img, err := vmdk.Open(vmdk.DirOpener(filepath.Dir(a.Local)), filepath.Base(a.Local))
		if err != nil {
			return nil, nil, err
		}
		return img, img.Close, nil
	}
	s, err := a.source()
	if err != nil {
		return nil, nil, err
	}
	img, closeImage, err := s.OpenDisk(ctx, a.Origin)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return img, func() error { return errors.Join(closeImage(), s.Close(context.WithoutCancel(ctx))) }, nil
}
