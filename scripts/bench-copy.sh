#!/bin/sh
# Usage: scripts/bench-copy.sh [OPTION]... [CASE]...
#
# Compares `esxodus copy` with `qemu-img convert` and with nbdkit's curl plugin and
# nbdcopy: the same disks on the same ESXi host on loopback, to the same file system,
# in turns. What parallel curl takes to fetch the file and throw it away is the limit.
# The other two are first tried with several settings, and compete with the one that
# was fastest. The cases, all by default:
#
#   data     a flat disk full of data
#   zeros    stripes of 10 MiB, four of which are zeros
#   ext4     a half-used file system whose free space is full of old data, in pieces
#   quarter  the same, a quarter of it used
#   xfs      as ext4, with XFS
#   ntfs     as ext4, with NTFS
#   sparse   stripes as in zeros, in a sparse VMDK
#   stream   the same, streamOptimized, from a local file
#   chain    three seSparse snapshots on a flat disk, from local files
#
# Every copy starts without a target and ends when its data is on the disk. The
# first of each is compared with the source: byte by byte or, where free space may
# differ, file by file. A tool that fails or copies wrongly is reported, not timed.
# Certificates aren't checked by any.
#
#   --size MIB      of each disk (default: 1024)
#   --rounds N      (default: 3)
#   --dir DIR       where source and targets go (default: the cache); in /dev/shm
#                   the tools are compared without the disk, which may be slower
#                   than any of them
#   --slow BYTES    a host that sends so many bytes a second: esxodus beside curl, the
#                   limit, and how its time goes with the share that is used
#   --esxodus FILE  the program (default: built from this checkout)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/bench.sh"

# noise MIB SEED prints bytes that nothing compresses.
noise() {
	openssl enc -aes-128-ctr -pass "pass:$seed$2" -pbkdf2 -iter 1 -nosalt -in /dev/zero 2>/dev/null |
		head -c "$(($1 * 1048576))"
}

# stripes FILE makes a disk of stripes of 10 MiB, 6 of data and 4 that are a hole.
stripes() {
	s_at=0
	while [ "$s_at" -lt "$size" ]; do
		noise 6 "$s_at" | dd of="$1" bs=1M seek="$s_at" iflag=fullblock conv=notrunc status=none
		s_at=$((s_at + 10))
	done
	truncate -s "${size}M" "$1"
}

# file_system FILE KIND KEEP makes a disk with one file system, writes most of
# it full, and removes all files but one of KEEP.
file_system() {
	noise "$size" old >"$1"
	printf 'label: gpt\n1M,%sM,L\n' "$((size - 4))" | sfdisk --quiet --wipe always "$1"
	f_loop=$(losetup --show -f -o 1M --sizelimit "$((size - 4))M" "$1")
	case $2 in
	ext4) mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$f_loop" ;;
	xfs) mkfs.xfs -q -f -K "$f_loop" ;;
	ntfs) mkntfs -q -Q -F "$f_loop" ;;
	esac
	mkdir -p "$work/mnt"
	mount_fs "$2" "$f_loop" "$work/mnt" rw
	f_n=0
	while [ "$f_n" -lt $((size * 2 / 5)) ] && [ "$(df -m --output=avail "$work/mnt" | tail -n 1)" -gt 8 ]; do
		noise 2 "$f_n" >"$work/mnt/$f_n"
		f_n=$((f_n + 1))
	done
	sync -f "$work/mnt"
	while [ "$f_n" -gt 0 ]; do
		f_n=$((f_n - 1))
		[ $((f_n % $3)) = 0 ] || rm "$work/mnt/$f_n"
	done
	umount "$work/mnt"
	losetup -d "$f_loop"
}

# mount_fs KIND DEVICE DIR rw|ro
mount_fs() {
	case $1 in
	ntfs) ntfs-3g -o "$4" "$2" "$3" ;;
	xfs) mount -t xfs -o "$4,nouuid" "$2" "$3" ;;
	*) mount -t "$1" -o "$4" "$2" "$3" ;;
	esac
}

