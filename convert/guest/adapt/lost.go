package adapt

import (
	"fmt"
	"maps"
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/guest/netconf"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// lostNICs has the files that find NICs by their place or driver on VMware find them
// by their addresses.
func (b *builder) lostNICs() {
	lost := finders(b.in.NICs)
	for _, file := range slices.Sorted(maps.Keys(lost)) {
		have, ok := b.c.Files[file]
		if !ok {
			continue
		}
		if text, ok := netconf.ByMAC(file, have.Text, lost[file]); ok {
			b.change(file, text, "it finds the NIC by its address, as its place and its driver are others here")
			delete(lost, file)
		}
	}
	edited := func(file string) bool {
		return slices.ContainsFunc(b.out.Edits, func(e guest.Edit) bool { return e.Path == file })
	}
	b.concerns = append(b.concerns, lostConcerns(b.g, lost, edited)...)
}

// finders lists the addresses of NICs by the file that finds them on VMware alone.
func finders(nics []guest.NIC) map[string][]string {
	out := map[string][]string{}
	for _, n := range nics {
		for _, file := range n.Lost {
			out[file] = append(out[file], n.MAC)
		}
	}
	return out
}

// LostNICs tells of network configuration, of a guest that is left as it is, that
// takes NICs by a place or a driver that they won't have.
func LostNICs(g guest.Guest, nics []guest.NIC) []ledger.Concern {
	return lostConcerns(g, finders(nics), func(string) bool { return false })
}

func lostConcerns(g guest.Guest, lost map[string][]string, edited func(string) bool) []ledger.Concern {
	const advice = "let it match them by MAC address in the guest before the migration; otherwise they get no address"
	var out []ledger.Concern
	for _, m := range g.Config.NICDrivers {
		if edited(m.File) {
			continue
		}
		delete(lost, m.File)
		out = append(out, ledger.Concern{
			ID: ConcernNIC, Severity: ledger.Warning, Subject: fit.Line(m.File), Advice: advice,
			Evidence: fit.Line(fmt.Sprintf("%s matches NICs whose driver is %s, which is VMware's; a virtio NIC's driver is virtio_net", m.File, m.Pattern)),
		})
	}
	for _, file := range slices.Sorted(maps.Keys(lost)) {
		out = append(out, ledger.Concern{
			ID: ConcernNIC, Severity: ledger.Warning, Subject: fit.Line(file), Advice: advice,
			Evidence: fit.Line(fmt.Sprintf("%s finds NICs by their place on VMware's buses, which they don't have here", file)),
		})
	}
	return ledger.Merge(out, ConcernNIC)
}
