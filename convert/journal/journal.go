// Package journal records on stable storage what has been done for each VM, and
// says from that how its migration stands.
//
// A run is one attempt to carry out a VM's part of a plan. Its id marks everything
// that it makes on the target, so that nothing else is ever removed.
package journal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/disk"

	"golang.org/x/sys/unix"
)

// Event is what a journal record says happened.
type Event string

// The events. A step that has begun and is neither done nor undone may have
// had any part of its effect.
const (
	EventPlan     Event = "plan"     // first record: the run's id and the whole plan
	EventBegin    Event = "begin"    // a step is about to change something
	EventClaim    Event = "claim"    // a step is about to create a thing with this identity
	EventDone     Event = "done"     // a step's effect is complete and on stable storage
	EventStopped  Event = "stopped"  // the run ended early; what was done stays, for resume
	EventUndone   Event = "undone"   // a step's effect is gone
	EventRollback Event = "rollback" // steps are about to be undone: nothing can follow but that
	EventCommit   Event = "commit"   // the admin has accepted: marks are being dropped, and nothing can be undone
	EventEnd      Event = "end"      // nothing is left to do; Outcome says how it ended
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	Committed  Outcome = "committed"
	RolledBack Outcome = "rolled back"
)

// Record is one line of a journal.
type Record struct {
	Time    time.Time       `json:"time"`
	Event   Event           `json:"event"`
	Run     string          `json:"run,omitempty"`
	Step    *int            `json:"step,omitempty"` // index into the plan's steps
	What    string          `json:"what,omitempty"` // the step in words, for people
	Error   string          `json:"error,omitempty"`
	Outcome Outcome         `json:"outcome,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Plan    *plan.VMJob     `json:"plan,omitempty"`
}

// Journal is a VM's record of what has been done, on stable storage: one JSON
// object a line, appended and fsynced, never rewritten. It holds no secret.
// An open Journal holds a lock that keeps a second run out.
type Journal struct {
	dir     string
	file    *os.File
	lock    *os.File
	now     func() time.Time
	records []Record
}

// The files of a run's state directory.
const (
	FileName = "journal"
	lockName = "lock"
)

// ErrBusy means another esxodus works on the same VM.
var ErrBusy = errors.New("another esxodus is at work on this VM")

func busy(dir string) error {
	return fmt.Errorf("%w (lock %s)", ErrBusy, filepath.Join(dir, lockName))
}

// createJournal starts the journal of a new run in dir, which is made. It
// fails if dir holds a journal already.
func createJournal(dir string, job *plan.VMJob, run string) (*Journal, error) {
	if err := makePassable(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	if err := removeEmpty(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), lock.Close())
	}
	j := &Journal{dir: dir, file: file, lock: lock, now: time.Now}
	if err := j.Add(Record{Event: EventPlan, Run: run, Plan: job}); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, disk.SyncDir(dir)
}

// removeEmpty removes a journal that a crash left without a plan. The caller
// holds the directory's lock.
func removeEmpty(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, _, err = readRecords(f)
	if errors.Is(err, ErrEmpty) {
		err = os.Remove(path)
	}
	return errors.Join(err, f.Close())
}

// openJournal opens an existing journal for appending and takes its lock. A
// last line cut short by a crash is dropped: its event never happened.
func openJournal(dir string) (*Journal, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, lock: lock, now: time.Now}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) load() error {
	path := filepath.Join(j.dir, FileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.file = f
	records, good, err := readRecords(f)
	if errors.Is(err, ErrEmpty) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return err
	}
	j.records = records
	if err := f.Truncate(good); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// WriteError is a record that didn't reach stable storage, which says nothing
// against the run's work.
type WriteError struct{ Err error }

// Error is what went wrong.
func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns it.
func (e *WriteError) Unwrap() error { return e.Err }

// Add appends one record and returns once it is on stable storage, or a
// [*WriteError].
func (j *Journal) Add(rec Record) error {
	if err := j.write(rec); err != nil {
		return &WriteError{err}
	}
	return nil
}

func (j *Journal) write(rec Record) error {
	rec.Time = j.now().UTC().Truncate(time.Millisecond)
	line, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("journal record: %w", err)
	}
	if n, err := j.file.Write(append(line, '\n')); err != nil {
		// Half a line must not become the beginning of the next one.
		return errors.Join(fmt.Errorf("journal: %w", err), j.cutBack(int64(n)))
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.records = append(j.records, rec)
	return nil
}

// cutBack removes the last n bytes of the file.
func (j *Journal) cutBack(n int64) error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	return j.file.Truncate(info.Size() - n)
}

// Step records an event of step i.
func (j *Journal) Step(i int, event Event, data any) error {
	rec := Record{Event: event, Step: &i, What: j.Job().VM.Steps[i].Text}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("journal record: %w", err)
		}
		rec.Data = raw
	}
	return j.Add(rec)
}

// Job returns the plan that the run carries out.
func (j *Journal) Job() *plan.VMJob { return j.records[0].Plan }

// Records returns what happened, in its order.
func (j *Journal) Records() []Record { return j.records }

// Run returns the run's id, which marks what it makes on the target.
func (j *Journal) Run() string { return j.records[0].Run }

// State says what has become of the run.
func (j *Journal) State() State { return summary(j.records) }

// Path returns the path of a file of this run in its state directory.
func (j *Journal) Path(name string) string { return filepath.Join(j.dir, name) }

// Close releases the lock.
func (j *Journal) Close() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
	}
	return errors.Join(err, j.lock.Close())
}

// lockDir takes the lock of a state directory without waiting. It is a lock
// of the open file, so it ends with the process however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = busy(dir)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// locked reports whether a process holds the lock of a run's directory. It
// asks without taking the lock, so as to be in nobody's way.
func locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read only
	query := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &query) == nil && query.Type != unix.F_UNLCK
}

// Live returns an error if the run was committed or rolled back, or if a commit
// has begun.
func (j *Journal) Live(verb string) error {
	last := j.records[len(j.records)-1]
	switch {
	case last.Event == EventEnd:
		return fmt.Errorf("%s: this run has ended (%s): nothing is left to %s", j.Job().VM.Name, last.Outcome, verb)
	case j.Committing():
		return fmt.Errorf("%s: a commit has begun, so there is nothing to %s: run `esxodus commit %s` to its end", j.Job().VM.Name, verb, j.Job().VM.Name)
	}
	return nil
}

// Already is ErrAlready if the run has ended in that way.
func (j *Journal) Already(verb string, how Outcome) error {
	if last := j.records[len(j.records)-1]; last.Event == EventEnd && last.Outcome == how {
		return fmt.Errorf("%s: nothing is left to %s: %w", j.Job().VM.Name, verb, ErrAlready)
	}
	return nil
}

// Committing reports whether a commit has begun.
func (j *Journal) Committing() bool {
	return slices.ContainsFunc(j.records, func(r Record) bool { return r.Event == EventCommit })
}

// Undoing reports whether a rollback has begun. What it has undone may not be
// on record yet.
func (j *Journal) Undoing() bool { return j.State().Phase == PhaseUndoing }

// EachVolume calls do with each volume that the run has begun to make, and what
// it claimed of it.
func (j *Journal) EachVolume(do func(volume.Volume, volume.Identity) error) error {
	job := j.Job()
	for i, s := range j.Steps() {
		d, ok := job.VM.Disk(job.VM.Steps[i].Disk)
		if job.VM.Steps[i].Kind != plan.StepCreate || !ok || !s.Begun {
			continue
		}
		id, err := s.Identity()
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

// NewRun makes the id of a new run: random, so that what an earlier run of the
// same VM made is never taken for this one's.
func NewRun() string { return strings.ToLower(rand.Text()[:16]) }

// ErrAlready means that a run was committed, or rolled back, by an earlier call:
// there is nothing left to do, and nothing wrong.
var ErrAlready = errors.New("that was done already")