# source_disk CASE makes the disk: the bytes that it holds are in the file $raw, and
# what the host serves is below $work/guests/CASE.
source_disk() {
	m_dir=$work/guests/$1
	mkdir -p "$m_dir"
	raw=$m_dir/$1-flat.vmdk
	kind=
	case $1 in
	data) noise "$size" data >"$raw" ;;
	zeros) stripes "$raw" ;;
	ext4) kind=ext4 && file_system "$raw" ext4 2 ;;
	quarter) kind=ext4 && file_system "$raw" ext4 4 ;;
	xfs) kind=xfs && file_system "$raw" xfs 2 ;;
	ntfs) kind=ntfs && file_system "$raw" ntfs 2 ;;
	sparse | stream)
		raw=$work/raw
		rm -f "$raw"
		stripes "$raw"
		m_form=monolithicSparse
		[ "$1" = sparse ] || m_form=streamOptimized
		qemu-img convert -f raw -O vmdk -o "subformat=$m_form" "$raw" "$m_dir/$1.vmdk"
		;;
	chain)
		raw=$work/raw
		noise "$size" chain >"$raw"
		(cd "$here/.." && "$here/go.sh" run ./fixtures/snapshots "$raw" "$m_dir" chain)
		;;
	*) die "no case $1" ;;
	esac
	[ -f "$m_dir/$1.vmdk" ] || (cd "$m_dir" && vmdk_descriptor "$1" lsilogic)
	sync -f "$work"
	cat "$m_dir"/*.vmdk >/dev/null # into memory, for the sake of all
}

# same FILE compares a copy with the source.
same() {
	if [ -z "$kind" ]; then
		cmp -s "$raw" "$1"
		return
	fi
	s_status=0
	for s_file in "$raw" "$1"; do
		s_loop=$(losetup --show -f -r -o 1M --sizelimit "$((size - 4))M" "$s_file")
		mkdir -p "$work/mnt"
		mount_fs "$kind" "$s_loop" "$work/mnt" ro
		(cd "$work/mnt" && find . -type f -exec sha256sum {} + | sort) >"$s_file.sums"
		umount "$work/mnt"
		losetup -d "$s_loop"
	done
	cmp -s "$raw.sums" "$1.sums" || s_status=1
	rm -f "$raw.sums" "$1.sums"
	return "$s_status"
}

# The tools. Each copies the disk to the file $1, with the settings $2... None
# may take for ever: qemu-img 7.2 has been seen to wait for data that it had.

copy_esxodus() {
	e_source="$(printf '%s' "$url" | sed 's|//|//root@|')/folder/$case/$case.vmdk?dcPath=ha-datacenter&dsName=datastore1"
	case $case in stream | chain) e_source=$local ;; esac
	e_target=$1
	shift
	timeout "$limit" "$esxodus" copy "$@" "$e_source" "$e_target" --insecure --password-file "$work/password-file"
}

# copy_qemu TARGET READAHEAD FLAG...
copy_qemu() {
	q_target=$1 q_readahead=$2
	shift 2
	case $case in stream | chain)
		timeout "$limit" qemu-img convert "$@" -f vmdk -O raw "$local" "$q_target"
		return
		;;
	esac
	q_driver=raw q_url=$flat_url
	[ "$case" != sparse ] || q_driver=vmdk q_url="$url/folder/sparse/sparse.vmdk?dcPath=ha-datacenter&dsName=datastore1"
	q_source="json:{\"driver\":\"$q_driver\",\"file\":{\"driver\":\"https\",\"url\":\"$q_url\",\"sslverify\":\"off\",
		\"timeout\":60,\"readahead\":$q_readahead,\"username\":\"root\",\"password-secret\":\"password\"}}"
	timeout "$limit" qemu-img convert "$@" --object "secret,id=password,file=$work/password" -O raw "$q_source" "$q_target"
}

# copy_nbd TARGET CONNECTIONS REQUESTS REQUEST-SIZE
copy_nbd() { nbd_copy "$flat_url" "$@"; }

# copy_curl TARGET CONNECTIONS fetches the flat file in parts, and keeps nothing.
copy_curl() {
	: >"$1"
	c_part=$(((size * 1048576 + $2 - 1) / $2))
	c_n=0 c_pids='' c_status=0
	while [ "$c_n" -lt "$2" ]; do
		timeout "$limit" curl -sSfk -K "$work/curlrc" -r "$((c_n * c_part))-$((c_n * c_part + c_part - 1))" -o /dev/null "$flat_url" &
		c_pids="$c_pids $!"
		c_n=$((c_n + 1))
	done
	for c_pid in $c_pids; do
		wait "$c_pid" || c_status=1
	done
	return "$c_status"
}

# timed FUNC SETTING... sets seconds, to the time of one copy that includes the write
# to the disk, and cpu, to the client's; false if the tool fails.
timed() {
	t_func=$1
	shift
	rm -f "$work/target"
	sync -f "$work"
	times >"$work/times"
	t_cpu=$(cpu_of "$work/times")
	t_start=$(date +%s%N)
	t_status=0
	"$t_func" "$work/target" "$@" >"$work/log" 2>&1 || t_status=$?
	[ "$t_status" != 124 ] || echo "no end within $limit s" >>"$work/log"
	[ "$t_status" = 0 ] || return 1
	sync "$work/target" || return 1
	seconds=$(awk -v a="$t_start" -v b="$(date +%s%N)" 'BEGIN { printf "%.3f", (b - a) / 1e9 }')
	times >"$work/times"
	cpu=$(awk -v a="$t_cpu" -v b="$(cpu_of "$work/times")" 'BEGIN { printf "%.3f", b - a }')
}

# cpu_of FILE sums up what `times` says of this shell's children.
cpu_of() {
	tail -n 1 "$1" | awk '{ for (i = 1; i <= 2; i++) { split($i, t, "m"); sum += t[1] * 60 + t[2] } printf "%.3f", sum }'
}

# trial NAME FUNC SETTING... is a first copy, checked against the source. The
# settings of the fastest stay in the file NAME.best.
trial() {
	r_name=$1
	shift
	if ! timed "$@"; then
		say "$case: $*: failed: $(tail -n 3 "$work/log" | tr '\n' ' ')"
		return 0
	fi
	[ "$r_name" = curl ] || same "$work/target" || {
		say "$case: $*: the copy differs from the source"
		return 0
	}
	say "$case: $*: $seconds s"
	echo "$seconds $*" >>"$work/$case.$r_name.trials"
	sort -n "$work/$case.$r_name.trials" | head -n 1 | cut -d' ' -f2- >"$work/$case.$r_name.best"
}

# trials tries the tools on a case: all settings on the first one, the best of those on
# the others. Some can't read some.
trials() {
	trial esxodus copy_esxodus
	case $case in
	sparse | stream | chain) trial qemu copy_qemu 262144 -W -m 8 && return ;;
	esac
	if [ -s "$work/first.qemu.best" ] && [ -s "$work/first.nbd.best" ]; then
		# shellcheck disable=SC2046 # one word each
		trial qemu $(cat "$work/first.qemu.best")
		# shellcheck disable=SC2046 # one word each
		trial nbd $(cat "$work/first.nbd.best")
		return
	fi
	# CONNECTIONS.
	trial curl copy_curl 4
	trial curl copy_curl 8
	# READAHEAD and flags. Its default, 8 coroutines that write in order, is left out:
	# it is slower than these and is the one that hangs most.
	trial qemu copy_qemu 262144 -m 1
	trial qemu copy_qemu 8388608 -m 1
	trial qemu copy_qemu 262144 -W -m 8
	trial qemu copy_qemu 8388608 -W -m 8
	# CONNECTIONS, requests on each, bytes of one.
	trial nbd copy_nbd 4 64 262144
	trial nbd copy_nbd 8 16 1048576
	trial nbd copy_nbd 8 4 8388608
	for r_name in qemu nbd; do
		[ ! -s "$work/$case.$r_name.best" ] || cp "$work/$case.$r_name.best" "$work/first.$r_name.best"
	done
}

# attempt is a copy of the race; one that fails is told, counted, and made again.
attempt() {
	# shellcheck disable=SC2046 # one word each
	if timed $(cat "$work/$case.$r_name.best"); then
		echo "$seconds" >>"$work/$case.$r_name.times"
		echo "$cpu" >>"$work/$case.$r_name.cpu"
		return 0
	fi
	say "$case: round $r_round: $r_name failed: $(tail -n 1 "$work/log")"
	echo failed >>"$work/$case.$r_name.failures"
	return 1
}

race() {
	for r_round in $(seq "$rounds"); do
		# Every other round goes backwards, so that none always follows the same.
		set -- esxodus curl qemu nbd
		[ $((r_round % 2)) = 1 ] || set -- nbd qemu curl esxodus
		for r_name; do
			[ -s "$work/$case.$r_name.best" ] || continue
			attempt || attempt || attempt || :
		done
	done
}

# cell NAME prints what a tool took, as a multiple of esxodus' time, and its
# processor's seconds for a GiB of the disk; "-" where it can't read the case.
cell() {
	c_times=$work/$case.$1.times
	if [ ! -s "$c_times" ] || [ "$(wc -l <"$c_times")" -lt "$rounds" ]; then
		printf '%14s' -
		return 0
	fi
	printf '%7.2f %6.2f' "$(awk -v a="$(median "$c_times" 3)" -v b="$base" 'BEGIN { print a / b }')" \
		"$(awk -v a="$(median "$work/$case.$1.cpu" 3)" -v mib="$size" 'BEGIN { print a * 1024 / mib }')"
}

# row prints the case's line of the table.
row() {
	base=$(median "$work/$case.esxodus.times" 3)
	printf '%-8s %7.2f s %6.2f' "$case" "$base" "$(awk -v a="$(median "$work/$case.esxodus.cpu" 3)" -v mib="$size" 'BEGIN { print a * 1024 / mib }')"
	for r_name in qemu nbd curl; do cell "$r_name"; done
	echo
}

# slowly says how esxodus' time goes with what is used where only bytes count, and what
# share of the wire it uses.
slowly() {
	for s_flags in '' --all-blocks; do
		# shellcheck disable=SC2086 # none or one
		timed copy_esxodus $s_flags --output json || die "$case: $(tail -n 1 "$work/log")"
		echo "$seconds $(sed -n 's/^ *"read": *\([0-9]*\).*/\1/p' "$work/log")" >>"$work/$case.slow"
	done
	timed copy_curl 4 || die "$case: $(tail -n 1 "$work/log")"
	awk -v name="$case" -v all="$((size * 1048576))" -v curl="$seconds" 'NR == 1 { t = $1; used = $2 } NR == 2 {
		printf "%-8s %.2f s of %.2f s: %.4f; used of all: %.4f; curl for all: %.3f\n", name, t, $1, t / $1, used / all, curl / $1 }' "$work/$case.slow"
}

