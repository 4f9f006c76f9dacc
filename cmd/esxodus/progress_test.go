package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// TestProgressGoesOn: plain progress says so while nothing is done. The clock is
// the bubble's own.
func TestProgressGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(terminal{err: &out})
		add, end := p.Begin("web", "copy scsi0:0", 24<<20)
		add(4 << 20)
		time.Sleep(35 * time.Second) // of the bubble's time
		synctest.Wait()
		add(4 << 20)
		time.Sleep(time.Second)
		add(16 << 20)
		end()
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		want := []string{
			"web: copy scsi0:0 4 MiB of 24 MiB (16%), 409.6 KiB/s, 50s left, nothing new for 10s",
			"web: copy scsi0:0 4 MiB of 24 MiB (16%), 204.8 KiB/s, 1m40s left, nothing new for 20s",
			"web: copy scsi0:0 4 MiB of 24 MiB (16%), 136.5 KiB/s, 2m30s left, nothing new for 30s",
			"web: copy scsi0:0 24 MiB of 24 MiB (100%), 682.7 KiB/s",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("progress says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestBarGoesOn: a bar says so while nothing is done, and no longer once
// something is.
func TestBarGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &bars{w: &out, every: plainEvery, columns: 80}
		add, end := b.Begin("web", "copy scsi0:0", 24<<20)
		add(4 << 20)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if !strings.Contains(out.String(), "web: copy scsi0:0, idle 20s") {
			t.Errorf("the bar doesn't say that nothing comes:\n%q", out.String())
		}
		before := out.Len()
		time.Sleep(time.Second)
		add(20 << 20)
		end()
		if late := out.String()[before:]; !strings.Contains(late, "web: copy scsi0:0") || strings.Contains(late, "idle") {
			t.Errorf("the bar says after that:\n%q", late)
		}
	})
}

// TestBarFits: a bar is one line of the terminal, however long a VM's name is: of
// a broken one each drawing would leave a line. Where none fits, lines are written.
func TestBarFits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &bars{w: &out, every: time.Hour, columns: 80}
		add, end := b.Begin(strings.Repeat("long-", 12)+"name", "copy scsi0:15", 200<<30)
		time.Sleep(119 * time.Minute)
		add(30<<30 + 333<<20)
		end()
		for _, want := range []string{"long-long-lo…: copy scsi0:15 ", "…: copy scsi0:15, idle 1h0m0s "} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%q", want, out.String())
			}
		}
		for line := range strings.FieldsFuncSeq(out.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Fatalf("a line of %d columns: %q", n, line)
			}
		}
	})
	for columns, want := range map[uint16]string{0: "*main.lines", 40: "*main.lines", 80: "*main.bars"} {
		if got := fmt.Sprintf("%T", newProgress(terminal{err: tty(t, columns)})); got != want {
			t.Errorf("on a terminal of %d columns: %s; want %s", columns, got, want)
		}
	}
}

// tty is a terminal of a width, behind which nobody sits.
func tty(t *testing.T, columns uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return master
}
