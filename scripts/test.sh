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

# labs runs the tests that need device-mapper, in two labs at a time: that of
# lilo takes almost as long as the others together.
labs() {
	l_log=$(mktemp) l_failed=''
	"$here/lab" test ./cmd/lilo --timeout 5400 --disk 600M --disk 600M -run TestLab >"$l_log" 2>&1 &
	l_lilo=$!
	trap 'kill "$l_lilo" 2>/dev/null || :; rm -f "$l_log"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	"$here/lab" test ./convert/host --timeout 5400 -run TestLVM || l_failed=1
	"$here/lab" test ./cmd/esxodus --timeout 5400 --memory 2048 -run TestLVM || l_failed=1
	wait "$l_lilo" || l_failed=1
	cat "$l_log"
	[ -z "$l_failed" ]
}

# shellcheck disable=SC2317 # called by the trap
finish() {
	[ -z "$labs" ] || kill -- "-$labs" 2>/dev/null || :
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
"$here/guest-tiny.sh" >/dev/null
"$here/guest-debian.sh" >/dev/null
appliance
ESXODUS_VIRT_TYPE=$("$here/kvm-works")
export ESXODUS_VIRT_TYPE
say "guests run on $ESXODUS_VIRT_TYPE"

# Neither these tests nor those of the labs keep the processors busy all the time:
# side by side they take a quarter less than one after the other.
labs='' failed=''
log=$(mktemp)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$go" vet -tags libvirt_dlopen ./...
setsid "$here/test.sh" labs >"$log" 2>&1 &
labs=$!
"$go" test -count=1 -timeout 2h -tags libvirt_dlopen ./... || failed=1
say 'waiting for the tests in the lab'
wait "$labs" || failed=1
labs=
cat "$log"
[ -z "$failed" ] || die 'some tests failed: see above'
say 'all tests passed'
