package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// guestConcerns is what the guest must have, or will miss, as a domain.
func (b *builder) guestConcerns() {
	g := b.o.Guest
	switch b.sys.family {
	case windows:
		b.windowsConcerns()
	case linux:
		b.linuxConcerns()
	case bsd:
		b.oldDevices()
	default:
		b.concern(ConcernUnknownOS, ledger.Warning, "", "the guest's system is unknown: "+b.sys.from, "it gets devices that most systems know (SATA, "+b.sys.nicWord()+"); watch its first start")
	}
	b.storedConcerns()
	if b.sys.family != "" && !g.Agent {
		b.concern(ConcernAgent, ledger.Note, "", "qemu-guest-agent was not seen in the guest", "install it for clean shutdown, consistent backups and the guest's addresses in virsh domifaddr")
	}
	for _, n := range g.Notes {
		b.concern(ConcernLook, ledger.Note, "", "the look inside the guest: "+n, "what wasn't seen wasn't checked")
	}
}

// storedConcerns is what the guest's disks say of how it was left.
func (b *builder) storedConcerns() {
	g := b.o.Guest
	suspended := func(where string) {
		b.concern(ConcernHibernated, ledger.Blocker, where, "the guest is hibernated: its swap holds the memory of a machine with other hardware",
			"start it on ESXi, shut it down completely, and plan again")
	}
	for _, d := range g.Disks {
		for _, p := range d.Partitions {
			if p.Suspended {
				suspended(d.Address)
			}
		}
	}
	for _, v := range g.Volumes {
		if v.Suspended {
			suspended(v.Group + "/" + v.Name)
		}
	}
	b.efiLoader()
	b.biosLoader()
	b.missingPVs()
	b.lvmDevices()
}

// efiLoader reports a guest that the firmware, whose boot entries are new, finds
// no loader of.
func (b *builder) efiLoader() {
	g := b.o.Guest
	fallback := func(path string) bool { return strings.EqualFold(path, "EFI/BOOT/BOOTX64.EFI") }
	const missing = "the boot entries stay on ESXi, and there is no EFI/BOOT/BOOTX64.EFI, where firmware without entries looks"
	advice := "in the guest: grub-install --removable"
	if i := slices.IndexFunc(g.EFILoaders, func(path string) bool { return strings.EqualFold(path, "EFI/Microsoft/Boot/bootmgfw.efi") }); i >= 0 {
		advice = `in the guest: mountvol S: /S, then copy S:\EFI\Microsoft\Boot\bootmgfw.efi to S:\EFI\BOOT\BOOTX64.EFI`
	} else if len(g.EFILoaders) > 0 {
		advice += ", or copy " + g.EFILoaders[0] + " there with what else is in its directory"
	}
	switch {
	case !b.efi():
	case slices.ContainsFunc(g.EFILoaders, fallback):
		b.concern(ConcernNVRAM, ledger.Note, "", "EFI boot entries are in VMware's NVRAM, which isn't copied",
			`the firmware starts \EFI\BOOT\BOOTX64.EFI, which the guest has; create your own entries again`)
	case len(g.EFILoaders) > 0:
		b.concern(ConcernLoader, ledger.Blocker, "", missing+": it would find nothing to boot", advice+"; then plan again")
	case g.Config.ESP:
		b.concern(ConcernLoader, ledger.Blocker, "", missing+", nor any other loader on the EFI system partition", advice+"; then plan again")
	default:
		b.concern(ConcernNVRAM, ledger.Warning, "", "EFI boot entries are in VMware's NVRAM, which isn't copied",
			`the firmware falls back to \EFI\BOOT\BOOTX64.EFI; if the guest doesn't have it, create it before the migration (Debian: dpkg-reconfigure grub-efi-amd64 with "force extra installation"; others: copy the loader there)`)
	}
}

// biosLoader refuses a Linux that a BIOS finds no boot sector of on any disk,
// unless something else may start it.
func (b *builder) biosLoader() {
	g := b.o.Guest
	starts := slices.ContainsFunc(g.Disks, func(d guest.DiskLayout) bool { return d.BootCode })
	if b.efi() || b.o.BootDisk != "" || g.Root == "" || len(g.Disks) == 0 || len(g.Disks) < len(b.vm.Disks) || starts {
		return
	}
	severity, advice := ledger.Blocker, "in the guest: grub-install /dev/sda, or similar; then plan again"
	disc := slices.ContainsFunc(b.vm.CDROMs, func(c inventory.CDROM) bool { return c.ISO != "" || c.Device != "" })
	if disc || slices.ContainsFunc(b.vm.BootOrder, func(o string) bool { return strings.HasPrefix(o, "ethernet") || strings.HasPrefix(o, "net") }) {
		severity, advice = ledger.Warning, "if it starts from a disc or the network, which the boot proof doesn't have: give the domain that, and use --no-proof"
	}
	b.concern(ConcernBootCode, severity, "", "the VM starts by BIOS, and none of its disks has a boot sector: it would find nothing to boot", advice)
}

