package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/inventory"
)

// State is what a journal says has become of a run.
type State struct {
	Name string `json:"name"` // the domain's
	VM   string `json:"vm"`   // the source's
	Host string `json:"host"`
	journal.Progress
	Proof string     `json:"proof,omitempty"` // which boot proof was had
	Seen  plan.Sight `json:"seen,omitempty"`  // how much it saw, once all steps are done
	// Network is how the guest's NICs answered, where that was tried, also in a proof
	// that failed; then Capture is the file with what was heard, if there is one.
	Network []plan.AnsweredNIC `json:"network,omitempty"`
	Capture string             `json:"capture,omitempty"`
	// Console is the file with what the guest wrote to its serial console in its proof.
	Console string   `json:"console,omitempty"`
	Untried []string `json:"untried,omitempty"` // NICs that were not tried there, and why
	Notes   []string `json:"notes,omitempty"`   // on the guest's conversion, that the plan couldn't have
	// PowerCut is why the VM's power was cut; "" where it wasn't.
	PowerCut string `json:"powerCut,omitempty"`
	// FileSystems are the guest's, each with what its checks found.
	FileSystems []guest.Checked `json:"fileSystems,omitempty"`

	// Cutover is how the domain took its VM's place; nil where that wasn't begun.
	Cutover *cutover.State `json:"cutover,omitempty"`
	// Twice says that the VM runs beside its domain, if the source was asked.
	Twice string `json:"twice,omitempty"`
	// Downtime is how long the service was away, in seconds: from the source's shutdown
	// until the domain answered. 0 where the source was off before, or no cutover is done.
	Downtime float64 `json:"downtime,omitempty"`

	// Pace is how far the program at work on it is; nil where none is.
	Pace *Pace `json:"pace,omitempty"`

	Running bool     `json:"running"`           // a process holds the lock
	Volumes []string `json:"volumes,omitempty"` // what is wrong with them, if [State.Look] was asked

	Job     *plan.VMJob
	history *journal.History[*Job]
}

// The phases of a run whose steps are all done.
const (
	PhaseReady  journal.Phase = "ready"                       // a login was seen: commit or rollback
	PhaseUnseen journal.Phase = "converted, not seen to boot" // see it start, then commit or rollback
)

// stateOf says what a journal's history has become of.
func stateOf(h *journal.History[*Job]) State {
	job := &h.Job().VMJob
	s := State{Name: job.VM.Name, VM: job.VM.Source.Name, Host: job.Source.Host, Progress: h.Progress(), Job: job, history: h}
	for i, st := range h.Steps() {
		if st.Done {
			_ = s.show(job.VM.Steps[i].Kind, st.Result) // [Job.CheckStep] has had it
		}
		if st.Failed != nil {
			var p plan.Proof
			_ = json.Unmarshal(st.Failed.Data, &p) // as that
			s.Network = p.Network
		}
	}
	if s.Done == s.Steps {
		s.finished()
	}
	return s
}

// show takes from a step's result what people want to know of it, if it is there.
func (s *State) show(kind plan.Kind, result *journal.Record) error {
	if result == nil || len(result.Data) == 0 {
		return nil
	}
	switch kind {
	case plan.StepShutdown:
		var done struct {
			Cut *string `json:"cut"`
		}
		done.Cut = &s.PowerCut
		_ = json.Unmarshal(result.Data, &done) // of other shutdowns it is something else
	case plan.StepProve:
		var p plan.Proof
		err := json.Unmarshal(result.Data, &p)
		if err == nil {
			s.Proof, s.Seen, s.Network, s.Untried = p.Text, p.Saw, p.Network, p.Untried
		}
		return err
	case plan.StepGuest:
		return json.Unmarshal(result.Data, &struct {
			Notes  *[]string
			Checks *[]guest.Checked
		}{&s.Notes, &s.FileSystems})
	}
	return nil
}

// finished says how a run stands whose steps are all done: nobody calls one ready
// that wasn't seen to come up.
func (s *State) finished() {
	if s.Seen == "" {
		s.Seen, s.Proof = plan.SawNothing, plan.ProofLeftOut
	}
	if s.Phase != journal.PhaseUnfinished {
		return
	}
	s.Phase, s.Error = PhaseUnseen, "" // what stopped a resume with nothing left to do
	if s.Seen == plan.SawLogin {
		s.Phase = PhaseReady
	}
}

// measure says how long the service was away.
func (s *State) measure() {
	if s.Cutover == nil || s.Cutover.Phase != cutover.PhaseDone || s.history == nil {
		return
	}
	if _, down := shutdownOf(s.history); down != nil && down.Claim != nil {
		s.Downtime = s.Cutover.Ended.Sub(down.Claim.Time).Seconds()
	}
}

// ShutDown is how the run shut its VM down, "" where it was off already.
func (s *State) ShutDown() inventory.Via { return shutDownBy(s.history) }

// History is what the run's journal says.
func (s *State) History() *journal.History[*Job] { return s.history }

// Ended reports whether nothing is left to do.
func (s State) Ended() bool { return s.Phase.Ended() }

// Complete reports whether all steps are done, and the run isn't committed.
func (s State) Complete() bool { return s.Phase == PhaseReady || s.Phase == PhaseUnseen }

