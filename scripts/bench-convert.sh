#!/bin/sh
# Usage: scripts/bench-convert.sh [OPTION]...
#
# Compares `esxodus convert` with virt-v2v: a guest that is off on an ESXi host
# on loopback, from its source to a booted domain, in the same run on the same
# machine. With esxodus that is one command, the last step of which boots the
# domain on overlays to its login prompt. virt-v2v goes the way that was fastest
# of those that work against this host:
#
#   copy      nbdkit's curl plugin and nbdcopy, to a sparse raw file, with the
#             settings that scripts/bench-copy.sh found the fastest
#   convert   virt-v2v-in-place on that file: virt-v2v itself would copy it once
#             more, to its output
#   boot      scripts/boot.sh on virtio, to the login prompt
#
# What virt-v2v lacks here, and what would not help it: -it vddk needs VMware's
# library; -it ssh reads through one connection (and this host has no SFTP);
# -i libvirtxml with an https:// disk has no way to give a password, and its
# conversion would wait for each block that it reads. The copy is the smallest
# part of its time.
#
# libguestfs's appliance, which both use, is built before the clock starts; the
# source is in memory. Both leave the guest's initrd able to boot from virtio:
# virt-v2v has the guest build it anew, esxodus leaves the one that has all
# drivers and appends to it.
#
#   --guest NAME    a guest of scripts/guest-debian.sh; repeatable (default:
#                   debian and debian-lvm)
#   --tool TOOL     esxodus or virt-v2v only
#   --rounds N      runs of each, medians are printed (default: 1)
#   --dir DIR       where targets go; QEMU's own user must be able to reach it
#                   (default: /var/tmp)
#   --log DIR       keep what the tools wrote there
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/bench.sh"

now() { date +%s%N; }

# since START prints the seconds since then.
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", (b - a) / 1e9 }'; }

# guests_tree makes what the host serves: the guests under names of this run,
# as domains of theirs may be on this machine already.
guests_tree() {
	for g_name in $guests; do
		"$here/guest-debian.sh" "$g_name" >/dev/null
		renamed_guest "$g_name" "$g_name-$$"
		cat "$cache/guests/$g_name"/*-flat.vmdk >/dev/null # into memory, for the sake of both
	done
}

# warm has libguestfs's appliance built before the clock starts.
warm() {
	appliance
	export LIBGUESTFS_BACKEND=direct
	[ "$virt" = kvm ] || export LIBGUESTFS_BACKEND_SETTINGS=force_tcg
	guestfish -- add /dev/null readonly:true format:raw : run >"$work/log" 2>&1 || {
		tail -n 20 "$work/log" >&2
		die "libguestfs's appliance does not start"
	}
}

# esxodus COMMAND ARG...
esxodus() {
	e_command=$1
	shift
	"$work/esxodus" "$e_command" --state "$work/state" "$@"
}

# with_esxodus GUEST sets seconds and parts.
with_esxodus() {
	w_vm=$1-$$
	w_start=$(now)
	converted=$w_vm
	esxodus convert --esxi "$(value URL | sed 's|//|//root@|')" --thumbprint "$(value THUMBPRINT)" \
		--password-file "$work/password-file" --storage "dir:$work/disks" --uplink eth0 \
		--virt-type "$virt" --yes "$w_vm" >"$work/log" 2>&1 || return 1
	seconds=$(since "$w_start")
	parts='one command'
	esxodus status "$w_vm" >>"$work/log" 2>&1 || return 1
	grep -q 'login:' "$work/log" || return 1
	esxodus rollback "$w_vm" >>"$work/log" 2>&1 || return 1
	converted=
}

# v2v_domain NAME FILE... prints libvirt's XML of a guest with these disks, as the
# source has them.
v2v_domain() {
	cat <<-END
		<domain type='kvm'>
		  <name>$1</name>
		  <memory unit='MiB'>1024</memory>
		  <vcpu>2</vcpu>
		  <os><type>hvm</type><boot dev='hd'/></os>
		  <features><acpi/><apic/><pae/></features>
		  <devices>
	END
	shift
	v_letters=abcdefgh
	for v_file; do
		printf "    <disk type='file' device='disk'><driver name='qemu' type='raw'/>\n"
		printf "      <source file='%s'/><target dev='sd%s' bus='scsi'/></disk>\n" "$v_file" "$(printf %.1s "$v_letters")"
		v_letters=${v_letters#?}
	done
	cat <<-'END'
		    <interface type='network'><source network='default'/><model type='vmxnet3'/></interface>
		  </devices>
		</domain>
	END
}

# with_v2v GUEST sets seconds and parts.
with_v2v() {
	w_vm=$1-$$
	rm -rf "$work/v2v"
	mkdir "$work/v2v"
	w_start=$(now)
	set --
	for w_flat in "$work/guests/$w_vm"/*-flat.vmdk; do
		w_file=${w_flat##*/}
		nbd_copy "$(value URL)/folder/$w_vm/$w_file?dcPath=ha-datacenter&dsName=datastore1" "$work/v2v/$w_file" \
			4 64 262144 >"$work/log" 2>&1 || return 1
		set -- "$@" "$work/v2v/$w_file"
	done
	w_copied=$(since "$w_start")
	w_at=$(now)
	v2v_domain "$w_vm" "$@" >"$work/v2v/domain.xml"
	virt-v2v-in-place -i libvirtxml "$work/v2v/domain.xml" >>"$work/log" 2>&1 || return 1
	w_converted=$(since "$w_at")
	w_at=$(now)
	[ "$#" = 1 ] || die "$w_vm has $# disks: scripts/boot.sh boots one"
	"$here/boot.sh" "$1" --bus virtio-blk --nic virtio --timeout 600 >>"$work/log" 2>&1 || return 1
	seconds=$(since "$w_start")
	parts="copy $w_copied, convert $w_converted, boot $(since "$w_at")"
}

