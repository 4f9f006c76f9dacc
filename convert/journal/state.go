package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
)

// State is what a journal says has become of a run.
type State struct {
	Name    string     `json:"name"` // the domain's
	VM      string     `json:"vm"`   // the source's
	Host    string     `json:"host"`
	Run     string     `json:"run"`
	Started time.Time  `json:"started"`
	Updated time.Time  `json:"updated"`
	Done    int        `json:"done"`  // steps
	Steps   int        `json:"steps"` // in all
	Phase   Phase      `json:"phase"`
	Step    string     `json:"step,omitempty"`  // the step that was last begun and isn't done
	Error   string     `json:"error,omitempty"` // what stopped it
	Proof   string     `json:"proof,omitempty"` // which boot proof was had
	Seen    plan.Sight `json:"seen,omitempty"`  // how much it saw, once all steps are done
	Notes   []string   `json:"notes,omitempty"` // on the guest's conversion, that the plan couldn't have
	// FileSystems are the guest's, each with what its checks found.
	FileSystems []guest.Checked `json:"fileSystems,omitempty"`

	Running bool     `json:"running"`           // a process holds the lock
	Volumes []string `json:"volumes,omitempty"` // what is wrong with them, if [State.Look] was asked

	Job     *plan.VMJob
	records []Record
}

// Phase is a run's state in a word or two.
type Phase string

// The phases of a run.
const (
	PhaseUnfinished Phase = "unfinished"                  // running, stopped or killed: resume or rollback
	PhaseUndoing    Phase = "half undone"                 // a rollback did not end: rollback again
	PhaseReady      Phase = "ready"                       // all steps done, and a login seen: commit or rollback
	PhaseUnseen     Phase = "converted, not seen to boot" // all steps done: see it start, then commit or rollback
	PhaseCommitting Phase = "half committed"              // a commit did not end: commit again
	PhaseCommitted  Phase = "committed"
	PhaseRolledBack Phase = "rolled back"
)

// Ended reports whether nothing is left to do.
func (s State) Ended() bool { return s.Phase == PhaseCommitted || s.Phase == PhaseRolledBack }

