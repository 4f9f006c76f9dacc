package concerns

func source() []Kind {
	return []Kind{
		{"power.cut", warning, "The VM runs, and --power-off cuts its power where its guest doesn't shut down in time, or can't be asked to.", "See that VMware Tools run in it, or shut it down by hand."},
		{"power.on", blockerNote, "The VM runs, so its disks change and are locked. With --shutdown it is a note: the plan shuts it down first.", "Shut it down by hand, or give --shutdown."},
		{"power.suspended", blocker, "The VM is suspended: a part of its state is in a file of its memory, not on its disks.", "Resume it on ESXi, and shut its guest down."},
		{"source.config", blocker, "ESXi shows no configuration of the VM, or one that no domain can have.", "Register the VM again on ESXi, or set there what is named; leave it out to go on with the others."},
		{"source.files", note, "The VMs are read from files alone, which don't say whether a VM is off or starts by itself.", "See to it that each is off, stays off, and is in no host's autostart."},
		{"source.inaccessible", blocker, "The host itself can't read the VM: it is invalid, orphaned or inaccessible.", "Repair it on ESXi, or unregister it."},
		{"source.unread", warning, "A part of the source could not be looked into: VMs may be missing from the plan.", "Make it readable, and plan again."},
	}
}

func vm() []Kind {
	return []Kind{
		{"vm.autostart", warning, "The ESXi host starts the VM when it boots: VM and domain might both run.", "`esxodus cutover` takes it out of the autostart; without it, do so before the commit."},
		{"vm.cloudInit", warning, "cloud-init's user data comes through guestinfo, which KVM doesn't have.", "In the guest: touch /etc/cloud/cloud-init.disabled."},
		{"vm.consolidation", note, "Links of a snapshot that was deleted are left in the disks' chains. They are read as they are, and the domain has none.", ""},
		{"vm.encrypted", blocker, "The VM is encrypted: nothing can read its files without vCenter's key.", "Decrypt it in vCenter first."},
		{"vm.faultTolerance", warning, "A second VM shadows this one. The domain has no shadow.", "Turn fault tolerance off on ESXi."},
		{"vm.hardware", note, "esxodus doesn't know the version of the virtual hardware.", "Compare the ledger with the VM's settings on the host."},
		{"vm.name", note, "The domain has another name than the VM: libvirt, LVM and files allow fewer characters.", "Use the domain's name with virsh; its title is the VM's name."},
		{"vm.problem", blocker, "The source contradicts itself about the VM.", "Correct the VM's settings on the host."},
		{"vm.read", warning, "Something was assumed when the source was read: a name in an unknown encoding, say.", "Compare names and notes in the plan with those on the host."},
		{"vm.reflectHost", warning, "The guest sees the ESXi host's maker and model (smbios.reflectHost), and won't here.", "An OEM-licensed Windows needs another licence here, or <smbios mode='host'/>."},
		{"vm.snapshots", warning, "The VM has snapshots. Its current state alone is moved.", "Clone the VM on ESXi first if an older state may be needed."},
		{"vm.startOrder", note, "ESXi starts its VMs in an order, and libvirt has none.", "`esxodus cutover` makes a unit for each domain, which keeps order and delays."},
		{"vm.state", blocker, "The host says that the VM is orphaned, inaccessible or invalid.", "Repair it on the host, or register it again."},
		{"vm.template", note, "The VM is a template. The domain is an ordinary one.", "Don't start it if it is meant for cloning."},
		{"vm.unplanned", blocker, "No plan could be made of the VM.", "Fix what is named, or leave the VM out."},
		{"vm.uuid", warning, "The VM has no SMBIOS UUID that a domain can have: it gets another.", "Update software in the guest that is tied to the old one."},
	}
}

