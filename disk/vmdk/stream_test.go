package vmdk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"esxodus/disk"
	"esxodus/disk/vmdk"
)

// drain reads a stream of at most that many bytes of disk to its end.
func drain(r io.Reader, most int64) ([]byte, error) {
	s, err := vmdk.OpenStream(r)
	if err != nil {
		return nil, err
	}
	if s.Size() > most {
		return nil, errors.New("too large for a test")
	}
	out := make([]byte, s.Size())
	for {
		run, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		packed, err := s.Packed(nil)
		if err != nil {
			return nil, err
		}
		if err := s.Unpack(out[run.Offset:][:run.Length], packed); err != nil {
			return nil, err
		}
	}
}

func TestStream(t *testing.T) {
	file, want := smallStream(t)
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(file), "byte by byte": iotest.OneByteReader(bytes.NewReader(file))} {
		if got, err := drain(r, 64<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the disk differs, or %v", name, err)
		}
	}
	failed := errors.New("the link is gone")
	if _, err := drain(io.MultiReader(bytes.NewReader(file[:len(file)/2]), iotest.ErrReader(failed)), 64<<20); !errors.Is(err, failed) {
		t.Errorf("error is %v; want the reader's own", err)
	}
}

// A copy of a stream is the disk, with what follows on a larger target cleared.
func TestStreamCopied(t *testing.T) {
	file, want := smallStream(t)
	s, err := vmdk.OpenStream(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(path, bytes.Repeat([]byte("stale"), (len(want)+1<<20)/5+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(want)+1<<20)); err != nil {
		t.Fatal(err)
	}
	dst, err := disk.OpenRaw(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	st, err := disk.CopyStream(t.Context(), dst, s, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, append(want, make([]byte, 1<<20)...)) {
		t.Error("the target differs from the disk with zeros behind it")
	}
	if st.Bytes != dst.Size() || st.Read >= int64(len(file)) || st.Read < int64(len(file))/2 {
		t.Errorf("CopyStream = %+v; want %d bytes, and Read near the stream's %d", st, dst.Size(), len(file))
	}
}

// No stream that was cut short is taken for a whole one, wherever that was, and none
// that goes on.
func TestStreamCut(t *testing.T) {
	file := tinyStream(t)
	for n := range file {
		if n%512 > 1 && n%512 < 511 {
			continue
		}
		if _, err := drain(bytes.NewReader(file[:n]), 1<<20); !errors.Is(err, vmdk.ErrFormat) || n >= 512 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d bytes, the error is %v", n, len(file), err)
		}
	}
	if _, err := drain(bytes.NewReader(append(file, make([]byte, 512)...)), 1<<20); !errors.Is(err, vmdk.ErrFormat) {
		t.Errorf("a sector more gives %v", err)
	}
}

// A byte that is another gives an error, or stands where nothing is of the disk.
func TestStreamFlipped(t *testing.T) {
	file := tinyStream(t)
	want, err := drain(bytes.NewReader(file), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for at := range file {
		if at >= 2048 && at < 128*512 && at%97 != 0 {
			continue // zeros before the first grain, a megabyte of buffer each time
		}
		file[at] ^= 1 << (at % 8)
		got, err := drain(bytes.NewReader(file), 1<<20)
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("another byte at %d: no error, and another disk", at)
		}
		if err != nil && !errors.Is(err, vmdk.ErrFormat) && !errors.Is(err, vmdk.ErrUnsupported) {
			t.Fatalf("another byte at %d: %v", at, err)
		}
		file[at] ^= 1 << (at % 8)
	}
}

// tinyStream is what an ESXi would send of a disk of two grains and a part of a third.
func tinyStream(tb testing.TB) []byte {
	tb.Helper()
	return streamOf(tb, tinyDisk())
}

func TestHostileStreamOnce(t *testing.T) {
	file := tinyStream(t)
	find := func(kind uint32) int { // the marker of a table, directory or footer
		for at := 128 * 512; at < len(file); at += 512 {
			if m := file[at:]; binary.LittleEndian.Uint32(m[8:]) == 0 && binary.LittleEndian.Uint32(m[12:]) == kind {
				return at
			}
		}
		t.Fatalf("no marker of kind %d", kind)
		return 0
	}
	first, table, directory, footer := 128*512, find(1), find(2), find(3)
	cut := func(from, to int) []byte { return append(bytes.Clone(file[:from]), file[to:]...) }
	twice := func(from, to int) []byte {
		return append(append(bytes.Clone(file[:to]), file[from:to]...), file[to:]...)
	}
	progress := make([]byte, 512)
	binary.LittleEndian.PutUint32(progress[12:], 4)
	with := func(b []byte) []byte { return append(append(bytes.Clone(file[:table]), b...), file[table:]...) }
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"a grain is missing", cut(first, first+grainSectors(file, first)), "list other grains"},
		{"a grain comes twice", twice(first, first+grainSectors(file, first)), "but the one before was for sector"},
		{"no table", cut(table, directory), "list other grains"},
		{"two tables", twice(table, directory), "a grain table more"},
		{"no directory", cut(directory, footer), "where none can be"},
		{"no footer", cut(footer, footer+1024), "where none can be"},
		{"two footers", twice(footer, footer+1024), "where none can be"},
		{"another table in the directory", u32(directory+512, 7).apply(file), "lists other tables"},
		{"none in the directory", u32(directory+512, 0).apply(file), "lists other tables"},
		{"the footer of another disk", u64(footer+512+12, 4096).apply(file), "differs from the header"},
		{"the footer points elsewhere", u64(footer+512+56, 3).apply(file), "differs from the header"},
		{"a grain beyond the disk", u64(first, 1<<40).apply(file), "of a disk of"},
		{"a grain between two", u64(first, 3).apply(file), "of a disk of"},
		{"a huge grain", u32(first+8, 1<<31).apply(file), "compressed grain of"},
		{"a marker that isn't known for a table", u32(table+12, 9).apply(file), "list other grains"},
		{"a huge marker", u64(table, 1<<60).apply(file), "where none can be"},
		{"a directory at the front", u64(56, 21).apply(file), "read it as a file"},
		{"another size in the descriptor", bytes.Replace(file, []byte("RDONLY 386"), []byte("RDONLY 385"), 1), "as the header has it"},
		{"a snapshot's", bytes.Replace(file, []byte("parentCID=ffffffff"), []byte("parentCID=12345678"), 1), "a snapshot's changes"},
		{"a huge preamble", u64(64, 1<<31).apply(file), "before the first grain"},
		{"markers without end", with(bytes.Repeat(progress, 1000)), "more of them than the disk can need"},
	}
	for _, tt := range tests {
		if _, err := drain(bytes.NewReader(tt.file), 1<<20); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v; want %q", tt.name, err, tt.want)
		}
	}
	moved := u64(footer+512+56, uint64(directory/512)+3).apply(file)
	moved = u32(directory+512, uint32(table/512)+2).apply(moved)
	moved = append(append(bytes.Clone(moved[:table]), append(progress, progress...)...), moved[table:]...)
	if got, err := drain(bytes.NewReader(moved), 1<<20); err == nil || !strings.Contains(err.Error(), "lists other tables") {
		t.Errorf("a directory that is off by a sector: %d bytes, %v", len(got), err)
	}
	fits := u32(directory+512+1024, uint32(table/512)+3).apply(moved)
	if _, err := drain(bytes.NewReader(fits), 1<<20); err != nil {
		t.Errorf("with marks of progress: %v", err)
	}
}

