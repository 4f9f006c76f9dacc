# MBR with an ext4 root and a swap partition; no LVM. It boots on either of
# ESXi's SCSI controllers.
# shellcheck shell=sh disable=SC2034,SC2154 # all of this is for guest-debian.sh
number=0 release=bookworm sets=bios disks=debian controller=pvscsi root_type=ext4
proofs='lsi53c895a:e1000 pvscsi:vmxnet3'
resume=none

fstab() {
	echo "UUID=$(uuid 1) / ext4 errors=remount-ro 0 1"
	echo "UUID=$(uuid 2) none swap sw 0 0"
}

make_disks() {
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a512' 'start=1MiB, size=2559MiB, type=83, bootable' 'type=82' |
		disk "$disks" 3072
	# shellcheck disable=SC2046 # two words
	{
		ext ext4 root.img "$(size $(partition "$disks" 1))" "$(uuid 1)" root
		swap swap.img "$(size $(partition "$disks" 2))" "$(uuid 2)"
	}
	into_partition root.img "$disks" 1
	into_partition swap.img "$disks" 2
}
