package network

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/ledger"
)

// able is a host whose eno2, which nobody uses, can have virtual functions.
func able() Host {
	h := kvm()
	h.IOMMU = true
	h.Virtuals = &Virtuals{URI: "qemu:///system"}
	l := &h.Links[1]
	l.Driver, l.MaxVFs, l.Path, l.LinkFile = "igb", 7, "pci-0000:01:00.0", "/usr/lib/systemd/network/99-default.link"
	l.VFPaths = []string{"pci-0000:01:10.0", "pci-0000:01:10.2"}
	h.Files = append(h.Files, File{Path: l.LinkFile, Text: "# systemd's\n[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep kernel\nMACAddressPolicy=persistent\n"})
	return h
}

// booted is a host after a boot: udev has applied the .link files that there are.
func booted(h Host) Host {
	h.Links = slices.Clone(h.Links)
	for i := range h.Links {
		l := &h.Links[i]
		if l.Path == "" {
			continue
		}
		for _, f := range h.Files {
			if f.Path == l.LinkFile && functionCount(f.Text) > 0 || strings.Contains(f.Text, "Path="+l.Path+"\n") || strings.Contains(f.Text, `"`+l.Path+`"`) {
				l.VFs = max(functionCount(f.Text), 4)
				if strings.HasSuffix(f.Path, ".link") {
					l.LinkFile = f.Path
				}
			}
		}
	}
	return h
}

// poolOf plans virtual functions on eno2.
func poolOf(t *testing.T, from, h *Host) Plan {
	t.Helper()
	p, err := New(esx(), []string{"DMZ"}, from.Fill(Options{Uplinks: map[string]string{"": "eno2"}, Functions: map[string]int{"eno2": 4}}))
	if err != nil || len(p.Pools) != 1 {
		t.Fatalf("no virtual functions: %+v, %v", p.Concerns, err)
	}
	return p
}

