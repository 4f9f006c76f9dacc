package network

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/ledger"
)

// kvm is a host whose eno1 networkd configures by lan.network, with nothing on it
// that networkd didn't make.
func kvm() Host {
	start := time.Unix(1000, 0)
	return Host{
		Name:     "kvm1",
		Networkd: Networkd{Running: true, Version: 252, Started: start},
		Links: []Link{
			{
				Name: "eno1", Index: 2, Up: true, Carrier: true, MTU: 1500, MAC: "52:54:00:00:00:01", Addresses: []Address{{CIDR: "192.0.2.2/24", Source: "static"}, {CIDR: "fe80::1/64", Scope: "link", Source: "foreign"}},
				Routes:   []Routes{{Protocol: "kernel", Table: 254, Family: 4, Count: 1, Examples: []string{"192.0.2.0/24"}}, {Protocol: "static", Table: 254, Family: 4, Count: 1, Default: true, Examples: []string{"default via 192.0.2.1"}}},
				Networkd: NetworkdOfLink{State: "configured", File: Dir + "/lan.network"},
			},
			{Name: "eno2", Index: 3, MTU: 1500, MAC: "52:54:00:00:00:02", Networkd: NetworkdOfLink{State: "unmanaged"}},
		},
		Files: []File{{Path: Dir + "/lan.network", Text: "[Match]\nName=eno1\n", Changed: start.Add(-time.Hour)}},
	}
}

