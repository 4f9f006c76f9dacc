#!/bin/sh
# Usage: scripts/guest-debian.sh
#
# Builds the Debian guest that demo and tests migrate, and prints its directory:
# Debian 12 as its installer would leave it on ESXi, but without documentation
# and recommended packages. MBR with an ext4 root and a swap partition, GRUB
# installed by its own grub-install, an initrd with every driver, sshd, a static
# address on ens192 in /etc/network/interfaces, consoles on the screen and on
# ttyS0. Log in as root with the password "esxodus".
#
#   debian.vmdk        descriptor, as ESXi writes it
#   debian-flat.vmdk   the disk itself, 3 GiB, sparse
#   vm.json            the virtual machine around it, for fixtures/esxi
#
# It is published only when it has booted to its login on the controllers that
# ESXi presents. Needs root, for the ownership of the files; no loop device.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/vmdk.sh"
. "$here/initrd.sh"

disk_mib=3072 swap_mib=512
root_uuid=deb1a512-0000-4000-8000-000000000001
swap_uuid=deb1a512-0000-4000-8000-000000000002
packages=systemd-sysv,udev,dbus,kmod,ifupdown,iproute2,iputils-ping,openssh-server
packages=$packages,linux-image-amd64,initramfs-tools,zstd,grub-pc,e2fsprogs,procps,less

# The kernel's and initramfs-tools' postinst would each build the initrd, which
# is half of all the time here: INITRD=No skips both, a hook does it once.
# The level is zstd's fastest. The kernel's package is the one in the cache.
make_root() {
	export INITRD=No kernel
	# shellcheck disable=SC2016 # the hooks' shells expand them
	debian root --variant=minbase --mode=root --include="$packages" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--setup-hook='mkdir -p "$1/var/cache/apt/archives" && cp "$kernel"/*.deb "$1/var/cache/apt/archives/"' \
		--essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" &&
			printf "COMPRESS=zstd\nCOMPRESSLEVEL=1\n" >"$1/etc/initramfs-tools/conf.d/compress"' \
		--essential-hook='echo grub-pc grub-pc/install_devices_empty boolean true |
			chroot "$1" debconf-set-selections' \
		--customize-hook='chroot "$1" env -u INITRD update-initramfs -c -k all >/dev/null' \
		--customize-hook='echo root:esxodus | chroot "$1" chpasswd' \
		--format=directory
	# How this machine reaches its archives is no business of the guest's.
	rm -f root/etc/apt/apt.conf.d/99mmdebstrap root/etc/apt/sources.list.d/*
	: >root/etc/resolv.conf
	: >root/etc/machine-id
}

configure_root() {
	echo debian >root/etc/hostname
	printf '127.0.0.1\tlocalhost\n192.0.2.20\tdebian\n' >root/etc/hosts
	cat >root/etc/fstab <<-END
		# <file system> <mount point> <type> <options> <dump> <pass>
		UUID=$root_uuid / ext4 errors=remount-ro 0 1
		UUID=$swap_uuid none swap sw 0 0
	END
	cat >root/etc/network/interfaces <<-'END'
		source /etc/network/interfaces.d/*

		auto lo
		iface lo inet loopback

		# The primary network interface
		auto ens192
		iface ens192 inet static
			address 192.0.2.20/24
			gateway 192.0.2.1
	END
	echo 'PermitRootLogin yes' >root/etc/ssh/sshd_config.d/root.conf
	sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/
		s/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"/' root/etc/default/grub
	echo 'RESUME=none' >root/etc/initramfs-tools/conf.d/resume
}

make_disk() {
	flat=debian-flat.vmdk
	root_mib=$((disk_mib - 1 - swap_mib))
	truncate -s "${disk_mib}M" $flat
	printf '%s\n' 'label: dos' 'label-id: 0xdeb1a512' \
		"start=1MiB, size=${root_mib}MiB, type=83, bootable" \
		"start=$((1 + root_mib))MiB, type=82" | sfdisk -q $flat
	truncate -s "${root_mib}M" root.img
	mke2fs -q -t ext4 -b 4096 -U "$root_uuid" -d root -E lazy_itable_init=0 -O "$ext4_features" root.img
	dd if=root.img of=$flat bs=1M seek=1 conv=notrunc,sparse status=none
	truncate -s "${swap_mib}M" swap.img
	mkswap -q -U "$swap_uuid" swap.img
	dd if=swap.img of=$flat bs=1M seek="$((1 + root_mib))" conv=notrunc,sparse status=none
	rm root.img swap.img
}

# install_grub runs GRUB's own tools where they see the real disk: in a virtual
# machine that starts them in place of init.
install_grub() {
	cat >root/sbin/install-grub <<-END
		#!/bin/sh
		export PATH=/usr/sbin:/usr/bin:/sbin:/bin
		case \$0 in
		/sbin/*) # a file that is deleted while it is open would keep / from becoming read-only
			mount -t tmpfs tmpfs /tmp
			cp "\$0" /tmp/install-grub
			rm "\$0"
			exec /tmp/install-grub
			;;
		esac
		mkdir -p /dev/disk/by-uuid
		ln -s /dev/sda1 /dev/disk/by-uuid/$root_uuid
		grub-install --target=i386-pc /dev/sda && update-grub && mount -o remount,ro / && echo 'GRUB is installed'
		sync
		echo o >/proc/sysrq-trigger
		sleep 60
	END
	chmod 755 root/sbin/install-grub
	make_disk
	initrd initrd.img "$kernel" vmw_pvscsi sd_mod
	timeout 180 qemu-system-x86_64 -accel tcg,thread=multi -machine q35 -m 512 -nodefaults -no-reboot \
		-display none -serial file:grub.log -device pvscsi,id=hba -device scsi-hd,bus=hba.0,drive=d0 \
		-drive if=none,id=d0,format=raw,cache=unsafe,file=debian-flat.vmdk \
		-kernel "$kernel/vmlinux" -initrd initrd.img \
		-append "console=ttyS0 quiet panic=-1 root=UUID=$root_uuid rw init=/sbin/install-grub"
	grep -q 'GRUB is installed' grub.log || {
		tail -n 30 grub.log >&2
		die 'installing GRUB in the guest did not work; the end of its console is above'
	}
	rm initrd.img grub.log
}

# prove boots the guest both ways at once, each on one processor.
prove() {
	"$here/boot.sh" debian-flat.vmdk --cpus 1 --bus lsi53c895a --nic e1000 --timeout 300 &
	other=$!
	"$here/boot.sh" debian-flat.vmdk --cpus 1 --bus pvscsi --nic vmxnet3 --timeout 300 --poweroff || {
		kill "$other"
		exit 1
	}
	wait "$other"
}

build_disk() {
	make_root
	configure_root
	install_grub
	rm -rf --one-file-system root
	prove
}

# wrap puts the disk, which took minutes, into what took none.
wrap() {
	cp -l "$disk/debian-flat.vmdk" .
	vmdk_descriptor debian lsilogic
	cp "$here/guest-debian.json" vm.json
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need mmdebstrap busybox mke2fs mkswap sfdisk modprobe cpio gzip qemu-system-x86_64
[ "$(id -u)" = 0 ] || die "must be run by root"
kernel=$("$here/kernel.sh")
key=$(digest "$here/guest-debian.sh" "$here/initrd.sh" "$here/kernel.sh")
cached debian-disk "$key" build_disk
disk=$(readlink -f "$cache/debian-disk")
cached guests/debian "$key$(digest "$here/guest-debian.json" "$here/vmdk.sh")" wrap
readlink -f "$cache/guests/debian"
