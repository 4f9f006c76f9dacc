#!/bin/sh
# Usage: scripts/package.sh deb|rpm [DIR]
#
# Packs what `make install` installs into DIR/esxodus… (default: bin), with nfpm and
# scripts/package/nfpm.yaml, and prints the file's name. bin/esxodus must be built.
# What was committed at one time gives the same bytes again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

# version prints the version: the tag v1.2, what came after it, or, where there is no
# tag, the day and the commit, which sorts before any.
version() {
	v_dirty=$(git describe --always --dirty | sed -n 's/.*-dirty$/+dirty/p')
	if v_tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
		printf '%s%s\n' "$v_tag" "$v_dirty" | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/; s/-/~/g'
		return
	fi
	git log -1 --date=format:%Y%m%d --format="0~git%cd.%h$v_dirty"
}

# libc prints the newest version of glibc of which the program FILE uses anything.
libc() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | cut -d_ -f2 | sort -V | tail -n 1; }

case ${1-} in
deb | rpm) kind=$1 ;;
*)
	usage >&2
	exit 64
	;;
esac
into=$(realpath "${2-bin}")
need objdump
for file in bin/esxodus bin/lilo; do
	[ -x "$file" ] || die "$file is not built: run make build"
done
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
VERSION=$(version)
LIBC=$(libc bin/esxodus)
[ -n "$LIBC" ] || die 'bin/esxodus names no version of glibc: is it built with the Makefile?'
export SOURCE_DATE_EPOCH STAGE VERSION LIBC
umask 022
make --silent --no-print-directory files DESTDIR="$STAGE" PREFIX=/usr
find "$STAGE/usr/share/man" -type f -exec gzip -9n {} +
find "$STAGE" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
"$cache/nfpm/bin/nfpm" package --config scripts/package/nfpm.yaml --packager "$kind" --target "$into" | sed -n 's/^created package: //p'