// plannedFor plans port groups for a host.
func plannedFor(t *testing.T, h *Host, dev string, portGroups ...string) Plan {
	t.Helper()
	p, err := New(esx(), portGroups, h.Fill(Options{Uplinks: map[string]string{"": dev}}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// applied is the host after all that the changes do, and a boot.
func applied(h Host, c Changes) Host {
	for _, f := range c.Files {
		h.Files = slices.DeleteFunc(h.Files, func(old File) bool { return old.Path == f.Path })
		h.Files = append(h.Files, File{Path: f.Path, Text: f.New, Changed: h.Networkd.Started})
	}
	for _, s := range c.Steps {
		for i := range h.Links {
			h.Links[i].Up = h.Links[i].Up || h.Links[i].Name == s.Link
		}
		if d := s.Device; d != nil {
			h.Links = append(h.Links, Link{Name: d.Name, Kind: d.Kind, Parent: d.Parent, VLAN: d.VLAN, Up: true})
		}
		if v := s.Virtual; v != nil {
			h.Virtuals = &Virtuals{URI: v.URI, Networks: []Virtual{*v.New}}
		}
	}
	return h
}

// shown is what a case is compared by: the steps, and the concerns with their
// severity.
func shown(c Changes) (steps, concerns []string) {
	for _, s := range c.Steps {
		what := ""
		switch {
		case s.File != nil:
			what = " " + strings.TrimPrefix(s.File.Path, path.Dir(Dir)+"/")
		case s.Device != nil:
			what = " " + s.Device.Name
		case s.Link != "":
			what = " " + s.Link
		case s.VFs != nil:
			what = fmt.Sprintf(" %s %d", s.VFs.Device, s.VFs.Count)
		case s.Virtual != nil:
			what = " " + s.Virtual.Of().Name
		}
		steps = append(steps, string(s.Kind)+what)
	}
	for _, k := range c.Concerns {
		concerns = append(concerns, fmt.Sprintf("%s %s %s", k.Severity, k.ID, k.Subject))
	}
	return steps, concerns
}

func TestChanges(t *testing.T) {
	const (
		macvtap = "file network/10-esxodus-macvtap.network"
		netdev  = "file network/20-esxodus-eno1.42.netdev"
		own     = "file network/20-esxodus-eno1.42.network"
		dropIn  = "file network/lan.network.d/esxodus-eno1.42.conf"
		keep    = "file network/lan.network.d/esxodus-keep.conf"
		rules   = "file networkd.conf.d/esxodus-rules.conf"
	)
	whole := []string{macvtap, netdev, own, "reload", "device eno1.42", "check", "confirm", dropIn, "record"}
	quiet := []string{macvtap, netdev, own, "device eno1.42", "check", "confirm", dropIn, "record"}
	keeping := []string{macvtap, netdev, own, "reload", "device eno1.42", "check", "confirm", dropIn, keep, "record"}
	first := func(h *Host) *Link { return &h.Links[0] }
	bird := Routes{Protocol: "bird", Table: 254, Family: 4, Count: 900000, Foreign: true, Examples: []string{"203.0.113.0/24 via 192.0.2.1"}}
	later := time.Unix(2000, 0)
	for _, tt := range []struct {
		name     string
		uplink   string // eno1 by default
		group    string // DMZ, with VLAN 42, by default
		host     func(h *Host)
		steps    []string
		concerns []string
	}{
		{name: "a plain host", steps: whole},
		{name: "untagged: no device", group: "VM Network", steps: []string{macvtap, "reload", "check", "confirm", "record"}},
		{name: "no uplink: a dummy", group: "lab", steps: []string{macvtap, "file network/20-esxodus-esx-533f0987cf.netdev", "file network/20-esxodus-esx-533f0987cf.network", "reload", "device esx-533f0987cf", "check", "confirm", "record"}},
		{name: "no such interface", uplink: "eno7", steps: nil, concerns: []string{"blocker network.no-link eno7"}},
		{name: "no carrier", host: func(h *Host) { first(h).Carrier = false }, steps: whole, concerns: []string{"warning network.carrier eno1"}},
		{name: "a bond's port", host: func(h *Host) { first(h).Master = "bond0" }, concerns: []string{"blocker network.port eno1"}},
		{name: "the device is there", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42})
		}, steps: []string{macvtap, netdev, own, "reload", "check", "confirm", dropIn, "record"}},
		{name: "the device is there, with an address of a person's", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42, Addresses: []Address{{CIDR: "198.51.100.2/24"}}})
		}, concerns: []string{"blocker network.own eno1.42"}},
		{name: "the device is there, from ifupdown", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42})
			h.Managers = []Manager{{Name: Ifupdown, Links: []string{"eno1.42"}}}
		}, concerns: []string{"blocker network.own eno1.42"}},
		{name: "the device is there, by a file that others have too", host: func(h *Host) {
			all := NetworkdOfLink{State: "configured", File: Dir + "/30-vlans.network"}
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42, Networkd: all}, Link{Name: "eno1.43", Kind: "vlan", Parent: "eno1", VLAN: 43, Networkd: all})
		}, concerns: []string{"blocker network.own eno1.42"}},
		{name: "the device is there, a bridge's port", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 42, Master: "br42"})
		}, concerns: []string{"blocker network.port eno1.42"}},
		{name: "the device is there by its own file, a bridge's port", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", MAC: "52:54:00:00:00:01", Parent: "eno1", VLAN: 42, Master: "br42", Networkd: NetworkdOfLink{File: Dir + "/42.network"}})
		}, concerns: []string{"blocker network.port eno1.42"}},
		{name: "the device is there by its own file", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", MAC: "52:54:00:00:00:01", Parent: "eno1", VLAN: 42, Networkd: NetworkdOfLink{File: Dir + "/42.network"}})
		}, steps: []string{macvtap, "reload", "check", "confirm", "record"}},
		{name: "the device is there by another name", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "vlan42", Kind: "vlan", Parent: "eno1", VLAN: 42})
		}, concerns: []string{"blocker network.own eno1.42"}},
		{name: "another uplink has that VLAN", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "vlan42", Kind: "vlan", Parent: "eno2", VLAN: 42})
		}, steps: whole},
		{name: "the device has another id", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno1", VLAN: 43})
		}, concerns: []string{"blocker network.clash eno1.42"}},
		{name: "the device is on another uplink", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "vlan", Parent: "eno2", VLAN: 42})
		}, concerns: []string{"blocker network.clash eno1.42"}},
		{name: "the device's name is a bridge's", host: func(h *Host) { h.Links = append(h.Links, Link{Name: "eno1.42", Kind: "bridge"}) }, concerns: []string{"blocker network.clash eno1.42"}},
		{name: "a file of ours that differs", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/20-esxodus-eno1.42.network", Text: "old"})
		}, steps: whole},
		{name: "bird's routes", host: func(h *Host) { first(h).Routes = append(first(h).Routes, bird) }, steps: keeping},
		{name: "an address of a person's", host: func(h *Host) { first(h).Addresses[0].Source = "foreign" }, steps: keeping},
		{name: "an address of nobody knows", host: func(h *Host) { first(h).Addresses[0].Source = "" }, steps: keeping},
		{name: "a static route of a person's", host: func(h *Host) { first(h).Routes[1].Foreign = true }, steps: keeping},
		{name: "bird's routes, networkd 247", host: func(h *Host) {
			h.Networkd.Version, first(h).Routes = 247, append(first(h).Routes, bird)
		}, steps: whole, concerns: []string{"warning network.keep eno1"}},
		{name: "bird's routes, an unknown release", host: func(h *Host) {
			h.Networkd.Version, first(h).Routes = 0, append(first(h).Routes, bird)
		}, steps: whole, concerns: []string{"warning network.keep eno1"}},
		{name: "bird's routes and a lease", host: func(h *Host) {
			first(h).Addresses[0].Source, first(h).Routes = "DHCPv4", append(first(h).Routes, bird)
		}, steps: whole, concerns: []string{"warning network.keep eno1"}},
		{name: "a lease alone", host: func(h *Host) { first(h).Addresses[0].Source = "DHCPv4" }, steps: whole},
		{name: "bird's routes on another link", host: func(h *Host) { h.Links[1].Routes = []Routes{bird} }, steps: whole},
		{
			name: "a rule of a person's", host: func(h *Host) { h.Rules = []Rule{{Text: "ip rule 5", Protocol: "boot"}} },
			steps:    []string{macvtap, netdev, own, "device eno1.42", "check", "confirm", dropIn, rules, "record"},
			concerns: []string{"note network.keep rules", "note network.reload networkd"},
		},
		{name: "a rule of a person's, networkd 247", host: func(h *Host) {
			h.Networkd.Version, h.Rules = 247, []Rule{{Text: "ip rule 5", Protocol: "boot"}}
		}, steps: whole},
		{name: "a rule of networkd's", host: func(h *Host) {
			h.Rules, h.Files[0].Text = []Rule{{Text: "ip rule 5", Protocol: "static"}}, h.Files[0].Text+"[RoutingPolicyRule]\nTable=5\n"
		}, steps: whole},
		{
			name: "a static rule that networkd can't have made", host: func(h *Host) { h.Rules = []Rule{{Text: "ip rule 5", Protocol: "static"}} },
			steps:    []string{macvtap, netdev, own, "device eno1.42", "check", "confirm", dropIn, rules, "record"},
			concerns: []string{"note network.keep rules", "note network.reload networkd"},
		},
		{name: "a rule, and networkd was told to keep it", host: func(h *Host) {
			h.Rules = []Rule{{Text: "ip rule 5", Protocol: "boot"}}
			h.Files = append(h.Files, File{Path: "/etc/systemd/networkd.conf", Text: "[Network]\nManageForeignRoutingPolicyRules=no\n"})
		}, steps: []string{macvtap, netdev, own, "reload", "device eno1.42", "check", "confirm", dropIn, rules, "record"}},
		{
			name: "a rule, and networkd is told to keep it at its next start", host: func(h *Host) {
				h.Rules = []Rule{{Text: "ip rule 5", Protocol: "boot"}}
				h.Files = append(h.Files, File{Path: "/etc/systemd/networkd.conf", Text: "[Network]\nManageForeignRoutingPolicyRules=no\n", Changed: later})
			}, steps: []string{macvtap, netdev, own, "device eno1.42", "check", "confirm", dropIn, rules, "record"},
			concerns: []string{"note network.keep rules", "note network.reload networkd"},
		},
		{name: "the uplink's file was changed", host: func(h *Host) { h.Files[0].Changed = later }, steps: quiet, concerns: []string{"note network.reload networkd"}},
		{name: "a drop-in of the uplink's was changed", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: "/run/systemd/network/lan.network.d/x.conf", Changed: later})
		}, steps: quiet, concerns: []string{"note network.reload networkd"}},
		{name: "a drop-in of ours waits for the next boot", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/lan.network.d/esxodus-eno1.7.conf", Changed: later})
		}, steps: quiet, concerns: []string{"note network.reload networkd"}},
		{name: "a file of another link's was changed", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: "/usr/lib/systemd/network/x.network", Text: "[Match]\nName=wlan0\n", Changed: later})
		}, steps: quiet, concerns: []string{"note network.reload networkd"}},
		{name: "a device's file of ours was changed", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/20-esxodus-eno1.7.network", Text: "[Match]\nName=eno1.7\n", Changed: later})
		}, steps: whole},
		{name: "it isn't known when networkd started", host: func(h *Host) { h.Networkd.Started = time.Time{} }, steps: quiet, concerns: []string{"note network.reload networkd"}},
		{name: "a file for all links sorts before ours", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/10-all.network", Text: "[Match]\nName=en*\n"})
		}, concerns: []string{"blocker network.caught eno1.42"}},
		{name: "one for the uplink's MAC, too", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/10-lan.network", Text: "[Match]\nMACAddress=52-54-00-00-00-01\n"})
		}, concerns: []string{"blocker network.caught eno1.42"}},
		{name: "one for physical links only doesn't", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/10-all.network", Text: "[Match]\nType=ether\nKind=!*\n"})
		}, steps: whole},
		{name: "one for a permanent MAC doesn't", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/10-all.network", Text: "[Match]\nPermanentMACAddress=52:54:00:00:00:01\n"})
		}, steps: whole},
		{name: "one that names others doesn't", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/10-all.network", Text: "[Match]\nName=en*\nName=\nName=!eno1*\n"})
		}, steps: whole},
		{
			name: "udev names the uplink by its MAC, which the device has too", host: func(h *Host) {
				h.Files = append(h.Files, File{Path: Dir + "/10-lan.link", Text: "[Match]\nMACAddress=5254.0000.0001\n[Link]\nName=eno1\n"})
			},
			steps:    []string{"file network/10-esxodus-eno1.42.link", macvtap, netdev, own, "udev", "reload", "device eno1.42", "check", "confirm", dropIn, "record"},
			concerns: []string{"note network.caught eno1.42"},
		},
		{
			name: "a drop-in does so, for all kinds of links", host: func(h *Host) {
				h.Files = append(h.Files,
					File{Path: Dir + "/30-vlans.link", Text: "[Match]\nType=vlan\n"},
					File{Path: "/run/systemd/network/30-vlans.link.d/x.conf", Text: "[Link]\nAlternativeName=guests\n"})
			},
			steps:    []string{macvtap, "file network/20-esxodus-eno1.42.link", netdev, own, "udev", "reload", "device eno1.42", "check", "confirm", dropIn, "record"},
			concerns: []string{"note network.caught eno1.42"},
		},
		{name: "nothing comes before udev's file", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/!lan.link", Text: "[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nName=eno1\n"})
		}, concerns: []string{"blocker network.caught eno1.42"}},
		{name: "udev's file for a permanent MAC, or one that names nothing, doesn't", host: func(h *Host) {
			h.Files = append(h.Files,
				File{Path: Dir + "/10-lan.link", Text: "[Match]\nPermanentMACAddress=52:54:00:00:00:01\n[Link]\nName=eno1\n"},
				File{Path: Dir + "/11-lan.link", Text: "[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nWakeOnLan=magic\n"},
				File{Path: "/usr/lib/systemd/network/99-default.link", Text: "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database\n"})
		}, steps: whole},
		{name: "a file for all links sorts after ours", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/90-all.network", Text: "[Match]\nName=*\n"})
		}, steps: whole},
		{name: "a file for all links, and no reload", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/90-all.network", Text: "[Match]\nName=*\n"})
			h.Files[0].Changed = later
		}, concerns: []string{"blocker network.reload eno1.42"}},
		{name: "NetworkManager's link", host: func(h *Host) {
			first(h).Networkd = NetworkdOfLink{State: "unmanaged"}
			h.Managers = []Manager{{Name: NetworkManager, Links: []string{"eno1"}}}
		}, concerns: []string{"blocker network.manager eno1"}},
		{name: "NetworkManager's, but another link", host: func(h *Host) { h.Managers = []Manager{{Name: NetworkManager, Links: []string{"eno2"}}} }, steps: whole},
		{name: "ifupdown's link", host: func(h *Host) {
			first(h).Networkd = NetworkdOfLink{}
			h.Managers = []Manager{{Name: Ifupdown, Links: []string{"eno1"}}}
		}, concerns: []string{"blocker network.manager eno1"}},
		{name: "ifupdown's and networkd's", host: func(h *Host) { h.Managers = []Manager{{Name: Ifupdown, Links: []string{"eno1"}}} }, concerns: []string{"blocker network.manager eno1"}},
		{name: "ifupdown's, untagged", group: "VM Network", host: func(h *Host) { h.Managers = []Manager{{Name: Ifupdown, Links: []string{"eno1"}}} }, steps: []string{macvtap, "reload", "check", "confirm", "record"}},
		{
			name: "Netplan's link", host: func(h *Host) {
				first(h).Networkd.File = "/run/systemd/network/10-netplan-eno1.network"
				h.Managers = []Manager{{Name: Netplan, Links: []string{"eno1"}}}
			}, steps: []string{macvtap, netdev, own, "reload", "device eno1.42", "check", "confirm", "file network/10-netplan-eno1.network.d/esxodus-eno1.42.conf", "record"},
			concerns: []string{"warning network.manager eno1"},
		},
		{name: "networkd doesn't run", host: func(h *Host) { h.Networkd = Networkd{Version: 252} }, concerns: []string{"blocker network.networkd eno1"}},
		{name: "D-Bus doesn't answer", host: func(h *Host) { h.Networkd.Unknown = "no D-Bus" }, concerns: []string{"blocker network.networkd eno1"}},
		{name: "nobody's link, with an address", host: func(h *Host) { first(h).Networkd = NetworkdOfLink{State: "unmanaged"} }, concerns: []string{"blocker network.unowned eno1"}},
		{name: "nobody's link, with a route", uplink: "eno2", host: func(h *Host) { h.Links[1].Routes = []Routes{bird} }, concerns: []string{"blocker network.unowned eno2"}},
		{name: "nobody's link, unused", uplink: "eno2", steps: []string{
			macvtap, "file network/20-esxodus-eno2.42.netdev", "file network/20-esxodus-eno2.42.network", "reload", "device eno2.42", "up eno2", "check", "confirm",
			"file network/zz-esxodus-eno2.network", "file network/zz-esxodus-eno2.network.d/esxodus-eno2.42.conf", "record",
		}},
		{name: "two links with one file", host: func(h *Host) { h.Links[1].Networkd = first(h).Networkd }, concerns: []string{"blocker network.shared eno1"}},
		{name: "LXD's bridge", host: func(h *Host) {
			h.Links = append(h.Links, Link{Name: "internal0", Kind: "bridge", Dnsmasq: true, LXD: true})
		}, steps: whole, concerns: []string{"note network.default internal0"}},
		{name: "libvirt's bridge", host: func(h *Host) { h.Links = append(h.Links, Link{Name: "virbr0", Kind: "bridge", Dnsmasq: true}) }, steps: whole, concerns: []string{"note network.default virbr0"}},
		{name: "a bridge of the host's", host: func(h *Host) { h.Links = append(h.Links, Link{Name: "br0", Kind: "bridge"}) }, steps: whole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := kvm()
			if tt.host != nil {
				tt.host(&h)
			}
			uplink, group := "eno1", "DMZ"
			if tt.uplink != "" {
				uplink = tt.uplink
			}
			if tt.group != "" {
				group = tt.group
			}
			c, err := h.Changes(plannedFor(t, &h, uplink, group))
			if err != nil {
				t.Fatal(err)
			}
			steps, concerns := shown(c)
			if diff := cmp.Diff(tt.concerns, concerns); diff != "" {
				t.Errorf("concerns (-want +got):\n%s", diff)
			}
			if ledger.Blocked(c.Concerns) {
				return // whatever the steps are, nobody takes them
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			after := applied(h, c)
			again, err := after.Changes(plannedFor(t, &after, uplink, group))
			if err != nil || !again.Empty() {
				t.Errorf("done, there is still to do: %+v, %v", again.Steps, err)
			}
		})
	}
}

