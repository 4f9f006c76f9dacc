package ntfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

// TestUnused overwrites all that an unmounted volume says it doesn't use: its files
// are as before, ntfsresize finds every cluster where it should be, and ntfs-3g
// writes to it as ever.
func TestUnused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		size int64
		argv []string
	}{
		{"as mkntfs makes it", 64*mib + 7*512, nil},
		{"512-byte clusters", 64 * mib, []string{"-c", "512"}},
		{"64 KiB clusters, odd size", 96*mib + 4096*3, []string{"-c", "65536"}},
		{"4 KiB sectors and records", 64 * mib, []string{"-s", "4096"}},
		{"1 KiB sectors", 64 * mib, []string{"-s", "1024", "-c", "2048"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := mkfs(t, tt.size, tt.argv...)
			mounted(t, path, func(dir string) { fill(t, dir, 300) })
			scrambled(t, path)
		})
	}
}

// scrambled overwrites what an image doesn't use, and looks whether it is still whole
// and can be written to.
func scrambled(t *testing.T, path string) {
	t.Helper()
	var want map[string]string
	mounted(t, path, func(dir string) { want = disktest.Tree(dir) })
	copied, _ := disktest.Scramble(t, path, disktest.Each(trusted(t, path)))
	sameEnd(t, path, copied, 512)
	sound(t, copied)
	mounted(t, copied, func(dir string) {
		if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
			t.Errorf("%d files differ: %.500s", len(diff), diff[0])
		}
		writeOn(t, dir)
	})
	sound(t, copied)
	trusted(t, copied)
}

// sameEnd compares the ends of two images, where a copy of the boot sector is.
func sameEnd(t *testing.T, a, b string, n int64) {
	t.Helper()
	var ends [2][]byte
	for i, path := range []string{a, b} {
		f, size := disktest.OpenFile(t, path)
		ends[i] = make([]byte, n)
		if _, err := f.ReadAt(ends[i], size-n); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(ends[0], ends[1]) {
		t.Error("the last sector differs")
	}
}

// writeOn fills half of what is free with files, and deletes some of them.
func writeOn(tb testing.TB, dir string) {
	tb.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		tb.Fatal(err)
	}
	const files = 20
	content := bytes.Repeat([]byte("written on "), int(min(int64(st.Bavail)*st.Bsize/2, 32*mib)/files/11))
	for i := range files {
		err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("written on %d", i)), content, 0o600)
		if i%3 == 0 {
			err = errors.Join(err, os.Remove(filepath.Join(dir, fmt.Sprintf("written on %d", i/3*2))))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// TestUnusedLarge: no number is cut off in a volume of 20 TiB, nor in one whose clusters
// are as large as they can be.
func TestUnusedLarge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size    int64
		cluster string
	}{{20 << 40, "65536"}, {2 << 30, "2097152"}} {
		const edge = 4 << 20
		path := mkfs(t, tt.size, "-c", tt.cluster)
		mounted(t, path, func(dir string) { fill(t, dir, 20) })
		var want map[string]string
		mounted(t, path, func(dir string) { want = disktest.Tree(dir) })
		var edges []disk.Range
		var last int64
		for _, r := range trusted(t, path) {
			last = r.Offset + r.Length
			if r.Length > 2*edge {
				edges = append(edges, disk.Range{Offset: r.Offset, Length: edge})
				r.Offset, r.Length = last-edge, edge
			}
			edges = append(edges, r)
		}
		if last < tt.size-8<<20 || last >= tt.size {
			t.Errorf("the last run ends at %d; want it near the end of %d", last, tt.size)
		}
		if f, _ := openImage(t, path); tt.size > 1<<40 {
			disktest.Cancelled(t, f.Unused) // the bitmap is read in pieces
		}
		copied, _ := disktest.Scramble(t, path, disktest.Each(edges))
		sameEnd(t, path, copied, 512)
		sound(t, copied)
		mounted(t, copied, func(dir string) {
			if diff := disktest.TreeDiff(want, disktest.Tree(dir)); len(diff) > 0 {
				t.Errorf("%d files differ: %.500s", len(diff), diff[0])
			}
		})
	}
}

