package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"
)

func TestProof(t *testing.T) {
	vm := everything()
	o := options(vm)
	o.HostMHz = 1000
	r, err := New(vm, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	r.Domain.Devices.Hostdevs = []libvirtxml.DomainHostdev{{SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: pciAddress(59, 0, 0).PCI}}}}
	r.Domain.Devices.TPMs = []libvirtxml.DomainTPM{{Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{PersistentState: "yes"}}}}
	r.Domain.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: "/var/lib/libvirt/qemu/nvram/real.fd"}
	before, err := r.Domain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	opts := ProofOptions{Name: "p", UUID: "b0075000-0000-4000-8000-000000000001", Overlays: map[string]string{"sda": "/o/sda", "sdb": "/o/sdb"}, NVRAM: "/o/vars.fd", ConsoleSocket: "/o/console"}
	p, err := Proof(r.Domain, opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"/dev/vg0", "cputune", "memtune", "memoryBacking", "hostdev", "type=\"direct\"", "type=\"bridge\"", "eno1", "br0", "metadata", "graphics", "persistent_state", "real.fd", "iotune", "bandwidth", r.Domain.UUID} {
		if strings.Contains(text, bad) {
			t.Errorf("the proof holds %q:\n%s", bad, text)
		}
	}
	for i, n := range p.Devices.Interfaces {
		real := r.Domain.Devices.Interfaces[i]
		if n.Source.User == nil || n.Link.State != "down" || n.MAC.Address != real.MAC.Address || n.Model.Type != real.Model.Type || showPCI(n.Address) != showPCI(real.Address) {
			t.Errorf("interface %d: %+v", i, n)
		}
	}
	if s := p.Devices.Serials[0].Source.UNIX; s == nil || s.Path != "/o/console" {
		t.Errorf("console: %+v", p.Devices.Serials[0].Source)
	}
	if p.OnReboot != "destroy" || p.OS.NVRam.NVRam != "/o/vars.fd" {
		t.Errorf("on reboot %s, NVRAM %+v", p.OnReboot, p.OS.NVRam)
	}
	if after, _ := r.Domain.Marshal(); after != before {
		t.Errorf("Proof changed the domain: %s", cmp.Diff(before, after))
	}
	testWires(t, r.Domain, opts)
	delete(opts.Overlays, "sdb")
	if _, err := Proof(r.Domain, opts); err == nil || err.Error() != "proof of everything-even: disk sdb has no overlay" {
		t.Errorf("Proof without an overlay: %v", err)
	}
	opts.Name = r.Domain.Name
	if _, err := Proof(r.Domain, opts); err == nil {
		t.Error("Proof takes the domain's own name")
	}
}

// testWires has a proof whose NICs are on wires, but for the first one.
func testWires(t *testing.T, dom *libvirtxml.Domain, o ProofOptions) {
	t.Helper()
	for i := range dom.Devices.Interfaces {
		o.Wires = append(o.Wires, &Wire{From: uint16(2000 + i), To: uint16(1000 + i)})
	}
	o.Wires[0] = nil
	p, err := Proof(dom, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range p.Devices.Interfaces {
		real := dom.Devices.Interfaces[i]
		if n.MAC.Address != real.MAC.Address || n.Model.Type != real.Model.Type || showPCI(n.Address) != showPCI(real.Address) || !Harmless(n) {
			t.Errorf("interface %d: %+v", i, n)
		}
		text, err := n.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		wired := fmt.Sprintf(`<source address="127.0.0.1" port="%d">`, 1000+i)
		local := fmt.Sprintf(`<local address="127.0.0.1" port="%d"></local>`, 2000+i)
		if up := strings.Contains(text, wired) && strings.Contains(text, local) && n.Link.State == "up"; up != (i > 0) {
			t.Errorf("interface %d on a wire: %v: %s", i, up, text)
		}
	}
	o.Wires = o.Wires[1:]
	if _, err := Proof(dom, o); err == nil || !strings.Contains(err.Error(), "wires for") {
		t.Errorf("Proof with a wire too few: %v", err)
	}
}

// TestHarmless: no frame of a copy leaves the host.
func TestHarmless(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`<interface type="user"><link state="down"/></interface>`: true,
		`<interface type="user"><link state="up"/></interface>`:   false,
		`<interface type="user"/>`:                                false,
		`<interface type="udp"><source address="127.0.0.1" port="1"><local address="127.0.0.1" port="2"/></source></interface>`: true,
		`<interface type="udp"><source address="192.0.2.1" port="1"><local address="127.0.0.1" port="2"/></source></interface>`: false,
		`<interface type="udp"><source address="127.0.0.1" port="1"><local address="0.0.0.0" port="2"/></source></interface>`:   false,
		`<interface type="udp"><source address="127.0.0.1" port="1"/></interface>`:                                              false,
		`<interface type="udp"><source port="1"><local port="2"/></source></interface>`:                                         false,
		`<interface type="mcast"><source address="127.0.0.1" port="1"/></interface>`:                                            false,
		`<interface type="bridge"><source bridge="br0"/><link state="down"/></interface>`:                                       true,
		`<interface type="bridge"><source bridge="br0"/></interface>`:                                                           false,
	} {
		var n libvirtxml.DomainInterface
		if err := n.Unmarshal(text); err != nil {
			t.Fatal(err)
		}
		if got := Harmless(n); got != want {
			t.Errorf("Harmless(%s) = %v; want %v", text, got, want)
		}
	}
}
