#!/bin/sh
# Usage: scripts/bench-plan.sh [OPTION]...
#
# Measures inventory and plan of an ESXi host on loopback that has many VMs, on
# this machine, which serves them as well: the time of each command, its
# processor time, its peak memory and the size of what it prints. Half of the
# VMs have one Debian inside, half another (scripts/guest-debian.sh), each with
# its own name and MAC address: the plan looks into all of them.
#
#   --vms N         so many VMs (default: 1000)
#   --empty         VMs with empty disks: what is left without the look inside
#   --most N        fail if a command takes more than N seconds or 512 MiB
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/bench.sh"

# many N puts N guests into $work/guests.
many() {
	for g_name in debian debian-lvm; do
		"$here/guest-debian.sh" "$g_name" >/dev/null
	done
	m=0
	while [ "$m" -lt "$1" ]; do
		g_name=debian
		[ $((m % 2)) = 0 ] || g_name=debian-lvm
		m_new=$(printf '%s-%04d' "$g_name" "$m")
		renamed_guest "$g_name" "$m_new"
		m_mac=$(printf '00:50:56:00:%02x:%02x' $((m / 256)) $((m % 256)))
		sed -i "s/00:50:56:[0-9a-f:]*/$m_mac/" "$work/guests/$m_new/vm.json"
		m=$((m + 1))
	done
}

# measured NAME ARG... runs esxodus and prints a row of the table. The kernel keeps
# the peak of its memory until it ends.
measured() {
	m_name=$1
	shift
	m_start=$(date +%s%N)
	"$work/esxodus" "$@" >"$work/out" 2>"$work/log" &
	m_pid=$!
	m_peak=0 m_ticks=0
	while m_now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$m_pid/status" 2>/dev/null) && [ -n "$m_now" ]; do
		m_peak=$m_now
		m_used=$(awk '{ print $14 + $15 }' "/proc/$m_pid/stat" 2>/dev/null) || m_used=
		m_ticks=${m_used:-$m_ticks}
		sleep 0.05
	done
	wait "$m_pid" || {
		tail -n 5 "$work/log" >&2
		die "$m_name failed"
	}
	awk -v name="$m_name" -v a="$m_start" -v b="$(date +%s%N)" -v peak="$m_peak" -v ticks="$m_ticks" -v hz="$(getconf CLK_TCK)" \
		-v size="$(wc -c <"$work/out")" -v most="$most" 'BEGIN {
			printf "| %s | %.1f s | %.1f s | %d MiB | %.1f MB |\n", name, (b - a) / 1e9, ticks / hz, peak / 1024, size / 1e6
			exit most && ((b - a) / 1e9 > most || peak > 512 * 1024)
		}' || failed=1
}

vms=1000 empty='' most=0 failed=''
while [ $# -gt 0 ]; do
	case $1 in
	--vms) vms=$2 && shift ;;
	--empty) empty=1 ;;
	--most) most=$2 && shift ;;
	-h | --help)
		usage
		exit
		;;
	*)
		usage >&2
		exit 64
		;;
	esac
	shift
done

work=$(mktemp -d "${TMPDIR:-/var/tmp}/bench-plan.XXXXXX")
esxi=
trap '[ -z "$esxi" ] || kill "$esxi" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/guests" "$work/disks"
if [ -n "$empty" ]; then
	host_options="--many $vms"
else
	many "$vms"
fi
(cd "$here/.." && "$here/go.sh" build -trimpath -tags libvirt_dlopen -o "$work/esxodus" ./cmd/esxodus)
serve

set -- --esxi "$(value URL | sed 's|//|//root@|')" --thumbprint "$(value THUMBPRINT)" --password-file "$work/password-file"
echo "| $vms VMs | time | processor | peak memory | output |"
echo '|---|---|---|---|---|'
measured inventory inventory "$@"
measured 'inventory --output json' inventory --output json "$@"
set -- "$@" --storage "dir:$work/disks" --uplink eth0 --virt-type "$("$here/kvm-works")"
measured plan plan "$@"
measured 'plan --output json' plan --output json "$@"
measured 'plan -o FILE' plan -o "$work/plan.yaml" "$@"
say "$(du -h "$work/plan.yaml" | cut -f1) of plan"
[ -z "$failed" ] || die "more than $most s or 512 MiB"
