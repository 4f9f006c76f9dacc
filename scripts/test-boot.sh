#!/bin/sh
# Usage: scripts/test-boot.sh [--guest NAME]... [ARGUMENT]...
#
# Proves conversions on guests that boot: the real program converts a Debian
# guest of every source layout from the ESXi host on loopback; the tests of
# convert/proofs compare all files, boot the guests, upgrade a kernel, grow a
# disk, damage a kernel, rewrite an initrd. Before them come other packages' tests on these guests and
# in libguestfs' appliance. Guests are built if they aren't in the cache.
#
#   --guest NAME   of scripts/guest-debian.sh; may be repeated (default: all; a
#                  kernel is upgraded only then)
#
# ARGUMENTs go to go test: -run 'TestBoots/debian$'. scripts/setup.sh test installs
# what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

guests='' run=
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--guest)
		guests="$guests ${2-}"
		shift 2
		;;
	*) break ;;
	esac
done
for argument; do
	case $argument in
	-run | -run=*) run=1 ;;
	esac
done
[ "$(id -u)" = 0 ] || die 'run it as root: it uses libvirt and loop devices'
say 'about an hour for all guests, 4 minutes for one; building one that is new, 2 more each'
"$here/guest-tiny.sh" >/dev/null
# shellcheck disable=SC2086 # one word each
"$here/guest-debian.sh" --proven ${guests:-all} >/dev/null
[ -n "$guests" ] || "$here/kernel-update.sh" >/dev/null
"$here/libvirtd.sh"
tests_environment
ESXODUS_TESTS=boot ESXODUS_GUESTS=$guests
export ESXODUS_TESTS ESXODUS_GUESTS
# One more at a time than there are processors: a test may wait for another's
# conversion of the same guest.
set -- -count=1 -vet=off -timeout 90m -tags libvirt_dlopen -parallel "$(($(nproc) + 1))" -v "$@"
if [ -n "$run" ]; then
	names_package "$@" || set -- "$@" ./convert/proofs ./cmd/esxodus ./convert/appliance/... ./convert/packages \
		./convert/domain ./convert/virt ./disk ./fixtures/machine
	"$here/go.sh" test -p 1 "$@"
else
	"$here/go.sh" test -p 1 "$@" ./convert/appliance/... ./convert/packages ./fixtures/machine
	"$here/go.sh" test "$@" -run 'TestDebianGuest|TestKillAtEachRecord|TestGuestSees|TestProveTinyGuest|TestNetworkProofFails|TestEditedAddress|TestFromDirectory|TestLargestDisk' \
		./cmd/esxodus ./convert/domain ./convert/virt
	"$here/go.sh" test "$@" -run TestPeakMemory ./disk
	"$here/go.sh" test "$@" ./convert/proofs
fi
