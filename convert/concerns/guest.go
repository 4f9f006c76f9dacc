package concerns

// guestFound is what a look inside says, and what follows for the domain.
func guestFound() []Kind {
	return []Kind{
		{"guest.agent", note, "The guest has no qemu-guest-agent, or has its service masked.", "Install it for clean shutdown, consistent backups and addresses in virsh domifaddr."},
		{"guest.bootSector", blockerWarning, "The VM starts by BIOS, and no disk has a boot sector.", "In the guest: grub-install /dev/sda, or similar. If it starts from a disc or the network, give the domain that, and use --no-proof."},
		{"guest.console", note, "No login is known to run on the guest's first serial port: the boot proof sees less.", "Add console=ttyS0,115200 to the guest's kernel parameters."},
		{"guest.efiLoader", blocker, "Firmware without boot entries finds no loader where it looks.", "In the guest: grub-install --removable, or copy its loader to EFI/BOOT/BOOTX64.EFI; then plan again."},
		{"guest.faults", blockerWarning, "A file system is damaged at the source. It is a blocker if the conversion must mount it and a kernel may refuse.", "Check it in the guest or from a rescue system, shut the VM down, and plan again."},
		{"guest.hibernated", blocker, "The guest is hibernated: its disks hold the memory of a machine with other hardware.", "Start it on ESXi, and shut it down fully (Windows: shutdown /s /t 0)."},
		{"guest.initramfs", anySeverity, "What the guest boots from may lack virtio's drivers. It is a blocker if it certainly does and nothing adds them.", "Rebuild the initramfs in the guest with the drivers that are named."},
		{"guest.kernel", anySeverity, "A kernel is older than virtio, or lacks its drivers, or another than before boots by default.", "See what is named; remove kernels whose packages are gone."},
		{"guest.look", note, "Something inside the guest couldn't be seen, and wasn't checked.", "Watch its first start with that in mind."},
		{"guest.lvm", anySeverity, "LVM in the guest won't find its disks: a physical volume is missing, or its files hide or name disks.", "Change the file that is named, or move the disk that is missing along."},
		{"guest.unknown", warning, "The guest's system is unknown: it gets devices that most systems know.", "Watch its first start, and change devices with virsh edit."},
		{"guest.windows", warning, "Windows starts on slower devices than virtio's, and may have their driver disabled.", "Follow what is named before the migration; install virtio-win in the guest later, and change disks and NICs to virtio with virsh edit."},
	}
}

// guestConverted is what the conversion inside the guest can't do, or does.
func guestConverted() []Kind {
	return []Kind{
		{"guest.address", blocker, "The guest can't be given the address that --ip asks for.", "Correct it, or leave it out and set the address in the guest."},
		{"guest.cloudInit", warning, "cloud-init may take the guest for a new machine, with new SSH host keys.", "In the guest: touch /etc/cloud/cloud-init.disabled; or leave --no-edits out."},
		{"guest.cmdline", blockerWarning, "Kernel parameters mean nothing here, or the line is too long for the loader.", "See whether one of them is needed; shorten the line in the guest."},
		{"guest.dhcp", note, "The DHCP server sees a new client, and gives a new lease.", "Reserve by MAC address, or set dhcp-identifier: mac in the guest first."},
		{"guest.efi", note, "The guest boots through UEFI, and will boot by BIOS.", "A backup of the old disk can't be restored over the new one."},
		{"guest.family", blockerWarning, "esxodus doesn't know how the system makes its initrds, or can't have it done.", "Keep the layout, leave the guest as it is (--no-edits), or prepare it by hand."},
		{"guest.fixed", blocker, "The conversion changes files that the guest has made immutable (chattr).", "Take the attribute away for the migration."},
		{"guest.initrd", anySeverity, "A kernel has no initrd, or its initrd isn't adapted.", "Make it in the guest (update-initramfs, dracut), or remove the kernel."},
		{"guest.left", warning, "The guest should be changed, and is left as it is: the plan says why.", "Fix what is named and plan again, or change the guest by hand once it runs here."},
		{"guest.lilo", warningNote, "The guest has a LILO of its own, which stays in charge or is replaced.", "Carry over what you need of its lilo.conf."},
		{"guest.nic", warning, "Files of the guest find NICs by VMware's driver or by a place on VMware's buses.", "Match by MAC address in the guest; otherwise they get no address."},
		{"guest.packages", warning, "Packages stay that should go, or that must come can't.", "Remove or install them once the guest runs here."},
		{"guest.password", blockerWarning, "The guest's boot loader asks for a password, and the new one won't; or the plan would hold it.", "Take it out for the migration, and set it again afterwards."},
		{"guest.room", warning, "The guest's file system has no room for copies of what boots.", "Remove kernels that aren't needed: the copies are made as soon as there is room."},
		{"guest.table", anySeverity, "A line of fstab, crypttab or a unit names what isn't on the target, or what isn't certain.", "Use UUID= in the guest, or nofail; or take the line out."},
		{"guest.tools", warningNote, "VMware's tools remain in the guest. Without VMware they don't start.", "Remove them when the VM on ESXi is no longer needed."},
		{"guest.unread", blocker, "Files that the conversion depends on can't be read, or mean something that it can't follow.", "Fix it in the guest, or keep it as it is (--layout keep, --no-edits)."},
	}
}
