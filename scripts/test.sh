#!/bin/sh
# Usage: scripts/test.sh [labs]
#
# Runs the tests on the real tools: the packages' own, the whole migrations
# against the ESXi host on loopback and this machine's libvirt with real
# guests, and in the lab VM what needs device-mapper. A tool that is missing
# makes it fail. With "labs" it runs the last kind only. scripts/setup.sh test
# installs what it needs. The proofs of converted guests are
# scripts/test-boot.sh's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

# lab PACKAGE ARG... runs a package's tests in a lab. A test that hangs is ended
# from within, with all stacks shown, before the lab is.
lab() {
	l_package=$1
	shift
	l_start=$(date +%s)
	"$here/lab" test "$l_package" --timeout 1800 "$@" -timeout 25m || return 1
	say "lab: $l_package: $(($(date +%s) - l_start)) s"
}

# labs runs the tests that need device-mapper, one lab after the other: the fewer
# machines are emulated at a time, the fewer go wrong.
labs() {
	l_failed=
	lab ./cmd/lilo --disk 600M --disk 600M -run TestLab || l_failed=1
	lab ./convert/host -run TestLVM || l_failed=1
	lab ./cmd/esxodus --memory 2048 -run TestLVM || l_failed=1
	[ -z "$l_failed" ]
}

# shellcheck disable=SC2317 # called by the trap
finish() {
	if [ -n "$labs" ]; then
		kill -- "-$labs" 2>/dev/null || :
		wait "$labs" || :
		say 'the tests in the lab were not at their end; so far they said:'
		cat "$log" >&2
	fi
	rm -f "$log"
}

case ${1-} in
'') ;;
labs)
	labs
	exit
	;;
*)
	usage
	exit 64
	;;
esac
go=$here/go.sh
ESXODUS_NEED_TOOLS=1
export ESXODUS_NEED_TOOLS

[ "$(id -u)" = 0 ] || die 'run it as root: it uses libvirt, loop devices and network namespaces'

# The labs need no guest. Neither these tests nor those of the labs keep the
# processors busy all the time, and what builds guests does least: side by side
# they take a quarter less than one after the other.
labs='' failed=''
log=$(mktemp)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
setsid "$here/test.sh" labs >"$log" 2>&1 &
labs=$!

"$here/guest-tiny.sh" >/dev/null
"$here/guest-debian.sh" >/dev/null
appliance
ESXODUS_VIRT_TYPE=$("$here/kvm-works")
export ESXODUS_VIRT_TYPE
say "guests run on $ESXODUS_VIRT_TYPE"
# Without vet, which make lint runs with all its checks.
"$go" test -count=1 -vet=off -timeout 2h -tags libvirt_dlopen ./... || failed=1
say 'waiting for the tests in the lab'
wait "$labs" || failed=1
labs=
cat "$log"
[ -z "$failed" ] || die 'some tests failed: see above'
say 'all tests passed'
