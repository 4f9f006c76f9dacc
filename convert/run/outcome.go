package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"esxodus/convert/domain"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/disk"
	"esxodus/network"
)

// Outcome is what became of a VM's migration, beside what its plan said.
type Outcome struct {
	Name  string        `json:"name"`
	VM    string        `json:"vm"`
	Phase journal.Phase `json:"phase"`
	// InPlace says that the domain has taken the VM's place.
	InPlace bool   `json:"inPlace,omitempty"`
	Error   string `json:"error,omitempty"` // what stopped it
	// Answers are what the proof and the cutover saw of the guest.
	Answers []string `json:"answers,omitempty"`
	// Next are the commands that may follow, in backquotes.
	Next []string `json:"next,omitempty"`
	// Spans are when its steps were at work.
	Spans []Span `json:"spans,omitempty"`
	// Figures are predicted and measured; what wasn't measured isn't there.
	Figures []Figure `json:"figures"`
	// Artefacts are what the migration made, each compared with the plan.
	Artefacts []Artefact `json:"artefacts"`
	// Acknowledged are the concerns that the admin went on despite, each with why.
	Acknowledged []string `json:"acknowledged,omitempty"`
}

// Figure is a number that the plan predicted.
type Figure struct {
	What      string  `json:"what"`
	Unit      string  `json:"unit"` // bytes or seconds
	Predicted float64 `json:"predicted"`
	Actual    float64 `json:"actual"`
}

// Artefact is something that a migration made, and how it differs from the plan.
type Artefact struct {
	What    string   `json:"what"`
	Where   string   `json:"where,omitempty"`
	Differs []string `json:"differs,omitempty"`
	Unknown string   `json:"unknown,omitempty"` // why it can't be told
}

// Differs reports whether an artefact isn't as planned.
func (o *Outcome) Differs() bool {
	for _, a := range o.Artefacts {
		if len(a.Differs) > 0 {
			return true
		}
	}
	return false
}

// defined is what the define step leaves in the journal.
type defined struct {
	// SHA256 is that of what libvirt made of the domain's XML.
	SHA256 string `json:"sha256"`
}

// digest is that of a domain's XML.
func digest(xml string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(xml))) }

// OutcomeOf compares what a run left with what its plan said. It changes nothing.
func OutcomeOf(ctx context.Context, s *runs.State, e Effects) (*Outcome, error) {
	o := &Outcome{Name: s.Name, VM: s.VM, Phase: s.Phase, InPlace: s.InPlace(), Error: s.Error, Next: s.Commands(), Spans: spansOf(s)}
	if s.Proof != "" {
		o.Answers = append(o.Answers, "proof: "+s.Proof)
	}
	if s.Cutover != nil {
		o.Answers = append(o.Answers, "cutover: "+s.Cutover.Words())
		o.Error = cmp.Or(o.Error, s.Cutover.Error)
	}
	h := s.History()
	o.figures(s, h)
	for _, c := range s.Job.VM.Concerns {
		if c.Acknowledged != "" {
			o.Acknowledged = append(o.Acknowledged, fmt.Sprintf("%s: %s", c.ID, c.Acknowledged))
		}
	}
	if s.Phase == journal.PhaseRolledBack || s.Phase == journal.PhaseUndoing {
		return o, nil
	}
	for i, st := range h.Steps() {
		if !st.Done {
			continue
		}
		step := &s.Job.VM.Steps[i]
		switch step.Kind {
		case plan.StepCreate:
			if d, ok := s.Job.VM.Disk(step.Disk); ok {
				o.Artefacts = append(o.Artefacts, volumeMade(d))
			}
		case plan.StepGuest:
			o.Artefacts = append(o.Artefacts, Artefact{What: "the guest's changes", Where: step.Text})
		case plan.StepDefine:
			a, err := domainMade(ctx, s, st.Result, e)
			if err != nil {
				return nil, err
			}
			o.Artefacts = append(o.Artefacts, a)
		case plan.StepPackages, plan.StepShutdown, plan.StepUnused, plan.StepTemplate, plan.StepCopy, plan.StepRecheck, plan.StepVerify, plan.StepMerge, plan.StepProve:
		}
	}
	return o, nil
}