// Commands lists the commands that a run which hasn't ended can go on with, in
// backquotes.
func (s State) Commands() []string {
	var verbs []string
	switch {
	case s.CutOver() && s.Cutover.Phase == cutover.PhaseUnfinished:
		verbs = []string{"cutover", "cutover --back"}
	case s.CutOver() && s.Cutover.Phase == cutover.PhaseUndoing:
		verbs = []string{"cutover --back"}
	case s.CutOver() && s.Complete():
		verbs = []string{"commit", "cutover --back"}
	case s.Stale():
		verbs = []string{"rollback"}
	default:
		verbs = s.verbs()
	}
	for i, v := range verbs {
		verbs[i] = fmt.Sprintf("`esxodus %s %s`", v, s.Name)
	}
	return verbs
}

// verbs are the commands for a migration without a cutover.
func (s State) verbs() (verbs []string) {
	switch s.Phase {
	case journal.PhaseUnfinished:
		verbs = []string{"resume", "rollback"}
	case PhaseReady, PhaseUnseen:
		verbs = []string{"commit", "rollback"}
	case journal.PhaseUndoing:
		verbs = []string{"rollback"}
	case journal.PhaseCommitting:
		verbs = []string{"commit"}
	case journal.PhaseCommitted, journal.PhaseRolledBack:
	}
	return verbs
}

// InPlace reports whether the domain has taken its VM's place.
func (s *State) InPlace() bool { return s.Cutover != nil && s.Cutover.Phase == cutover.PhaseDone }

// CutOver reports whether a cutover was begun that isn't taken back.
func (s State) CutOver() bool { return s.Cutover != nil && s.Cutover.Phase != cutover.PhaseBack }

// Stale reports whether the VM was powered on again after it was copied.
func (s State) Stale() bool { return s.Complete() && s.Cutover != nil && s.Cutover.Restarted }

// NoCutover says why no cutover can be begun, or gone on with.
func (s State) NoCutover() error {
	switch {
	case !s.Complete():
		return fmt.Errorf("%s is %s, %d of %d steps done: only a finished migration can be cut over", s.Name, s.Phase, s.Done, s.Steps)
	case s.Stale():
		return fmt.Errorf("%s: %q was powered on again on %s after it was copied: `esxodus rollback %s`, and convert it again", s.Name, s.VM, s.Host, s.Name)
	case s.CutOver() && s.Cutover.Phase == cutover.PhaseDone:
		return fmt.Errorf("%s is %s: %w", s.Name, s.Cutover.Words(), ErrAlready)
	case s.CutOver() && s.Cutover.Phase == cutover.PhaseUndoing:
		return fmt.Errorf("%s: its cutover is being taken back: finish that with `esxodus cutover --back %s`", s.Name, s.Name)
	}
	return nil
}

// NoEnd says why a migration can be neither committed nor rolled back yet.
func (s State) NoEnd(commit bool) error {
	switch {
	case commit && s.Stale():
		return fmt.Errorf("%s: %q was powered on again on %s after it was copied, so that the domain is old: `esxodus rollback %s`, and convert it again", s.Name, s.VM, s.Host, s.Name)
	case !s.CutOver() || commit && s.Cutover.Phase == cutover.PhaseDone:
		return nil
	case s.Cutover.Phase == cutover.PhaseDone:
		return fmt.Errorf("%s is in the place of %q since %s: `esxodus cutover --back %s` stops it and puts the source as it was; a rollback then removes its volumes, with what it wrote since",
			s.Name, s.VM, s.Cutover.Started.Local().Format(time.DateTime), s.Name)
	}
	return fmt.Errorf("%s: its cutover is %s: finish that first, by %s", s.Name, s.Cutover.Phase, s.Ways())
}

// Unsound says which of the guest's file systems have damage from before or were
// not checked, and what to do about it.
func (s State) Unsound() []string {
	var out []string
	for _, c := range s.FileSystems {
		if c.Verdict != guest.CheckedSound {
			out = append(out, c.Text())
		}
	}
	return out
}

// Ways is the commands in a sentence.
func (s State) Ways() string { return strings.Join(s.Commands(), " or ") }

// Seeing is what to do about a run that wasn't seen to boot.
func (s State) Seeing() string {
	return fmt.Sprintf("see it boot before you accept it: `esxodus cutover %s`, and watch its screen; then %s", s.Name, s.Ways())
}

// lookTimeout is how long a storage may take to say what is there.
const lookTimeout = 10 * time.Second

// Look asks the target's storage for the volumes of a run that hasn't ended, and
// notes what is wrong with them.
func (s *State) Look(ctx context.Context, open func(storage string) (volume.Storage, error)) error {
	if s.Ended() || s.Running {
		return nil
	}
	storage, err := open(s.Job.Target.Storage)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, fmt.Errorf("%s doesn't answer", storage))
	defer cancel()
	return eachVolume(s.history, func(v volume.Volume, id volume.Identity) error {
		found := make(chan string, 1)
		go func() { // a file system that is away may never answer
			what, err := storage.State(ctx, v, s.Run, id)
			switch {
			case err != nil:
				found <- err.Error()
			case what == volume.Ours || s.Phase == journal.PhaseCommitting && what == volume.Foreign:
				found <- ""
			default:
				found <- fmt.Sprintf("%s is %s, not as this run made it", v, what)
			}
		}()
		var wrong string
		select {
		case wrong = <-found:
		case <-ctx.Done():
			wrong = context.Cause(ctx).Error()
		}
		if wrong != "" {
			s.Volumes = append(s.Volumes, wrong)
		}
		return nil
	})
}
