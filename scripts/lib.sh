# Common ground of the scripts, to be sourced: messages, tools, the cache, and
# where Debian's packages come from.
#
# The caller sets `here` (the directory of the scripts) before sourcing.
# shellcheck shell=sh

# cache is where everything built is kept; it may be deleted at any time.
# shellcheck disable=SC2154 # here: set by the caller
cache=${ESXODUS_CACHE:-${here%/*}/.cache}

# ext4_features are those that Debian 12's installer gives a file system, whatever
# this machine's mke2fs has as its defaults: GRUB knows no newer ones.
# shellcheck disable=SC2034 # used by callers
ext4_features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg
ext4_features=$ext4_features,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum

# release is the Debian release of which kernel, guests and lab are made.
release=bookworm

say() { printf '%s\n' "${0##*/}: $*" >&2; }

die() {
	say "$*"
	exit 1
}

# usage prints the comment block at the head of the calling script.
usage() { sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"; }

# need TOOL... ends the script with one line that names every absent tool.
need() {
	n_absent=
	for n_tool; do
		command -v "$n_tool" >/dev/null 2>&1 || n_absent="$n_absent $n_tool"
	done
	[ -z "$n_absent" ] || die "not installed:$n_absent; run scripts/setup.sh test"
}

# digest FILE... prints one short name for the contents of the files.
digest() { cat -- "$@" | sha256sum | cut -c1-16; }

# cached NAME KEY FUNC makes the directory $cache/NAME, a link into $cache/store:
# FUNC fills the current directory, which is published by a rename, so that
# nobody ever sees half of it. Nothing is done where it exists and was made with the same KEY. Of two
# callers one waits for the other. Do not call it in a condition: FUNC relies
# on set -e.
cached() {
	c_link=$cache/$1
	c_base=$cache/store/$(printf '%s' "$1" | tr / -)
	c_dir=$c_base.$2
	if [ "$(readlink "$c_link" || :)" = "$c_dir" ] && [ -d "$c_dir" ]; then
		return 0
	fi
	mkdir -p "${c_link%/*}" "$cache/store"
	(
		flock 9
		[ -d "$c_dir" ] || build "$3"
		ln -sfn "$c_dir" "$c_base.new"
		mv -T "$c_base.new" "$c_link"
		prune
	) 9>"$c_base.lock"
}

# build FUNC is the part of cached that runs under the lock.
build() {
	rm -rf --one-file-system "$c_base".tmp.*
	c_tmp=$(mktemp -d "$c_base.tmp.XXXXXX")
	chmod 755 "$c_tmp"
	c_start=$(date +%s)
	say "building ${c_link#"$cache"/}"
	(
		cd "$c_tmp" || exit 1
		"$1"
	) 9>&-
	mv -T "$c_tmp" "$c_dir"
	say "built ${c_link#"$cache"/} in $(($(date +%s) - c_start)) s"
}

# roomy prints a directory for large trees that are soon gone: in memory, if there is
# plenty of it, where their thousands of files cost half of what they do on a disk.
roomy() {
	r_free=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
	r_shm=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
	if [ "${r_free:-0}" -ge 6144 ] && [ "${r_shm:-0}" -ge 3072 ] && ! grep -Eq ' /dev/shm .*(noexec|nodev)' /proc/mounts; then
		echo /dev/shm
	else
		echo "${TMPDIR:-/tmp}"
	fi
}

# prune removes what older keys made.
prune() {
	for c_old in "$c_base".*; do
		case $c_old in
		"$c_dir" | *.lock | *.tmp.* | *.new) ;;
		*) rm -rf --one-file-system "$c_old" ;;
		esac
	done
}

# debian_sources prints the machine's own apt sources for $release, one line
# each; nothing where it has none (Ubuntu, another release): mmdebstrap then
# uses its built-in default.
debian_sources() {
	# shellcheck disable=SC2016 # apt-get expands them
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT) #$(CODENAME)/$(ORIGIN)' \
		'Created-By: Packages' 'Architecture: amd64' 2>/dev/null |
		sed -n "s|#${release}[^/]*/Debian\$||p"
}

