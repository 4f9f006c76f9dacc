package network

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithout(t *testing.T) {
	v := Virtual{Name: "default", UUID: "1", Bridge: "virbr0", Active: true, Persistent: true}
	lxd := Virtual{Name: "virbr0", Bridge: "virbr0", LXD: &LXD{}}
	for _, tt := range []struct {
		name  string
		host  func(h *Host)
		v     Virtual
		users map[string][]string
		wire  string
		want  []string
	}{
		{name: "nobody uses it", v: v, wire: "virbr0 goes, with its addresses (192.168.122.1/24)"},
		{name: "a domain does", v: v, users: map[string][]string{"virbr0": {"db", "web"}}, wire: "virbr0", want: []string{"the network default (virbr0) is used by db, web"}},
		{name: "a domain uses another", v: v, users: map[string][]string{"virbr1": {"web"}}, wire: "virbr0"},
		{name: "a container does", v: v, host: func(h *Host) { h.Links = append(h.Links, Link{Name: "veth7", Master: "virbr0"}) }, wire: "virbr0", want: []string{"virbr0 has the ports veth7"}},
		{name: "libvirt's own dummy", v: v, host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "virbr0-nic", Master: "virbr0"}, Link{Name: "veth7", Master: "br0"})
		}, wire: "virbr0"},
		{name: "the admin comes in by it", v: v, host: func(h *Host) { h.Came = "virbr0" }, wire: "virbr0", want: []string{"your own session comes in by virbr0"}},
		{name: "LXD's, and nobody uses it", v: lxd, wire: "its dnsmasq and LXD's firewall rules for it"},
		{name: "an instance does", v: lxd, users: map[string][]string{"virbr0": {"the instance c1"}}, wire: "virbr0", want: []string{"the network virbr0 is used by the instance c1"}},
		{name: "LXD's own dummy", v: lxd, host: func(h *Host) { h.Links = append(h.Links, Link{Name: "virbr0-mtu", Master: "virbr0"}) }, wire: "virbr0"},
		{name: "it doesn't run", v: Virtual{Name: "default", UUID: "1", Bridge: "virbr9", Persistent: true}},
		{name: "it has no bridge", v: Virtual{Name: "pool", UUID: "2"}, users: map[string][]string{"": {"x"}}},
	} {
		h := kvm()
		h.Links = append(h.Links, Link{Name: "virbr0", Kind: "bridge", Dnsmasq: true, Addresses: []Address{{CIDR: "192.168.122.1/24"}}})
		if tt.host != nil {
			tt.host(&h)
		}
		c := h.Without(tt.v, "", tt.users)
		var got []string
		for _, k := range c.Concerns {
			got = append(got, k.Evidence)
			if k.Severity != "blocker" || k.ID != ConcernInUse {
				t.Errorf("%s: %+v", tt.name, k)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if wire := strings.Join(c.Wire, ""); !strings.Contains(wire, tt.wire) || (wire == "") != (tt.wire == "") {
			t.Errorf("%s: on the wire: %q", tt.name, wire)
		}
		steps, _ := shown(c)
		if diff := cmp.Diff([]string{"virtual " + tt.v.Name, "check", "confirm"}, steps); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
