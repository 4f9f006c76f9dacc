#!/bin/sh
# Usage: scripts/setup.sh [build | guest | demo | test | report | bench | lint | package]...
#        scripts/setup.sh packages
#
# Brings a bare Debian 12 or Ubuntu machine to where `make build`, `make demo`,
# `make test` (default), `make test-report` (report), `make bench-convert` (bench), `make
# lint` or `make deb` and `make rpm` (package) can run, and guest what the roots of
# Debian guests are made with: packages through apt-get, Go
# where the machine's is too old, and for demo and test a running libvirtd. It
# says what it installs and why. On a machine that has it all it changes nothing.
# "packages" changes nothing either: it names those that all but build need.
#
# Only root installs. Anyone else is told what is missing (exit status 1).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# The release of Go to fetch, as a Go module, of golangci-lint and of nfpm.
go_version=1.26.8
lint_version=2.15.0
nfpm_version=2.47.0

# The release of axe-core, which looks for what keeps people from using a page, and
# the SHA-256 of its package.
axe_version=4.14.1
axe_sum=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745

# wanted lists the packages: which targets want it, its name, what for.
wanted() {
	cat <<-'END'
		build demo test lint | ca-certificates        | to fetch Go modules
		build demo test lint | gcc                    | cgo: the libvirt bindings
		build demo test lint | libc6-dev              | cgo: the C library's headers
		build demo test lint | libvirt-dev            | cgo: libvirt's headers
		build demo test lint | make                   | the targets themselves
		demo test            | libvirt-daemon-system  | the hypervisor's manager that esxodus defines domains in
		demo test            | libvirt-daemon-driver-qemu | its QEMU driver
		demo test            | libvirt-clients        | virsh and virt-xml-validate
		demo test            | libxml2-utils          | xmllint, which virt-xml-validate calls
		demo test            | qemu-system-x86        | runs the guests
		demo test            | qemu-utils             | qemu-img: overlays for the boot proof
		demo test            | ovmf                   | firmware of EFI guests
		demo test            | seabios                | firmware of BIOS guests
		demo test            | lvm2                   | volume groups as targets
		demo test            | e2fsprogs              | file systems of the guests
		demo test            | fdisk                  | partitions of the guests
		guest demo test      | mmdebstrap             | builds the Debian guest
		guest demo test      | debian-archive-keyring | checks Debian's signatures on any machine
		demo test            | grub-common            | grub-mkimage
		demo test            | grub-pc-bin            | boot loader of the guests
		demo test            | busybox-static         | userland of the tiny guest
		guest demo test      | kmod                   | modprobe and depmod: initrd of the tiny guest
		demo test            | cpio                   | the same
		guest demo test      | xz-utils               | unpacks the kernel
		guest demo test      | zstd                   | packs the base system
		demo test            | openssh-client         | tries ESXi's SSH by hand
		demo test            | guestfish              | the isolated appliance that guests are converted in
		demo test            | libguestfs-xfs         | the same, for XFS
		test                 | nasm                   | assembles the boot loader
		test                 | mandoc                 | checks the manual pages
		test                 | zsh                    | reads its completion script
		test                 | fish                   | the same
		test                 | strace                 | holds LVM up between its read and its write
		report               | chromium               | opens the reports
		bench                | virt-v2v               | to compare with
		test                 | swtpm                  | domains with a TPM
		test                 | swtpm-tools            | the same
		test                 | xfsprogs               | file systems to recognise
		test                 | dosfstools             | the same
		test                 | attr                   | extended attributes of files to compare
		test                 | btrfs-progs            | the same
		test                 | ntfs-3g                | the same
		test                 | mtools                 | the same
		test                 | squashfs-tools         | the same
		test                 | gdisk                  | partition tables to recognise
		test                 | cryptsetup-bin         | encrypted volumes to recognise
		test                 | iproute2               | network namespaces
		test                 | systemd                | systemd-networkd, which reads the units
		test                 | genisoimage            | CD images to recognise
		test                 | socat                  | stalled and cut connections
		test                 | tmux                   | progress bars on a real terminal
		test                 | nbdkit                 | an independent source to compare with
		test                 | libnbd-bin             | the same: nbdcopy
		test                 | libvmdk-utils          | an independent reader of VMDKs
		test                 | qemu-block-extra       | qemu-img over https, to compare with
		package              | binutils               | objdump: which C library a package asks for
		test                 | rpm                    | looks into the package for the RHEL family
		test lint            | shellcheck             | checks the scripts
	END
}

# wants TARGET tells whether a target was asked for.
wants() {
	case " $targets " in
	*" $1 "*) ;;
	*) return 1 ;;
	esac
}

