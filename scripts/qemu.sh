#!/bin/sh
# Usage: scripts/qemu.sh
#
# Fetches the QEMU of Debian's backports, which emulates what that of the release
# doesn't: a NIC with virtual functions (igb, from 8.0 on). Prints the program's
# path. It is a script that runs it with libraries and firmware of its own:
# ESXODUS_QEMU of scripts/emulate takes it. Nothing is installed on this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# backports prints the machine's sources with those of the backports.
backports() {
	debian_sources >release.list
	[ -s release.list ] || die "this machine's apt has no sources of Debian's $release, whose backports have that QEMU"
	cat release.list
	sed -n "s/^\(deb [^ ]*\) $release \(.*\)/\1 $release-backports \2/p" release.list
}

fetch_qemu() {
	backports >all.list
	apt_options >apt.conf
	echo "APT::Default-Release \"$release-backports\";" >>apt.conf
	PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH mmdebstrap --quiet --architectures=amd64 --aptopt="$PWD/apt.conf" \
		--variant=extract --mode=auto --include=qemu-system-x86 --format=directory "$release" root all.list
	rm -rf all.list release.list apt.conf root/usr/share/doc root/usr/share/locale root/var
	cat >qemu-system-x86_64 <<-'END'
		#!/bin/sh
		root=$(dirname "$(readlink -f "$0")")/root
		lib=$root/usr/lib/x86_64-linux-gnu
		export QEMU_MODULE_DIR="$lib/qemu"
		exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$lib:$root/lib/x86_64-linux-gnu" \
			"$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/seabios" -L "$root/usr/share/qemu" "$@"
	END
	chmod 755 qemu-system-x86_64
	./qemu-system-x86_64 -device igb,help >devices
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need mmdebstrap apt-get flock
cached qemu "$(digest "$here/qemu.sh")" fetch_qemu
echo "$cache/qemu/qemu-system-x86_64"
