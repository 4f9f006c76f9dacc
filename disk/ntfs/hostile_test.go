package ntfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"esxodus/disk"
	"esxodus/disk/disktest"
)

// memory is an image in memory that counts what is read of it.
type memory struct {
	b     []byte
	bytes int64
	fail  int64 // reads that touch this offset fail with errBroken; 0 for none
}

var errBroken = errors.New("cable pulled")

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.bytes += int64(len(p))
	if m.fail > 0 && off <= m.fail && m.fail < off+int64(len(p)) {
		return 0, errBroken
	}
	if off < 0 || off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// small is an image of a new volume.
func small(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(mkfs(tb, 4*mib, "-c", "512"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// look opens an image and collects what it doesn't use.
func look(tb testing.TB, m *memory) ([]disk.Range, error) {
	tb.Helper()
	f, err := Open(m, int64(len(m.b)))
	if err != nil {
		return nil, err
	}
	return disktest.Runs(tb, f.Unused(tb.Context()), int64(len(m.b)))
}

// TestOpenHostile changes fields of a boot sector.
func TestOpenHostile(t *testing.T) {
	t.Parallel()
	image := small(t)
	for _, tt := range []struct {
		name  string
		at, n int
		value uint64
		err   string
	}{
		{"another file system", 3, 4, 0x53466552, "no boot sector"},
		{"no signature", 510, 2, 0, "no boot sector"},
		{"sectors of nothing", 11, 2, 0, "sectors of 0 bytes"},
		{"large sectors", 11, 2, 8192, "sectors of 8192 bytes"},
		{"odd sectors", 11, 2, 513, "sectors of 513 bytes"},
		{"clusters of nothing", 13, 1, 0, "clusters of 0 sectors"},
		{"odd clusters", 13, 1, 3, "clusters of 3 sectors"},
		{"large clusters", 13, 1, 0xf3, "clusters of 8192 sectors"},
		{"largest clusters", 13, 1, 0x81, "clusters of 4611686018427387904 sectors"},
		{"reserved sectors", 14, 2, 1, "of a FAT"},
		{"FATs", 16, 1, 2, "of a FAT"},
		{"sectors of a FAT", 22, 2, 1, "of a FAT"},
		{"no sectors", 40, 8, 0, "it claims 0 sectors"},
		{"as many sectors as there are and one", 40, 8, 4*mib/512 + 1, "it claims 8193 sectors"},
		{"sectors past the sign", 40, 8, 1 << 63, "it claims 9223372036854775808 sectors"},
		{"no table", 48, 8, 0, "master file table is at cluster 0"},
		{"table beyond the end", 48, 8, 8191, "master file table is at cluster 8191"},
		{"table past the sign", 48, 8, 1 << 63, "master file table is at cluster 9223372036854775808"},
		{"copy beyond the end", 56, 8, 8191, "and the copy at 8191"},
		{"records of half a KiB", 64, 1, 1, "its file records have 512 bytes"},
		{"records of 2 KiB", 64, 1, 4, "its file records have 2048 bytes"},
		{"records of 2^128", 64, 1, 0x80, "its file records have 0 bytes"},
		{"table elsewhere", 48, 8, 100, "master file table: file record 0: "},
	} {
		m := &memory{b: slices.Clone(image)}
		var v [8]byte
		binary.LittleEndian.PutUint64(v[:], tt.value)
		copy(m.b[tt.at:], v[:tt.n])
		if _, err := look(t, m); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v; want ErrFormat with %q", tt.name, err, tt.err)
		}
	}
	m := &memory{b: slices.Clone(image)}
	copy(m.b[3:], "-FVE-FS-")
	var why *disk.UntrustedError
	if _, err := look(t, m); !errors.As(err, &why) || why.Why != "it is encrypted by BitLocker" {
		t.Errorf("BitLocker: %v; want an UntrustedError", err)
	}
	if _, err := Open(m, 100); !errors.Is(err, ErrFormat) {
		t.Errorf("Open of 100 bytes: %v; want ErrFormat", err)
	}
}

// anatomy says where an image has what.
type anatomy struct {
	f *FS
	b []byte
}

// record is the place of a record.
func (a anatomy) record(n int64) int { return int(a.f.mft.runs[0].lcn*a.f.cluster + n*a.f.recordSize) }

// attribute is the place of an attribute of a record.
func (a anatomy) attribute(tb testing.TB, n int64, typ uint32) int {
	tb.Helper()
	r, err := a.f.record(uint64(n))
	if err != nil {
		tb.Fatal(err)
	}
	for _, of := range r.attributes {
		if of.typ == typ {
			return a.record(n) + bytes.Index(a.b[a.record(n):][:block-2], of.b[:24])
		}
	}
	tb.Fatalf("record %d has no attribute %#x", n, typ)
	return 0
}

// block is the place of the first block of the root's index.
func (a anatomy) block(tb testing.TB) int {
	tb.Helper()
	s, err := a.f.open(recordRoot, typeIndexAlloc, indexName)
	if err != nil {
		tb.Fatal(err)
	}
	return int(s.runs[0].lcn * a.f.cluster)
}

// TestUnusedHostile changes what a volume has of its own files.
func TestUnusedHostile(t *testing.T) {
	t.Parallel()
	image := small(t)
	le := binary.LittleEndian
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	a := anatomy{f, image}
	bitmap, data := a.record(recordBitmap), a.attribute(t, recordBitmap, typeData)
	pairs := data + int(le.Uint16(image[data+32:]))
	root, index := a.attribute(t, recordRoot, typeIndexRoot), a.block(t)
	log, err := f.open(recordLog, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.open(recordBitmap, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	bit := func(cluster int64) int { return int(s.runs[0].lcn*f.cluster + cluster/8) }
	cleared := func(cluster int64) string { return string([]byte{image[bit(cluster)] &^ (1 << (cluster % 8))}) }
	const own = ", but the volume's own files are there"
	for _, tt := range []struct {
		name  string
		at    int
		bytes string
		err   string
	}{
		{"signature of a record", bitmap, "BAAD", `file record 6: malformed NTFS volume: its signature is "BAAD"`},
		{"torn record", bitmap + 1022, "xx", "file record 6: malformed NTFS volume: its sectors were not written together"},
		{"update sequence elsewhere", bitmap + 4, "\xfe\x01", "an update sequence of 3 at 510"},
		{"update sequence of one", bitmap + 6, "\x01", "an update sequence of 1 at 48"},
		{"record not in use", bitmap + 22, "\x00", "it is not in use"},
		{"another record", bitmap + 44, "\x07", "it is record 7"},
		{"attributes beyond the end", bitmap + 20, "\x00\x40", "attributes at 16384"},
		{"more than a record", bitmap + 24, "\xff\xff\xff\xff", "in 4294967295 bytes"},
		{"attributes without an end", bitmap + 24, "\x50\x00", "its attributes have no end"},
		{"attribute of nothing", data + 4, "\x00\x00", "its attributes have no end"},
		{"attribute beyond the end", data + 4, "\x00\x10", "its attributes have no end"},
		{"no $Bitmap", data, "\x90", `$Bitmap: file record 6: malformed NTFS volume: no attribute 0x80 ""`},
		{"attribute of another kind", data + 8, "\x02", "of kind 2"},
		{"resident", data + 8, "\x00", "$Bitmap has 0 bytes for 8191 clusters"},
		{"resident beyond the end", a.attribute(t, recordVolume, typeVolume) + 16, "\xff\x01", "attribute 0x70 has 511 bytes at "},
		{"name beyond the end", data + 9, "\xff", "a name outside its attribute"},
		{"compressed", data + 12, "\x01", "is compressed or encrypted"},
		{"encrypted", data + 13, "\x40", "is compressed or encrypted"},
		{"not the first piece", data + 16, "\x01", "has clusters from VCN 1 on, want 0"},
		{"clusters too few", data + 24, "\x02", "attribute 0x80 has 2 clusters, want 3"},
		{"runs beyond the attribute", data + 32, "\xff\xff", "attribute 0x80 has clusters from VCN 0 on"},
		{"short", data + 48, "\xff\x03\x00\x00\x00\x00\x00\x00\xff\x03", "$Bitmap has 1023 bytes for 8191 clusters"},
		{"longer than its clusters", data + 48, "\xff\xff\xff\xff\xff\xff\xff\xff\x00", " bytes in 2 clusters"},
		{"written in part", data + 56, "\xff\x03", "$Bitmap has 1023 bytes for 8191 clusters"},
		{"written more than it has", data + 57, "\x80", "bytes in 2 clusters"},
		{"hole", pairs, "\x01\x02\x00", "$Bitmap has holes"},
		{"run of nothing", pairs + 1, "\x00", "a run of 0 clusters at "},
		{"negative run", pairs + 1, "\x80", "a run of -128 clusters at "},
		{"run beyond the end", pairs, "\x21\x02\xff\x1f\x00", "a run of 2 clusters at 8191 of 8191"},
		{"run before the start", pairs, "\x11\x02\xff\x00", "a run of 2 clusters at -1 of 8191"},
		{"run of nine bytes", pairs, "\x19", "runs of clusters without an end"},
		{"free boot sector", bit(0), cleared(0), "clusters 0 to 1 are free by $Bitmap" + own},
		{"free file table", bit(f.table), cleared(f.table), own},
		{"free copy of it", bit(f.mirror), cleared(f.mirror), own},
		{"free log", bit(log.runs[0].lcn), cleared(log.runs[0].lcn), own},
		{"free $Bitmap", bit(s.runs[0].lcn), cleared(s.runs[0].lcn), own},
		{"index of huge blocks", root + 24 + 8 + 8, "\x00\x00\x02\x00", "index blocks of 131072 bytes"},
		{"index of odd blocks", root + 24 + 8 + 8, "\x01\x02", "index blocks of 513 bytes"},
		{"root's entries elsewhere", root + 24 + 8 + 16, "\xff", "entries at 255 to "},
		{"root's entries beyond the end", root + 24 + 8 + 20, "\x00\x40", " to 16384 of "},
		{"root's entry of nothing", root + 24 + 8 + 16 + 16 + 8, "\x00", "entries without an end"},
		{"root's entry too long", root + 24 + 8 + 16 + 16 + 8, "\xff", "entries without an end"},
		{"root's entry too short for a block", root + 24 + 8 + 16 + 16 + 8, "\x10", "an entry of 16 bytes"},
		{"index block of nothing", root + 24 + 8 + 16 + 16 + 16, "\xff\xff\xff\xff\xff\xff\xff\xff", "it leads to block 18446744073709551615"},
		{"signature of an index block", index, "FILE", `its signature is "FILE"`},
		{"torn index block", index + 1022, "xx", "its sectors were not written together"},
		{"another index block", index + 16, "\x01", "block 0 is block 1"},
		{"index block's entries elsewhere", index + 24, "\xff\xff", "entries at 65535 to "},
		{"index block's entry of nothing", index + 24 + int(le.Uint32(image[index+24:])) + 8, "\x00", "entries without an end"},
		{"index block's entry of a name", index + 24 + int(le.Uint32(image[index+24:])) + 80, "\xff", "that is no name in it"},
		{"index block of another directory", index + 24 + int(le.Uint32(image[index+24:])) + 16, "\x09", "that is no name in it"},
	} {
		m := &memory{b: slices.Clone(image)}
		copy(m.b[tt.at:], tt.bytes)
		_, err := look(t, m)
		var why *disk.UntrustedError
		if !errors.As(err, &why) || !strings.Contains(why.Why, tt.err) {
			t.Errorf("%s: %v; want an UntrustedError with %q", tt.name, err, tt.err)
		}
	}
	m := &memory{b: slices.Clone(image)} // an index that goes round
	e := index + 24 + int(le.Uint32(image[index+24:]))
	m.b[e+12] |= nodeEntry
	le.PutUint64(m.b[e+int(le.Uint16(m.b[e+8:]))-8:], 0)
	if _, err := look(t, m); err == nil || !strings.Contains(err.Error(), "it leads to block 0 again") {
		t.Errorf("an index that goes round: %v; want an UntrustedError", err)
	}
}

// TestUnusedErrors: an error of reading isn't taken for one of the volume, and a
// context's end and a caller's are heard.
func TestUnusedErrors(t *testing.T) {
	t.Parallel()
	m := &memory{b: small(t)}
	f, err := Open(m, int64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	for range f.Unused(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disktest.Runs(t, f.Unused(ctx), int64(len(m.b))); !errors.Is(err, context.Canceled) {
		t.Errorf("Unused: %v; want context.Canceled", err)
	}
	a := anatomy{f, m.b}
	var places []int64
	for _, n := range []int64{recordVolume, recordLog, recordRoot, recordBitmap} {
		places = append(places, int64(a.record(n)))
	}
	for _, n := range []uint64{recordLog, recordBitmap} {
		s, err := f.open(n, typeData, "")
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, s.runs[0].lcn*f.cluster)
	}
	for _, at := range append(places, shadowAt, int64(a.block(t)), 1, f.table*f.cluster) {
		m.fail = at
		_, err := look(t, m)
		var why *disk.UntrustedError
		if !errors.Is(err, errBroken) || errors.As(err, &why) || errors.Is(err, ErrFormat) {
			t.Errorf("a failing read at %d: %v; want that error", at, err)
		}
	}
}

// FuzzUnused: a boot sector, records, an index, a log and a bitmap of any content neither
// panic nor make Unused read or yield without end.
func FuzzUnused(f *testing.F) {
	image := small(f)
	s, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		f.Fatal(err)
	}
	a := anatomy{s, image}
	log, err := s.open(recordLog, typeData, "")
	if err != nil {
		f.Fatal(err)
	}
	bitmap, err := s.open(recordBitmap, typeData, "")
	if err != nil {
		f.Fatal(err)
	}
	places := []int{0, shadowAt, a.block(f), int(log.runs[0].lcn * s.cluster), int(bitmap.runs[0].lcn * s.cluster)}
	for _, n := range []int64{recordMFT, recordLog, recordVolume, recordRoot, recordBitmap} {
		places = append(places, a.record(n))
	}
	copy(image[places[3]:], restartPage(1, 1, 7, 0, 2))
	copy(image[places[3]+4096:], restartPage(1, 1, 6, 0, 2))
	m := &memory{b: slices.Clone(image)}
	for i := range places {
		f.Add([]byte{byte(i), 0, 8, 1, byte(i), 0, 100, 0xff})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		for c := changes; len(c) >= 4; c = c[4:] {
			at := places[int(c[0])%len(places)] + int(binary.BigEndian.Uint16(c[1:])&0x1fff)
			m.b[at] = c[3]
			defer func() { m.b[at] = image[at] }()
		}
		m.bytes = 0
		_, err := look(t, m)
		var why *disk.UntrustedError
		if err != nil && !errors.As(err, &why) && !errors.Is(err, ErrFormat) {
			t.Errorf("%v; want an UntrustedError or ErrFormat", err)
		}
		if m.bytes > 64*mib {
			t.Errorf("%d bytes read", m.bytes)
		}
	})
}
