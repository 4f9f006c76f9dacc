package network

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

var update = flag.Bool("update", false, "rewrite golden files")

// esx is a host with what port groups can differ in.
func esx() *inventory.Network {
	open := inventory.Policy{MACChanges: true, ForgedTransmits: true, Teaming: "loadbalance_srcid", Active: []string{"vmnic0"}}
	team := open
	team.Active, team.Standby, team.Failback, team.NotifySwitches = []string{"vmnic2", "vmnic1"}, []string{"vmnic3"}, true, true
	watch := inventory.Policy{Promiscuous: true, Active: []string{"vmnic0"}, Shaping: &inventory.Shaping{AverageBitsPerSecond: 1e8, PeakBitsPerSecond: 2e8, BurstBytes: 1 << 20}}
	return &inventory.Network{
		VSwitches: []inventory.VSwitch{
			{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}, Policy: open},
			{Name: "vSwitch1", MTU: 9000, Uplinks: []string{"vmnic1", "vmnic2", "vmnic3"}, Policy: team},
			{Name: "vSwitch2 (lab)", MTU: 1500},
		},
		PortGroups: []inventory.PortGroup{
			{Name: "VM Network", VSwitch: "vSwitch0", Policy: open},
			{Name: "DMZ", VSwitch: "vSwitch0", VLAN: 42, Policy: open},
			{Name: "DMZ too", VSwitch: "vSwitch0", VLAN: 42, Policy: open},
			{Name: "trunk", VSwitch: "vSwitch0", VLAN: 4095, Policy: watch},
			{Name: "storage = fast", VSwitch: "vSwitch1", VLAN: 7, Policy: team},
			{Name: "lab", VSwitch: "vSwitch2 (lab)", VLAN: 5},
			{Name: "lab plain", VSwitch: "vSwitch2 (lab)"},
			{Name: "evil\n[Network]\nAddress=6.6.6.6/8\\", VSwitch: "vSwitch0", VLAN: 66, Policy: open},
		},
		Uplinks: []inventory.Uplink{{Device: "vmnic0", SpeedMbps: 10000}, {Device: "vmnic1"}, {Device: "vmnic2"}, {Device: "vmnic3"}},
	}
}

func allNames(n *inventory.Network) []string {
	var names []string
	for _, p := range n.PortGroups {
		names = append(names, p.Name)
	}
	return names
}

