# Makes small initrds of busybox and Debian's modules; to be sourced after
# lib.sh. The kernel is the one that kernel.sh fetched.
# shellcheck shell=sh

# busybox_in DIR puts busybox into DIR/bin, with a link for each of its commands.
busybox_in() {
	mkdir -p "$1/bin"
	cp "$(command -v busybox)" "$1/bin/busybox"
	busybox --list | grep -v '^busybox$' | while read -r i_applet; do
		ln -s busybox "$1/bin/$i_applet"
	done
}

# modules_in DIR KERNEL MODULE... puts the modules and what they need of the
# directory KERNEL into DIR/lib/modules.
modules_in() {
	i_dir=$1 i_kernel=$2
	i_version=$(cat "$2/version")
	shift 2
	mkdir -p "$i_dir/lib/modules/$i_version"
	cp "$i_kernel/lib/modules/$i_version"/modules.order \
		"$i_kernel/lib/modules/$i_version"/modules.builtin* "$i_dir/lib/modules/$i_version/"
	for i_module; do
		modprobe -d "$i_kernel" -S "$i_version" --show-depends "$i_module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r i_ko; do
		cp "$i_ko" "$i_dir/lib/modules/$i_version/"
	done
	depmod -b "$i_dir" "$i_version"
}

# initrd OUT KERNEL MODULE... makes an initrd that loads those of the modules
# that the machine's devices ask for and those of modules= (separated by
# commas), waits for the file system named by root= and starts init=
# (/sbin/init) on it, with rw if the command line has it. rootfstype= is ext4
# if not given. Where a second archive appended to OUT brings the command
# /bin/lvm, it is told to activate every volume group.
initrd() {
	i_out=$1
	shift
	rm -rf initrd.d
	mkdir -p initrd.d/dev initrd.d/proc initrd.d/sys initrd.d/root
	busybox_in initrd.d
	modules_in initrd.d "$@" ext4 crc32c_generic
	cat >initrd.d/init <<-'END'
		#!/bin/busybox sh
		export PATH=/bin
		mount -t devtmpfs devtmpfs /dev
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		init=/sbin/init mode=ro type=ext4 modules=
		for arg in $(cat /proc/cmdline); do
			case $arg in
			root=*) root=${arg#root=} ;;
			rootfstype=*) type=${arg#rootfstype=} ;;
			modules=*) modules=$(echo "${arg#modules=}" | tr , ' ') ;;
			init=*) init=${arg#init=} ;;
			rw) mode=rw ;;
			esac
		done
		# Twice, as a bus's driver brings new devices.
		for pass in 1 2; do
			find /sys/devices -name modalias -exec cat {} + | sort -u | xargs modprobe -qa
		done
		modprobe -a crc32c_generic $modules "$type" # XFS wants the checksum loaded
		modprobe -qa sd_mod evdev # no alias leads to these
		n=0
		until dev=$(findfs "$root" 2>/dev/null) && mount -t "$type" -o $mode "$dev" /root; do
			[ ! -x /bin/lvm ] || lvm vgchange --sysinit -qq -ay
			n=$((n + 1))
			[ $n -lt 3000 ] || { echo "initrd: no $root"; cat /proc/partitions; exec sh; }
			sleep 0.1
		done
		mount --move /dev /root/dev
		mount --move /proc /root/proc
		mount --move /sys /root/sys
		exec switch_root /root "$init"
	END
	chmod 755 initrd.d/init
	(cd initrd.d && find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0) | gzip -1n >"$i_out"
	rm -rf initrd.d
}
