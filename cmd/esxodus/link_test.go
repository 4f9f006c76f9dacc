package main

import (
	"crypto/tls"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestBadLink copies over links that break, stall and come back: the disk is
// whole, and nothing is asked of the admin.
func TestBadLink(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		kind  esxi.Kind // that must have hit
		spoil func(*lab)
		slow  bool // takes more than some seconds, by waiting
	}{
		{name: "cut", kind: esxi.Cut, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Cut, After: 1 << 20, From: 8 << 20, To: 16 << 20, Count: 2})
		}},
		{name: "refused", kind: esxi.Refuse, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Refuse, From: 8 << 20, To: 24 << 20, Count: 3})
		}},
		{name: "promised more than came", kind: esxi.WrongLength, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Cut, After: 12345, From: 1 << 20, To: 8 << 20, Count: 1})
			l.fault(esxi.Fault{Kind: esxi.WrongLength, After: 1, From: 8 << 20, To: 12 << 20, Count: 1})
		}},
		{name: "stalled", kind: esxi.Stall, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Stall, After: 100_000, From: 8 << 20, To: 16 << 20, Count: 2})
		}},
		{name: "stalled before the first byte", kind: esxi.Stall, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Stall, From: 16 << 20, To: 24 << 20, Count: 1})
		}},
		{name: "busy", kind: esxi.Status, slow: true, spoil: func(l *lab) {
			l.fault(esxi.Fault{Kind: esxi.Status, Code: 503, From: 8 << 20, To: 24 << 20, Count: 3})
		}},
		{name: "session expired", spoil: func(l *lab) { l.host.Faults().ExpireSessionsAfter(8) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for as long as a busy host asks")
			}
			l := newLab(t, esxi.Options{})
			tt.spoil(l)
			r := l.run(exitDone, l.convert(append(shortStall(), "--no-proof")...)...)
			if tt.kind != "" && l.host.Faults().Hits(tt.kind) == 0 {
				t.Error("the fault hit nothing")
			}
			if tt.kind == "" && l.host.Stats().SOAP["Login"] < 2 {
				t.Error("no second login")
			}
			if strings.Contains(r.err, "level=") {
				t.Errorf("stderr has log lines without --verbose:\n%s", r.err)
			}
			l.checkDone()
		})
	}
}

// fault arms a fault on the small guest's data.
func (l *lab) fault(f esxi.Fault) {
	f.Path = l.flat()
	l.host.Faults().Add(f)
}

// TestLyingHost has the host (or what stands before it) answer wrongly: the
// run stops and says why, and goes on once the answers are right.
func TestLyingHost(t *testing.T) {
	t.Parallel()
	const from, to = 8 << 20, 12 << 20
	tests := []struct {
		name  string
		fault esxi.Fault
		want  string
	}{
		{"whole file instead of a range", esxi.Fault{Kind: esxi.IgnoreRange}, "ignores Range"},
		{"another range", esxi.Fault{Kind: esxi.WrongRange, After: 512}, "Content-Range"},
		{"no Content-Range", esxi.Fault{Kind: esxi.MissingRange}, "Content-Range"},
		{"more bytes than asked", esxi.Fault{Kind: esxi.ExtraBytes, After: 512}, "Content-"},
		{"the file changes", esxi.Fault{Kind: esxi.Changed}, "file changed while it was read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("an answer that makes no sense is asked for again, for a minute")
			}
			l := newLab(t, esxi.Options{})
			tt.fault.From, tt.fault.To = from, to
			l.fault(tt.fault)
			r := l.run(exitStopped, l.convert("--no-proof")...)
			for _, want := range []string{tt.want, "small-flat.vmdk", "esxodus resume " + l.vm, "esxodus rollback " + l.vm} {
				if !strings.Contains(r.err, want) {
					t.Errorf("stderr does not contain %q:\n%s", want, r.err)
				}
			}
			l.host.Faults().Clear()
			l.run(exitDone, l.again("resume")...)
			l.checkDone()
		})
	}
}

// TestShortExtent has a flat file that is shorter than its descriptor says:
// nothing is made of it.
func TestShortExtent(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	if err := l.host.Faults().ReplaceFile(l.flat(), make([]byte, 1<<20), fixtures.SmallDisk-512); err != nil {
		t.Fatal(err)
	}
	r := l.run(exitPreflight, l.convert("--no-proof")...)
	if !strings.Contains(r.err, "disk.unreadable") || !strings.Contains(r.err, "small-flat.vmdk has 25165312 bytes, the descriptor says 25165824") {
		t.Errorf("stderr:\n%s", r.err)
	}
	l.noDisks()
	if got := l.events(); len(got) > 0 {
		t.Errorf("journal = %q, want none", got)
	}
}

