#!/bin/sh
# Usage: scripts/test-lab.sh [LAB]... [ARGUMENT]...
#
# Runs the tests that need device-mapper, VLANs or a disk that logs its writes, in
# virtual machines of their own (scripts/lab). The labs, all by default:
#
#   lvm       volume groups, on their own and as the target of migrations
#   storage   the same of thin pools, of multipath, of devices that fail, and of extents
#             that hold what was there before
#   lilo      the boot loader on all that it can meet; its installer on LVM
#   powercut  the same, with the power cut at each of its writes; a copy, cut likewise
#   blocks    200 file systems of each kind, cut off under load: nothing is lost of what
#             their maps of free space leave out, and with the wrong rules it is; half
#             an hour (ESXODUS_CRASHES says how many)
#   network   VLAN devices beside sessions, on a real networkd; guests of two hosts;
#             a host that boots, and one that loses its power; the bridge of a real LXD;
#             the network proof's wire, confined by AppArmor; a batch as a unit of systemd
#   shared    a volume group on a LUN that two hosts see, with LVM's locks and without
#   sriov     virtual functions of an adapter for a guest, on a newer QEMU
#
# ARGUMENTs go to the tests: -run TestLVM/thin -v. scripts/setup.sh test installs
# what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

# lab PACKAGE OPTION... -- ARGUMENT... runs a package's tests in a lab. A test that
# hangs is ended from within, with all stacks shown, before the lab is.
lab() {
	l_package=$1
	shift
	l_start=$(date +%s)
	"$here/lab" test "$l_package" --timeout 1800 "$@" -timeout 25m || return 1
	say "$l_package: $(($(date +%s) - l_start)) s"
}

# on_host PACKAGE ARGUMENT... runs a package's tests here; they start machines of
# their own.
on_host() {
	h_package=$1
	shift
	tests_environment
	ESXODUS_TESTS=lab "$here/go.sh" test -count=1 -vet=off -timeout 40m "$@" "$h_package"
}

# pair PACKAGE ARGUMENT... runs a package's tests in two labs at a time with a cable
# between them. Each knows by ESXODUS_HOST which it is.
pair() {
	p_package=$1
	shift
	p_port=$((20000 + $$ % 10000))
	lab "$p_package" --cable "$p_port:$((p_port + 1))" --env ESXODUS_HOST=1 "$@" &
	p_other=$!
	p_failed=
	lab "$p_package" --cable "$((p_port + 1)):$p_port" --env ESXODUS_HOST=2 "$@" || p_failed=1
	wait "$p_other" || p_failed=1
	[ -z "$p_failed" ]
}

# storage names the tests of the lab storage. Those of the lab lvm are what CI has time for.
storage='TestLVM(Thin|Paths|Broken|Leftover)'

# one LAB ARGUMENT... runs one of the labs.
one() {
	o_lab=$1
	shift
	case $o_lab in
	lvm)
		lab ./disk/lvm -run TestLVM "$@" && lab ./convert/volume -run TestLVM -skip "$storage" "$@" &&
			lab ./convert/pvhead -run TestLVM "$@" && lab ./cmd/esxodus --memory 2048 -run TestLVM -skip "$storage" "$@"
		;;
	storage) lab ./convert/volume -run "$storage" "$@" && lab ./cmd/esxodus --memory 2048 -run "$storage" "$@" ;;
	lilo)
		on_host ./convert/lilo "$@" && lab ./cmd/lilo --disk 600M --disk 600M -run TestLab "$@"
		;;
	blocks)
		ESXODUS_CRASHES=${ESXODUS_CRASHES:-200}
		export ESXODUS_CRASHES
		on_host ./disk/extfs -run TestCrash "$@" && on_host ./disk/xfs -run TestCrash "$@" && on_host ./disk/btrfs -run TestCrash "$@"
		;;
	powercut) on_host ./cmd/lilo -run TestPowerCut "$@" && lab ./disk -run TestPowerCut "$@" ;;
	network)
		lab ./convert/netrun -run TestReal -parallel 1 "$@" &&
			lab ./convert/netrun --release trixie -run TestReal -parallel 1 "$@" &&
			pair ./convert/netrun -run TestPair "$@" &&
			lab ./cmd/esxodus --memory 2048 -run 'TestNetwork$/(network_first|default_network)' "$@" &&
			lab ./cmd/esxodus --memory 2048 --reboots --cable "$(($$ % 10000 + 20000)):9" -run 'TestReboots$' "$@" &&
			lab ./cmd/esxodus --memory 2048 --reboots -run 'TestLXD$' "$@" &&
			lab ./convert/virt --memory 2048 --reboots -run 'TestConfined$' "$@" &&
			lab ./cmd/esxodus --memory 2048 --reboots -run 'TestDetached$' "$@"
		;;
	shared) pair ./cmd/esxodus --memory 2048 --disk 2G -run 'TestShared$' "$@" ;;
	sriov)
		o_guest=$("$here/guest-net.sh")
		lab ./cmd/esxodus --memory 2560 --igb 1 --file "$o_guest" --env "ESXODUS_GUEST=/lab/files/${o_guest##*/}" -run TestSRIOV "$@"
		;;
	esac
}

labs=
while [ $# -gt 0 ]; do
	case $1 in
	lvm | storage | lilo | blocks | powercut | network | shared | sriov) labs="$labs $1" ;;
	-h | --help)
		usage
		exit 0
		;;
	-*) break ;;
	*)
		usage >&2
		exit 64
		;;
	esac
	shift
done
[ "$(id -u)" = 0 ] || die 'run it as root: it makes the system of a virtual machine'
say 'about 2 to 7 minutes a lab, network and shared twice that, blocks half an hour; one more on a new machine'
failed=
# One after the other: the fewer machines are emulated at a time, the fewer go wrong.
for one in ${labs:-lvm storage lilo blocks powercut network shared sriov}; do
	one "$one" "$@" || failed="$failed $one"
done
[ -z "$failed" ] || die "failed:$failed; see above"