// TestAsItIs: the advice about a device that the host has is a flag that works.
func TestAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name, master, want string
	}{
		{"vlan42", "", "--network DMZ=macvtap:vlan42"},
		{"vlan42", "br42", "--network DMZ=bridge:br42"},
		{"eno1.42", "", "--network DMZ=macvtap:eno1.42"},
	} {
		h := kvm()
		h.Links = append(h.Links, Link{Name: "br42", Kind: "bridge", MAC: h.Links[0].MAC},
			Link{Name: tt.name, Kind: "vlan", MAC: h.Links[0].MAC, Parent: "eno1", VLAN: 42, Master: tt.master, Addresses: []Address{{CIDR: "198.51.100.2/24"}}})
		c, err := h.Changes(plannedFor(t, &h, "eno1", "DMZ"))
		if err != nil || len(c.Concerns) != 1 || !strings.Contains(c.Concerns[0].Advice, "`"+tt.want+"`") {
			t.Fatalf("%s: want %q in %+v, %v", tt.name, tt.want, c.Concerns, err)
		}
		_, target, _ := strings.Cut(tt.want, "=")
		p, err := New(esx(), []string{"DMZ"}, h.Fill(Options{Map: map[string]string{"DMZ": target}}))
		if err != nil {
			t.Fatal(err)
		}
		if c, err = h.Changes(p); err != nil || ledger.Blocked(c.Concerns) {
			t.Errorf("%s, as advised: %+v, %v", tt.name, c.Concerns, err)
		}
	}
}

