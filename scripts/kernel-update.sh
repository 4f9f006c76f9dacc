#!/bin/sh
# Usage: scripts/kernel-update.sh
#
# Fetches a kernel that is newer than that of the Debian 12 guests (see
# scripts/guest-debian.sh), as Debian published it: the security archive's, or
# where that has none, the backports'. Prints the directory that holds it:
#
#   repository/          linux-image-amd64, the kernel that it depends on, dracut
#                        with what the guests lack for it, and Packages, for apt;
#                        sources.list, for use from /mnt
#   kernel-update.iso    the same as a CD image named kernel-update
#   version              of the new kernel, as uname -r prints it
#
# In a guest without a network, with the image as one more disk:
#
#   mount LABEL=kernel-update /mnt
#   cp /mnt/sources.list /etc/apt/sources.list.d/kernel-update.list
#   apt-get update && apt-get -y install linux-image-amd64
#
# Nothing is installed on this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# fetch downloads into the current directory what apt would install. The guests
# have the kernel of the release itself.
fetch() {
	export release kernel out="$PWD"
	# shellcheck disable=SC2016 # the hook's shell expands them
	debian - --variant=custom --mode=auto --format=null --customize-hook='
		set -e
		export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
		from=
		name() { apt-get -qq download --print-uris "$1" | cut -d" " -f2; }
		get() { apt-get -qq -o APT::Sandbox::User=root download "$1$from"; }
		if [ "$(name linux-image-amd64)" = "$(name "linux-image-amd64/$release")" ]; then
			from=/$release-backports
			cat "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*.list 2>/dev/null |
				sed -n "s/^\(deb .*\) $release \(.*\)/\1 $release-backports \2/p" >"$1/etc/apt/sources.list.d/newer.list"
			apt-get -qq update
		fi
		cd "$out"
		apt-get -qq -o APT::Sandbox::User=root download dracut dracut-core kpartx
		get linux-image-amd64
		package=$(dpkg-deb -f linux-image-amd64_*.deb Depends | sed "s/[ ,].*//")
		have=$kernel/$(name "$package$from")
		if [ -f "$have" ]; then cp "$have" .; else get "$package"; fi'
}

# index prints the archive's Packages.
index() {
	for i_deb in *.deb; do
		dpkg-deb -f "$i_deb"
		printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$i_deb" "$(stat -c %s "$i_deb")" \
			"$(sha256sum "$i_deb" | cut -d' ' -f1)"
	done
}

make_update() {
	mkdir repository
	(
		cd repository
		fetch
		index >Packages
		echo 'deb [trusted=yes] file:/mnt ./' >sources.list
	)
	set -- repository/linux-image-[0-9]*.deb
	set -- "${1#repository/linux-image-}"
	echo "${1%%_*}" >version
	genisoimage -quiet -R -V kernel-update -o kernel-update.iso repository
}

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
need mmdebstrap apt-get dpkg-deb genisoimage flock
kernel=$("$here/kernel.sh")
cached kernel-update "$(digest "$here/kernel-update.sh" "$here/kernel.sh")" make_update
readlink -f "$cache/kernel-update"
