#!/bin/sh
# Usage: scripts/test-report.sh [ARGUMENT]...
#
# Opens the reports of `esxodus plan --html` in a browser, as a person does: they
# load nothing, search and filters work, also by keyboard, axe-core finds nothing to
# complain of, in light and dark. Pictures of them, and the print, are left in the
# cache's directory report, to be looked at.
#
# ARGUMENTs go to go test. scripts/setup.sh report installs what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

case ${1-} in
-h | --help)
	usage
	exit 0
	;;
esac
"$here/setup.sh" build
"$here/setup.sh" report
ESXODUS_NEED_TOOLS=1 ESXODUS_TESTS=report
ESXODUS_AXE=$cache/axe-core/axe.min.js
ESXODUS_PICTURES=$cache/report
export ESXODUS_NEED_TOOLS ESXODUS_TESTS ESXODUS_AXE ESXODUS_PICTURES
mkdir -p "$ESXODUS_PICTURES"
"$here/go.sh" test -count=1 -vet=off -tags libvirt_dlopen -run TestInBrowser -v "$@" ./convert/report
say "the pictures are in $ESXODUS_PICTURES"
