package domain

import (
	"fmt"
	"slices"

	"libvirt.org/go/libvirtxml"
)

// ProofOptions is what makes a copy of a domain harmless.
type ProofOptions struct {
	Name string // of the copy
	UUID string // of the copy
	// Overlays has, by target name (vda), the path of a qcow2 overlay for each
	// disk: what the guest writes goes there.
	Overlays map[string]string
	NVRAM    string // path of the copy's EFI variables; "" leaves it to libvirt
	// ConsoleSocket is the path of a Unix socket that the serial console
	// listens on; "" for a pty.
	ConsoleSocket string
	// Wires has a wire for each NIC, in the order of the domain's interfaces: nil
	// for one whose link is down; none at all leaves all links down.
	Wires []*Wire
}

// Wire is what a NIC of a copy is on: UDP ports on 127.0.0.1, where a datagram is
// an Ethernet frame. QEMU binds From and sends to To.
type Wire struct{ From, To uint16 }

// loopback is the only address that a copy's frames go to.
const loopback = "127.0.0.1"

// Proof returns a copy of a domain to boot once and throw away. The guest sees
// the same machine, but nothing that it does lasts or leaves: disks are
// overlays, links are down or lead to this process, the host's devices and
// files are gone, and so is what QEMU gets directly; the TPM is another. A
// reboot ends it. What a user without rights or a
// host without control groups couldn't start (tuning, locked memory) is gone
// as well.
func Proof(dom *libvirtxml.Domain, o ProofOptions) (*libvirtxml.Domain, error) {
	text, err := dom.Marshal()
	if err != nil {
		return nil, fmt.Errorf("proof of %s: %w", dom.Name, err)
	}
	var p libvirtxml.Domain
	if err := p.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("proof of %s: %w", dom.Name, err)
	}
	if o.Name == dom.Name || o.UUID == dom.UUID {
		return nil, fmt.Errorf("proof of %s: it needs its own name and UUID", dom.Name)
	}
	p.ID, p.Name, p.UUID = nil, o.Name, o.UUID
	p.Metadata, p.CPUTune, p.MemoryTune, p.BlockIOTune, p.NUMATune = nil, nil, nil, nil, nil
	p.MemoryBacking, p.Resource, p.SecLabel = nil, nil, nil
	p.QEMUCommandline, p.QEMUOverride = nil, nil // it may name anything
	p.OnPoweroff, p.OnReboot, p.OnCrash = "destroy", "destroy", "destroy"
	if p.OS != nil {
		proofFirmware(p.OS, o.NVRAM)
	}
	if p.Devices == nil {
		return nil, fmt.Errorf("proof of %s: it has no devices", dom.Name)
	}
	if n := len(p.Devices.Interfaces); o.Wires != nil && len(o.Wires) != n {
		return nil, fmt.Errorf("proof of %s: %d wires for %d NICs", dom.Name, len(o.Wires), n)
	}
	if err := proofDisks(&p, o.Overlays); err != nil {
		return nil, fmt.Errorf("proof of %s: %w", dom.Name, err)
	}
	proofDevices(p.Devices, o)
	return &p, nil
}

func proofFirmware(os *libvirtxml.DomainOS, nvram string) {
	if os.Loader != nil && os.Loader.Readonly == "no" {
		os.Loader.Readonly = "yes"
	}
	template, format := "", ""
	if os.NVRam != nil {
		template, format = os.NVRam.Template, os.NVRam.TemplateFormat
	}
	os.NVRam = nil
	if os.Firmware == "" && os.Loader == nil {
		// SeaBIOS then says on the console that it found nothing to boot.
		os.BIOS = &libvirtxml.DomainBIOS{UseSerial: "yes"}
	}
	if nvram != "" {
		os.NVRam = &libvirtxml.DomainNVRam{NVRam: nvram, Template: template, TemplateFormat: format}
	}
}

func proofDisks(p *libvirtxml.Domain, overlays map[string]string) error {
	for i := range p.Devices.Disks {
		d := &p.Devices.Disks[i]
		if d.Target == nil {
			return fmt.Errorf("disk %d has no target", i)
		}
		d.IOTune, d.BackingStore, d.Shareable, d.Mirror = nil, nil, nil, nil
		if d.Device != "" && d.Device != "disk" {
			d.Source = nil // an empty drive
			continue
		}
		overlay := overlays[d.Target.Dev]
		if overlay == "" {
			return fmt.Errorf("disk %s has no overlay", d.Target.Dev)
		}
		d.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: overlay}}
		// Nothing of it is kept, so nothing need reach stable storage.
		d.Driver = &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Cache: "unsafe", Discard: "unmap"}
	}
	return nil
}

