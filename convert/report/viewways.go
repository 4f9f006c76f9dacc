package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/plan"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// WayView is the way of one port group's frames, from ESXi's vSwitch to what the
// domains' interfaces attach to.
type WayView struct {
	VSwitch, PortGroup string // the first with the host's name, in a plan of several
	from               int    // the number of that host
	VLAN, MTU          int    // 0 for no tag, and for the usual 1500 bytes
	Uplink, Device     string
	Mode               network.Mode // "" where nothing says yet what it attaches to
	To                 string       // the attachment in words
	NICs               int
	Places             []int // of their VMs in the view
}

// ways lists the port groups that the VMs' NICs are in.
func ways(p *plan.Plan) []WayView {
	var out []WayView
	for _, a := range p.Network.Attachments {
		out = append(out, WayView{
			from: a.Source, VSwitch: ofHost(p, a.Source, a.VSwitch), PortGroup: a.PortGroup, VLAN: a.VLAN, MTU: a.MTU, Uplink: a.Uplink, Device: a.Device, Mode: a.Mode, To: attachment(a),
		})
	}
	type key struct {
		from      int
		portGroup string
	}
	place := make(map[key]int)
	for i, w := range out {
		place[key{w.from, w.PortGroup}] = i
	}
	for i := range p.VMs {
		for _, n := range p.VMs[i].Source.NICs {
			if n.Network() == "" {
				continue
			}
			k := key{p.VMs[i].From, n.Network()}
			at, known := place[k]
			if !known {
				at = len(out)
				place[k] = at
				out = append(out, WayView{from: k.from, VSwitch: ofHost(p, k.from, ""), PortGroup: n.Network(), To: "nothing yet: no interface of this host is known for it"})
			}
			out[at].add(n, i)
		}
	}
	slices.SortStableFunc(out, func(a, b WayView) int {
		return cmp.Or(cmp.Compare(a.VSwitch, b.VSwitch), cmp.Compare(a.PortGroup, b.PortGroup))
	})
	return out
}

// ofHost is a name of a host's, with that host's before it in a plan of several.
func ofHost(p *plan.Plan, from int, name string) string {
	if len(p.More) == 0 {
		return name
	}
	return strings.TrimSuffix(p.Sources()[from].Label()+" "+name, " ")
}

// add counts a NIC of the VM at a place. VMs come one after the other.
func (w *WayView) add(n inventory.NIC, place int) {
	w.PortGroup = cmp.Or(n.NetworkName, w.PortGroup)
	w.NICs++
	if !slices.Contains(w.Places, place) {
		w.Places = append(w.Places, place)
	}
}

// hardware says in a few words what a VM's machine is.
func hardware(vm *inventory.VM) string {
	var words []string
	if n := vm.CPU.Count; n > 0 {
		words = append(words, fit.Count(n, "CPU"))
	}
	if n := vm.Memory.SizeMiB; n > 0 {
		words = append(words, fmt.Sprintf("%d MiB of memory", n))
	}
	if vm.Firmware != "" {
		words = append(words, strings.ToUpper(string(vm.Firmware)))
	}
	words = append(words, fit.Count(len(vm.Disks), "disk"), fit.Count(len(vm.NICs), "NIC"))
	return strings.Join(words, ", ")
}

// roads are the ways that the bytes of a VM's disks take: "https", or several.
func roads(vm *plan.VMPlan) string {
	var out []string
	for i := range vm.Disks {
		if way := string(vm.Disks[i].Origin().Way); !slices.Contains(out, way) {
			out = append(out, way)
		}
	}
	return strings.Join(out, ", ")
}

// after says how much of room is left once need is taken.
func after(room, need int64) string {
	if need > room {
		return fmt.Sprintf("%s too little", fit.Bytes(need-room))
	}
	return fit.Bytes(room - need)
}
