package lvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk"
	"esxodus/fixtures"
)

// Free extents are those that LVM's own tools call free.
func TestFree(t *testing.T) {
	l := newLab(t, 256*mib, 200*mib)
	l.lvm("pvcreate", "-y", "-q", l.loops[0])
	l.lvm("pvcreate", "-y", "-q", "--dataalignment", "2m", l.loops[1])
	l.lvm("vgcreate", "-q", "-s", "1m", "vg", l.loops[0], l.loops[1])
	for _, lv := range [][]string{
		{"-L", "40m", "-n", "root"},
		{"-L", "8m", "-n", "gone"},
		{"-L", "16m", "-i", "2", "-n", "striped"},
		{"-L", "20m", "-n", "origin"},
		{"-L", "30m", "-n", "last"},
	} {
		l.lvm(append([]string{"lvcreate", "-y", "-q", "-an", "-Zn", "-Wn", "vg"}, lv...)...)
	}
	l.lvm("lvremove", "-y", "-q", "vg/gone")
	l.lvm("lvextend", "-q", "-L", "60m", "vg/root")

	var pvs []Located
	for i := range l.loops {
		pv, err := Read(l.open(i))
		if err != nil {
			t.Fatal(err)
		}
		pvs = append(pvs, Located{PV: pv, Image: l.open(i)})
	}
	groups, _, twice := Groups(pvs)
	if len(groups) != 1 || len(twice) != 0 {
		t.Fatalf("%d groups, %d twice; want 1 and none", len(groups), len(twice))
	}
	vg := groups[0]
	compareFree(t, vg, l.loops, l.report(append(append([]string{"pvs"}, freeReport()...), l.loops...)...))
	for _, name := range []string{"root", "striped", "origin"} {
		if !vg.Alone(name) {
			t.Errorf("Alone(%q) = false", name)
		}
	}
}

// freeReport are the arguments of pvs for what [compareFree] takes.
func freeReport() []string {
	return []string{"--segments", "-o", "pv_name,pvseg_start,pvseg_size,segtype"}
}

