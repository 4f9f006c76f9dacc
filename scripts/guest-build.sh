# Builds a Debian guest's disks: root, GRUB, and the proof that they boot. To be
# sourced after lib.sh, initrd.sh, debian-root.sh and guest-disk.sh. The caller
# sets name, address, kernel and, for the proof, built, the directory of the
# disks; and sources guests/NAME.sh, which sets the rest.
# shellcheck shell=sh disable=SC2154

# make_root makes root/, the guest's system before it has a name.
make_root() {
	# shellcheck disable=SC2086 # one word each
	root_tree root $sets
	set --
	for m_set in $sets; do
		[ "$m_set" != lvm ] || set -- lvm
	done
	m_initrd=$(root_initrd "$@")
	m_version=$(ls root/lib/modules)
	cp "$m_initrd" "root/boot/initrd.img-$m_version"
	# Once more, now that it can link /initrd.img too.
	inside root linux-update-symlinks install "$m_version" "/boot/vmlinuz-$m_version" >/dev/null
}

# more_files puts what else a guest has into root/; guests/NAME.sh may define its
# own.
more_files() { :; }

# configure_root gives it its name, address and file systems.
configure_root() {
	echo "$name" >root/etc/hostname
	printf '127.0.0.1\tlocalhost\n%s\t%s\n' "$address" "$name" >root/etc/hosts
	{
		echo '# <file system> <mount point> <type> <options> <dump> <pass>'
		fstab
	} >root/etc/fstab
	cat >root/etc/network/interfaces <<-END
		source /etc/network/interfaces.d/*

		auto lo
		iface lo inet loopback

		# The primary network interface
		auto ens192
		iface ens192 inet static
			address $address/24
			gateway 192.0.2.1
	END
	echo 'PermitRootLogin yes' >root/etc/ssh/sshd_config.d/root.conf
	sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/
		s/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200 no_timer_check mitigations=off"/' root/etc/default/grub
	echo "RESUME=$resume" >root/etc/initramfs-tools/conf.d/resume
	# A processor that is emulated on a machine that has other work is slow, not
	# broken: systemd's 90 s for a device to appear aren't enough then, and the
	# kernel must not take the timer for a broken one (no_timer_check, above). What
	# a kernel does against the faults of real processors costs a tenth of a boot.
	mkdir root/etc/systemd/system.conf.d
	printf '[Manager]\nDefaultDeviceTimeoutSec=15min\nDefaultTimeoutStartSec=15min\n' \
		>root/etc/systemd/system.conf.d/emulation.conf
	more_files
}

# lvm_archive makes the initrd archive lvm.cpio.gz with the guest's own LVM.
lvm_archive() {
	mkdir -p lvm.d/bin lvm.d/etc/lvm lvm.d/lib64
	inside root ldd /sbin/lvm | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' |
		while read -r m_lib; do
			mkdir -p "lvm.d${m_lib%/*}"
			inside root cat "$m_lib" >"lvm.d$m_lib"
			chmod 755 "lvm.d$m_lib"
		done
	cp root/usr/sbin/lvm lvm.d/bin/
	lvm_conf >lvm.d/etc/lvm/lvm.conf
	(cd lvm.d && find . | sort | cpio -o -H newc --quiet -R 0:0) | gzip -1 >lvm.cpio.gz
	rm -r lvm.d
}

# grub_script prints what installs GRUB in the guest, in place of its init: there
# it sees the real disk. The kernel isn't the guest's own, so it has no modules.
grub_script() {
	cat <<-END
		#!/bin/sh
		export PATH=/usr/sbin:/usr/bin:/sbin:/bin LVM_SYSTEM_DIR=/tmp/lvm LVM_SUPPRESS_FD_WARNINGS=1
		case \$0 in
		/sbin/*) # a file that is deleted while it is open would keep / from becoming read-only
			mount -t tmpfs tmpfs /tmp
			mv "\$0" /tmp/install-grub
			exec /tmp/install-grub
			;;
		esac
		mount -t tmpfs tmpfs /run
		mkdir -p /tmp/lvm /dev/disk/by-uuid
		cat >/tmp/lvm/lvm.conf <<-'LVM'
			$(lvm_conf)
		LVM
		# grub-mkconfig names a root by its UUID only where udev does.
		blkid | sed -n 's/^\([^:]*\):.* UUID="\([^"]*\)".*/\1 \2/p' | while read -r device uuid; do
			ln -s "\$device" "/dev/disk/by-uuid/\$uuid"
		done
		mount -a && $1 && update-grub && umount -a -t ext2,ext4,vfat -O no_netdev
		mount -o remount,ro / && echo 'GRUB is installed'
		sync
		echo o >/proc/sysrq-trigger
		sleep 60
	END
}

# install_grub COMMAND runs grub-install as COMMAND and update-grub in a virtual
# machine with the guest's disks. It may be a long time coming where all other
# work goes first.
install_grub() {
	initrd initrd.img "$kernel" vmw_pvscsi sd_mod dm_mod ext4 xfs vfat nls_cp437 nls_ascii
	if [ -e root/usr/sbin/lvm ]; then
		lvm_archive
		cat lvm.cpio.gz >>initrd.img
	fi
	set -- -device pvscsi,id=hba
	for g_disk in $disks; do
		set -- "$@" -drive "if=none,id=$g_disk,format=raw,cache=unsafe,file=$g_disk-flat.vmdk" \
			-device "scsi-hd,bus=hba.0,drive=$g_disk"
	done
	"$here/emulate" --up grub.log 'GRUB is installed' -- -machine q35 -m 512 -nodefaults -no-reboot \
		-display none -nic none -serial file:grub.log "$@" -kernel "$kernel/vmlinux" -initrd initrd.img \
		-append "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off root=UUID=$(uuid 1) rootfstype=$root_type rw \
modules=dm_mod,vfat,nls_cp437,nls_ascii,ext4 init=/sbin/install-grub" || say "QEMU ended with status $?"
	grep -q 'GRUB is installed' grub.log || {
		tail -n 30 grub.log >&2
		die 'installing GRUB in the guest did not work; the end of its console is above'
	}
	rm -f initrd.img lvm.cpio.gz grub.log
}

# build_disks makes the disks in the current directory.
build_disks() {
	make_root
	configure_root
	case $firmware in
	bios) b_install='grub-install --target=i386-pc /dev/sda' ;;
	efi) b_install='grub-install --target=x86_64-efi --no-nvram --force-extra-removable' ;;
	esac
	grub_script "$b_install" >root/sbin/install-grub
	chmod 755 root/sbin/install-grub
	make_disks
	install_grub
	rm -rf --one-file-system root boot segments loops
}

# prove boots the guest from its own disks, all ways at once, and leaves what the
# consoles showed in the current directory.
prove() {
	p_all=
	for p_way in $proofs; do
		set -- --poweroff --firmware "$firmware" --timeout 1200 \
			--bus "${p_way%:*}" --nic "${p_way#*:}" --log "${p_way%:*}.log"
		for p_disk in $disks; do
			set -- "$@" --disk "$built/$p_disk-flat.vmdk"
		done
		"$here/boot.sh" "$@" &
		p_all="$p_all $!"
	done
	p_failed=
	for p_one in $p_all; do
		wait "$p_one" || p_failed=1
	done
	[ -z "$p_failed" ]
}

