package domain

import (
	"cmp"
	"fmt"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// cdroms keeps each drive, empty: its ISO is on a datastore that goes away.
func (b *builder) cdroms() {
	bus, prefix, n := busSATA, "sd", 0
	if b.pci.machine == pc {
		bus, prefix = busIDE, "hd"
	}
	for _, d := range b.dom.Devices.Disks {
		if d.Target.Bus == bus {
			n++
		}
	}
	for _, c := range b.vm.CDROMs {
		of := b.of("cdroms[%s].", c.Address())
		if bus == busIDE && n >= maxIDE {
			of.dropped("class", c.Class, "no place left on IDE")
			of.dropped("bus", c.Bus, "no place left on IDE")
			of.dropped("unit", c.Unit, "no place left on IDE")
			b.media(c)
			continue
		}
		drive := libvirtxml.DomainDisk{
			Device:   "cdrom",
			Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
			Target:   &libvirtxml.DomainDiskTarget{Dev: b.names.next(prefix), Bus: bus},
			ReadOnly: &libvirtxml.DomainDiskReadOnly{},
			Address:  b.diskAddress(bus, n),
		}
		n++
		b.dom.Devices.Disks = append(b.dom.Devices.Disks, drive)
		target := drive.Target.Dev + " on " + bus
		fate, reason := ledger.Mapped, ""
		if c.Class != bus {
			fate, reason = ledger.Changed, "all drives are on "+bus
		}
		of.add("class", c.Class, target, fate, reason)
		of.add("bus", c.Bus, target, fate, reason)
		of.add("unit", c.Unit, target, fate, reason)
		b.media(c)
	}
}

// media accounts for what is in a CD-ROM drive.
func (b *builder) media(c inventory.CDROM) {
	of := b.of("cdroms[%s].", c.Address())
	of.dropped("iso", c.ISO, "the drive starts empty; insert a medium with virsh change-media")
	of.dropped("device", c.Device, "the drive starts empty; it was the host's or a client's")
	of.dropped("startConnected", c.StartConnected, "the drive starts empty")
	if c.ISO != "" {
		b.concern(ConcernISO, ledger.Note, c.Address(), c.ISO+" is in the drive", "if the guest needs it, copy it and insert it with virsh change-media")
	}
}

// devices adds the devices that have no data of their own.
func (b *builder) devices() {
	b.serialPorts()
	b.floppies()
	b.tpm()
	b.nvdimms()
	b.usb()
	b.sound()
	b.video()
	d := b.dom.Devices
	channels := libvirtxml.DomainController{Type: "virtio-serial", Index: new(uint(0)), Address: b.virtioAddress()}
	if b.sys.transitional() {
		channels.Model = b.sys.virtioModel()
	}
	d.Controllers = append(d.Controllers, channels)
	d.Channels = []libvirtxml.DomainChannel{{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"}},
		Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
	}}
	d.Inputs = []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}}
	d.Graphics = []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
		AutoPort:  "yes",
		Port:      -1,
		Listeners: []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: "127.0.0.1"}}},
	}}}
	d.MemBalloon = &libvirtxml.DomainMemBalloon{Model: "none"}
	if b.sys.virtio() {
		d.MemBalloon = &libvirtxml.DomainMemBalloon{Model: b.sys.virtioModel(), Address: b.virtioAddress()}
		d.RNGs = []libvirtxml.DomainRNG{{
			Model:   b.sys.virtioModel(),
			Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
			Address: b.virtioAddress(),
		}}
	}
}

const isaPorts = 4 // serial ports of a PC

// serialPorts gives the domain one serial port at least: the console by which
// a boot can be watched.
func (b *builder) serialPorts() {
	taken := map[int]bool{0: true}
	for _, p := range b.vm.SerialPorts {
		of := b.of("serialPorts[%d].", p.Index)
		if p.Index < 0 || p.Index >= isaPorts {
			accountPort(of, p, "a PC has four serial ports")
			continue
		}
		taken[p.Index] = true
		of.mapped("index", p.Index, fmt.Sprintf("ttyS%d", p.Index))
		of.changed("backing", p.Backing, "pty", "reach it with virsh console; what it was connected to stays on the ESXi host")
		of.dropped("target", p.Target, "stays on the ESXi host")
		of.dropped("direction", p.Direction, "a pty has none")
		of.mapped("startConnected", p.StartConnected, "a pty always is")
		if p.Backing != "" {
			b.concern(ConcernSerial, ledger.Note, fmt.Sprintf("serial%d", p.Index), strings.TrimSpace("a serial port to "+p.Backing+" "+p.Target),
				"the domain's port is a pty; edit its <serial> if something listened there")
		}
	}
	for i := range isaPorts {
		if !taken[i] {
			continue
		}
		b.dom.Devices.Serials = append(b.dom.Devices.Serials, libvirtxml.DomainSerial{
			Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
			Target: &libvirtxml.DomainSerialTarget{Type: "isa-serial", Port: new(uint(i)), Model: &libvirtxml.DomainSerialTargetModel{Name: "isa-serial"}},
		})
	}
	b.dom.Devices.Consoles = []libvirtxml.DomainConsole{{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: new(uint(0))},
	}}
	for _, p := range b.vm.Parallel {
		accountPort(b.of("parallelPorts[%d].", p.Index), p, "nothing on this host would read it")
		b.concern(ConcernParallel, ledger.Note, fmt.Sprintf("parallel%d", p.Index), strings.TrimSpace("a parallel port to "+p.Backing+" "+p.Target), "the domain has none; add a <parallel> if a dongle or printer needs it")
	}
}