# apt_options prints how this machine reaches its archives (proxies, time-outs,
# checks that it relaxes) as apt.conf lines.
apt_options() {
	apt-config dump --format '%F "%v";%n' |
		grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' || :
}

# debian TARGET ARG... runs mmdebstrap with the arguments ARG for $release, with
# the machine's own sources. The current directory takes two scratch files. The
# system's own tools come first: mmdebstrap starts Python once per package, and a
# version manager's stand-in for it takes longer than all the rest.
debian() {
	d_target=$1
	shift
	debian_sources >sources.list
	apt_options >apt.conf
	set -- --quiet --architectures=amd64 --aptopt="$PWD/apt.conf" "$@" "$release" "$d_target"
	[ ! -s sources.list ] || set -- "$@" sources.list
	PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH mmdebstrap "$@"
	rm -f sources.list apt.conf
}

# appliance lets libguestfs start its appliance on a machine that has no kernel
# of its own, such as a container: it gets the one in the cache.
appliance() {
	[ -z "${SUPERMIN_KERNEL-}" ] || return 0
	for a_kernel in /boot/vmlinuz-*; do
		[ ! -r "$a_kernel" ] || return 0
	done
	a_kernel=$("$here/kernel.sh")
	SUPERMIN_KERNEL=$a_kernel/vmlinuz
	SUPERMIN_MODULES=$(echo "$a_kernel"/lib/modules/*)
	export SUPERMIN_KERNEL SUPERMIN_MODULES
}

# esxi_host ARG... starts the ESXi host on loopback on the guests in $work/guests,
# with more arguments ARG of fixtures/esxi-sim. It sets esxi to its process, for
# the caller's trap; how to reach it is in $work/ready, as KEY=VALUE lines.
# shellcheck disable=SC2154 # work: set by the caller
esxi_host() {
	[ -x "$work/esxi-sim" ] || (cd "$here/.." && "$here/go.sh" build -trimpath -tags libvirt_dlopen -o "$work/esxi-sim" ./fixtures/esxi-sim)
	"$work/esxi-sim" --dir "$work/guests" --addr 127.0.0.1:0 --ssh-addr 127.0.0.1:0 \
		--ready-file "$work/ready" "$@" 2>"$work/esxi.log" &
	esxi=$!
	e_tries=0
	until [ -s "$work/ready" ]; do
		e_tries=$((e_tries + 1))
		if [ "$e_tries" -gt 200 ] || ! kill -0 "$esxi" 2>/dev/null; then
			cat "$work/esxi.log" >&2
			die 'the ESXi host on loopback did not start'
		fi
		sleep 0.1
	done
}

# renamed_guest NAME NEW puts the guest NAME of scripts/guest-debian.sh into
# $work/guests, as a virtual machine called NEW.
renamed_guest() {
	mkdir -p "$work/guests/$2"
	ln -s "$cache/guests/$1"/*.vmdk "$work/guests/$2/"
	sed "s/\"name\": *\"$1\"/\"name\": \"$2\"/" "$cache/guests/$1/vm.json" >"$work/guests/$2/vm.json"
}

# tests_environment sets what go test's environment must have: the tests then fail
# for want of a tool instead of being skipped.
tests_environment() {
	appliance
	ESXODUS_NEED_TOOLS=1
	ESXODUS_VIRT_TYPE=$("$here/kvm-works")
	export ESXODUS_NEED_TOOLS ESXODUS_VIRT_TYPE
	say "guests run on $ESXODUS_VIRT_TYPE"
}

# names_package ARG... tells whether one of go test's arguments is a package.
names_package() {
	for p_arg; do
		case $p_arg in
		./*) return 0 ;;
		esac
	done
	return 1
}
