package vmx

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"esxodus/inventory"
)

// slot is where a disk or drive sits.
type slot struct {
	class     string
	bus, unit int
}

func (s slot) String() string { return fmt.Sprintf("%s%d:%d", s.class, s.bus, s.unit) }

// key is the device key of what sits there: so many are set aside for each
// controller, and those of pvscsi's units from 16 on, and of whatever no ESXi
// has, lie beyond. No two slots have one key.
func (s slot) key() int32 {
	plan := map[string]struct{ first, perBus, buses int }{"scsi": {2000, 16, 4}, "ide": {3000, 2, 2}, "sata": {16000, 30, 4}, "nvme": {32000, 64, 4}}[s.class]
	switch {
	case s.bus < plan.buses && s.unit < plan.perBus:
		return int32(plan.first + plan.perBus*s.bus + s.unit)
	case s.class == "scsi" && s.bus < plan.buses && s.unit < 64:
		return int32(1<<17 + 64*s.bus + s.unit)
	}
	return int32(1<<24 + (slices.Index(slotClasses(), s.class)*1000+s.bus)*1000 + s.unit)
}

func slotClasses() []string { return []string{"scsi", "sata", "ide", "nvme"} }

// parseSlot returns the slot that a key is about, and the key's part up to and
// with the dot: "scsi0:1.".
func parseSlot(key string) (s slot, prefix string, ok bool) {
	class, bus, rest, ok := device(key, ':')
	if !ok || !slices.Contains(slotClasses(), class) {
		return slot{}, "", false
	}
	unit, rest, ok := number3(rest, '.')
	if !ok {
		return slot{}, "", false
	}
	return slot{class, bus, unit}, key[:len(key)-len(rest)], true
}

// slots returns the slots that have something in them, in order.
func (r *reader) slots() []slot {
	var found []slot
	for key := range r.left {
		s, prefix, ok := parseSlot(key)
		if !ok || key != prefix+"present" {
			continue
		}
		if s.String()+".present" != key {
			r.vm.Problem("%s: number with a leading zero", key)
			continue
		}
		if inventory.Truth(r.left[key]) {
			found = append(found, s)
		}
	}
	r.dropAll(func(key string) (string, bool) {
		_, prefix, ok := parseSlot(key)
		return prefix, ok
	})
	slices.SortFunc(found, func(a, b slot) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return found
}

func (s slot) sortKey() string { return fmt.Sprintf("%s %03d %03d", s.class, s.bus, s.unit) }

func (r *reader) storage() {
	for _, class := range []string{"scsi", "sata", "nvme"} {
		for _, bus := range r.indices(class) {
			r.controller(class, bus)
		}
		r.dropAbsent(class)
	}
	done := make(map[slot]bool) // with all of their keys
	for _, s := range r.slots() {
		done[s] = r.device(s)
	}
	maps.DeleteFunc(r.left, func(key, _ string) bool {
		s, _, ok := parseSlot(key)
		return ok && done[s]
	})
}

func (r *reader) controller(class string, bus int) {
	p := fmt.Sprintf("%s%d.", class, bus)
	c := inventory.Controller{Key: map[string]int32{"scsi": 1000, "sata": 15000, "nvme": 31000, "ide": 200}[class] + int32(bus), Class: class, Bus: bus}
	model := strings.ToLower(r.take(p + "virtualdev"))
	switch {
	case class == "sata":
		model = "ahci"
	case class != "scsi":
		model = class
	case model == "" && strings.Contains(r.vm.GuestID, "64"):
		model = "lsilogic" // VMware's default depends on the guest
	case model == "":
		model = "buslogic"
	}
	c.Model = model
	if shared := strings.ToLower(r.take(p + "sharedbus")); shared != "none" {
		c.Shared = shared
	}
	r.vm.Controllers = append(r.vm.Controllers, c)
	r.drop(p, "present")
}

// device takes what is in a slot: a disk, a CD-ROM drive or something else. It
// returns true if the slot's other keys mean nothing.
func (r *reader) device(s slot) bool {
	p := s.String() + "."
	kind, file := strings.ToLower(r.take(p+"devicetype")), r.take(p+"filename")
	client := r.yes(p + "clientdevice")
	r.checkController(s)
	r.drop(p, "present", "allowguestconnectioncontrol", "autodetect", "exclusive")
	switch {
	case isCD(kind, file, client):
		r.cdrom(s, kind, file)
	case strings.Contains(kind, "passthru") && !strings.Contains(kind, "rdm"):
		// A device of the host's own, a tape drive perhaps: no disk in a file.
		r.vm.Passthrough = append(r.vm.Passthrough, strings.TrimSpace(fmt.Sprintf("%s: %s %s", kind, s, file)))
		return true
	case kind == "" || strings.Contains(kind, "disk") || strings.Contains(kind, "rdm"):
		r.disk(s, kind, file)
	default:
		r.vm.Other = append(r.vm.Other, strings.TrimSpace(fmt.Sprintf("%s: %s %s", kind, s, file)))
		return true
	}
	return false
}

// isCD tells a CD-ROM drive from a disk. A disk need not have a deviceType.
func isCD(kind, file string, client bool) bool {
	if strings.Contains(kind, "cdrom") {
		return true
	}
	return kind == "" && (client || strings.EqualFold(path.Ext(file), ".iso") || inventory.NoMedium(file) || strings.EqualFold(file, "auto detect"))
}

// checkController sees to it that the slot's controller is there: two IDE
// ones always are, listed where something hangs on them.
func (r *reader) checkController(s slot) {
	for _, c := range r.vm.Controllers {
		if c.Class == s.class && c.Bus == s.bus {
			return
		}
	}
	if s.class != "ide" || s.bus > 1 {
		r.vm.Problem("%s is present but its controller %s%d is not", s, s.class, s.bus)
		return
	}
	r.controller("ide", s.bus)
}

func (r *reader) cdrom(s slot, kind, file string) {
	p := s.String() + "."
	c := inventory.CDROM{Class: s.class, Bus: s.bus, Unit: s.unit, StartConnected: r.connected(p)}
	image := kind == "cdrom-image" || kind == "" && strings.EqualFold(path.Ext(file), ".iso")
	switch {
	case inventory.NoMedium(file), image && strings.EqualFold(file, "auto detect"): // an empty drive
	case image:
		c.ISO = r.vm.Beside(file)
	default:
		c.Device = file
	}
	r.vm.CDROMs = append(r.vm.CDROMs, c)
}

func (r *reader) disk(s slot, kind, file string) {
	p := s.String() + "."
	d := inventory.Disk{Key: s.key(), Class: s.class, Bus: s.bus, Unit: s.unit, Format: inventory.FormatFlat}
	switch {
	case strings.Contains(kind, "nonpassthru"):
		d.Format = inventory.FormatRDM
	case strings.Contains(kind, "rdm"):
		d.Format = inventory.FormatRawPhysical
	}
	if inventory.NoMedium(file) {
		r.vm.Problem("disk %s names no file", s)
	} else {
		d.Path = r.vm.Beside(file)
	}
	d.Mode = strings.ReplaceAll(strings.ToLower(r.take(p+"mode")), "-", "_")
	if d.Mode == "" {
		d.Mode = "persistent"
	}
	d.WriteThrough = r.yes(p + "writethrough")
	d.MultiWriter = strings.EqualFold(r.take(p+"sharing"), "multi-writer")
	d.Shares, _ = r.shares("sched."+p+"shares", 500)
	r.vm.Disks = append(r.vm.Disks, d)
	r.drop(p, "startconnected", "redo")
}
