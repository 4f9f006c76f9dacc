# Debian 13: a newer kernel, a newer GRUB and ext4 with features that Debian 12
# doesn't give it. MBR, and all of it in one volume group.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=3 release=trixie sets='bios lvm' disks=debian-trixie controller=pvscsi root_type=ext4
proofs=pvscsi:vmxnet3
resume=/dev/mapper/debian--trixie--vg-swap_1

fstab() {
	echo '/dev/mapper/debian--trixie--vg-root / ext4 errors=remount-ro 0 1'
	echo '/dev/mapper/debian--trixie--vg-swap_1 none swap sw 0 0'
}

# volumes DEVICE
volumes() {
	tool pvcreate -y "$1"
	tool vgcreate debian-trixie-vg "$1"
	tool lvcreate -y -an -Zn -Wn -L 3g -n root debian-trixie-vg
	tool lvcreate -y -an -Zn -Wn -L 512m -n swap_1 debian-trixie-vg
}

make_disks() {
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a515' 'start=2048, type=8e, bootable' | disk debian-trixie 4096
	layout debian-trixie-vg volumes debian-trixie:1
	ext ext4 root.img "$(volume_size root)" "$(uuid 1)" root
	into_volume root.img root
	swap swap.img "$(volume_size swap_1)" "$(uuid 2)"
	into_volume swap.img swap_1
}