// TestHostDies ends the host in mid-copy for good: the run stops with what it
// has. The host comes back, and the run goes on.
func TestHostDies(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a host that is away is called for a minute")
	}
	web := httptest.NewTLSServer(nil)
	web.Close()
	l := newLab(t, esxi.Options{TLS: &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}})
	l.hold(l.vm)
	p := l.start(l.convert("--no-proof", "--patience", "0s")...)
	p.until("the copy", func() bool { return l.lines() >= records("begin copy") })
	served := l.served()
	p.until("some of it", func() bool { return l.served() > served })
	if err := l.host.Close(); err != nil {
		t.Fatal(err)
	}
	r := p.want(exitStopped)
	for _, want := range []string{"stopped; nothing is lost", "gave up after", "hint: use `esxodus resume " + l.vm} {
		if !strings.Contains(r.err, want) {
			t.Errorf("stderr does not contain %q:\n%s", want, r.err)
		}
	}
	if s := l.status(); s.Phase != journal.PhaseUnfinished || s.Error == "" {
		t.Errorf("status = %+v, want unfinished with an error", s)
	}
	l.startHost()
	l.run(exitDone, l.again("resume")...)
	l.checkDone()
}

// TestPatience: a host that goes away in a copy, and comes back, is waited for.
func TestPatience(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil)
	web.Close()
	l := newLab(t, esxi.Options{TLS: &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}})
	l.hold(l.vm)
	p := l.start(l.convert("--no-proof")...)
	p.until("the copy", func() bool { return l.lines() >= records("begin copy") })
	served := l.served()
	p.until("some of it", func() bool { return l.served() > served })
	if err := l.host.Close(); err != nil {
		t.Fatal(err)
	}
	p.until("the waiting", func() bool { return strings.Contains(p.err.String(), "can't be reached: waiting for it until") })
	l.startHost()
	if r := p.want(exitDone); !strings.Contains(r.err, "can be reached again, after") {
		t.Errorf("stderr:\n%s", tail(r.err))
	}
	l.checkDone()
}

// TestPoweredOnBehindOurBack starts the VM after the plan was made, or while
// the copy runs.
func TestPoweredOnBehindOurBack(t *testing.T) {
	t.Parallel()
	t.Run("after the plan", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, esxi.Options{})
		l.run(exitDone, l.plan(l.vm, "--no-proof", "-o", "plan.yaml")...)
		l.host.SetPower(l.vm, true)
		batch := []string{"batch", "plan.yaml", "--yes", "--password-file", l.passwordFile()}
		r := l.run(exitSome, batch...)
		if !strings.Contains(r.out, "poweredOn: its disks change under the copy; shut it down") {
			t.Errorf("stdout:\n%s", r.out)
		}
		l.checkGone()
		l.host.SetPower(l.vm, false)
		l.run(exitDone, batch...)
		l.checkDone()
	})
	t.Run("in mid-copy", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, esxi.Options{})
		l.hold(l.vm)
		p := l.start(l.convert(append(shortStall(), "--no-proof")...)...)
		p.until("the copy", func() bool { return l.lines() >= records("begin copy") })
		l.host.SetPower(l.vm, true)
		r := p.wait()
		if r.code != exitStopped || !strings.Contains(r.err, "powered on or suspended and uses it; shut the VM down first") {
			t.Errorf("exit code %d:\n%s", r.code, r.err)
		}
		if len(l.domains(l.vm)) > 0 {
			t.Error("a domain was defined of a disk that changed")
		}
		r = l.run(exitStopped, l.again("resume")...) // what was copied stays until the admin decides
		if !strings.Contains(r.err, "its disks change under the copy") {
			t.Errorf("resume says:\n%s", r.err)
		}
		l.run(exitDone, l.again("rollback")...)
		l.checkGone()
	})
}

// TestCertificate refuses what is not the host that the admin pinned, before
// the password is sent; a pin goes before an expiry date.
func TestCertificate(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{ExpiredCert: true})
	pinned := l.convert("--no-proof")
	unpinned := replaced(pinned, "--thumbprint", "")
	wrong := replaced(pinned, "--thumbprint", strings.Repeat("AB:", 31)+"AB")
	for name, args := range map[string][]string{"no pin": unpinned, "wrong pin": wrong} {
		r := l.run(exitFailed, args...)
		if !strings.Contains(r.err, l.host.Thumbprint()) || !strings.Contains(r.err, "--thumbprint") {
			t.Errorf("%s: stderr names neither the thumbprint nor the flag:\n%s", name, r.err)
		}
	}
	if n := l.host.Stats().SOAP["Login"]; n > 0 {
		t.Errorf("%d logins to a host that is not trusted", n)
	}
	l.noDisks()
	l.run(exitDone, pinned...)
	l.checkDone()
}

// TestWrongPassword makes nothing, asks the host once, and says no password.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	if err := os.WriteFile(l.passwordFile(), []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.run(exitFailed, l.convert("--verbose")...)
	if !strings.Contains(r.err, "login refused") || strings.Contains(r.err, "swordfish") {
		t.Errorf("stderr:\n%s", r.err)
	}
	if n := l.host.Stats().SOAP["Login"]; n != 1 {
		t.Errorf("%d logins were tried; the host locks the account after 5", n)
	}
	l.noDisks()
}

// replaced is args with another value for a flag, or without it where value
// is "".
func replaced(args []string, flag, value string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] != flag:
			out = append(out, args[i])
		case value == "":
			i++
		default:
			out = append(out, flag, value)
			i++
		}
	}
	return out
}
