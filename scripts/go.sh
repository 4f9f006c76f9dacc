#!/bin/sh
# Usage: scripts/go.sh [--check | ARGUMENT...]
#
# Runs the Go command that this checkout is built with: the machine's own, if it
# is new enough for go.mod, else the one that scripts/setup.sh fetched. --check
# prints its path, or says what is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$here/../go.mod")

# enough GO tells whether that Go is new enough. Inside the checkout a Go since
# 1.21 changes over to a newer version by itself, unless told not to.
enough() {
	have=$(cd "$here/.." && "$1" version 2>/dev/null | sed -n 's/.* go\([0-9]*\.[0-9]*\).*/\1/p') || :
	[ -n "$have" ] && printf '%s\n%s\n' "$want" "$have" | sort -V -C
}

for go in go "$cache/go/bin/go" /usr/local/go/bin/go; do
	go=$(command -v "$go") || continue # leaves it empty
	! enough "$go" || break
	go=
done
[ -n "$go" ] || die "no Go $want or newer; run scripts/setup.sh build"
if [ "${1-}" = --check ]; then
	printf '%s\n' "$go"
else
	exec "$go" "$@"
fi
