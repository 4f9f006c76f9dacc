package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// lines returns the lines of a journal.
func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.SplitAfter(b, []byte("\n"))
	return all[:len(all)-1]
}

// TestDamagedJournal: a journal with a line that doesn't belong there is told by
// its name and line, with what it says before that and what to do; nothing is
// done by it, and nobody takes it for none.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	record := func(text string) func([][]byte) [][]byte {
		return func(all [][]byte) [][]byte { return append(all, []byte(text+"\n")) }
	}
	edited := func(change func(*plan.VMJob)) func([][]byte) [][]byte {
		return func(all [][]byte) [][]byte {
			var r journal.Record
			if err := json.Unmarshal(all[0], &r); err != nil {
				panic(err)
			}
			var job plan.VMJob
			if err := json.Unmarshal(r.Plan, &job); err != nil {
				panic(err)
			}
			change(&job)
			r.Plan = converttest.Must(json.Marshal(job))
			all[0] = append(converttest.Must(json.Marshal(r)), '\n')
			return all
		}
	}
	tests := []struct {
		name   string
		change func([][]byte) [][]byte
		line   int // 0 for the one after the last
		want   string
	}{
		{"a step beyond the last", record(`{"event":"begin","step":99}`), 0, "names none of the plan's 11 steps"},
		{"a step before the first", record(`{"event":"begin","step":-1}`), 0, "names none of the plan's 11 steps"},
		{"a second plan", record(`{"event":"plan","plan":null}`), 0, "a journal begins with its plan, and has only one"},
		{"no plan", func(all [][]byte) [][]byte {
			all[0] = []byte(`{"event":"plan","run":"aaaaaaaaaaaaaaaa","plan":null}` + "\n")
			return all
		}, 1, "its plan is null"},
		{"no step", record(`{"event":"done"}`), 0, "names none of the plan's 11 steps"},
		{"a step that is no number", record(`{"event":"begin","step":1e400}`), 0, "not a record"},
		{"a garbled line", func(all [][]byte) [][]byte { all[3] = []byte("\x00\x00{]\n"); return all }, 4, "not a record"},
		{"a line with more behind it", record(`{"event":"stopped"} {"event":"end"}`), 0, "not a record"},
		{"an empty line", record(""), 0, "not a record"},
		{"a line less", func(all [][]byte) [][]byte { return append(all[:2], all[3:]...) }, 3, "before it isn't done"},
		{"a line twice", func(all [][]byte) [][]byte { return append(all[:1], all...) }, 2, "has only one"},
		{"an unknown event", record(`{"event":"conjured"}`), 0, `unknown event "conjured"`},
		{"done before it began", record(`{"event":"done","step":9}`), 0, "hasn't begun"},
		{"undone before it began", record(`{"event":"undone","step":9}`), 0, "hasn't begun"},
		{"a step too early", record(`{"event":"begin","step":9}`), 0, "before it isn't done"},
		{"a claim of a copy", record(`{"event":"claim","step":3,"data":{}}`), 0, "claims nothing"},
		{"a claim of nothing", record(`{"event":"claim","step":1,"data":7}`), 0, "names nothing"},
		{"a stop of a step", record(`{"event":"stopped","step":1}`), 0, "belongs to no step"},
		{"a commit too early", record(`{"event":"commit"}`), 0, "before all steps are done"},
		{"an end without a commit", record(`{"event":"end","outcome":"committed"}`), 0, "doesn't follow"},
		{"an end before all is undone", record(`{"event":"end","outcome":"rolled back"}`), 0, "doesn't follow"},
		{"an end of no kind", record(`{"event":"end","outcome":"won"}`), 0, "doesn't follow"},
		{"a plan in the middle", record(`{"event":"plan","plan":{}}`), 0, "has only one"},
		{"a plan with a step", record(`{"event":"begin","step":3,"plan":{}}`), 0, "has only one"},
		{"no plan", func(all [][]byte) [][]byte { return all[1:] }, 1, "begins with its plan"},
		{"another VM's", edited(func(j *plan.VMJob) { j.VM.Name = "db" }), 1, `for a domain "db"`},
		{"a name that leads out", edited(func(j *plan.VMJob) { j.VM.Name = "../web" }), 1, `for a domain "../web"`},
		{"a storage that is none", edited(func(j *plan.VMJob) { j.Target.Storage = "/srv" }), 1, "target"},
		{"a volume elsewhere", edited(func(j *plan.VMJob) { j.VM.Disks[0].Volume.Path = "/etc/passwd" }), 1, "not in dir:"},
		{"a step of no disk", edited(func(j *plan.VMJob) { j.VM.Steps[1].Disk = "scsi3:3" }), 1, "steps[1]"},
		{"a step of no kind", edited(func(j *plan.VMJob) { j.VM.Steps[1].Kind = "conjure" }), 1, "steps[1]"},
		{"a run that leads out", func(all [][]byte) [][]byte {
			all[0] = bytes.Replace(all[0], []byte(`"run":"`), []byte(`"run":"../`), 1)
			return all
		}, 1, "run id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			other := w.Plan().Job(0)
			other.VM.Name = "db"
			if j, err := w.State().Create(other, journal.NewRun()); err != nil || j.Close() != nil {
				t.Fatal(err)
			}
			j := w.Create()
			w.Tick = func(what string) error {
				if what == "read" {
					return errRead
				}
				return nil
			}
			if err, _ := apply(t.Context(), w, j); !errors.Is(err, ErrStopped) {
				t.Fatalf("Apply = %v, want it stopped", err)
			}
			path := j.Path(journal.FileName)
			all := lines(t, path)
			if tt.line == 0 {
				tt.line = len(all) + 1
			}
			damaged := bytes.Join(tt.change(all), nil)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := w.State().Open("web")
			d, ok := errors.AsType[*journal.DamagedError](err)
			if !ok || d.Line != tt.line || d.Path != path || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Open = %v; want %q at line %d of %s", err, tt.want, tt.line, path)
			}
			if text := err.Error(); tt.line > 1 && (!strings.Contains(text, `"web" from esx1`) || !strings.Contains(text, j.Run())) {
				t.Errorf("Open = %v; want it to say what is known", err)
			}
			advice := d.Advice()
			if tt.line > 1 && (!strings.Contains(advice, fmt.Sprintf("head -n %d", tt.line-1)) || !strings.Contains(advice, "`esxodus rollback web`") ||
				!strings.Contains(advice, j.Job().VM.Disks[1].Volume.Path)) {
				t.Errorf("advice = %q; want what to do", advice)
			}
			if name, err := w.State().Find("web"); err != nil || name != "web" {
				t.Errorf("Find = %q, %v; want the run that is there", name, err)
			}
			if _, err := w.State().Find("nobody"); errors.Is(err, runs.ErrNoRun) || !errors.As(err, &d) {
				t.Errorf("Find of another = %v; want the journal that can't be read", err)
			}
			if states, err := w.State().List(); len(states) != 1 || states[0].Name != "db" || !errors.As(err, &d) {
				t.Errorf("List = %+v, %v; want the other VM, and the damage", states, err)
			}
			if _, err := w.State().Create(j.Job(), journal.NewRun()); !errors.As(err, &d) {
				t.Errorf("Create = %v; want the damage", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, damaged) {
				t.Errorf("the journal was changed (%v)", err)
			}
		})
	}
}

