package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// Buses of disks, in libvirt's words.
const (
	busVirtio = "virtio"
	busSCSI   = "scsi"
	busSATA   = "sata"
	busIDE    = "ide"
)

const (
	maxVirtioDisks = 20 // each takes a PCI device; above, one SCSI controller takes all
	maxIDE         = 4  // two channels of two
	sataPorts      = 6  // of each AHCI controller
	maxSCSISerial  = 36 // bytes; libvirt's limit
	maxSerial      = 20 // bytes, on every other bus
)

var (
	sdName   = regexp.MustCompile(`^/dev/sd[a-z]`)
	diskName = regexp.MustCompile(`^/dev/(sd|hd|vd|xvd|nvme|da|ada)[0-9a-z]`)
)

// diskBus picks one bus for all disks, so that their order is one order.
func (b *builder) diskBus() (bus, reason string) {
	switch {
	case b.sys.legacy && len(b.vm.Disks)+len(b.vm.CDROMs) <= maxIDE:
		return busIDE, b.sys.from + " is older than AHCI and virtio"
	case b.sys.family == windows || b.sys.legacy:
		return busSATA, "Windows starts from AHCI with its own driver; change to virtio once virtio-win is installed"
	case b.sys.family == bsd && !b.allOn("scsi"):
		return busSATA, "keeps BSD's name of the disk (ada0)"
	case b.sys.family == bsd:
		return busSCSI, "keeps BSD's name of the disk (da0, sd0)"
	case !b.sys.virtio():
		return busSATA, "no virtio driver is known to be in the guest"
	}
	if why := b.unsure(); why != "" {
		if bus, reason, ok := b.leastChange(why); ok {
			return bus, reason
		}
	}
	reason = b.notVirtioBlk()
	switch {
	case reason == "":
		return busVirtio, "the fastest; " + b.sys.virtioReason()
	case b.allOn("sata") && b.namesSD() != "":
		return busSATA, reason + "; it had AHCI on VMware"
	case b.sys.noSCSI: // AHCI's disks are sda, sdb … too
		return busSATA, reason + ", and virtio-scsi is younger than the guest"
	}
	return busSCSI, reason
}

// notVirtioBlk says why virtio-blk is the wrong bus for a guest that has a
// driver for it; "" if it isn't.
func (b *builder) notVirtioBlk() string {
	most := maxVirtioDisks
	if b.sys.transitional() {
		most = min(most, b.pci.oldLeft()-reservedOld)
	}
	switch {
	case b.vm.DiskEnableUUID:
		return "the guest knows its disks by serial number, which virtio-blk cuts off after 20 characters"
	case len(b.vm.Disks) > most:
		return fmt.Sprintf("more than %d disks", most)
	}
	return b.namesSD()
}

// namesSD says why the disks must go on being called sda, sdb, "" where they
// needn't.
func (b *builder) namesSD() string {
	for _, name := range b.o.Guest.DiskNames {
		if sdName.MatchString(name) {
			return "the guest's configuration names " + name + ", which would have another name on virtio-blk"
		}
	}
	if only := b.o.OnlyDisks; only.Prefix == "sd" {
		return only.Reason + ", and disks on virtio-blk are vda, vdb …"
	}
	return ""
}

// unsure says why no driver of virtio's is known to be in what a Linux guest boots
// from, "" where nothing rules it out.
func (b *builder) unsure() string {
	if b.sys.family != linux {
		return ""
	}
	if lacking := b.o.Guest.LacksVirtio(); lacking != nil {
		return fmt.Sprintf("kernel %s won't find a disk on virtio (%s)", lacking.Kernel, lacking.Evidence)
	}
	if b.unread() {
		return "what the guest boots from could not be read"
	}
	return ""
}

// unread reports whether nothing is known of the system that is on the disks.
func (b *builder) unread() bool { return b.o.Guest.OS == "" }