# one CASE makes its disk, and races over it.
one() {
	case=$1
	source_disk "$case"
	host_options=${slow:+--wire $slow}
	local=$work/guests/$case/$case.vmdk
	[ "$case" != chain ] || local=$work/guests/chain/chain-000003.vmdk
	serve
	url=$(value URL)
	flat_url="$url/folder/$case/$case-flat.vmdk?dcPath=ha-datacenter&dsName=datastore1"
	printf 'user = "root:%s"\n' "$(sed 's/[\\"]/\\&/g' "$work/password")" >"$work/curlrc"
	if [ -n "$slow" ]; then
		slowly >>"$work/table"
	else
		trials
		race
		if [ -s "$work/$case.esxodus.times" ]; then row >>"$work/table"; else failed=1; fi
	fi
	kill "$esxi"
	wait "$esxi" || :
	esxi=
	rm -rf "$work/guests" "$work/ready" "$work/target" "$work/raw"
}

# shellcheck disable=SC2317 # called by the trap
finish() {
	[ -z "$esxi" ] || kill "$esxi" 2>/dev/null || :
	umount "$work/mnt" 2>/dev/null || :
	losetup --noheadings --list --output NAME,BACK-FILE | awk -v dir="$work/" 'index($2, dir) == 1 { print $1 }' | xargs -r losetup -d
	rm -rf "$work"
}

