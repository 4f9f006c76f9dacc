package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/converttest"
	"esxodus/convert/cutover"
	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
	"esxodus/inventory"
)

// entry is a VM's in its host's autostart.
func entry() inventory.AutoStartEntry {
	return inventory.AutoStartEntry{Order: 3, StartDelay: 60, StopDelay: -1, StartAction: "PowerOn", StopAction: "systemDefault", Heartbeat: "systemDefault"}
}

// migrated is a world whose VM was running, is in its host's autostart, and has been
// migrated.
func migrated(t *testing.T) *converttest.World {
	t.Helper()
	w := converttest.New(t)
	w.Host.VMs[0].AutoStart, w.Host.AutoStart.Enabled = &inventory.AutoStart{Order: 3, StartDelay: 60, StartAction: "powerOn"}, true
	j := w.CreateRunning()
	if err, _ := apply(t.Context(), w, j); err != nil {
		t.Fatal(err)
	}
	if w.Boots {
		t.Error("this host starts the domain before it is in its VM's place")
	}
	w.Entry = entry()
	w.Agent = true
	return w
}

// beginCutover plans a cutover and starts its journal.
func beginCutover(t *testing.T, w *converttest.World) (*cutover.Journal, *runs.Journal) {
	t.Helper()
	m := w.Open()
	job, err := cutover.New(cutover.Facts{Job: m.Job(), Run: m.Run(), Host: &w.Host, ShutDown: m.ShutDown()})
	if err != nil {
		t.Fatal(err)
	}
	j, err := cutover.Create(w.State().Dir("web"), job)
	if err != nil {
		t.Fatal(err)
	}
	return j, m
}

func closeBoth(t *testing.T, j *cutover.Journal, m *runs.Journal) {
	t.Helper()
	if err := errors.Join(j.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
}

// cutOver carries a cutover out until it ends or crashes.
func cutOver(ctx context.Context, t *testing.T, w *converttest.World, j *cutover.Journal, m *runs.Journal, act func(context.Context, *cutover.Journal, *runs.Journal, Effects) error) (err error, crashed bool) {
	t.Helper()
	defer func() {
		closeBoth(t, j, m)
		if r := recover(); r != nil {
			if _, ok := r.(converttest.Crash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	return act(ctx, j, m, effects(w)), false
}

func state(t *testing.T, w *converttest.World) runs.State {
	t.Helper()
	s, err := w.State().State("web")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantInPlace wants the domain in its VM's place.
func wantInPlace(t *testing.T, w *converttest.World) {
	t.Helper()
	s := state(t, w)
	if s.Cutover == nil || s.Cutover.Phase != cutover.PhaseDone || !w.Started || !w.Boots || w.Entry.Starts() || w.Host.VMs[0].Power == inventory.PoweredOn {
		t.Errorf("cutover %+v, started %v, autostart %+v, VM %s; want the domain in its place", s.Cutover, w.Started, w.Entry, w.Host.VMs[0].Power)
	}
}

// asBefore wants all of a cutover taken back. restarted says whether the domain had
// been started, and the VM is on again.
func asBefore(t *testing.T, w *converttest.World, restarted bool) {
	t.Helper()
	s := state(t, w)
	if s.CutOver() || w.Started || w.Boots || w.Entry != entry() {
		t.Errorf("cutover %+v, started %v, autostart %+v; want all as before", s.Cutover, w.Started, w.Entry)
	}
	if on := w.Host.VMs[0].Power == inventory.PoweredOn; on != restarted || s.Stale() != restarted {
		t.Errorf("VM %s, stale %v; want it on: %v", w.Host.VMs[0].Power, s.Stale(), restarted)
	}
}

func TestCutover(t *testing.T) {
	w := migrated(t)
	j, m := beginCutover(t, w)
	if err, _ := cutOver(t.Context(), t, w, j, m, CutOver); err != nil {
		t.Fatal(err)
	}
	wantInPlace(t, w)
	s := state(t, w)
	if s.Downtime <= 0 || s.Cutover.Answer == nil || !s.Cutover.Answer.Seen || len(s.Cutover.Took) != 5 {
		t.Errorf("downtime %v, cutover %+v; want it measured", s.Downtime, s.Cutover)
	}
	if err := s.NoEnd(false); err == nil || !strings.Contains(err.Error(), "cutover --back web") {
		t.Errorf("a rollback of what is in service = %v; want it refused", err)
	}
	if err := s.NoEnd(true); err != nil {
		t.Errorf("a commit = %v", err)
	}
	back, err := cutover.Open(w.State().Dir("web"))
	if err != nil {
		t.Fatal(err)
	}
	if err, _ := cutOver(t.Context(), t, w, back, w.Open(), CutBack); err != nil {
		t.Fatal(err)
	}
	asBefore(t, w, true)
	if err := state(t, w).NoCutover(); err == nil || !strings.Contains(err.Error(), "powered on again") {
		t.Errorf("a cutover to an old copy = %v; want it refused", err)
	}
	if err := state(t, w).NoEnd(true); err == nil {
		t.Error("an old copy may be committed")
	}
}

// TestCutoverRefused: what isn't so is found before anything is changed.
func TestCutoverRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*converttest.World)
		want   string
	}{
		"it runs":       {func(w *converttest.World) { w.Host.VMs[0].Power = inventory.PoweredOn }, "is poweredOn"},
		"it ran":        {func(w *converttest.World) { w.Host.VMs[0].ChangeVersion = "v3" }, "was started or changed"},
		"it is gone":    {func(w *converttest.World) { w.Host.VMs = nil }, "is no longer on"},
		"address taken": {func(w *converttest.World) { w.Taken = []string{"192.0.2.20 is had by 52:54:00:01:02:03"} }, "192.0.2.20 is had by"},
	} {
		t.Run(name, func(t *testing.T) {
			w := migrated(t)
			j, m := beginCutover(t, w)
			on := name == "it runs"
			tt.change(w)
			err, _ := cutOver(t.Context(), t, w, j, m, CutOver)
			if !errors.Is(err, ErrBack) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CutOver = %v; want %q", err, tt.want)
			}
			if w.Started || w.Entry != entry() || w.Power["7"] || state(t, w).Stale() {
				t.Errorf("started %v, autostart %+v, powered on %v", w.Started, w.Entry, w.Power["7"])
			}
			if got := len(w.Host.VMs) > 0 && w.Host.VMs[0].Power == inventory.PoweredOn; got != on {
				t.Errorf("the VM is on: %v", got)
			}
		})
	}
}

// TestCutoverSilent: a guest that isn't there within its time has all taken back.
func TestCutoverSilent(t *testing.T) {
	w := migrated(t)
	synctest.Test(t, func(t *testing.T) {
		w.Silent = true
		j, m := beginCutover(t, w)
		begun := time.Now()
		err, _ := cutOver(t.Context(), t, w, j, m, CutOver)
		if !errors.Is(err, ErrBack) || !strings.Contains(err.Error(), "nothing was heard of it") || !strings.Contains(err.Error(), "powered on again") {
			t.Errorf("CutOver = %v", err)
		}
		if took := time.Since(begun); took < 20*time.Minute || took > 21*time.Minute {
			t.Errorf("it waited %v, want 20 minutes: the domain is emulated", took)
		}
	})
	asBefore(t, w, true)
}

// TestCutoverStops: a domain that goes off at once isn't waited for.
func TestCutoverStops(t *testing.T) {
	w := migrated(t)
	j, m := beginCutover(t, w)
	w.Tick = func(what string) error {
		if what == "started" {
			w.Started = false
		}
		return nil
	}
	err, _ := cutOver(t.Context(), t, w, j, m, CutOver)
	if !errors.Is(err, ErrBack) || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("CutOver = %v", err)
	}
	asBefore(t, w, true)
}