// leastChange is the bus on which the guest finds its disks as it did on VMware:
// by the same driver where QEMU emulates the same controller, else by the same
// names, if its drivers may be there.
func (b *builder) leastChange(why string) (bus, reason string, ok bool) {
	switch model := b.ownSCSI(); {
	case b.allOn("sata"):
		return busSATA, why + "; it had AHCI on VMware", true
	case model != "":
		b.scsi = model
		return busSCSI, why + "; it had this controller on VMware, and QEMU emulates it", true
	case !b.unread():
		return "", "", false // it surely lacks the drivers of all else
	case b.sys.noSCSI:
		return busSATA, why + "; on AHCI its disks keep their names", true
	}
	return busSCSI, why + "; on virtio-scsi its disks keep their names", true
}

// lsiSAS is libvirt's word for the LSI SAS 1068.
const lsiSAS = "lsisas1068"

// emulated are VMware's SCSI controllers that QEMU has, too, in the words of the
// inventory and of libvirt.
func emulated(model string) string {
	return map[string]string{"pvscsi": "vmpvscsi", "lsisas1068": lsiSAS}[model]
}

// SameControllers reports whether QEMU has the controllers that all the VM's disks
// are on: a guest finds its disks on them by the drivers that it uses now.
func SameControllers(vm *inventory.VM) bool {
	b := &builder{vm: vm}
	return b.allOn("sata") || b.ownSCSI() != ""
}

// ownSCSI is libvirt's word for the controllers of all the VM's disks, "" where they
// are of several kinds or of one that QEMU doesn't have.
func (b *builder) ownSCSI() string {
	model := ""
	for _, d := range b.vm.Disks {
		i := slices.IndexFunc(b.vm.Controllers, func(c inventory.Controller) bool { return c.Class == "scsi" && c.Class == d.Class && c.Bus == d.Bus })
		if i < 0 || model != "" && b.vm.Controllers[i].Model != model {
			return ""
		}
		model = b.vm.Controllers[i].Model
	}
	return emulated(model)
}

// scsiTargets is how many disks a controller takes. OVMF looks no further than 31
// on virtio-scsi; the LSI SAS 1068 has eight ports.
func (b *builder) scsiTargets() int {
	if b.scsi == lsiSAS {
		return 8
	}
	return 30
}

// allOn reports whether all disks are on controllers of a class.
func (b *builder) allOn(class string) bool {
	return len(b.vm.Disks) > 0 && !slices.ContainsFunc(b.vm.Disks, func(d inventory.Disk) bool { return d.Class != class })
}

// disks attaches the disks in the source's order: the first is sda or vda
// whichever of them the firmware boots.
func (b *builder) disks() {
	here := make(map[string]Disk, len(b.o.Disks))
	for _, d := range b.o.Disks {
		here[d.Address] = d
	}
	bus, reason := b.diskBus()
	for _, d := range b.vm.Disks {
		b.diskConcerns(d)
		to, ok := here[d.Address()]
		if !ok {
			b.leftBehind(d)
			continue
		}
		n := len(b.dom.Devices.Disks)
		disk := b.disk(d, to, bus, n)
		b.dom.Devices.Disks = append(b.dom.Devices.Disks, disk)
		b.accountDisk(d, to, disk, reason)
	}
	b.controllers(bus, reason)
	b.diskNames(bus)
}

func (b *builder) disk(d inventory.Disk, to Disk, bus string, n int) libvirtxml.DomainDisk {
	prefix := map[string]string{busVirtio: "vd", busSCSI: "sd", busSATA: "sd", busIDE: "hd"}[bus]
	disk := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw", Cache: "none", Discard: "unmap"},
		Target: &libvirtxml.DomainDiskTarget{Dev: b.names.next(prefix), Bus: bus},
	}
	if to.Block {
		disk.Driver.IO = "native"
		disk.Source = &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: to.Path}}
	} else {
		// Native I/O would stall on a sparse file's allocation.
		disk.Driver.IO = "threads"
		disk.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: to.Path}}
	}
	if d.WriteThrough {
		disk.Driver.Cache = "directsync"
	}
	if d.IOPSLimit > 0 || d.BytesLimit > 0 {
		disk.IOTune = &libvirtxml.DomainDiskIOTune{TotalIopsSec: tuned(d.IOPSLimit), TotalBytesSec: tuned(d.BytesLimit)}
	}
	disk.Serial = b.serial(d, bus)
	if b.scsi == lsiSAS {
		disk.WWN = sasAddress(to.Path)
	}
	if bus == busSCSI && b.vm.DiskEnableUUID {
		disk.Vendor, disk.Product = "VMware", "Virtual disk"
	}
	if bus == busVirtio && b.sys.transitional() {
		disk.Model = b.sys.virtioModel()
	}
	disk.Address = b.diskAddress(bus, n)
	return disk
}

