package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// fullRun are the journal's records of a whole migration of one disk.
func fullRun() []string {
	return []string{
		"plan", "begin recheck", "done recheck", "begin create", "claim create", "done create", "begin unused", "done unused",
		"begin copy", "done copy", "begin recheck", "done recheck", "begin verify", "done verify", "begin define", "done define", "begin prove", "done prove",
	}
}

// records is how many the journal of a whole migration has when one of a name is
// written for the first time.
func records(name string) int { return slices.Index(fullRun(), name) + 1 }

// TestKillAtEachRecord kills the program after each record of its journal. A
// resume ends in the same disk and domain, and a rollback after that, or
// instead of it, leaves nothing. Here the two take turns; on the rung "boot" each
// record has both.
func TestKillAtEachRecord(t *testing.T) {
	t.Parallel()
	for i, name := range fullRun() {
		for turn, way := range []string{"resume", "rollback"} {
			t.Run(fmt.Sprintf("%02d %s, %s", i+1, name, way), func(t *testing.T) {
				t.Parallel()
				if i%2 != turn {
					fixtures.Rung(t, "boot")
				}
				l := newLab(t, esxi.Options{})
				l.killAfter(i+1, name)
				if way == "resume" {
					l.run(exitDone, l.again("resume")...)
					l.checkDone()
				}
				l.run(exitDone, l.again("rollback")...)
				l.checkGone()
			})
		}
	}
}

// killAfter starts a migration and kills it once the journal has n records,
// of which the last is called name.
func (l *lab) killAfter(n int, name string) {
	l.t.Helper()
	args := l.convert()
	if !strings.HasSuffix(name, "prove") {
		args = append(args, "--no-proof")
	}
	if n <= records("begin copy") { // so that there is something to kill
		l.host.Faults().Slow(4 << 20)
		l.hold(l.vm)
	}
	p := l.start(args...)
	p.until(fmt.Sprintf("record %d (%s)", n, name), func() bool { return l.lines() >= n })
	p.signal(syscall.SIGKILL)
	p.wait()
	l.host.Faults().Clear()
	events := l.events()
	if len(events) < n || events[n-1] != name {
		l.t.Fatalf("journal = %q, want %q as number %d", events, name, n)
	}
	if last := len(events); last > n+1 && n < len(fullRun())-2 {
		l.t.Logf("killed late: after %q", events[last-1])
	}
}

// TestOneStepALife kills the program again and again, each time when it has
// got a little further, until it is done. On a machine that is slow to see how
// far it has got it is killed less often, and has to do it again.
func TestOneStepALife(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	const enough, most = 4, 20
	kills := 0
	for round := 1; kills < enough; round++ {
		if round > most {
			t.Fatalf("killed %d times in %d rounds: it was hardly ever killed", kills, most)
		}
		if err := os.RemoveAll(filepath.Dir(l.journal())); err != nil { // of the round before
			t.Fatal(err)
		}
		kills += l.livesOfOneStep() - 1
		l.checkDone()
		l.run(exitDone, l.again("rollback")...)
		l.checkGone()
	}
}

// livesOfOneStep migrates, and returns in how many lives.
func (l *lab) livesOfOneStep() int {
	t := l.t
	t.Helper()
	p := l.start(l.convert()...)
	lives := 1
	for have := 0; ; lives++ {
		p.until("an event that wasn't before, or the end", func() bool {
			select {
			case <-p.done:
				return true
			default:
				return l.kinds() > have
			}
		})
		p.signal(syscall.SIGKILL)
		if r := p.wait(); r.signal == 0 {
			if r.code != exitDone {
				t.Fatalf("life %d: exit code %d:\n%s", lives, r.code, r.err)
			}
			break
		}
		if lives > 40 {
			t.Fatalf("no end; journal: %q", l.events())
		}
		have = l.kinds()
		p = l.start(l.again("resume")...)
	}
	t.Logf("%d lives: %q", lives, l.events())
	return lives
}

// kinds counts the different events of the journal.
func (l *lab) kinds() int {
	events := l.events()
	slices.Sort(events)
	return len(slices.Compact(events))
}