# attempt TOOL GUEST runs one of the two and notes its time.
attempt() {
	case $1 in
	esxodus) a_func=with_esxodus ;;
	*) a_func=with_v2v ;;
	esac
	a_status=0
	$a_func "$2" || a_status=$?
	[ -z "$log" ] || cp "$work/log" "$log/$2.$1"
	if [ "$a_status" != 0 ]; then
		say "$2: $1 failed: $(tail -n 5 "$work/log" | tr -d '\r' | tr '\n' ' ')"
		failed=1
		return 0
	fi
	say "$2: $1 $seconds s ($parts)"
	echo "$seconds" >>"$work/$2.$1"
}

# row GUEST prints a line of the table.
row() {
	r_ours=- r_theirs=-
	[ ! -s "$work/$1.esxodus" ] || r_ours=$(median "$work/$1.esxodus" 1)
	[ ! -s "$work/$1.virt-v2v" ] || r_theirs=$(median "$work/$1.virt-v2v" 1)
	awk -v name="$1" -v a="$r_ours" -v b="$r_theirs" 'BEGIN {
		ratio = (a + 0 > 0 && b + 0 > 0) ? sprintf("%.3f", a / b) : "-"
		printf "%-16s %12s %12s %9s\n", name, a, b, ratio }'
}

# shellcheck disable=SC2317 # called by the trap
finish() {
	[ -z "$converted" ] || esxodus rollback "$converted" >/dev/null 2>&1 || say "rolling $converted back did not work: see $work/state"
	[ -z "$esxi" ] || kill "$esxi" 2>/dev/null || :
	rm -rf "$work"
}

guests='' tools='esxodus virt-v2v' rounds=1 dir=/var/tmp log='' failed=''
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || {
		usage
		exit 64
	}
	case $1 in
	--guest) guests="$guests $2" ;;
	--tool) tools=$2 ;;
	--rounds) rounds=$2 ;;
	--dir) dir=$2 ;;
	--log) log=$2 ;;
	*)
		usage
		exit 64
		;;
	esac
	shift 2
done
guests=${guests:-debian debian-lvm}
[ "$(id -u)" = 0 ] || die 'run it as root: it defines domains in qemu:///system'
need virt-v2v-in-place guestfish nbdkit nbdcopy qemu-system-x86_64 virsh
mkdir -p "$dir"
[ -z "$log" ] || mkdir -p "$log"
work=$(mktemp -d "$dir/bench.XXXXXX")
esxi='' converted='' limit=3600
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$work/disks" "$work/state"
chmod 711 "$work" "$work/disks"

(cd "$here/.." && CGO_ENABLED=0 "$here/go.sh" build -trimpath -o "$work/lilo" ./cmd/lilo)
(cd "$here/.." && "$here/go.sh" build -trimpath -tags libvirt_dlopen -o "$work/esxodus" ./cmd/esxodus)
"$here/libvirtd.sh"
virt=$("$here/kvm-works")
guests_tree
warm
serve

for round in $(seq "$rounds"); do
	say "round $round"
	for guest in $guests; do
		for tool in $tools; do
			attempt "$tool" "$guest"
		done
	done
done

echo
echo "From a guest on an ESXi host on loopback to a booted domain, seconds, $virt on $(nproc) processors, medians of $rounds:"
echo
printf '%-16s %12s %12s %9s\n' guest esxodus virt-v2v ratio
for guest in $guests; do
	row "$guest"
done
[ -z "$failed" ]
