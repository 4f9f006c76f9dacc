#!/bin/sh
# Usage: scripts/bench-setup.sh [--packages] [--warm] [COMMAND]...
#
# Measures what a new machine takes for each COMMAND, in a clean clone of the last
# commit: the caches of this checkout, of Go and of libguestfs are empty for each of
# them. Default: 'make demo' 'make test'; '.ci/run' is another that is worth it.
#
#   --packages   also remove the packages that scripts/setup.sh installs, before
#                each COMMAND; all but the compiler's and the base system's
#   --warm       run each COMMAND a second time on what the first one left
#
# Needs root. Output on stdout: a line for each run, with its seconds and its exit
# status; what the runs said is in files whose names come with them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# remove takes away what setup.sh would install, but nothing that the base system or
# somebody else needs.
remove() {
	"$here/setup.sh" packages | while read -r r_name; do
		case $(dpkg-query -W -f '${db:Status-Status} ${Essential} ${Priority}' "$r_name" 2>/dev/null) in
		'installed no optional' | 'installed no extra' | 'installed no standard') echo "$r_name" ;;
		esac
	done >"$work/packages"
	pkill -x libvirtd || :
	pkill -x virtlogd || :
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2046 # one word each
	apt-get -qq -o Dpkg::Use-Pty=0 purge --autoremove $(cat "$work/packages") >"$work/removed" 2>&1 || {
		tail -n 20 "$work/removed" >&2
		die 'apt-get could not remove the packages; its last lines are above'
	}
	apt-get clean
}

# measure LABEL COMMAND runs a command on the caches that are there.
measure() {
	m_log=$logs/$(printf '%s' "$1" | tr -c 'a-z0-9\n' -).log m_start=$(date +%s) m_status=0
	(
		cd "$work/clone"
		export ESXODUS_CACHE="$work/cache" GOCACHE="$work/go-build" GOMODCACHE="$work/go-mod" \
			GOFLAGS=-modcacherw LIBGUESTFS_CACHEDIR="$work/guestfs"
		sh -c "$2"
	) >"$m_log" 2>&1 </dev/null || m_status=$?
	printf '%s\t%s s\tstatus %s\t%s\n' "$1" "$(($(date +%s) - m_start))" "$m_status" "$m_log"
}

packages='' warm=
while [ $# -gt 0 ]; do
	case $1 in
	--packages) packages=1 ;;
	--warm) warm=1 ;;
	-*)
		usage
		exit 64
		;;
	*) break ;;
	esac
	shift
done
[ "$(id -u)" = 0 ] || die 'run it as root'
[ $# -gt 0 ] || set -- 'make demo' 'make test'
logs=$(mktemp -d "${TMPDIR:-/var/tmp}/bench-setup-log.XXXXXX")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/bench-setup.XXXXXX") # gigabytes
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for command; do
	rm -rf "${work:?}"/*
	mkdir "$work/guestfs"
	[ -z "$packages" ] || remove
	git clone -q "$here/.." "$work/clone"
	measure "$command" "$command"
	[ -z "$warm" ] || measure "$command, again" "$command"
done
