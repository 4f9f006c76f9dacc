package plan

import (
	"fmt"
	"slices"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/guest/nics"
	"esxodus/convert/ledger"
)

// findNICs finds out which NIC is which interface of the guest, and tells what is
// in doubt.
func (v *VMPlan) findNICs() {
	found, doubts := nics.Of(v.Guest, v.Source.NICs)
	v.NICs = found
	for _, d := range doubts {
		c := ledger.Concern{ID: domain.ConcernNICName, Severity: ledger.Warning, Evidence: d.Text, Advice: d.Advice}
		if d.NIC >= 0 {
			c.Subject = fmt.Sprintf("ethernet%d", d.NIC)
		}
		v.Concerns = append(v.Concerns, c)
	}
}

// keepNames notes which names the conversion keeps.
func (v *VMPlan) keepNames(c guest.Conversion) {
	pins := adapt.Pins(v.Guest, v.NICs)
	for _, p := range pins {
		edited := slices.ContainsFunc(c.Edits, func(e guest.Edit) bool { return e.Path == p.Edit.Path })
		i := slices.IndexFunc(v.NICs, func(n guest.NIC) bool { return n.Index == p.NIC.Index })
		if edited {
			v.NICs[i].Kept = p.Edit.Path
		}
	}
}
