package main

import (
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/report"
	"esxodus/convert/runs"
)

// TestBatchOnTerminal: on a phone's terminal a batch has a line for each VM and one for
// all, none wider than it; and somebody who looks on from elsewhere sees the same, until
// it ends. Ctrl-C there ends the looking on alone.
func TestBatchOnTerminal(t *testing.T) {
	t.Parallel()
	vms := []string{uniqueName("b1"), uniqueName("b2")}
	l := newBatch(t, vms...)
	l.hold(vms[0])
	const columns = 40
	cmd := l.command("batch", "plan.yaml", "--yes", "--password-file", l.passwordFile(), "--stall", "5s")
	p := l.sitAt(cmd, columns)
	p.sees("at work")
	looker := l.start("watch", "--output", "json")
	looker.until("what it looks at", func() bool { return strings.Contains(looker.out.String(), `"what":"copy scsi0:0"`) })
	other := l.start("watch")
	other.until("what it looks at", func() bool { return strings.Contains(other.out.String(), vms[0]+": copy scsi0:0") })
	other.signal(syscall.SIGINT)
	other.want(exitDone)
	l.host.Faults().Clear()
	screen := p.leaves(cmd, exitDone)
	looker.want(exitDone)
	for _, vm := range vms {
		if s, err := runs.StateDir(l.state()).State(vm); err != nil || s.Phase != runs.PhaseUnseen {
			t.Errorf("%s: %+v, %v", vm, s.Phase, err)
		}
	}
	shown := terminalOf(strings.ReplaceAll(screen, "\r\n", "\n"))
	for line := range strings.Lines(shown) {
		if report.Width(strings.TrimSpace(line)) > columns && !strings.Contains(line, "--") && len(strings.Fields(line)) > 1 { // commands are pasted, and so not broken; nor are words
			t.Errorf("a line of %d columns: %q", report.Width(line), line)
		}
	}
	if !strings.Contains(screen, "2 done") {
		t.Errorf("the screen:\n%s", tail(screen))
	}
}
