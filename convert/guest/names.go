package guest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	// diskAddress is a disk's address: class, bus and unit.
	diskAddress = regexp.MustCompile(`^(sata|ide|scsi|nvme)([0-9]{1,3}):([0-9]{1,3})$`)
	// KernelName is what Linux calls a disk or, with a number, a partition.
	KernelName = regexp.MustCompile(`^(?:(?:sd|hd|vd|xvd)[a-z]{1,3}([0-9]{0,4})|nvme[0-9]{1,4}n[0-9]{1,4}(?:p([0-9]{1,4}))?)$`)
	// partLink is how udev's links in by-path and by-id end for a partition.
	partLink = regexp.MustCompile(`-part([0-9]{1,4})$`)
	// udevEscape is a byte as udev writes it in the name of a link to a label.
	udevEscape = regexp.MustCompile(`\\x[0-9a-f]{2}`)
)

// DiskNames lists, for each of a VM's disks in the VM's order, the names that
// Linux on VMware gives it, as far as its address tells: /dev/sda, /dev/nvme0n1,
// and /dev/hda from old kernels. None is certain to be right, for drivers may
// find disks in another order. Where not even the order is known there is none:
//   - The disks of SATA, IDE and SCSI controllers share the letters of sd, and
//     which class comes first depends on the kernel.
//   - An NVMe controller is numbered as it is found, and a namespace, which each
//     of its disks is, in the controller: a gap in either is closed or isn't.
func DiskNames(disks []DiskLayout) [][]string {
	places := make([]place, len(disks))
	classes := map[string]bool{}
	for i, d := range disks {
		places[i] = placeOf(d.Address)
		if places[i].class != "nvme" {
			classes[places[i].class] = true
		}
	}
	out := make([][]string, len(disks))
	n := 0 // of the disks so far that aren't NVMe
	for i, p := range places {
		if p.class == "nvme" {
			out[i] = p.nvme(places)
			continue
		}
		if len(classes) == 1 {
			out[i] = append(out[i], "/dev/sd"+letters(n))
		}
		if p.class == "ide" && p.bus < 2 && p.unit < 2 {
			out[i] = append(out[i], "/dev/hd"+letters(2*p.bus+p.unit))
		}
		n++
	}
	return out
}

// place is a disk's address taken apart. Its class is "" where it has none.
type place struct {
	class     string
	bus, unit int
}

func placeOf(address string) place {
	m := diskAddress.FindStringSubmatch(address)
	if m == nil {
		return place{}
	}
	bus, _ := strconv.Atoi(m[2])  // at most 3 digits
	unit, _ := strconv.Atoi(m[3]) // the same
	return place{m[1], bus, unit}
}

// nvme names an NVMe disk among a VM's disks.
func (p place) nvme(all []place) []string {
	buses, units := map[int]bool{}, map[int]bool{} // below p's
	for _, o := range all {
		switch {
		case o.class != "nvme":
		case o.bus < p.bus:
			buses[o.bus] = true
		case o.bus == p.bus && o.unit < p.unit:
			units[o.unit] = true
		}
	}
	if len(buses) != p.bus || len(units) != p.unit {
		return nil
	}
	return []string{fmt.Sprintf("/dev/nvme%dn%d", p.bus, p.unit+1)}
}

// letters counts a, b … z, aa, ab …, from 0 on.
func letters(n int) string {
	s := ""
	for n++; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}

// PartitionName is what Linux calls a partition of the disk that it calls disk
// ("/dev/sda"). Partition 0 is the whole disk.
func PartitionName(disk string, number int) string {
	switch {
	case number == 0:
		return disk
	case strings.HasSuffix(strings.TrimRight(disk, "0123456789"), "n"): // nvme0n1
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

// TableNames are the names that a partition has by its disk's table, in the
// ways that udev and the kernel write them. A whole disk has none.
func TableNames(d *DiskLayout, q *Partition) []string {
	if q.Number == 0 {
		return nil
	}
	id := q.GUID
	if id == "" && d.TableID != "" {
		id = fmt.Sprintf("%s-%02x", d.TableID, q.Number)
	}
	var names []string
	if id != "" {
		low := strings.ToLower(id)
		names = append(names, "PARTUUID="+low, "/dev/disk/by-partuuid/"+low)
		if id != low {
			names = append(names, "PARTUUID="+id)
		}
	}
	if q.Name != "" {
		names = append(names, "PARTLABEL="+q.Name, "/dev/disk/by-partlabel/"+udevName(q.Name))
	}
	return names
}

// udevName is a label as udev writes it in a link's name.
func udevName(s string) string {
	var b strings.Builder
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > 0x7f || strings.ContainsRune("#+-.:=@_", r)
		if ok {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x%02x`, r)
		}
	}
	return b.String()
}

// MapperName is the device mapper's name of a logical volume: hyphens are
// doubled, and one stands between.
func MapperName(group, lv string) string {
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return double(group) + "-" + double(lv)
}

// Canonical brings the ways to write one spec into one: "UUID=…" with small
// letters, "LABEL=…", "PARTUUID=…", "PARTLABEL=…", "/dev/mapper/…" for logical
// volumes. Any other spec stays as it is.
func Canonical(spec string) string {
	for _, by := range [][2]string{
		{"/dev/disk/by-uuid/", "UUID="},
		{"/dev/disk/by-label/", "LABEL="},
		{"/dev/disk/by-partuuid/", "PARTUUID="},
		{"/dev/disk/by-partlabel/", "PARTLABEL="},
		{"/dev/disk/by-id/dm-name-", "/dev/mapper/"},
	} {
		if value, ok := strings.CutPrefix(spec, by[0]); ok {
			spec = by[1] + udevEscape.ReplaceAllStringFunc(value, func(s string) string {
				n, _ := strconv.ParseUint(s[2:], 16, 8) // two digits, by the pattern
				return string([]byte{byte(n)})
			})
		}
	}
	if key, value, ok := strings.Cut(spec, "="); ok && !strings.Contains(key, "/") {
		value = strings.Trim(value, `"`)
		if key = strings.ToUpper(key); strings.HasSuffix(key, "UUID") {
			value = strings.ToLower(value)
		}
		return key + "=" + value
	}
	name, ok := strings.CutPrefix(spec, "/dev/")
	if group, lv, both := strings.Cut(name, "/"); ok && both && group != "mapper" && group != "disk" && !strings.Contains(lv, "/") {
		return "/dev/mapper/" + MapperName(group, lv)
	}
	return spec
}

// PartitionNumber is the number in an unstable name: 0 for a whole disk.
func PartitionNumber(spec string) int {
	var digits string
	if m := KernelName.FindStringSubmatch(strings.TrimPrefix(spec, "/dev/")); m != nil {
		digits = m[1] + m[2]
	} else if m := partLink.FindStringSubmatch(spec); m != nil {
		digits = m[1]
	}
	n, _ := strconv.Atoi(digits) // at most 4 digits, or none: 0
	return n
}