// TestPools: what is done for virtual functions on each kind of host, which asks for
// no more once it is done, also after a boot; and that what makes them at the next
// boot is missed before, and not after.
func TestPools(t *testing.T) {
	const (
		networkd = "file network/10-esxodus-vf-eno2.network"
		link     = "file network/10-esxodus-vf-eno2.link"
		network  = "virtual esxodus-vf-eno2"
	)
	whole := []string{networkd, "reload", "vfs eno2 4", network, "check", "confirm", link, "record"}
	later := []string{networkd, "reload", network, "check", "confirm", link, "record"}
	nic := func(h *Host) *Link { return &h.Links[1] }
	linkFile := func(name, text string) func(h *Host) {
		return func(h *Host) {
			h.Files, nic(h).LinkFile = append(h.Files, File{Path: name, Text: text}), name
		}
	}
	for _, tt := range []struct {
		name     string
		host     func(h *Host)
		steps    []string
		concerns []string
	}{
		{name: "none made, unused", steps: whole},
		{name: "in use, and the driver resets the link", host: func(h *Host) { nic(h).Addresses = []Address{{CIDR: "192.0.2.9/24", Source: "static"}} }, steps: later, concerns: []string{"warning network.vfs-boot eno2"}},
		{name: "under a VLAN device", host: func(h *Host) { h.Links = append(h.Links, Link{Name: "eno2.7", Parent: "eno2"}) }, steps: later, concerns: []string{"warning network.vfs-boot eno2"}},
		{name: "in use, and the driver is steady", host: func(h *Host) {
			nic(h).Driver, nic(h).Addresses = "mlx5_core", []Address{{CIDR: "192.0.2.9/24"}}
		}, steps: whole},
		{name: "made already, by hand", host: func(h *Host) { nic(h).VFs = 4 }, steps: later},
		{name: "made by a unit, of bnxt", host: func(h *Host) { nic(h).Driver, nic(h).VFs = late, 4 }, steps: []string{networkd, "reload", network, "check", "confirm", "record"}},
		{name: "made already, more", host: func(h *Host) { nic(h).VFs, nic(h).UsedVFs = 5, 5 }, steps: later},
		{name: "made already, fewer", host: func(h *Host) { nic(h).VFs = 2 }, concerns: []string{"blocker network.vfs eno2"}},
		{name: "the adapter is another one by now", host: func(h *Host) { nic(h).MaxVFs = 0 }, concerns: []string{"blocker network.vfs eno2"}},
		{name: "the IOMMU is off by now", host: func(h *Host) { h.IOMMU = false }, concerns: []string{"blocker network.vfs eno2"}},
		{name: "a .link file of its own", host: linkFile(Dir+"/50-lan.link", "[Match]\nMACAddress=52:54:00:00:00:02\n[Link]\nName=eno2\n"), steps: whole},
		{name: "one whose directory has two names", host: func(h *Host) {
			linkFile("/usr/lib/systemd/network/50-lan.link", "[Link]\nSR-IOVVirtualFunctions=2\n")(h)
			nic(h).LinkFile = "/lib/systemd/network/50-lan.link"
		}, concerns: []string{"blocker network.vfs eno2"}},
		{name: "one that sorts early", host: linkFile(Dir+"/05-lan.link", "[Link]\nName=eno2\n"), steps: []string{networkd, "reload", "vfs eno2 4", network, "check", "confirm", "file network/00-esxodus-vf-eno2.link", "record"}},
		{name: "one that nothing sorts before", host: linkFile(Dir+"/!.link", "[Link]\nName=eno2\n"), concerns: []string{"blocker network.vfs eno2"}},
		{name: "one that makes as many", host: linkFile(Dir+"/50-lan.link", "[Link]\nSR-IOVVirtualFunctions=4\n"), steps: []string{networkd, "reload", "vfs eno2 4", network, "check", "confirm", "record"}},
		{name: "one that makes others", host: linkFile(Dir+"/50-lan.link", "[Link]\nSR-IOVVirtualFunctions=2\n"), concerns: []string{"blocker network.vfs eno2"}},
		{name: "systemd 247", host: func(h *Host) { h.Networkd.Version = 247 }, steps: []string{networkd, "reload", "vfs eno2 4", network, "check", "confirm", "file /etc/udev/rules.d/82-esxodus-vf-eno2.rules", "record"}},
		{name: "libvirt wasn't asked", host: func(h *Host) { h.Virtuals = nil }, concerns: []string{"blocker network.vf-network eno2"}},
		{name: "libvirt doesn't answer", host: func(h *Host) { h.Virtuals.Unknown = "no" }, concerns: []string{"blocker network.vf-network eno2"}},
		{name: "another network of that name", host: func(h *Host) {
			h.Virtuals.Networks = []Virtual{{Name: "esxodus-vf-eno2", UUID: "1"}}
		}, concerns: []string{"blocker network.vf-network esxodus-vf-eno2"}},
		{name: "a file for all links, and no reload", host: func(h *Host) {
			h.Files = append(h.Files, File{Path: Dir + "/90-all.network", Text: "[Match]\nName=*\n"})
			h.Files[0].Changed = time.Unix(2000, 0)
		}, concerns: []string{"blocker network.reload eno2v0"}},
		{name: "NetworkManager", host: func(h *Host) { h.Managers = []Manager{{Name: NetworkManager}} }, steps: whole, concerns: []string{"warning network.manager eno2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fine, h := able(), able()
			if tt.host != nil {
				tt.host(&h)
			}
			p := poolOf(t, &fine, &h)
			c, err := h.Changes(p)
			if err != nil {
				t.Fatal(err)
			}
			steps, concerns := shown(c)
			if diff := cmp.Diff(tt.concerns, concerns); diff != "" {
				t.Errorf("concerns (-want +got):\n%s", diff)
			}
			if ledger.Blocked(c.Concerns) {
				return
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if got := h.Unmade(&p); (len(got) == 0) != (nic(&h).VFs > 0) {
				t.Errorf("without virtual functions: %q", got)
			}
			if got := h.Fleeting(&p); len(got) != 1 {
				t.Errorf("before: %q", got)
			}
			after := booted(applied(h, c))
			if got := after.Fleeting(&p); len(got) != 0 {
				t.Errorf("done, and still missing: %q", got)
			}
			again, err := after.Changes(p)
			if err != nil || !again.Empty() {
				t.Errorf("done, there is still to do: %+v, %v", again.Steps, err)
			}
		})
	}
}

// TestFunctionFiles: a .link file of ours matches the adapter alone, and has what the
// one had that counted, with its drop-ins, but its [Match].
func TestFunctionFiles(t *testing.T) {
	h := able()
	h.Files = append(h.Files, File{Path: "/etc/systemd/network/99-default.link.d/x.conf", Text: "[Link]\nMTUBytes=9000\n[SR-IOV]\nVirtualFunction=1\nTrust=yes\n"})
	p := poolOf(t, &h, &h)
	c, err := h.Changes(p)
	if err != nil {
		t.Fatal(err)
	}
	wantFiles := map[string]string{
		"10-esxodus-vf-eno2.link": `# Made by esxodus: virtual functions for domains.

[Match]
Path=pci-0000:01:00.0

[Link]
SR-IOVVirtualFunctions=4

# As in /usr/lib/systemd/network/99-default.link, which counted until now:
[Link]
NamePolicy=keep kernel
MACAddressPolicy=persistent
MTUBytes=9000
[SR-IOV]
VirtualFunction=1
Trust=yes
`,
		"10-esxodus-vf-eno2.network": `# Virtual functions of eno2 are for domains.

[Match]
Path=pci-0000:01:10.0 pci-0000:01:10.2

[Link]
Unmanaged=yes
`,
	}
	got := map[string]string{}
	for _, f := range c.Files {
		got[path.Base(f.Path)] = f.New
	}
	if diff := cmp.Diff(wantFiles, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	i := slices.IndexFunc(c.Steps, func(s Step) bool { return s.Virtual != nil })
	const id = "84622e74-a235-82bb-b300-1fb0deb3a5d0"
	want := Virtual{
		Name: "esxodus-vf-eno2", UUID: id, Active: true, Persistent: true, AutoStart: true,
		XML: "<network>\n  <name>esxodus-vf-eno2</name>\n  <uuid>" + id + "</uuid>\n  <forward mode='hostdev' managed='yes'>\n    <pf dev='eno2'/>\n  </forward>\n</network>\n",
	}
	if diff := cmp.Diff(&want, c.Steps[i].Virtual.New); diff != "" {
		t.Errorf("libvirt's network (-want +got):\n%s", diff)
	}
}

// TestDemand: NICs are counted against what each host of the set has.
func TestDemand(t *testing.T) {
	h := able()
	p := poolOf(t, &h, &h)
	here := h.Functions()
	full := here
	full.Host, full.Adapters = "kvm2", slices.Clone(here.Adapters)
	full.Adapters[1].Made, full.Adapters[1].Used = 4, 2
	for _, tt := range []struct {
		nics int
		want int
	}{{2, 0}, {3, 1}, {4, 1}, {5, 2}} {
		p.Concerns = nil
		p.Demand([]HostFunctions{here, full}, func(a Attachment) int { return map[string]int{"DMZ": tt.nics, "VM Network": 9}[a.PortGroup] })
		if len(p.Concerns) != tt.want {
			t.Errorf("%d NICs: %+v, want %d concerns", tt.nics, p.Concerns, tt.want)
		}
	}
}

func TestParseFunctions(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want map[string]int
	}{
		{in: []string{"eno1=8", "eno2", "eno1=8"}, want: map[string]int{"eno1": 8, "eno2": 0}},
		{in: []string{"eno1=0"}},
		{in: []string{"eno1=x"}},
		{in: []string{"e/1=4"}},
		{in: []string{"eno1=8", "eno1=4"}},
	} {
		got, err := ParseFunctions(tt.in)
		if (err == nil) != (tt.want != nil) || !cmp.Equal(got, tt.want) {
			t.Errorf("ParseFunctions(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
	for target, good := range map[string]bool{"sriov:eno1": true, "sriov:eno1,4094": true, "sriov": false, "sriov:": false, "sriov:eno1,": false, "sriov:eno1,4095": false, "sriov:eno1,private": false} {
		if _, err := parseTarget(target); (err == nil) != good {
			t.Errorf("parseTarget(%q): %v", target, err)
		}
	}
}
