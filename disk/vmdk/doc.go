// Package vmdk reads VMware's virtual disks: a [Descriptor] and the extent
// files that it names, as one [disk.Image].
//
// Words, as in VMware's "Virtual Disk Format 5.0": a disk is described by a
// descriptor, a text of its own or embedded in the only extent. A flat extent
// is the bytes themselves. A sparse extent keeps them in grains; a grain
// table says in which sector of the file each grain is, and the grain
// directory where the tables are. In a streamOptimized extent each grain is
// compressed behind a marker, and the directory stands in a footer at the end
// (as ESXi writes it) or at the front (as qemu-img does).
//
// A snapshot holds the grains that were written since it was made, and its descriptor
// names the disk that has the rest: its parent, which may be a snapshot as well. The
// image of such a chain is the disk as the VM sees it. What a parent's file holds alone
// is stale; that the chain is the right one is shown by the content ids (CID), which
// change with the first write.
//
// All of it is hostile input. Whatever a file says is checked against its size
// before anything is allocated or read by it, and a file that can't be right
// gives an error wrapping [ErrFormat] that says where, never other bytes than
// the disk's. What is understood but not read (raw device mappings, say)
// gives one wrapping [ErrUnsupported] that says what to do.
package vmdk

import "errors"

var (
	// ErrFormat is wrapped by errors about files that are no VMDK, or broken.
	ErrFormat = errors.New("malformed VMDK")
	// ErrUnsupported is wrapped by errors about disks that this package
	// doesn't read.
	ErrUnsupported = errors.New("unsupported VMDK")
	// ErrObject is wrapped, beside ErrUnsupported, by errors about disks whose data no
	// file has: objects on vSAN and on virtual volumes.
	ErrObject = errors.New("its data are an object")
)

const (
	sectorSize = 512
	// maxSectors is the largest disk taken: 64 TiB, VMware's own limit being 62.
	maxSectors = 64 << 40 / sectorSize
)