// TestUnknownNetworkd: that networkd can't be asked doesn't mean that it is off.
func TestUnknownNetworkd(t *testing.T) {
	h := kvm()
	h.Networkd = Networkd{Version: 252, Unknown: "D-Bus doesn't answer"}
	c, err := h.Changes(plannedFor(t, &h, "eno1", "DMZ"))
	if err != nil || len(c.Concerns) != 1 || !strings.Contains(c.Concerns[0].Evidence, h.Networkd.Unknown) {
		t.Errorf("%+v, %v; want %q said", c.Concerns, err, h.Networkd.Unknown)
	}
}

// TestAbsent: a file for an interface that there isn't draws a word.
func TestAbsent(t *testing.T) {
	h := kvm()
	p, err := New(esx(), []string{"DMZ"}, h.Fill(Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno9": "wan.network", "eno1": "lan.network"}}))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernUnused })
	if i < 0 || !strings.Contains(p.Concerns[i].Evidence, `--network-file names "eno9"`) || slices.ContainsFunc(p.Concerns, func(c ledger.Concern) bool { return c.ID == ConcernUnused && c.Subject == "eno1" }) {
		t.Errorf("concerns: %+v", p.Concerns)
	}
}

// TestUnfit: domains are attached only to links that can have them.
func TestUnfit(t *testing.T) {
	const mac = "52:54:00:00:00:03"
	for _, tt := range []struct {
		to   string
		link Link
		want []string
	}{
		{"bridge:br0", Link{Name: "br0", Kind: "bridge", MAC: mac}, nil},
		{"bridge:eno3", Link{Name: "eno3", MAC: mac}, []string{"blocker network.unfit eno3"}},
		{"bridge:bond0", Link{Name: "bond0", Kind: "bond", MAC: mac}, []string{"blocker network.unfit bond0"}},
		{"bridge:ovs0", Link{Name: "ovs0", Kind: "openvswitch", MAC: mac}, []string{"blocker network.unfit ovs0"}},
		{"macvtap:br0", Link{Name: "br0", Kind: "bridge", MAC: mac}, nil},
		{"macvtap:lo", Link{Name: "lo", MAC: "00:00:00:00:00:00"}, []string{"blocker network.unfit lo"}},
		{"macvtap:wg0", Link{Name: "wg0", Kind: "wireguard"}, []string{"blocker network.unfit wg0"}},
		{"macvtap:ib0", Link{Name: "ib0", MAC: "80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01"}, []string{"blocker network.unfit ib0"}},
		{"macvtap:eno3", Link{Name: "eno3", MAC: mac}, nil},
		{"macvtap:wlan0", Link{Name: "wlan0", MAC: mac, Wireless: true}, []string{"blocker network.unfit wlan0"}},
		{"none", Link{Name: "lo", MAC: "00:00:00:00:00:00"}, nil},
	} {
		t.Run(tt.to, func(t *testing.T) {
			h := kvm()
			h.Links = append(h.Links, tt.link)
			p, err := New(esx(), []string{"DMZ"}, h.Fill(Options{Map: map[string]string{"DMZ": tt.to}}))
			if err != nil {
				t.Fatal(err)
			}
			c, err := h.Changes(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, got := shown(c); !slices.Equal(got, tt.want) {
				t.Errorf("concerns %q; want %q", got, tt.want)
			}
		})
	}
}
