package report

import (
	"strings"
	"testing"

	"esxodus/convert/runs"
)

func board() *Board {
	const gib = 1 << 30
	return &Board{Rows: []Row{
		{Name: "db", Done: true, What: "ready", Total: 20 * gib},
		{Name: "データベース-with-a-long-name", What: "copy scsi0:0", Pace: &runs.Pace{What: "copy scsi0:0", Done: 5 * gib, Total: 10 * gib, Rate: 100 << 20}, Copied: 5 * gib, Total: 10 * gib},
		{Name: "web", What: "convert the guest in an isolated appliance, on overlays: 12 edits", Total: 10 * gib},
		{Name: "bad\x1b[2J", Done: true, Failed: true, What: "ESXi is away", Total: 99 * gib},
		{Name: "later", Total: 60 * gib},
	}}
}

// TestBoard: no line is wider than the terminal, nothing writes to it, and all that there
// is to know stands there.
func TestBoard(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{40, 80, 200} {
		lines := board().Lines(columns)
		text := strings.Join(lines, "\n")
		for _, l := range lines {
			if Width(l) > columns {
				t.Errorf("%d columns: %q has %d", columns, l, Width(l))
			}
		}
		for _, want := range []string{"50% 100 MiB/s 51s", "FAILED: ESXi is away", "ready", "waits", "25% of 100 GiB"} {
			if !strings.Contains(text, want) {
				t.Errorf("%d columns: no %q in\n%s", columns, want, text)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("a name writes to the terminal: %q", text)
		}
	}
	if last := board().Lines(200)[5]; last != "[#####...............] 25% of 100 GiB; 1 done, 2 at work, 1 to come, 1 failed; 100 MiB/s, 12m48s left" {
		t.Errorf("all: %s", last)
	}
}

// TestBoardRoom: where there isn't room for all, those at work stay.
func TestBoardRoom(t *testing.T) {
	t.Parallel()
	b := board()
	b.Most = 5
	lines := b.Lines(80)
	text := strings.Join(lines, "\n")
	if len(lines) != 5 || !strings.Contains(text, "… and 2 more") || !strings.Contains(text, "web") || !strings.Contains(text, "FAILED") || strings.Contains(text, "later") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
}
