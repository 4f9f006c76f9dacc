package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/cutover"
	"esxodus/convert/plan"
	"esxodus/convert/planfile"
	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestHosts plans two hosts at once, which have a password each, and migrates their VMs
// in one batch. Neither host is shown the other's password.
func TestHosts(t *testing.T) {
	t.Parallel()
	name := uniqueName("h")
	other := fixtures.OpenDir(t)
	vms := []string{name + "-a", name + "-b"}
	for _, vm := range vms {
		if err := fixtures.SmallGuest(filepath.Join(other, vm), vm); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, esxi.Options{})
	two := &lab{t: t, dir: l.dir, opts: esxi.Options{Dir: other, Password: "the other's own"}}
	two.startHost()
	t.Cleanup(func() { _ = two.host.Close() })
	for _, vm := range vms {
		t.Cleanup(func() { l.forget(vm) })
	}
	vms = append(vms, l.vm)
	urls := []string{"--esxi", "https://root@" + l.opts.Addr, "--esxi", "https://root@" + two.opts.Addr}
	planning := append(append([]string{"plan"}, urls...), "--storage", "dir:"+l.storage(), "--uplink", "eth0", "--virt-type", fixtures.VirtType(), "--no-proof")

	if r := l.run(exitUsage, append(planning, "--password-file", l.passwordFile())...); !strings.Contains(r.err, "each has its own") {
		t.Errorf("one password for two hosts:\n%s", tail(r.err))
	}
	config := filepath.Join(l.dir, "config.yaml")
	text := "password-file: " + l.passwordFile() + "\nhosts:\n"
	for i, h := range []*lab{l, two} {
		file := filepath.Join(l.dir, fmt.Sprintf("password-%d", i))
		if err := os.WriteFile(file, []byte(h.host.Password()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  %s:\n    password-file: %s\n    thumbprint: %s\n", h.opts.Addr, file, h.host.Thumbprint())
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	planning = append(planning, "--config", config)
	r := l.run(exitDone, append(planning, "-o", "plan.yaml")...)
	for _, want := range []string{"3 VMs from", l.opts.Addr, two.opts.Addr, "HOST"} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("the report has no %q:\n%s", want, r.out)
		}
	}
	if r := l.run(exitFailed, append(planning, "nobody")...); !strings.Contains(r.err, "no VM of these hosts") {
		t.Errorf("a VM of neither:\n%s", tail(r.err))
	}
	if r := l.run(exitDone, append(planning, vms[0])...); strings.Contains(r.out, l.vm) || !strings.Contains(r.out, "== "+vms[0]) {
		t.Errorf("one VM of one of them:\n%s", r.out)
	}
	b, err := os.ReadFile(filepath.Join(l.dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := planfile.Read(b); err != nil || len(p.More) != 1 || p.VMs[0].From != 0 || p.VMs[1].From != 1 {
		t.Fatalf("%v: %+v", err, p)
	}
	got := results(t, l.run(exitDone, "batch", "plan.yaml", "--yes", "--output", "json", "--config", config))
	for _, vm := range vms {
		if r := got[vm]; r.Did != batch.DidConvert || r.Phase != runs.PhaseUnseen || r.Error != "" {
			t.Errorf("%s: %+v", vm, r)
		}
		of := two
		if vm == l.vm {
			of = l
		}
		of.sameDisk("[datastore1] "+vm+"/small-flat.vmdk", filepath.Join(l.storage(), vm+"_scsi0-0"))
	}
	got = results(t, l.run(exitDone, "rollback", "plan.yaml", "--yes", "--output", "json", "--config", config))
	if len(got) != len(vms) {
		t.Errorf("rolled back: %+v", got)
	}
	l.untouched()
	two.untouched()
}

// TestHostsOf counts the hosts that status --source asks: those of domains in their VMs'
// places.
func TestHostsOf(t *testing.T) {
	t.Parallel()
	in := &cutover.State{Phase: cutover.PhaseDone}
	state := func(c *cutover.State, src plan.Source) runs.State {
		return runs.State{Cutover: c, Job: &plan.VMJob{Source: src}}
	}
	one, two := plan.Source{URL: "https://root@esx1"}, plan.Source{URL: "https://root@esx2"}
	for want, states := range [][]runs.State{
		{state(nil, one), state(in, plan.Source{From: "/mnt"})},
		{state(in, one), state(in, one), state(nil, two)},
		{state(in, one), state(in, two)},
	} {
		if got := hostsOf(states); got != want {
			t.Errorf("%d hosts, want %d", got, want)
		}
	}
}
