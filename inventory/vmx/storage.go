package vmx

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/inventory"
)

var slotKey = regexp.MustCompile(`^((scsi|sata|ide|nvme)([0-9]{1,3})):([0-9]{1,3})\.`)

// slot is where a disk or drive sits.
type slot struct {
	class     string
	bus, unit int
}

func (s slot) String() string { return fmt.Sprintf("%s%d:%d", s.class, s.bus, s.unit) }

// key is the device key that ESXi gives what sits there: so many are set aside
// for each controller.
func (s slot) key() int32 {
	first, perBus := 2000, 16
	switch s.class {
	case "ide":
		first, perBus = 3000, 2
	case "sata":
		first, perBus = 16000, 30
	case "nvme":
		first, perBus = 32000, 64
	}
	return int32(first + perBus*s.bus + s.unit)
}

// slots returns the slots that have something in them, in order.
func (r *reader) slots() []slot {
	found := make(map[slot]bool)
	for key := range r.left {
		m := slotKey.FindStringSubmatch(key)
		if m == nil || key != m[0]+"present" {
			continue
		}
		bus, _ := strconv.Atoi(m[3]) // 3 digits each
		unit, _ := strconv.Atoi(m[4])
		s := slot{m[2], bus, unit}
		if s.String()+".present" != key {
			r.vm.Problem("%s: number with a leading zero", key)
			continue
		}
		if inventory.Truth(r.left[key]) {
			found[s] = true
		}
	}
	r.dropAll(slotKey, func(prefix string, _ []string) bool {
		v, told := r.left[prefix+"present"]
		return told && !inventory.Truth(v)
	})
	return slices.SortedFunc(maps.Keys(found), func(a, b slot) int { return strings.Compare(a.sortKey(), b.sortKey()) })
}

func (s slot) sortKey() string { return fmt.Sprintf("%s %03d %03d", s.class, s.bus, s.unit) }

func (r *reader) dropPrefix(prefix string) {
	for key := range r.left {
		if strings.HasPrefix(key, prefix) {
			delete(r.left, key)
		}
	}
}

func (r *reader) storage() {
	for _, class := range []string{"scsi", "sata", "nvme"} {
		for _, bus := range r.indices(class) {
			r.controller(class, bus)
		}
		r.dropAbsent(class)
	}
	for _, s := range r.slots() {
		r.device(s)
	}
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
		model = "lsilogic" // VMware's default goes by the guest
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

// device takes what is in a slot: a disk, a CD-ROM drive or something else.
func (r *reader) device(s slot) {
	p := s.String() + "."
	kind, file := strings.ToLower(r.take(p+"devicetype")), r.take(p+"filename")
	client := r.yes(p + "clientdevice")
	r.checkController(s)
	r.drop(p, "present", "allowguestconnectioncontrol", "autodetect", "exclusive")
	switch {
	case isCD(kind, file, client):
		r.cdrom(s, kind, file)
	case kind == "" || strings.Contains(kind, "disk"):
		r.disk(s, file)
	default:
		r.vm.Other = append(r.vm.Other, kind+": "+s.String())
		r.dropPrefix(p)
	}
}

// isCD tells a CD-ROM drive from a disk. A disk need not have a deviceType.
func isCD(kind, file string, client bool) bool {
	if strings.Contains(kind, "cdrom") {
		return true
	}
	return kind == "" && (client || strings.EqualFold(path.Ext(file), ".iso") || file == "" || strings.EqualFold(file, "auto detect"))
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
	switch {
	case kind == "cdrom-image" || kind == "" && strings.EqualFold(path.Ext(file), ".iso"):
		c.ISO = r.vm.Beside(file)
	case !strings.EqualFold(file, "emptybackingstring"):
		c.Device = file
	}
	r.vm.CDROMs = append(r.vm.CDROMs, c)
}

func (r *reader) disk(s slot, file string) {
	p := s.String() + "."
	d := inventory.Disk{Key: s.key(), Class: s.class, Bus: s.bus, Unit: s.unit, Format: "flat"}
	if file == "" {
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
	d.IOPSLimit = r.iops("sched." + p + "throughputcap")
	d.Shares, _ = r.shares("sched."+p+"shares", 500)
	r.vm.Disks = append(r.vm.Disks, d)
	r.drop(p, "startconnected", "redo")
}

func (r *reader) iops(key string) int64 {
	if v := strings.ToLower(r.left[key]); v == "off" || v == "unlimited" || v == "-1" {
		delete(r.left, key)
	}
	return r.number(key, 0, 0)
}
