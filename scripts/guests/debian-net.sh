# As debian, with all four ways to configure a network installed and two NICs, whose
# slots are in the other order: ethernet0 is ens224. ifupdown configures it until a
# test has another do so; NetworkManager and systemd-networkd are off.
# shellcheck shell=sh disable=SC1091,SC2034,SC2154 # all of this is for guest-debian.sh
. "$here/guests/debian.sh"
number=6 disks=debian-net slots='224 192'
proofs=pvscsi:vmxnet3

more_files() {
	packages_in root netplan.io network-manager
	rm -f root/etc/systemd/system/multi-user.target.wants/NetworkManager.service \
		root/etc/systemd/system/network-online.target.wants/NetworkManager-wait-online.service
	sed -i 's/ens192/ens224/' root/etc/network/interfaces
}
