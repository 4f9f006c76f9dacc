// Package batch carries out the plan of many VMs, some at a time.
package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/run"
	"esxodus/convert/runs"
	"esxodus/inventory/redact"
)

// Result is what a batch did about one VM.
type Result struct {
	Name  string        `json:"name"` // the domain's
	VM    string        `json:"vm"`
	Did   Did           `json:"did"`
	Phase journal.Phase `json:"phase,omitempty"` // as the journal has it; "" where no run was begun
	Proof string        `json:"proof,omitempty"` // which boot proof was had, where that isn't enough to be ready
	// Untried are NICs that the proof didn't try on a network, and why.
	Untried []string `json:"untried,omitempty"`
	// InPlace says that its domain has taken the VM's place.
	InPlace bool   `json:"inPlace,omitempty"`
	Error   string `json:"error,omitempty"`
	Advice  string `json:"advice,omitempty"`
	// FileSystems are those that were damaged at the source or not checked, in words.
	FileSystems []string `json:"fileSystems,omitempty"`
}

// Did says which way a batch went about a VM.
type Did string

// What a batch can do about a VM.
const (
	DidConvert Did = "converted"
	DidResume  Did = "resumed"
	DidPass    Did = "was done already"
	DidRefuse  Did = "refused"
	DidLeave   Did = "not begun" // its turn didn't come

	// What other commands do about several VMs.
	DidCutOver  Did = "cut over"
	DidCutBack  Did = "taken back"
	DidCommit   Did = "committed"
	DidRollBack Did = "rolled back"
)

// Options say how a batch goes about its plan.
type Options struct {
	Parallel int // VMs that are migrated at a time
	PerHost  int // those of them that come from one source, at most; 0 for no such limit
	// Hosts are what the VMs of a plan of several sources are read from, by their number.
	Hosts []run.Host
	// Cutover puts each VM's domain in its place as soon as it is migrated and its turn
	// has come; nil where the migrations are all.
	Cutover func(ctx context.Context, name string) error
	// Until is when nothing may be at work any more: a VM isn't begun that wouldn't be
	// done by then, as far as that can be told. Zero for no such time.
	Until time.Time
	// Told gets each result as it comes; nil for nobody.
	Told func(Result)
	// Stop, once closed, has no VM begun any more.
	Stop <-chan struct{}
}

// Run carries out a plan, wave by wave. One VM's failure stops no other, but for those
// that the plan has come after it. VMs that are done are passed over and stopped ones
// resumed, so that a second run does only what is left. The results are in the order of
// the plan's VMs.
func Run(ctx context.Context, p *plan.Plan, dir runs.StateDir, e run.Effects, o Options) []Result {
	s := newSchedule(p, o, func(i int) Result {
		one := e
		if len(o.Hosts) > 0 {
			one.Host = o.Hosts[p.VMs[i].From]
		}
		return batchOne(ctx, p, i, dir, one)
	})
	for _, wave := range p.Ordered() {
		s.wave(ctx, wave)
	}
	return s.results
}

// CutOver puts the domains of migrations that are done in their VMs' place, wave by wave,
// in the order and with the delays of the plan. None is migrated: one that isn't done is
// left as it is, with an error that says how it stands. The plan's VMs are as the
// journals have them.
func CutOver(ctx context.Context, p *plan.Plan, dir runs.StateDir, o Options) []Result {
	s := newSchedule(p, o, func(i int) Result { return migrated(&p.VMs[i], dir) })
	for _, wave := range p.Ordered() {
		s.wave(ctx, wave)
	}
	return s.results
}

// migrated says how the migration of a VM stands that is to be cut over.
func migrated(v *plan.VMPlan, dir runs.StateDir) Result {
	r := Result{Name: v.Name, VM: v.Source.Name, Did: DidCutOver}
	s, err := dir.State(r.Name)
	if err == nil {
		r.Phase, err = s.Phase, s.NoCutover()
	}
	switch {
	case errors.Is(err, runs.ErrAlready):
		r.Did = DidPass
	case err != nil:
		r.Did, r.Error = DidLeave, redact.Text(err.Error())
	}
	return r
}