// sasAddress is a disk's SAS address: the driver of the LSI SAS 1068 takes no disk
// that has none (seen with Linux 6.1). It is one of VMware's (NAA 5, OUI 00:0c:29),
// the same each time.
func sasAddress(path string) string {
	sum := sha256.Sum256([]byte(path))
	return "5000c29" + hex.EncodeToString(sum[:])[:9]
}

// tuned is a limit as libvirt takes it: 0 for none, and at most 10^15.
func tuned(limit int64) uint64 { return uint64(min(max(limit, 0), 1e15)) }

func (b *builder) diskAddress(bus string, n int) *libvirtxml.DomainAddress {
	drive := func(controller, bus, target, unit int) *libvirtxml.DomainAddress {
		return &libvirtxml.DomainAddress{Drive: &libvirtxml.DomainAddressDrive{
			Controller: new(uint(controller)), Bus: new(uint(bus)), Target: new(uint(target)), Unit: new(uint(unit)),
		}}
	}
	switch bus {
	case busSCSI: // a target each: firmware looks at few units, if at more than one
		return drive(n/b.scsiTargets(), 0, n%b.scsiTargets(), 0)
	case busSATA:
		return drive(n/sataPorts, 0, 0, n%sataPorts)
	case busIDE:
		return drive(0, n/2, 0, n%2)
	}
	return b.virtioAddress()
}

// serial is the disk's serial number as VMware shows it, the UUID's digits, cut
// to what the domain's bus has room for; "" where the guest saw none, which is
// so unless disk.EnableUUID is on.
func (b *builder) serial(d inventory.Disk, bus string) string {
	if !b.vm.DiskEnableUUID {
		return ""
	}
	kept := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, strings.ToLower(d.UUID))
	return kept[:min(len(kept), serialRoom(bus))]
}

// serialRoom is how many characters of a serial number a bus shows.
func serialRoom(bus string) int {
	if bus == busSCSI {
		return maxSCSISerial
	}
	return maxSerial // of ATA, and of virtio-blk
}

// controllers adds what the disks sit on, and accounts for the source's.
func (b *builder) controllers(bus, reason string) {
	n := len(b.dom.Devices.Disks)
	if bus == busSCSI {
		for i := range (n + b.scsiTargets() - 1) / b.scsiTargets() {
			model, at := b.scsiController()
			b.dom.Devices.Controllers = append(b.dom.Devices.Controllers, libvirtxml.DomainController{
				Type: "scsi", Index: new(uint(i)), Model: model, Address: at,
			})
		}
	}
	for _, c := range b.vm.Controllers {
		name := fmt.Sprintf("%s%d", c.Class, c.Bus)
		of := b.of("controllers[%s].", name)
		if b.scsi != "" && emulated(c.Model) == b.scsi {
			of.mapped("model", c.Model, b.scsi)
			of.mapped("class", c.Class, bus)
		} else {
			of.changed("model", c.Model, bus, reason)
			of.changed("class", c.Class, bus, reason)
		}
		of.changed("bus", c.Bus, "0", "the domain has as many controllers as its disks need")
		of.dropped("key", c.Key, "number of the device on ESXi")
		of.dropped("shared", c.Shared, "the domain's disks are its own")
		if c.Shared != "" && !strings.EqualFold(c.Shared, "noSharing") {
			b.concern(ConcernSharedBus, ledger.Blocker, name, c.Shared+" bus sharing: other VMs may write this controller's disks",
				"each VM would get a copy, and they would differ; if no other VM uses the disks, turn bus sharing off on ESXi")
		}
	}
}

// scsiController is the next controller's model and place.
func (b *builder) scsiController() (model string, at *libvirtxml.DomainAddress) {
	switch {
	case b.scsi != "":
		return b.scsi, b.pci.old()
	case b.sys.transitional():
		return b.sys.virtioModel(), b.virtioAddress()
	}
	return "virtio-scsi", b.virtioAddress()
}

