#!/bin/sh
# Usage: scripts/test-packages.sh
#
# Builds the packages and tries them: the deb is installed in the root of a small
# Debian, upgraded over a configuration that somebody changed, removed and purged;
# apt finds all that it asks for; the rpm is looked into, unpacked and erased. Takes
# half a minute, and one more on a new machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/debian-root.sh"
cd "$here/.."

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
[ "$(id -u)" = 0 ] || die 'run it as root: it installs into a root directory of its own'

small_root() { debian root.tar --variant=essential --include=man-db; }

# have ROOT wants the package's files below ROOT, each with its mode.
have() {
	while read -r h_mode h_path; do
		h_got=$(stat -c %a "$1/$h_path") || die "$h_path isn't there"
		[ "$h_got" = "$h_mode" ] || die "$h_path has mode $h_got; want $h_mode"
	done <<-'END'
		755 usr/bin/esxodus
		755 usr/lib/esxodus/lilo
		644 usr/share/man/man1/esxodus-convert.1.gz
		644 usr/share/man/man7/esxodus-configuration.7.gz
		644 usr/share/bash-completion/completions/esxodus
		644 usr/share/fish/vendor_completions.d/esxodus.fish
		644 usr/share/doc/esxodus/LICENSE
		644 usr/share/doc/esxodus/README.md
		644 etc/esxodus/config.yaml
	END
}

# gone ROOT wants none of the package's files below ROOT but its configuration.
gone() {
	g_left=$(find "$1/usr" -path '*esxodus*' -not -path '*/locale/*')
	[ -z "$g_left" ] || die "removed, but there are: $g_left"
}

# same A B wants the same text.
same() { [ "$1" = "$2" ] || die "got $1; want $2"; }

need mmdebstrap rpm rpm2cpio
"$here/setup.sh" build
"$here/setup.sh" package
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cached package-root "$(printf '%s man-db' "$release" | digest -)" small_root

make --no-print-directory build >/dev/null
want=$(bin/esxodus --version)
mkdir "$work/1" "$work/2" "$work/deb" "$work/rpm"
deb=$("$here/package.sh" deb "$work/1")
rpm=$("$here/package.sh" rpm "$work/1")
again=$("$here/package.sh" deb "$work/2")
cmp "$deb" "$again" || die 'the same tree gives two packages'

say 'the deb'
root=$work/deb
tar -C "$root" -xpf "$cache/package-root/root.tar"
cp "$deb" "$root/tmp/esxodus.deb"
# What it depends on is a hypervisor with a hundred packages: that they are there to be
# installed is asked of apt, below.
inside "$root" dpkg --force-depends --install /tmp/esxodus.deb >"$work/log" 2>&1 || die "$(cat "$work/log")"
have "$root"
[ -e "$root/usr/share/zsh/vendor-completions/_esxodus" ] || die 'no completion for zsh'
same "$(inside "$root" esxodus --version)" "$want"
inside "$root" esxodus config | grep -q 'configuration file /etc/esxodus/config.yaml' || die 'its configuration is not read'
inside "$root" man --warnings esxodus-batch 2>&1 | grep -q 'migrate the VMs of a saved plan' || die 'man finds no page'

sed -i 's/^#rate: .*/rate: 7M/' "$root/etc/esxodus/config.yaml"
mkdir -p "$root/var/lib/esxodus/vms/web"
inside "$root" dpkg --force-depends --install /tmp/esxodus.deb >"$work/log" 2>&1 || die "$(cat "$work/log")"
inside "$root" esxodus config convert | grep -q 'rate *7M (file' || die 'the upgrade has lost the configuration'
inside "$root" dpkg --remove esxodus >"$work/log" 2>&1 || die "$(cat "$work/log")"
gone "$root"
[ -e "$root/etc/esxodus/config.yaml" ] || die 'removing it took the configuration'
inside "$root" dpkg --purge esxodus >"$work/log" 2>&1 || die "$(cat "$work/log")"
[ ! -e "$root/etc/esxodus" ] || die 'purged, but its configuration is there'
[ -d "$root/var/lib/esxodus/vms/web" ] || die 'purging it took the journals'

# Each line of Depends and Recommends, on this machine's own system.
apt-get --simulate --install-recommends install "$deb" >"$work/log" 2>&1 || die "$(cat "$work/log")"
dpkg-deb -f "$deb" Recommends | tr ',' '\n' | while read -r name; do
	apt-cache show "$name" >/dev/null 2>&1 || die "Recommends: apt knows no $name"
done

say 'the rpm'
rpm -qp --qf '%{NAME} %{ARCH} %{LICENSE}\n' "$rpm" >"$work/log"
same "$(cat "$work/log")" 'esxodus x86_64 Apache-2.0'
same "$(rpm -qp --configfiles "$rpm")" /etc/esxodus/config.yaml
rpm -qp --requires "$rpm" | grep -qx 'libvirt-daemon-kvm' || die 'it asks for no libvirt'
rpm -qp --requires "$rpm" | grep -q '^libc.so.6(GLIBC_2' || die 'it asks for no C library'
rpm -qp --recommends "$rpm" | grep -qx '/usr/bin/guestfish' || die 'it recommends no guestfish'
root=$work/rpm
rpm --root "$root" --initdb
rpm --root "$root" --nodeps --install "$rpm" 2>"$work/log" || die "$(cat "$work/log")"
have "$root"
[ -e "$root/usr/share/zsh/site-functions/_esxodus" ] || die 'no completion for zsh'
rpm --root "$root" --nodeps --verify esxodus || die 'rpm finds it changed'
same "$("$root/usr/bin/esxodus" --version)" "$want"
sed -i 's/^#rate: .*/rate: 7M/' "$root/etc/esxodus/config.yaml"
rpm --root "$root" --nodeps --erase esxodus 2>"$work/log"
gone "$root"
grep -q '^rate: 7M' "$root"/etc/esxodus/config.yaml.rpmsave || die 'erasing it took the configuration that somebody changed'
say 'both are as they should be'