// TestCutoverCrash lets the process die at each effect: going on comes to the same end,
// and taking back to the same beginning. VM and domain never run together, which the
// world looks after.
func TestCutoverCrash(t *testing.T) {
	n := 0
	w := migrated(t)
	w.Tick = func(string) error { n++; return nil }
	j, m := beginCutover(t, w)
	if err, _ := cutOver(t.Context(), t, w, j, m, CutOver); err != nil {
		t.Fatal(err)
	}
	for at := range n {
		for _, back := range []bool{false, true} {
			w := migrated(t)
			j, m := beginCutover(t, w)
			left, where := at, ""
			w.Tick = func(what string) error {
				if left--; left == -1 {
					where = what
					if what == "agent" {
						return errRead // asked by a goroutine, which can't be made to die
					}
					panic(converttest.Crash{})
				}
				return nil
			}
			err, crashed := cutOver(t.Context(), t, w, j, m, CutOver)
			if where == "agent" && errors.Is(err, ErrBack) {
				asBefore(t, w, true)
				continue
			}
			if !crashed {
				t.Fatalf("no crash at %d, %q: %v", at, where, err)
			}
			w.Tick = func(string) error { return nil }
			j, err = cutover.Open(w.State().Dir("web"))
			if err != nil {
				t.Fatal(err)
			}
			act := CutOver
			if back {
				act = CutBack
			}
			began := begun(j, cutover.StepStart)
			if err, _ := cutOver(t.Context(), t, w, j, w.Open(), act); err != nil {
				t.Fatalf("after a crash at %q, back %v: %v", where, back, err)
			}
			if back {
				asBefore(t, w, began)
			} else {
				wantInPlace(t, w)
			}
		}
	}
}