func accountPort(of property, p inventory.Port, reason string) {
	of.dropped("index", p.Index, reason)
	of.dropped("backing", p.Backing, reason)
	of.dropped("target", p.Target, reason)
	of.dropped("direction", p.Direction, reason)
	of.dropped("startConnected", p.StartConnected, reason)
}

func (b *builder) floppies() {
	for i, f := range b.vm.Floppies {
		of := b.of("floppies[%d].", i)
		of.dropped("startConnected", f.StartConnected, "the machine has no floppy drive")
		if f.Image == "" {
			continue
		}
		of.dropped("image", f.Image, "the machine has no floppy drive")
		b.concern(ConcernFloppy, ledger.Note, fmt.Sprintf("floppy%d", i), f.Image+" is in the floppy drive", "the domain has no drive; put what the guest needs onto an ISO")
	}
}

func (b *builder) tpm() {
	if !b.vm.TPM {
		return
	}
	b.dom.Devices.TPMs = []libvirtxml.DomainTPM{{
		Model:   "tpm-crb",
		Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{Version: "2.0"}},
	}}
	b.of("").changed("tpm", true, "TPM 2.0, empty", "what is sealed in a TPM can't be taken out of ESXi")
	advice := "whatever is sealed in it (LUKS by systemd-cryptenroll or clevis) needs its passphrase at the first start"
	if b.sys.family == windows {
		advice = "have the BitLocker recovery key at hand, or suspend BitLocker before the migration; PINs and Windows Hello are set up again"
	}
	b.concern(ConcernTPM, ledger.Warning, "", "the VM has a TPM; the domain's is a new, empty one", advice)
}

// nvdimms accounts for memory modules that keep their content in a file.
func (b *builder) nvdimms() {
	for i, n := range b.vm.NVDIMMs {
		at := fmt.Sprintf("nvdimm0:%d", n.Unit)
		of, reason := b.of("nvdimms[%d].", i), "the domain has none: esxodus copies only disks"
		of.dropped("unit", n.Unit, reason)
		of.dropped("path", n.Path, reason)
		of.dropped("capacity", n.Capacity, reason)
		b.concern(ConcernNVDIMM, ledger.Blocker, at, "an NVDIMM, whose content stays in "+show(n.Path),
			"in the guest, move what is on /dev/pmem… to a disk and remove it from fstab, then remove the module from the VM")
	}
}

// usb adds the controller that the tablet needs, and accounts for the rest.
func (b *builder) usb() {
	model, address := "qemu-xhci", b.pci.express
	if b.sys.usb1 {
		model, address = "piix3-uhci", b.pci.old
		if b.pci.machine == pc { // a part of the chipset
			address = func() *libvirtxml.DomainAddress { return nil }
		}
	}
	b.dom.Devices.Controllers = append(b.dom.Devices.Controllers, libvirtxml.DomainController{
		Type: "usb", Index: new(uint(0)), Model: model, Address: address(),
	})
	all := b.of("")
	all.changed("usb", b.vm.USB, model, "one controller that serves all of the guest's USB devices")
	all.dropped("usbDevices", b.vm.USBDevices, "plugged into the ESXi host")
	for _, d := range b.vm.USBDevices {
		b.concern(ConcernUSBDevice, ledger.Warning, d, "a USB device of the ESXi host is passed through", "plug it into this host and attach it with virsh attach-device; until then, software that needs a licence dongle won't start")
	}
	all.dropped("passthrough", b.vm.Passthrough, "built into the ESXi host")
	for _, d := range b.vm.Passthrough {
		b.concern(ConcernPassthrough, ledger.Warning, d, "a PCI device of the ESXi host is passed through", "the domain doesn't have it: give the domain a device of this host with a <hostdev>, or remove it from the guest; a guest that boots from it, or has data on it, needs one before the cutover")
	}
}

// sound maps VMware's two cards and its high-definition one.
func (b *builder) sound() {
	if b.vm.Sound == "" {
		return
	}
	models := map[string]string{"hdaudio": "ich9", "sb16": "sb16", "es1371": "es1370"}
	if b.pci.machine == pc {
		models["hdaudio"] = "ich6"
	}
	model := cmp.Or(models[strings.ToLower(b.vm.Sound)], models["hdaudio"])
	b.dom.Devices.Sounds = []libvirtxml.DomainSound{{Model: model}}
	b.of("").changed("sound", b.vm.Sound, model, "QEMU's card of that kind")
}

// video is plain VGA, for which every guest has a driver.
func (b *builder) video() {
	v, of := b.vm.Video, b.of("video.")
	ram := uint(16 << 10)
	for ram < 64<<10 && int64(ram) < v.RAMKiB {
		ram *= 2
	}
	slot := uint(1)
	if b.pci.machine == pc {
		slot = 2
	}
	b.dom.Devices.Videos = []libvirtxml.DomainVideo{{
		Model:   libvirtxml.DomainVideoModel{Type: "vga", VRam: ram, Heads: 1, Primary: "yes"},
		Address: pciAddress(0, slot, 0),
	}}
	of.changed("ramKiB", v.RAMKiB, fmt.Sprintf("vga, %d KiB", ram), "VGA memory is a power of two from 16 to 64 MiB")
	if v.Displays == 1 {
		of.mapped("displays", v.Displays, "")
	} else {
		of.changed("displays", v.Displays, "1", "VGA has one")
	}
	of.dropped("threeD", v.ThreeD, "VGA has none")
}
