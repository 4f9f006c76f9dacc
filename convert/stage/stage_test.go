package stage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/convert/stage"
	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/disk/vmdk"
)

// stream is what a lease sends of a disk, cut after that many bytes.
func stream(t *testing.T, content []byte, cut int) disk.Stream {
	t.Helper()
	var b bytes.Buffer
	if err := disktest.StreamOptimized(&b, bytes.NewReader(content), int64(len(content)), "x.vmdk", 1); err != nil {
		t.Fatal(err)
	}
	s, err := vmdk.OpenStream(bytes.NewReader(b.Bytes()[:b.Len()-cut]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func webDisk(content []byte) stage.Disk {
	return stage.Disk{Host: "esx1", VM: "12", Path: "[vsanDatastore] 5e/web server.vmdk", Size: int64(len(content)), ChangeVersion: "2026-11-30", ContentID: "7e2b80c1"}
}

func same(t *testing.T, file string, of stage.Disk, want []byte) {
	t.Helper()
	m, err := stage.Open(file, of)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := make([]byte, len(want))
	if _, err := m.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk differs, or %v", err)
	}
	if v := m.Versions(); len(v) != 1 || !strings.HasPrefix(v[0], of.Path+": ") || !strings.Contains(v[0], of.ChangeVersion) {
		t.Errorf("Versions = %q", v)
	}
}

func TestTake(t *testing.T) {
	content := disktest.Content(9*disk.BlockSize, 3)
	of := webDisk(content)
	file := stage.File(t.TempDir(), of.Path)
	if _, err := stage.Open(file, of); !errors.Is(err, stage.ErrAbsent) {
		t.Errorf("Open of nothing = %v", err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 600), disk.Options{}); err == nil {
		t.Fatal("a stream without its end was taken")
	}
	if _, err := stage.Open(file, of); !errors.Is(err, stage.ErrAbsent) {
		t.Errorf("Open of a part = %v", err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("what had come was thrown away (%v)", err)
	}
	same(t, file, of, content)

	// The VM was started since: another state, another content.
	content[5]++
	of.ChangeVersion = "2026-12-01"
	if _, err := stage.Open(file, of); !errors.Is(err, stage.ErrAbsent) {
		t.Errorf("Open of another state = %v", err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, file, of, content)
	if err := stage.Remove(file); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Dir(file) + "/*"); err != nil || len(left) > 0 {
		t.Errorf("Remove leaves %q (%v)", left, err)
	}
}

// TestInterrupted cuts a lease's stream at a hundred random moments, by its end or by
// that of the run, and wants the disk to be there at last, to the bit.
func TestInterrupted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const moments = 100
	content := disktest.Content(5*disk.BlockSize+512, seed)
	of := webDisk(content)
	file := stage.File(t.TempDir(), of.Path)
	var b bytes.Buffer
	if err := disktest.StreamOptimized(&b, bytes.NewReader(content), of.Size, "x.vmdk", 1); err != nil {
		t.Fatal(err)
	}
	for range moments {
		ctx, cancel := context.WithCancel(t.Context())
		at := random.IntN(b.Len())
		end := &ending{Reader: bytes.NewReader(b.Bytes()[:at])}
		if random.IntN(2) == 0 {
			end.do = cancel
		}
		s, err := vmdk.OpenStream(end)
		if err == nil {
			err = stage.Take(ctx, file, of, s, disk.Options{Workers: 2})
		}
		cancel()
		if err == nil {
			t.Fatalf("%d of %d bytes were taken for a whole stream", at, b.Len())
		}
	}
	var before, after syscall.Stat_t
	if err := syscall.Stat(file, &before); err != nil {
		t.Fatal(err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, file, of, content)
	if err := syscall.Stat(file, &after); err != nil || after.Ino != before.Ino {
		t.Errorf("the file was made anew (%v)", err)
	}
}

// ending is a stream that is cut: at its end do is called, or it is an error.
type ending struct {
	*bytes.Reader

	do func()
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if errors.Is(err, io.EOF) && e.do != nil {
		e.do()
	}
	return n, err
}

// What is said to be one state and isn't is thrown away.
func TestTakeChanged(t *testing.T) {
	content := disktest.Content(14*disk.BlockSize, 3)
	of := webDisk(content)
	file := stage.File(t.TempDir(), of.Path)
	if err := stage.Take(t.Context(), file, of, stream(t, content, 600), disk.Options{}); err == nil {
		t.Fatal("a stream without its end was taken")
	}
	content[5]++
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); !errors.Is(err, disk.ErrStreamChanged) {
		t.Errorf("error is %v", err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, file, of, content)
}

func TestHostileStage(t *testing.T) {
	content := disktest.Content(2*disk.BlockSize, 3)
	of := webDisk(content)
	taken := func(t *testing.T) string {
		t.Helper()
		file := stage.File(t.TempDir(), of.Path)
		if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := []struct {
		name string
		do   func(file string) error
		want string
	}{
		{"written to", func(file string) error {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("other"), 99)
			later := time.Now().Add(time.Second) // as after more than the clock's grain
			return errors.Join(err, f.Close(), os.Chtimes(file, later, later))
		}, "was written to after it came"},
		{"longer", func(file string) error { return os.Truncate(file, of.Size+512) }, "where a file of 8388608 is to be"},
		{"without digests", func(file string) error { return os.Remove(file + ".digests") }, "it may be somebody's"},
		{"without data", os.Remove, stage.ErrAbsent.Error()},
		{"a link", func(file string) error {
			return errors.Join(os.Rename(file, file+"x"), os.Symlink(file+"x", file))
		}, "where a file of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := taken(t)
			if err := tt.do(file); err != nil {
				t.Fatal(err)
			}
			m, err := stage.Open(file, of)
			if err == nil {
				m.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v; want %q", err, tt.want)
			}
		})
	}
	file := taken(t)
	if err := os.Remove(file + ".digests"); err != nil {
		t.Fatal(err)
	}
	if err := stage.Take(t.Context(), file, of, stream(t, content, 0), disk.Options{}); err == nil || !strings.Contains(err.Error(), "it may be somebody's") {
		t.Errorf("Take over a file that isn't ours: %v", err)
	}
	if err := stage.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("Remove of a file that isn't ours: %v", err)
	}
	small := of
	small.Size -= 512
	if err := stage.Take(t.Context(), file, small, stream(t, content, 0), disk.Options{}); err == nil || !strings.Contains(err.Error(), "configuration says") {
		t.Errorf("a disk of another size: %v", err)
	}
}

func TestFile(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []string{"[a] web/web.vmdk", "[b] web/web.vmdk", "[a] web/../x/web.vmdk", "[a] ü/täg % \"x\".vmdk", "[a] x/" + strings.Repeat("é", 120) + ".vmdk", "[a] x/..vmdk", "[a] x/.vmdk", ""} {
		f := stage.File("/scratch", p)
		if filepath.Dir(f) != "/scratch" || len(filepath.Base(f)) > 150 || strings.HasPrefix(filepath.Base(f), ".") || strings.ContainsAny(f, " %\"") {
			t.Errorf("File(%q) = %q", p, f)
		}
		if other, twice := seen[f]; twice {
			t.Errorf("%q and %q are both %q", p, other, f)
		}
		seen[f] = p
	}
}
