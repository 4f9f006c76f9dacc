package pvhead

import (
	"io"
	"strings"
	"testing"
	"time"

	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/fixtures"
)

// templateGroups are a group to make and one that a guest has, with the file
// that holds the guest's physical volume at byte 0.
func templateGroups(t *testing.T) (groups []layout.Group, pv string) {
	t.Helper()
	pv = sparseFile(t, 64*mib)
	var uuids []string
	onLoops(t, []string{pv}, func(lvm func(...string) string, devs []string) {
		lvm("pvcreate", "--yes", devs[0])
		lvm("vgcreate", "guest-old", devs[0])
		lvm("lvcreate", "--yes", "-an", "-Zn", "-Wn", "-l", "5", "-n", "root", "guest-old")
		uuids = strings.Fields(lvm("vgs", "--noheadings", "-o", "vg_uuid,pv_uuid,vg_seqno", "guest-old"))
	})
	if len(uuids) != 3 || uuids[2] != "2" {
		t.Fatalf("vgs = %q", uuids)
	}
	const fresh = "esxodu-0000-0000-0000-0000-0000-000001"
	return []layout.Group{
		{
			Name: "guest-old", UUID: uuids[0], Seqno: 2, ExtentSize: 4 * mib,
			PVs: []layout.PV{{UUID: uuids[1], Disk: "scsi0:0", Size: 128 * mib, Start: mib, Extents: 31}},
			Volumes: []layout.Volume{
				{Name: "root", Extents: 5, Segments: []layout.Segment{{PV: uuids[1], Count: 5}}},
				{Name: "boot", New: true, Extents: 7, Segments: []layout.Segment{{PV: uuids[1], PE: 20, Count: 7}}},
			},
		},
		{
			Name: "guest-new", ExtentSize: 4 * mib,
			PVs:     []layout.PV{{UUID: fresh, Disk: "scsi0:1", Size: 3 << 40, Start: mib, Extents: (3<<40 - mib) / (4 * mib), New: true}},
			Volumes: []layout.Volume{{Name: "data", New: true, Extents: 9, Segments: []layout.Segment{{PV: fresh, Count: 9}}}},
		},
	}, pv
}

// TestLVMTemplate has udev and event activation about, and checks that they
// see nothing of a guest's groups; then that they would have.
func TestLVMTemplate(t *testing.T) {
	fixtures.LabDisks(t, 0)
	groups, pv := templateGroups(t)
	source := func(string) (io.ReaderAt, error) { return rawImage(t, pv), nil }
	active := func() bool {
		fixtures.Run(t, "udevadm", "settle")
		return strings.Contains(fixtures.Run(t, "dmsetup", "ls"), "guest--")
	}
	dir := t.TempDir()
	for range 3 {
		start := time.Now()
		if _, err := Make(t.Context(), host.Tool{}, dir, groups, source); err != nil {
			t.Fatal(err)
		}
		t.Logf("two groups took %v", time.Since(start))
		if active() {
			t.Fatal("a guest's volumes are active on the host")
		}
		if left := fixtures.Run(t, "losetup", "--list", "--noheadings"); left != "" {
			t.Errorf("loop devices are left: %s", left)
		}
	}
	if out := fixtures.Run(t, "vgs", "--noheadings", "--options", "vg_name"); strings.Contains(out, "guest-") {
		t.Errorf("the host's LVM sees %s", out)
	}
	loop := strings.TrimSpace(fixtures.Run(t, "losetup", "--find", "--show", pv))
	defer fixtures.Run(t, "losetup", "--detach", loop)
	for range 600 {
		if active() {
			fixtures.Run(t, "vgchange", "--activate", "n", "guest-old")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("udev doesn't activate a guest's volumes even if it may: the test proves nothing")
}

// TestLVMTemplateKinds has a guest's group with volumes of all kinds beside
// the linear one that /boot is on: a look tells them, and LVM without
// device-mapper still adds a volume to the group.
func TestLVMTemplateKinds(t *testing.T) {
	vg, disks := fixtures.LabGroup(t, 2)
	const none = "global/thin_check_executable=\"\""
	for _, argv := range [][]string{
		{"--extents", "10", "--name", "root"},
		{"--snapshot", "--extents", "4", "--name", "before", vg + "/root"},
		{"--type", "striped", "--stripes", "2", "--extents", "4", "--name", "striped"},
		{"--type", "raid1", "--mirrors", "1", "--extents", "4", "--name", "mirrored"},
		{"--type", "thin", "--size", "64m", "--virtualsize", "1g", "--thinpool", "pool", "--name", "thin"},
	} {
		if argv[0] != "--snapshot" && argv[1] != "thin" {
			argv = append(argv, vg)
		} else if argv[1] == "thin" {
			argv[len(argv)-3] = vg + "/pool"
		}
		fixtures.Run(t, append([]string{"lvcreate", "--yes", "--config", none}, argv...)...)
	}
	fixtures.Run(t, "vgchange", "--activate", "n", "--config", none, vg)
	g, images := lookAt(t, disks)
	if len(g.Groups) != 1 {
		t.Fatalf("groups = %+v", g.Groups)
	}
	v := g.Groups[0]
	kinds := map[string]string{}
	var root layout.Volume
	end := int64(0)
	for _, lv := range v.LVs {
		kinds[lv.Name] = strings.Join(lv.Types, ",")
		if lv.Origin != "" {
			kinds[lv.Name] += " of " + lv.Origin
		}
		for _, s := range lv.Segments {
			for _, a := range s.Areas {
				end = max(end, a.PE+s.Count)
				if lv.Name == "root" {
					root.Name, root.Extents = "root", root.Extents+s.Count
					root.Segments = append(root.Segments, layout.Segment{PV: a.PV, PE: a.PE, Count: s.Count})
				}
			}
		}
	}
	t.Logf("%v", kinds)
	for name, want := range map[string]string{"root": "linear", "snapshot0": "snapshot of root", "striped": "striped", "mirrored": "raid1", "thin": "thin", "pool": "thin-pool"} {
		if kinds[name] != want {
			t.Errorf("%s is %q; want %q", name, kinds[name], want)
		}
	}
	plan := layout.Group{Name: v.Name, UUID: v.UUID, Seqno: v.Seqno, ExtentSize: v.ExtentSize, Volumes: []layout.Volume{
		root, {Name: "new", New: true, Extents: 3, Segments: []layout.Segment{{PV: v.PVs[0].UUID, PE: end, Count: 3}}},
	}}
	for _, pv := range v.PVs {
		plan.PVs = append(plan.PVs, layout.PV{UUID: pv.UUID, Disk: pv.Disk, Size: pv.Length + 64*mib, Start: pv.Start, Extents: pv.Extents + 16, Source: pv.Offset})
	}
	_, err := Make(t.Context(), host.Tool{}, t.TempDir(), []layout.Group{plan}, func(address string) (io.ReaderAt, error) {
		return images[address[len(address)-1]-'0'], nil
	})
	if err != nil {
		t.Error(err)
	}
}