# absent prints the lines of wanted whose package isn't installed.
absent() {
	for a_target in $targets; do
		wanted | sed -n "s/^[^|]*\<$a_target\>[^|]*| *\([^ ]*\) *| /\1 /p"
	done | sort -u >"$work/wanted"
	# shellcheck disable=SC2016 # dpkg-query expands them
	cut -d' ' -f1 "$work/wanted" | xargs dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
		sed -n 's/^installed //p' >"$work/installed" || :
	awk 'FILENAME == ARGV[1] { have[$1]; next } !($1 in have)' "$work/installed" "$work/wanted"
}

packages() {
	absent >"$work/absent"
	if ! "$here/go.sh" --check >/dev/null 2>&1 && ! command -v go >/dev/null; then
		echo "golang-go to fetch Go $go_version with" >>"$work/absent"
	fi
	if wants report && ! command -v npm >/dev/null; then
		echo 'npm to fetch axe-core with' >>"$work/absent"
	fi
	[ -s "$work/absent" ] || return 0
	names=$(cut -d' ' -f1 "$work/absent" | tr '\n' ' ')
	say "$targets: these packages are needed and aren't installed:"
	sed 's/^\([^ ]*\) /\1: /; s/^/    /' "$work/absent" >&2
	if [ "$(id -u)" != 0 ]; then
		say "as root, run: apt-get install --no-install-recommends $names"
		failed=1
		return 0
	fi
	say 'installing them'
	export DEBIAN_FRONTEND=noninteractive
	update
	# shellcheck disable=SC2086 # one word each
	apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends $names >"$work/apt" 2>&1 || {
		tail -n 30 "$work/apt" >&2
		die 'apt-get failed; its last lines are above'
	}
}

# update has apt-get read which packages there are, unless a set-up did so just now.
update() {
	mkdir -p "$cache"
	[ -z "$(find "$cache/updated" -mmin -15 2>/dev/null)" ] || return 0
	apt-get -qq update
	touch "$cache/updated"
}

# fetch_go gets Go as what it also is, a module, whose hash the old Go checks. A
# module's files aren't executable and its go.mod files are hidden by a prefix.
# The empty module keeps that old Go from reading the checkout's go.mod.
fetch_go() {
	mkdir empty
	echo 'module empty' >empty/go.mod
	(
		cd empty
		GOPATH=$PWD/../path GOCACHE=$PWD/../gocache GOTOOLCHAIN=local GOFLAGS=-modcacherw \
			go mod download "golang.org/toolchain@v0.0.1-go$go_version.linux-amd64"
	)
	mv "path/pkg/mod/golang.org/toolchain@v0.0.1-go$go_version.linux-amd64"/* .
	chmod +x bin/* pkg/tool/*/*
	find src -name _go.mod | while read -r mod; do
		mv "$mod" "${mod%/*}/go.mod"
	done
	rm -rf empty path gocache
}

golang() {
	! "$here/go.sh" --check >/dev/null 2>&1 || return 0
	say "$(go version | cut -d' ' -f3) is older than go.mod allows; fetching Go $go_version into $cache/go"
	cached go "$go_version" fetch_go
	"$here/go.sh" --check >/dev/null
}

install_lint() {
	mkdir bin
	GOBIN=$PWD/bin GOFLAGS='' "$here/go.sh" install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$lint_version"
}

linter() {
	wants lint || return 0
	cached golangci-lint "$lint_version" install_lint
}

install_nfpm() {
	mkdir bin
	GOBIN=$PWD/bin GOFLAGS='' "$here/go.sh" install "github.com/goreleaser/nfpm/v2/cmd/nfpm@v$nfpm_version"
}

packager() {
	wants package || return 0
	cached nfpm "$nfpm_version" install_nfpm
}

fetch_axe() {
	npm pack --silent "axe-core@$axe_version" >/dev/null
	echo "$axe_sum  axe-core-$axe_version.tgz" | sha256sum --check --quiet
	tar --extract --gzip --file "axe-core-$axe_version.tgz" --strip-components 1 --no-same-owner \
		package/axe.min.js package/LICENSE package/LICENSE-3RD-PARTY.txt
	rm "axe-core-$axe_version.tgz"
}

axe() {
	wants report || return 0
	cached axe-core "$axe_version" fetch_axe
}

daemon() {
	wants demo || wants test || return 0
	mkdir -p /lib/modules # libguestfs looks at it, whichever kernel it is told to take
	"$here/libvirtd.sh" || failed=1
}

targets=${*:-test}
for target in $targets; do
	case $target in
	build | guest | demo | test | report | bench | lint | package) ;;
	packages)
		wanted | sed -n '/^build/d; s/^[^|]*| *\([^ ]*\) .*/\1/p' | sort -u
		exit
		;;
	*)
		usage
		exit 64
		;;
	esac
done
command -v apt-get >/dev/null || die 'this machine has no apt-get: install the packages named in this script by hand'
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
packages
[ "$failed" != 0 ] || golang
[ "$failed" != 0 ] || linter
[ "$failed" != 0 ] || packager
[ "$failed" != 0 ] || axe
[ "$failed" != 0 ] || daemon
[ "$failed" = 0 ]
