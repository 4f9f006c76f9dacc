#!/bin/sh
# Usage: scripts/bench-copy.sh [OPTION]...
#
# Compares `esxodus copy` with `qemu-img convert` (https driver) and with
# nbdkit's curl plugin + nbdcopy: the same flat VMDK on the same ESXi host on
# loopback, to the same file system, in turns. The other two are first tried
# with several settings, and compete with the one that was fastest.
#
# Every copy starts without a target and ends when its data is on the disk. The
# first of each is compared with the source, byte by byte; a tool that fails or
# copies wrongly is reported, not timed. Certificates aren't checked by any.
#
#   --size MIB      of the disk (default: 2048); six tenths of it hold data
#   --rounds N      (default: 3)
#   --dir DIR       where source and targets go (default: the cache); in /dev/shm
#                   the tools are compared without the disk, which may be slower
#                   than any of them
#   --esxodus FILE  the program (default: built from this checkout)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/bench.sh"

# source_disk makes the disk: stripes of 10 MiB, of which 6 hold random data
# and 4 are a hole.
source_disk() {
	mkdir -p "$work/guests/bench"
	d_flat=$work/guests/bench/bench-flat.vmdk
	head -c 32 /dev/urandom | sha256sum | cut -c1-64 >"$work/seed"
	d_at=0
	while [ "$d_at" -lt "$size" ]; do
		openssl enc -aes-128-ctr -pass "pass:$(cat "$work/seed")$d_at" -pbkdf2 -iter 1 -nosalt -in /dev/zero 2>/dev/null |
			dd of="$d_flat" bs=1M count=6 seek="$d_at" iflag=fullblock conv=notrunc status=none
		d_at=$((d_at + 10))
	done
	truncate -s "${size}M" "$d_flat"
	(cd "$work/guests/bench" && vmdk_descriptor bench lsilogic)
	sync "$d_flat"
	cat "$d_flat" >/dev/null # into memory, for the sake of all
}

# The tools. Each copies the disk to the file $1, with the settings $2... None
# may take for ever: qemu-img 7.2 has been seen to wait for data that it had.

copy_esxodus() {
	timeout "$limit" "$esxodus" copy "$(printf '%s' "$url" | sed 's|//|//root@|')/folder/bench/bench.vmdk?dcPath=ha-datacenter&dsName=datastore1" \
		"$1" --insecure --password-file "$work/password-file"
}

# copy_qemu TARGET READAHEAD FLAG...
copy_qemu() {
	q_target=$1
	q_source="json:{\"driver\":\"raw\",\"file\":{\"driver\":\"https\",\"url\":\"$flat_url\",\"sslverify\":\"off\",
		\"timeout\":60,\"readahead\":$2,\"username\":\"root\",\"password-secret\":\"password\"}}"
	shift 2
	timeout "$limit" qemu-img convert "$@" --object "secret,id=password,file=$work/password" -O raw "$q_source" "$q_target"
}

# copy_nbd TARGET CONNECTIONS REQUESTS REQUEST-SIZE
copy_nbd() { nbd_copy "$flat_url" "$@"; }

# timed FUNC SETTING... sets seconds, to the time of one copy that includes the
# write to the disk; false if the tool fails.
timed() {
	t_func=$1
	shift
	rm -f "$work/target"
	sync -f "$work"
	t_start=$(date +%s%N)
	t_status=0
	"$t_func" "$work/target" "$@" >"$work/log" 2>&1 || t_status=$?
	[ "$t_status" != 124 ] || echo "no end within $limit s" >>"$work/log"
	[ "$t_status" = 0 ] || return 1
	sync "$work/target" || return 1
	seconds=$(awk -v a="$t_start" -v b="$(date +%s%N)" 'BEGIN { printf "%.3f", (b - a) / 1e9 }')
}

# trial NAME FUNC SETTING... is a first copy, checked against the source. The
# settings of the fastest stay in the file NAME.best.
trial() {
	r_name=$1
	shift
	if ! timed "$@"; then
		say "$*: failed: $(tail -n 3 "$work/log" | tr '\n' ' ')"
		return 0
	fi
	cmp -s "$work/guests/bench/bench-flat.vmdk" "$work/target" || {
		say "$*: the copy differs from the source"
		return 0
	}
	say "$*: $seconds s"
	echo "$seconds $*" >>"$work/$r_name.trials"
	sort -n "$work/$r_name.trials" | head -n 1 | cut -d' ' -f2- >"$work/$r_name.best"
}

