#!/bin/sh
# Usage: scripts/kernel.sh
#
# Fetches Debian's kernel and prints the directory that holds it:
#
#   vmlinuz       as packaged, for GRUB and libvirt
#   vmlinux       the same uncompressed: `qemu -kernel` starts it through PVH,
#                 which saves the 3 s that unpacking takes without KVM
#   lib/modules/  the modules that a guest on ESXi or QEMU can need, with deps
#   version       as uname -r prints it
#   *.deb         the package itself, to be installed in the Debian guest
#
# The generic kernel is taken, since the smaller cloud kernel has no drivers for
# VMware's devices. Nothing is installed on this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# Left out are the trees with no use in a virtual machine; they are two thirds
# of the package.
fetch_kernel() {
	export out="$PWD"
	# shellcheck disable=SC2016 # the hook's shell expands them
	debian - --variant=custom --mode=auto --format=null --customize-hook='
		set -e
		export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
		cd "$out"
		package=$(apt-cache depends --important linux-image-amd64 |
			sed -n "s/^ *Depends: //p" | head -n 1)
		apt-get -qq -o APT::Sandbox::User=root download "$package"'
	dpkg-deb --fsys-tarfile linux-image-*.deb | tar -x \
		--exclude='*/sound' --exclude='*/gpu' --exclude='*/media' \
		--exclude='*/wireless' --exclude='*/staging' --exclude='*/infiniband' \
		--exclude='*/iio' --exclude='*/bluetooth' --exclude='*/usr/share' \
		--exclude='*/can' --exclude='*/isdn' --exclude='*/nfc' ./boot ./lib
	set -- boot/vmlinuz-*
	printf '%s\n' "${1#boot/vmlinuz-}" >version
	mv "$1" vmlinuz
	mv boot/config-* config
	rm -r boot
	depmod -b "$PWD" "$(cat version)"
	unpack_vmlinuz
}

# unpack_vmlinuz finds the xz stream (by its magic) in the bzImage. xz complains
# of what follows the stream, hence the look at the result.
unpack_vmlinuz() {
	at=$(LC_ALL=C grep -abo -m 1 "$(printf '\3757zXZ')" vmlinuz | head -n 1 | cut -d: -f1)
	[ -n "$at" ] || die "no xz stream in Debian's vmlinuz: its compression has changed"
	tail -c "+$((at + 1))" vmlinuz | xz -dc >vmlinux 2>/dev/null || :
	case $(head -c 4 vmlinux | tr -d '\177') in
	ELF) ;;
	*) die "unpacking Debian's vmlinuz gave no ELF file" ;;
	esac
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need mmdebstrap apt-get dpkg-deb depmod xz flock
cached kernel "$(digest "$here/kernel.sh")" fetch_kernel
readlink -f "$cache/kernel"
