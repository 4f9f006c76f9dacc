package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/ledger"
	"esxodus/convert/netrun"
	"esxodus/inventory"
	"esxodus/network"
)

// kvm is a host with BGP on its uplink and libvirt's own bridge.
func kvm() network.Host {
	start := time.Unix(1000, 0)
	return network.Host{
		Name:     "kvm1",
		Networkd: network.Networkd{Running: true, Version: 252, Started: start},
		Links: []network.Link{
			{
				Name: "eno1", Index: 2, Up: true, Carrier: true, MTU: 1500, MAC: "52:54:00:00:00:01",
				Addresses: []network.Address{{CIDR: "192.0.2.2/24", Source: "static"}, {CIDR: "198.51.100.5/32", Source: "foreign"}},
				Routes:    []network.Routes{{Protocol: "bird", Table: 254, Family: 4, Count: 900000, Foreign: true, Examples: []string{"203.0.113.0/24 via 192.0.2.1", "198.18.0.0/15 via 192.0.2.1", "default via 192.0.2.1"}}},
				Networkd:  network.NetworkdOfLink{State: "configured", File: network.Dir + "/lan.network"},
			},
			{Name: "virbr0", Index: 4, Kind: "bridge", Dnsmasq: true, Addresses: []network.Address{{CIDR: "192.168.122.1/24"}}},
		},
		Files: []network.File{
			{Path: network.Dir + "/lan.network", Text: "[Match]\nName=eno1\n", Changed: start.Add(-time.Hour)},
			{Path: network.Dir + "/10-esxodus-macvtap.network", Text: "[Match]\nName=macvtap*\n", Changed: start.Add(-time.Hour)},
		},
	}
}

// functions is one whose uplink can have virtual functions.
func functions(h *network.Host) {
	l := &h.Links[0]
	l.Driver, l.MaxVFs, l.Path, l.VFPaths, l.LinkFile = "igb", 7, "pci-0000:01:00.0", []string{"pci-0000:01:10.0", "pci-0000:01:10.2"}, "/usr/lib/systemd/network/99-default.link"
	h.IOMMU, h.Virtuals = true, &network.Virtuals{URI: "qemu:///system"}
	h.Files = append(h.Files, network.File{Path: l.LinkFile, Text: "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel\n"})
}

// plannedFor compares the networks of an ESXi host with a host.
func plannedFor(t *testing.T, h network.Host) Network {
	t.Helper()
	esx := &inventory.Network{
		VSwitches: []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}, {Name: "inside", MTU: 1500}},
		PortGroups: []inventory.PortGroup{
			{Name: "VM Network", VSwitch: "vSwitch0"}, {Name: "DMZ", VSwitch: "vSwitch0", VLAN: 42}, {Name: "lab", VSwitch: "inside"},
		},
	}
	o := network.Options{Uplinks: map[string]string{"": "eno1"}}
	if h.IOMMU {
		o.Functions = map[string]int{"eno1": 4}
	}
	p, err := network.New(esx, []string{"VM Network", "DMZ", "lab"}, h.Fill(o))
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.Changes(p)
	if err != nil {
		t.Fatal(err)
	}
	return Network{Host: h.Name, Attachments: p.Attachments, Changes: c, Concerns: p.Concerns}
}

// TestChanges holds what `esxodus network plan` prints.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		file   string
		change func(h *network.Host)
		form   Form
	}{
		{file: "network.txt"},
		{file: "network-narrow.txt", form: Form{Columns: 60}},
		{file: "network-rule.txt", change: func(h *network.Host) {
			h.Rules = []network.Rule{{Text: "ip rule 5: from 198.51.100.5/32 table 77", Protocol: "boot"}}
		}},
		{file: "network-old.txt", change: func(h *network.Host) { h.Networkd.Version = 247 }},
		{file: "network-manager.txt", change: func(h *network.Host) {
			h.Links[0].Networkd = network.NetworkdOfLink{State: "unmanaged"}
			h.Managers = []network.Manager{{Name: network.NetworkManager, Links: []string{"eno1"}, Evidence: "it says so on D-Bus"}}
		}},
		{file: "network-ifupdown.txt", change: func(h *network.Host) {
			h.Links[0].Networkd = network.NetworkdOfLink{State: "unmanaged"}
			h.Managers = []network.Manager{{Name: network.Ifupdown, Links: []string{"eno1"}, Evidence: "/etc/network/interfaces"}}
		}},
		{file: "network-sriov.txt", change: functions},
		{file: "network-sriov-steady.txt", change: func(h *network.Host) {
			functions(h)
			h.Links[0].Driver = "mlx5_core"
		}},
		{file: "network-nothing.txt", change: func(h *network.Host) {
			done := plannedFor(t, *h)
			for _, f := range done.Changes.Files {
				h.Files = append([]network.File{{Path: f.Path, Text: f.New, Changed: time.Unix(1, 0)}}, h.Files...)
			}
			for _, s := range done.Changes.Steps {
				if d := s.Device; d != nil {
					h.Links = append(h.Links, network.Link{Name: d.Name, Kind: d.Kind, Parent: d.Parent, VLAN: d.VLAN, Up: true})
				}
			}
		}},
	} {
		h := kvm()
		if tt.change != nil {
			tt.change(&h)
		}
		var got strings.Builder
		if err := Changes(&got, tt.form, plannedFor(t, h)); err != nil {
			t.Fatal(err)
		}
		golden(t, tt.file, got.String())
	}
	h := kvm()
	v := network.Virtual{Name: "default", UUID: "1", Bridge: "virbr0"}
	var got strings.Builder
	if err := Changes(&got, Form{}, Network{Host: h.Name, Changes: h.Without(v, "", map[string][]string{"virbr0": {"web"}})}); err != nil {
		t.Fatal(err)
	}
	golden(t, "network-default.txt", got.String())
	bridge := network.Virtual{Name: "lxdbr0", Bridge: "lxdbr0", LXD: &network.LXD{Devices: []network.LXDDevice{
		{Project: "default", Profile: "default", Name: "eth0"}, {Project: "shop", Profile: "a b%c", Name: "eth0"},
	}}}
	h.Links = append(h.Links, network.Link{Name: "lxdbr0", Kind: "bridge", Dnsmasq: true, LXD: true, Addresses: []network.Address{{CIDR: "10.1.2.1/24"}}})
	got.Reset()
	if err := Changes(&got, Form{}, Network{Host: h.Name, Changes: h.Without(bridge, "", map[string][]string{"lxdbr0": {"the instance c1"}})}); err != nil {
		t.Fatal(err)
	}
	if err := Changes(&got, Form{}, plannedFor(t, h)); err != nil {
		t.Fatal(err)
	}
	golden(t, "network-lxd.txt", got.String())
}