# attempt is a copy of the race; one that fails is told, counted, and made again.
attempt() {
	# shellcheck disable=SC2046 # one word each
	if timed $(cat "$work/$r_name.best"); then
		echo "$seconds" >>"$work/$r_name.times"
		say "round $r_round: $r_name $seconds s"
		return 0
	fi
	say "round $r_round: $r_name failed: $(tail -n 1 "$work/log")"
	echo failed >>"$work/$r_name.failures"
	return 1
}

race() {
	for r_round in $(seq "$rounds"); do
		# Every other round goes backwards, so that none always follows the same.
		set -- esxodus qemu nbd
		[ $((r_round % 2)) = 1 ] || set -- nbd qemu esxodus
		for r_name; do
			[ -s "$work/$r_name.best" ] || continue
			attempt || attempt || attempt || :
		done
	done
}

# row NAME TITLE prints a line of the table.
row() {
	if [ ! -s "$work/$1.times" ] || [ "$(wc -l <"$work/$1.times")" -lt "$rounds" ]; then
		printf '%-28s %10s\n' "$2" failed
		return 0
	fi
	median "$work/$1.times" 3 | awk -v title="$2" -v mib="$size" -v base="$base" '{
		printf "%-28s %8.2f s %8.0f MB/s %7.2f\n", title, $1, mib * 1.048576 / $1, base ? $1 / base : 0 }'
}

# shellcheck disable=SC2317 # called by the trap
finish() {
	[ -z "$esxi" ] || kill "$esxi" 2>/dev/null || :
	rm -rf "$work"
}

size=2048 rounds=3 dir='' esxodus=''
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || {
		usage
		exit 64
	}
	case $1 in
	--size) size=$2 ;;
	--rounds) rounds=$2 ;;
	--dir) dir=$2 ;;
	--esxodus) esxodus=$2 ;;
	*)
		usage
		exit 64
		;;
	esac
	shift 2
done
. "$here/vmdk.sh"
need qemu-img nbdkit nbdcopy openssl
dir=${dir:-$cache}
limit=$((20 + size / 20))
mkdir -p "$dir"
work=$(mktemp -d "$dir/bench.XXXXXX")
esxi=
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -z "$esxodus" ]; then
	esxodus=$work/esxodus
	(cd "$here/.." && "$here/go.sh" build -trimpath -tags libvirt_dlopen -o "$esxodus" ./cmd/esxodus)
fi
source_disk
serve
url=$(value URL)
flat_url="$url/folder/bench/bench-flat.vmdk?dcPath=ha-datacenter&dsName=datastore1"

say "trying settings: $size MiB"
trial esxodus copy_esxodus
# READAHEAD and flags. Its default, 8 coroutines that write in order, is left out:
# it is slower than these and is the one that hangs most.
trial qemu copy_qemu 262144 -m 1
trial qemu copy_qemu 2097152 -m 1
trial qemu copy_qemu 8388608 -m 1
trial qemu copy_qemu 262144 -W -m 8
trial qemu copy_qemu 8388608 -W -m 8
# CONNECTIONS, requests on each, bytes of one.
trial nbd copy_nbd 4 64 262144
trial nbd copy_nbd 8 16 1048576
trial nbd copy_nbd 8 4 8388608
race

base=0
[ ! -s "$work/esxodus.times" ] || base=$(median "$work/esxodus.times" 3)
echo
echo "One disk of $size MiB over HTTPS, host and client on this machine's $(nproc) processors, medians of $rounds:"
echo
printf '%-28s %10s %13s %7s\n' tool time rate ratio
row esxodus 'esxodus copy'
row qemu 'qemu-img convert'
row nbd 'nbdkit curl + nbdcopy'
for name in qemu nbd; do
	[ ! -s "$work/$name.best" ] || echo "  $name: $(cat "$work/$name.best") was its fastest setting"
	[ ! -s "$work/$name.failures" ] || echo "  $name: $(wc -l <"$work/$name.failures") attempts failed and are not in the median"
done
for name in esxodus qemu nbd; do
	[ -s "$work/$name.times" ] || exit 1
done