// TestKillInMidCopy kills a slow copy when so many bytes were sent.
func TestKillInMidCopy(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{1, 5 << 20, 14 << 20, 20 << 20} {
		t.Run(fmt.Sprintf("%d bytes", at), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			l.host.Faults().Slow(4 << 20)
			l.hold(l.vm)
			p := l.start(l.convert("--no-proof")...)
			start := int64(0) // what the plan has read
			p.until("the copy", func() bool {
				served := l.served()
				begun := l.lines() >= records("begin copy")
				if !begun {
					start = served
				}
				return begun
			})
			p.until("so much of it", func() bool { return l.served()-start >= at })
			p.kill()
			if s := l.status(); s.Phase != journal.PhaseUnfinished || s.Running || !strings.Contains(s.Step, "copy") {
				t.Errorf("status = %+v, want unfinished at the copy", s)
			}
			l.host.Faults().Clear()
			l.run(exitDone, l.again("resume")...)
			l.checkDone()
		})
	}
}

// TestResumeReadsOnlyTheRest kills a copy after a checkpoint, which comes
// every five seconds: what was on stable storage then isn't read again.
func TestResumeReadsOnlyTheRest(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.hold(l.vm)
	p := l.start(l.convert("--no-proof")...)
	p.until("a checkpoint", func() bool { return l.checkpointed() >= 4 }) // of six blocks
	p.kill()
	l.host.Faults().Clear()
	before := l.served()
	l.run(exitDone, l.again("resume")...)
	if again := l.served() - before; again > fixtures.SmallDisk/2 {
		t.Errorf("resume read %d bytes of %d again", again, fixtures.SmallDisk)
	}
	l.checkDone()
}

// checkpointed counts the blocks that the run's digests say are on stable
// storage.
func (l *lab) checkpointed() int {
	const header, size = 4096, 32
	n := 0
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(l.journal()), "*.digests"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil || len(b) < header {
			continue // not there yet
		}
		for sum := range slices.Chunk(b[header:], size) {
			if len(bytes.Trim(sum, "\x00")) > 0 {
				n++
			}
		}
	}
	return n
}

// TestKillInMidProof kills the program while the transient copy runs.
func TestKillInMidProof(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"resume", "rollback"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			if way == "rollback" {
				l.neverUp()
			}
			p := l.start(l.convert()...)
			p.until("the proof's domain", func() bool {
				return l.lines() >= records("begin prove") && len(l.domains(l.vm+"-proof-")) == 1
			})
			p.kill()
			l.run(exitDone, l.again(way)...)
			if way == "rollback" {
				l.checkGone()
				return
			}
			l.checkDone()
			if s := l.statusCommand(); !strings.Contains(s.Proof, "login prompt") {
				t.Errorf("proof = %q, want the login prompt", s.Proof)
			}
		})
	}
}

// TestKillInMidRollback kills a rollback after each of its records; another
// one ends it.
func TestKillInMidRollback(t *testing.T) {
	t.Parallel()
	done := records("done define")
	for n := range 9 {
		t.Run(fmt.Sprintf("after %d records", n), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			l.run(exitDone, l.convert("--no-proof")...)
			if got := l.lines(); got != done {
				t.Fatalf("journal has %d records, want %d: %q", got, done, l.events())
			}
			p := l.start(l.again("rollback")...)
			p.until("records of the rollback", func() bool { return l.lines() >= done+n })
			p.signal(syscall.SIGKILL)
			p.wait()
			if s := l.status(); s.Phase != journal.PhaseRolledBack {
				l.run(exitDone, l.again("rollback")...)
			}
			l.checkGone()
			if r := l.run(exitDone, l.again("rollback")...); !strings.Contains(r.err, "nothing is left to roll back") {
				t.Errorf("rollback of what was rolled back says:\n%s", r.err)
			}
		})
	}
}

// TestInterrupt sends the signals that a person or systemd sends: everything
// is undone, and said so.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	at := map[string]int{"the plan": 1, "create": records("claim create"), "mid-copy": records("begin copy"), "proof": records("begin prove")}
	for where, n := range at {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(where+" "+sig.String(), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, esxi.Options{})
				if where == "proof" {
					l.neverUp()
				} else {
					l.host.Faults().Slow(2 << 20)
					l.hold(l.vm)
				}
				p := l.start(l.convert()...)
				p.until(where, func() bool { return l.lines() >= n })
				if where == "mid-copy" {
					served := l.served()
					p.until("some of the copy", func() bool { return l.served() > served })
				}
				p.signal(sig)
				begin := time.Now()
				r := p.want(exitInterrupted)
				if took := time.Since(begin); took > 5*time.Minute { // the copy and the proof would go on for longer
					t.Errorf("the undoing took %v", took)
				}
				if !strings.Contains(r.err, "was removed") {
					t.Errorf("stderr does not say that everything is undone:\n%s", r.err)
				}
				if r.out != "" {
					t.Errorf("stdout = %q, want nothing", r.out)
				}
				l.checkGone()
			})
		}
	}
}

