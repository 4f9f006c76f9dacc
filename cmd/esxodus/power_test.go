package main

import (
	"bytes"
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

// ssh are the flags that lead to the host's SSH.
func (l *lab) ssh() []string {
	return []string{"--ssh", l.host.SSHAddr(), "--ssh-fingerprint", fixtures.Fingerprint(l.host.SSHHostKey())}
}

// TestPoweredOnIsRefused names the three ways on, and makes nothing.
func TestPoweredOnIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.SetPower(l.vm, true)
	r := l.run(exitPreflight, l.convert()...)
	for _, want := range []string{"power.on", "shut it down by hand (on ESXi's shell: `vim-cmd vmsvc/power.shutdown ", "--shutdown ssh", "warm migration"} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
		}
	}
	l.noDisks()
	l.untouched()
	if got := l.host.Power(l.vm); got != "poweredOn" {
		t.Errorf("the VM is %s", got)
	}
}

// TestShutdown lets the program shut the VM down, by the roads that there are,
// and power it on again by a rollback.
func TestShutdown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, road string
		licensed   bool
		overSSH    bool
	}{
		{name: "ssh on the free licence", road: "ssh", overSSH: true},
		{name: "auto on the free licence", road: "auto", overSSH: true},
		{name: "api with a licence", road: "api", licensed: true},
		{name: "auto with a licence", road: "auto", licensed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{Licensed: tt.licensed})
			l.host.SetPower(l.vm, true)
			l.run(exitDone, l.convert(slices.Concat(l.ssh(), []string{"--shutdown", tt.road, "--no-proof"})...)...)
			if got := l.host.Power(l.vm); got != "poweredOff" {
				t.Errorf("after convert the VM is %s", got)
			}
			l.sameDisk(l.flat(), l.disk())
			l.run(exitDone, slices.Concat(l.again("rollback"), l.ssh())...)
			if got := l.host.Power(l.vm); got != "poweredOn" {
				t.Errorf("after rollback the VM is %s", got)
			}
			l.noDisks()
			l.onlyPower(tt.overSSH)
		})
	}
}

// onlyPower wants that the host was asked for a shutdown and a power on, once
// each, and for no other change.
func (l *lab) onlyPower(overSSH bool) {
	l.t.Helper()
	s := l.host.Stats()
	asked := s.Changes
	if overSSH {
		if len(s.Changes) > 0 {
			l.t.Errorf("changes over the API = %v, want none", s.Changes)
		}
		asked = map[string]int{}
		for _, c := range s.SSHCommands {
			if !strings.Contains(c, "power.getstate") {
				asked[c]++
			}
		}
	}
	if len(s.Refused) > 0 || s.WriteAttempts > 0 || len(asked) != 2 {
		l.t.Errorf("asked of the host: %v, refused %v; want a shutdown and a power on", asked, s.Refused)
	}
	for what, n := range asked {
		known := slices.ContainsFunc([]string{"ShutdownGuest", "PowerOnVM_Task", "power.shutdown", "power.on"}, func(k string) bool { return strings.Contains(what, k) })
		if n != 1 || !known {
			l.t.Errorf("asked of the host %d times: %s", n, what)
		}
	}
}

// TestShutdownRefused asks for what can't be: the VM runs on, and nothing is
// left on the target.
func TestShutdownRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, vm, road string
		licensed       bool
		want           string
	}{
		{name: "api on the free licence", road: "api", want: "ssh"},
		{name: "no Tools, over SSH", vm: "running-no-tools", road: "ssh", want: "Tools"},
		{name: "no Tools, through the API", vm: "running-no-tools", road: "api", licensed: true, want: "Tools"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{Licensed: tt.licensed, Builtin: true})
			args := l.convert(slices.Concat(l.ssh(), []string{"--shutdown", tt.road, "--no-proof", "--network", "Isolated=none"})...)
			vm := l.vm
			if tt.vm != "" {
				vm = tt.vm
				args[slices.Index(args, l.vm)] = vm
			}
			l.host.SetPower(vm, true)
			r := l.start(args...).wait()
			if r.code != exitFailed && r.code != exitPreflight {
				t.Fatalf("exit code %d:\n%s", r.code, tail(r.err))
			}
			last := r.err[strings.LastIndex(r.err, "esxodus: "):]
			t.Logf("exit code %d, %s", r.code, last)
			if !strings.Contains(last, tt.want) || !strings.Contains(last, "hint: ") {
				t.Errorf("the error does not say %q and what to do:\n%s", tt.want, last)
			}
			if got := l.host.Power(vm); got != "poweredOn" {
				t.Errorf("the VM is %s", got)
			}
			l.noDisks()
		})
	}
}

