package report

import (
	"net/netip"
	"testing"

	"esxodus/convert/guest"
)

func TestInGuest(t *testing.T) {
	address := func(on, prefix string) guest.Address {
		return guest.Address{On: on, Prefix: netip.MustParsePrefix(prefix)}
	}
	for _, tt := range []struct {
		nic  guest.NIC
		want string
	}{
		{guest.NIC{Name: "ens192"}, "in the guest ens192 on VMware"},
		{guest.NIC{Name: "eth0", Kept: "the order of the NICs", DHCP4: true, DHCP6: true}, "in the guest eth0: DHCP, DHCPv6"},
		{guest.NIC{
			Name: "ens192", Kept: "x", Addresses: []guest.Address{address("ens192", "192.0.2.10/24"), address("v42", "198.51.100.5/24")},
			Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		}, "in the guest ens192: 192.0.2.10/24, 198.51.100.5/24 on v42, gateway 192.0.2.1"},
	} {
		if got := inGuest(tt.nic); got != tt.want {
			t.Errorf("inGuest(%+v) = %q, want %q", tt.nic, got, tt.want)
		}
	}
}