func hardware() []Kind {
	return []Kind{
		{"boot.order", note, "The boot order names a device that the domain hasn't.", "Check the boot order of the domain."},
		{"clock.sync", note, "VMware Tools set the guest's clock, and nothing does so here.", "Run chrony, systemd-timesyncd or w32time in the guest."},
		{"cpu.affinity", warning, "The VM is bound to CPUs of the ESXi host. The domain is bound to none.", "If latency or a licence needs it, pin the domain with virsh vcpupin."},
		{"cpu.count", blocker, "The VM has more than 255 CPUs, which need an IOMMU in the guest.", "Remove some on ESXi."},
		{"cpu.hotAdd", note, "CPU or memory may be added to the VM while it runs.", "On the domain that needs a restart, or a maximum that you set by hand."},
		{"cpu.limit", warning, "The VM's CPU time is limited. The domain's isn't.", "Set a limit with virsh schedinfo if it needs one."},
		{"cpu.masked", warning, "CPUID masks hide features of the CPU from the guest. The domain's CPU has them.", "If software needs one hidden, add <feature policy='disable'> to the domain's <cpu>."},
		{"cpu.nested", note, "The guest runs virtual machines of its own.", "See that nesting is on in this host's kvm_intel or kvm_amd."},
		{"cpu.numa", warning, "The VM is bound to NUMA nodes of the ESXi host, or is cut into nodes of its own. The domain is neither.", "Set <numatune> or <numa> by hand where it counts."},
		{"cpu.topology", warning, "The CPUs don't divide by the cores per socket: the domain has another topology.", "Check software that is licensed by the socket."},
		{"efi.nvram", warningNote, "EFI boot entries are in VMware's NVRAM, which isn't copied: the firmware looks for a loader at the usual place.", "See that the guest has EFI/BOOT/BOOTX64.EFI; create entries of your own again."},
		{"efi.secureBoot", note, "Secure Boot is on: the domain's firmware has Microsoft's keys.", "Enrol keys of your own, or a revocation list, again in its setup."},
		{"memory.limit", warning, "The VM may use less of the ESXi host's memory than it has. The domain may use all of its own.", "Such a limit is mostly left over: remove it, or give the VM less memory."},
		{"tpm.state", warning, "The VM has a TPM. The domain's is new and empty: what was sealed with the old one can't be unsealed.", "Have recovery keys (BitLocker, LUKS with Clevis) at hand, or suspend that protection first."},
	}
}

func nics() []Kind {
	return []Kind{
		{"nic.mac", blocker, "The MAC address isn't that of one station.", "Correct it on ESXi."},
		{"nic.macMissing", warning, "ESXi assigns the MAC address at the first start, and the VM was never started.", "The NIC gets the address that is shown."},
		{"nic.name", warningNote, "The guest's name of the NIC changes. It is a warning if files of the guest use the name and the conversion doesn't keep it.", "Keep the old name by a .link file that matches the MAC address, or change it wherever the guest has it."},
		{"nic.portGroup", blockerWarning, "Nothing is planned for the NIC's port group, or ESXi shows none for it.", "Name an interface for it with --uplink or --network."},
		{"nic.sriov", warning, "The guest drives a virtual function of the ESXi host's adapter itself.", "Plan a virtual function with --sriov; else see that the guest's configuration isn't tied to the adapter's driver."},
		{"nic.vfDriver", warning, "The guest may have no driver for the virtual function that it gets.", "Install it first, or leave --sriov out for this port group."},
	}
}

func devices() []Kind {
	return []Kind{
		{"device.floppy", note, "A floppy image is in the VM's drive. The domain has no drive.", "Put what the guest needs onto an ISO."},
		{"device.iso", blockerNote, "An ISO is in the drive, and the domain's drives start empty. It is a blocker if the guest doesn't come up without it.", "Copy the ISO and insert it with virsh change-media; in the guest's fstab, use nofail."},
		{"device.nvdimm", blocker, "The VM has an NVDIMM, whose content would stay behind.", "In the guest, move what is on it to a disk and remove it from fstab; then remove the module from the VM."},
		{"device.other", note, "A device of a kind that esxodus doesn't know.", "Check whether the guest needs it."},
		{"device.parallel", note, "A parallel port. The domain has none.", "Add a <parallel> if a dongle or printer needs it."},
		{"device.passthrough", warning, "A PCI device of the ESXi host is passed through. The domain hasn't got it.", "Give the domain a device of this host with a <hostdev>, or remove it from the guest."},
		{"device.serial", note, "A serial port to a file, a device or the network of the ESXi host. The domain's is a pty.", "Edit its <serial> if something listened there."},
		{"device.usb", warning, "A USB device of the ESXi host is passed through: a licence dongle, often.", "Plug it into this host, and attach it with virsh attach-device."},
	}
}

func batch() []Kind {
	return []Kind{
		{"batch.acknowledged", note, "Something is acknowledged that the plan doesn't have.", "Take it off the command line, or see how it is spelt in the plan."},
		{"batch.hostname", note, "Two guests of the plan have one host name, as on ESXi.", "If one is a clone, give it another."},
		{"batch.mac", warning, "Two NICs of the plan have one MAC address: on one network both lose traffic.", "Change one."},
		{"batch.machineID", note, "Two guests of the plan have one machine id: they are copies of one guest, and a DHCP server may take them for one client.", "In one of them: rm /etc/machine-id && systemd-machine-id-setup, and make new SSH host keys."},
		{"batch.name", blocker, "Two VMs would become the same domain.", "Rename one on ESXi, or migrate them from different plans."},
		{"batch.uuid", blocker, "Two VMs have one SMBIOS UUID, and libvirt refuses the second.", "Give the clone a uuid.bios of its own on ESXi."},
	}
}