// leftBehind accounts for a disk that the plan doesn't bring.
func (b *builder) leftBehind(d inventory.Disk) {
	of, reason := b.of("disks[%s].", d.Address()), "the plan leaves this disk behind"
	of.dropped("path", d.Path, reason)
	of.dropped("capacity", d.Capacity, reason)
	if d.RDM == "" {
		b.concern(ConcernLeftBehind, ledger.Warning, d.Address(), "the plan leaves "+d.Path+" behind", "the domain starts without it: check the guest's fstab")
	}
	b.diskRest(d, reason)
}

// accountDisk writes the ledger of a disk that comes along.
func (b *builder) accountDisk(d inventory.Disk, to Disk, disk libvirtxml.DomainDisk, busReason string) {
	of, target := b.of("disks[%s].", d.Address()), disk.Target.Dev+" on "+disk.Target.Bus
	of.mapped("path", d.Path, to.Path)
	if to.Size == d.Capacity {
		of.mapped("capacity", d.Capacity, "")
	} else {
		of.changed("capacity", d.Capacity, fmt.Sprint(to.Size), "rounded up to what the storage allocates")
	}
	of.changed("class", d.Class, target, busReason)
	of.changed("bus", d.Bus, target, busReason)
	of.changed("unit", d.Unit, target, "disks keep their order")
	switch {
	case disk.Serial != "" && disk.Target.Bus == busSCSI:
		of.changed("uuid", d.UUID, "serial "+disk.Serial, "the serial number stays; names with wwn- and scsi-3 don't, as QEMU has no 128-bit WWN")
	case disk.Serial != "":
		of.changed("uuid", d.UUID, "serial "+disk.Serial, fmt.Sprintf("%s has room for %d characters of it; names in /dev/disk/by-id change", disk.Target.Bus, maxSerial))
	case b.vm.DiskEnableUUID:
		of.dropped("uuid", d.UUID, "holds no digits for a serial number")
	default:
		of.dropped("uuid", d.UUID, "the guest didn't see it (disk.EnableUUID is off)")
	}
	of.mapped("iopsLimit", d.IOPSLimit, "total_iops_sec")
	of.mapped("bytesLimit", d.BytesLimit, "total_bytes_sec")
	of.mapped("writeThrough", d.WriteThrough, "cache directsync")
	b.diskRest(d, "")
}

// diskRest accounts for what becomes of no disk property here. reason, if not
// empty, stands for each.
func (b *builder) diskRest(d inventory.Disk, reason string) {
	of := b.of("disks[%s].", d.Address())
	drop := func(name string, source any, why string) {
		if reason != "" {
			why = reason
		}
		of.dropped(name, source, why)
	}
	if reason != "" {
		drop("class", d.Class, "")
		drop("bus", d.Bus, "")
		drop("unit", d.Unit, "")
		drop("uuid", d.UUID, "")
		drop("iopsLimit", d.IOPSLimit, "")
		drop("bytesLimit", d.BytesLimit, "")
		drop("writeThrough", d.WriteThrough, "")
	}
	drop("key", d.Key, "number of the device on ESXi")
	drop("label", d.Label, "VMware's caption")
	drop("contentID", d.ContentID, "the plan checks it before the copy")
	drop("format", d.Format, "the copy is raw")
	drop("mode", d.Mode, "the domain's disk is an ordinary one")
	drop("thin", d.Thin, "the target's storage decides; zeros are not written")
	drop("eagerZeroed", d.EagerZeroed, "the target's storage decides; zeros are not written")
	drop("multiWriter", d.MultiWriter, "the domain's disk is its own")
	drop("parents", d.Parents, "the chain is read as one disk")
	drop("rdm", d.RDM, "the domain gets a disk of its own")
	drop("shares", d.Shares, "libvirt has weights only for a whole domain, and not with every scheduler")
	for _, f := range d.Files {
		files := b.of("disks[%s].files[%s].", d.Address(), f.Path)
		files.dropped("type", f.Type, "a file on the datastore")
		files.dropped("size", f.Size, "a file on the datastore")
		files.dropped("allocated", f.Allocated, "a file on the datastore")
		files.dropped("path", f.Path, "a file on the datastore")
	}
}

