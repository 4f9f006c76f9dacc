#!/bin/sh
# Usage: scripts/test-boot.sh [ARGUMENT]...
#
# Proves conversions on guests that boot: the real program converts a Debian
# guest of every source layout from the ESXi host on loopback; the tests of
# convert/proofs compare all files, boot the guests, upgrade a kernel, grow a
# disk, damage a kernel. ARGUMENTs go to go test: -run 'TestBoots/debian$'.
# Guests are built before if they aren't in the cache. scripts/setup.sh test
# installs what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

case ${1-} in
-h | --help)
	usage
	exit 0
	;;
esac
[ "$(id -u)" = 0 ] || die 'run it as root: it uses libvirt and loop devices'
"$here/guest-debian.sh" all >/dev/null
"$here/kernel-update.sh" >/dev/null
"$here/libvirtd.sh"
ESXODUS_NEED_TOOLS=1 ESXODUS_PROOFS=1
ESXODUS_VIRT_TYPE=$("$here/kvm-works")
export ESXODUS_NEED_TOOLS ESXODUS_PROOFS ESXODUS_VIRT_TYPE
# One more at a time than there are processors: a test may wait for another's
# conversion of the same guest.
"$here/go.sh" test -count=1 -timeout 90m -parallel "$(($(nproc) + 1))" -v "$@" ./convert/proofs
