# What Debian's and Ubuntu's installers make of "guided, entire disk with LVM":
# MBR, /boot as ext2 in a primary partition, and in a logical one an LVM volume
# group without a free extent, for root and swap. It has VMware's tools, as Debian
# packages them, and KVM's agent, which has nothing to do on ESXi.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=1 release=bookworm sets='bios lvm vm' disks=debian-lvm controller=lsilogic root_type=ext4
proofs=lsi53c895a:vmxnet3
resume=/dev/mapper/debian--lvm--vg-swap_1

fstab() {
	echo '/dev/mapper/debian--lvm--vg-root / ext4 errors=remount-ro 0 1'
	echo '# /boot was on /dev/sda1 during installation'
	echo "UUID=$(uuid 2) /boot ext2 defaults 0 2"
	echo '/dev/mapper/debian--lvm--vg-swap_1 none swap sw 0 0'
}

# volumes DEVICE
volumes() {
	tool pvcreate -y "$1"
	tool vgcreate debian-lvm-vg "$1"
	tool lvcreate -y -an -Zn -Wn -l "$(($(tool vgs --noheadings -o vg_free_count debian-lvm-vg) - 128))" \
		-n root debian-lvm-vg
	tool lvcreate -y -an -Zn -Wn -l 100%FREE -n swap_1 debian-lvm-vg
}

make_disks() {
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a513' 'start=2048, size=997376, type=83, bootable' \
		'start=1001470, type=5' 'start=1001472, type=8e' | disk debian-lvm 4096
	layout debian-lvm-vg volumes debian-lvm:5
	mv root/boot boot
	mkdir root/boot
	# shellcheck disable=SC2046 # two words
	ext ext2 boot.img "$(size $(partition debian-lvm 1))" "$(uuid 2)" boot
	into_partition boot.img debian-lvm 1
	ext ext4 root.img "$(volume_size root)" "$(uuid 1)" root
	into_volume root.img root
	swap swap.img "$(volume_size swap_1)" "$(uuid 3)"
	into_volume swap.img swap_1
}
