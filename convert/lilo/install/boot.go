package install

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"esxodus/convert/lilo"
)

const pvLink = "/dev/disk/by-id/lvm-pv-uuid-"

// checkBoot compares what -b and boot= name with the disk that holds the map,
// which is the one that gets the boot sector: names of devices change with the
// controller, the map's blocks don't. Only -b insists.
func (in *installer) checkBoot() error {
	name, strict := in.o.Boot, true
	if name == "" {
		name, strict = in.cfg.Boot, false
	}
	if name == "" || in.layout.pv != "" && name == pvLink+in.layout.pv {
		return nil
	}
	var wrong string
	d, err := in.deviceAt(name)
	switch {
	case err != nil:
		wrong = fmt.Sprintf("it is not a device here (%v)", err)
	case d != in.disk.dev:
		wrong = fmt.Sprintf("it is the device %s", d)
	default:
		return nil
	}
	if strict {
		return fmt.Errorf("-b %s: %s, and %s is on %s: the boot sector must be on the disk that has the map", name, wrong, in.cfg.Map, in.disk)
	}
	advice := in.disk.String()
	if in.layout.pv != "" {
		advice = pvLink + in.layout.pv
	}
	in.o.Log.Warn("boot=%s is stale: %s; the boot sector goes to %s, which has %s. Better: boot=%s", name, wrong, in.disk, in.cfg.Map, advice)
	return nil
}

// disks lists what a volume lies on, in its order.
func (v *volume) disks() []*Disk {
	var all []*Disk
	for _, p := range v.pieces {
		if !slices.Contains(all, p.disk) {
			all = append(all, p.disk)
		}
	}
	return all
}

// bootDisk chooses among the disks that the map may come to lie on: the one that
// -b or boot= names, or else the one that has LILO already. It returns nil if
// that is none; the first image's is it then.
func (in *installer) bootDisk(disks []*Disk) (*Disk, error) {
	if len(disks) == 1 {
		return disks[0], nil
	}
	name := cmp.Or(in.o.Boot, in.cfg.Boot)
	if d, err := in.deviceAt(name); err == nil {
		if i := slices.IndexFunc(disks, func(disk *Disk) bool { return disk.dev == d }); i >= 0 {
			return disks[i], nil
		}
	}
	var booting *Disk
	for _, disk := range disks {
		head, err := in.head(disk)
		if err != nil {
			return nil, err
		}
		if l, err := examine(disk, head, in.dirVol); err == nil && l.pv != "" && name == pvLink+l.pv {
			return disk, nil
		}
		if _, ok := lilo.MapHeader(head[:512]); ok && booting == nil {
			booting = disk
		}
	}
	return booting, nil
}

// head reads a disk's first sectors.
func (in *installer) head(disk *Disk) ([]byte, error) {
	d, err := in.sys.direct(disk, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // only read
	head, err := d.read(0, lowSectors)
	return bytes.Clone(head), err
}

// deviceAt returns the number of the block device with that path.
func (in *installer) deviceAt(name string) (device, error) {
	var fi os.FileInfo
	var err error
	if below, ok := strings.CutPrefix(path.Clean(name), "/dev/"); ok {
		fi, err = in.sys.Dev.Stat(below)
	} else {
		fi, err = os.Stat(name)
	}
	if err != nil {
		return device{}, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Mode&syscall.S_IFMT != syscall.S_IFBLK {
		return device{}, fmt.Errorf("%s is not a block device", name)
	}
	return deviceOf(uint64(st.Rdev)), nil
}
