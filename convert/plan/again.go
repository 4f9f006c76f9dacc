package plan

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/inventory"
	"esxodus/network"
)

// Sums tell what was edited in a VM's part of a plan from what was planned.
type Sums struct {
	Addresses string `json:"addresses"` // of the addresses that all else was made for
	// Proven is of what a proof can show: the NICs, what can be tried of them, and
	// whether the guest shows a login.
	Proven string `json:"proven"`
}

// Sum returns the sums of a VM's part as it is.
func (v *VMPlan) Sum() Sums {
	return Sums{Addresses: sum(orNone(v.Addresses)), Proven: sum([]any{orNone(v.Guest.SerialLogin), orNone(v.NICs), v.network(Options{})})}
}

// orNone is a list, and nil for an empty one: a file doesn't tell one from the other.
func orNone[T any](list []T) []T { return append([]T(nil), list...) }

func sum(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error() // which no sum of another comes to
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// readdressed reports whether other addresses stand in a VM's part than all else in
// it was made for.
func (v *VMPlan) readdressed() bool {
	return v.Sums != Sums{} && v.Sums.Addresses != v.Sum().Addresses
}

// Readdressed lists the VMs, by their place in the plan, whose addresses were edited.
// Nothing may be carried out of their parts before those are made anew.
func (p *Plan) Readdressed() []int {
	var out []int
	for i := range p.VMs {
		if p.VMs[i].readdressed() {
			out = append(out, i)
		}
	}
	return out
}

// checkReaddressed checks addresses that were edited.
func (v *VMPlan) checkReaddressed() error {
	if !v.readdressed() {
		return nil
	}
	for i, a := range v.Addresses {
		err := checkAddress(a)
		switch {
		case err != nil:
		case !slices.ContainsFunc(v.Source.NICs, func(n inventory.NIC) bool { return n.Index == a.Index }):
			err = fmt.Errorf("the VM has no ethernet%d", a.Index)
		case slices.ContainsFunc(v.Addresses[:i], func(o guest.NewAddress) bool { return o.Index == a.Index && o.Family(a.Prefix.Addr()) }):
			err = fmt.Errorf("ethernet%d has another address of that family already", a.Index)
		}
		if err != nil {
			return fmt.Errorf("addresses[%d]: %w", i, err)
		}
	}
	return nil
}

// checkFile is check for a part that comes from a file, whose addresses may have been
// edited.
func (v *VMPlan) checkFile(storage volume.Storage) error {
	as := *v
	switch {
	case v.Sums == Sums{} && len(v.NICs)+len(v.Addresses) > 0:
		return errors.New("sums: missing, so that it isn't known what was edited: plan again")
	case v.readdressed():
		as.Addresses = nil
		as.Sums.Addresses = as.Sum().Addresses
	}
	return as.check(storage)
}

// checkSums refuses a part that would prove something else than was planned.
func (v *VMPlan) checkSums() error {
	switch is := v.Sum(); {
	case v.Sums == Sums{}:
		return nil // of an older esxodus
	case v.Sums.Proven != is.Proven:
		return errors.New("nics, their startConnected or guest.serialLogin were edited: the proof would then show less than was planned, or something else. " +
			"Put back what was there, or plan again; the addresses that a NIC gets are edited in addresses")
	case v.Sums.Addresses != is.Addresses:
		return errors.New("addresses were edited, and all else wasn't made for them: plan again")
	}
	return nil
}

// Kept is what a VM's part that is made anew keeps: what else may be edited in it.
type Kept struct {
	network network.Plan
	disks   []Disk
	as      Domain
}

// volumes puts the volumes of the saved part in the places of those that the planner
// would take.
func (k *Kept) volumes(vols []volume.Volume) {
	if k == nil || len(k.disks) != len(vols) {
		return
	}
	for i, d := range k.disks {
		vols[i] = d.Volume
	}
}

// domain is the domain of the saved part, or the planner's for a new one.
func (k *Kept) domain(planned Domain) Domain {
	if k == nil || k.as.XML == "" {
		return planned
	}
	return k.as
}

// Again returns the options with which VM i is planned anew, with the addresses that
// its part has now.
func (p *Plan) Again(i int) Options {
	v := &p.VMs[i]
	o := Options{
		VMs: []string{v.Source.ID}, Storage: p.Target.Storage, VirtType: p.Target.VirtType, Libvirt: p.Target.Libvirt,
		NoSpeed: true, NoProof: v.NoProof, BootOnly: v.BootOnly, NoEdits: v.NoEdits, AllBlocks: v.AllBlocks, Layout: v.Layout.Asked,
		Addresses: map[string][]guest.NewAddress{v.Source.ID: v.Addresses},
		Again:     &Kept{network: p.NetworkOf(i), disks: v.Disks, as: v.Domain},
	}
	if v.Off {
		o.Off = o.VMs
	}
	if v.Via != "" {
		o.Via = map[string]Way{v.Source.ID: v.Via}
	}
	for _, s := range v.Steps {
		switch {
		case s.Kind == StepShutdown:
			o.Shutdown, o.PowerOff = ShutdownMode(s.Via), s.powerOff()
		case s.Expect != nil && s.Expect.Network != nil:
			o.Ports = s.Expect.Network.Ports
		}
	}
	return o
}

// Replace puts what was made with [Plan.Again]'s options in the place of VM i's part.
func (p *Plan) Replace(i int, again *Plan) error {
	was, is := &p.VMs[i], again.VMs[0]
	if is.Source.ChangeVersion != was.Source.ChangeVersion || is.Source.Power != was.Source.Power {
		return fmt.Errorf("%q has changed since the plan, so that its new addresses can't be planned with it: plan again", was.Source.Name)
	}
	if sum(is.Layout) != sum(was.Layout) {
		return fmt.Errorf("with its new addresses the layout of %q would not be the planned one, but %s (%s): plan again", was.Source.Name, is.Layout.Kind, strings.Join(is.Layout.Reasons, "; "))
	}
	is.Source, is.From = was.Source, was.From // the check before the copy compares with that
	ofPlan := func(c ledger.Concern) bool {
		return strings.HasPrefix(c.ID, "network.") || strings.HasPrefix(c.ID, "batch.")
	}
	is.Concerns = slices.DeleteFunc(is.Concerns, ofPlan)
	for _, c := range was.Concerns {
		if ofPlan(c) { // it comes from the whole plan
			is.Concerns = append(is.Concerns, c)
		}
	}
	ledger.SortConcerns(is.Concerns)
	p.VMs[i] = is
	return p.Check()
}
