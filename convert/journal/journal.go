// Package journal records on stable storage what has been done of a job, whatever
// that is: work in steps that can be undone until it is committed.
//
// A run is one attempt to carry out a job. Its id marks everything that it makes,
// so that nothing else is ever removed.
package journal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"esxodus/disk"

	"golang.org/x/sys/unix"
)

// Event is what a journal record says happened.
type Event string

// The events. A step that has begun and is neither done nor undone may have
// had any part of its effect.
const (
	EventPlan     Event = "plan"     // first record: the run's id and the whole job
	EventBegin    Event = "begin"    // a step is about to change something
	EventClaim    Event = "claim"    // a step is about to create a thing with this identity
	EventDone     Event = "done"     // a step's effect is complete and on stable storage
	EventFailed   Event = "failed"   // a step that has begun saw this, and isn't done
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
	Step    *int            `json:"step,omitempty"` // index into the job's steps
	What    string          `json:"what,omitempty"` // the step in words, for people
	Error   string          `json:"error,omitempty"`
	Outcome Outcome         `json:"outcome,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Plan    json.RawMessage `json:"plan,omitempty"` // the job
}

// Journal is the record of a job on stable storage: one JSON object a line,
// appended and fsynced, never rewritten. It holds no secret. An open Journal holds
// a lock that keeps a second run out.
type Journal[J Job] struct {
	History[J]
	dir  string
	file *os.File
	lock *os.File
	now  func() time.Time
}

// The files of a run's state directory.
const (
	FileName = "journal"
	lockName = "lock"
)

// ErrBusy means that another process holds a journal's lock.
var ErrBusy = errors.New("another esxodus is at work here")

func busy(dir string) error {
	return fmt.Errorf("%w (lock %s)", ErrBusy, filepath.Join(dir, lockName))
}

// Create starts the journal of a new run in dir, which is made. It fails if dir
// holds a journal already.
func Create[J Job](dir string, job J, run string) (*Journal[J], error) {
	if err := MakePassable(dir); err != nil {
		return nil, err
	}
	lock, err := Lock(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	if err := removeEmpty[J](path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), lock.Close())
	}
	j := &Journal[J]{dir: dir, file: file, lock: lock, now: time.Now, History: History[J]{job: job}}
	text, err := json.Marshal(job)
	if err == nil {
		err = j.Add(Record{Event: EventPlan, Run: run, Plan: text})
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	if err := disk.SyncDir(dir); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// removeEmpty removes a journal that a crash left without a plan. The caller
// holds the directory's lock.
func removeEmpty[J Job](path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, _, err = readHistory[J](f)
	if errors.Is(err, ErrEmpty) {
		err = os.Remove(path)
	}
	return errors.Join(err, f.Close())
}

// Open opens an existing journal for appending and takes its lock. A last line
// cut short by a crash is dropped: its event never happened.
func Open[J Job](dir string) (*Journal[J], error) {
	lock, err := Lock(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal[J]{dir: dir, lock: lock, now: time.Now}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal[J]) load() error {
	path := filepath.Join(j.dir, FileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.file = f
	history, good, err := readHistory[J](f)
	if errors.Is(err, ErrEmpty) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return err
	}
	j.History = history
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
func (j *Journal[J]) Add(rec Record) error {
	if err := j.write(rec); err != nil {
		return &WriteError{err}
	}
	return nil
}

func (j *Journal[J]) write(rec Record) error {
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

// Step records an event of step i.
func (j *Journal[J]) Step(i int, event Event, data any) error {
	rec := Record{Event: event, Step: &i, What: j.job.Steps()[i].Text}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("journal record: %w", err)
		}
		rec.Data = raw
	}
	return j.Add(rec)
}

// cutBack removes the last n bytes of the file.
func (j *Journal[J]) cutBack(n int64) error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	return j.file.Truncate(info.Size() - n)
}

// Busy returns an error that wraps [ErrBusy] while another process holds the lock
// of a directory.
func Busy(dir string) error {
	if Locked(dir) {
		return busy(dir)
	}
	return nil
}

// Path returns the path of a file of this run in its state directory.
func (j *Journal[J]) Path(name string) string { return filepath.Join(j.dir, name) }

// Close releases the lock.
func (j *Journal[J]) Close() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
	}
	return errors.Join(err, j.lock.Close())
}

// Lock takes the lock of a state directory without waiting. It is a lock
// of the open file, so it ends with the process however that ends.
func Lock(dir string) (*os.File, error) {
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

// Locked reports whether a process holds the lock of a run's directory. It
// asks without taking the lock, so as not to hold anyone up.
func Locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read only
	query := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &query) == nil && query.Type != unix.F_UNLCK
}

// NewRun makes the id of a new run: random, so that what an earlier run of the
// same VM made is never taken for this one's.
func NewRun() string { return strings.ToLower(rand.Text()[:16]) }

// MakePassable makes a directory, and parents that it lacks, open to those who
// only pass, as QEMU's user does, whatever the umask. One that is there stays as
// it is.
func MakePassable(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := MakePassable(filepath.Dir(dir)); err != nil {
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
