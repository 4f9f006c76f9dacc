// Package install writes LILO's map and boot sector: it finds where on the boot
// disk kernels and initrds lie, proves that by reading them from there, and
// switches from the old map to the new one with one write of sector 0. Nothing
// but the kernel's own interfaces is used: FIEMAP, device-mapper's tables, sysfs.
//
// Words: a volume is the block device that a file system is on; its pieces are
// where it lies on disks. A disk is a whole one, without anything below it. A
// file is mapped when the runs of its sectors on a disk are known.
//
// The order of an installation, which the power may end at any point:
//
//  1. every kernel and initrd is mapped and compared, block by block, with what
//     its disk has, past all caches;
//  2. the new map is written as a file of its own beside the old one (map~),
//     flushed, mapped, and compared in the same way; then the loader's whole way
//     is followed as it will be ([lilo.Verify]);
//  3. sector 0 is written, under LVM's lock of the volume group, flushed and read
//     back: until then the old map boots, from then on the new one, with the
//     stage 2 that is in it;
//  4. sectors 2 to 7 get stage 2, if they have another one;
//  5. map~ is renamed to map, which frees the old map's blocks. Where the power
//     went before that, the next run does it first. So it is with the copies that are
//     the last resort: .new beside the old ones until the map that has them boots.
//
// Run with IfChanged it writes nothing if the map, byte for byte, and sector 0 would
// come out as they are: so it may run whenever something may have changed.
package install
