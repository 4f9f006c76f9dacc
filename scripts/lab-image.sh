#!/bin/sh
# Usage: scripts/lab-image.sh [RELEASE]
#
# Makes the system of the lab's virtual machine (see scripts/lab) and prints its
# directory:
#
#   root.img     Debian's packages on an ext4 file system named lab-root
#   initrd.img   for the kernel of scripts/kernel.sh, whose modules are in both
#
# RELEASE is bookworm, unless it is said. Any other system has only what networkd
# needs.
#
# Needs root, for the ownership of the files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/initrd.sh"

# What storage needs (thin pools and multipath, too), a LUN that several hosts see with
# LVM's locks for it, a libvirtd to define domains in, with AppArmor to confine them, and
# LXD for its bridge.
packages=mount,udev,kmod,lvm2,dmsetup,fdisk,e2fsprogs,xfsprogs,util-linux,procps,iproute2,qemu-utils
packages=$packages,libvirt-daemon-system,libvirt-daemon-driver-qemu,libvirt-clients,qemu-system-x86,seabios
packages=$packages,thin-provisioning-tools,multipath-tools,tgt,open-iscsi,lvm2-lockd,sanlock
packages=$packages,apparmor,lxd,dnsmasq-base,nftables
for_networkd=mount,udev,kmod,util-linux,procps,iproute2,systemd,dbus-daemon

make_image() {
	debian root --variant=essential --mode=root --include="$packages" --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --format=directory
	rm -f root/etc/apt/apt.conf.d/99mmdebstrap root/etc/apt/sources.list.d/*
	# A test that wants one of these starts it; every other machine boots without.
	for unit in root/etc/systemd/system/*.wants/*; do
		case ${unit##*/} in
		lx* | apparmor* | multipath* | tgt* | *iscsi* | lvmlock* | sanlock* | wdmd*) rm "$unit" ;;
		esac
	done
	mkdir -p root/lab root/lib/modules
	cp -r "$kernel/lib/modules/." root/lib/modules/
	echo lab >root/etc/hostname
	printf '127.0.0.1\tlocalhost lab\n' >root/etc/hosts
	cat >root/sbin/lab-init <<-'END'
		#!/bin/sh
		export PATH=/usr/sbin:/usr/bin
		# The rest of it comes along with each command.
		for serial in /sys/block/vd*/serial; do
			[ "$(cat "$serial")" != payload ] || payload=${serial%/serial}
		done
		mount -t ext4 "/dev/${payload##*/}" /lab
		exec sh /lab/init
	END
	chmod 755 root/sbin/lab-init
	truncate -s 4G root.img
	mke2fs -q -t ext4 -L lab-root -d root -E lazy_itable_init=1 root.img
	rm -rf --one-file-system root
	initrd initrd.img "$kernel" virtio_pci virtio_blk virtio_console
}

lab=lab
case ${1-} in
'' | "$release") ;;
trixie) release=$1 lab=lab-$1 packages=$for_networkd ;;
*)
	usage
	exit 64
	;;
esac
need mmdebstrap busybox mke2fs modprobe cpio gzip
[ "$(id -u)" = 0 ] || die 'must be run by root'
kernel=$("$here/kernel.sh")
cached "$lab" "$(digest "$here/lab-image.sh" "$here/initrd.sh" "$here/kernel.sh")" make_image
readlink -f "$cache/$lab"
