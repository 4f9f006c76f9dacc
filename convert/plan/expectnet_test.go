package plan

import (
	"net/netip"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
)

func on(name string, tag int, prefixes ...string) (out []guest.Address) {
	for _, p := range prefixes {
		out = append(out, guest.Address{On: name, Tag: tag, Prefix: netip.MustParsePrefix(p)})
	}
	return out
}

// wiredVM has two NICs, of which the second starts unplugged.
func wiredVM(nics ...guest.NIC) *VMPlan {
	return &VMPlan{Name: "web", NICs: nics, Source: inventory.VM{NICs: []inventory.NIC{{Index: 0, StartConnected: true}, {Index: 1}}}}
}

// TestNetwork: what is tried of a guest's NICs, and how the dry run says it.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const mac = "00:0c:29:01:02:03"
	static := guest.NIC{MAC: mac, Name: "ens192", Kept: "x", Addresses: on("ens192", 0, "192.0.2.10/24", "2001:db8::10/64"), Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	for _, tt := range []struct {
		name  string
		nic   guest.NIC
		ports []uint16
		tried []guest.Address // nil: as the NIC has them
		none  bool
		text  string
	}{
		{name: "static", nic: static, text: "ens192 for 192.0.2.10 and 2001:db8::10 (ping is tried besides, for another 10 seconds)"},
		{name: "ports", nic: static, ports: []uint16{22, 443}, text: "(ping and TCP 22, 443 are tried besides, for another 60 seconds)"},
		{name: "VLAN", nic: guest.NIC{MAC: mac, Addresses: on("bond0.42", 42, "192.0.2.10/24")}, text: "ethernet0 for 192.0.2.10 in VLAN 42 ("},
		{name: "DHCP", nic: guest.NIC{MAC: mac, Name: "eth0", Kept: "x", DHCP4: true}, text: "eth0 for the lease that it takes by DHCP ("},
		{name: "advertised", nic: guest.NIC{MAC: mac, Name: "eth0", Kept: "x", RA: true}, text: "eth0 for the IPv6 address that it makes itself or is leased ("},
		{
			name: "what can't be tried is left out", tried: on("a", 0, "192.0.2.10/24"), text: "ens3 for 192.0.2.10 (",
			nic: guest.NIC{MAC: mac, Name: "ens3", Kept: "x", Addresses: append(on("a", 0, "192.0.2.10/24", "127.0.0.1/8", "fe80::1/64", "203.0.113.7/32", "224.0.0.1/4"), on("b", 4095, "192.0.2.11/24")...)},
		},
		{name: "nothing that can be tried", nic: guest.NIC{MAC: mac, Addresses: on("lo", 0, "127.0.0.1/8")}, none: true},
		{name: "nothing known", nic: guest.NIC{MAC: mac}, none: true},
		{name: "its name is lost", nic: guest.NIC{MAC: mac, Name: "ens192", Addresses: on("ens192", 0, "192.0.2.10/24")}, none: true},
		{name: "unplugged", nic: guest.NIC{Index: 1, MAC: mac, DHCP4: true}, none: true},
		{name: "no such NIC", nic: guest.NIC{Index: 7, MAC: mac, DHCP4: true}, none: true},
		{name: "no MAC", nic: guest.NIC{DHCP4: true}, none: true},
		{name: "a group's MAC", nic: guest.NIC{MAC: "01:00:5e:00:00:01", DHCP4: true}, none: true},
	} {
		v := wiredVM(tt.nic)
		n := v.network(Options{Ports: tt.ports})
		if tt.none {
			if n != nil || n.links() != "down" || n.text() != "" {
				t.Errorf("%s: %+v; want no network proof", tt.name, n)
			}
			continue
		}
		want := tt.nic
		if tt.tried != nil {
			want.Addresses = tt.tried
		}
		if n == nil {
			t.Errorf("%s: no network proof", tt.name)
			continue
		}
		if diff := cmp.Diff([]guest.NIC{want}, n.NICs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || !strings.Contains(n.text(), tt.text) {
			t.Errorf("%s: %q; want %q; %s", tt.name, n.text(), tt.text, diff)
		}
		if v.network(Options{BootOnly: true}) != nil {
			t.Errorf("%s: --proof boot tries the network", tt.name)
		}
	}
}

// TestUntried: the dry run says of each NIC that isn't tried why, so that a boot
// proof isn't taken for one of the network.
func TestUntried(t *testing.T) {
	t.Parallel()
	address := on("x", 0, "192.0.2.10/24")
	v := wiredVM(
		guest.NIC{MAC: "00:0c:29:01:02:03", Name: "ens192", Addresses: address}, guest.NIC{Index: 1, MAC: "00:0c:29:01:02:04", Name: "ens224", Kept: "x", DHCP4: true},
		guest.NIC{Index: 2, MAC: "00:0c:29:01:02:05"}, guest.NIC{Index: 3, Name: "ens161", Kept: "x", DHCP4: true},
		guest.NIC{Index: 4, MAC: "00:0c:29:01:02:06", Name: "ens\x1b", Kept: "x", Addresses: on("x", 0, "192.0.2.10/32")},
	)
	v.Source.NICs = nil
	for i := range v.NICs {
		v.Source.NICs = append(v.Source.NICs, inventory.NIC{Index: i, StartConnected: true})
	}
	want := "ens192 (nothing keeps that name: nic.name), ethernet2 (no address of it is known), ens161 (it has no MAC that is known), \"ens\\x1b\" (nobody else can be in the networks of its addresses)"
	e := Expect{See: SawLogin, Untried: v.untried(Options{})}
	if got := e.text("web"); !strings.HasSuffix(got, "; not tried on a network: "+want) {
		t.Errorf("text = %q; want %q", got, want)
	}
	for i := range v.Source.NICs {
		v.Source.NICs[i].StartConnected = false
	}
	if got := v.untried(Options{}); len(got) != 5 || got[1] != "ens224 (it starts unplugged)" {
		t.Errorf("unplugged: %q", got)
	}
	if got := v.untried(Options{BootOnly: true}); len(got) != 5 || got[1] != "ens224 (left out with --proof boot)" {
		t.Errorf("untried with --proof boot = %q", got)
	}
}

// TestCheckNetwork: an edited plan can't try less of the network, or what the guest
// doesn't have.
func TestCheckNetwork(t *testing.T) {
	t.Parallel()
	nic := guest.NIC{MAC: "00:0c:29:01:02:03", Name: "ens192", Kept: "x", Addresses: on("ens192", 0, "192.0.2.10/24", "192.0.2.11/24")}
	for _, tt := range []struct {
		name string
		edit func(v *VMPlan, n **Network)
		err  string
	}{
		{"as planned", func(*VMPlan, **Network) {}, ""},
		{"ports", func(_ *VMPlan, n **Network) { (*n).Ports = []uint16{22} }, ""},
		{"left out", func(v *VMPlan, n **Network) { v.BootOnly, *n = true, nil }, ""},
		{"gone", func(_ *VMPlan, n **Network) { *n = nil }, "missing, but addresses of the guest's NICs are known"},
		{"an address less", func(_ *VMPlan, n **Network) { (*n).NICs[0].Addresses = (*n).NICs[0].Addresses[1:] }, "nics: they aren't those"},
		{"another MAC", func(_ *VMPlan, n **Network) { (*n).NICs[0].MAC = "00:0c:29:01:02:04" }, "nics: they aren't those"},
		{"no NIC", func(_ *VMPlan, n **Network) { (*n).NICs = nil }, "nics: they aren't those"},
		{"nothing is known", func(v *VMPlan, _ **Network) { v.NICs = nil }, "knows no address"},
		{"left out, and there", func(v *VMPlan, _ **Network) { v.BootOnly = true }, "leaves the network proof out"},
		{"port 0", func(_ *VMPlan, n **Network) { (*n).Ports = []uint16{0} }, "ports: want at most 16"},
		{"many ports", func(_ *VMPlan, n **Network) { (*n).Ports = make([]uint16, 17) }, "ports: want at most 16"},
	} {
		v := wiredVM(nic)
		n := v.network(Options{})
		tt.edit(v, &n)
		v.Steps = []Step{{Kind: StepProve, Expect: &Expect{See: SawActivity, Seconds: 900, Network: n}}}
		if err := v.checkExpect("qemu"); (err == nil) != (tt.err == "") || err != nil && (!strings.HasPrefix(err.Error(), "steps[0].expect.network: ") || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.err)
		}
	}
}

