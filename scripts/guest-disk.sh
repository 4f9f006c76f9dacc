# The disks of the Debian guests: partitions, volume groups, file systems. To be
# sourced after lib.sh; all of it works in the current directory, on flat files,
# and in root/, the guest's root. The caller sets number, as guests/NAME.sh does.
# shellcheck shell=sh disable=SC2154

# own TOOL ARG... runs a tool of the guest's root without entering it, so that
# file systems come out as the guest's own release makes them.
own() {
	o_tool=$1
	shift
	MKE2FS_CONFIG=root/etc/mke2fs.conf root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 \
		--library-path root/usr/lib/x86_64-linux-gnu "root/usr/sbin/$o_tool" "$@"
}

# uuid N prints the guest's N-th UUID.
uuid() { printf 'deb1a512-%04d-4000-8000-%012d\n' "$number" "$1"; }

# disk NAME MIB makes NAME-flat.vmdk with the partitions that standard input
# gives to sfdisk.
disk() {
	truncate -s "$2M" "$1-flat.vmdk"
	sfdisk -q "$1-flat.vmdk"
}

# partition NAME N prints offset and size of a disk's N-th partition in bytes.
partition() {
	sfdisk -d "$1-flat.vmdk" |
		sed -n "s/^$1-flat.vmdk$2 : start= *\([0-9]*\), size= *\([0-9]*\),.*/\1 \2/p" |
		while read -r k_start k_size; do
			echo "$((k_start * 512)) $((k_size * 512))"
		done
}

# size OFFSET SIZE prints the second: size $(partition debian 1)
size() { echo "$2"; }

# put IMAGE SKIP LENGTH NAME OFFSET writes a part of an image to a disk. Zeros
# stay holes.
put() {
	dd if="$1" of="$4-flat.vmdk" bs=1M skip="$2" count="$3" seek="$5" \
		iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc,sparse status=none
}

# into_partition IMAGE NAME N puts an image where it belongs and removes it.
into_partition() {
	# shellcheck disable=SC2046 # two words
	set -- "$1" "$2" $(partition "$2" "$3")
	put "$1" 0 "$4" "$2" "$3"
	rm "$1"
}

# into_volume IMAGE LV does the same with a logical volume of the layout.
into_volume() {
	grep "^$2 " segments | while read -r _ v_start v_disk v_offset v_length; do
		put "$1" "$v_start" "$v_length" "$v_disk" "$v_offset"
	done
	rm "$1"
}

# volume_size LV prints the size of a logical volume of the layout in bytes.
volume_size() { awk -v lv="$1" '$1 == lv { sum += $5 } END { print sum }' segments; }

# ext TYPE IMAGE SIZE UUID DIR makes a file system with the files of DIR.
ext() {
	truncate -s "$3" "$2"
	own mke2fs -q -t "$1" -U "$4" -d "$5" -E root_owner=0:0,lazy_itable_init=0 "$2"
}

# xfs IMAGE SIZE UUID DIR does the same with XFS. It is filled by this machine's
# kernel, in a mount namespace of its own.
xfs() {
	truncate -s "$2" "$1"
	own mkfs.xfs -q -m "uuid=$3" "$1"
	mkdir mnt
	# shellcheck disable=SC2016 # the inner shell expands them
	unshare --mount sh -c 'mount -t xfs -o loop "$1" mnt && cp -a "$2/." mnt/ && umount mnt' sh "$1" "$4"
	rmdir mnt
}

# swap IMAGE SIZE UUID makes a swap area.
swap() {
	truncate -s "$2" "$1"
	mkswap -q -U "$3" "$1"
}

# lvm_conf [DEVICE...] prints a configuration for LVM where there is no udev; it
# sees only these devices, if any are given.
lvm_conf() {
	l_filter='"a|.*|"'
	if [ $# -gt 0 ]; then
		l_filter="$(printf '"a|^%s$|", ' "$@")\"r|.*|\""
	fi
	cat <<-END
		devices {
			dir = "/dev"
			scan = ["/dev"]
			filter = [$l_filter]
			global_filter = [$l_filter]
			use_devicesfile = 0
			obtain_device_list_from_udev = 0
			external_device_info_source = "none"
			hints = "none"
		}
		activation {
			udev_sync = 0
			udev_rules = 0
			monitoring = 0
		}
		backup {
			backup = 0
			archive = 0
		}
		global {
			locking_dir = "${LVM_SYSTEM_DIR-/run}/lock"
			event_activation = 0
			use_lvmpolld = 0
			system_id_source = "none"
		}
	END
}

# tool COMMAND ARG... runs one of LVM's commands without device-mapper. What it
# says about that is shown only when it fails.
tool() {
	t_command=$1
	shift
	lvm "$t_command" --driverloaded n "$@" 2>lvm.log || {
		cat lvm.log >&2
		die "lvm $t_command $*: see above"
	}
}

# layout VG FUNC NAME:N... calls FUNC with a loop device for each partition N of
# a disk NAME, to make the volume group VG with `tool`. Then it leaves in the
# file segments where each segment of a logical volume lies: the volume, the
# offset in it, the disk, the offset on it, the length; all in bytes. This
# machine's own LVM, its configuration and its locks aren't touched.
layout() (
	l_vg=$1 l_func=$2
	shift 2
	: >loops
	trap 'while read -r loop _; do losetup -d "$loop"; done <loops' EXIT
	for l_part; do
		l_disk=${l_part%:*}
		l_range=$(partition "$l_disk" "${l_part#*:}")
		l_loop=$(losetup --find --show --offset "${l_range% *}" --sizelimit "${l_range#* }" "$l_disk-flat.vmdk")
		echo "$l_loop $l_disk ${l_range% *}" >>loops
	done
	export LVM_SYSTEM_DIR="$PWD/lvm" LVM_SUPPRESS_FD_WARNINGS=1
	mkdir -p lvm/lock
	# shellcheck disable=SC2046 # one word each
	set -- $(cut -d' ' -f1 loops)
	lvm_conf "$@" >lvm/lvm.conf
	"$l_func" "$@" >/dev/null
	segments_of "$l_vg" >segments
	rm -r lvm lvm.log
)

# segments_of VG prints the lines of the file segments.
segments_of() {
	s_pe=$(tool vgs --noheadings --units b --nosuffix -o vg_extent_size "$1")
	tool lvs --noheadings --segments -o lv_name,seg_start_pe,seg_pe_ranges "$1" | while read -r s_lv s_start s_range; do
		s_loop=${s_range%:*} s_range=${s_range##*:}
		s_first=${s_range%-*} s_last=${s_range#*-}
		s_pe_start=$(tool pvs --noheadings --units b --nosuffix -o pe_start "$s_loop")
		grep "^$s_loop " loops | while read -r _ s_disk s_base; do
			echo "$s_lv $((s_start * s_pe)) $s_disk" \
				"$((s_base + s_pe_start + s_first * s_pe)) $(((s_last - s_first + 1) * s_pe))"
		done
	done
}
