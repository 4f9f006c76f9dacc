package concerns

func disks() []Kind {
	return []Kind{
		{"disk.byID", warningNote, "The guest sees its disks' serial numbers, and may name them by those (/dev/disk/by-id).", "Use UUID= in the guest's files: the numbers have other prefixes here, or are cut off."},
		{"disk.capacity", blocker, "The disk has a size that no disk has.", "Check its descriptor on the host, or remove it from the VM."},
		{"disk.datastore", blocker, "The disk's datastore isn't accessible.", "Make it available again on the host."},
		{"disk.format", blocker, "No file on the host has the disk's data, as with a raw device mapping.", "Clone it into a file with vmkfstools -i on ESXi, or give the target the LUN."},
		{"disk.high-boot", blocker, "In the layout that was asked for, what boots may lie where this BIOS doesn't read the disk.", "Follow the cure that is named, or leave --layout out."},
		{"disk.independent", note, "The disk is left out of snapshots on ESXi. The domain's is in them like any other.", ""},
		{"disk.layout", blockerWarning, "The guest can't have the layout that was asked for; or it can, at a risk.", "Follow what is named, or leave --layout out: the disks then stay as they are."},
		{"disk.leftBehind", warning, "The plan leaves the disk behind: the domain starts without it.", "Check the guest's fstab."},
		{"disk.multiWriter", blocker, "Other VMs may write the disk (multi-writer): each would get a copy, and they would differ.", "If no other VM uses it, turn sharing off on ESXi; else copy it once by itself with `esxodus copy`."},
		{"disk.names", anySeverity, "The guest's files name disks (sda, hda, nvme0n1) that have other names here. It is a blocker if the guest doesn't come up without them.", "Use UUID= in the guest, or nofail."},
		{"disk.none", warning, "The VM has no disk: nothing is copied.", "See whether it was detached by mistake."},
		{"disk.nonpersistent", warning, "What is written to the disk is discarded at power-off, or kept apart. The domain's disk keeps it.", "Add <transient/> to the domain's disk to discard it; commit or discard what is kept apart on ESXi."},
		{"disk.rdm", blocker, "The disk is a raw device mapping: its data is on a LUN.", "Detach it, and give the domain the LUN or a copy by hand."},
		{"disk.sharedBus", blocker, "Other VMs may write the disks of the controller (bus sharing), as in a cluster.", "Turn it off on ESXi if no other VM uses them; else copy them once by themselves."},
		{"disk.twice", blocker, "Another VM of the host, or the same one, has the disk as well.", "Remove what is left over from the inventory; else copy the disk once by itself with `esxodus copy`."},
		{"disk.unreadable", blocker, "The disk can't be opened: a file is missing, locked or damaged.", "Fix on ESXi what is named (the VM's directory has its log), and plan again."},
		{"disk.way", blockerNote, "The disks come by another way than usual; or the way that was asked for isn't open.", "Leave --via out, or name what it needs."},
	}
}

func target() []Kind {
	return []Kind{
		{"cpu.emulated", warning, "The domains run without KVM: a tenth of the speed.", "Use a host with KVM, or plan without --virt-type qemu."},
		{"cpu.level", warning, "The guest's system is built for processors of a later x86-64 level than this host's has (RHEL 9: v2, RHEL 10: v3): it stops as soon as it starts.", "Migrate it to a host with a newer processor."},
		{"target.boot", warning, "LVM on this host doesn't activate the volume group at its start: domains won't find their disks.", "Add the group to the list in lvm.conf that is named."},
		{"target.domain", blocker, "A domain of that name or UUID exists.", "`esxodus status` says whether an earlier run made it; else rename or undefine it."},
		{"target.firmware", blocker, "The target lacks UEFI, Secure Boot or an emulated TPM, and the VM has it.", "Install the packages that are named."},
		{"target.mac", warning, "A domain has the NIC's MAC address already.", "Change one before they run together."},
		{"target.memory", warning, "The directory is in this host's memory: the disks are gone with its next start.", "Choose one on a disk."},
		{"target.one-path", blocker, "The volume group uses one path to a disk that has several.", "Have multipathd map the disk, keep LVM off its paths, and activate the group again."},
		{"target.overcommit", warning, "A thin pool has promised more than it has.", "Watch it (`lvs -o +data_percent`), or have LVM extend it by itself."},
		{"target.path", warning, "QEMU's user can't reach the directory.", "chmod o+x what is named, or choose another directory."},
		{"target.shared", anySeverity, "Other hosts may see the volume group.", "Start its locks (vgchange --lockstart), or change the group from one host at a time."},
		{"target.space", blockerWarning, "The target has too little room for what is written, or for what the disks may grow to.", "Make room, choose another --storage, or plan fewer VMs at a time."},
		{"target.unknown", warning, "libvirt didn't answer: the plan isn't compared with what is there.", "Plan where libvirt answers before you convert."},
		{"target.virt-type", blocker, "libvirt on the target doesn't offer what was asked for.", "Turn virtualisation on in the host's firmware, or plan with --virt-type qemu."},
		{"target.volume", blocker, "A volume of that name exists, or none can be made.", "`esxodus status` says whether an earlier run made it; else rename it, or choose another --storage."},
		{"target.writer", blocker, "Another host has runs in the volume group that aren't ended, and there are no locks.", "Commit or roll them back there."},
	}
}