// TestCheckNICs: a plan's NICs are the VM's, and an expectation can't be left out.
func TestCheckNICs(t *testing.T) {
	t.Parallel()
	const first, second = "00:0c:29:01:02:03", "00:0c:29:01:02:04"
	for _, tt := range []struct {
		name string
		edit func(v *VMPlan)
		err  string
	}{
		{"as planned", func(*VMPlan) {}, ""},
		{"of an older esxodus", func(v *VMPlan) { v.NICs, v.Addresses = nil, nil }, ""},
		{"one less", func(v *VMPlan) { v.NICs = v.NICs[:1] }, "nics: 1 of them, and the VM has 2"},
		{"another MAC", func(v *VMPlan) { v.NICs[1].MAC = first }, "nics[1]: ethernet1"},
		{"another index", func(v *VMPlan) { v.NICs[1].Index = 2 }, "nics[1]: ethernet2"},
		{"a path", func(v *VMPlan) { v.NICs[0].Name = "../x" }, "nics[0].name"},
		{"a new address that isn't tried", func(v *VMPlan) { v.NICs[0].Addresses = nil }, "addresses[0]: ethernet0 is to get 192.0.2.10/24"},
		{"a new address of no NIC", func(v *VMPlan) { v.Addresses[0].Index = 5 }, "addresses[0]: ethernet5"},
		{"a zone", func(v *VMPlan) { v.Addresses[0].DNS = []netip.Addr{netip.MustParseAddr("fe80::1%a\nb")} }, "addresses[0]: the name server"},
	} {
		v := wiredVM(guest.NIC{MAC: first, Name: "ens192", Kept: "x", Addresses: on("ens192", 0, "192.0.2.10/24")}, guest.NIC{Index: 1, MAC: second})
		v.Source.NICs[0].MAC, v.Source.NICs[1].MAC = "00:0C:29:01:02:03", second
		v.Addresses = []guest.NewAddress{{Prefix: netip.MustParsePrefix("192.0.2.10/24")}}
		tt.edit(v)
		if err := v.checkNICs(); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.err)
		}
	}
	v := wiredVM(guest.NIC{MAC: first, Name: "ens192", Kept: "x", DHCP4: true})
	v.Steps = []Step{{Kind: StepProve}}
	if err := v.checkExpect("qemu"); err == nil || !strings.Contains(err.Error(), "steps[0].expect: missing") {
		t.Errorf("no expectation: %v; want it refused", err)
	}
}
