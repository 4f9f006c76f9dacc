# Packages that one guest has beside those of debian-root.sh. To be sourced after
# lib.sh and debian-root.sh. The caller sets release.
# shellcheck shell=sh disable=SC2154

# packages_in DIR PACKAGE... installs packages of $release in the root directory DIR,
# with what they need. No service of theirs starts.
packages_in() {
	p_dir=$1
	shift
	mkdir -p "$p_dir/debs/partial"
	export p_packages="$*" p_root="$PWD/$p_dir"
	# shellcheck disable=SC2016 # the hook's shell expands them
	debian - --variant=custom --mode=auto --format=null --customize-hook='
		set -e
		export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
		apt-get -qq -y -o APT::Sandbox::User=root -o Dir::State::status="$p_root/var/lib/dpkg/status" \
			-o Dir::Cache::Archives="$p_root/debs" --no-install-recommends --download-only install $p_packages >/dev/null'
	rm -rf "$p_dir/debs/partial" "$p_dir/debs/lock"
	printf '#!/bin/sh\nexit 101\n' >"$p_dir/usr/sbin/policy-rc.d"
	chmod 755 "$p_dir/usr/sbin/policy-rc.d"
	inside "$p_dir" env INITRD=No DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get -y -o APT::Sandbox::User=root --no-install-recommends install /debs/*.deb \
			>/debs/log 2>&1 || { cat /debs/log >&2; exit 1; }'
	rm -r "$p_dir/debs" "$p_dir/usr/sbin/policy-rc.d"
}
