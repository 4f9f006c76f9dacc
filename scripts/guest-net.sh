#!/bin/sh
# Usage: scripts/guest-net.sh
#
# Builds the guest of the network proof's tests and prints its directory:
#
#   vmlinux      Debian's kernel, to be started with `qemu -kernel`
#   initrd.img   busybox and the drivers of QEMU's NICs
#
# What comes after " -- " in the kernel's command line is run as one command of
# the shell's; then the console asks for a login, and again at each Enter. The
# power button shuts it down. It has no disk.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/initrd.sh"

modules='virtio_pci virtio_net e1000 e1000e vmxnet3 igbvf 8021q bonding button evdev'

make_guest() {
	mkdir -p root/dev root/proc root/sys root/run root/tmp root/etc/acpi/PWRF root/root
	busybox_in root
	ln -s bin root/sbin # where the kernel looks for modprobe
	# shellcheck disable=SC2086 # one word each
	modules_in root "$kernel" $modules
	cat >root/init <<-'END'
		#!/bin/busybox sh
		export PATH=/bin
		mount -t devtmpfs devtmpfs /dev
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		for pass in 1 2; do # twice, as a bus's driver brings new devices
			find /sys/devices -name modalias -exec cat {} + | sort -u | xargs modprobe -qa
		done
		modprobe -qa evdev
		acpid -c /etc/acpi -p /run/acpid.pid -l /dev/null
		ip link set lo up
		echo "net: $*"
		eval "$*"
		echo "net: done"
		while echo && echo -n 'net login: ' && read -r line; do :; done
	END
	# udhcpc runs it
	cat >root/etc/lease <<-'END'
		#!/bin/busybox sh
		case $1 in
		bound | renew)
			ip addr replace "$ip/$mask" dev "$interface"
			[ -z "$router" ] || ip route replace default via $router dev "$interface"
			echo "net: lease $ip/$mask router $router dns $dns"
			;;
		esac
	END
	printf '#!/bin/sh\n/bin/busybox poweroff -f\n' >root/etc/acpi/PWRF/00000080
	chmod 755 root/init root/etc/lease root/etc/acpi/PWRF/00000080
	(cd root && find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0) | gzip -1n >initrd.img
	rm -rf root
	cp "$kernel/vmlinux" .
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need busybox modprobe depmod cpio gzip
kernel=$("$here/kernel.sh")
cached guests/net "$(digest "$here/guest-net.sh" "$here/initrd.sh" "$here/kernel.sh")" make_guest
readlink -f "$cache/guests/net"
