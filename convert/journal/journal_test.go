package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// units is a job that has nothing to do with VMs: files that are installed.
type units struct {
	Files []string `json:"files"`
}

func (u *units) Steps() []Step {
	out := make([]Step, len(u.Files))
	for i, f := range u.Files {
		out[i] = Step{Kind: "install", Text: "install " + f, Claims: true}
	}
	return out
}

func (u *units) CheckRecorded(run, name string) error {
	if run == "" || name != "eth0" {
		return fmt.Errorf("run %q of %s", run, name)
	}
	return nil
}

func (u *units) CheckStep(i int, s *StepState, r *Record) error {
	if r.Event == EventClaim && len(s.Claim.Data) == 0 {
		return fmt.Errorf("a claim of %s that claims nothing", u.Files[i])
	}
	return nil
}

func (u *units) About() string    { return "units of eth0" }
func (u *units) Leavings() string { return strings.Join(u.Files, " and ") }

func (*units) Rollback(name string) string { return "units undo " + name }
func (*units) Yourself() string            { return "the units" }

// TestAnyJob: a journal keeps any job, says how far it got, and takes only records
// that fit it.
func TestAnyJob(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net", "eth0")
	j, err := Create(dir, &units{Files: []string{"a.netdev", "b.network"}}, NewRun())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open[*units](dir); !errors.Is(err, ErrBusy) || !errors.Is(Busy(dir), ErrBusy) {
		t.Errorf("a second Open = %v, want %v", err, ErrBusy)
	}
	err = errors.Join(j.Step(0, EventBegin, nil), j.Step(0, EventClaim, "sum"), j.Step(0, EventDone, nil), j.Step(1, EventBegin, nil), j.Close())
	if err != nil {
		t.Fatal(err)
	}
	h, err := Read[*units](dir)
	if err != nil {
		t.Fatal(err)
	}
	if p := h.Progress(); p.Done != 1 || p.Steps != 2 || p.Phase != PhaseUnfinished || p.Step != "install b.network" || p.Run != h.Run() || h.Job().Files[1] != "b.network" {
		t.Errorf("progress = %+v of %+v", p, h.Job())
	}
	path := filepath.Join(dir, FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ change, to, err string }{
		{`,"data":"sum"`, "", "line 3: a claim of a.netdev that claims nothing; nothing was touched. Up to that line: units of eth0, run "},
		{`"step":1`, `"step":2`, "names none of the plan's 2 steps"},
		{`"plan":{`, `"plan":null,"x":{`, "line 1: not a record: its plan is null; nothing was touched"},
		{`"plan":{`, `"plan":7,"x":{`, "line 1: not a record"},
		{`"run":"`, `"run":"","x":"`, `line 1: run "" of eth0`},
	} {
		if err := os.WriteFile(path, bytes.Replace(whole, []byte(tt.change), []byte(tt.to), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open[*units](dir)
		var bad *DamagedError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s as %s: Open = %v; want %q", tt.change, tt.to, err, tt.err)
		} else if late := bad.Line > 1; late != strings.Contains(bad.Advice(), "`units undo eth0`. That leaves alone what the run made after that line: check a.netdev and b.network yourself") {
			t.Errorf("%s as %s: advice %q", tt.change, tt.to, bad.Advice())
		}
	}
}