// diskConcerns finds what makes a disk more than its bytes.
func (b *builder) diskConcerns(d inventory.Disk) {
	at := d.Address()
	if d.Capacity <= 0 || d.Capacity%512 != 0 {
		b.concern(ConcernCapacity, ledger.Blocker, at, fmt.Sprintf("capacity of %d bytes", d.Capacity), "no disk has that size; look at "+d.Path+" on the host")
	}
	for _, ds := range b.host.Datastores {
		if !ds.Accessible && strings.HasPrefix(d.Path, "["+ds.Name+"] ") {
			b.concern(ConcernDatastore, ledger.Blocker, at, fmt.Sprintf("datastore %q isn't accessible", ds.Name), "make it available again on the host")
		}
	}
	if d.RDM != "" || d.Format == inventory.FormatRDM || d.Format == inventory.FormatRawPhysical {
		b.concern(ConcernRDM, ledger.Blocker, at, "raw device mapping of "+show(d.RDM), "its data is on a LUN, not on the datastore: detach it from the VM, and give the domain the LUN or a copy by hand")
	}
	if d.MultiWriter {
		b.concern(ConcernMultiWriter, ledger.Blocker, at, "multi-writer: other VMs may write this disk", "each VM would get a copy, and they would differ; if no other VM uses the disk, turn sharing off on ESXi")
	}
	switch strings.ToLower(d.Mode) {
	case "independent_nonpersistent", "nonpersistent":
		b.concern(ConcernNonpersistent, ledger.Warning, at, "mode "+d.Mode+": what is written is discarded at power-off", "the domain's disk keeps what is written; add <transient/> to it to discard that")
	case "independent_persistent":
		b.concern(ConcernIndependent, ledger.Note, at, "mode independent: left out of snapshots", "the domain's disk is in its snapshots like any other")
	case "undoable", "append":
		b.concern(ConcernNonpersistent, ledger.Warning, at, "mode "+d.Mode+": changes are kept apart until they are committed", "commit or discard them on ESXi")
	}
}

// renamed reports whether a name of a disk that the guest uses will be another
// disk's in the domain, or belongs to none.
func (b *builder) renamed(name, bus string) bool {
	if link, ok := strings.CutPrefix(name, "/dev/disk/by-id/"); ok {
		serial := strings.HasPrefix(link, "scsi-SVMware") || strings.HasPrefix(link, "scsi-0VMware")
		return !serial || bus != busSCSI || !b.vm.DiskEnableUUID
	}
	stays := b.callsSD(bus) && sdName.MatchString(name) || bus == busSCSI && b.sys.family == bsd
	return strings.HasPrefix(name, "/dev/disk/by-path/") || diskName.MatchString(name) && !stays
}

// callsSD reports whether the guest's disks are sda, sdb …: Linux calls those of
// SCSI and SATA alike.
func (b *builder) callsSD(bus string) bool {
	return b.sys.family == linux && (bus == busSCSI || bus == busSATA)
}

// needs refuses a guest that would wait for a name which no disk will have, and
// returns these names. Of IDE it isn't certain: by the guest's driver its disks
// are hda or sda.
func (b *builder) needs(bus string) []string {
	var missed []string
	for _, n := range b.o.Guest.Config.Needs {
		name := conf.UnstableName(n.Spec)
		if name == "" || bus == busIDE || !b.renamed(name, bus) {
			continue
		}
		missed = append(missed, name)
		b.concern(ConcernDiskNames, ledger.Blocker, n.Mount,
			fmt.Sprintf("%s names %s for %s, but nothing in the domain has that name (its disks will be %s): the guest would wait for it, and stop in emergency mode or in its initrd", n.File, n.Spec, n.Mount, b.listDisks()),
			"in the guest, use UUID= there (blkid shows it), or in fstab, if it may be absent, the option nofail; then plan again")
	}
	return missed
}

