package domain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
)

// boot gives each bootable device its place. libvirt tells the firmware to try
// no others, and a BIOS numbers its drives by this order, as VMware's does.
func (b *builder) boot() {
	_, hdd := b.led(b.allDisks())
	order, strange, moved := uint(0), false, false
	place := func(boots ...**libvirtxml.DomainDeviceBoot) {
		for _, at := range boots {
			if *at != nil {
				continue
			}
			order++
			*at = &libvirtxml.DomainDeviceBoot{Order: order}
		}
	}
	for _, entry := range b.vm.BootOrder {
		boots, ok := b.bootEntry(entry)
		strange = strange || len(boots) == 0
		if !ok {
			b.concern(ConcernBootOrder, ledger.Note, "", fmt.Sprintf("boot order names %q, which the domain doesn't have", entry), "check the boot order of the domain")
		}
		boots, led := b.led(boots)
		moved = moved || led
		place(boots...)
	}
	// VMware tries the hard disks, then the CD-ROM, when nobody says otherwise.
	disks, led := b.led(b.allDisks())
	place(disks...)
	place(b.allCDROMs()...)
	b.accountBoot(strange, moved, hdd && (moved || led))
	if ms := b.vm.BootDelay; ms > 0 {
		b.dom.OS.BootMenu = &libvirtxml.DomainBootMenu{Enable: "yes", Timeout: fmt.Sprint(min(ms, 65535))}
		b.of("").changed("bootDelay", ms, "boot menu", "the firmware's boot menu waits as long, but at most 65 seconds")
	}
}

// led puts the disk that the new loader is on before the hard disks that an
// entry of the boot order means, if it has no place yet, and reports whether
// another of them was the first. What isn't a hard disk keeps its place.
func (b *builder) led(boots []**libvirtxml.DomainDeviceBoot) ([]**libvirtxml.DomainDeviceBoot, bool) {
	lead, ok := b.bootDisk(b.o.BootDisk)
	if !ok || *lead[0] != nil || len(boots) == 0 || boots[0] == lead[0] || !slices.Contains(b.allDisks(), boots[0]) {
		return boots, false
	}
	return append(lead, boots...), true
}

// accountBoot writes the ledger of the boot order. strange says that it names
// what the domain doesn't have, moved and hdd that the new loader's disk comes
// before those that it, or the order of the hard disks, has first.
func (b *builder) accountBoot(strange, moved, hdd bool) {
	all, target := b.of(""), strings.Join(b.bootSequence(), ", ")
	loader := "the new loader is on " + b.o.BootDisk
	var reasons []string
	if strange {
		reasons = append(reasons, "the domain doesn't have all of these")
	}
	if moved {
		reasons = append(reasons, loader)
	}
	if len(reasons) > 0 {
		all.changed("bootOrder", b.vm.BootOrder, target, strings.Join(reasons, "; "))
	} else {
		all.mapped("bootOrder", b.vm.BootOrder, target)
	}
	if !hdd {
		all.mapped("hddOrder", b.vm.HDDOrder, target)
		return
	}
	order := slices.Clone(b.vm.HDDOrder)
	if len(order) == 0 { // the source says nothing, and the order changes all the same
		for _, d := range b.vm.Disks {
			order = append(order, d.Address())
		}
	}
	all.changed("hddOrder", order, target, loader)
}

// bootEntry returns the devices that one entry of the boot order means.
func (b *builder) bootEntry(entry string) ([]**libvirtxml.DomainDeviceBoot, bool) {
	kind, key, keyed := strings.Cut(strings.ToLower(entry), ":")
	switch {
	case kind == "disk" && keyed:
		for _, d := range b.vm.Disks {
			if strconv.Itoa(int(d.Key)) == key {
				return b.bootDisk(d.Address())
			}
		}
		return nil, false
	case kind == "disk" || kind == "hdd":
		return b.allDisks(), true
	case strings.HasPrefix(kind, "cd"):
		return b.allCDROMs(), len(b.vm.CDROMs) > 0
	case kind == "floppy" || kind == "fd":
		return nil, true // VMware's first try; an empty drive boots nothing
	case strings.HasPrefix(kind, "ethernet") || strings.HasPrefix(kind, "net"):
		return b.bootNIC(kind, key, keyed)
	}
	return nil, false
}

func (b *builder) bootNIC(kind, key string, keyed bool) ([]**libvirtxml.DomainDeviceBoot, bool) {
	var boots []**libvirtxml.DomainDeviceBoot
	for i, n := range b.vm.NICs {
		match := strings.TrimLeft(kind, "abcdefghijklmnopqrstuvwxyz") == "" || kind == ethernet(n)
		if keyed {
			match = strconv.Itoa(int(n.Key)) == key
		}
		if match {
			boots = append(boots, &b.dom.Devices.Interfaces[i].Boot)
		}
	}
	return boots, len(boots) > 0
}

// bootDisk finds the domain's disk of a source address.
func (b *builder) bootDisk(address string) ([]**libvirtxml.DomainDeviceBoot, bool) {
	n := 0
	for _, d := range b.vm.Disks {
		if !slices.ContainsFunc(b.o.Disks, func(o Disk) bool { return o.Address == d.Address() }) {
			continue
		}
		if d.Address() == address {
			return []**libvirtxml.DomainDeviceBoot{&b.dom.Devices.Disks[n].Boot}, true
		}
		n++
	}
	return nil, false
}

// allDisks is bios.hddOrder, then the rest in the source's order.
func (b *builder) allDisks() []**libvirtxml.DomainDeviceBoot {
	var boots []**libvirtxml.DomainDeviceBoot
	for _, address := range b.vm.HDDOrder {
		if boot, ok := b.bootDisk(strings.ToLower(address)); ok {
			boots = append(boots, boot...)
		}
	}
	for _, d := range b.vm.Disks {
		if boot, ok := b.bootDisk(d.Address()); ok {
			boots = append(boots, boot...)
		}
	}
	return boots
}

func (b *builder) allCDROMs() []**libvirtxml.DomainDeviceBoot {
	var boots []**libvirtxml.DomainDeviceBoot
	for i := range b.dom.Devices.Disks {
		if b.dom.Devices.Disks[i].Device == "cdrom" {
			boots = append(boots, &b.dom.Devices.Disks[i].Boot)
		}
	}
	return boots
}

// bootSequence names the devices in the order in which they are tried.
func (b *builder) bootSequence() []string {
	type placed struct {
		order uint
		name  string
	}
	var all []placed
	for _, d := range b.dom.Devices.Disks {
		if d.Boot != nil {
			all = append(all, placed{d.Boot.Order, d.Target.Dev})
		}
	}
	for i, n := range b.dom.Devices.Interfaces {
		if n.Boot != nil {
			all = append(all, placed{n.Boot.Order, ethernet(b.vm.NICs[i])})
		}
	}
	slices.SortFunc(all, func(x, y placed) int { return int(x.order) - int(y.order) })
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	return names
}
