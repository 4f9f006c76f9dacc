#!/bin/sh
# Usage: scripts/demo.sh
#
# The main job, for real: an ESXi host with the free licence on loopback, a
# Debian guest on it, and esxodus moving that guest to a persistent domain in
# this machine's libvirt: from partitions and GRUB to LVM on the whole disk and
# LILO. Then it shows what the disk is now, and what the guest wrote to its console
# when esxodus watched it boot from there. The domain stays for a look; a second run
# rolls it back first. Everything is kept under /var/lib/esxodus-demo, where QEMU's
# own user can read it. It sets up all that it needs (scripts/setup.sh demo).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

home=/var/lib/esxodus-demo
name=esxodus-demo

# esxodus COMMAND ARG... runs the program against the demo's host and state,
# showing what it runs.
esxodus() {
	printf '\n$ esxodus %s\n' "$*" >&2
	bin/esxodus "$@"
}

# show prints what the converted disk is, and what its guest wrote to its console in
# the proof, from the loader to the login prompt.
show() {
	printf '\n$ blkid -p %s; sfdisk -d %s\n' "$1" "$1" >&2
	blkid -p "$1"
	sfdisk -d "$1" 2>&1 || :
	s_console=$home/state/vms/$name/console.log
	printf '\n$ less %s\n' "$s_console" >&2
	sed -n '1,12p;/login:/p' "$s_console" | cut -c1-100
}

# programs makes the programs, all of them with the same flags: what two of them
# need is compiled once.
programs() {
	compile -tags libvirt_dlopen -o bin/esxodus ./cmd/esxodus
	CGO_ENABLED=0 compile -ldflags '-s -w' -o bin/lilo ./cmd/lilo
	compile -tags libvirt_dlopen -o "$work/esxi-sim" ./fixtures/esxi-sim
}

# compile ARG... is go build. It goes behind the guest, of which some takes one processor
# only, and collects garbage less often, which saves a sixth of its time.
compile() { nice -n 10 env GOGC=400 "$here/go.sh" build -trimpath "$@"; }

cleanup() {
	[ -z "$builder" ] || kill "$builder" 2>/dev/null || :
	[ -z "$roots" ] || kill "$roots" 2>/dev/null || :
	[ -z "$esxi" ] || kill "$esxi" 2>/dev/null || :
	rm -rf "$work"
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
[ "$(id -u)" = 0 ] || die 'run it as root: it defines a domain in qemu:///system'
begun=$(date +%s)
say 'about 3 minutes; 6 to 9 on a new machine with two cores, most of them for packages, compiling and a Debian guest'
esxi='' builder='' roots=
work=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The compiler wants processors, apt the disk, and what the guest is made from comes
# from afar: they hardly disturb each other.
"$here/setup.sh" build guest
programs &
builder=$!
"$here/guest-debian.sh" --roots lvm &
roots=$!
"$here/setup.sh" demo
wait "$roots" || die "the guest's system could not be made: see above"
roots=
"$here/guest-debian.sh" debian-demo >/dev/null
appliance
say 'building the programs'
wait "$builder" || die 'the programs could not be built: see above'
builder=
virt=$("$here/kvm-works")
renamed_guest debian-demo "$name"
esxi_host --password-file "$work/password"
# shellcheck disable=SC1091 # KEY=VALUE lines: URL, THUMBPRINT, PASSWORD_FILE
. "$work/ready"
mkdir -p "$home/disks" "$home/state"
chmod 711 "$home" "$home/disks"
if bin/esxodus status --state "$home/state" "$name" 2>/dev/null | grep -Eq ': (ready|converted|unfinished|half undone)'; then
	say 'rolling the last demo back'
	bin/esxodus rollback --state "$home/state" "$name" ||
		die "the domain $name of the last demo can't be rolled back; shut it down (virsh destroy $name) and try again"
fi

uplink=$(ip -o route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
set -- --esxi "$URL" --thumbprint "$THUMBPRINT" --password-file "$PASSWORD_FILE"
esxodus inventory "$@"
esxodus convert "$@" --storage "dir:$home/disks" --uplink "vmnic0=${uplink:-eth0}" --virt-type "$virt" \
	--state "$home/state" --yes "$name"
printf '\n$ virsh dominfo %s\n' "$name" >&2
virsh -c qemu:///system dominfo "$name"
show "$home/disks/${name}_scsi0-0"
say "done in $(($(date +%s) - begun)) s; the domain $name stays until the next demo"
say "put it in the VM's place with: bin/esxodus cutover --state $home/state --password-file FILE $name    remove it with: bin/esxodus rollback --state $home/state $name"
