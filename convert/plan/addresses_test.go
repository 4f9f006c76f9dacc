package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
)

func TestParseAddresses(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"web/ethernet0=192.0.2.20/24", "web: 0 192.0.2.20/24 invalid IP []"},
		{"a/b=c ethernet1/ethernet12=192.0.2.20/24,gw=192.0.2.1,dns=192.0.2.53,dns=2001:db8::53", "a/b=c ethernet1: 12 192.0.2.20/24 192.0.2.1 [192.0.2.53 2001:db8::53]"},
		{"v/ethernet0=2001:db8::20/64,gw=fe80::1", "v: 0 2001:db8::20/64 fe80::1 []"},
		{"web=192.0.2.20/24", "want VM/ethernet0="},
		{"web/ethernet0=192.0.2.20", "want VM/ethernet0="},
		{"web/ethernet0=192.0.2.20/33", `"192.0.2.20/33" is no address with its length`},
		{"web/ethernet0=192.0.2.0/24", "no address of a machine"},
		{"web/ethernet0=127.0.0.1/8", "no address of a machine"},
		{"web/ethernet0=192.0.2.20/24,gw=198.51.100.1", "isn't in the network"},
		{"web/ethernet0=192.0.2.20/24,gw=2001:db8::1", "isn't in the network"},
		{"web/ethernet0=192.0.2.20/24,gw=192.0.2.20", "the address itself"},
		{"web/ethernet0=192.0.2.20/24,gw=192.0.2.1,gw=192.0.2.2", "two gateways"},
		{"web/ethernet0=192.0.2.20/24,mtu=9000", "want gw=ADDRESS"},
		{"web/ethernet0=192.0.2.20/24,dns=x", `dns: "x" is no IP address`},
		{"v/ethernet0=192.0.2.20/31,gw=192.0.2.21", "v: 0 192.0.2.20/31 192.0.2.21 []"},
		{"web/ethernet0=192.0.2.255/24", "no address of a machine"},
		{"web/ethernet0=255.255.255.255/32", "no address of a machine"},
		{"web/ethernet0=::ffff:192.0.2.20/120", "no address of a machine"},
		{"web/ethernet0=192.0.2.20/24,gw=192.0.2.0", "the gateway 192.0.2.0 is no address"},
		{"web/ethernet0=192.0.2.20/24,gw=192.0.2.255", "the gateway 192.0.2.255 is no address"},
		{"web/ethernet0=192.0.2.20/24,gw=169.254.1.1", "isn't in the network"},
		{"web/ethernet0=2001:db8::20/64,gw=fe80::1%eth0\n\tup reboot", "isn't in the network"},
		{"web/ethernet0=192.0.2.20/24,dns=fe80::1%\n\tup reboot", "name server"},
		{"web/ethernet0=192.0.2.20/24,dns=0.0.0.0", "name server 0.0.0.0 is no address"},
	} {
		got := ""
		m, err := ParseAddresses([]string{tt.value})
		if err != nil {
			got = err.Error()
		}
		for vm, as := range m {
			got = fmt.Sprintf("%s: %d %s %s %v", vm, as[0].Index, as[0].Prefix, as[0].Gateway, as[0].DNS)
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s; want %s", tt.value, got, tt.want)
		}
	}
	if _, err := ParseAddresses([]string{"v/ethernet0=192.0.2.20/24", "v/ethernet0=192.0.2.21/24"}); err == nil {
		t.Error("two addresses of one family are taken")
	}
	if err := checkAddress(guest.NewAddress{}); err == nil || !strings.Contains(err.Error(), "it has no prefix") {
		t.Errorf("an address of a plan without a prefix: %v", err)
	}
}

// TestNewAddress: an address that is asked for is an edit and what the proof expects,
// or a blocker: no other layout would give it.
func TestNewAddress(t *testing.T) {
	for _, tt := range []struct {
		name    string
		file    string
		noEdits bool
		blocked string
	}{
		{"given", "auto ens192\niface ens192 inet static\n address 10.0.0.9/8\n gateway 10.0.0.1\n", false, ""},
		{"a style that isn't understood", "auto ens192\niface ens192 inet manual\n up ip addr add 10.0.0.9/8 dev ens192\n", false, "has the method manual"},
		{"nothing that configures it", "auto lo\n", false, "nothing was found that configures it"},
		{"declined", "auto ens192\niface ens192 inet static\n address 10.0.0.9/8\n", true, "the guest is left as it is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(t)
			o.NoEdits, o.Layout = tt.noEdits, layout.Keep
			var err error
			if o.Addresses, err = ParseAddresses([]string{"web/ethernet0=192.0.2.20/24,gw=192.0.2.1"}); err != nil {
				t.Fatal(err)
			}
			h := plantest.Host()
			vm := &h.VMs[0]
			vm.NICs[0].PCISlot, vm.Name = 192, "web"
			o.VMs = []string{"web"}
			g := plantest.Debian(vm)
			plantest.SlotNames(&g, "ens192")
			plantest.Interfaces(&g, tt.file)
			d, err := NewDraft(Facts{Host: &h, Guests: map[string]guest.Guest{vm.ID: g}, Target: TargetFacts{VirtTypes: []string{"qemu"}}}, o)
			if err != nil {
				t.Fatal(err)
			}
			d.Answer(func(Need) GuestFacts { return GuestFacts{} })
			p := d.Finish()
			v := p.VMs[0]
			blocked := slices.ContainsFunc(v.Concerns, func(c ledger.Concern) bool {
				return c.ID == adapt.ConcernAddress && c.Severity == ledger.Blocker && strings.Contains(c.Evidence, tt.blocked)
			})
			if blocked != (tt.blocked != "") {
				t.Fatalf("blocked: %v; want %q: %+v", blocked, tt.blocked, v.Concerns)
			}
			if tt.blocked != "" {
				return
			}
			edited := slices.ContainsFunc(v.Conversion.Edits, func(e guest.Edit) bool {
				return e.Path == "/etc/network/interfaces" && strings.Contains(e.New, "address 192.0.2.20/24\n\tgateway 192.0.2.1\n")
			})
			want := guest.Address{On: "ens192", Prefix: netip.MustParsePrefix("192.0.2.20/24")}
			if !edited || len(v.NICs) != 1 || !slices.Equal(v.NICs[0].Addresses, []guest.Address{want}) || v.NICs[0].Gateways[0].String() != "192.0.2.1" {
				t.Errorf("edited: %v, NICs %+v", edited, v.NICs)
			}
		})
	}
	for _, value := range []string{"web/ethernet7=192.0.2.20/24", "other/ethernet0=192.0.2.20/24"} {
		o := testOptions(t)
		o.Addresses, _ = ParseAddresses([]string{value})
		h := plantest.Host()
		if _, err := NewDraft(Facts{Host: &h}, o); err == nil || !strings.Contains(err.Error(), "--ip") {
			t.Errorf("%s: %v; want it refused", value, err)
		}
	}
	o := testOptions(t)
	o.Addresses, _ = ParseAddresses([]string{"twin/ethernet0=192.0.2.20/24"})
	h := plantest.Host()
	one, two := h.VMs[0], h.VMs[0]
	one.Name, two.ID = "twin", "twin" // one's name is the other's id
	h.VMs = []inventory.VM{one, two}
	o.VMs = nil
	if _, err := NewDraft(Facts{Host: &h}, o); err == nil || !strings.Contains(err.Error(), "several VMs") {
		t.Errorf("an address of two VMs: %v; want it refused", err)
	}
}