// withoutTools is a lab with a guest that has no VMware Tools.
func withoutTools(t *testing.T, o esxi.Options) *lab {
	t.Helper()
	name := uniqueName("p")
	o.Dir = fixtures.OpenDir(t)
	spec := filepath.Join(o.Dir, name, "vm.json")
	err := fixtures.SmallGuest(filepath.Dir(spec), name)
	var b []byte
	if err == nil {
		b, err = os.ReadFile(spec)
	}
	without := bytes.Replace(b, []byte(`,"tools":{}`), nil, 1)
	if err != nil || len(without) == len(b) {
		t.Fatalf("%v, or %s has no Tools anyway", err, b)
	}
	if err := os.WriteFile(spec, without, 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, o)
	l.vm = name
	t.Cleanup(func() { l.forget(name) })
	return l
}

// TestPowerOff cuts the power of a VM without Tools, by both roads, as the plan said; and
// powers it on again.
func TestPowerOff(t *testing.T) {
	t.Parallel()
	for road, licensed := range map[string]bool{"ssh": false, "api": true} {
		t.Run(road, func(t *testing.T) {
			t.Parallel()
			l := withoutTools(t, esxi.Options{Licensed: licensed})
			l.host.SetPower(l.vm, true)
			r := l.run(exitDone, l.convert(slices.Concat(l.ssh(), []string{"--shutdown", road, "--power-off", "10m", "--no-proof"})...)...)
			for _, want := range []string{"power.cut", "its power is cut at once", "where it isn't off 10m0s later, or can't be asked, cut its power"} {
				if !strings.Contains(unwrapped(r.err), want) {
					t.Errorf("the plan doesn't say %q:\n%s", want, r.err)
				}
			}
			if got := l.host.Power(l.vm); got != "poweredOff" {
				t.Errorf("the VM is %s", got)
			}
			if r := l.run(exitDone, "status", l.vm); !strings.Contains(unwrapped(r.out), "its power was cut: ") {
				t.Errorf("status:\n%s", r.out)
			}
			l.run(exitDone, slices.Concat(l.again("rollback"), l.ssh())...)
			if got := l.host.Power(l.vm); got != "poweredOn" {
				t.Errorf("after the rollback the VM is %s", got)
			}
		})
	}
}

// TestInterruptedShutdown is interrupted while the guest shuts down: the VM
// runs again after.
func TestInterruptedShutdown(t *testing.T) {
	t.Parallel()
	for _, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(how.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{ShutdownDelay: 2 * time.Second})
			l.host.SetPower(l.vm, true)
			l.hold(l.vm)
			p := l.start(l.convert(slices.Concat(l.ssh(), []string{"--shutdown", "ssh", "--no-proof"})...)...)
			p.until("the shutdown", func() bool {
				return slices.ContainsFunc(l.host.Stats().SSHCommands, func(c string) bool { return strings.Contains(c, "power.shutdown") })
			})
			p.signal(how)
			r := p.wait()
			if how == syscall.SIGKILL {
				l.run(exitDone, slices.Concat(l.again("rollback"), l.ssh())...)
			} else if r.code != exitInterrupted {
				t.Errorf("exit code %d:\n%s", r.code, tail(r.err))
			}
			l.host.Settle() // the guest's own shutdown, had it not been waited for
			if got := l.host.Power(l.vm); got != "poweredOn" {
				t.Errorf("the VM is %s at the end", got)
			}
			if s := l.status(); s.Phase != journal.PhaseRolledBack {
				t.Errorf("status = %+v", s)
			}
		})
	}
}

// TestRollbackWithoutSSH can't power the VM on again for want of the road: the
// rollback says so and can be repeated.
func TestRollbackWithoutSSH(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.SetPower(l.vm, true)
	l.run(exitDone, l.convert(slices.Concat(l.ssh(), []string{"--shutdown", "ssh", "--no-proof"})...)...)
	r := l.run(exitStopped, append(l.again("rollback"), "--ssh", "127.0.0.1:1", "--ssh-fingerprint", l.ssh()[3])...)
	if !strings.Contains(r.err, "127.0.0.1:1") {
		t.Errorf("stderr:\n%s", r.err)
	}
	if s := l.status(); s.Phase != journal.PhaseUndoing {
		t.Errorf("status = %+v, want %s", s, journal.PhaseUndoing)
	}
	l.run(exitDone, slices.Concat(l.again("rollback"), l.ssh())...)
	if got := l.host.Power(l.vm); got != "poweredOn" {
		t.Errorf("the VM is %s", got)
	}
}
