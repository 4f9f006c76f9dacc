# GPT and UEFI: an EFI system partition, an ext4 root and swap; no LVM. On AHCI:
# Debian 12's OVMF has no driver for pvscsi.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=5 release=bookworm sets=efi disks=debian-uefi controller=ahci root_type=ext4 firmware=efi
proofs=ahci:vmxnet3
resume=UUID=$(uuid 2)

fstab() {
	echo "UUID=$(uuid 1) / ext4 errors=remount-ro 0 1"
	echo '# /boot/efi was on /dev/sda1 during installation'
	echo 'UUID=DEB1-A512 /boot/efi vfat umask=0077 0 1'
	echo "UUID=$(uuid 2) none swap sw 0 0"
}

make_disks() {
	mkdir root/boot/efi
	printf '%s\n' 'label: gpt' 'size=128MiB, type=U' 'size=2432MiB, type=L' 'type=S' | disk debian-uefi 3072
	# shellcheck disable=SC2046 # two words
	{
		truncate -s "$(size $(partition debian-uefi 1))" esp.img
		ext ext4 root.img "$(size $(partition debian-uefi 2))" "$(uuid 1)" root
		swap swap.img "$(size $(partition debian-uefi 3))" "$(uuid 2)"
	}
	mkfs.vfat -F 32 -i deb1a512 esp.img >/dev/null
	into_partition esp.img debian-uefi 1
	into_partition root.img debian-uefi 2
	into_partition swap.img debian-uefi 3
}