// figures sets what was predicted beside what was measured.
func (o *Outcome) figures(s *runs.State, h *journal.History[*runs.Job]) {
	var read, made int64
	var took time.Duration
	copied := false
	begun := make(map[int]time.Time)
	for _, r := range h.Records() {
		if r.Step == nil || s.Job.VM.Steps[*r.Step].Kind != plan.StepCopy {
			continue
		}
		switch r.Event {
		case journal.EventBegin:
			begun[*r.Step] = r.Time
		case journal.EventDone:
			var stats disk.Stats
			if json.Unmarshal(r.Data, &stats) == nil {
				read, made, copied = read+stats.Read, made+stats.Bytes, true
				took += r.Time.Sub(begun[*r.Step])
			}
		case journal.EventPlan, journal.EventClaim, journal.EventFailed, journal.EventStopped, journal.EventUndone, journal.EventRollback, journal.EventCommit, journal.EventEnd:
		}
	}
	v := &s.Job.VM
	if copied {
		o.Figures = append(o.Figures, Figure{"read from the source", "bytes", float64(v.Sizes.Read()), float64(read)},
			Figure{"the volumes' size", "bytes", float64(v.Sizes.Target), float64(made)},
			Figure{"copying", "seconds", v.Estimate(s.Job.Rate()).Seconds(), took.Seconds()})
	}
	if s.Downtime > 0 {
		o.Figures = append(o.Figures, Figure{"downtime", "seconds", s.Job.Downtime(s.Job.Rate()).Seconds(), s.Downtime})
	}
}

// volumeMade looks at a volume.
func volumeMade(d *plan.Disk) Artefact {
	a := Artefact{What: "volume of " + d.Address, Where: d.Volume.Path}
	f, err := os.Open(d.Volume.Path)
	if err != nil {
		a.Unknown = err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			a.Differs, a.Unknown = []string{"it isn't there"}, ""
		}
		return a
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err := errors.Join(err, f.Close()); err != nil {
		a.Unknown = err.Error()
	} else if size < d.Volume.Size {
		a.Differs = []string{fmt.Sprintf("it has %d bytes, planned were %d", size, d.Volume.Size)}
	}
	return a
}

// domainMade compares the domain with the plan's, and with what libvirt made of it.
func domainMade(ctx context.Context, s *runs.State, result *journal.Record, e Effects) (Artefact, error) {
	a := Artefact{What: "domain " + s.Name, Where: s.Job.Target.Libvirt}
	want, err := domain.Tag(s.Job.VM.Domain.XML, s.Run)
	if err != nil {
		return a, err
	}
	xml, differs, err := e.Virt.Compare(ctx, want)
	if err != nil {
		a.Unknown = err.Error()
		return a, nil //nolint:nilerr // which is the outcome
	}
	a.Differs = differs
	var was defined
	if result != nil && len(result.Data) > 0 && json.Unmarshal(result.Data, &was) == nil && len(differs) == 0 && was.SHA256 != digest(xml) {
		a.Differs = []string{"it was changed since it was defined"}
	}
	return a, nil
}

// UnitsMade compares networkd's files with those of a plan. Files that aren't there were
// not applied, or are named otherwise: only what is there is compared.
func UnitsMade(root string, units []network.Unit) (out []Artefact) {
	for _, u := range units {
		a := Artefact{What: "unit " + u.Name, Where: filepath.Join(root, "/etc/systemd/network", u.Name)}
		text, err := disk.ReadRegular(a.Where)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			a.Unknown = "it wasn't applied"
		case err != nil:
			a.Unknown = err.Error()
		case string(text) != u.Text:
			a.Differs = []string{"its text isn't the plan's"}
		}
		out = append(out, a)
	}
	return out
}