size=1024 rounds=3 dir='' esxodus='' slow='' cases='' failed=''
while [ $# -gt 0 ]; do
	case $1 in
	--size | --rounds | --dir | --esxodus | --slow)
		[ $# -ge 2 ] || {
			usage
			exit 64
		}
		eval "${1#--}=\$2"
		shift
		;;
	-*)
		usage
		exit 64
		;;
	*) cases="$cases $1" ;;
	esac
	shift
done
. "$here/vmdk.sh"
need qemu-img nbdkit nbdcopy openssl curl sfdisk losetup
dir=${dir:-$cache}
limit=$((30 + size / 20))
mkdir -p "$dir"
work=$(mktemp -d "$dir/bench.XXXXXX")
esxi=
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

seed=$(head -c 32 /dev/urandom | sha256sum | cut -c1-32)
if [ -z "$esxodus" ]; then
	esxodus=$work/esxodus
	(cd "$here/.." && "$here/go.sh" build -trimpath -tags libvirt_dlopen -o "$esxodus" ./cmd/esxodus)
fi
for one in ${cases:-data zeros ext4 quarter xfs ntfs sparse stream chain}; do
	one "$one"
done

echo
if [ -n "$slow" ]; then
	echo "Disks of $size MiB from a host that sends $slow bytes a second:"
	cat "$work/table"
	exit
fi
echo "Disks of $size MiB, host and client on this machine's $(nproc) processors, medians of $rounds: esxodus'"
echo "time, the others' as multiples of it, and the client's processor seconds for each GiB of the disk"
echo
printf '%-8s %9s %6s%14s%14s%14s\n' case esxodus cpu 'qemu-img cpu' 'nbdcopy cpu' 'curl cpu'
cat "$work/table"
for one in qemu nbd; do
	[ ! -s "$work/first.$one.best" ] || echo "  $one: $(cat "$work/first.$one.best") was its fastest setting"
done
cat "$work"/*.failures 2>/dev/null | wc -l | sed 's/^/  attempts that failed, and are in no median: /'
[ -z "$failed" ]
