# As debian, with dracut in place of initramfs-tools, and NetworkManager in place of
# ifupdown.
# shellcheck shell=sh disable=SC1091,SC2034,SC2154 # all of this is for guest-debian.sh
. "$here/guests/debian.sh"
number=7 disks=debian-dracut
proofs=pvscsi:vmxnet3

more_files() {
	packages_in root dracut network-manager
	printf 'auto lo\niface lo inet loopback\n' >root/etc/network/interfaces
	cat >root/etc/NetworkManager/system-connections/lan.nmconnection <<-END
		[connection]
		id=lan
		uuid=6e3b5a04-5a5b-4b4e-9d3c-0d2f5a1c0e57
		type=ethernet
		interface-name=ens192

		[ipv4]
		method=manual
		address1=$address/24,192.0.2.1

		[ipv6]
		method=disabled
	END
	chmod 600 root/etc/NetworkManager/system-connections/lan.nmconnection
	m_version=$(ls root/lib/modules)
	inside root dracut --quiet --force --no-hostonly --no-hostonly-cmdline --compress 'zstd -1' \
		"/boot/initrd.img-$m_version" "$m_version"
}
