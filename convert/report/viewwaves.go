package report

import (
	"slices"
	"strings"
	"time"

	"esxodus/convert/plan"
)

// Parallel is how many VMs a batch migrates at a time by default, which the timeline
// reckons with.
const Parallel = 2

// WaveView is one wave of a batch, and when its VMs are about at work.
type WaveView struct {
	Name  string
	Turns []TurnView
}

// TurnView is one VM's turn, as far as that can be told before it: by its copy, and what
// is usual for all else.
type TurnView struct {
	Place int // of the VM in the view
	Begin time.Duration
	Took  time.Duration
	After string // those that it comes after
	// From and Wide are its bar's place, in thousandths of the whole batch.
	From, Wide int
}

// timeline reckons when each VM of a plan is at work: some at a time, wave by wave, in
// their order. VMs that are blocked have no turn.
func timeline(p *plan.Plan) (waves []WaveView, all time.Duration) {
	places := make(map[string][]int)
	for i := range p.VMs {
		places[p.VMs[i].Name] = append(places[p.VMs[i].Name], i)
	}
	for _, w := range p.Ordered() {
		v := WaveView{Name: w.Name}
		v.Turns, all = turnsOf(p, w, places, all)
		if len(v.Turns) > 0 {
			waves = append(waves, v)
		}
	}
	for _, w := range waves {
		for i := range w.Turns {
			t := &w.Turns[i]
			t.From, t.Wide = int(share(int64(t.Begin), int64(all))), max(int(share(int64(t.Took), int64(all))), 1)
		}
	}
	return waves, all
}

// turnsOf plays one wave, from when the one before has ended, until it has.
func turnsOf(p *plan.Plan, w plan.Wave, places map[string][]int, from time.Duration) (turns []TurnView, until time.Duration) {
	free := slices.Repeat([]time.Duration{from}, Parallel)
	ends := make(map[string]time.Duration)
	until = from
	for _, t := range w.VMs {
		if len(places[t.VM]) == 0 {
			continue
		}
		i := places[t.VM][0]
		places[t.VM] = places[t.VM][1:]
		if len(p.Blockers(i)) > 0 {
			continue
		}
		slot := slices.Index(free, slices.Min(free))
		begin := free[slot]
		for _, name := range t.After {
			begin = max(begin, ends[name])
		}
		took := p.VMs[i].Estimate(p.SourceOf(i).Expected()) + plan.Overhead(p.Target.VirtType)
		free[slot] = begin + took
		ends[t.VM] = begin + took
		until = max(until, begin+took)
		turns = append(turns, TurnView{Place: i, Begin: begin, Took: took, After: strings.Join(t.After, ", ")})
	}
	return turns, until
}
