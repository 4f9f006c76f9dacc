package runs

import (
	"errors"
	"fmt"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/inventory"
)

// Journal is the open journal of one VM's migration.
type Journal struct{ *journal.Journal[*Job] }

// Job returns the part of the plan that the run carries out.
func (j *Journal) Job() *plan.VMJob { return &j.Journal.Job().VMJob }

// State says what has become of the run.
func (j *Journal) State() State { return stateOf(&j.History) }

// EachVolume calls do with each volume that the run has begun to make, and what
// it claimed of it.
func (j *Journal) EachVolume(do func(volume.Volume, volume.Identity) error) error {
	return eachVolume(&j.History, do)
}

// eachVolume calls do with each volume that the run has begun to make, and what
// it claimed of it.
func eachVolume(h *journal.History[*Job], do func(volume.Volume, volume.Identity) error) error {
	vm := &h.Job().VM
	for i, s := range h.Steps() {
		d, ok := vm.Disk(vm.Steps[i].Disk)
		if vm.Steps[i].Kind != plan.StepCreate || !ok || !s.Begun {
			continue
		}
		id, err := Identity(&s)
		if err == nil {
			err = do(d.Volume, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Asked reports whether an earlier attempt at step i asked the guest.
func (j *Journal) Asked(i int) bool { return j.Steps()[i].Claim != nil }

// ShutDown is how the run shut its VM down, "" where it was off already.
func (j *Journal) ShutDown() inventory.Via { return shutDownBy(&j.History) }

// shutDownBy is how a run shut its VM down, "" where it was off already.
func shutDownBy(h *journal.History[*Job]) inventory.Via {
	i, s := shutdownOf(h)
	if s == nil || s.Claim == nil || !s.Done {
		return ""
	}
	return h.Job().VM.Steps[i].Via
}

// shutdownOf is the step that shuts the VM down, and how far it got; nil where there is
// none.
func shutdownOf(h *journal.History[*Job]) (int, *journal.StepState) {
	states := h.Steps()
	for i, s := range h.Job().VM.Steps {
		if s.Kind == plan.StepShutdown {
			return i, &states[i]
		}
	}
	return -1, nil
}

// Live returns an error if the run was committed or rolled back, or if a commit
// has begun.
func (j *Journal) Live(verb string) error {
	last := j.last()
	switch {
	case last.Event == journal.EventEnd:
		return fmt.Errorf("%s: this run has ended (%s): nothing is left to %s", j.Job().VM.Name, last.Outcome, verb)
	case j.Committing():
		return fmt.Errorf("%s: a commit has begun, so there is nothing to %s: finish it with `esxodus commit %s`", j.Job().VM.Name, verb, j.Job().VM.Name)
	}
	return nil
}

// Already is ErrAlready if the run has ended in that way.
func (j *Journal) Already(verb string, how journal.Outcome) error {
	if last := j.last(); last.Event == journal.EventEnd && last.Outcome == how {
		return fmt.Errorf("%s: nothing is left to %s: %w", j.Job().VM.Name, verb, ErrAlready)
	}
	return nil
}

func (j *Journal) last() journal.Record {
	records := j.Records()
	return records[len(records)-1]
}

// ErrAlready means that a run was committed, or rolled back, by an earlier call:
// there is nothing left to do, and nothing wrong.
var ErrAlready = errors.New("that was done already")
