package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
)

// identity is who the VM is: names, UUIDs, and the notes that people left.
func (b *builder) identity() {
	vm, all := b.vm, b.of("")
	if b.o.Name == vm.Name {
		all.mapped("name", vm.Name, "")
	} else {
		all.changed("name", vm.Name, b.o.Name, "libvirt, LVM and file names allow fewer characters; the title keeps the name")
		b.concern(ConcernName, ledger.Note, "", fmt.Sprintf("the VM is called %q, the domain %s", vm.Name, b.o.Name),
			"use the domain's name with virsh; its title is the VM's name")
	}
	b.dom.Title = fit.Line(vm.Name)
	b.dom.Description = vm.Annotation
	all.mapped("annotation", vm.Annotation, "description")
	if id, ok := parseUUID(vm.GenerationID); ok {
		b.dom.GenID = &libvirtxml.DomainGenID{Value: id.String()}
		all.mapped("generationID", vm.GenerationID, id.String())
	} else {
		all.dropped("generationID", vm.GenerationID, "is not a UUID")
	}
	b.uuid()
	b.smbios()
	b.metadata()
}

// smbios carries what the VM's firmware was told to say of chassis, system and
// main board.
func (b *builder) smbios() {
	of, given := b.of("smbios."), b.vm.SMBIOS
	if given == (inventory.SMBIOS{}) {
		return
	}
	if b.dom.SysInfo == nil {
		b.dom.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{}}}
	}
	info := b.dom.SysInfo[0].SMBIOS
	entry := func(property, name, value, target string, into *[]libvirtxml.DomainSysInfoEntry) {
		said := strings.TrimSpace(fit.Line(value))
		if said == "" {
			of.dropped(property, value, "SMBIOS has no such text")
			return
		}
		i := slices.IndexFunc(*into, func(e libvirtxml.DomainSysInfoEntry) bool { return e.Name == name })
		if i < 0 {
			i = len(*into)
			*into = append(*into, libvirtxml.DomainSysInfoEntry{Name: name})
		}
		(*into)[i].Value = said
		if said == value {
			of.mapped(property, value, target)
		} else {
			of.changed(property, value, target+" "+said, "SMBIOS's texts are one line")
		}
	}
	if given.Serial != "" || given.Model != "" {
		system := cmp.Or(info.System, &libvirtxml.DomainSysInfoSystem{})
		entry("serial", "serial", given.Serial, "sysinfo system serial", &system.Entry)
		entry("model", "product", given.Model, "sysinfo system product", &system.Entry)
		if len(system.Entry) > 0 { // libvirt refuses an empty element, here and below
			info.System = system
		}
	}
	if given.Board != "" {
		board := libvirtxml.DomainSysInfoBaseBoard{}
		entry("board", "product", given.Board, "sysinfo baseBoard product", &board.Entry)
		if len(board.Entry) > 0 {
			info.BaseBoard = append(info.BaseBoard, board)
		}
	}
	if given.AssetTag != "" {
		chassis := libvirtxml.DomainSysInfoChassis{}
		entry("assetTag", "asset", given.AssetTag, "sysinfo chassis asset", &chassis.Entry)
		if len(chassis.Entry) > 0 {
			info.Chassis = &chassis
		}
	}
}

// uuid sets the domain's UUID, which is the guest's SMBIOS UUID.
//
// VMware puts the bytes of uuid.bios into the guest's SMBIOS table in the order
// in which the .vmx has them. How the guest prints them depends on the table's
// version: since SMBIOS 2.6 the first three fields are little-endian. VMware's
// table is 2.4 up to hardware version 12, and 2.7 from 13 on (VMware KB 53609:
// "SMBIOS UUID in guest differs from vCenter's"), so the same bytes
// 42 1f 24 5c … are 421f245c-… in an old Linux VM's product_uuid and
// 5c241f42-… in a new one's. Windows swaps always.
//
// QEMU's table is 2.8 and it stores <uuid> little-endian (measured here:
// TestGuestSees), so what libvirt shows, what QEMU is given and what the guest
// prints is one text. That text is kept: machine ids, licences and inventories
// were made from it.
func (b *builder) uuid() {
	vm, all := b.vm, b.of("")
	id, ok := parseUUID(vm.BIOSUUID)
	if !ok {
		b.dom.UUID = newUUID(b.host, vm)
		all.changed("biosUUID", vm.BIOSUUID, b.dom.UUID, "is not a UUID that SMBIOS allows")
		b.concern(ConcernUUID, ledger.Warning, "", fmt.Sprintf("SMBIOS UUID %q: a domain can't have it", vm.BIOSUUID),
			"the domain gets "+b.dom.UUID+"; update software in the guest that is tied to the old one")
		return
	}
	b.dom.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{System: &libvirtxml.DomainSysInfoSystem{
		Entry: []libvirtxml.DomainSysInfoEntry{{Name: "serial", Value: vmwareSerial(id)}},
	}}}}
	if vm.HardwareVersion != 0 && vm.HardwareVersion < 13 && b.sys.family != windows {
		b.dom.UUID = id.String()
		all.mapped("biosUUID", vm.BIOSUUID, b.dom.UUID)
		return
	}
	b.dom.UUID = swapUUID(id).String()
	all.mapped("biosUUID", vm.BIOSUUID, b.dom.UUID+" (the same bytes, as the guest prints them)")
}

// parseUUID takes the inventory's form. libvirt takes no UUID of which all
// bytes are the same: firmware means "none" by those.
func parseUUID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, false
	}
	for _, c := range id {
		if c != id[0] {
			return id, true
		}
	}
	return id, false
}

// swapUUID turns the first three fields round.
func swapUUID(u uuid.UUID) uuid.UUID {
	u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
	u[4], u[5] = u[5], u[4]
	u[6], u[7] = u[7], u[6]
	return u
}

// vmwareSerial is the system serial number that VMware derives from uuid.bios,
// by which software in the guest knows the VM too:
// "VMware-56 4d a6 d2 17 06 63 43-dc 2d 99 59 b5 33 a7 b3".
func vmwareSerial(u uuid.UUID) string {
	return fmt.Sprintf("VMware-% x-% x", u[:8], u[8:])
}

// source is what the domain keeps about its source, in <metadata>. Order and
// delays are here because libvirt's autostart is only a flag.
type source struct {
	Host, ID, Name, Path string
	Start                *inventory.AutoStart
}

// metadata records the source. libvirt keeps one element per namespace, hence
// another than the run's (see [Tag]).
func (b *builder) metadata() {
	s := source{Host: b.host.Name, ID: b.vm.ID, Name: b.vm.Name, Path: b.vm.Path}
	if a, ok := b.effectiveAutoStart(); ok {
		s.Start = &a
	}
	b.dom.Metadata = &libvirtxml.DomainMetadata{XML: prefixed(s)}
}

// effectiveAutoStart fills in the host's defaults.
func (b *builder) effectiveAutoStart() (inventory.AutoStart, bool) {
	if b.vm.AutoStart == nil {
		return inventory.AutoStart{}, false
	}
	a := *b.vm.AutoStart
	if a.StartDelay < 0 {
		a.StartDelay = b.host.AutoStart.StartDelay
	}
	if a.StopDelay < 0 {
		a.StopDelay = b.host.AutoStart.StopDelay
	}
	if a.StopAction == "" || strings.EqualFold(a.StopAction, "systemDefault") {
		a.StopAction = b.host.AutoStart.StopAction
	}
	return a, true
}