// missingPVs refuses a guest that needs a volume group at boot of which a
// physical volume is on none of the VM's disks. The look notes other groups.
func (b *builder) missingPVs() {
	for _, group := range b.o.Guest.Groups {
		i := slices.IndexFunc(group.PVs, func(pv guest.GroupPV) bool { return pv.Disk == "" })
		if i < 0 {
			continue
		}
		if mount := b.needsGroup(group); mount != "" {
			b.concern(ConcernGroup, ledger.Blocker, group.Name,
				fmt.Sprintf("the guest needs the volume group %s for %s, and the group's physical volume %s is on none of the VM's disks", group.Name, mount, group.PVs[i].UUID),
				"attach the disk that holds it on ESXi; or remove it from the group in the guest (vgreduce --removemissing first shows what would be lost); then plan again")
		}
	}
}

// lvmDevices reports LVM's list of the disks that it may use, where that names
// them by identifiers of VMware's and the guest keeps the list. An initrd may
// find the root without it.
func (b *builder) lvmDevices() {
	const name = "/etc/lvm/devices/system.devices"
	g := b.o.Guest
	text := g.Config.Files[name].Text
	if b.o.BootDisk != "" || !strings.Contains(text, "IDTYPE=sys_") && !strings.Contains(text, "IDTYPE=wwid_") {
		return
	}
	if slices.ContainsFunc(g.Groups, func(group guest.Group) bool { return b.needsGroup(group) != "" }) {
		b.concern(ConcernGroup, ledger.Warning, name, "it lists the disks that LVM may use by identifiers that the domain's disks don't have, and the guest boots from LVM",
			"in the guest, move the file away, so that LVM uses all disks, and rebuild its initrd (dracut -f); after the migration, vgimportdevices -a makes a new file")
	}
}

// needsGroup is a place that the guest mounts a volume of a group at and doesn't
// come up without, "" for none.
func (b *builder) needsGroup(group guest.Group) string {
	g := b.o.Guest
	if strings.HasPrefix(g.Root, group.Name+"/") {
		return "/"
	}
	for _, v := range group.LVs {
		for _, n := range g.Config.Needs {
			mounted := slices.ContainsFunc(g.Volumes, func(k guest.Volume) bool { return k.Group == group.Name && k.Name == v.Name && k.Mount == n.Mount })
			if mounted || guest.Canonical(n.Spec) == "/dev/mapper/"+guest.MapperName(group.Name, v.Name) {
				return n.Mount
			}
		}
	}
	return ""
}

func (s system) nicWord() string {
	if s.legacy {
		return "an old NIC"
	}
	return "e1000e"
}

// hostOnlyInitramfs are the systems whose initramfs holds only what the
// machine had that it was made on.
const hostOnlyInitramfs = "rhel centos rocky almalinux ol fedora sles sled opensuse-leap opensuse-tumbleweed photon amzn arch gentoo"

func (b *builder) linuxConcerns() {
	g := b.o.Guest
	b.oldDevices()
	b.initramfsConcern()
	if g.OS == "" {
		return
	}
	if !slices.Contains(g.SerialLogin, "ttyS0") {
		b.concern(ConcernConsole, ledger.Note, "", "no login is known to run on the guest's first serial port",
			"the boot proof may only see disk and CPU at work, which doesn't show that it came up; with systemd, add console=tty0 console=ttyS0,115200 to the boot entry to see the login")
	}
	if g.OpenVMTools {
		b.concern(ConcernTools, ledger.Note, "", "open-vm-tools are installed", "they don't start here; remove them when you no longer need the VM on ESXi")
	}
}