// neverUp gives the small guest a boot sector that comes to no login prompt.
func (l *lab) neverUp() {
	l.t.Helper()
	l.check(l.host.Faults().ReplaceFile(l.flat(), fixtures.BootSector("still booting"), fixtures.SmallDisk))
}

// TestInterruptBeforeAnything interrupts the reading of the inventory: there
// is nothing to undo.
func TestInterruptBeforeAnything(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.Faults().SOAPStall("RetrievePropertiesEx", 0, 0, 0)
	p := l.start(l.convert()...)
	p.until("the login", func() bool { return l.host.Stats().SOAP["Login"] > 0 })
	time.Sleep(200 * time.Millisecond) // it reads by then; if not, it is interrupted earlier
	p.signal(syscall.SIGINT)
	r := p.want(exitInterrupted)
	if !strings.Contains(r.err, "interrupt") || strings.Contains(r.err, "goroutine") || strings.Count(r.err, "\n") > 3 {
		t.Errorf("stderr:\n%s", r.err)
	}
	l.noDisks()
	l.host.Faults().Clear()
	l.run(exitDone, l.convert("--no-proof")...)
	l.checkDone()
}

// interrupted starts a conversion whose end is held up, has signals sent to it in
// its copy, and wants all of it undone. It asks again where send says that it was
// too slow for what it means to show.
func interrupted(t *testing.T, send func(l *lab, p *process, copying int) bool) {
	t.Helper()
	const tries = 10
	copying := records("begin copy")
	for range tries {
		l := newLab(t, esxi.Options{})
		l.hold(l.vm)
		l.host.Faults().SOAPStall("Logout", 0, 0, 0) // the end waits for it
		p := l.start(l.convert()...)
		p.until("the copy", func() bool { return l.lines() >= copying })
		inTime := send(l, p, copying)
		l.host.Faults().Clear()
		if !inTime {
			p.wait()
			continue
		}
		p.want(exitInterrupted)
		l.checkGone()
		return
	}
	t.Errorf("this machine was too slow %d times", tries)
}

// TestSecondTermUndoes: a second SIGTERM, which timeout(1) sends right after the
// first, leaves the undoing to its end.
func TestSecondTermUndoes(t *testing.T) {
	t.Parallel()
	interrupted(t, func(l *lab, p *process, copying int) bool {
		p.signal(syscall.SIGTERM)
		p.until("the undoing", func() bool { return l.lines() > copying })
		p.signal(syscall.SIGTERM)
		return true
	})
}

// TestTwinInterrupt: SIGINT several times at once, as timeout(1) sends it, is one
// Ctrl-C.
func TestTwinInterrupt(t *testing.T) {
	t.Parallel()
	interrupted(t, func(_ *lab, p *process, _ int) bool {
		begin := time.Now()
		for range 10 {
			p.signal(syscall.SIGINT)
			time.Sleep(5 * time.Millisecond) // those that are still pending become one
		}
		return time.Since(begin) < time.Second // else they may count as two
	})
}

// TestSecondInterruptKills holds up the end of an interrupted run: a second
// Ctrl-C doesn't wait for it. What is left then can be rolled back.
func TestSecondInterruptKills(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.hold(l.vm)
	l.host.Faults().SOAPStall("Logout", 0, 0, 0)
	p := l.start(l.convert()...)
	copying := records("begin copy") // it is held, so that only an interrupt adds one
	p.until("the copy", func() bool { return l.lines() >= copying })
	p.signal(syscall.SIGINT)
	p.until("the undoing", func() bool { return l.lines() > copying })
	for ended := false; !ended; {
		p.signal(syscall.SIGINT)
		select {
		case <-p.done:
			ended = true
		case <-time.After(200 * time.Millisecond):
		}
	}
	// By itself it ends as well, when it has waited long enough for the logout.
	if r := p.wait(); r.signal != syscall.SIGINT {
		t.Errorf("ended by signal %v, code %d; want by SIGINT", r.signal, r.code)
	}
	l.host.Faults().Clear()
	if s := l.status(); s.Phase != journal.PhaseRolledBack {
		l.run(exitDone, l.again("rollback")...)
	}
	l.checkGone()
}
