package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"esxodus/inventory"
)

// Order is in which order a plan's VMs are migrated, and put in their place. It may be
// edited: moved about, split into waves, and given VMs that come after others.
type Order struct {
	// Waves come one after the other: one begins when all of the one before have ended.
	Waves []Wave `json:"waves"`
}

// Wave is VMs that are migrated together, begun in their order.
type Wave struct {
	Name string `json:"name"`
	VMs  []Turn `json:"vms"`
}

// Turn is one VM's place in a wave.
type Turn struct {
	VM string `json:"vm"` // the domain's name
	// After are VMs, of this wave or one before, that must have come through: where one
	// hasn't, this one isn't begun.
	After []string `json:"after,omitempty"`
	// Chained VMs of a wave and of one source start at a cutover one after the other, as
	// their host's autostart has it: the next Delay seconds after this one, or as soon as
	// it answers where Heartbeat is set.
	Chained   bool `json:"chained,omitempty"`
	Delay     int  `json:"delay,omitempty"`
	Heartbeat bool `json:"heartbeat,omitempty"`
}

// mostDelay bounds a delay in seconds, that a plan may have been given.
const mostDelay = 24 * 60 * 60

// joinOrders is one wave, in the order of each source's autostart: those of several
// sources take turns.
func joinOrders(drafts []*Draft, p *Plan) *Order {
	if len(p.VMs) < 2 {
		return nil
	}
	of := make([][]*VMPlan, len(drafts))
	for i := range p.VMs {
		v := &p.VMs[i]
		of[v.From] = append(of[v.From], v)
	}
	turns := make([][]Turn, len(drafts))
	for i, d := range drafts {
		turns[i] = Turns(of[i], d.Facts.Host.AutoStart.StartDelay)
	}
	wave := Wave{Name: "all"}
	for k := 0; len(wave.VMs) < len(p.VMs); k++ {
		for _, ts := range turns {
			if k < len(ts) {
				wave.VMs = append(wave.VMs, ts[k])
			}
		}
	}
	return &Order{Waves: []Wave{wave}}
}

// Turns is the order of a host's autostart: first the VMs that it starts, by their
// number, then all others as they are listed. Where a VM has no delay of its own, the
// host's holds, in seconds.
func Turns(vms []*VMPlan, hostDelay int) []Turn {
	turns := make([]Turn, len(vms))
	number := make(map[string]int, len(vms))
	for i, v := range vms {
		turns[i] = Turn{VM: v.Name}
		number[v.Name] = math.MaxInt
		a := v.Source.AutoStart
		if !starts(a) {
			continue
		}
		delay := a.StartDelay
		if delay < 0 {
			delay = hostDelay
		}
		turns[i].Chained, turns[i].Delay, turns[i].Heartbeat = true, min(max(delay, 0), mostDelay), a.WaitForHeartbeat
		number[v.Name] = math.MaxInt - 1 // without a number: after those that have one
		if a.Order > 0 {
			number[v.Name] = a.Order
		}
	}
	slices.SortStableFunc(turns, func(a, b Turn) int { return cmp.Compare(number[a.VM], number[b.VM]) })
	return turns
}

// Ordered returns the plan's waves: of a plan without any, one with its VMs as they are
// listed.
func (p *Plan) Ordered() []Wave {
	if p.Order != nil {
		return p.Order.Waves
	}
	turns := make([]Turn, len(p.VMs))
	for i := range p.VMs {
		turns[i].VM = p.VMs[i].Name
	}
	return []Wave{{Name: "all", VMs: turns}}
}

// checkOrder wants each VM in one wave, and none after one that doesn't come before.
func (p *Plan) checkOrder() error {
	if p.Order == nil {
		return nil
	}
	left := make(map[string]int, len(p.VMs))
	for i := range p.VMs {
		left[p.VMs[i].Name]++
	}
	known := make(map[string]bool) // in the waves before, and this
	for w, wave := range p.Order.Waves {
		for k, t := range wave.VMs {
			at := fmt.Sprintf("order.waves[%d].vms[%d]", w, k)
			switch {
			case known[t.VM] && left[t.VM] == 0:
				return fmt.Errorf("%s: %s is there twice", at, t.VM)
			case left[t.VM] == 0:
				return fmt.Errorf("%s: the plan has no VM whose domain is called %q", at, t.VM)
			case t.Delay < 0 || t.Delay > mostDelay:
				return fmt.Errorf("%s.delay %d: want 0 to %d seconds", at, t.Delay, mostDelay)
			}
			left[t.VM]--
			known[t.VM] = true
		}
		if err := checkAfter(w, wave, known); err != nil {
			return err
		}
	}
	for i := range p.VMs {
		if name := p.VMs[i].Name; left[name] > 0 {
			return fmt.Errorf("order.waves: %s is in none; to leave it out, take it out of vms, too", name)
		}
	}
	return nil
}

// checkAfter wants that what VMs of a wave come after is known by then, and that none
// comes after itself, by whatever way round.
func checkAfter(w int, wave Wave, known map[string]bool) error {
	after := make(map[string][]string, len(wave.VMs))
	for k, t := range wave.VMs {
		for _, name := range t.After {
			if !known[name] {
				return fmt.Errorf("order.waves[%d].vms[%d].after: %q is in no wave that comes before, and not in this one", w, k, name)
			}
		}
		after[t.VM] = t.After
	}
	done := make(map[string]bool)
	for range wave.VMs { // each round, those whose others are done
		for name, others := range after {
			if !slices.ContainsFunc(others, func(o string) bool { _, here := after[o]; return here && !done[o] }) {
				done[name] = true
			}
		}
	}
	for _, t := range wave.VMs {
		if !done[t.VM] {
			return fmt.Errorf("order.waves[%d]: %s comes after itself, by way of others: %s", w, t.VM, strings.Join(t.After, ", "))
		}
	}
	return nil
}

// Rate is what an estimate reckons with where nothing was measured, bytes a second:
// about what one Gbit/s brings.
const Rate = 90 << 20

// Estimate says about how long the copy of a VM's disks takes at a rate in bytes a
// second.
func (v *VMPlan) Estimate(rate int64) time.Duration {
	return time.Duration(float64(v.Sizes.Read()) / float64(max(rate, 1)) * float64(time.Second)).Round(time.Second)
}

// Overhead is about how long a migration takes beside its copy: the appliance, the
// boot proof.
func Overhead(virtType string) time.Duration {
	if virtType == "kvm" {
		return 3 * time.Minute
	}
	return 8 * time.Minute
}

// Downtime says about how long the VM's service is away, at a rate in bytes a second, if
// the migration shuts it down and the cutover follows: the copy, reading it back, and
// what comes beside; 0 where the VM is off already.
func (j *VMJob) Downtime(rate int64) time.Duration {
	if !j.VM.has(StepShutdown) {
		return 0
	}
	const readBack = 4 // times as fast as the copy
	return j.VM.Estimate(rate) + j.VM.Estimate(rate)/readBack + Overhead(j.Target.VirtType)
}

// starts reports whether a VM's host starts it.
func starts(a *inventory.AutoStart) bool {
	return a != nil && strings.EqualFold(a.StartAction, "powerOn")
}