// emptyDrives refuses a guest that mounts what is in a drive, and doesn't come up
// without: the domain's drives start empty.
func (b *builder) emptyDrives() {
	for _, n := range b.o.Guest.Config.Needs {
		if n.Drive() {
			b.concern(ConcernISO, ledger.Blocker, n.Mount,
				fmt.Sprintf("%s names %s for %s, but the domain's drives start empty: the guest would stop in emergency mode", n.File, n.Spec, n.Mount),
				"in the guest, add the option nofail or noauto to the line; then plan again")
		}
	}
}

// diskNames reports names in the guest's configuration that will change.
func (b *builder) diskNames(bus string) {
	missed := b.needs(bus)
	b.emptyDrives()
	var stale, idle, used []string
	for _, name := range b.o.Guest.DiskNames {
		nobodys := slices.Contains(b.o.Guest.Config.IdleNames, name)
		if !nobodys {
			used = append(used, name)
		}
		switch {
		case !b.renamed(name, bus) || slices.Contains(missed, name):
		case nobodys:
			idle = append(idle, name)
		default:
			stale = append(stale, name)
		}
	}
	if len(idle) > 0 {
		b.concern(ConcernDiskNames, ledger.Note, "", fmt.Sprintf("lines of the guest's fstab that aren't mounted automatically (noauto) name %s; its disks will be %s", strings.Join(idle, ", "), b.listDisks()),
			"use UUID= or LABEL= there if they are ever mounted")
	}
	if len(stale) > 0 {
		b.concern(ConcernDiskNames, ledger.Warning, "", fmt.Sprintf("the guest's configuration names %s; its disks will be %s", strings.Join(stale, ", "), b.listDisks()),
			"use UUID= or LABEL= in its fstab, crypttab, boot loader and resume setting before the migration")
	}
	if i := slices.IndexFunc(used, sdName.MatchString); b.callsSD(bus) && i >= 0 && len(b.dom.Devices.Disks) > 1 {
		// Seen in TestGuestSees: two disks swapped names between two boots.
		b.concern(ConcernDiskNames, ledger.Warning, "", fmt.Sprintf("the guest's configuration names %s, and it has %d disks: Linux gives sd names in the order in which the disks answer, here as on VMware", used[i], len(b.dom.Devices.Disks)),
			"use UUID= or LABEL= in its fstab, crypttab, boot loader and resume setting")
	}
	if d, only := b.dom.Devices.Disks, b.o.OnlyDisks; len(d) > 0 && !strings.HasPrefix(d[0].Target.Dev, only.Prefix) {
		severity := ledger.Warning
		if slices.ContainsFunc(b.o.Guest.Groups, func(g guest.Group) bool { return strings.HasPrefix(b.o.Guest.Root, g.Name+"/") }) {
			severity = ledger.Blocker // its initrd has a copy of the filter, and finds no root
		}
		b.concern(ConcernDiskNames, severity, "", fmt.Sprintf("%s, and the domain's disks will be %s", only.Reason, b.listDisks()),
			"make the guest accept both kinds of name before the migration; the boot proof shows whether it matters")
	}
	switch {
	case !b.serials():
	case bus == busSCSI:
		b.concern(ConcernByID, ledger.Note, "", "the guest sees its disks' serial numbers (disk.EnableUUID)",
			"names such as scsi-SVMware_Virtual_disk_… in /dev/disk/by-id stay; wwn-… and scsi-3… change")
	default:
		b.concern(ConcernByID, ledger.Warning, "", fmt.Sprintf("the guest sees its disks' serial numbers (disk.EnableUUID); on %s they have %d characters of them", bus, maxSerial),
			"every name in /dev/disk/by-id changes: use UUID= or LABEL=, and update software that is tied to a disk's serial number")
	}
}

func (b *builder) listDisks() string {
	var s []string
	for _, d := range b.dom.Devices.Disks {
		s = append(s, d.Target.Dev)
	}
	return strings.Join(s, ", ")
}

// SourcePath returns the file or device behind a disk, "" for what is neither.
func SourcePath(s *libvirtxml.DomainDiskSource) string {
	switch {
	case s == nil:
	case s.File != nil:
		return s.File.File
	case s.Block != nil:
		return s.Block.Dev
	}
	return ""
}
