package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"

	"sigs.k8s.io/yaml"
)

// networkLab has the tiny guest, and a plan of it that tries its NIC: an edited one,
// as no udev gives the guest's NICs names that could be found. Its NIC gets a name
// only with VMware's driver.
func networkLab(t *testing.T, address string) *lab {
	t.Helper()
	built, dir, vm := fixtures.Guest(t, "tiny"), fixtures.OpenDir(t), uniqueName("tiny")
	renamed(t, built, filepath.Join(dir, vm), vm)
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	l.run(exitDone, l.plan("--layout", "keep", "--no-edits", "-o", "plan.yaml", vm)...)
	file := filepath.Join(l.dir, "plan.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p plan.Plan
	if err := yaml.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	v := &p.VMs[0]
	v.NICs = []guest.NIC{{
		MAC: v.Source.NICs[0].MAC, Name: "ens192", Kept: "the test", Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Addresses: []guest.Address{{On: "ens192", Prefix: netip.MustParsePrefix(address)}},
	}}
	v.Domain.XML = strings.Replace(v.Domain.XML, `<model type="virtio"></model>`, `<model type="vmxnet3"></model>`, 1)
	for i := range v.Steps {
		if e := v.Steps[i].Expect; e != nil {
			e.Network, e.Untried = &plan.Network{NICs: v.NICs}, nil
		}
	}
	v.Sums = v.Sum()
	if b, err = yaml.Marshal(p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNetworkProof has a real guest answer on its network, and tells how; then on the
// real one, in its VM's place.
func TestNetworkProof(t *testing.T) {
	t.Parallel()
	l := networkLab(t, "192.0.2.10/24")
	l.uplink()
	r := l.run(exitDone, l.batch()...)
	s := l.statusCommand()
	t.Log(s.Proof)
	if s.Phase != runs.PhaseReady || len(s.Network) != 1 || !s.Network[0].Passed || s.Network[0].Addresses[0].Ping == 0 {
		t.Errorf("status = %+v; want it ready, and its NIC to have answered ARP and ping", s)
	}
	if want := "; ens192 has 192.0.2.10 (" + s.Network[0].MAC + "), answered ARP after "; !strings.Contains(s.Proof, want) {
		t.Errorf("proof = %q; want %q", s.Proof, want)
	}
	if !json.Valid([]byte(r.out)) {
		t.Errorf("batch printed %s", r.out)
	}
	l.noOverlays()
	l.inService()
}

// TestNetworkProofFails has a real guest not answer for an address that it hasn't: the
// command says what was heard, and where, and how to go on without the network. How long
// a guest takes to boot here isn't known: where it doesn't within the plan's time, all is
// done again with twice as much.
func TestNetworkProofFails(t *testing.T) {
	fixtures.Rung(t, "boot") // it waits for as long as a proof may take, twice
	t.Parallel()
	l := networkLab(t, "192.0.2.99/24")
	const most = 1200
	for was, took := most, 60; ; was, took = took, took*2 {
		if took > most {
			t.Fatal("the guest doesn't boot")
		}
		l.edit(filepath.Join(l.dir, "plan.yaml"), fmt.Sprintf("      seconds: %d\n", was), fmt.Sprintf("      seconds: %d\n", took))
		if l.failedProof() {
			break
		}
		l.run(exitDone, l.again("rollback")...)
	}
	l.noOverlays()
}

// failedProof plays it once; false if the guest didn't boot in time.
func (l *lab) failedProof() bool {
	l.t.Helper()
	r := l.run(exitSome, l.batch()...)
	if strings.Contains(r.out, "did not boot") {
		return false
	}
	capture := filepath.Join(filepath.Dir(l.journal()), runs.CaptureFile)
	if got := results(l.t, r)[l.vm].Error; !strings.Contains(got, "ens192 doesn't answer for 192.0.2.99: ") || !strings.Contains(got, "192.0.2.10") || !strings.Contains(got, capture) {
		l.t.Errorf("batch: %q; want what was heard of the NIC, and where", got)
	}
	if b, err := os.ReadFile(capture); err != nil || !bytes.HasPrefix(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || len(b) > 2<<20 {
		l.t.Errorf("the capture has %d bytes, %v; want a pcapng", len(b), err)
	}
	s := l.statusCommand()
	if s.Phase != journal.PhaseUnfinished || s.Capture != capture || len(s.Network) != 1 || s.Network[0].Passed || s.Network[0].NIC != "ethernet0" || s.Network[0].Name != "ens192" {
		l.t.Errorf("status = %+v; want what the proof saw", s)
	}
	p := l.start(l.again("resume")...).wait()
	if strings.Contains(p.err, "did not boot") {
		return false
	}
	if want := "for a guest that works but doesn't answer on the proof's network: `esxodus resume --proof boot " + l.vm; p.code != exitStopped || !strings.Contains(unwrapped(p.err), want) {
		l.t.Errorf("resume: exit code %d\n%s\nwant %d, %q", p.code, p.err, exitStopped, want)
	}
	p = l.start(append(l.again("resume"), "--proof", "boot")...).wait()
	if strings.Contains(p.err, "did not boot") {
		return false
	}
	if s = l.statusCommand(); p.code != exitDone || s.Phase != runs.PhaseReady || len(s.Untried) != 1 || s.Capture != "" {
		l.t.Errorf("resume: exit code %d; status = %+v; want it ready, and the NIC untried", p.code, s)
	}
	return true
}

// TestEditedAddress: a guest gets the address that was edited into its plan, and
// answers on it.
func TestEditedAddress(t *testing.T) {
	fixtures.Rung(t, "boot") // make test has the same edit in convert/plan, down to each byte of the plan
	t.Parallel()
	const lilo = "/bin/true" // which a guest in its own layout doesn't get
	built, dir, vm := fixtures.Guest(t, "tiny"), fixtures.OpenDir(t), uniqueName("tiny")
	renamed(t, built, filepath.Join(dir, vm), vm)
	ruled(t, filepath.Join(dir, vm))
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	l.run(exitDone, l.plan("--layout", "keep", "--lilo", lilo, "-o", "plan.yaml", vm)...)
	file := filepath.Join(l.dir, "plan.yaml")
	l.edit(file, `<model type="virtio"></model>`, `<model type="vmxnet3"></model>`)
	l.edit(file, "\n  sums:\n", "\n  addresses:\n  - index: 0\n    prefix: 192.0.2.20/24\n    gateway: 192.0.2.1\n  sums:\n")
	r := l.run(exitDone, l.batch("--lilo", lilo)...)
	for _, want := range []string{"note: planned anew, as addresses were edited: " + vm, "edit /etc/network/interfaces", "ens192 for 192.0.2.20"} {
		if !strings.Contains(unwrapped(r.err), want) {
			t.Errorf("batch doesn't show %q:\n%s", want, r.err)
		}
	}
	s := l.statusCommand()
	if s.Phase != runs.PhaseReady || len(s.Network) != 1 || !s.Network[0].Passed || s.Network[0].Addresses[0].Address.String() != "192.0.2.20" {
		t.Errorf("status = %+v; want the guest to have answered on 192.0.2.20", s)
	}
	info, err := os.Stat(l.disk())
	l.check(err)
	if n := l.verifiedSource(info.Size()); n == 0 || n > info.Size()/(4<<20)/2 {
		t.Errorf("the conversion wrote to %d blocks of 4 MiB of %d bytes; want few", n, info.Size())
	}
	l.check(l.host.Close()) // of which nothing is asked any more
	r = l.run(exitDone, l.batch("--lilo", lilo)...)
	if got := results(t, r)[vm]; got.Did != batch.DidPass || strings.Contains(r.err, "planned anew") {
		t.Errorf("a second batch = %+v; want it done already:\n%s", got, r.err)
	}
	l.edit(file, "prefix: 192.0.2.20/24", "prefix: 192.0.2.0/24")
	if r = l.start(l.batch("--lilo", lilo)...).wait(); r.code == exitDone || !strings.Contains(unwrapped(r.err), "addresses[0]: 192.0.2.0/24 is no address of a machine") {
		t.Errorf("an address of no machine: exit code %d, %s", r.code, r.err)
	}
}

// ruled gives the tiny guest in a directory a rule of udev's by which its NIC is
// called ens192, so that the name is known, and what shows that ifupdown runs.
func ruled(t *testing.T, dir string) {
	t.Helper()
	const mac = "00:50:56:01:02:77"
	spec, flat, rule := filepath.Join(dir, "vm.json"), filepath.Join(dir, "tiny-flat.vmdk"), filepath.Join(t.TempDir(), "rules")
	b, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	built, err := filepath.EvalSymlinks(flat)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), `"pciSlotNumber"`, `"mac":"`+mac+`","pciSlotNumber"`, 1)
	for _, err := range []error{
		os.Remove(flat), os.WriteFile(spec, []byte(text), 0o600),
		os.WriteFile(rule, []byte(`SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="`+mac+`", NAME="ens192"`+"\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tool := func(argv ...string) {
		fixtures.Tool(t, argv[0])
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	tool("cp", "--sparse=always", built, flat)
	tool("chmod", "u+w", flat)
	for _, request := range []string{
		"mkdir /etc/udev", "mkdir /etc/udev/rules.d", "write " + rule + " /etc/udev/rules.d/70-persistent-net.rules",
		"symlink /sbin/ifup /bin/ifup", "mkdir /etc/rcS.d", "symlink /etc/rcS.d/S01networking /bin/ifup",
	} {
		tool("debugfs", "-w", "-R", request, flat+"?offset=1048576")
	}
}
