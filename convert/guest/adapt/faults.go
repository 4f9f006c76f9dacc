package adapt

import (
	"fmt"
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// Faults tells of file systems that are damaged at the source, of a guest that
// isn't converted.
func Faults(g guest.Guest) []ledger.Concern {
	var out []ledger.Concern
	for _, f := range g.Faults {
		out = append(out, fault(f, ledger.Warning, "it is copied as it is"))
	}
	return out
}

// faults tells of them in a conversion. One that has to be mounted for it, and
// that no kernel mounts, is found out now and not by the appliance.
func (b *builder) faults() {
	for _, f := range b.g.Faults {
		i := slices.IndexFunc(b.places.moves, func(m layout.Move) bool { return m.From == f.Volume })
		mounted := i >= 0 && slices.ContainsFunc(b.out.Mounts, func(m guest.Mount) bool { return m.Device == applianceName(b.places.moves[i].To) })
		if mounted && f.Refused {
			b.concerns = append(b.concerns, fault(f, ledger.Blocker, "the conversion changes files on it, and a kernel may refuse to mount it"))
			continue
		}
		then := "it is converted with that, and only new damage counts as the conversion's"
		if b.stays() && !mounted {
			then = "it is copied as it is"
		}
		b.concerns = append(b.concerns, fault(f, ledger.Warning, then))
	}
}

// fault is a concern about one of them; then says what becomes of it.
func fault(f guest.Fault, s ledger.Severity, then string) ledger.Concern {
	tool := "e2fsck -f"
	if f.Content == "xfs" {
		tool = "xfs_repair"
	}
	subject := f.Volume
	if f.Mount != "" {
		subject = fit.Line(f.Mount)
	}
	return ledger.Concern{
		ID: ConcernFaults, Severity: s, Subject: subject,
		Evidence: fmt.Sprintf("the %s of %s is damaged at the source: %s; %s", f.Content, f.Volume, f.What, then),
		Advice:   fmt.Sprintf("unmount it in the guest, or start a rescue system for its root, and run %s on it; shut the VM down, and plan again", tool),
	}
}
