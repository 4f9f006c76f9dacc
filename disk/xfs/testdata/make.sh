#!/bin/sh
# Usage: disk/xfs/testdata/make.sh
#
# Makes the images and manifests of this directory anew: in the lab (see
# scripts/lab), whose kernel mounts XFS of version 4 too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
CGO_ENABLED=0 go test -c -o "$work/xfs.test" ./disk/xfs
"$root/scripts/lab" run --file "$work/xfs.test" -- sh -c '
	mkdir testdata
	CI=1 ./xfs.test -test.run TestStored -update >log 2>&1 || { cat log; exit 1; }
	tar c testdata | base64' >"$work/out" || {
	cat "$work/out" >&2
	exit 1
}
base64 -d <"$work/out" | tar x -C "$here" --strip-components=1 --no-same-owner