// Commands lists the commands that a run which hasn't ended can go on with, in
// backquotes.
func (s State) Commands() []string {
	var verbs []string
	switch s.Phase {
	case PhaseUnfinished:
		verbs = []string{"resume", "rollback"}
	case PhaseReady, PhaseUnseen:
		verbs = []string{"commit", "rollback"}
	case PhaseUndoing:
		verbs = []string{"rollback"}
	case PhaseCommitting:
		verbs = []string{"commit"}
	case PhaseCommitted, PhaseRolledBack:
	}
	for i, v := range verbs {
		verbs[i] = fmt.Sprintf("`esxodus %s %s`", v, s.Name)
	}
	return verbs
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

// Start is the command that starts the domain of a run whose steps are all done.
func (s State) Start() string {
	if s.Job == nil || s.Job.Target.Libvirt == "qemu:///system" {
		return "virsh start " + s.Name
	}
	return "virsh -c " + fit.Paste(s.Job.Target.Libvirt) + " start " + s.Name
}

// StepState is how far one step got.
type StepState struct {
	Begun, Done bool
	place       *Record // the begin that says where the step makes something
	Claim       *Record
	result      *Record
}

// Steps replays the journal.
func (j *Journal) Steps() []StepState { return replay(j.records) }

func replay(records []Record) []StepState {
	out := make([]StepState, len(records[0].Plan.VM.Steps))
	for i := range records {
		r := &records[i]
		if r.Step == nil {
			continue
		}
		out[*r.Step].take(r)
	}
	return out
}

// take is what a record of the step's makes of it.
func (s *StepState) take(r *Record) {
	switch r.Event {
	case EventBegin:
		s.Begun, s.Done = true, false
		if len(r.Data) > 0 {
			s.place = r
		}
	case EventClaim:
		s.Claim = r
	case EventDone:
		s.Done, s.result = true, r
	case EventUndone:
		*s = StepState{}
	case EventPlan, EventStopped, EventRollback, EventCommit, EventEnd:
	}
}

// show takes from a step's result what people want to know of it, if it is there.
func (s *State) show(kind plan.Kind, result *Record) {
	switch {
	case result == nil:
	case kind == plan.StepProve:
		s.proved(result)
	case kind == plan.StepGuest:
		_ = json.Unmarshal(result.Data, &struct {
			Notes  *[]string
			Checks *[]guest.Checked
		}{&s.Notes, &s.FileSystems})
	}
}

// summary condenses a journal's records.
func summary(records []Record) State {
	job := records[0].Plan
	s := State{
		Name: job.VM.Name, VM: job.VM.Source.Name, Host: job.Source.Host, Run: records[0].Run,
		Started: records[0].Time, Updated: records[len(records)-1].Time,
		Steps: len(job.VM.Steps), Phase: PhaseUnfinished, Job: job, records: records,
	}
	for i, st := range replay(records) {
		switch {
		case st.Done:
			s.Done++
			s.show(job.VM.Steps[i].Kind, st.result)
		case st.Begun:
			s.Step = job.VM.Steps[i].Text
		}
	}
	for _, r := range records {
		switch r.Event {
		case EventRollback, EventUndone:
			s.Phase = PhaseUndoing
		case EventStopped:
			s.Error = r.Error
		case EventBegin:
			s.Phase, s.Error = PhaseUnfinished, ""
		case EventCommit:
			s.Phase = PhaseCommitting
		case EventEnd:
			s.Phase, s.Error = Phase(r.Outcome), ""
		case EventPlan, EventClaim, EventDone:
		}
	}
	if s.Done == s.Steps {
		s.finished()
	}
	return s
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
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, fmt.Errorf("%s gives no answer", storage))
	defer cancel()
	j := &Journal{records: s.records}
	return j.EachVolume(func(v volume.Volume, id volume.Identity) error {
		found := make(chan string, 1)
		go func() { // a file system that is away may never answer
			what, err := storage.State(ctx, v, j.Run(), id)
			switch {
			case err != nil:
				found <- err.Error()
			case what == volume.Ours || s.Phase == PhaseCommitting && what == volume.Foreign:
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

// StateDir is the directory that holds a directory for each VM.
type StateDir string

// Dir returns the directory of a domain's current run.
func (d StateDir) Dir(name string) string { return filepath.Join(string(d), "vms", name) }

// archive is where journals of ended runs go.
func (d StateDir) archive() string { return filepath.Join(string(d), "archive") }

// List returns the state of every VM's current run, by name. A directory
// without a readable journal gets an error of its own and hides no other.
func (d StateDir) List() ([]State, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), "vms"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var states []State
	var errs []error
	for _, e := range entries {
		s, err := d.State(e.Name())
		if errors.Is(err, ErrEmpty) || errors.Is(err, ErrNoRun) {
			continue // nothing was done
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		states = append(states, s)
	}
	return states, errors.Join(errs...)
}

// ErrNoRun means that no run of a VM is on record.
var ErrNoRun = errors.New("no migration on record")

// State reads the state of one domain's current run without locking it.
func (d StateDir) State(name string) (State, error) {
	f, err := os.Open(filepath.Join(d.Dir(name), FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%s: %w in %s", name, ErrNoRun, d)
	}
	if err != nil {
		return State{}, fmt.Errorf("journal: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	records, _, err := readRecords(f)
	if errors.Is(err, ErrEmpty) {
		return State{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err != nil {
		return State{}, err
	}
	s := summary(records)
	s.Running = locked(d.Dir(name))
	return s, nil
}

// Find returns the name of the run whose domain or source VM is called key. A
// domain's journal is found by its directory, whatever is in it.
func (d StateDir) Find(key string) (string, error) {
	if domain.Name(key) == key {
		if _, err := d.State(key); !errors.Is(err, ErrNoRun) {
			return key, nil
		}
	}
	states, err := d.List()
	if i := slices.IndexFunc(states, func(s State) bool { return s.VM == key }); i >= 0 {
		return states[i].Name, nil
	}
	if err != nil { // it may be one of those
		return "", fmt.Errorf("%s: no migration of that name among those in %s that can be read: %w", key, d, err)
	}
	return "", fmt.Errorf("%s: %w in %s; `esxodus status` lists them", key, ErrNoRun, d)
}

// Busy returns an error that wraps [ErrBusy] while another process works on the
// run of that name.
func (d StateDir) Busy(name string) error {
	if dir := d.Dir(name); locked(dir) {
		return busy(dir)
	}
	return nil
}

// Create starts the journal of a new run. An ended run of the same name is
// archived; an unfinished one is an error that says what to do.
func (d StateDir) Create(job *plan.VMJob, run string) (*Journal, error) {
	name := job.VM.Name
	s, err := d.State(name)
	switch {
	case errors.Is(err, ErrNoRun), errors.Is(err, ErrEmpty):
	case err != nil:
		return nil, err
	case !s.Ended():
		return nil, fmt.Errorf("%s: a migration is %s since %s: use %s",
			name, s.Phase, s.Updated.Format(time.RFC3339), s.Ways())
	default:
		if err := d.archiveRun(name, s.Run); err != nil {
			return nil, err
		}
	}
	if err := d.passable(job); err != nil {
		return nil, err
	}
	return createJournal(d.Dir(name), job, run)
}

// passable makes sure, before hours are spent on a copy, that QEMU will get at
// the overlays of the boot proof.
func (d StateDir) passable(job *plan.VMJob) error {
	if !slices.ContainsFunc(job.VM.Steps, func(s plan.Step) bool { return s.Kind == plan.StepProve }) {
		return nil
	}
	if err := makePassable(filepath.Join(string(d), "vms")); err != nil {
		return err
	}
	if err := volume.CheckOverlays(filepath.Join(d.Dir(job.VM.Name), ProofDir)); err != nil {
		return fmt.Errorf("the boot proof keeps its %w (--state), or leave the proof out with --no-proof", err)
	}
	return nil
}

// makePassable makes a directory, and parents that it lacks, open to those who
// only pass, as QEMU's user does, whatever the umask. One that is there stays as
// it is.
func makePassable(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makePassable(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o711)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

// Open opens the journal of a domain's current run and locks it.
func (d StateDir) Open(name string) (*Journal, error) {
	if _, err := os.Stat(filepath.Join(d.Dir(name), FileName)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w in %s; `esxodus status` lists them", name, ErrNoRun, d)
	}
	return openJournal(d.Dir(name))
}

// archiveRun moves the directory of an ended run out of the way.
func (d StateDir) archiveRun(name, run string) error {
	if err := os.MkdirAll(d.archive(), 0o755); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := os.Rename(d.Dir(name), filepath.Join(d.archive(), name+"."+run)); err != nil {
		return fmt.Errorf("archiving the last run of %s: %w", name, err)
	}
	return nil
}

// Identity returns what the step claimed before it created something, and where
// it began to.
func (s StepState) Identity() (id volume.Identity, err error) {
	for _, r := range []*Record{s.place, s.Claim} {
		if r == nil {
			continue
		}
		if err := json.Unmarshal(r.Data, &id); err != nil {
			return id, fmt.Errorf("a claim that names nothing: %w", err)
		}
	}
	return id, nil
}

// Complete reports whether all steps of a run are done, and it isn't committed.
func (p Phase) Complete() bool { return p == PhaseReady || p == PhaseUnseen }

// proved takes over what the boot proof saw.
func (s *State) proved(result *Record) {
	var p plan.Proof
	if json.Unmarshal(result.Data, &p) == nil {
		s.Proof, s.Seen = p.Text, p.Saw
	}
}

// finished says how a run stands whose steps are all done: nobody calls one ready
// that wasn't seen to come up.
func (s *State) finished() {
	if s.Seen == "" {
		s.Seen, s.Proof = plan.SawNothing, plan.ProofLeftOut
	}
	if s.Phase != PhaseUnfinished {
		return
	}
	s.Phase, s.Error = PhaseUnseen, "" // what stopped a resume with nothing left to do
	if s.Seen == plan.SawLogin {
		s.Phase = PhaseReady
	}
}

// Seeing is what to do about a run that wasn't seen to boot.
func (s State) Seeing() string {
	return fmt.Sprintf("see it come up before you accept it: `%s` (with the source off), and look at its screen; then %s", s.Start(), s.Ways())
}

// ProofDir is the directory for overlays in a run's state directory.
const ProofDir = "proof"
