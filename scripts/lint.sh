#!/bin/sh
# Usage: scripts/lint.sh
#
# Lints the checkout: gofumpt and golangci-lint with .golangci.yml, go mod
# tidy, shellcheck. scripts/setup.sh lint installs what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

case ${1-} in
'') ;;
*)
	usage
	exit 64
	;;
esac
lint=$cache/golangci-lint/bin/golangci-lint
need shellcheck "$lint"
PATH=$(dirname "$("$here/go.sh" --check)"):$PATH

# It keeps what it found by a file's path in the checkout: two checkouts with one such
# cache get each other's findings.
GOLANGCI_LINT_CACHE=$cache/lint/$(pwd | cksum | tr ' ' -)
export GOLANGCI_LINT_CACHE

go mod tidy -diff || die 'go.mod is not tidy: run go mod tidy'
"$lint" fmt --diff
"$lint" run --build-tags libvirt_dlopen ./...
git ls-files scripts .ci ':!*.yaml' | while read -r file; do
	case $(head -n 1 "$file") in
	'#!'*sh | '# '*) printf '%s\0' "$file" ;;
	esac
done | xargs -0 shellcheck -x -P SCRIPTDIR
say clean
