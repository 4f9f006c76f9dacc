#!/bin/sh
# Usage: scripts/test.sh
#
# Runs the tests on the real tools: the packages' own, the whole migrations
# against the ESXi host on loopback and this machine's libvirt with real
# guests, and in the lab VM what needs device-mapper. A tool that is missing
# makes it fail. scripts/setup.sh test installs what it needs. The proofs of
# converted guests are scripts/test-boot.sh's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

case ${1-} in
'') ;;
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

"$go" vet -tags libvirt_dlopen ./...
"$go" test -count=1 -timeout 30m -tags libvirt_dlopen ./...
"$here/lab" test ./convert/host -run TestLVM
"$here/lab" test ./cmd/esxodus --memory 2048 -run TestLVM
"$here/lab" test ./cmd/lilo --disk 600M --disk 600M -run TestLab
say 'all tests passed'