// initramfsConcern warns where the disks' new driver may not be in what the
// kernel boots from.
func (b *builder) initramfsConcern() {
	g, bus := b.o.Guest, b.diskDriver()
	hostOnly := g.Distro != "" && slices.Contains(strings.Fields(hostOnlyInitramfs), g.Distro)
	if bus.virtio {
		if lacking := b.o.Guest.LacksVirtio(); lacking != nil {
			b.concern(ConcernInitramfs, ledger.Blocker, "", fmt.Sprintf("kernel %s won't find a disk on virtio: %s", lacking.Kernel, lacking.Evidence),
				"in the guest, rebuild the initramfs with virtio's drivers (Debian: MODULES=most in /etc/initramfs-tools/initramfs.conf, then update-initramfs -u; "+
					`dracut: echo 'add_drivers+=" `+bus.modules+` "' >/etc/dracut.conf.d/virtio.conf, then dracut -f --regenerate-all), and plan again`)
			return
		}
	}
	if b.unread() && bus.virtio && len(b.vm.Disks) > 0 {
		b.concern(ConcernInitramfs, ledger.Note, "", "what the guest boots from could not be read, and QEMU doesn't have the controller of its disks: it needs virtio's drivers ("+bus.modules+")",
			"rebuild its initramfs with them before the migration; the boot proof shows whether it starts")
	}
	if why := b.unsure(); why != "" && !bus.virtio {
		b.concern(ConcernInitramfs, ledger.Warning, "", why+": its disks stay on the kind of controller that they had on VMware, "+bus.name+" finds them",
			"once it runs here, rebuild its initramfs with virtio's drivers, and change the disks to virtio with virsh edit, which is faster")
		return
	}
	if hostOnly && !bus.own {
		b.concern(ConcernInitramfs, ledger.Warning, "", g.Distro+" makes its initramfs for the machine that it runs on: "+bus.name+" may be missing",
			fmt.Sprintf(`before the migration, in the guest: dracut -f --regenerate-all --add-drivers "%s" (or similar); the boot proof shows whether it starts`, bus.modules))
	}
}

// diskDriver is what the guest's kernel needs to find its disks.
type diskDriver struct {
	name, modules string
	virtio        bool
	own           bool // it is what the guest had on VMware
}

func (b *builder) diskDriver() diskDriver {
	for _, d := range b.dom.Devices.Disks {
		switch {
		case d.Device != "disk":
		case d.Target.Bus == busSCSI && b.scsi != "":
			return diskDriver{name: "the driver of " + b.scsi, modules: "vmw_pvscsi mptsas", own: true}
		case d.Target.Bus == busIDE:
			return diskDriver{name: "the IDE driver", modules: "ata_piix piix"}
		case d.Target.Bus == busSATA:
			return diskDriver{name: "the AHCI driver", modules: "ahci"}
		}
	}
	return diskDriver{name: "virtio", modules: "virtio_blk virtio_scsi virtio_net virtio_pci", virtio: true}
}

// oldDevices says that the guest gets devices for an old kernel, and what that
// costs.
func (b *builder) oldDevices() {
	switch {
	case b.sys.family == linux && b.sys.legacy:
		b.concern(ConcernKernel, ledger.Warning, "", cmp.Or(b.sys.kernel, b.sys.from)+" is or may be older than virtio (Linux 2.6.25): it gets the disks and NICs of an old PC",
			"make sure that the guest's initrd has the driver of its disks (IDE: piix or ata_piix); the boot proof shows whether it starts")
	case b.sys.transitional():
		b.concern(ConcernKernel, ledger.Note, "", b.sys.oldness()+": its virtio devices are transitional, for old and new drivers",
			"no action is needed, but they can't be hot-plugged. If the guest has the driver, you can remove model virtio-transitional and the addresses with virsh edit (its NICs then get other names)")
	}
}

// windowsConcerns is what Windows must have to start from a disk on AHCI.
func (b *builder) windowsConcerns() {
	b.concern(ConcernWindows, ledger.Warning, "", "Windows starts on SATA and "+b.sys.nicWord()+", slower than virtio", "install virtio-win in the guest, then change disks and NICs to virtio with virsh edit")
	onSATA := slices.ContainsFunc(b.vm.Controllers, func(c inventory.Controller) bool { return c.Class == "sata" }) ||
		slices.ContainsFunc(b.vm.CDROMs, func(c inventory.CDROM) bool { return c.Class == "sata" })
	if b.sys.legacy || onSATA || b.diskDriver().modules != "ahci" {
		return
	}
	driver, override := "storahci", ", and delete its subkey StartOverride"
	if b.sys.usb1 { // Vista, 7, 2008
		driver, override = "msahci", ""
	}
	b.concern(ConcernWindows, ledger.Warning, "", "the VM has no SATA controller on ESXi: Windows may have "+driver+" disabled at boot, and stop with 0x7B (INACCESSIBLE_BOOT_DEVICE)",
		`before the migration, in the guest, set HKLM\SYSTEM\CurrentControlSet\Services\`+driver+` Start to 0`+override+`; or boot the domain once in safe mode, which starts it, and then normally`)
}
