# The systems of the Debian guests: a root directory for each release, packed,
# with the packages that only some guests have beside it, and initrds for it. To
# be sourced after lib.sh. The caller sets release, and root_key to the digest of
# this file.
# shellcheck shell=sh disable=SC2154

# Debian as its installer would leave it, but without documentation, recommended
# packages, and drivers of devices that neither ESXi nor KVM presents.
root_packages=systemd-sysv,udev,dbus,kmod,ifupdown,iproute2,iputils-ping,openssh-server
root_packages=$root_packages,initramfs-tools,zstd,grub2-common,e2fsprogs,procps,less

# root_sets lists the packages that only some guests have: the name of the set,
# then its packages.
root_sets() {
	cat <<-'END'
		bios grub-pc
		efi  grub-efi-amd64
		lvm  lvm2
		xfs  xfsprogs
		vm   open-vm-tools qemu-guest-agent
	END
}

# inside DIR COMMAND ARG... runs a command in the root directory DIR, with a
# /proc of its own that leaves no mount behind.
inside() {
	# shellcheck disable=SC2016 # the inner shell expands them
	unshare --mount --pid --fork sh -c '
		mount -t proc proc "$1/proc" && cd "$1" && shift && exec chroot . "$@"' sh "$@"
}

# left_out prints dpkg's options for what no guest gets. Most of an initrd is
# drivers: with all of the kernel's, building one takes as long as all the rest,
# and each boot unpacks 90 MB more.
left_out() {
	# dpkg keeps all directories that an include with a wildcard at its head may match.
	cat <<-'END' | sed 's|^\([+-]\)\(.*\)|\1/lib/modules/*/kernel/\2\n\1/usr/lib/modules/*/kernel/\2|' | sed 's|^+|path-include=|; s|^-|path-exclude=|'
		path-exclude=/usr/share/doc/*
		path-include=/usr/share/doc/*/copyright
		path-exclude=/usr/share/man/*
		path-exclude=/usr/share/locale/*
		-sound/*
		-net/6lowpan/*
		-net/bluetooth/*
		-net/can/*
		-net/ceph/*
		-net/ieee802154/*
		-net/mac80*
		-net/nfc/*
		-net/wireless/*
		-fs/ceph/*
		-fs/f2fs/*
		-fs/jfs/*
		-fs/nfs*
		-fs/reiserfs/*
		-drivers/accessibility/*
		-drivers/ata/[ps]ata_*
		-drivers/bluetooth/*
		-drivers/comedi/*
		-drivers/gpio/*
		-drivers/gpu/*
		-drivers/hid/*
		+drivers/hid/hid.ko*
		+drivers/hid/hid-generic.ko*
		+drivers/hid/usbhid/*
		-drivers/i2c/busses/*
		+drivers/i2c/busses/i2c-i801.ko*
		+drivers/i2c/busses/i2c-piix4.ko*
		-drivers/iio/*
		-drivers/infiniband/*
		-drivers/input/joystick/*
		-drivers/input/touchscreen/*
		-drivers/input/tablet/*
		-drivers/isdn/*
		-drivers/media/*
		-drivers/mfd/*
		-drivers/mmc/*
		-drivers/mtd/*
		-drivers/net/can/*
		-drivers/net/ethernet/*
		+drivers/net/ethernet/amd/pcnet32.ko*
		+drivers/net/ethernet/intel/e1000*
		-drivers/net/[afhipsw]*/*
		-drivers/net/phy/*
		-drivers/net/usb/*
		-drivers/nfc/*
		-drivers/pcmcia/*
		-drivers/pinctrl/*
		-drivers/platform/*
		-drivers/scsi/*/*
		+drivers/scsi/sym53c8xx_2/*
		-drivers/staging/*
		-drivers/usb/[gmst]*/*
		+drivers/usb/storage/usb-storage.ko*
		-drivers/video/*
	END
}

# make_root_archive fills the current directory with root.tar.zst and debs/SET.
# The kernel is the point release's, as the installer puts it there: a newer one
# is left for the guest's first upgrade (see kernel-update.sh). Building the
# initrd is half of all the time here; INITRD=No puts it off, and where it is
# built, it is built once.
make_root_archive() {
	export INITRD=No out="$PWD"
	root_sets >sets
	set --
	while read -r r_option; do
		set -- "$@" --dpkgopt="$r_option"
	done <<-END
		$(left_out)
	END
	cat >hook <<-'END'
		#!/bin/sh
		set -eu
		export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
		while read -r set packages; do
			mkdir -p "$out/debs/$set/partial"
			# shellcheck disable=SC2086 # one word each
			apt-get -qq -y -o Dir::Cache::Archives="$out/debs/$set" install --download-only $packages >/dev/null
			rm -r "$out/debs/$set/partial" "$out/debs/$set/lock"
		done <"$out/sets"
	END
	chmod 755 hook
	# shellcheck disable=SC2016 # the hooks' shells expand them
	TMPDIR=$(roomy) debian - --variant=minbase --mode=root --include="$root_packages" \
		--include="linux-image-amd64/$release" --dpkgopt=force-unsafe-io "$@" \
		--essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" &&
			printf "COMPRESS=zstd\nCOMPRESSLEVEL=1\n" >"$1/etc/initramfs-tools/conf.d/compress"' \
		--customize-hook='echo root:esxodus | chroot "$1" chpasswd' \
		--customize-hook='
			# Debian has 30 s for the root to appear; an emulated processor may need more.
			cd "$1/etc/initramfs-tools/scripts/init-premount"
			printf "%s\n" "#!/bin/sh" "[ \"\$1\" = prereqs ] || udevadm settle --timeout=900" >emulation
			chmod 755 emulation' \
		--customize-hook='"$out/hook"' \
		--customize-hook='
			# How this machine reaches its archives is no business of the guest.
			rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list.d/*
			: >"$1/etc/resolv.conf"
			: >"$1/etc/machine-id"' \
		--format=tar | zstd -q -1 -T0 >root.tar.zst
	rm hook sets
}

# root_tree DIR SET... makes DIR: $release's root with the packages of the sets.
root_tree() {
	r_dir=$1
	shift
	cached "roots/$release" "$root_key" make_root_archive
	r_root=$(readlink -f "$cache/roots/$release")
	mkdir -p "$r_dir"
	zstd -dcq "$r_root/root.tar.zst" |
		tar -x -C "$r_dir" --numeric-owner --xattrs --xattrs-include='*' -p
	[ $# = 0 ] || root_install "$@"
}

# root_install SET... is the part of root_tree that adds packages. No service of
# theirs starts.
root_install() {
	printf '#!/bin/sh\nexit 101\n' >"$r_dir/usr/sbin/policy-rc.d"
	chmod 755 "$r_dir/usr/sbin/policy-rc.d"
	echo grub-pc grub-pc/install_devices_empty boolean true | inside "$r_dir" debconf-set-selections
	mkdir "$r_dir/debs"
	for r_set; do
		cp "$r_root/debs/$r_set"/*.deb "$r_dir/debs/"
	done
	inside "$r_dir" env INITRD=No DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get -y -o APT::Sandbox::User=root --no-install-recommends install /debs/*.deb \
			>/debs/log 2>&1 || { cat /debs/log >&2; exit 1; }'
	rm -r "$r_dir/debs" "$r_dir/usr/sbin/policy-rc.d"
}

# root_initrd SET... prints the initrd of $release with every driver, built by
# the guest's own tools in a root that has the packages of the sets.
root_initrd() {
	r_sets=$*
	r_name=initrds/$release${*:+-$*}
	cached "$r_name" "$root_key" make_root_initrd
	readlink -f "$cache/$r_name/initrd.img"
}

make_root_initrd() {
	m_tree=$(mktemp -d "$(roomy)/root.XXXXXX")
	trap 'rm -rf --one-file-system "$m_tree"' EXIT # of build's subshell
	# shellcheck disable=SC2086 # one word each
	root_tree "$m_tree" $r_sets
	echo FSTYPE=ext4 >>"$m_tree/etc/initramfs-tools/initramfs.conf" # for fsck in it
	inside "$m_tree" update-initramfs -c -k all >/dev/null
	mv "$m_tree"/boot/initrd.img-* initrd.img
}
