# GPT with a BIOS boot partition, where GRUB's core lies, and a volume group with
# an XFS root (/boot is in it) and swap. VMware's own tools are on it, by files
# of their names and the record that their installer keeps of them.
# shellcheck shell=sh disable=SC2034 # all of this is for guest-debian.sh
number=2 release=bookworm sets='bios lvm xfs' disks=debian-xfs controller=pvscsi root_type=xfs
proofs=pvscsi:vmxnet3
resume=/dev/mapper/debian--xfs--vg-swap_1

fstab() {
	echo '/dev/mapper/debian--xfs--vg-root / xfs defaults 0 0'
	echo '/dev/mapper/debian--xfs--vg-swap_1 none swap sw 0 0'
}

# volumes DEVICE
volumes() {
	tool pvcreate -y "$1"
	tool vgcreate debian-xfs-vg "$1"
	tool lvcreate -y -an -Zn -Wn -L 2560m -n root debian-xfs-vg
	tool lvcreate -y -an -Zn -Wn -L 512m -n swap_1 debian-xfs-vg
}

make_disks() {
	printf '%s\n' 'label: gpt' 'size=1MiB, type=21686148-6449-6E6F-744E-656564454649' 'type=V' |
		disk debian-xfs 4096
	layout debian-xfs-vg volumes debian-xfs:2
	xfs root.img "$(volume_size root)" "$(uuid 1)" root
	into_volume root.img root
	swap swap.img "$(volume_size swap_1)" "$(uuid 2)"
	into_volume swap.img swap_1
}

# tools_file PATH [TIME] adds to the record a file that is there, with the time
# that the installer noted; it is the right one if none is given.
tools_file() { echo "file $1 ${2-$(stat -c %Y "root$1")}"; }

more_files() {
	t_lib=/usr/lib/vmware-tools t_etc=/etc/vmware-tools
	mkdir -p "root$t_lib/bin64" "root$t_lib/plugins64/vmsvc" "root$t_etc" root/etc/X11
	for t_file in "$t_lib/bin64/appLoader" "$t_lib/plugins64/vmsvc/libguestInfo.so" "$t_etc/poweron-vm-default" \
		"$t_etc/tools.conf" "$t_etc/vm-support" /etc/pam.d/vmtoolsd /etc/X11/xorg.conf /usr/sbin/mount.vmhgfs \
		/etc/udev/rules.d/99-vmware-scsi-udev.rules /usr/bin/vmware-uninstall-tools.pl; do
		echo "# of VMware's tools: $t_file" >"root$t_file"
	done
	ln -s "$t_lib/bin64/appLoader" root/usr/sbin/vmtoolsd
	printf '%s\n' '#!/bin/sh' '### BEGIN INIT INFO' '# Provides: vmware-tools' '# Required-Start:' '# Required-Stop:' \
		'# Default-Start: 2 3 4 5' '# Default-Stop: 0 6' '# Short-Description: VMware Tools' '### END INIT INFO' >root/etc/init.d/vmware-tools
	chmod 755 root/etc/init.d/vmware-tools
	for t_level in 2 3 4 5; do
		ln -s ../init.d/vmware-tools "root/etc/rc$t_level.d/S03vmware-tools"
	done
	{
		echo 'answer BINDIR /usr/bin'
		printf 'directory %s\n' "$t_etc" "$t_lib" "$t_lib/bin64" "$t_lib/plugins64" "$t_lib/plugins64/vmsvc" /etc/X11
		echo "file $t_etc/locations"
		tools_file "$t_etc/not_configured" 1400000000
		echo "remove_file $t_etc/not_configured"
		tools_file "$t_etc/poweron-vm-default"
		tools_file "$t_etc/tools.conf" 1400000000 # edited since
		tools_file "$t_etc/vm-support"
		tools_file "$t_lib/bin64/appLoader"
		tools_file "$t_lib/plugins64/vmsvc/libguestInfo.so"
		tools_file /etc/pam.d/vmtoolsd
		tools_file /etc/init.d/vmware-tools
		tools_file /etc/udev/rules.d/99-vmware-scsi-udev.rules
		tools_file /etc/X11/xorg.conf
		tools_file /sbin/mount.vmhgfs
		tools_file /usr/bin/vmware-uninstall-tools.pl
		echo 'file /usr/sbin/vmtoolsd'
		echo 'answer RESTORE_BACK_LIST XORG'
	} >"root$t_etc/locations"
}
