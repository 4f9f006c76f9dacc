// Package lilo is the boot loader of guests that have no partition table: its
// two stages, the map that they follow, and the check from outside that all of
// it is right.
//
// Words: the boot disk is what the BIOS calls 80h; a sector is 512 bytes of it,
// named by its LBA. The map is a file (/boot/map) that holds everything the
// loader needs to know; it is found by LBA, never by name. A run is sectors
// that follow each other. A stream is a file or a text, given by a chain of
// list sectors that hold its runs. An image is what can be booted.
//
// # On the disk
//
// Stage 1 is sector 0. Its bytes 440 to 509 are zero, always: a partition table
// with one plausible entry makes the guest's kernel find a partition, and LVM
// then doesn't find its physical volume. It loads stage 2, six sectors, from
// sectors 2 to 7 (LVM's label is sector 1; 2 to 7 are free); if those don't
// have the sum that stage 1 wants, from the copy of it in the map. So the one
// write of sector 0 switches from the old map and loader to the new ones, and
// sectors 2 to 7 are written after it, in peace.
//
// # The map
//
// All numbers are little-endian; format.go has the offsets. In the file's order
// the sectors are: header; one-shot command line, and who left it; stage 2 (6);
// the rest of the loader, its overlay, with its list; the message with its list;
// for each image a descriptor, its command line with list, the lists of kernel
// and initrd; at the end the list of the map's own sectors, by which the file
// can be decoded without the disk.
//
// Header, one-shot, descriptors and lists end in a sum over their first 508
// bytes that starts from the map's id, so that a sector of an older map isn't
// taken for one of this. Streams have a sum in what refers to them. The loader
// checks every one of these sums, and boots the next image where one is wrong.
//
// # The loader
//
// Its source is in loader, assembled by scripts/loader.sh; a test holds the
// committed binary to it. What it decides by computing, where the initrd goes,
// is also written in Go ([Setup.Place]), and the tests that boot it hold one to
// the other.
package lilo
