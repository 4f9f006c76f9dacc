# GPT with a BIOS boot partition, where GRUB's core lies, and a volume group with
# an XFS root (/boot is in it) and swap.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=2 release=bookworm sets='bios lvm xfs' disks=debian-xfs controller=pvscsi root_type=xfs
proofs=pvscsi:vmxnet3
resume=/dev/mapper/debian--xfs--vg-swap_1

fstab() {
	echo '/dev/mapper/debian--xfs--vg-root / xfs defaults 0 0'
	echo '/dev/mapper/debian--xfs--vg-swap_1 none swap sw 0 0'
}

# volumes DEVICE
volumes() {
	tool pvcreate -y "$1"
	tool vgcreate debian-xfs-vg "$1"
	tool lvcreate -y -an -Zn -Wn -L 2560m -n root debian-xfs-vg
	tool lvcreate -y -an -Zn -Wn -L 512m -n swap_1 debian-xfs-vg
}

make_disks() {
	printf '%s\n' 'label: gpt' 'size=1MiB, type=21686148-6449-6E6F-744E-656564454649' 'type=V' |
		disk debian-xfs 4096
	layout debian-xfs-vg volumes debian-xfs:2
	xfs root.img "$(volume_size root)" "$(uuid 1)" root
	into_volume root.img root
	swap swap.img "$(volume_size swap_1)" "$(uuid 2)"
	into_volume swap.img swap_1
}
