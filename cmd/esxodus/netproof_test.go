package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/guest"
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
			e.Network = &plan.Network{NICs: v.NICs}
		}
	}
	if b, err = yaml.Marshal(p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNetworkProof has a real guest answer on its network, and tells how.
func TestNetworkProof(t *testing.T) {
	t.Parallel()
	l := networkLab(t, "192.0.2.10/24")
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
}
