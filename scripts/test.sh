#!/bin/sh
# Usage: scripts/test.sh [ARGUMENT]...
#
# Sets up what the tests need and runs them: every package against the real
# tools (LVM, libvirtd, networkd, sshd, mkfs), and whole migrations of small
# guests from the ESXi host on loopback into this machine's libvirt, with their
# boot proofs. A tool that is missing makes it fail.
#
# ARGUMENTs go to go test; packages may be among them (default: all):
#
#   scripts/test.sh -run 'TestBatch$' ./cmd/esxodus
#
# What needs device-mapper is scripts/test-lab.sh's, what needs a whole Debian
# guest is scripts/test-boot.sh's.
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
[ "$(id -u)" = 0 ] || die 'run it as root: it uses libvirt, loop devices and network namespaces'
say 'about 7 minutes; 10 on a new machine with two cores'
began=$(date +%s)

# Compiling everything takes as long as installing everything, and the two hardly
# disturb each other: the compiler wants processors, apt the disk.
"$here/setup.sh" build
"$here/go.sh" list -export -test -deps -tags libvirt_dlopen ./... >/dev/null &
compiler=$!
trap '[ -z "$compiler" ] || kill "$compiler" 2>/dev/null || :' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"$here/setup.sh" test
"$here/guest-tiny.sh" >/dev/null
wait "$compiler" || die 'the tree does not compile: see above'
compiler=
say "set up in $(($(date +%s) - began)) s"

tests_environment
names_package "$@" || set -- "$@" ./...
# Without vet, which make lint runs with all its checks, and without what debuggers
# want, which takes the linker a third of its time. Most tests wait for
# something most of the time: many packages at a time keep the processors busy.
"$here/go.sh" test -count=1 -vet=off -ldflags=-w -p "$(($(nproc) * 2 + 1))" -timeout 20m -tags libvirt_dlopen "$@" ||
	die 'some tests failed: see above'
say "all tests passed, $(($(date +%s) - began)) s in all"
