package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
		b := &bars{w: &out, every: plainEvery}
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
