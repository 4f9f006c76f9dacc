package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// behind starts a proxy in front of the lab's host and returns it, and a
// command's arguments with the proxy as the host.
func (l *lab) behind(args []string) (*esxi.Proxy, []string) {
	l.t.Helper()
	p, err := esxi.StartProxy(l.t.Context(), l.host)
	l.check(err)
	l.t.Cleanup(func() { _ = p.Close() })
	args = replaced(args, "--esxi", strings.Replace(p.URL(), "https://", "https://root@", 1))
	return p, replaced(args, "--thumbprint", p.Thumbprint())
}

// TestCopyBehindProxy copies through a proxy that spoils some answers: what is
// asked for again comes right, and the disk is the source's to the byte.
func TestCopyBehindProxy(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	proxy, args := l.behind(append([]string{"copy", "[datastore1] " + l.vm + "/small.vmdk", "p.raw", "--verify"}, l.login()...))
	kinds := []esxi.Kind{esxi.Prefixed, esxi.GzippedUntold, esxi.PrefixedCut, esxi.Chunked, esxi.OtherRange, esxi.Aged}
	for i, kind := range kinds {
		from := int64(i) * fixtures.SmallDisk / int64(len(kinds))
		proxy.Add(esxi.Fault{Kind: kind, Path: l.flat(), From: from + 1<<20, To: from + 2<<20, Count: 1})
	}
	l.run(exitDone, args...)
	for _, kind := range kinds {
		if proxy.Hits(kind) == 0 {
			t.Errorf("%s hit nothing", kind)
		}
	}
	l.sameDisk(l.flat(), filepath.Join(l.dir, "p.raw"))
}

// TestConvertBehindProxy converts through a proxy that spoils a block's every
// answer: the run stops and says why, also when it is resumed through it, and
// what it is resumed to without is the source's to the byte.
func TestConvertBehindProxy(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an answer that makes no sense is asked for again, for a minute")
	}
	l := newLab(t, esxi.Options{})
	proxy, args := l.behind(l.convert("--no-proof"))
	for i, kind := range []esxi.Kind{esxi.Prefixed, esxi.GzippedChunked} {
		proxy.Clear()
		proxy.Add(esxi.Fault{Kind: kind, Path: l.flat(), From: 8 << 20, To: 12 << 20})
		if i > 0 {
			args = l.again("resume")
		}
		r := l.run(exitStopped, args...)
		for _, want := range []string{"small-flat.vmdk, bytes 8388608 to 12582911", "gave up after 6 tries: unexpected answer", "reach the host without it", "esxodus resume " + l.vm} {
			if !strings.Contains(r.err, want) {
				t.Errorf("%s: stderr does not contain %q:\n%s", kind, want, r.err)
			}
		}
		if len(l.domains(l.vm)) > 0 {
			t.Errorf("%s: a domain was defined", kind)
		}
	}
	proxy.Clear()
	l.run(exitDone, l.again("resume")...)
	l.checkDone()
}

// TestOtherFileOnResume has a disk's file change while a run is stopped, to one
// of the same size, of which the API tells nothing.
func TestOtherFileOnResume(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.fault(esxi.Fault{Kind: esxi.Status, Code: 404, From: 8 << 20, To: 12 << 20})
	l.run(exitStopped, l.convert("--no-proof")...)
	l.host.Faults().Clear()
	f, err := l.host.Open(l.flat())
	l.check(err)
	data := make([]byte, fixtures.SmallDisk)
	_, err = f.ReadAt(data, 0)
	l.check(err)
	l.check(f.Close())
	data[16<<20]++
	l.check(l.host.Faults().ReplaceFile(l.flat(), data, fixtures.SmallDisk))
	r := l.run(exitStopped, l.again("resume")...)
	if !strings.Contains(r.err, "small-flat.vmdk") || !strings.Contains(r.err, "has changed since this run began") {
		t.Errorf("stderr:\n%s", r.err)
	}
	if len(l.domains(l.vm)) > 0 {
		t.Error("a domain was defined of two states of a disk")
	}
	if _, err := os.Stat(l.disk()); err != nil {
		t.Errorf("what was copied: %v", err)
	}
	l.run(exitDone, l.again("rollback")...)
	l.checkGone()
}
