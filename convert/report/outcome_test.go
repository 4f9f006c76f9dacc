package report

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/run"
	"esxodus/convert/runs"
)

// afterwards is a night's outcome: four VMs that came to different ends.
func afterwards(end string) *Outcome {
	span := func(kind string, after, took time.Duration) run.Span {
		return run.Span{Kind: kind, Text: kind + " " + end, Begin: night().Add(after), Seconds: took.Seconds()}
	}
	spans := []run.Span{span("copy scsi0:0", 0, 10*time.Minute), span("prove", 11*time.Minute, time.Minute)}
	figures := []run.Figure{{What: "read from the source", Unit: "bytes", Predicted: gib, Actual: 1.5 * gib}, {What: "downtime", Unit: "seconds", Predicted: 600, Actual: 540}}
	made := []run.Artefact{{What: "volume web_scsi0-0", Where: "/dev/vg0/web_scsi0-0"}, {What: "domain web", Unknown: "libvirt doesn't answer"}}
	return &Outcome{
		VMs: []*run.Outcome{
			{Name: "web", VM: "web " + end, Phase: journal.PhaseCommitted, Figures: figures, Artefacts: made, Spans: spans, Answers: []string{"proof: login prompt " + end}},
			{Name: "db", VM: "データベース", Phase: runs.PhaseReady, InPlace: true, Figures: figures[:1], Artefacts: made[:1], Spans: []run.Span{span("cutover: start", 48*time.Minute, 2*time.Minute)}, Acknowledged: []string{"guest.left: known"}, Next: []string{"`esxodus commit db`", "`esxodus cutover --back db`"}},
			{Name: "dns", VM: "dns", Phase: runs.PhaseReady, Artefacts: []run.Artefact{{What: "domain dns", Differs: []string{"its XML was edited " + end}}}, Spans: spans[:1]},
			{Name: "mail", VM: "mail", Phase: journal.PhaseUnfinished, Error: "the host is gone " + end, Next: []string{"`esxodus resume mail`"}},
		},
		NotBegun: []string{"old " + end},
		Units:    []run.Artefact{{What: "unit 20-esxodus-eno1.42.netdev", Where: "/etc/systemd/network"}},
	}
}

// TestOutcomeOf holds what is made of outcomes: states, sums, differences, and places in
// time.
func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	v := OutcomeOf(afterwards(""), night())
	var states []string
	for _, vm := range v.VMs {
		states = append(states, vm.State+"/"+vm.Class)
	}
	if got, want := strings.Join(states, ", "), "committed/ready, in its VM's place/ready, ready, not as planned/blocked, unfinished/blocked"; got != want {
		t.Errorf("states %s; want %s", got, want)
	}
	if v.Differs != 1 || v.Took != 50*time.Minute || !v.Begun.Equal(night()) || len(v.States) != 4 {
		t.Errorf("%+v", v)
	}
	if s := v.Sums[0]; s.Planned != "2 GiB" || s.Actual != "3 GiB" || s.More != "+50 %" {
		t.Errorf("sum %+v", s)
	}
	if s := v.Sums[1]; s.Planned != "10m0s" || s.Actual != "9m0s" || s.More != "-10 %" {
		t.Errorf("sum %+v", s)
	}
	web, db, mail := v.VMs[0], v.VMs[1], v.VMs[3]
	if web.From != 0 || web.Wide != 240 || web.Took != 12*time.Minute || web.Spans[1].From != 916 || web.Spans[1].Wide != 83 || web.Spans[1].After != 11*time.Minute {
		t.Errorf("web %+v", web)
	}
	if db.From != 960 || db.Wide != 40 || db.Spans[0].Wide != 1000 || !mail.Begun.IsZero() || mail.Took != 0 {
		t.Errorf("db %+v, mail %+v", db, mail)
	}
	if empty := OutcomeOf(&Outcome{}, time.Time{}); empty.Took != 0 || len(empty.VMs) != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}

// TestOutcomes holds both renderings.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	v := OutcomeOf(afterwards(""), night())
	var text bytes.Buffer
	if err := Outcomes(&text, Form{}, v); err != nil {
		t.Fatal(err)
	}
	golden(t, "outcome.txt", text.String())
	golden(t, "outcome.html", outcomePage(t, v))
}

func outcomePage(t *testing.T, v OutcomeView) string {
	t.Helper()
	var out bytes.Buffer
	if err := OutcomeHTML(&out, Form{Complete: flagged}, v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestOutcomeHostile: whatever the texts are, all that they become is text.
func TestOutcomeHostile(t *testing.T) {
	t.Parallel()
	const harm = `"'><img src=https://evil.example/ onerror=boom()></script><script>boom()</script></style></title></svg>-->{{.}}` + "`" + evil + "\n\x00\xff"
	v := OutcomeOf(afterwards(""), night())
	spoiled(reflect.ValueOf(&v).Elem(), harm)
	page := outcomePage(t, v)
	if c := regexp.MustCompile(`[^\P{C}\n]`).FindString(page); c != "" {
		t.Errorf("a control character, %q, is in the page", c)
	}
	root := parsed(t, page)
	if n := strings.Count(text(root), `onerror=boom()></script><script>boom()`); n < 30 {
		t.Errorf("the text is seen %d times, want it seen at every place", n)
	}
	harmless(t, root)
}

// manyOutcomes is that of many VMs.
func manyOutcomes(n int) *Outcome {
	o := &Outcome{}
	for i := range n {
		one := *afterwards("").VMs[i%4]
		one.Name = fmt.Sprintf("web-%d", i)
		o.VMs = append(o.VMs, &one)
	}
	return o
}
