package plan

import (
	"slices"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
)

// Finish makes the plan of a draft whose needs are answered and whose Facts have
// the storage's.
func (d *Draft) Finish() *Plan {
	p := &Plan{Schema: Schema, Source: d.Facts.Source, Target: d.target, Network: d.network}
	for i := range d.vms {
		p.VMs = append(p.VMs, d.finish(d.vms[i]))
	}
	p.Order = d.order(p)
	addShared(p, d.Facts.Host)
	addNetwork(p)
	addClashes(p)
	p.Room = room(p, &d.Facts.Storage)
	p.Concerns = slices.Concat(p.Concerns, sourceConcerns(&d.Facts), placeConcerns(p, d.Facts))
	p.Concerns = append(p.Concerns, missedConcerns(p.acknowledge(d.options.Acknowledged))...)
	ledger.SortConcerns(p.Concerns)
	for i := range p.VMs {
		ledger.SortConcerns(p.VMs[i].Concerns)
	}
	return p
}

// finish adds what follows from the storage's facts and from all else: sizes,
// concerns and steps.
func (d *Draft) finish(w draftVM) VMPlan {
	vm, v := w.v.Source, w.v
	if len(w.failed) > 0 {
		return unplanned(&vm, &d.Facts, d.options, w.failed)
	}
	for i, have := range vm.Disks {
		v.Sizes.Provisioned += have.Capacity
		v.Sizes.Allocated += have.Allocated()
		v.Sizes.Target += d.Facts.volume(v.Disks[i].Volume).Size
	}
	for _, s := range v.Guest.Spaces {
		v.Sizes.Unused += s.Unused
		v.Sizes.Zero += s.Zero
	}
	v.Concerns = append(v.Concerns, concerns(&vm, &v, d.Facts, d.options)...)
	v.Steps = steps(&vm, &v, d.Facts, d.options)
	v.Sums = v.Sum()
	return v
}

// volume returns what the target's storage said of a volume.
func (f *Facts) volume(v volume.Volume) volume.Found {
	for _, fact := range f.Storage.Volumes {
		if fact.Volume.Path == v.Path {
			return fact
		}
	}
	return volume.Found{Volume: v, Size: v.Size}
}
