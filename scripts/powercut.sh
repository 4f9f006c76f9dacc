#!/bin/sh
# Usage: scripts/powercut.sh DIRECTORY LILO FILESYSTEM
#
# Runs LILO's command LILO, a static one, in the lab's virtual machine (see
# scripts/lab) on a disk whose every write is logged, and leaves in DIRECTORY:
#
#   disk       the disk as it is at the end: one physical volume, /boot on the
#              file system FILESYSTEM (ext4, ext2, xfs) in a logical volume; or
#              (plain) ext4 on the bare disk
#   log        all writes and flushes, in the format of dm-log-writes
#
# The disk's last sector tells what went on: "mark: begin" before LILO switches
# from a first map, whose kernel's command line has map=old, to a second one
# with map=new, and other marks after it. A test rebuilds from it the disk as a
# power cut at any instant would have left it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

[ $# = 3 ] || {
	usage >&2
	exit 64
}
[ "$(id -u)" = 0 ] || die 'must be run by root'
need qemu-system-x86_64 mke2fs
out=$(cd "$1" && pwd) lilo=$2 fs=$3
kernel=$("$here/kernel.sh")
lab=$("$here/lab-image.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir -p "$work/payload/files"
cp "$here/lab-init" "$work/payload/init"
cp "$lilo" "$work/payload/files/lilo"
cp "$kernel/vmlinuz" "$work/payload/files/vmlinuz"
cp "$lab/initrd.img" "$work/payload/files/initrd.img"
cat >"$work/payload/run" <<END
set -eux
disk=\${ESXODUS_LAB_DISKS% }
fs=$fs
END
cat >>"$work/payload/run" <<'END'
mark() {
	sync
	printf '%-512s' "mark: $1" | dd of="$disk" bs=512 count=1 oflag=direct conv=notrunc status=none \
		seek=$(($(blockdev --getsz "$disk") - 1))
}
config() {
	cat >/mnt/lilo.conf <<-EOC
		boot=/dev/sda
		map=/mnt/map
		prompt
		timeout=5
		serial=0,115200n8
		append="console=ttyS0 panic=-1 no_timer_check map=$1"
		image=/mnt/vmlinuz
		    label=Linux
		    initrd=/mnt/initrd.img
		image=/mnt/vmlinuz.old
		    label=LinuxOLD
		    initrd=/mnt/initrd.img.old
		    optional
		image=/mnt/last/vmlinuz
		    label=LastResort
		    initrd=/mnt/last/initrd.img
		    last-resort
	EOC
}
device=/dev/vgt/boot
if [ "$fs" = plain ]; then
	device=$disk
	mkfs.ext4 -q -b 4096 "$disk" 32000 # not up to the marks
else
	pvcreate -qy "$disk"
	vgcreate -qy vgt "$disk"
	lvcreate -qy -l 100%FREE -n boot vgt
	mkfs -t "$fs" "$device"
fi
mount "$device" /mnt
cp --sparse=never vmlinuz initrd.img /mnt
config old
./lilo -C /mnt/lilo.conf -v
mark first

# A kernel upgrade: new files, the old ones with their names for old ones.
cp --sparse=never vmlinuz /mnt/vmlinuz.new
cat initrd.img initrd.img >/mnt/initrd.new
ln /mnt/vmlinuz /mnt/vmlinuz.old
ln /mnt/initrd.img /mnt/initrd.img.old
mv /mnt/vmlinuz.new /mnt/vmlinuz
mv /mnt/initrd.new /mnt/initrd.img
config new
# What is in sectors 2 to 7 is as of another version of the loader; or else the
# journal gets the block that sector 0 is in.
[ "$fs" != plain ] || e2label "$disk" new
[ "$fs" = plain ] || head -c 3072 vmlinuz | dd of="$disk" bs=512 seek=2 oflag=direct conv=notrunc status=none
mark begin
./lilo -C /mnt/lilo.conf -v
mark switched
./lilo -C /mnt/lilo.conf -R LinuxOLD one=shot
mark oneshot
./lilo -C /mnt/lilo.conf
mark again
# The start of the new kernel makes it the last resort.
echo BOOT_IMAGE=Linux >/tmp/cmdline
mount --bind /tmp/cmdline /proc/cmdline
./lilo -C /mnt/lilo.conf --booted -v
umount /proc/cmdline
cmp /mnt/last/initrd.img /mnt/initrd.img
mark renewed
umount /mnt
mark end
END
truncate -s 128M "$work/payload.img"
mke2fs -q -t ext4 -O ^has_journal -d "$work/payload" "$work/payload.img"
rm -f "$out/disk" "$out/log"
size=128M
[ "$fs" != xfs ] || size=384M # mkfs.xfs makes none below 300
truncate -s "$size" "$out/disk"
: >"$out/log"
timeout 1800 "$here/emulate" --up "$work/status" up --log "$out/qemu" -- -machine q35 -cpu max -m 1024 \
	-nodefaults -no-reboot -display none -nic none -serial "file:$out/console" \
	-device virtio-rng-pci -device virtio-serial-pci \
	-chardev "file,id=output,path=$out/output" -device virtserialport,chardev=output,name=output \
	-chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,name=status \
	-kernel "$kernel/vmlinux" -initrd "$lab/initrd.img" \
	-append 'console=ttyS0 quiet panic=-1 no_timer_check mitigations=off root=LABEL=lab-root rw init=/sbin/lab-init' \
	-drive "if=none,id=root,format=raw,snapshot=on,file=$lab/root.img" -device virtio-blk-pci,drive=root,serial=root \
	-drive "if=none,id=payload,format=raw,cache=unsafe,file=$work/payload.img" -device virtio-blk-pci,drive=payload,serial=payload \
	-blockdev "driver=file,node-name=disk,filename=$out/disk" -blockdev "driver=file,node-name=log,filename=$out/log" \
	-blockdev driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512 \
	-device virtio-blk-pci,drive=logged,serial=blank1,write-cache=on </dev/null || {
	tail -n 20 "$out/qemu" "$out/console" >&2
	die 'the virtual machine failed'
}
status=$(sed -n 2p "$work/status" 2>/dev/null || :)
[ "$status" = 0 ] || {
	tail -n 30 "$out/qemu" "$out/console" "$out/output" >&2
	die "the commands in the virtual machine failed with status ${status:-none: it died}"
}