// TestCutJournal: a damaged journal can be cut off as its advice says, and the
// run rolled back.
func TestCutJournal(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	if err, _ := apply(t.Context(), w, w.Create()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.State().Dir("web"), journal.FileName)
	all := lines(t, path)
	for n := len(all); n > 6; n-- { // up to the second claim
		if err := os.WriteFile(path, bytes.Join(all[:n], nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.State().State("web"); err != nil {
			t.Errorf("State of %d lines: %v", n, err)
		}
	}
	j := w.Open()
	if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestEditedJournal: a plan on record that lacks what it must have is neither
// resumed nor committed, and can be rolled back.
func TestEditedJournal(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*plan.VMPlan){
		"no steps":  func(v *plan.VMPlan) { v.Steps = nil },
		"no ranges": func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges = nil },
		"a foreign disk": func(v *plan.VMPlan) {
			v.Domain.XML = strings.Replace(v.Domain.XML, "<devices>", "<devices><disk><source file='/x'/><target dev='vdz'/></disk>", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			job := w.Plan().Job(0)
			change(&job.VM)
			j, err := w.State().Create(job, journal.NewRun())
			if err != nil {
				t.Fatal(err)
			}
			before := len(j.Records())
			for verb, f := range map[string]func() error{
				"resume": func() error { return Apply(t.Context(), j, effects(w)) },
				"commit": func() error { return Commit(t.Context(), j, effects(w)) },
			} {
				err := f()
				if verb == "resume" && !errors.Is(err, ErrStopped) || err == nil || len(j.Records()) != before {
					t.Errorf("%s = %v, %d new records; want a refusal", verb, err, len(j.Records())-before)
				}
			}
			if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
				t.Errorf("Rollback = %v", err)
			}
		})
	}
}