func batchOne(ctx context.Context, p *plan.Plan, i int, dir runs.StateDir, e run.Effects) Result {
	job := p.Job(i)
	r := Result{Name: job.VM.Name, VM: job.VM.Source.Name}
	var err error
	r.Did, err = migrate(ctx, p, i, dir, e)
	if err != nil {
		r.Error = redact.Text(err.Error())
		if blocked, ok := errors.AsType[*plan.BlockedError](err); ok {
			r.Advice = blocked.Concerns[0].Advice
		}
	}
	if s, err := dir.State(r.Name); err == nil {
		r.Phase, r.FileSystems, r.Untried = s.Phase, s.Unsound(), s.Untried
		if s.Phase == runs.PhaseUnseen && r.Error == "" {
			r.Proof, r.Advice = s.Proof, s.Seeing()
		}
	}
	return r
}

// migrate does what is left to do for one VM of a plan.
func migrate(ctx context.Context, p *plan.Plan, i int, dir runs.StateDir, e run.Effects) (did Did, err error) {
	job := p.Job(i)
	s, err := dir.State(job.VM.Name)
	var j *runs.Journal
	switch {
	case err == nil && !s.Ended() && !samePlan(s.Job, job):
		return DidRefuse, fmt.Errorf("a migration by another plan to the domain %s is %s (%q from %s to %s): use %s",
			s.Name, s.Phase, s.VM, s.Host, s.Job.Target.Storage, s.Ways())
	case err == nil && (s.Complete() || s.Phase == journal.PhaseCommitting || s.Phase == journal.PhaseCommitted && sameRun(s.Job, job)):
		return DidPass, nil
	case err == nil && s.Phase == journal.PhaseUnfinished:
		did = DidResume
		j, err = dir.Open(job.VM.Name)
	default:
		did = DidConvert
		if blockers := p.Blockers(i); len(blockers) > 0 {
			return DidRefuse, &plan.BlockedError{VM: job.VM.Source.Name, Concerns: blockers}
		}
		j, err = dir.Create(job, journal.NewRun())
	}
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	return did, run.Apply(ctx, j, e)
}

// samePlan reports whether a run on record carries out what a plan's part says,
// all of it: what was shown is what is done. Why the admin goes on despite a concern
// changes nothing of that.
func samePlan(a, b *plan.VMJob) bool {
	x, errX := json.Marshal(unspoken(a))
	y, errY := json.Marshal(unspoken(b))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// unspoken is a job without the admin's words about its concerns.
func unspoken(j *plan.VMJob) *plan.VMJob {
	is := *j
	is.Source.Rate = 0 // another plan measures another one
	is.VM.Concerns = slices.Clone(j.VM.Concerns)
	for i := range is.VM.Concerns {
		is.VM.Concerns[i].Acknowledged = ""
	}
	return &is
}

// Begun takes for a VM whose addresses were edited what a run on record was begun with,
// and reports whether there is one: of this plan's part, with these addresses.
func Begun(p *plan.Plan, i int, dir runs.StateDir) bool {
	job := p.Job(i)
	s, err := dir.State(job.VM.Name)
	if err != nil || s.Phase == journal.PhaseRolledBack || !sameRun(s.Job, job) {
		return false
	}
	edited := func(j *plan.VMJob) *plan.VMJob {
		return &plan.VMJob{VM: plan.VMPlan{Addresses: j.VM.Addresses, Disks: j.VM.Disks, Domain: j.VM.Domain}}
	}
	if !samePlan(edited(s.Job), edited(job)) {
		return false
	}
	p.VMs[i] = s.Job.VM
	return true
}

// sameRun reports whether a run on record is of the same VM to the same place
// as a plan's part.
func sameRun(a, b *plan.VMJob) bool {
	return a.Source.Host == b.Source.Host && a.VM.Source.ID == b.VM.Source.ID &&
		a.VM.Source.InstanceUUID == b.VM.Source.InstanceUUID &&
		a.Target.Storage == b.Target.Storage && a.Target.Libvirt == b.Target.Libvirt
}
