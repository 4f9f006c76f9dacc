package netrun

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/journal"
	"esxodus/network"
	"esxodus/network/hostnet"
)

// cut is where in a step the program and its guard end at once.
type cut string

const (
	cutBegun cut = "begun" // on record, nothing done
	cutHalf  cut = "half"  // in the middle of writing a file
	cutActed cut = "acted" // done, not on record
	cutDone  cut = "done"
)

// crash carries out a run's steps up to one of them, and ends there as a kill or
// a power cut would: what is on record is all that is left of the program.
func crash(t *testing.T, j *Journal, e Effects, last int, at cut) {
	t.Helper()
	x := &executor{Effects: e, job: j.Job(), journal: j}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range j.Job().Changes.Steps[:last+1] {
		if i < last && (s.Kind == network.StepCheck || s.Kind == network.StepConfirm) {
			must(j.Step(i, journal.EventBegin, nil))
			must(j.Step(i, journal.EventDone, nil))
			continue // they touch nothing
		}
		if i < last || at == cutDone {
			must(x.do(t.Context(), i, s, j.Steps()[i]))
			continue
		}
		place, err := x.place(t.Context(), s, j.Steps()[i])
		must(err)
		must(j.Step(i, journal.EventBegin, place))
		switch {
		case at == cutHalf && s.Kind == network.StepFile:
			path := x.path(s.File.Path)
			must(os.MkdirAll(filepath.Dir(path), 0o755))
			must(os.WriteFile(temporary(path), []byte("hal"), 0o600))
		case at == cutActed:
			must(x.act(t.Context(), s))
		}
	}
	must(j.Close())
}

// rolledBack rolls the run back as `esxodus network rollback` does.
func rolledBack(t *testing.T, dir Dir, e Effects) {
	t.Helper()
	s, ok, err := dir.Last()
	if err != nil || !ok || s.Running || (s.Phase != PhaseCutOff && s.Phase != PhaseApplied) {
		t.Fatalf("after the crash the last run is %+v, %v, %v", s, ok, err)
	}
	j, err := dir.Open(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	if err := Rollback(t.Context(), j, e); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := dir.Last(); ok || err != nil {
		t.Errorf("there is still a run to roll back: %v", err)
	}
}

// TestCrashAtEachStep: the program and its guard are gone, wherever that was; a
// rollback puts all back, byte for byte, and leaves nothing half written.
func TestCrashAtEachStep(t *testing.T) {
	for last := range newDesk(t).job().Changes.Steps {
		for _, at := range []cut{cutBegun, cutHalf, cutActed, cutDone} {
			t.Run(fmt.Sprintf("%d %s", last, at), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				before := d.sight()
				crash(t, d.begin(), d.effects(), last, at)
				rolledBack(t, d.dir, d.effects())
				if diff := cmp.Diff(before, d.sight()); diff != "" {
					t.Errorf("after the rollback there is (-was +is):\n%s", diff)
				}
			})
		}
	}
}

// TestCrashThenApply: wherever a run was cut off, its rollback and a new run come to
// what a run comes to that nothing cut off.
func TestCrashThenApply(t *testing.T) {
	whole := newDesk(t)
	last := len(whole.job().Changes.Steps) - 1
	crash(t, whole.begin(), whole.effects(), last, cutDone)
	times := regexp.MustCompile(`(?m) [0-9]{19} `) // of files, which are new ones
	want := times.ReplaceAllString(whole.sight(), " ")
	if !strings.Contains(want, "VLAN=eno1.42") {
		t.Fatalf("a run makes nothing:\n%s", want)
	}
	for step := range last + 1 {
		for _, at := range []cut{cutBegun, cutHalf, cutActed, cutDone} {
			d := newDesk(t)
			crash(t, d.begin(), d.effects(), step, at)
			rolledBack(t, d.dir, d.effects())
			crash(t, d.begin(), d.effects(), last, cutDone)
			if diff := cmp.Diff(want, times.ReplaceAllString(d.sight(), " ")); diff != "" {
				t.Errorf("%d %s: after a new run there is (-whole +is):\n%s", step, at, diff)
			}
			if s, ok, err := d.dir.Last(); err != nil || !ok || s.Phase != PhaseApplied {
				t.Errorf("%d %s: the last run is %+v, %v", step, at, s, err)
			}
		}
	}
}

