// Package runs keeps on record what has been done for each VM: journals whose job
// is one VM's part of a plan, in a directory of state. It says from them how each
// migration stands.
package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/domain"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
)

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
		if errors.Is(err, journal.ErrEmpty) || errors.Is(err, ErrNoRun) {
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
var ErrNoRun = errors.New("no migration recorded")

// State reads the state of one domain's current run without locking it.
func (d StateDir) State(name string) (State, error) {
	h, err := journal.Read[*Job](d.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%s: %w in %s", name, ErrNoRun, d)
	}
	if err != nil {
		return State{}, err
	}
	s := stateOf(h)
	if s.Cutover, err = cutover.Read(d.Dir(name)); err != nil {
		return State{}, err
	}
	s.measure()
	if s.Running = journal.Locked(d.Dir(name)); s.Running {
		s.Pace = d.pace(name)
	}
	if heard := filepath.Join(d.Dir(name), CaptureFile); len(s.Network) > 0 && isFile(heard) {
		s.Capture = heard
	}
	if said := filepath.Join(d.Dir(name), ConsoleFile); isFile(said) {
		s.Console = said
	}
	return s, nil
}

// Find returns the name of the run whose domain is called key, or whose source VM has
// that name or id. A domain's journal is found by its directory, whatever is in it.
// Where several runs may be meant, none is.
func (d StateDir) Find(key string) (string, error) {
	if domain.Name(key) == key {
		if _, err := d.State(key); !errors.Is(err, ErrNoRun) {
			return key, nil
		}
	}
	states, err := d.List()
	var found, from []string
	for _, s := range states {
		if s.VM == key || s.Job.VM.Source.ID == key {
			found, from = append(found, s.Name), append(from, fmt.Sprintf("%s (%q, id %s, from %s)", s.Name, s.VM, s.Job.VM.Source.ID, s.Host))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%s may be any of several migrations: name the domain of the one you mean: %s", key, strings.Join(from, ", "))
	case err != nil: // it may be one of those
		return "", fmt.Errorf("%s: no migration with that name among those in %s that can be read: %w", key, d, err)
	}
	return "", fmt.Errorf("%s: %w in %s; `esxodus status` lists them", key, ErrNoRun, d)
}

// Busy returns an error that wraps [journal.ErrBusy] while another process works on the
// run of that name.
func (d StateDir) Busy(name string) error {
	return journal.Busy(d.Dir(name))
}

// Create starts the journal of a new run. An ended run of the same name is
// archived; an unfinished one is an error that says what to do.
func (d StateDir) Create(job *plan.VMJob, run string) (*Journal, error) {
	name := job.VM.Name
	s, err := d.State(name)
	switch {
	case errors.Is(err, ErrNoRun), errors.Is(err, journal.ErrEmpty):
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
	j, err := journal.Create(d.Dir(name), &Job{*job}, run)
	if err != nil {
		return nil, err
	}
	return &Journal{j}, nil
}

// passable makes sure, before hours are spent on a copy, that QEMU will get at
// the overlays of the boot proof.
func (d StateDir) passable(job *plan.VMJob) error {
	if !slices.ContainsFunc(job.VM.Steps, func(s plan.Step) bool { return s.Kind == plan.StepProve }) {
		return nil
	}
	if err := journal.MakePassable(filepath.Join(string(d), "vms")); err != nil {
		return err
	}
	if err := volume.CheckOverlays(filepath.Join(d.Dir(job.VM.Name), ProofDir)); err != nil {
		return fmt.Errorf("the boot proof keeps its %w (--state), or leave the proof out with --no-proof", err)
	}
	return nil
}

// Open opens the journal of a domain's current run and locks it.
func (d StateDir) Open(name string) (*Journal, error) {
	if _, err := os.Stat(filepath.Join(d.Dir(name), journal.FileName)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w in %s; `esxodus status` lists them", name, ErrNoRun, d)
	}
	j, err := journal.Open[*Job](d.Dir(name))
	if err != nil {
		return nil, err
	}
	return &Journal{j}, nil
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

// CaptureFile has, in a run's state directory, what a network proof heard that failed.
const CaptureFile = "proof.pcapng"

// ConsoleFile has, in a run's state directory, what the guest wrote to its serial
// console in its last proof.
const ConsoleFile = "console.log"

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// ProofDir is the directory for overlays in a run's state directory.
const ProofDir = "proof"
