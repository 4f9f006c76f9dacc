package plan

import (
	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// Finish makes the plan of a draft whose needs are answered and whose Facts have
// the storage's.
func (d *Draft) Finish() *Plan {
	p := d.part()
	d.sum(p)
	return p
}

// Finish makes one plan of the drafts of several sources for one target. The error says
// what their networks can't both have here.
func Finish(drafts []*Draft) (*Plan, error) {
	all := drafts[0].part()
	nets := []network.Plan{all.Network}
	for i, d := range drafts[1:] {
		p := d.part()
		for k := range p.VMs {
			p.VMs[k].From = i + 1
		}
		all.More = append(all.More, p.Source)
		all.VMs = append(all.VMs, p.VMs...)
		all.Concerns = append(all.Concerns, p.Concerns...)
		nets = append(nets, p.Network)
	}
	var err error
	if all.Network, err = network.Join(nets...); err != nil {
		return nil, err
	}
	all.Order = joinOrders(drafts, all)
	if len(drafts) > 1 {
		all.Network.Demand(drafts[0].hosts(), func(a network.Attachment) int { return all.nicsOn(a) })
		addNetwork(all)
	}
	drafts[0].sum(all)
	return all, nil
}

// part makes the plan of one source's VMs by themselves.
func (d *Draft) part() *Plan {
	p := &Plan{Schema: Schema, Source: d.Facts.Source, Target: d.target, Network: d.network}
	for i := range d.vms {
		p.VMs = append(p.VMs, d.finish(d.vms[i]))
	}
	p.Order = joinOrders([]*Draft{d}, p)
	addShared(p, d.Facts.Host)
	addNetwork(p)
	p.Concerns = append(p.Concerns, sourceConcerns(&d.Facts)...)
	return p
}

// sum adds what concerns the VMs together, and the place that they go to.
func (d *Draft) sum(p *Plan) {
	addClashes(p)
	p.Room = room(p, &d.Facts.Storage)
	p.Concerns = append(p.Concerns, placeConcerns(p, d.Facts)...)
	p.Concerns = append(p.Concerns, missedConcerns(p.acknowledge(d.options.Acknowledged))...)
	ledger.SortConcerns(p.Concerns)
	for i := range p.VMs {
		ledger.SortConcerns(p.VMs[i].Concerns)
	}
}

// hosts are those that the domains may be on, with their virtual functions.
func (d *Draft) hosts() []network.HostFunctions {
	if d.Facts.Network == nil {
		return d.options.Network.Hosts
	}
	return d.Facts.Network.Fill(d.options.Network).Hosts
}

// nicsOn counts the NICs that are attached by an attachment from the start on.
func (p *Plan) nicsOn(a network.Attachment) int {
	var vms []*inventory.VM
	for i := range p.VMs {
		if p.VMs[i].From == a.Source {
			vms = append(vms, &p.VMs[i].Source)
		}
	}
	return nicsOf(vms)[a.PortGroup]
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