func TestGolden(t *testing.T) {
	tests := []struct {
		name       string
		portGroups []string
		o          Options
	}{
		{name: "plain", portGroups: []string{"VM Network"}, o: Options{Uplinks: map[string]string{"vmnic0": "eno1"}}},
		{name: "all", portGroups: allNames(esx()), o: Options{
			Uplinks: map[string]string{"vmnic0": "eno1", "vmnic1": "enp129s0f1np1"},
			Files:   map[string]string{"enp129s0f1np1": "10-netplan-enp129s0f1np1.network"},
		}},
		{name: "unmapped", portGroups: []string{"VM Network", "storage = fast", "gone"}},
		{name: "mapped", portGroups: []string{"VM Network", "DMZ", "trunk", "gone"}, o: Options{
			Uplinks: map[string]string{"": "bond0"},
			Map:     map[string]string{"VM Network": "bridge:br0", "trunk": "none", "gone": "macvtap:eno9.3"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := New(esx(), tt.portGroups, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range append(plan.Units, plan.Optional...) {
				checkLines(t, u)
			}
			golden(t, tt.name+".txtar", archive(t, plan))
		})
	}
}

// checkLines fails on a line that none of our names and numbers makes: what a
// port group's name smuggled in.
func checkLines(t *testing.T, u Unit) {
	t.Helper()
	for line := range strings.Lines(u.Text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		if strings.Contains(line, "6.6.6.6") || strings.HasSuffix(line, `\`) {
			t.Errorf("%s: line %q", u.Name, line)
		}
	}
}

// archive is a plan as text: units as files, the rest as JSON.
func archive(t *testing.T, plan Plan) string {
	t.Helper()
	var a txtar.Archive
	add := func(name, text string) { a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)}) }
	for _, u := range plan.Units {
		add(u.Name, u.Text)
	}
	for _, u := range plan.Optional {
		add("optional/"+u.Name, u.Text)
	}
	plan.Units, plan.Optional = nil, nil
	text, err := json.MarshalIndent(plan, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	add("plan.json", string(text)+"\n")
	return string(txtar.Format(&a))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestApart plans each port group alone and expects what planning all at once
// gives: VMs are planned one by one, and must agree on devices and files.
func TestApart(t *testing.T) {
	o := Options{Uplinks: map[string]string{"vmnic0": "eno1", "vmnic1": "enp129s0f1np1"}}
	all, err := New(esx(), allNames(esx()), o)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, u := range slices.Concat(all.Units, all.Optional) {
		texts[u.Name] = u.Text
	}
	for _, name := range allNames(esx()) {
		one, err := New(esx(), []string{name, name}, o)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := one.Attachment(name)
		want, _ := all.Attachment(name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q alone (-together +alone):\n%s", name, diff)
		}
		for _, u := range slices.Concat(one.Units, one.Optional) {
			if texts[u.Name] != u.Text {
				t.Errorf("%q alone: %s differs:\n%s", name, u.Name, cmp.Diff(texts[u.Name], u.Text))
			}
		}
	}
}

func TestUnmappedBlocks(t *testing.T) {
	plan, err := New(esx(), []string{"DMZ"}, Options{Uplinks: map[string]string{"vmnic7": "eno7"}})
	if err != nil {
		t.Fatal(err)
	}
	if !ledger.Blocked(plan.Concerns) || !strings.Contains(plan.Concerns[0].Advice, "--uplink vmnic0=eno1") {
		t.Errorf("concerns = %+v; want a blocker that names --uplink vmnic0=eno1", plan.Concerns)
	}
	if _, ok := plan.Attachment("DMZ"); ok {
		t.Error("an attachment without an uplink")
	}
}

func TestVLANDevice(t *testing.T) {
	tests := []struct {
		uplink string
		id     int
		want   string
	}{
		{"eno1", 42, "eno1.42"},
		{"eno1", 4094, "eno1.4094"},
		{"enp129s0f1", 4094, "enp129s0f1.4094"},
		{"enp129s0f1np1", 42, "vlan42-b5b0f70b"},
		{"enp129s0f0np0", 4094, "vlan4094-"},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		got := vlanDevice(tt.uplink, tt.id)
		if len(got) > 15 || seen[got] || !strings.HasPrefix(got, tt.want[:min(len(tt.want), 7)]) {
			t.Errorf("vlanDevice(%s, %d) = %s; want it like %s, of at most 15 bytes, once", tt.uplink, tt.id, got, tt.want)
		}
		seen[got] = true
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name  string
		parse func([]string) (map[string]string, error)
		in    []string
		want  map[string]string
		err   string
	}{
		{name: "uplinks", parse: ParseUplinks, in: []string{"vmnic0=eno1", "v Switch=1=eno2", "bond0"}, want: map[string]string{"vmnic0": "eno1", "v Switch=1": "eno2", "": "bond0"}},
		{name: "uplink twice", parse: ParseUplinks, in: []string{"vmnic0=eno1", "vmnic0=eno2"}, err: `--uplink: "vmnic0" is both eno1 and eno2`},
		{name: "all uplinks twice", parse: ParseUplinks, in: []string{"eno1", "eno2"}, err: "--uplink: eno1 and eno2 are both for all uplinks; write which is for which, such as vmnic0=eno1"},
		{name: "no uplink", parse: ParseUplinks, in: []string{"=eno1"}, err: `--uplink "=eno1": nothing before the =; write vmnic0=eno1, or eno1 alone for all uplinks`},
		{name: "bad interface", parse: ParseUplinks, in: []string{"vmnic0=en o1"}, err: `--uplink "vmnic0=en o1": interface name "en o1": character ' ' isn't allowed; write vmnic0=eno1 with an interface that ip link shows on this host`},
		{name: "empty interface", parse: ParseUplinks, in: []string{"vmnic0="}, err: `--uplink "vmnic0=": empty interface name; write vmnic0=eno1 with an interface that ip link shows on this host`},
		{name: "long interface", parse: ParseUplinks, in: []string{"a23456789012345.6"}, err: `--uplink "a23456789012345.6": interface name "a23456789012345.6": 17 bytes, the kernel allows 15; write vmnic0=eno1 with an interface that ip link shows on this host`},
		{name: "map", parse: ParseMap, in: []string{"VM Network=macvtap:eno1.42", "a=b=bridge:br0", "x=none"}, want: map[string]string{"VM Network": "macvtap:eno1.42", "a=b": "bridge:br0", "x": "none"}},
		{name: "no target", parse: ParseMap, in: []string{"VM Network"}, err: `--network "VM Network": want PORTGROUP=macvtap:DEVICE, PORTGROUP=sriov:DEVICE, PORTGROUP=bridge:BRIDGE or PORTGROUP=none`},
		{name: "other mode", parse: ParseMap, in: []string{"a=nat:x"}, err: `--network "a=nat:x": target "nat:x": want macvtap:DEVICE, macvtap:DEVICE,MODE, sriov:DEVICE, sriov:DEVICE,VLAN, bridge:BRIDGE or none`},
		{name: "none with device", parse: ParseMap, in: []string{"a=none:x"}, err: `--network "a=none:x": target "none:x": none takes no device`},
		{name: "bridge without device", parse: ParseMap, in: []string{"a=bridge"}, err: `--network "a=bridge": target "bridge": want macvtap:DEVICE, macvtap:DEVICE,MODE, sriov:DEVICE, sriov:DEVICE,VLAN, bridge:BRIDGE or none`},
		{name: "line in device", parse: ParseMap, in: []string{"a=bridge:br0\nx"}, err: `--network "a=bridge:br0\nx": target "bridge:br0\nx": interface name "br0\nx": character '\n' isn't allowed`},
		{name: "files", parse: ParseFiles, in: []string{"eno1=lan.network", "eno2=/run/systemd/network/10-netplan-eno2.network", "eno3=my = büro.network", "eno1=/etc/systemd/network/lan.network"}, want: map[string]string{"eno1": "lan.network", "eno2": "10-netplan-eno2.network", "eno3": "my = büro.network"}},
		{name: "file without interface", parse: ParseFiles, in: []string{"lan.network"}, err: `--network-file "lan.network": want INTERFACE=FILE, as in eno1=10-lan.network`},
		{name: "no file", parse: ParseFiles, in: []string{"eno1="}, err: `--network-file "eno1=": "" is not the name of a .network file; networkctl status eno1 shows it as Network File`},
		{name: "link file", parse: ParseFiles, in: []string{"eno1=/usr/lib/systemd/network/99-default.link"}, err: `--network-file "eno1=/usr/lib/systemd/network/99-default.link": "99-default.link" is not the name of a .network file; networkctl status eno1 shows it as Network File`},
		{name: "file elsewhere", parse: ParseFiles, in: []string{"eno1=/etc/systemd/network/../../x.network"}, err: `--network-file "eno1=/etc/systemd/network/../../x.network": "/etc/systemd/network/../../x.network" is not the name of a .network file; networkctl status eno1 shows it as Network File`},
		{name: "hidden file", parse: ParseFiles, in: []string{"eno1=.x.network"}, err: `--network-file "eno1=.x.network": ".x.network": networkd doesn't read hidden files; networkctl status eno1 shows it as Network File`},
		{name: "line in file", parse: ParseFiles, in: []string{"eno1=a\n.network"}, err: `--network-file "eno1=a\n.network": name "a\n.network" of a .network file: a character that isn't printable; networkctl status eno1 shows it as Network File`},
		{name: "file twice", parse: ParseFiles, in: []string{"eno1=a.network", "eno1=b.network"}, err: `--network-file: eno1 has both "a.network" and "b.network"`},
		{name: "file of two", parse: ParseFiles, in: []string{"eno1=a.network", "eno2=a.network"}, err: `--network-file: "a.network" configures both eno1 and eno2, so a VLAN device in it would belong to both: give one of them a file of its own, with a name that sorts before "a.network"`},
		{name: "mode", parse: ParseMap, in: []string{"a=macvtap:eno1,private"}, want: map[string]string{"a": "macvtap:eno1,private"}},
		{name: "bad mode", parse: ParseMap, in: []string{"a=macvtap:eno1,x"}, err: `--network "a=macvtap:eno1,x": target "macvtap:eno1,x": want macvtap:DEVICE,MODE with one of the modes bridge, vepa, private, passthrough`},
		{name: "mode of a bridge", parse: ParseMap, in: []string{"a=bridge:br0,private"}, err: `--network "a=bridge:br0,private": target "bridge:br0,private": want macvtap:DEVICE,MODE with one of the modes bridge, vepa, private, passthrough`},
		{name: "map twice", parse: ParseMap, in: []string{"a=none", "a=bridge:b"}, err: `--network: port group "a" goes both to none and to bridge:b`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.in)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err || !cmp.Equal(got, tt.want) {
				t.Errorf("parse(%q) = %v, %q; want %v, %q", tt.in, got, text, tt.want, tt.err)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"uplink":          {Uplinks: map[string]string{"vmnic0": "eno1\nVLAN=x"}},
		"map":             {Map: map[string]string{"VM Network": "bridge:../x"}},
		"file of nothing": {Files: map[string]string{"eno1\nx": "a.network"}},
		"file of two":     {Files: map[string]string{"eno1": "a.network", "eno2": "a.network"}},
		"file":            {Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1": "../../passwd"}},
	} {
		if plan, err := New(esx(), []string{"VM Network"}, o); err == nil {
			t.Errorf("%s: New = %+v; want an error", name, plan)
		}
	}
}

// TestUnused: names that the ESXi host doesn't have are told. Those that a VM
// asks for are known (a distributed port group is), as are a vSwitch's and an
// uplink's.
func TestUnused(t *testing.T) {
	t.Parallel()
	p, err := New(esx(), []string{"VM Network", "distributed"}, Options{
		Map:     map[string]string{"VM Netwrok": "none", "DMZ": "none", "distributed": "none"},
		Uplinks: map[string]string{"": "eno1", "vmnic0": "eno1", "vSwitch1": "eno2", "vmnic7": "eno3", "vswitch0": "eno3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range p.Concerns {
		if c.ID == ConcernUnused {
			got = append(got, c.Subject)
		}
	}
	if want := []string{"VM Netwrok", "vmnic7", "vswitch0"}; !slices.Equal(got, want) {
		t.Errorf("unused: %q; want %q", got, want)
	}
}