// compareFree compares the free extents of a group, of a MiB each, with those that pvs
// reports of its devices.
func compareFree(t *testing.T, vg VG, devices []string, pvs report) {
	t.Helper()
	free, err := vg.Free()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for i, m := range vg.PVs {
		for _, r := range free[m.UUID] {
			got = append(got, fmt.Sprintln(devices[i], (r.Offset-m.PEStart)/vg.ExtentSize, r.Length/vg.ExtentSize))
		}
	}
	for _, s := range pvs.Report[0].PVSeg {
		if s["segtype"] == "free" && s["pvseg_size"] != "0" {
			want = append(want, fmt.Sprintln(s["pv_name"], s["pvseg_start"], s["pvseg_size"]))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 2 {
		t.Errorf("free extents (-pvs +Free):\n%s", diff)
	}
}

// TestLVMFree has LVM make volumes of every kind on a real device mapper: what they
// are made of isn't free, and isn't alone.
func TestLVMFree(t *testing.T) {
	vg, disks := fixtures.LabGroup(t, 2)
	for _, lv := range [][]string{
		{"-L", "200m", "-n", "root"},
		{"-L", "40m", "-n", "gone"},
		{"-L", "100m", "-n", "origin"},
		{"-L", "20m", "-s", "-n", "snap", vg + "/origin"},
		{"-L", "60m", "--type", "raid1", "-m", "1", "--nosync", "-n", "mirrored"},
		{"-L", "80m", "--type", "thin-pool", "-n", "pool"},
		{"-V", "200m", "--thinpool", "pool", "-n", "thin"},
		{"-L", "40m", "-n", "slow"},
		{"-L", "20m", "--type", "cache-pool", "-n", "fast"},
	} {
		argv := append([]string{"lvcreate", "--yes", "--quiet"}, lv...)
		if !slices.Contains(lv, vg+"/origin") {
			argv = append(argv, vg)
		}
		fixtures.Run(t, argv...)
	}
	fixtures.Run(t, "lvremove", "--yes", vg+"/gone")
	fixtures.Run(t, "lvextend", "-L", "260m", vg+"/root")
	fixtures.Run(t, "lvconvert", "--yes", "--type", "cache", "--cachepool", vg+"/fast", vg+"/slow")
	var on []Located
	for _, path := range disks {
		img, err := disk.OpenRaw(path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		pv, err := Read(img)
		if err != nil {
			t.Fatal(err)
		}
		on = append(on, Located{PV: pv, Image: img})
	}
	groups, _, _ := Groups(on)
	var pvs report
	out := fixtures.Run(t, append(append([]string{"pvs", "--reportformat", "json"}, freeReport()...), disks...)...)
	if err := json.Unmarshal([]byte(out), &pvs); err != nil {
		t.Fatal(err)
	}
	compareFree(t, groups[0], disks, pvs)
	for name, alone := range map[string]bool{
		"root": true, "mirrored": true, "thin": true, "slow": true,
		"origin": false, "mirrored_rimage_0": false, "pool_tdata": false, "pool_tmeta": false, "slow_corig": false,
	} {
		if groups[0].Alone(name) != alone {
			t.Errorf("Alone(%q) = %t", name, !alone)
		}
	}
}

// What can't be told of a group isn't guessed.
func TestFreeUntrusted(t *testing.T) {
	linear := func(pe, n int64) LV {
		return LV{Name: "lv", Segments: []Segment{{Count: n, Type: "striped", Stripes: []Stripe{{PV: "pv0", PE: pe}}}}}
	}
	for name, c := range map[string]struct {
		lvs       []LV
		untrusted bool
	}{
		"a type that isn't known": {[]LV{{Name: "m", Segments: []Segment{{Count: 1, Type: "mirror"}}}}, true},
		"a flag of striped":       {[]LV{{Name: "m", Segments: []Segment{{Count: 1, Type: "striped+NEW"}}}}, true},
		"a move under way":        {[]LV{{Name: "pvmove0", Status: []string{"READ", "PVMOVE"}, Segments: linear(0, 1).Segments}}, true},
		"an overlap":              {[]LV{linear(0, 5), linear(4, 2)}, false},
		"beyond the end":          {[]LV{linear(8, 3)}, false},
	} {
		_, err := VG{Name: "vg", ExtentSize: mib, PVs: []Member{{Name: "pv0", PECount: 10}}, LVs: c.lvs}.Free()
		_, untrusted := errors.AsType[*disk.UntrustedError](err)
		if err == nil || untrusted != c.untrusted || !untrusted && !errors.Is(err, ErrFormat) {
			t.Errorf("Free with %s = %v", name, err)
		}
	}
}

// A snapshot needs what its origin has freed.
func TestAlone(t *testing.T) {
	vg := VG{LVs: []LV{
		{Name: "root"},
		{Name: "other"},
		{Name: "snapshot0", Segments: []Segment{{Type: "snapshot", Origin: "root", Names: []string{"snapshot", "root", "cow"}}}},
	}}
	for name, alone := range map[string]bool{"root": false, "cow": false, "other": true} {
		if vg.Alone(name) != alone {
			t.Errorf("Alone(%q) = %t", name, !alone)
		}
	}
}

// The newest metadata of a group counts, and the first of two physical volumes that
// claim to be one.
func TestGroups(t *testing.T) {
	pv := func(id string, seqno int64) Located {
		return Located{PV: PV{UUID: id, VG: VG{Name: "vg", UUID: "g", Seqno: seqno}}}
	}
	groups, images, twice := Groups([]Located{pv("a", 4), {PV: PV{UUID: "bare"}}, pv("b", 6), pv("a", 9), pv("c", 5)})
	if len(groups) != 1 || groups[0].Seqno != 6 || len(images) != 4 || !slices.Equal(twice, []int{3}) {
		t.Errorf("Groups = %+v, %d images, twice %v", groups, len(images), twice)
	}
}
