package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/run"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// verifiedSource verifies both sides of the migration that is on record, and wants
// them the same, to the last byte of size. It returns how many blocks the guest's
// conversion wrote to.
func (l *lab) verifiedSource(size int64, flags ...string) (converted int64) {
	l.t.Helper()
	r := l.run(exitDone, slices.Concat(l.again("verify"), []string{"--source", "--output", "json"}, flags)...)
	var v run.Verification
	l.check(json.Unmarshal([]byte(r.out), &v))
	for _, d := range v.Disks {
		if d.Error != "" || d.Differs() || d.Volume.Bytes != size || d.Source == nil || d.Source.Bytes != size || len(d.Source.Changed) > 0 {
			l.t.Errorf("verify --source = %s", r.out)
			continue
		}
		converted += d.Volume.Converted
	}
	if len(v.Disks) == 0 {
		l.t.Errorf("verify --source has no disk: %s", r.out)
	}
	return converted
}

// TestVerifyEnded: a verification that is killed or interrupted leaves nothing, and
// takes nothing away; it can be repeated.
func TestVerifyEnded(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.run(exitDone, l.convert("--no-proof")...)
	journal, err := os.ReadFile(l.journal())
	l.check(err)
	before := prints(t, l.storage()) + prints(t, filepath.Join(filepath.Dir(l.journal()), "scsi0:0.digests"))
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		l.hold(l.vm)
		was := l.served()
		p := l.start(append(l.again("verify"), "--source")...)
		p.until("the reading", func() bool { return l.served() > was+1<<20 })
		if r := l.run(exitBusy, l.again("rollback")...); !strings.Contains(r.err, "another esxodus") {
			t.Errorf("rollback meanwhile says\n%s", r.err)
		}
		if sig == syscall.SIGKILL {
			p.kill()
		} else {
			p.signal(sig)
			if r := p.want(exitInterrupted); r.out != "" {
				t.Errorf("interrupted, it claims:\n%s", r.out)
			}
		}
		l.host.Faults().Clear()
	}
	if now, err := os.ReadFile(l.journal()); err != nil || !bytes.Equal(now, journal) {
		t.Errorf("the journal is another (%v):\n%s", err, now)
	}
	if after := prints(t, l.storage()) + prints(t, filepath.Join(filepath.Dir(l.journal()), "scsi0:0.digests")); after != before {
		t.Errorf("it left\n%s\nwhere there was\n%s", after, before)
	}
	l.verifiedSource(fixtures.SmallDisk)
	l.checkDone()
}

// TestVerifyLink: a source that breaks while it is read is read again, as in a copy;
// one that stays away is no difference.
func TestVerifyLink(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.run(exitDone, l.convert("--no-proof")...)
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Cut, Path: l.flat(), After: 300 << 10, Count: 3})
	l.verifiedSource(fixtures.SmallDisk)
	if hits := l.host.Faults().Hits(esxi.Cut); hits != 3 {
		t.Errorf("the connection broke %d times; want 3", hits)
	}
	l.host.Faults().Add(esxi.Fault{Kind: esxi.Status, Path: l.flat(), Code: 404})
	r := l.run(exitFailed, append(l.again("verify"), "--source")...)
	if !strings.Contains(r.out, "the volume is what was copied") || strings.Contains(r.out, "the source is") || !strings.Contains(unwrapped(r.out), "NOT COMPARED: source: ") {
		t.Errorf("without the source's file:\n%s", r.out)
	}
	l.check(flipBit(filepath.Join(l.storage(), l.vm+"_scsi0-0"), 1))
	l.run(exitDiffers, append(l.again("verify"), "--source")...)
}
