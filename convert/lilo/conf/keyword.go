package conf

// fate is what becomes of a keyword.
type fate int

const (
	used    fate = iota
	ignored      // makes no difference
	warned       // is lost
	refused
)

// Where a keyword may stand.
const (
	global = 1 << iota
	image
	both = global | image
)

// Whether a keyword has a value.
type arity int

const (
	never arity = iota
	always
	maybe
)

// keyword is what the parser knows of a word.
type keyword struct {
	fate  fate
	where int
	value arity
	why   string // of warned and refused, for people
}

// reasons of what several keywords share.
const (
	noGeometry = "disks are addressed only by sector numbers"
	noDrives   = "the loader boots from the disk that it is on, whatever number the BIOS gives it"
	noPictures = "there are no pictures: the menu is text"
	noChain    = "this LILO boots only Linux images, not the boot sectors of other systems"
)

// keywords returns all keywords of LILO 24.
func keywords() map[string]keyword {
	words := map[string]keyword{
		"boot": {where: global, value: always}, "map": {where: global, value: always},
		"default": {where: global, value: always}, "timeout": {where: global, value: always},
		"delay": {where: global, value: always}, "prompt": {where: global},
		"serial": {where: global, value: always}, "message": {where: global, value: always},
		"backup": {where: global, value: always}, "force-backup": {where: global, value: always},
		"verbose": {where: global, value: always}, "nowarn": {where: global},

		"root": {where: both, value: always}, "append": {where: both, value: always},
		"literal": {where: both, value: always}, "initrd": {where: both, value: always},
		"read-only": {where: both}, "read-write": {where: both}, "vga": {where: both, value: always},
		"optional": {where: both}, "password": {where: both, value: always},
		"restricted": {where: both}, "mandatory": {where: both}, "bypass": {where: image},
		"single-key": {where: both}, "lock": {where: both}, "fallback": {where: both, value: always},

		"addappend": {where: image, value: always},
		"label":     {where: image, value: always}, "alias": {where: image, value: always},
		"last-resort": {where: image}, // not LILO's

		"disk": {fate: warned, where: global, value: always, why: noDrives},
		"bios": {fate: warned, where: global, value: always, why: noDrives},
	}
	add := func(f fate, where int, value arity, why string, names ...string) {
		for _, name := range names {
			words[name] = keyword{fate: f, where: where, value: value, why: why}
		}
	}
	add(ignored, global, never, "", "lba32", "compact", "large-memory", "static-bios-codes",
		"nodevcache", "ignore-table", "unattended", "noraid", "suppress-boot-time-bios-data", "el-torito-bootable-cd")
	add(ignored, global, always, "", "install", "menu-title", "menu-scheme")
	add(ignored, global, maybe, "", "bios-passes-dl")

	add(warned, global, never, noGeometry, "linear", "geometric", "fix-table")
	add(warned, global, always, noGeometry, "disktab", "sectors", "heads", "cylinders", "partition", "start", "max-partitions")
	add(warned, global, never, noDrives, "inaccessible")
	add(warned, global, never, "the loader needs memory above 1 MiB, as any kernel does", "small-memory")
	add(warned, global, always, noPictures, "bitmap", "bmp-colors", "bmp-table", "bmp-timer")
	add(warned, both, never, noPictures, "bmp-retain")
	add(warned, global, always, "no image is left out in a virtual machine: default= is what boots", "vmdefault")
	add(warned, image, never, "no image is left out in a virtual machine", "vmdisable", "vmwarn")
	add(warned, global, always, "nobody looks for a keyboard: default= is what boots", "nokbdefault")
	add(warned, image, never, "no image is left out for want of a keyboard", "nokbdisable")
	add(warned, global, always, "the keyboard is as the BIOS has it", "keytable")
	add(warned, both, always, "kernels take their RAM disk from initrd=", "ramdisk")

	add(refused, both, maybe, noChain, "other", "loader", "table", "change", "change-rules", "reset", "set", "type", "normal",
		"hidden", "automatic", "activate", "deactivate", "map-drive", "to", "boot-as", "master-boot", "unsafe")
	add(refused, both, maybe, "the disk with the boot sector is one disk, not a RAID array", "raid-extra-boot")
	add(refused, both, maybe, "an image is a file; a range of a device can't be checked", "range")
	return words
}
