package network

import (
	"net/netip"
	"slices"
	"testing"
)

// TestVantage: where a guest's address is tried from.
func TestVantage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of       string
		gateways []string
		guests   []string
		want     string // "" for nowhere
	}{
		{"192.0.2.10/24", []string{"192.0.2.1"}, nil, "192.0.2.1"},
		{"192.0.2.10/24", nil, nil, "192.0.2.254"},
		{"192.0.2.254/24", nil, nil, "192.0.2.253"},
		{"192.0.2.10/24", []string{"198.51.100.1"}, nil, "192.0.2.254"},
		{"192.0.2.10/24", []string{"192.0.2.10"}, nil, "192.0.2.254"}, // it is the gateway itself
		{"192.0.2.10/24", []string{"192.0.2.1"}, []string{"192.0.2.1", "192.0.2.254"}, "192.0.2.253"},
		{"192.0.2.10/24", []string{"fe80::1", "192.0.2.1"}, nil, "192.0.2.1"},
		{"192.0.2.1/30", nil, nil, "192.0.2.2"},
		{"192.0.2.2/30", nil, []string{"192.0.2.1"}, ""},
		{"192.0.2.0/31", nil, nil, "192.0.2.1"},
		{"192.0.2.1/31", nil, nil, "192.0.2.0"},
		{"192.0.2.10/32", []string{"198.51.100.1"}, nil, "198.51.100.1"},
		{"192.0.2.10/32", []string{"fe80::1"}, nil, ""},
		{"192.0.2.10/32", nil, nil, ""},
		{"10.1.2.3/8", nil, nil, "10.255.255.254"},
		{"2001:db8::10/64", []string{"2001:db8::1"}, nil, "2001:db8::1"},
		{"2001:db8::10/64", []string{"fe80::1"}, nil, "2001:db8::fffe"},
		{"2001:db8::10/64", []string{"192.0.2.1"}, nil, "2001:db8::fffe"},
		{"2001:db8::1:10/112", nil, nil, "2001:db8::1:fffe"},
		{"2001:db8::10/127", nil, nil, "2001:db8::11"},
		{"2001:db8::10/128", []string{"fe80::1"}, nil, "fe80::1"},
		{"2001:db8::10/120", nil, nil, "2001:db8::ff"},
	} {
		of := netip.MustParsePrefix(tt.of)
		guests := func(a netip.Addr) bool { return a == of.Addr() || slices.Contains(tt.guests, a.String()) }
		var gateways []netip.Addr
		for _, g := range tt.gateways {
			gateways = append(gateways, netip.MustParseAddr(g))
		}
		got, ok := Vantage(of, gateways, guests)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("Vantage(%s, %q, %q) = %s, %v; want %q", tt.of, tt.gateways, tt.guests, got, ok, tt.want)
		}
	}
}
