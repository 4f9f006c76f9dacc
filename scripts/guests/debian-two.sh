# Two disks, each with a partition in the one volume group; root has a segment on
# both, the first too small for its files; /boot is a partition of the first.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=4 release=bookworm sets='bios lvm' disks='debian-two debian-two_1' controller=pvscsi root_type=ext4
proofs=pvscsi:vmxnet3
resume=/dev/mapper/debian--two--vg-swap_1

fstab() {
	echo '/dev/mapper/debian--two--vg-root / ext4 errors=remount-ro 0 1'
	echo '# /boot was on /dev/sda1 during installation'
	echo "UUID=$(uuid 2) /boot ext4 defaults 0 2"
	echo '/dev/mapper/debian--two--vg-swap_1 none swap sw 0 0'
}

# volumes DEVICE DEVICE
volumes() {
	tool pvcreate -y "$1" "$2"
	tool vgcreate debian-two-vg "$1" "$2"
	tool lvcreate -y -an -Zn -Wn -l 100%PVS -n root debian-two-vg "$1"
	tool lvextend -L 2304m debian-two-vg/root "$2"
	tool lvcreate -y -an -Zn -Wn -L 512m -n swap_1 debian-two-vg "$2"
}

make_disks() {
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a516' 'start=2048, size=300MiB, type=83, bootable' 'type=8e' |
		disk debian-two 640
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a517' 'start=2048, type=8e' | disk debian-two_1 3072
	layout debian-two-vg volumes debian-two:2 debian-two_1:1
	mv root/boot boot
	mkdir root/boot
	# Either disk may be the kernel's sda: GRUB goes where /boot is.
	sed -i "s|/dev/sda|\"\$(blkid -U $(uuid 2) \| tr -d 0-9)\"|" root/sbin/install-grub
	# shellcheck disable=SC2046 # two words
	ext ext4 boot.img "$(size $(partition debian-two 1))" "$(uuid 2)" boot
	into_partition boot.img debian-two 1
	ext ext4 root.img "$(volume_size root)" "$(uuid 1)" root
	into_volume root.img root
	swap swap.img "$(volume_size swap_1)" "$(uuid 3)"
	into_volume swap.img swap_1
}
