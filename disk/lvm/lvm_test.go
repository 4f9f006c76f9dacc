package lvm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
	"esxodus/fixtures"
)

const mib = 1 << 20

// image is a file as an image.
type image struct {
	*os.File
	size int64
}

func (f image) Size() int64 { return f.size }

func (f image) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		half := f.size / 2 &^ 511 // two, so that clipping is seen
		_ = yield(disk.Extent{Length: half, Kind: disk.Zero}, nil) && yield(disk.Extent{Offset: half, Length: f.size - half}, nil)
	}
}

// lab is a private LVM on loop devices: its configuration replaces the host's
// whole one, and the device mapper is not used.
type lab struct {
	t     *testing.T
	dir   string
	loops []string
	files []string
}

func newLab(t *testing.T, sizes ...int64) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for loop devices")
	}
	l := &lab{t: t, dir: t.TempDir()}
	for i, size := range sizes {
		path := filepath.Join(l.dir, fmt.Sprintf("pv%d.img", i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		loop := strings.TrimSpace(l.run("losetup", "--show", "-f", path))
		t.Cleanup(func() { l.run("losetup", "-d", loop) })
		l.loops, l.files = append(l.loops, loop), append(l.files, path)
	}
	fixtures.LVM(t, l.dir, filepath.Join(l.dir, "lock"), l.loops...)
	return l
}

func (l *lab) run(argv ...string) string {
	l.t.Helper()
	path := ""
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if _, err := os.Stat(filepath.Join(dir, argv[0])); err == nil && path == "" {
			path = filepath.Join(dir, argv[0])
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			l.t.Fatalf("%s is not installed", argv[0])
		}
		l.t.Skipf("%s is not installed", argv[0])
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SYSTEM_DIR="+l.dir, "LVM_SUPPRESS_FD_WARNINGS=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%v: %v: %s%s", argv, err, out, stderr.String())
	}
	return string(out)
}

// lvm runs one of LVM's tools without the device mapper.
func (l *lab) lvm(argv ...string) string {
	l.t.Helper()
	return l.run(append(argv, "--driverloaded", "n")...)
}

func (l *lab) open(i int) image {
	l.t.Helper()
	f, err := os.OpenFile(l.files[i], os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		l.t.Fatal(err)
	}
	return image{File: f, size: size}
}

// report is what lvs and pvs say.
type report struct {
	Report []struct {
		PV, LV, Seg, VG, PVSeg []map[string]string
	}
}