// TestNetworkRuns has a run in each of its phases, with what may follow.
func TestNetworkRuns(t *testing.T) {
	at := time.Date(2026, 11, 30, 11, 0, 0, 0, time.Local)
	state := func(phase journal.Phase, done int) netrun.State {
		return netrun.State{Progress: journal.Progress{Started: at, Done: done, Steps: 9, Phase: phase}, Leavings: "eno1.42"}
	}
	running, waiting, undoing := state(journal.PhaseUnfinished, 3), state(netrun.PhaseWaiting, 6), state(journal.PhaseUndoing, 4)
	running.Running, waiting.Running, waiting.Deadline = true, true, at.Add(time.Minute)
	undoing.Error = "eno1.42 is in use by macvtap0"
	var got strings.Builder
	all := []netrun.State{running, waiting, state(netrun.PhaseCutOff, 6), undoing, state(netrun.PhaseApplied, 9), state(journal.PhaseRolledBack, 0)}
	for _, states := range [][]netrun.State{all, nil} {
		if err := NetworkRuns(&got, Form{}, states); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "network-runs.txt", got.String())
}

// TestAttachment: what a NIC is attached to, in few words.
func TestAttachment(t *testing.T) {
	for want, a := range map[string]network.Attachment{
		"nothing: the link stays down":         {Mode: network.None},
		"macvtap on eno1":                      {Mode: network.Macvtap, Device: "eno1"},
		"macvtap on eno1.42 (VLAN 42 of eno1)": {Mode: network.Macvtap, Device: "eno1.42", VLAN: 42, Uplink: "eno1"},
		"virtual function of eno1, lent by libvirt's network esxodus-vf-eno1":           {Mode: network.SRIOV, Device: "eno1", Network: "esxodus-vf-eno1"},
		"virtual function of eno1 (VLAN 42), lent by libvirt's network esxodus-vf-eno1": {Mode: network.SRIOV, Device: "eno1", Network: "esxodus-vf-eno1", VLAN: 42},
	} {
		if got := attachment(a); got != want {
			t.Errorf("attachment(%+v) = %q; want %q", a, got, want)
		}
	}
}

// TestManyConcerns: blockers come first, whoever raised them, and what is said of each
// of many port groups is said once.
func TestManyConcerns(t *testing.T) {
	const many = 200
	n := Network{Host: "kvm1", Changes: network.Changes{Concerns: []ledger.Concern{{ID: "network.default", Severity: ledger.Note, Subject: "virbr0", Evidence: "a bridge", Advice: "nothing"}}}}
	for i := range many {
		n.Concerns = append(n.Concerns, ledger.Concern{ID: "network.unmapped", Severity: ledger.Blocker, Subject: fmt.Sprintf("VLAN %d", i), Evidence: "nothing says which interface", Advice: "name it"})
	}
	var b strings.Builder
	if err := Changes(&b, Form{}, n); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	if want := fmt.Sprintf("VLAN 0, VLAN 1, VLAN 10, VLAN 100, VLAN 101, VLAN 102, VLAN 103, VLAN 104, VLAN 105, VLAN 106, and %d more): nothing says which interface do: name it NOTE network.default", many-10); !strings.Contains(text, want) {
		t.Errorf("want %q in\n%s", want, b.String())
	}
}
