#!/bin/sh
# Usage: scripts/guest-debian.sh [--proven] [NAME]... | all
#        scripts/guest-debian.sh --roots [SET]...
#
# Builds Debian guests that demo and tests migrate (default: debian), a few at a
# time, and prints their directories:
#
#   debian         Debian 12, MBR, ext4 root and swap in partitions, no LVM
#   debian-lvm     Debian 12, MBR, /boot in a primary partition, a full volume
#                  group in a logical one, as Debian's and Ubuntu's installers
#                  make them; open-vm-tools; on an LSI Logic controller
#   debian-xfs     Debian 12, GPT with a BIOS boot partition, XFS root in LVM
#   debian-trixie  Debian 13 with its newer kernel, MBR, root and swap in LVM
#   debian-two     Debian 12, a volume group over two disks, root on both
#   debian-uefi    Debian 12, GPT, UEFI, ext4 root and swap in partitions
#   debian-net     as debian, with netplan and NetworkManager, and two NICs
#   debian-dracut  as debian, with dracut and NetworkManager
#   debian-demo    as debian, with lvm2 installed, which has nothing to do yet
#
# Each is as the installer would leave it on ESXi, but without documentation,
# recommended packages and drivers of other hardware: GRUB installed by its own
# grub-install, an initrd with every driver that is left, sshd, a static address
# on ens192 in /etc/network/interfaces, consoles on the screen and on ttyS0. But
# kernel, initrd and systemd wait longer than they do there, as emulation is slow,
# and mitigations are off. Log in as root with the password "esxodus".
# scripts/guests/NAME.sh says what is in each.
#
#   NAME.vmdk        descriptor, as ESXi writes it
#   NAME-flat.vmdk   the disk itself, sparse
#   vm.json          the virtual machine around it, for fixtures/esxi
#
# With --roots it makes only what most of them are made from, the kernel and the
# system of Debian 12, which takes neither QEMU nor loop devices; and its initrd, as it
# is with the packages of the SETs.
# With --proven each has also booted to its login on the controllers that ESXi
# presents; what its consoles showed is in the cache's proofs/NAME. Needs root, for the ownership of the files; and loop devices,
# for all but debian and debian-uefi.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/vmdk.sh"
. "$here/initrd.sh"
. "$here/debian-root.sh"
. "$here/guest-disk.sh"
. "$here/guest-build.sh"
. "$here/guest-packages.sh"

# vm_json prints the virtual machine around the disks.
# shellcheck disable=SC2154 # controller: from the guest's file
vm_json() {
	case $controller in
	ahci) j_bus=sata0 j_scsi='' ;;
	*) j_bus=scsi0 j_scsi=" \"scsi0\": \"$controller\" " ;;
	esac
	j_disks='' j_unit=0
	for j_disk in $disks; do
		j_disks="$j_disks${j_disks:+, }{ \"at\": \"$j_bus:$j_unit\", \"file\": \"$j_disk.vmdk\" }"
		j_unit=$((j_unit + 1))
	done
	j_nics='' j_number=0
	for j_slot in $slots; do
		j_nics="$j_nics${j_nics:+, }{ \"index\": $j_number, \"model\": \"vmxnet3\", \"mac\": \"00:50:56:00:0$(printf %x $((14 + j_number))):$((50 + number))\",
			\"macType\": \"static\", \"portGroup\": \"VM Network\", \"pciSlotNumber\": $j_slot }"
		j_number=$((j_number + 1))
	done
	cat <<END
{
	"name": "$name",
	"guestId": "debian12_64Guest",
	"hardwareVersion": 19,
	"firmware": "$firmware",
	"cpus": 1,
	"memoryMiB": 1024,
	"controllers": {$j_scsi},
	"disks": [$j_disks],
	"nics": [$j_nics],
	"serials": [{ "type": "file", "target": "serial.log" }],
	"annotation": "Debian, built by scripts/guest-debian.sh.\nroot's password: esxodus"
}
END
}

# wrap puts the disks and the proof, which took minutes, into what took none.
wrap() {
	for w_disk in $disks; do
		cp -l "$built/$w_disk-flat.vmdk" .
		vmdk_descriptor "$w_disk" lsilogic
	done
	vm_json >vm.json
}

# guest_sources prints what else a guest is built from: debian's own file, where it
# is sourced, and what gets packages for it.
guest_sources() {
	if grep -q guests/debian.sh "$here/guests/$name.sh"; then
		echo "$here/guests/debian.sh" "$here/guest-packages.sh"
	fi
}

# guest NAME builds one guest, in a subshell for its own settings.
guest() (
	name=$1 firmware=bios slots=192
	# shellcheck disable=SC1090 # one of guests/
	. "$here/guests/$name.sh"
	address=192.0.2.$((20 + number))
	# shellcheck disable=SC2046 # a word each
	key=$(digest "$here/guest-build.sh" "$here/guest-disk.sh" "$here/debian-root.sh" "$here/initrd.sh" \
		"$here/kernel.sh" "$here/guests/$name.sh" $(guest_sources))
	cached "disks/$name" "$key" build_disks
	built=$(readlink -f "$cache/disks/$name")
	[ -z "$proven" ] || cached "proofs/$name" "$key" prove
	cached "guests/$name" "$key$(digest "$here/guest-debian.sh" "$here/vmdk.sh")" wrap
)

# roots SET... makes what guests are made from. The kernel comes from afar meanwhile.
roots() {
	"$here/kernel.sh" >/dev/null &
	r_kernel=$!
	root_initrd "$@" >/dev/null
	wait "$r_kernel"
}

proven=
if [ "${1-}" = --roots ]; then
	need mmdebstrap zstd depmod xz
	root_key=$(digest "$here/debian-root.sh")
	release=bookworm
	shift
	roots "$@"
	exit
fi
if [ "${1-}" = --proven ]; then
	proven=1
	shift
fi
[ $# -gt 0 ] || set -- debian
[ "$*" != all ] || set -- debian debian-lvm debian-xfs debian-trixie debian-two debian-uefi debian-net debian-dracut
for name; do
	case $name in
	*/* | -*) ;;
	*) [ ! -f "$here/guests/$name.sh" ] || continue ;;
	esac
	usage >&2
	exit 64
done
need mmdebstrap busybox mkswap sfdisk modprobe cpio gzip zstd lvm losetup qemu-system-x86_64
[ "$(id -u)" = 0 ] || die "must be run by root"
kernel=$("$here/kernel.sh")
root_key=$(digest "$here/debian-root.sh")
guests=$*
at_once=$(($(nproc) + 1)) # one waits for the network, now and then
while [ $# -gt 0 ]; do
	pids=''
	for name; do
		[ "$(echo "$pids" | wc -w)" -lt "$at_once" ] || break
		guest "$name" &
		pids="$pids $!"
		shift
	done
	failed=
	for pid in $pids; do
		wait "$pid" || failed=1
	done
	[ -z "$failed" ] || exit 1
done
for name in $guests; do
	readlink -f "$cache/guests/$name"
done
