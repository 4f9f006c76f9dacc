package layout

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
)

// numbers reads numbers out of a fuzzer's bytes, of all sizes.
type numbers []byte

func (n *numbers) next(limit int64) int64 {
	if len(*n) == 0 {
		return 0
	}
	c := (*n)[0]
	*n = (*n)[1:]
	if c == 0xff && len(*n) >= 8 { // any number at all
		v := int64(binary.LittleEndian.Uint64(*n))
		*n = (*n)[8:]
		return v
	}
	return int64(c) % limit
}

// count reads a number below limit.
func (n *numbers) count(limit int64) int64 {
	if len(*n) == 0 {
		return 0
	}
	c := (*n)[0]
	*n = (*n)[1:]
	return int64(c) % limit
}

// guestOf makes a guest, mostly a possible one, out of bytes.
func guestOf(b []byte) guest.Guest {
	n := numbers(b)
	contents := []string{"ext4", "xfs", "swap", "vfat", "luks", "", "ext4", "ext4"}
	mounts := []string{"", "", "/boot", "swap", "/var", "/var/log"}
	g := linux("scsi0:0 partition 1")
	var pvs []guest.GroupPV
	for i := range 1 + n.count(3) {
		d := guest.DiskLayout{Address: fmt.Sprintf("scsi0:%d", i), Size: 64*mib + n.next(250)*mib/2, Table: "gpt"}
		next := int64(mib)
		for j := range n.count(5) {
			p := guest.Partition{Number: int(j) + 1, Offset: next + n.next(3)*sector, Length: (1 + n.next(200)) * mib / 8, Content: contents[n.count(8)], Mount: mounts[n.count(6)]}
			if n.count(4) == 1 {
				p.Content, p.Mount = "lvm2", ""
				pvs = append(pvs, guest.GroupPV{
					UUID: pvUUID("x", fmt.Sprint(i, j)), Disk: d.Address, Partition: p.Number, Offset: p.Offset, Length: p.Length, Start: 4096 + n.next(9)*sector,
					Extents: n.next(200), Status: []string{"ALLOCATABLE"}, Label: 1, Copies: 1,
				})
			}
			next = p.Offset + p.Length
			d.Partitions = append(d.Partitions, p)
		}
		g.Disks = append(g.Disks, d)
	}
	for i, pv := range pvs {
		if len(g.Groups) == 0 || n.count(3) > 0 {
			g.Groups = append(g.Groups, guest.Group{
				Name: fmt.Sprintf("vg%d", i), UUID: pvUUID("g", fmt.Sprint(i)), ExtentSize: 65536 << n.count(5), Status: []string{"RESIZEABLE", "READ", "WRITE"},
			})
		}
		v := &g.Groups[len(g.Groups)-1]
		v.PVs = append(v.PVs, pv)
		at := int64(0)
		for j := range n.count(4) {
			at += n.next(10)
			count := 1 + n.next(40)
			v.LVs = append(v.LVs, linear(fmt.Sprintf("lv%d-%d", i, j), pv.UUID, at, count))
			at += count
		}
	}
	if len(g.Groups) > 0 && n.count(2) == 1 {
		g.Root = g.Groups[0].Name + "/lv0-0"
		g.Volumes = []guest.Volume{{Group: g.Groups[0].Name, Name: "lv0-0", Content: "ext4", Mount: "/"}}
	}
	return g
}

// FuzzNew checks every layout of every guest for consistency; and the same
// request must give the same layout, which must survive JSON.
func FuzzNew(f *testing.F) {
	f.Add([]byte("\x00\x40\x02\x00\x50\x00\x00\x00\x00\x20\x02\x03"))
	f.Add([]byte("\x01\x80\x03\x00\x10\x00\x02\x00\x01\x50\x05\x05\x01\x02\x20\x01\x30\x00\x01\x00\x05\x40\x02\x03\x00\x30\x00\x00\x00\x00\x02\x03\x02\x04\x08\x01\x10\x02\x03\x01"))
	f.Add([]byte("\x00\x10\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x80"))
	kinds := map[Kind]int{}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 400 {
			return
		}
		g := guestOf(b)
		for _, kind := range []Kind{Auto, LVM, Plain, Keep} {
			l := New(Request{Kind: kind, Guest: g, Seed: "s"})
			kinds[l.Kind]++
			if l.Kind != Keep {
				verify(t, l, g)
			}
			if (l.Kind == Keep) != (l.Boot == nil) || l.Kind == Keep && kind != Keep && len(l.Reasons) == 0 {
				t.Errorf("%s became %s, boot %+v, reasons %q", kind, l.Kind, l.Boot, l.Reasons)
			}
			j, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			var back Layout
			if err := json.Unmarshal(j, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(New(Request{Kind: kind, Guest: guestOf(b), Seed: "s"}), back); diff != "" {
				t.Errorf("again (-want +got):\n%s", diff)
			}
		}
	})
	f.Logf("%v", kinds)
}
