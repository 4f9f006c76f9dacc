#!/bin/sh
# Usage: scripts/loader.sh [DIR]
#
# Assembles the boot loader's two stages from convert/lilo/loader/*.asm into DIR,
# by default beside their source, from where convert/lilo takes them. The same
# source gives the same bytes; a test of that package holds the tree to it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

case ${1-} in
-*)
	usage
	exit 64
	;;
esac
need nasm
source=${here%/*}/convert/lilo/loader
to=${1:-$source}
for stage in stage1 stage2; do
	nasm -Wall -Werror -f bin -I "$source/" -o "$to/$stage.bin.new" "$source/$stage.asm"
	mv "$to/$stage.bin.new" "$to/$stage.bin"
done