func (l *lab) report(argv ...string) report {
	l.t.Helper()
	var r report
	out := l.lvm(append(argv, "--reportformat", "json", "--units", "b", "--nosuffix")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		l.t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return r
}

func TestAgainstLVM(t *testing.T) {
	l := newLab(t, 256*mib, 200*mib)
	l.lvm("pvcreate", "-y", "-q", "--bootloaderareasize", "1m", l.loops[0])
	l.lvm("pvcreate", "-y", "-q", "--dataalignment", "2m", l.loops[1])
	l.lvm("vgcreate", "-q", "-s", "1m", "guest-vg", l.loops[0], l.loops[1])
	for _, lv := range [][]string{
		{"-L", "40m", "-n", "root"},
		{"-L", "8m", "-n", "swap_1"},
		{"-l", "3", "-n", "we.ird+na-me_"},
		{"-L", "16m", "-i", "2", "-n", "striped"},
		{"-L", "260m", "-n", "spans"},
	} {
		l.lvm(append([]string{"lvcreate", "-y", "-q", "-an", "-Zn", "-Wn", "guest-vg"}, lv...)...)
	}
	l.lvm("lvremove", "-y", "-q", "guest-vg/swap_1")
	l.lvm("lvextend", "-q", "-L", "60m", "guest-vg/root") // a second segment
	for range 30 {                                        // the text wanders round its ring
		l.lvm("vgchange", "-q", "--addtag", "t", "guest-vg")
		l.lvm("vgchange", "-q", "--deltag", "t", "guest-vg")
	}

	pvs := map[string]disk.Image{}
	var vg VG
	for i := range l.loops {
		pv, err := Read(l.open(i))
		if err != nil {
			t.Fatal(err)
		}
		want := l.report("pvs", "-o", "pv_uuid,pe_start,dev_size,vg_uuid,vg_seqno,vg_extent_size", l.loops[i]).Report[0].PV[0]
		m := pv.VG.PVs[i]
		got := map[string]string{
			"pv_uuid": pv.UUID, "pe_start": fmt.Sprint(m.PEStart),
			"dev_size": fmt.Sprint(pv.Size), "vg_uuid": pv.VG.UUID, "vg_seqno": fmt.Sprint(pv.VG.Seqno), "vg_extent_size": fmt.Sprint(pv.VG.ExtentSize),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("PV %d (-pvs +Read):\n%s", i, diff)
		}
		pvs[pv.UUID], vg = l.open(i), pv.VG
	}
	checkSegments(t, l, vg)

	if _, err := vg.Image("striped", pvs); err == nil || err.Error() != "logical volume guest-vg/striped is not linear but striped" {
		t.Errorf("Image of a striped volume: %v", err)
	}
	if _, err := vg.Image("none", pvs); err == nil || err.Error() != "vg guest-vg has no logical volume none" {
		t.Errorf("Image of no volume: %v", err)
	}
	if _, err := vg.Image("spans", map[string]disk.Image{vg.PVs[0].UUID: pvs[vg.PVs[0].UUID]}); err == nil || !strings.Contains(err.Error(), vg.PVs[1].UUID+" is on none of the VM") {
		t.Errorf("Image without the second PV: %v", err)
	}
	checkContent(t, vg, pvs)
}

// checkSegments compares all segments with those that lvs lists.
func checkSegments(t *testing.T, l *lab, vg VG) {
	t.Helper()
	loops := map[string]string{}
	for i, m := range vg.PVs {
		loops[m.Name] = l.loops[i]
	}
	var got []string
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			var ranges []string
			for _, st := range s.Stripes {
				ranges = append(ranges, fmt.Sprintf("%s:%d-%d", loops[st.PV], st.PE, st.PE+s.Count/int64(len(s.Stripes))-1))
			}
			got = append(got, fmt.Sprintln(lv.Name, s.Start*vg.ExtentSize, s.Count*vg.ExtentSize, strings.Join(ranges, " ")))
		}
	}
	var want []string
	for _, s := range l.report("lvs", "--segments", "-o", "lv_name,seg_start,seg_size,seg_pe_ranges", vg.Name).Report[0].Seg {
		want = append(want, fmt.Sprintln(s["lv_name"], s["seg_start"], s["seg_size"], s["seg_pe_ranges"]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("segments (-lvs +Read):\n%s", diff)
	}
}

func checkContent(t *testing.T, vg VG, pvs map[string]disk.Image) {
	t.Helper()
	for _, name := range []string{"root", "spans"} {
		img, err := vg.Image(name, pvs)
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := vg.Pieces(name)
		if err != nil || len(pieces) < 2 {
			t.Fatalf("%s: %v, %v; want at least 2 pieces", name, pieces, err)
		}
		// Fill it by the pieces, and read it through the image in odd steps.
		want := make([]byte, img.Size())
		rand.NewChaCha8([32]byte{byte(len(name))}).Read(want)
		for _, p := range pieces {
			if _, err := pvs[p.PV].(image).WriteAt(want[p.Start:p.Start+p.Length], p.Offset); err != nil {
				t.Fatal(err)
			}
		}
		var got bytes.Buffer
		buf := make([]byte, 999_983)
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{io.NewSectionReader(img, 0, img.Size())}, buf); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: %d bytes read, %v; want %d others", name, got.Len(), err, len(want))
		}
		next := int64(0)
		for e, err := range img.Extents() {
			if err != nil || e.Offset != next || e.Length <= 0 {
				t.Fatalf("%s: extent %+v, %v; want one from %d on", name, e, err, next)
			}
			next += e.Length
		}
		if next != img.Size() {
			t.Errorf("%s: extents end at %d of %d", name, next, img.Size())
		}
	}
}