// TestUnusedInPieces: the master file table is in so many runs that an attribute list says
// where they are.
func TestUnusedInPieces(t *testing.T) {
	t.Parallel()
	const files = 760
	path := mkfs(t, 7*mib, "-c", "1024")
	write := func(dir, name string, n, size int) error {
		return os.WriteFile(fmt.Sprintf("%s/%s %d", dir, name, n), make([]byte, size), 0o600)
	}
	mounted(t, path, func(dir string) {
		for i := range files {
			if err := write(dir, "small", i, 1024); err != nil {
				t.Fatal(err)
			}
		}
		// The directory gets its blocks before there are only single clusters.
		for i := range files/2 + 330 {
			if err := os.Link(dir+"/small 0", fmt.Sprintf("%s/new %d", dir, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range files/2 + 330 {
			if err := os.Remove(fmt.Sprintf("%s/new %d", dir, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; write(dir, "fills", i, 1<<20) == nil; i++ {
		}
		small := byPlace(t, path)            // ntfs-3g keeps little back
		for i := 0; i < len(small); i += 2 { // a cluster is free here and there, and a record
			if err := os.Remove(filepath.Join(dir, small[i])); err != nil {
				t.Fatal(err)
			}
		}
		for i := range files/2 + 330 {
			if err := write(dir, "new", i, 0); errors.Is(err, unix.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(dir + "/fills 0"); err != nil {
			t.Fatal(err)
		}
	})
	f, _ := openImage(t, path)
	r, err := f.record(recordMFT)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.mft.runs) < 200 || r.attributes[1].typ != typeList {
		t.Errorf("the master file table has %d runs; the test wants an attribute list", len(f.mft.runs))
	}
	scrambled(t, path)
	lists(t, path)
}

// lists lies about the pieces of the master file table in its attribute list.
func lists(t *testing.T, path string) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.record(recordMFT)
	if err != nil {
		t.Fatal(err)
	}
	list := &stream{f: f}
	if err := list.add(r.attributes[1]); err != nil || r.attributes[1].typ != typeList {
		t.Fatalf("attribute list: %v", err)
	}
	b := make([]byte, list.size)
	if err := list.read(b, 0); err != nil {
		t.Fatal(err)
	}
	le, entry := binary.LittleEndian, 0
	for ; entry < len(b) && (le.Uint32(b[entry:]) != typeData || le.Uint64(b[entry+8:]) == 0); entry += int(le.Uint16(b[entry+4:])) {
	}
	if list.resident != nil || entry == len(b) {
		t.Fatal("the attribute list is in its record, or the table in one piece; the test wants neither")
	}
	at := entry + int(list.runs[0].lcn*f.cluster)
	if !bytes.Equal(image[at:at+26], b[entry:entry+26]) {
		t.Fatal("the attribute list is in pieces; the test wants it in one")
	}
	for _, tt := range []struct {
		at  int
		b   string
		err string
	}{
		{4, "\x08\x00", "its attribute list makes no sense"},
		{4, "\xff\xff", "its attribute list makes no sense"},
		{6, "\xff", "its attribute list makes no sense"},
		{8, "\xff", "goes on at VCN "},
		{16, "\x03\x00\x00", "its attribute list names record 3, which isn't its"},
		{22, "\xff", "which isn't its"},
		{24, "\xff", "is not where its list says"},
	} {
		m := &memory{b: slices.Clone(image)}
		copy(m.b[at+tt.at:], tt.b)
		if _, err := look(t, m); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q at %d of an entry: %v; want ErrFormat with %q", tt.b, tt.at, err, tt.err)
		}
	}
}

// byPlace lists the files of the root that begin with "small" by the places of their
// clusters.
func byPlace(t *testing.T, path string) []string {
	t.Helper()
	f, _ := openImage(t, path)
	places, names := map[string]int64{}, []string{}
	var errs error
	err := f.entries(recordRoot, func(name string, file uint64) {
		if strings.HasPrefix(name, "small") {
			s, err := f.open(file, typeData, "")
			if errs = errors.Join(errs, err); err == nil {
				places[name], names = s.runs[0].lcn, append(names, name)
			}
		}
	})
	if err := errors.Join(err, errs); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(places[a], places[b]) })
	return names
}

// fill makes files in one piece and in many, in their records and not, and removes some.
func fill(t *testing.T, dir string, files int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	random := rand.NewChaCha8([32]byte{1})
	var open [4]*os.File
	for i := range open {
		var err error
		open[i], err = os.Create(fmt.Sprintf("%s/in pieces %d", dir, i))
		must(err)
	}
	sub, last := dir, ""
	for i := range files {
		if i%50 == 0 {
			sub = filepath.Join(sub, fmt.Sprintf("directory %d with \"name\" ä%%", i))
			must(os.Mkdir(sub, 0o700))
		}
		content := make([]byte, 1<<(i%18))
		_, _ = random.Read(content) // never fails
		path := fmt.Sprintf("%s/file %d", sub, i)
		must(os.WriteFile(path, content, 0o600))
		_, err := open[i%len(open)].Write(content[:min(len(content), 9999)])
		must(err)
		if i%3 == 2 {
			must(os.Remove(last))
		}
		last = path
	}
	for _, f := range open {
		must(f.Close())
	}
	must(os.Remove(dir + "/in pieces 2"))
}

// TestUnusedDirty: what the tools mark as dirty isn't trusted, until they say otherwise.
func TestUnusedDirty(t *testing.T) {
	t.Parallel()
	path := mkfs(t, 64*mib)
	fixtures.Run(t, "ntfsfix", path)
	if got, want := why(t, path), "it is marked as dirty: Windows is to check it"; got != want {
		t.Errorf("UntrustedError %q; want %q", got, want)
	}
	fixtures.Run(t, "ntfsfix", "--clear-dirty", path)
	if got := why(t, path); got != "" {
		t.Errorf("UntrustedError %q; want none", got)
	}
	f, _ := openImage(t, path)
	s, err := f.open(recordVolume, typeVolume, "")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, f.recordSize) // without update sequences, whose place no flag is in
	r, _ := disktest.OpenFile(t, path)
	at := f.mft.runs[0].lcn*f.cluster + recordVolume*f.recordSize
	if _, err := r.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	in := int64(bytes.Index(b, s.resident))
	for _, tt := range []struct {
		at  int64
		b   string
		why string
	}{
		{10, "\x3e\x00", ""},
		{10, "\x40\x00", "it has flags that are not known or speak of chkdsk (0x40)"},
		{10, "\x00\x80", "it has flags that are not known or speak of chkdsk (0x8000)"},
		{10, "\x00\x40", "it has flags that are not known or speak of chkdsk (0x4000)"},
		{8, "\x03\x00", ""},
		{8, "\x03\x02", "it is of version 3.2"},
		{8, "\x01\x01", "it is of version 1.1"},
	} {
		patch(t, path, at+in+tt.at, []byte(tt.b))
		if got := why(t, path); got != tt.why {
			t.Errorf("%q at %d of volume information: %q; want %q", tt.b, tt.at, got, tt.why)
		}
		patch(t, path, at, b)
	}
}

// restartPage is one as Windows writes it.
func restartPage(minor, major uint16, lsn uint64, inUse, flags uint16) []byte {
	const size = 4096
	le, b := binary.LittleEndian, make([]byte, size)
	copy(b, "RSTR")
	le.PutUint16(b[4:], 30)
	le.PutUint16(b[6:], size/512+1)
	le.PutUint32(b[16:], size)
	le.PutUint32(b[20:], size)
	le.PutUint16(b[24:], 48)
	le.PutUint16(b[26:], minor)
	le.PutUint16(b[28:], major)
	area := b[48:]
	le.PutUint64(area, lsn)
	le.PutUint16(area[8:], 1)
	le.PutUint16(area[10:], 0xffff)
	if inUse == 0xffff {
		le.PutUint16(area[10:], 0)
	}
	le.PutUint16(area[12:], inUse)
	le.PutUint16(area[14:], flags)
	le.PutUint32(area[16:], 67-23) // of 4 MiB
	le.PutUint16(area[20:], 224)
	le.PutUint16(area[22:], 64)
	le.PutUint64(area[24:], 4<<20)
	le.PutUint16(area[36:], 48)
	le.PutUint16(area[38:], 64)
	client := area[64:]
	le.PutUint16(client[16:], 0xffff)
	le.PutUint16(client[18:], 0xffff)
	return sealed(b)
}

// sealed is a structure with its update sequence, whose place it says.
func sealed(b []byte) []byte {
	le := binary.LittleEndian
	at := b[le.Uint16(b[4:]):]
	le.PutUint16(at, 0x1234)
	for i := 1; i <= len(b)/512; i++ {
		end := b[i*512-2:][:2]
		copy(at[2*i:], end)
		le.PutUint16(end, 0x1234)
	}
	return b
}

// TestUnusedLog: what the log must say, and that ntfs-3g sees it so.
func TestUnusedLog(t *testing.T) {
	t.Parallel()
	path := mkfs(t, 64*mib)
	f, _ := openImage(t, path)
	s, err := f.open(recordLog, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.runs) != 1 {
		t.Fatalf("the log has %d runs; the test wants one", len(s.runs))
	}
	at := s.runs[0].lcn * f.cluster
	const closed, open, clean = 0xffff, 0, 2
	torn := restartPage(1, 1, 7, open, clean)
	torn[1022]++
	notUnmounted := "it was not unmounted: its log is open"
	for _, tt := range []struct {
		name  string
		pages [2][]byte
		at    int64 // of the second
		why   string
		probe bool // ntfs-3g would mount it
	}{
		{"closed", [2][]byte{restartPage(1, 1, 7, closed, 0), restartPage(1, 1, 6, closed, 0)}, 4096, "", true},
		{"open, but clean", [2][]byte{restartPage(1, 1, 7, open, clean), restartPage(1, 1, 6, open, clean)}, 4096, "", true},
		{"open", [2][]byte{restartPage(1, 1, 7, open, 0), restartPage(1, 1, 6, open, 0)}, 4096, notUnmounted, false},
		{"the newer is open", [2][]byte{restartPage(1, 1, 6, open, clean), restartPage(1, 1, 7, open, 0)}, 4096, notUnmounted, false},
		{"the older is open", [2][]byte{restartPage(1, 1, 6, open, 0), restartPage(1, 1, 7, open, clean)}, 4096, "", true},
		{"the first is newer, and open", [2][]byte{restartPage(1, 1, 7, open, 0), restartPage(1, 1, 6, open, clean)}, 4096, notUnmounted, false},
		{"the second is older, and open", [2][]byte{restartPage(1, 1, 7, open, clean), restartPage(1, 1, 6, open, 0)}, 4096, "", true},
		{"2.0", [2][]byte{restartPage(0, 2, 7, open, clean), restartPage(0, 2, 6, open, clean)}, 4096, "it was not unmounted, or Windows keeps some of it in memory (fast startup): its log is of version 2.0", false},
		{"1.2", [2][]byte{restartPage(2, 1, 7, open, clean), restartPage(2, 1, 6, open, clean)}, 4096, "its log is of version 1.2", false},
		{"torn", [2][]byte{torn, restartPage(1, 1, 6, open, clean)}, 4096, "restart page of the log: malformed NTFS volume: its sectors were not written together", false},
		{"one", [2][]byte{restartPage(1, 1, 7, open, clean), nil}, 4096, "its log has no restart page where one should be", true},
		{"chkdsk", [2][]byte{append([]byte("CHKD"), torn[4:]...), nil}, 4096, "its log was changed by chkdsk", false},
		{"zeros", [2][]byte{make([]byte, 4096), make([]byte, 4096)}, 4096, "its log has no restart page where one should be", false},
		{"ones, then a page", [2][]byte{nil, restartPage(1, 1, 7, open, 0)}, 4096, "its log begins as an empty one, but is not empty", false},
		{"ones, then anything", [2][]byte{nil, []byte("x")}, 9000, "its log begins as an empty one, but is not empty", true},
		{"ones, then anything later", [2][]byte{nil, []byte("RCRD")}, 512 << 10, "its log begins as an empty one, but is not empty", false},
	} {
		patch(t, path, at, bytes.Repeat([]byte{0xff}, 600<<10))
		patch(t, path, at, tt.pages[0])
		patch(t, path, at+tt.at, tt.pages[1])
		if got := why(t, path); got != tt.why {
			t.Errorf("%s: UntrustedError %q; want %q", tt.name, got, tt.why)
		}
		if out, err := fixtures.Try(t, "ntfs-3g.probe", "--readwrite", path); (err == nil) != tt.probe {
			t.Errorf("%s: ntfs-3g: %v: %s; want it to mount: %v", tt.name, err, out, tt.probe)
		}
	}
}

// TestUnusedHibernated: a hibernation file that was used keeps all, wherever it is in the
// root's index.
func TestUnusedHibernated(t *testing.T) {
	t.Parallel()
	for _, many := range []int{0, 400} {
		path := mkfs(t, 64*mib)
		content := bytes.Repeat([]byte{0}, 8192)
		write := func(name, magic string) {
			mounted(t, path, func(dir string) {
				for i := range many {
					if err := os.WriteFile(fmt.Sprintf("%s/h %d", dir, i), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(os.RemoveAll(dir+"/hiberfil.sys"), os.WriteFile(filepath.Join(dir, name), append([]byte(magic), content...), 0o600)); err != nil {
					t.Fatal(err)
				}
			})
		}
		for _, name := range []string{"hiberfil.sys", "HiberFil.SYS"} {
			write(name, "\x00\x00\x00\x00")
			if got := why(t, path); got != "" {
				t.Errorf("%d files, an empty %s: UntrustedError %q; want none", many, name, got)
			}
			copied := filepath.Join(disktest.FastDir(t), "copy")
			fixtures.Run(t, "cp", "--sparse=always", path, copied)
			hibernate(t, copied, "hibr")
			never(t, copied)
			if got := why(t, copied); got != "" {
				t.Errorf("%d files, a %s that was never written to: UntrustedError %q; want none", many, name, got)
			}
			for _, magic := range []string{"hibr", "HIBR", "RSTR", "wake", "WAKE", "link"} {
				fixtures.Run(t, "cp", "--sparse=always", path, copied)
				hibernate(t, copied, magic)
				want := fmt.Sprintf("Windows is hibernated, or was (also by fast startup): hiberfil.sys begins with %q", magic)
				if got := why(t, copied); got != want {
					t.Errorf("%d files, %s: UntrustedError %q; want %q", many, name, got, want)
				}
				f, size := openImage(t, copied)
				_, err := disktest.Runs(t, f.Unused(t.Context()), size)
				if u, ok := errors.AsType[*disk.UntrustedError](err); !ok || !u.Asleep {
					t.Errorf("%s, %s: %v; want an UntrustedError of a system that sleeps", name, magic, err)
				}
			}
		}
		content = nil
		write("hiberfil.sys", "\x00\x00\x00\x00")
		if got, want := why(t, path), "Windows may be hibernated: hiberfil.sys has only 4 bytes"; got != want {
			t.Errorf("UntrustedError %q; want %q", got, want)
		}
	}
}

// TestUnusedHibernatedDirty: that Windows sleeps is told also of a volume that it hasn't
// closed: it keeps the others from being trusted.
func TestUnusedHibernatedDirty(t *testing.T) {
	t.Parallel()
	path := mkfs(t, 64*mib)
	mounted(t, path, func(dir string) {
		if err := os.WriteFile(dir+"/hiberfil.sys", make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	fixtures.Run(t, "ntfsfix", path)
	if got, want := why(t, path), "it is marked as dirty: Windows is to check it"; got != want {
		t.Fatalf("UntrustedError %q; want %q", got, want)
	}
	hibernate(t, path, "hibr")
	f, size := openImage(t, path)
	_, err := disktest.Runs(t, f.Unused(t.Context()), size)
	if u, ok := errors.AsType[*disk.UntrustedError](err); !ok || !u.Asleep {
		t.Errorf("%v; want an UntrustedError of a system that sleeps", err)
	}
}

// hibernate changes what the hibernation file begins with. ntfs-3g itself would refuse to
// mount the volume anew.
func hibernate(t *testing.T, path, magic string) {
	t.Helper()
	f, _ := openImage(t, path)
	n, ok, err := f.find(recordRoot, "hiberfil.sys")
	if !ok || err != nil {
		t.Fatalf("hiberfil.sys: %v, %v", ok, err)
	}
	s, err := f.open(n, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	patch(t, path, s.runs[0].lcn*f.cluster, []byte(magic))
}

// never makes it as if nothing had ever been written to the hibernation file, whatever is in
// its clusters.
func never(t *testing.T, path string) {
	t.Helper()
	f, _ := openImage(t, path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := f.find(recordRoot, "hiberfil.sys")
	if err != nil {
		t.Fatal(err)
	}
	patch(t, path, int64(anatomy{f, b}.attribute(t, int64(n), typeData))+56, make([]byte, 8))
}

// TestUnusedShadows: shadow copies keep all.
func TestUnusedShadows(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	header := func(at uint64) []byte {
		b := make([]byte, 512)
		copy(b, shadowMark)
		le.PutUint32(b[16:], 1)
		le.PutUint32(b[20:], 1)
		le.PutUint64(b[48:], at)
		return b
	}
	catalog := func(at, next, entry uint64) []byte {
		b := make([]byte, shadowBlock)
		copy(b, shadowMark)
		le.PutUint32(b[16:], 1)
		le.PutUint32(b[20:], 2)
		le.PutUint64(b[32:], at)
		le.PutUint64(b[40:], next)
		le.PutUint64(b[shadowBlock-shadowEntry:], entry)
		return b
	}
	const one, two = 8 << 20, 12 << 20 // free clusters of a new volume
	for _, tt := range []struct {
		name     string
		file     string
		header   []byte
		catalogs [2][]byte
		why      string
	}{
		{"none", "tracking.log", nil, [2][]byte{}, ""},
		{"only their catalog", shadowName, nil, [2][]byte{}, ""},
		{"a store", "{01234567-c176-4e48-b7ae-04046e6cc752}" + strings.ToUpper(shadowName), nil, [2][]byte{}, "it has shadow copies, which need clusters that are free now: System Volume Information has {01234567-"},
		{"no catalog", "x", header(0), [2][]byte{}, ""},
		{"an empty catalog", "x", header(one), [2][]byte{catalog(one, two, 1), catalog(two, 0, 0)}, ""},
		{"stores elsewhere", "x", header(one), [2][]byte{catalog(one, two, 0), catalog(two, 0, 3)}, "it has shadow copies, which need clusters that are free now: they are in its catalog"},
		{"a catalog beyond the end", "x", header(1 << 60), [2][]byte{}, "it may have shadow copies: their catalog is at byte 1152921504606846976"},
		{"a catalog that is none", "x", header(one), [2][]byte{}, "it may have shadow copies: their catalog at byte 8388608 is none"},
		{"a catalog from elsewhere", "x", header(one), [2][]byte{catalog(two, 0, 0), nil}, "it may have shadow copies: their catalog at byte 8388608 is none"},
		{"a catalog without an end", "x", header(one), [2][]byte{catalog(one, two, 0), catalog(two, one, 0)}, "it may have shadow copies: their catalog has no end"},
	} {
		path := mkfs(t, 64*mib)
		mounted(t, path, func(dir string) {
			sub := filepath.Join(dir, "System Volume Information")
			if err := errors.Join(os.Mkdir(sub, 0o700), os.WriteFile(filepath.Join(sub, tt.file), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		})
		patch(t, path, shadowAt, tt.header)
		patch(t, path, one, tt.catalogs[0])
		patch(t, path, two, tt.catalogs[1])
		if got := why(t, path); got != tt.why && (tt.why == "" || !strings.HasPrefix(got, tt.why)) {
			t.Errorf("%s: UntrustedError %q; want %q", tt.name, got, tt.why)
		}
	}
}
