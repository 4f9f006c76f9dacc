package runs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/runs"
)

// lied writes a journal whose steps up to one of a kind are done, with lines of
// one's own behind, in which N is that step's number.
func lied(t *testing.T, kind plan.Kind, lines ...string) (runs.State, error) {
	t.Helper()
	w := converttest.NewEdited(t)
	j := w.Create()
	n := -1
	for i, s := range j.Job().VM.Steps {
		if s.Kind == kind {
			n = i
			break
		}
		var err error
		switch s.Kind {
		case plan.StepCreate:
			err = errors.Join(j.Step(i, journal.EventBegin, nil), j.Step(i, journal.EventClaim, map[string]int{"ino": 7, "dev": 1}), j.Step(i, journal.EventDone, nil))
		case plan.StepRecheck:
			err = errors.Join(j.Step(i, journal.EventBegin, nil), j.Step(i, journal.EventDone, runs.Seen{}))
		default:
			err = errors.Join(j.Step(i, journal.EventBegin, nil), j.Step(i, journal.EventDone, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := j.Path(journal.FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	number, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		b = append(b, strings.ReplaceAll(l, "N", string(number))+"\n"...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return w.State().State("web")
}

const begun = `{"time":"2026-01-01T00:00:00Z","event":"begin","step":N}`

// TestJournalLies: what a step can't have written is found, and not taken for
// something harmless.
func TestJournalLies(t *testing.T) {
	t.Parallel()
	done := func(data string) string {
		return `{"time":"2026-01-01T00:00:00Z","event":"done","step":N,"data":` + data + `}`
	}
	claim := func(data string) string { return strings.Replace(done(data), "done", "claim", 1) }
	for _, tt := range []struct {
		name  string
		kind  plan.Kind
		lines []string
		want  string
	}{
		{"checks of another type", plan.StepGuest, []string{begun, done(`{"checks":"none"}`)}, "cannot unmarshal"},
		{"a check of another type", plan.StepGuest, []string{begun, done(`{"checks":[{"verdict":1}]}`)}, "cannot unmarshal"},
		{"notes of another type", plan.StepGuest, []string{begun, done(`{"notes":{},"checks":[]}`)}, "cannot unmarshal"},
		{"a result that is none", plan.StepGuest, []string{begun, done(`[]`)}, "cannot unmarshal"},
		{"nested", plan.StepGuest, []string{begun, done(strings.Repeat("[", 20000) + strings.Repeat("]", 20000))}, "max depth"},
		{"a proof of another type", plan.StepProve, []string{begun, done(`{"saw":1}`)}, "cannot unmarshal"},
		{"a failed proof of another type", plan.StepProve, []string{begun, strings.Replace(done(`{"network":7}`), "done", "failed", 1)}, "cannot unmarshal"},
		{"a failed proof of huge times", plan.StepProve, []string{begun, strings.Replace(done(`{"network":[{"mac":"x","addresses":[{"address":"192.0.2.1","seconds":1e999}]}]}`), "done", "failed", 1)}, "cannot unmarshal"},
		{"a failed proof of no address", plan.StepProve, []string{begun, strings.Replace(done(`{"network":[{"addresses":[{"address":"/etc"}]}]}`), "done", "failed", 1)}, "ParseAddr"},
		{"a failed proof of nothing", plan.StepProve, []string{begun, `{"event":"failed","step":N}`}, "unexpected end of JSON"},
		{"a failed proof that is done", plan.StepProve, []string{begun, done(`{}`), strings.Replace(done(`{}`), "done", "failed", 1)}, "failed, and is done"},
		{"a failed step of another kind", plan.StepCopy, []string{begun, strings.Replace(done(`{}`), "done", "failed", 1)}, "doesn't say what it saw"},
		{"a failed step that hasn't begun", plan.StepProve, []string{strings.Replace(done(`{}`), "done", "failed", 1)}, "hasn't begun"},
		{"a claim of nothing", plan.StepCreate, []string{begun, claim(`null`)}, "a claim that names nothing"},
		{"a claim of no thing", plan.StepCreate, []string{begun, claim(`{}`)}, "a claim that names nothing"},
		{"a claim of others' kind", plan.StepCreate, []string{begun, claim(`{"bridge":"br0"}`)}, "a claim that names nothing"},
	} {
		if s, err := lied(t, tt.kind, tt.lines...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: State = %.300v, %.300v; want %q", tt.name, s.Phase, err, tt.want)
		}
	}
}

// TestExpectLies: a job on record whose proof would see less, or something that no
// proof can, is not carried out; it can be rolled back.
func TestExpectLies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ old, lie, want string }{
		{`"seconds":900`, `"seconds":9223372036854775807`, "want 900 to 86400"},
		{`"seconds":900`, `"seconds":-1`, "want 900 to 86400"},
		{`"untried":["`, `"untried":["x","`, "expect.untried"},
		{`"see":"activity","seconds":900`, `"see":"nothing","seconds":900`, "want login or activity"},
		{`"see":"activity"`, `"network":{"nics":[{"index":0,"mac":"x"}],"ports":[0]},"see":"activity"`, "knows no address"},
	} {
		w := converttest.New(t)
		j := w.Create()
		path := j.Path(journal.FileName)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(tt.old)) {
			t.Fatalf("no %s in %s", tt.old, b)
		}
		if err := os.WriteFile(path, bytes.Replace(b, []byte(tt.old), []byte(tt.lie), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		j = w.Open()
		if err := j.Job().Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v; want %q", tt.lie, err, tt.want)
		}
		if s, err := w.State().State("web"); err != nil || len(s.Commands()) == 0 {
			t.Errorf("%s: State = %v, %v; want it told, with a way back", tt.lie, s.Phase, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResultsPrinted: whatever a step's results hold, status prints text.
func TestResultsPrinted(t *testing.T) {
	t.Parallel()
	nasty := `\u001b[2J\u0000\u202e\r\nnext: rm -rf /`
	s, err := lied(t, plan.StepGuest, begun, `{"event":"done","step":N,"data":{"notes":["`+nasty+`","`+strings.Repeat("x", 1<<20)+`"],"checks":[{"device":"`+nasty+`","at":"`+nasty+`","content":"`+nasty+`","verdict":"`+nasty+`","said":"`+nasty+`"}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.States(&out, report.Form{}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x00\u202e\r") || strings.Contains(out.String(), "\nnext: ") {
		t.Errorf("States prints %.600q", out.String())
	}
	if out.Len() > 100<<10 {
		t.Errorf("States prints %d bytes", out.Len())
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
}

// TestManyNotes: of more notes than a terminal is good for some are printed, and how
// many more there are.
func TestManyNotes(t *testing.T) {
	t.Parallel()
	s, err := lied(t, plan.StepGuest, begun, `{"event":"done","step":N,"data":{"notes":["x"`+strings.Repeat(`,"x"`, 99_999)+`]}}`)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.States(&out, report.Form{}, []runs.State{s}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "note: "); n != 21 || !strings.Contains(out.String(), "note: and 99980 more (--output json)\n") {
		t.Errorf("%d notes in %.600s", n, out.String())
	}
}

// TestManySteps: a journal of many steps and records is read at once.
func TestManySteps(t *testing.T) {
	w := converttest.New(t)
	j := w.Create()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := j.Path(journal.FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := `"steps":[` + strings.Repeat(`{"kind":"recheck","text":""},`, 10000)
	b = bytes.Replace(b, []byte(`"steps":[`), []byte(more), 1)
	b = append(b, strings.Repeat(`{"event":"begin","step":0}`+"\n", 10000)...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	_, err = w.State().State("web")
	if d := time.Since(started); d > 10*time.Second {
		t.Errorf("State took %s, %.100v", d, err)
	}
}
