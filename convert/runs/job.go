package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
)

// Job is one VM's part of a plan as a journal's job.
type Job struct{ plan.VMJob }

// Steps are the plan's.
func (j *Job) Steps() []journal.Step {
	out := make([]journal.Step, len(j.VM.Steps))
	for i, s := range j.VM.Steps {
		traits, _ := s.Kind.Traits()
		out[i] = journal.Step{Kind: string(s.Kind), Text: s.Text, Claims: traits.Claims}
	}
	return out
}

// CheckRecorded checks the run's id, and the plan as [plan.VMJob.CheckRecorded]
// does.
func (j *Job) CheckRecorded(run, name string) error {
	return errors.Join(volume.CheckRun(run), j.VMJob.CheckRecorded(name))
}

// CheckStep wants that a volume's step says which one it made, a recheck what it
// saw, and that what the guest's step and the proof left can be read: damage that
// is on record must not look like none.
func (j *Job) CheckStep(i int, s *journal.StepState, r *journal.Record) error {
	kind := j.VM.Steps[i].Kind
	if kind == plan.StepCreate {
		id, err := Identity(s)
		if err == nil && r.Event == journal.EventClaim && id.Ino == 0 && id.Tag == "" {
			err = errors.New("a claim that names nothing: no inode, and no tag")
		}
		if err != nil {
			return err
		}
	}
	if r.Event == journal.EventFailed {
		if kind != plan.StepProve {
			return fmt.Errorf("a step of kind %s doesn't say what it saw when it failed", kind)
		}
		return json.Unmarshal(r.Data, new(plan.Proof))
	}
	if r.Event != journal.EventDone {
		return nil
	}
	switch kind {
	case plan.StepRecheck:
		return json.Unmarshal(r.Data, new(Seen))
	case plan.StepGuest, plan.StepProve:
		return new(State).show(kind, r)
	}
	return nil
}

// About names the VM, and where it goes from and to.
func (j *Job) About() string {
	return fmt.Sprintf("%q from %s to %s", j.VM.Source.Name, j.Source.Host, j.Target.Storage)
}

// Leavings are the domain and the volumes.
func (j *Job) Leavings() string {
	var volumes []string
	for _, d := range j.VM.Disks {
		volumes = append(volumes, d.Volume.String())
	}
	return fmt.Sprintf("the domain %s and at %s", j.VM.Name, strings.Join(volumes, ", "))
}

// Rollback undoes one VM's migration.
func (*Job) Rollback(name string) string { return "esxodus rollback " + name }

// Yourself is what a migration makes and changes.
func (*Job) Yourself() string { return "its domain, its volumes and the source's power state" }

// Seen is the part of a VM that changes whenever it runs or is reconfigured. A recheck
// leaves it in the journal for those that follow.
type Seen struct {
	ChangeVersion string   `json:"changeVersion"`
	ContentIDs    []string `json:"contentIDs"`
	// Files says which state of the disks' files the host has, where it tells.
	Files []string `json:"files,omitempty"`
}

// Identity returns what a step claimed before it created something, and where
// it began to.
func Identity(s *journal.StepState) (id volume.Identity, err error) {
	for _, r := range []*journal.Record{s.Place, s.Claim} {
		if r == nil {
			continue
		}
		if err := json.Unmarshal(r.Data, &id); err != nil {
			return id, fmt.Errorf("a claim that names nothing: %w", err)
		}
	}
	return id, nil
}