func TestReadDamaged(t *testing.T) {
	l := newLab(t, 64*mib)
	l.lvm("pvcreate", "-y", "-q", "--metadatacopies", "2", l.loops[0])
	if pv, err := Read(l.open(0)); err != nil || pv.VG.Name != "" || pv.UUID == "" {
		t.Errorf("PV without a group: %+v, %v; want a UUID only", pv, err)
	}
	l.lvm("vgcreate", "-q", "vg0", l.loops[0])
	img := l.open(0)
	pv, err := Read(img)
	if err != nil || len(pv.Metadata) != 2 {
		t.Fatalf("Read = %+v, %v; want 2 metadata areas", pv, err)
	}
	for _, tt := range []struct {
		name string
		off  int64
		err  string
	}{
		{"first area", pv.Metadata[0].Offset + 8, ""},
		{"second area", pv.Metadata[1].Offset + 8, fmt.Sprintf("malformed lvm metadata: no valid header of a metadata area at %d", pv.Metadata[0].Offset)},
		{"label", 512 + 40, "malformed lvm metadata: the label's checksum in sector 1 is wrong"},
		{"label's name", 512, "malformed lvm metadata: no label in sectors 0 to 3"},
	} {
		if _, err := img.WriteAt([]byte{0xff}, tt.off); err != nil {
			t.Fatal(err)
		}
		got, err := Read(img)
		switch {
		case tt.err == "" && (err != nil || got.VG.Name != "vg0"):
			t.Errorf("%s broken: %+v, %v; want the other's", tt.name, got.VG, err)
		case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err) || !errors.Is(err, ErrFormat)):
			t.Errorf("%s broken: %v; want %s", tt.name, err, tt.err)
		}
	}
}

const sample = `# a comment
vg0 {
id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
seqno = 3
format = "lvm2" # informational
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
max_lv = 0
physical_volumes {
pv0 { id = "hhhhhh" device = "/dev/sda5" status = ["ALLOCATABLE"] dev_size = 100000 pe_start = 2048 pe_count = 11 }
}
logical_volumes {
root { id = "iiiiii" status = ["READ", "WRITE", "VISIBLE"] segment_count = 1
segment1 { start_extent = 0 extent_count = 4 type = "striped" stripe_count = 1 stripes = [ "pv0", 2 ] } }
}
}
contents = "Text Format Volume Group"
version = 1
description = "quote \" and backslash \\"
creation_host = "h"
`

func TestParseMetadata(t *testing.T) {
	vg, err := ParseMetadata([]byte(sample + "\x00rest"))
	if err != nil {
		t.Fatal(err)
	}
	want := VG{
		Name: "vg0", UUID: "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg", Seqno: 3, Status: []string{"RESIZEABLE", "READ", "WRITE"}, ExtentSize: 4 * mib,
		PVs: []Member{{Name: "pv0", UUID: "hhhhhh", Device: "/dev/sda5", Status: []string{"ALLOCATABLE"}, PEStart: mib, PECount: 11}},
		LVs: []LV{{
			Name: "root", UUID: "iiiiii", Status: []string{"READ", "WRITE", "VISIBLE"},
			Segments: []Segment{{Count: 4, Type: "striped", Stripes: []Stripe{{PV: "pv0", PE: 2}}}},
		}},
	}
	if diff := cmp.Diff(want, vg); diff != "" {
		t.Errorf("ParseMetadata (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ name, old, new, err string }{
		{"extents past the PV", "extent_count = 4", "extent_count = 10", "vg vg0: logical volume root, segment1: malformed lvm metadata: 10 extents from 2 on pv0, which has 11"},
		{"unknown PV", `"pv0", 2`, `"pv7", 2`, "vg vg0: logical volume root, segment1: malformed lvm metadata: stripe on pv7 at 2"},
		{"gap", "start_extent = 0", "start_extent = 1", "vg vg0: malformed lvm metadata: logical volume root: a segment starts at extent 1, the one before ends at 0"},
		{"extent size", "extent_size = 8192", "extent_size = 0", "malformed lvm metadata: vg vg0: extent_size 0 sectors"},
		{"huge extents", "extent_size = 8192", "extent_size = 9223372036854775807", "malformed lvm metadata: vg vg0: extent_size 9223372036854775807 sectors"},
		{"open section", "version = 1", "version {", "malformed lvm metadata: line 22: the text ends inside a section"},
		{"no value", "version = 1", "version = ", "malformed lvm metadata: line 20: expected a number or a string"},
		{"no group", "vg0 {", "vg0 = 1 #", "malformed lvm metadata: line 17: expected a name, not '}'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseMetadata([]byte(strings.Replace(sample, tt.old, tt.new, 1)))
			if err == nil || err.Error() != tt.err || !errors.Is(err, ErrFormat) {
				t.Errorf("ParseMetadata: %v\nwant: %s", err, tt.err)
			}
		})
	}
}

