#!/bin/sh
# Usage: scripts/guest-tiny.sh
#
# Builds the tiny guest of the fast tests and prints its directory. It is a real
# one: MBR, GRUB, Debian's kernel, an initrd with the drivers of ESXi's and of
# QEMU's controllers, an ext4 root with busybox in it, and a login on the serial
# console within seconds, even without KVM. The power button shuts it down.
# Log in as root with the password "esxodus".
#
#   tiny.vmdk        descriptor, as ESXi writes it
#   tiny-flat.vmdk   the disk itself, sparse
#   vm.json          the virtual machine around it, for fixtures/esxi
#
# Everything is made with mke2fs and GRUB's own images in plain files: no loop
# device, no mount, no root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/vmdk.sh"
. "$here/initrd.sh"

disk_mib=128
root_uuid=e50d05e5-0000-4000-8000-000000000001
modules='virtio_pci virtio_blk virtio_scsi vmw_pvscsi mptspi mptsas sym53c8xx ahci ata_piix
	nvme sd_mod virtio_net vmxnet3 e1000 e1000e button evdev'

# The password's hash is of "esxodus".
make_root() {
	mkdir -p root/bin root/boot root/dev root/etc/acpi/PWRF root/etc/network root/lib \
		root/etc/network/if-pre-up.d root/etc/network/if-up.d root/etc/network/if-down.d \
		root/etc/network/if-post-down.d root/mnt root/proc root/root root/run root/sbin root/sys root/tmp root/var/log
	ln -s ../run root/var/run
	busybox_in root
	cp "$kernel/vmlinuz" root/boot/vmlinuz
	ln -s /bin/busybox root/sbin/init
	cat >root/etc/os-release <<-END
		PRETTY_NAME="esxodus tiny guest (busybox)"
		NAME="esxodus tiny guest"
		ID=debian
		ID_LIKE=debian
		VERSION_ID="12"
		VERSION_CODENAME=$release
	END
	echo tiny >root/etc/hostname
	printf '127.0.0.1\tlocalhost\n192.0.2.10\ttiny\n' >root/etc/hosts
	echo "UUID=$root_uuid / ext4 errors=remount-ro 0 1" >root/etc/fstab
	echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
	echo 'root:x:0:' >root/etc/group
	printf 'root:%s:19000:0:99999:7:::\n' "$(busybox mkpasswd -m sha512 -S esxodusesxodus esxodus)" >root/etc/shadow
	chmod 600 root/etc/shadow
	cat >root/etc/network/interfaces <<-'END'
		auto lo
		iface lo inet loopback

		auto ens192
		iface ens192 inet static
			address 192.0.2.10
			netmask 255.255.255.0
			gateway 192.0.2.1
	END
	cat >root/etc/inittab <<-'END'
		::sysinit:/etc/rc
		tty1::respawn:/bin/busybox getty 38400 tty1 linux
		ttyS0::respawn:/bin/busybox getty -L 115200 ttyS0 vt100
		::respawn:/bin/busybox acpid -f -c /etc/acpi -p /run/acpid.pid -l /var/log/acpid
		::shutdown:/etc/rc.shutdown
		::ctrlaltdel:/bin/busybox reboot
	END
	cat >root/etc/rc <<-'END'
		#!/bin/busybox sh
		# Like udev on ESXi, call VMware's NIC ens192; any other keeps its name.
		export PATH=/bin:/sbin
		mount -o remount,rw /
		mount -t tmpfs tmpfs /run
		mkdir -p /run/network
		hostname -F /etc/hostname
		case $(readlink /sys/class/net/eth0/device/driver) in
		*/vmxnet3 | */e1000 | */e1000e) ip link set eth0 name ens192 ;;
		esac
		ifup -a
		echo "tiny: root is $(findfs UUID=$(sed -n 's/^UUID=\([^ ]*\) .*/\1/p' /etc/fstab)), addresses:" \
			$(ip -o -4 addr | awk '{print $2, $4}')
	END
	cat >root/etc/rc.shutdown <<-'END'
		#!/bin/busybox sh
		export PATH=/bin:/sbin
		echo 'tiny: shutting down'
		sync
		mount -o remount,ro /
	END
	printf '#!/bin/sh\n/bin/busybox poweroff\n' >root/etc/acpi/PWRF/00000080
	chmod 755 root/etc/rc root/etc/rc.shutdown root/etc/acpi/PWRF/00000080
}

# GRUB's boot.img looks for core.img in sector 1 without being told, and
# core.img for its rest in sector 2: so no grub-install is needed.
make_disk() {
	mkdir -p root/boot/grub
	cat >root/boot/grub/grub.cfg <<-END
		linux /boot/vmlinuz root=UUID=$root_uuid ro console=tty0 console=ttyS0,115200 quiet no_timer_check mitigations=off
		initrd /boot/initrd.img
		boot
	END
	# shellcheck disable=SC2016 # GRUB expands it
	printf 'set prefix=(hd0,msdos1)/boot/grub\nconfigfile $prefix/grub.cfg\n' >early.cfg
	grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -c early.cfg -o core.img \
		biosdisk part_msdos ext2 linux configfile normal echo

	flat=tiny-flat.vmdk
	truncate -s "${disk_mib}M" $flat
	echo 'label: dos
label-id: 0xe50d05e5
start=2048, type=83, bootable' | sfdisk -q $flat
	dd if=/usr/lib/grub/i386-pc/boot.img of=$flat bs=440 count=1 conv=notrunc status=none
	dd if=core.img of=$flat bs=512 seek=1 conv=notrunc status=none

	truncate -s "$((disk_mib - 1))M" part.img
	mke2fs -q -t ext4 -b 4096 -J size=4 -U "$root_uuid" -L tiny -d root -E root_owner=0:0,lazy_itable_init=0 \
		-O "$ext4_features" part.img
	dd if=part.img of=$flat bs=1M seek=1 conv=notrunc,sparse status=none
}

make_guest() {
	make_root
	# shellcheck disable=SC2086 # one word each
	initrd root/boot/initrd.img "$kernel" $modules
	# shellcheck disable=SC2086
	modules_in root "$kernel" $modules
	make_disk
	rm -rf root part.img core.img early.cfg
	vmdk_descriptor tiny lsilogic
	cp "$here/guest-tiny.json" vm.json
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need busybox mke2fs sfdisk grub-mkimage modprobe cpio gzip
[ -f /usr/lib/grub/i386-pc/boot.img ] || die "not installed: grub-pc-bin; run scripts/setup.sh test"
kernel=$("$here/kernel.sh")
cached guests/tiny "$(digest "$here/guest-tiny.sh" "$here/guest-tiny.json" "$here/vmdk.sh" \
	"$here/initrd.sh" "$here/kernel.sh")" make_guest
readlink -f "$cache/guests/tiny"
