package network

import (
	"slices"
	"testing"
)

func TestFleeting(t *testing.T) {
	netdev := File{Path: "/usr/lib/systemd/network/a.netdev", Text: "[NetDev]\nName = eno1.42\nKind=vlan\n"}
	parent := File{Path: "/run/systemd/network/lan.network.d/x.conf", Text: "[Network]\nVLAN=eno1.7 eno1.42\n"}
	for _, tt := range []struct {
		name string
		host func(h *Host)
		want []string
	}{
		{"nothing makes it", func(*Host) {}, []string{"eno1.42"}},
		{"it is there, made by hand", func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42})
		}, []string{"eno1.42"}},
		{"networkd does", func(h *Host) { h.Files = append(h.Files, netdev, parent) }, nil},
		{"nothing attaches it", func(h *Host) { h.Files = append(h.Files, netdev) }, []string{"eno1.42"}},
		{"a longer name is attached", func(h *Host) {
			h.Files = append(h.Files, netdev, File{Path: parent.Path, Text: "[Network]\nVLAN=eno1.421\n"})
		}, []string{"eno1.42"}},
		{"nothing says how", func(h *Host) { h.Files = append(h.Files, parent) }, []string{"eno1.42"}},
		{"networkd would, if it ran", func(h *Host) { h.Networkd.Running, h.Files = false, append(h.Files, netdev, parent) }, []string{"eno1.42"}},
		{"ifupdown does", func(h *Host) { h.Managers = []Manager{{Name: Ifupdown, Links: []string{"eno1.42"}}} }, nil},
		{"who knows", func(h *Host) { h.Networkd.Unknown = "no D-Bus" }, nil},
		{"esxodus did", func(h *Host) {
			p := plannedFor(t, h, "eno1", "DMZ", "VM Network")
			c, err := h.Changes(p)
			if err != nil {
				t.Fatal(err)
			}
			*h = applied(*h, c)
		}, nil},
	} {
		h := kvm()
		p := plannedFor(t, &h, "eno1", "DMZ", "VM Network")
		tt.host(&h)
		if got := h.Fleeting(&p); !slices.Equal(got, tt.want) {
			t.Errorf("%s: Fleeting = %q; want %q", tt.name, got, tt.want)
		}
	}
}
