# As debian, with lvm2 installed, as many guests have it: what it takes to convert one
# that hasn't is what the tests show.
# shellcheck shell=sh disable=SC1091,SC2034,SC2154 # all of this is for guest-debian.sh
. "$here/guests/debian.sh"
number=8 sets='bios lvm' disks=debian-demo