func proofDevices(d *libvirtxml.DomainDeviceList, o ProofOptions) {
	for i, n := range d.Interfaces {
		var w *Wire
		if o.Wires != nil {
			w = o.Wires[i]
		}
		d.Interfaces[i] = proofNIC(n, w)
	}
	d.Hostdevs, d.RedirDevs, d.Leases, d.Filesystems, d.Shmems, d.Smartcards = nil, nil, nil, nil, nil, nil
	d.Graphics, d.VSock = nil, nil // a port or a number that the domain itself may have
	d.TPMs = slices.DeleteFunc(d.TPMs, func(t libvirtxml.DomainTPM) bool { return t.Backend != nil && t.Backend.Emulator == nil })
	for i := range d.TPMs {
		if be := d.TPMs[i].Backend; be != nil {
			// Its state is by UUID, so the copy's is another; it goes with the copy.
			be.Emulator.PersistentState, be.Emulator.Source = "", nil
		}
	}
	proofFiles(d)
	proofChannels(d)
	proofConsole(d, o.ConsoleSocket)
}

// proofNIC is the same NIC for the guest, on a wire or with its link down.
func proofNIC(n libvirtxml.DomainInterface, w *Wire) libvirtxml.DomainInterface {
	c := libvirtxml.DomainInterface{
		MAC: n.MAC, Model: n.Model, Boot: n.Boot, ROM: n.ROM, ACPI: n.ACPI, Address: n.Address,
		Source: &libvirtxml.DomainInterfaceSource{User: &libvirtxml.DomainInterfaceSourceUser{}},
		Link:   &libvirtxml.DomainInterfaceLink{State: "down"},
	}
	if w != nil {
		c.Link.State = "up"
		c.Source = &libvirtxml.DomainInterfaceSource{UDP: &libvirtxml.DomainInterfaceSourceUDP{
			Address: loopback, Port: uint(w.To),
			Local: &libvirtxml.DomainInterfaceSourceLocal{Address: loopback, Port: uint(w.From)},
		}}
	}
	return c
}

// Harmless reports whether no frame of an interface leaves this host: its link is
// down, or it is on a wire.
func Harmless(n libvirtxml.DomainInterface) bool {
	if n.Link != nil && n.Link.State == "down" {
		return true
	}
	if n.Source == nil || n.Source.UDP == nil {
		return false
	}
	u := n.Source.UDP
	return u.Address == loopback && u.Port != 0 && u.Local != nil && u.Local.Address == loopback && u.Local.Port != 0
}

// proofFiles takes away the files and devices of the host that an edited domain
// may have its guest write to, or take from others.
func proofFiles(d *libvirtxml.DomainDeviceList) {
	d.PStore, d.Audios = nil, nil
	for i := range d.Sounds {
		d.Sounds[i].Audio = nil
	}
	d.Memorydevs = slices.DeleteFunc(d.Memorydevs, func(m libvirtxml.DomainMemorydev) bool { return m.Source != nil && m.Source.Path != "" })
	d.Inputs = slices.DeleteFunc(d.Inputs, func(in libvirtxml.DomainInput) bool { return in.Type == "passthrough" || in.Type == "evdev" })
	for i := range d.RNGs {
		d.RNGs[i].Backend = &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}
	}
}

// proofChannels leaves a channel an end of its own, or none.
func proofChannels(d *libvirtxml.DomainDeviceList) {
	for i := range d.Channels {
		c := &d.Channels[i]
		c.Log, c.Protocol = nil, nil
		switch s := c.Source; {
		case s == nil || s.SpiceVMC != nil || s.SpicePort != nil || s.QEMUVDAgent != nil:
		case s.UNIX != nil:
			s.UNIX = &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"} // libvirt picks a path by the domain's name
		default:
			c.Source = &libvirtxml.DomainChardevSource{Null: &libvirtxml.DomainChardevSourceNull{}}
		}
	}
}

// proofConsole makes port 0 a pty or socket, and the others mute.
func proofConsole(d *libvirtxml.DomainDeviceList, socket string) {
	source := func() *libvirtxml.DomainChardevSource {
		if socket == "" {
			return &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}}
		}
		return &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind", Path: socket}}
	}
	if len(d.Serials) == 0 {
		d.Serials = []libvirtxml.DomainSerial{{Target: &libvirtxml.DomainSerialTarget{Port: new(uint(0))}}}
	}
	for i := range d.Serials {
		s := &d.Serials[i]
		s.Log, s.Protocol, s.Source = nil, nil, source()
		if i > 0 {
			s.Source = &libvirtxml.DomainChardevSource{Null: &libvirtxml.DomainChardevSourceNull{}}
		}
	}
	d.Consoles = []libvirtxml.DomainConsole{{Source: source(), Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: new(uint(0))}}}
	for i := range d.Parallels {
		d.Parallels[i].Log, d.Parallels[i].Protocol = nil, nil
		d.Parallels[i].Source = &libvirtxml.DomainChardevSource{Null: &libvirtxml.DomainChardevSourceNull{}}
	}
}