// TestCrashInRollback: a rollback that is cut off, too, is done again.
func TestCrashInRollback(t *testing.T) {
	for last := range newDesk(t).job().Changes.Steps {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			before := d.sight()
			j := d.begin()
			d.check(Apply(t.Context(), j, d.effects()))
			d.check(j.Add(journal.Record{Event: journal.EventRollback}))
			x := &executor{Effects: d.effects(), job: j.Job(), journal: j}
			for i := len(j.Steps()) - 1; i >= last; i-- {
				d.check(x.undo(t.Context(), j.Job().Changes.Steps[i], j.Steps()[i]))
				if i > last {
					d.check(j.Step(i, journal.EventUndone, nil))
				}
			}
			if s, _, err := d.dir.Last(); err != nil || s.Phase != journal.PhaseUndoing {
				t.Errorf("the run is %+v, %v", s, err)
			}
			d.check(Rollback(t.Context(), j, d.effects()))
			if diff := cmp.Diff(before, d.sight()); diff != "" {
				t.Errorf("after the rollback there is (-was +is):\n%s", diff)
			}
		})
	}
}

// TestGuarded: a run whose process is gone waits for a word as long as its guard
// does, and is cut off without one.
func TestGuarded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	j := d.begin()
	confirm := slices.IndexFunc(j.Job().Changes.Steps, func(s network.Step) bool { return s.Kind == network.StepConfirm })
	crash(t, j, d.effects(), confirm, cutBegun)
	phase := func() journal.Phase {
		s, _, err := d.dir.Last()
		d.check(err)
		return s.Phase
	}
	// A program that another test starts at that moment has the lock, too, until it is
	// that program.
	for phase() != PhaseCutOff {
		time.Sleep(10 * time.Millisecond)
	}
	alone := d.effects()
	alone.Ask = nil
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.dir.Guard(ctx, j.Run(), nil, alone) }()
	for phase() != PhaseWaiting {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-ended
	if _, ok, err := d.dir.Last(); ok || err != nil {
		t.Errorf("an interrupted guard leaves the run: %v", err)
	}
}

// crashes: the power is cut in each step on a real networkd. After the boot the
// rollback puts back what was there, and takes away what networkd made.
func crashes(t *testing.T) {
	t.Helper()
	read(t)
	before := tree(t)
	h := read(t)
	steps := changes(t, h).Steps
	for last := range steps {
		dir := Dir(t.TempDir())
		h := read(t)
		j := begin(t, dir, h, changes(t, h))
		at := cutActed
		if steps[last].Kind == network.StepFile && last%2 == 0 {
			at = cutHalf
		}
		crash(t, j, effects(), last, at)
		boot(t)
		rolledBack(t, dir, effects())
		if links := ip(t, "link"); strings.Contains(links, "eno1.42") {
			t.Errorf("cut off in %q, there is\n%s", steps[last].Text, links)
		}
		if diff := cmp.Diff(before, tree(t)); diff != "" {
			t.Errorf("cut off in %q, /etc/systemd is (-was +is):\n%s", steps[last].Text, diff)
		}
		if gone := foreignGone(t); gone != nil {
			t.Errorf("cut off in %q: the rollback took %q away", steps[last].Text, gone)
		}
	}
}

// boot takes away all that no boot finds, and starts networkd again, which must
// come up with the uplink as it was.
func boot(t *testing.T) {
	t.Helper()
	if (hostnet.Machine{}).Remove(wanted(t).Devices[0]) != nil {
		t.Fatal("eno1.42 can't be removed")
	}
	ip(t, "address", "flush", "dev", "eno1")
	restart(t)
	configured(t, "eno1")
	ip(t, "address", "add", "198.51.100.5/24", "dev", "eno1")
	ip(t, "route", "add", "203.0.113.0/24", "via", "198.51.100.1", "proto", "bird")
	read(t)
}
