package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/cutover"
	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	"esxodus/inventory"
	vim "esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

// veth makes a network of this host's own, and returns its device.
func (l *lab) veth() string {
	l.t.Helper()
	if os.Geteuid() != 0 {
		fixtures.Missing(l.t, "root, to make network devices")
	}
	name := fmt.Sprintf("esx%x", rand.Uint32())
	fixtures.Run(l.t, "ip", "link", "add", name, "up", "type", "veth", "peer", "name", name+"p")
	l.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
	fixtures.Run(l.t, "ip", "link", "set", name+"p", "up")
	return name
}

// TestConvertCutover migrates a VM and puts its domain in its place by one command, which
// shows the steps of both first.
func TestConvertCutover(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	args := l.convert("--no-proof", "--cutover", "--silent")
	args[slices.Index(args, "--uplink")+1] = l.veth()
	r := l.run(exitDone, args...)
	for _, want := range []string{"takes the place of", "start the domain " + l.vm} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
		}
	}
	if s := l.statusCommand(); !s.InPlace() || !l.running() {
		t.Errorf("cutover = %+v, the domain runs: %v", s.Cutover, l.running())
	}
	l.run(exitDone, slices.Concat(l.again("cutover"), []string{"--back", "--yes"})...)
	l.run(exitDone, l.again("rollback")...)
	l.noDisks()
}

// uplink has the plan attach to a network of this host's own what it attached to eth0.
func (l *lab) uplink() {
	l.t.Helper()
	name := l.veth()
	file := filepath.Join(l.dir, "plan.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), "eth0", name)), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// onShell does something on the host's shell.
func (l *lab) onShell(do func(*shell.Client) error) {
	l.t.Helper()
	c, err := shell.Dial(context.Background(), shell.Config{Addr: l.host.SSHAddr(), User: "root", Password: vim.Secret(l.host.Password()), HostKeyFingerprint: fixtures.Fingerprint(l.host.SSHHostKey())})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := do(c); err != nil {
		l.t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// autostart puts the VM into the host's autostart, or asks for its entry.
func (l *lab) autostart(set *inventory.AutoStartEntry) (e inventory.AutoStartEntry) {
	l.t.Helper()
	id := l.statusCommand().Job.VM.Source.ID
	l.onShell(func(c *shell.Client) (err error) {
		if set != nil {
			return c.SetAutoStart(context.Background(), id, *set)
		}
		e, err = c.AutoStartEntry(context.Background(), id)
		return err
	})
	return e
}

// running reports whether the domain runs.
func (l *lab) running() bool {
	out, _ := virsh("domstate", l.vm)
	return strings.HasPrefix(out, "running")
}

// inService cuts a migrated guest over, which answers on its network, and takes that
// back.
func (l *lab) inService() {
	t := l.t
	t.Helper()
	was := inventory.AutoStartEntry{Order: 1, StartDelay: 30, StopDelay: 120, StartAction: "PowerOn", StopAction: "systemDefault", Heartbeat: "systemDefault"}
	l.autostart(&was)
	r := l.run(exitDone, slices.Concat(l.again("cutover"), l.ssh(), []string{"--yes"})...)
	for _, want := range []string{"takes the place of", "out of the autostart of", "answers on esx", "for 192.0.2.10"} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("stderr does not contain %q:\n%s", want, tail(r.err))
		}
	}
	s := l.statusCommand()
	t.Log(r.out)
	if s.Cutover == nil || s.Cutover.Phase != cutover.PhaseDone || !strings.Contains(s.Cutover.Answer.Text, "192.0.2.10 answered after") || !l.running() {
		t.Errorf("cutover = %+v, the domain runs: %v", s.Cutover, l.running())
	}
	if e := l.autostart(nil); e.Starts() {
		t.Errorf("the host still starts the VM: %+v", e)
	}
	l.run(exitDone, slices.Concat(l.again("status"), []string{"--source"})...)
	l.host.SetPower(l.vm, true)
	r = l.run(exitDiffers, "status", "--source", "--password-file", l.passwordFile())
	if !strings.HasPrefix(r.out, "!!! ") || !strings.Contains(unwrapped(r.out), "RUNS ON") || !strings.Contains(r.err, "BESIDE ITS DOMAIN") {
		t.Errorf("a VM that runs beside its domain:\n%s\n%s", r.out, tail(r.err))
	}
	l.host.SetPower(l.vm, false)
	r = l.run(exitFailed, l.again("rollback")...)
	if !strings.Contains(unwrapped(r.err), "cutover --back") || !l.running() {
		t.Errorf("a rollback of what is in service:\n%s", tail(r.err))
	}
	l.run(exitDone, slices.Concat(l.again("cutover"), l.ssh(), []string{"--back", "--yes"})...)
	if e := l.autostart(nil); e != was || l.running() {
		t.Errorf("taken back: autostart %+v, want %+v; the domain runs: %v", e, was, l.running())
	}
	l.run(exitDone, l.again("rollback")...)
	l.noDisks()
	changes := slices.DeleteFunc(l.host.Stats().SSHCommands, func(c string) bool { return strings.Contains(c, "get_autostartseq") })
	if len(changes) != 3 { // the test's own, off, and back
		t.Errorf("asked of the host's shell: %q", changes)
	}
}

// TestCutoverEarly: what isn't migrated can't be cut over, and what never was has none
// to take back.
func TestCutoverEarly(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	r := l.run(exitFailed, l.again("cutover")...)
	if !strings.Contains(r.err, "no migration recorded") {
		t.Errorf("stderr: %s", r.err)
	}
	l.run(exitDone, l.convert("--no-proof")...)
	r = l.run(exitUsage, slices.Concat(l.again("cutover"), []string{"--port", "0", "--yes"})...)
	if !strings.Contains(r.err, "--port 0: want a TCP port") {
		t.Errorf("stderr: %s", r.err)
	}
	r = l.run(exitDone, slices.Concat(l.again("cutover"), []string{"--back", "--yes"})...)
	if !strings.Contains(r.err, "no cutover to take back") {
		t.Errorf("stderr: %s", r.err)
	}
	// A VM that was started since is refused, and nothing is changed.
	l.host.SetPower(l.vm, true)
	r = l.run(exitFailed, slices.Concat(l.again("cutover"), []string{"--yes"})...)
	if !strings.Contains(unwrapped(r.err), "is poweredOn") || !strings.Contains(unwrapped(r.err), "convert it again") {
		t.Errorf("stderr: %s", tail(r.err))
	}
	if s := l.statusCommand(); s.CutOver() || s.Phase == journal.PhaseRolledBack {
		t.Errorf("status = %+v", s)
	}
}
