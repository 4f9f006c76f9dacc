#!/bin/sh
# Usage: scripts/boot.sh DISK [OPTION]...
#
# Boots the raw disk DISK in QEMU without KVM, from its own boot sector, and
# watches the serial console. The disk isn't changed: writes go to a snapshot
# that is thrown away. Exit status 0 when the expected text was seen.
#
#   --disk DISK     one more disk; may be repeated (the first is to boot)
#   --firmware FW   bios (default), or efi: OVMF that knows no boot entries yet
#   --bus BUS       pvscsi (default), lsi53c895a, ahci, ide, nvme, virtio-blk or
#                   virtio-scsi
#   --nic NIC       vmxnet3 (default), e1000, e1000e, virtio or none; it appears
#                   in PCI slot 192, where ESXi puts the first one, so that
#                   udev calls it ens192
#   --expect TEXT   what the console must show (default: login:)
#   --poweroff      then press the power button: the guest must shut down too
#   --timeout N     seconds for all this (default: 900)
#   --memory MIB    (default: 1024)
#   --cpus N        (default: 1)
#   --log FILE      keep the console's output there
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

bus=pvscsi nic=vmxnet3 firmware=bios expect=login: timeout=900 memory=1024 cpus=1
disks='' log='' poweroff=''
newline='
'
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--poweroff)
		poweroff=1
		shift
		continue
		;;
	--*) [ $# -ge 2 ] || die "$1 needs a value" ;;
	*)
		[ -z "$disks" ] || die "another disk needs --disk: $1"
		disks=$1
		shift
		continue
		;;
	esac
	case $1 in
	--disk) disks=$disks${disks:+$newline}$2 ;;
	--firmware) firmware=$2 ;;
	--bus) bus=$2 ;;
	--nic) nic=$2 ;;
	--expect) expect=$2 ;;
	--timeout) timeout=$2 ;;
	--memory) memory=$2 ;;
	--cpus) cpus=$2 ;;
	--log) log=$2 ;;
	*) die "unknown option $1; see --help" ;;
	esac
	shift 2
done
[ -n "$disks" ] || {
	usage >&2
	exit 64
}
need qemu-system-x86_64
deadline=$(($(date +%s) + timeout))

case $bus in
pvscsi | lsi53c895a) set -- -device "$bus,id=hba" ;;
virtio-scsi) set -- -device virtio-scsi-pci,id=hba ;;
ide) set -- -device piix4-ide,id=hba ;;
ahci | nvme | virtio-blk) set -- ;; # q35 has an AHCI controller of its own
*) die "unknown bus $bus; see --help" ;;
esac

# QEMU parses a drive's file name: a comma is written twice.
number=0
while read -r disk; do
	[ -f "$disk" ] || [ -b "$disk" ] || die "$disk: no such disk"
	drive=d$number
	set -- "$@" -drive "if=none,id=$drive,format=raw,snapshot=on,file=$(printf '%s' "$disk" | sed 's/,/,,/g')"
	case $bus in
	pvscsi | lsi53c895a | virtio-scsi) device=scsi-hd,bus=hba.0 ;;
	virtio-blk) device=virtio-blk-pci ;;
	ahci) device=ide-hd,bus=ide.$number ;;
	ide) device=ide-hd,bus=hba.$((number / 2)) ;;
	nvme) device=nvme,serial=$((number + 1)) ;;
	esac
	number=$((number + 1))
	set -- "$@" -device "$device,drive=$drive,bootindex=$number" # or OVMF tries the network first
done <<END
$disks
END

# The slot number comes from the root port, as on ESXi; with ACPI hot plug it
# would come from the position on the bus.
set -- "$@" -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off \
	-device pcie-root-port,id=slot192,chassis=1,slot=192
case $nic in
none) set -- "$@" -nic none ;;
virtio) set -- "$@" -netdev user,id=n0,restrict=on -device virtio-net-pci,netdev=n0,bus=slot192 ;;
vmxnet3 | e1000 | e1000e) set -- "$@" -netdev user,id=n0,restrict=on -device "$nic,netdev=n0,bus=slot192" ;;
*) die "unknown NIC $nic; see --help" ;;
esac

case $firmware in
bios | efi) ;;
*) die "unknown firmware $firmware; see --help" ;;
esac

work=$(mktemp -d)
qemu=
# shellcheck disable=SC2317 # called by the trap
finish() {
	if [ -n "$qemu" ]; then
		kill "$qemu" 2>/dev/null || :
		wait "$qemu" 2>/dev/null || :
	fi
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ "$firmware" = efi ]; then
	ovmf=/usr/share/OVMF
	[ -f "$ovmf/OVMF_CODE_4M.fd" ] || die 'not installed: ovmf; run scripts/setup.sh test'
	cp "$ovmf/OVMF_VARS_4M.fd" "$work/vars"
	set -- "$@" -drive "if=pflash,format=raw,readonly=on,file=$ovmf/OVMF_CODE_4M.fd" \
		-drive "if=pflash,format=raw,file=$work/vars"
fi
[ -n "$log" ] || log=$work/console
: >"$log"
mkfifo "$work/monitor"
"$here/emulate" --up "$log" "$expect" --log "$work/qemu" -- -machine q35 -m "$memory" -smp "$cpus" \
	-nodefaults -no-reboot -display none -vga std -monitor stdio -serial "file:$log" \
	"$@" <"$work/monitor" &
qemu=$!
exec 3>"$work/monitor"

running() { kill -0 "$qemu" 2>/dev/null; }

fail() {
	say "$bus, $nic: $*; the console's last lines:"
	tail -n 25 "$log" | tr -d '\r' >&2
	grep -v '^QEMU\|^(qemu)' "$work/qemu" >&2 || :
	exit 1
}

until grep -qF -e "$expect" "$log"; do
	running || fail "QEMU ended before \"$expect\" was seen"
	[ "$(date +%s)" -lt "$deadline" ] || fail "no \"$expect\" within $timeout s"
	sleep 0.1
done
say "$bus, $nic: saw \"$expect\" after $(($(date +%s) - deadline + timeout)) s"
[ -n "$poweroff" ] || exit 0

echo system_powerdown >&3
while running; do
	[ "$(date +%s)" -lt "$deadline" ] || fail "still on, $timeout s after the start, in spite of the power button"
	sleep 0.1
done
say "$bus, $nic: powered off after $(($(date +%s) - deadline + timeout)) s"