// TestCutoverLies: a journal that names another's things is refused.
func TestCutoverLies(t *testing.T) {
	for old, lie := range map[string]string{
		`"name":"web"`:          `"name":"../web"`,
		`"kind":"source"`:       `"kind":"answer"`,
		`"kind":"start"`:        `"kind":"source"`,
		`"seconds":1200`:        `"seconds":0`,
		`"via":"ssh"`:           `"via":"sh"`,
		`"device":"eno1"`:       `"device":"a/../b"`,
		`"mac":"00:50:56:01:02`: `"mac":"00:50:56:zz:02`,
	} {
		w := migrated(t)
		j, m := beginCutover(t, w)
		path := j.Path("journal")
		closeBoth(t, j, m)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), old) {
			t.Fatalf("the journal has no %s: %s", old, b)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, lie, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.State().State("web"); err == nil {
			t.Errorf("%s: a cutover's journal is taken", lie)
		}
	}
}

// begun reports whether a step was begun.
func begun(j *cutover.Journal, k cutover.Kind) bool {
	i, _ := j.Job().Step(k)
	return j.Steps()[i].Begun
}

// TestStoppable: what can be stopped at any moment is, and its work is kept.
func TestStoppable(t *testing.T) {
	stop := make(chan struct{})
	x := &executor{Effects: Effects{Stop: stop}}
	_, err := x.stoppable(t.Context(), func(ctx context.Context) (any, error) {
		close(stop)
		<-ctx.Done()
		return nil, fmt.Errorf("reading: %w", ctx.Err())
	})
	if kept, ok := errors.AsType[*keepError](err); !ok || !errors.Is(kept, errAsked) {
		t.Errorf("stoppable = %v; want it kept", err)
	}
}

// TestStop: a run that is asked to stop does so before its end, keeps what it has, and is
// gone on with.
func TestStop(t *testing.T) {
	reads, stop := &atomic.Int64{}, make(chan struct{})
	first := converttest.New(t)
	first.Tick = func(what string) error {
		if what == "read" {
			reads.Add(1)
		}
		return nil
	}
	if err, _ := apply(t.Context(), first, first.Create()); err != nil {
		t.Fatal(err)
	}
	half := reads.Load() / 2
	w := converttest.New(t)
	w.Tick = func(what string) error {
		if what == "read" && reads.Add(-1) == half {
			close(stop)
		}
		return nil
	}
	j := w.Create()
	e := effects(w)
	e.Stop = stop
	err := Apply(t.Context(), j, e)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "as was asked for") {
		t.Errorf("Apply = %v", err)
	}
	if s := j.State(); s.Phase != journal.PhaseUnfinished || s.Done == 0 {
		t.Errorf("state %+v", s)
	}
	e.Stop = nil
	w.Tick = func(string) error { return nil }
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil {
		t.Fatal(err)
	}
	w.CheckDone()
}

// TestCutoverUnit: where the VM's host starts others before it, a unit does so here. It
// is enabled, and gone when the cutover is taken back; another's of that name stays.
func TestCutoverUnit(t *testing.T) {
	w := migrated(t)
	first := w.Host.VMs[0]
	first.ID, first.Name, first.AutoStart = "8", "db+1", &inventory.AutoStart{Order: 1, StartDelay: 10, StartAction: "powerOn"}
	w.Host.VMs = append(w.Host.VMs, first)
	e := effects(w)
	e.Root = t.TempDir()
	asked := &asked{Runner: e.Tool}
	e.Tool = asked
	path := filepath.Join(e.Root, cutover.UnitDir, "esxodus-start-web.service")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	m := w.Open()
	defer m.Close()
	job, err := cutover.New(cutover.Facts{Job: m.Job(), Run: m.Run(), Host: &w.Host, ShutDown: m.ShutDown(), Systemd: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("[Service]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := cutover.Create(w.State().Dir("web"), job)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(CutOver(t.Context(), j, m, e), j.Close()); !errors.Is(err, ErrBack) || !strings.Contains(err.Error(), "did not make it") {
		t.Errorf("CutOver = %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "[Service]\n" {
		t.Errorf("another's unit is now %q, %v", b, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.Host.VMs[0].Power = inventory.PoweredOff // which the first try powered on again
	if j, err = cutover.Create(w.State().Dir("web"), job); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := CutOver(t.Context(), j, m, e); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), `After=network-online.target libvirtd.service virtqemud.service esxodus-start-db\x2b1.service`) || !strings.Contains(string(b), "ExecStartPost=/bin/sleep 60") {
		t.Errorf("the unit is %s, %v", b, err)
	}
	if w.Boots {
		t.Error("libvirt starts it, too")
	}
	if err := CutBack(t.Context(), j, m, e); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unit is left: %v", err)
	}
	if want := []string{"systemctl daemon-reload", "systemctl enable --quiet esxodus-start-web.service", "systemctl disable --quiet esxodus-start-web.service", "systemctl daemon-reload"}; !slices.Equal(asked.commands, want) {
		t.Errorf("asked for %q; want %q", asked.commands, want)
	}
}

// asked notes what is asked of systemd.
type asked struct {
	host.Runner
	commands []string
}

func (a *asked) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if argv[0] != "systemctl" {
		return a.Runner.Run(ctx, argv...)
	}
	a.commands = append(a.commands, strings.Join(argv, " "))
	return nil, nil
}
