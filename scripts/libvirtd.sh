#!/bin/sh
# Usage: scripts/libvirtd.sh
#
# Makes sure that libvirt answers on qemu:///system: does nothing where it does,
# starts it through systemd where that runs, and by itself where it doesn't (a
# container). No network of libvirt's is started or used.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# answers tells whether libvirt, and its QEMU driver, can be talked to.
answers() { timeout 20 virsh -q -c qemu:///system list --name >"$errors" 2>&1; }

# await gives a daemon that has just been started 20 seconds.
await() {
	a_tries=0
	until answers; do
		a_tries=$((a_tries + 1))
		[ "$a_tries" -lt 100 ] || {
			cat "$errors" >&2
			die 'libvirt does not answer on qemu:///system; the reason is above'
		}
		sleep 0.2
	done
}

# alive NAME tells whether a daemon of that name runs by its pid file, which a
# killed one leaves: its number may be another process's by now, or a zombie's.
alive() {
	[ -s "/run/$1.pid" ] && case $(readlink "/proc/$(cat "/run/$1.pid")/exe") in
	*/"$1") ;;
	*) return 1 ;;
	esac
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need virsh
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
! answers || exit 0

if [ "$(id -u)" != 0 ]; then
	cat "$errors" >&2
	die 'libvirt does not answer on qemu:///system; start libvirtd as root and join the group libvirt'
fi
need libvirtd virtlogd flock
mkdir -p "$cache"
exec 9>"$cache/libvirtd.lock"
flock 9
if [ -d /run/systemd/system ]; then
	say 'starting libvirtd through systemd'
	systemctl start libvirtd 9>&-
else
	say 'starting virtlogd and libvirtd (no systemd here)'
	alive virtlogd || virtlogd -d 9>&-
	alive libvirtd || libvirtd -d 9>&-
fi
await