// TestParseShared has what keeps a group where it is: a lock manager, a limit,
// a snapshot.
func TestParseShared(t *testing.T) {
	text := strings.NewReplacer(
		"seqno = 3", "seqno = 3\nsystem_id = \"web\"\nlock_type = \"sanlock\"", "max_lv = 0", "max_lv = 7",
		"logical_volumes {", `logical_volumes {
snapshot0 {
id = "jjjjjj"
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 4
type = "snapshot"
chunk_size = 8
origin = "root"
cow_store = "before"
}
}`).Replace(sample)
	vg, err := ParseMetadata([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{vg.SystemID, vg.LockType, vg.MaxLVs, vg.LVs[0].Name, vg.LVs[0].Segments[0].Origin, vg.LVs[1].Segments[0].Origin}
	if diff := cmp.Diff([]any{"web", "sanlock", int64(7), "snapshot0", "root", ""}, got); diff != "" {
		t.Errorf("ParseMetadata (-want +got):\n%s", diff)
	}
}

// TestParseLarge has groups at the limits, which are read without work that
// grows with more than their size, and beyond them.
func TestParseLarge(t *testing.T) {
	group := func(pvs, lvs, segments int) []byte {
		var b strings.Builder
		b.WriteString("vg0 {\nextent_size = 8192\nphysical_volumes {\n")
		for i := range pvs {
			fmt.Fprintf(&b, "pv%d { pe_count = 1000000 }\n", i)
		}
		b.WriteString("}\nlogical_volumes {\n")
		for i := range lvs {
			fmt.Fprintf(&b, "lv%d {\n", i)
			for j := range segments {
				fmt.Fprintf(&b, "segment%d { start_extent = %d extent_count = 1 type = \"striped\" stripes = [ \"pv%d\", %d ] }\n", j, j, pvs-1, j)
			}
			b.WriteString("}\n")
		}
		b.WriteString("}\n}\n")
		return []byte(b.String())
	}
	vg, err := ParseMetadata(group(maxPVs, 1, 20_000))
	if err != nil || len(vg.PVs) != maxPVs || vg.LVs[0].Extents() != 20_000 {
		t.Errorf("ParseMetadata: %v, %d physical volumes; want all %d, and 20000 segments", err, len(vg.PVs), maxPVs)
	}
	if ps, err := vg.Pieces("lv0"); err != nil || len(ps) != 20_000 {
		t.Errorf("Pieces: %d, %v; want 20000", len(ps), err)
	}
	if vg, err = ParseMetadata(group(1, maxLVs, 1)); err != nil || len(vg.LVs) != maxLVs {
		t.Errorf("ParseMetadata: %v, %d logical volumes; want all %d", err, len(vg.LVs), maxLVs)
	}
	for text, want := range map[string]string{
		string(group(maxPVs+1, 0, 0)): "malformed lvm metadata: vg vg0: 1025 physical volumes; the limit is 1024",
		string(group(1, maxLVs+1, 1)): "malformed lvm metadata: vg vg0: 4097 logical volumes; the limit is 4096",
	} {
		if _, err := ParseMetadata([]byte(text)); err == nil || err.Error() != want || !errors.Is(err, ErrFormat) {
			t.Errorf("ParseMetadata: %v; want %s", err, want)
		}
	}
}

func FuzzLVMMetadata(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(strings.Repeat("a{", 20)))
	f.Add([]byte("a{x=[1,\"b\",]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		vg, err := ParseMetadata(b)
		if err != nil {
			return
		}
		for _, lv := range vg.LVs {
			ps, err := vg.Pieces(lv.Name)
			if err != nil {
				continue
			}
			next := int64(0)
			for _, p := range ps {
				if p.Start != next || p.Length <= 0 || p.Offset < 0 {
					t.Errorf("%s: piece %+v; want one from %d on", lv.Name, p, next)
				}
				next += p.Length
			}
		}
	})
}

func FuzzLVMLabel(f *testing.F) {
	label := make([]byte, 512)
	copy(label, "LABELONE")
	copy(label[20:], "\x20\x00\x00\x00LVM2 001")
	copy(label[32:], strings.Repeat("u", 32))
	f.Add(label)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 512 {
			return
		}
		b = bytes.Clone(b[:512])
		sum := crc(b[20:])
		b[16], b[17], b[18], b[19] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		if pv, err := parseLabel(b, 1); err == nil && len(pv.Metadata) > maxAreas {
			t.Errorf("%d areas", len(pv.Metadata))
		}
	})
}