// grainSectors is how many bytes the grain whose marker is at this place takes.
func grainSectors(file []byte, at int) int {
	return (12 + int(binary.LittleEndian.Uint32(file[at+8:])) + 511) / 512 * 512
}

// tinyDisk is a disk of three grains and two sectors.
func tinyDisk() []byte {
	b := make([]byte, 192<<10+1024)
	copy(b, "the first")
	copy(b[64<<10:], bytes.Repeat([]byte("data "), 2000))
	copy(b[192<<10:], "the last")
	return b
}

// FuzzStream reads streams: what comes of one without an error is what Open reads of it
// as a file.
func FuzzStream(f *testing.F) {
	f.Add(tinyStream(f))
	f.Add(streamOf(f, make([]byte, 512)))
	random := make([]byte, 70<<10)
	rand.NewChaCha8([32]byte{1}).Read(random)
	f.Add(streamOf(f, random[:70<<10]))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := drain(bytes.NewReader(b), 4<<20)
		if err != nil {
			return
		}
		m, err := vmdk.Open(memOpener{"x.vmdk": b}, "x.vmdk")
		if err != nil {
			t.Skip(err) // a file is held to more: what its descriptor says of its format
		}
		defer m.Close()
		want := make([]byte, m.Size())
		if _, err := m.ReadAt(want, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read as a file it is another disk, or %v", err)
		}
	})
}
