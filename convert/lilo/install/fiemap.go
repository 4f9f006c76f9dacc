package install

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/fiemap.h says.
const (
	fsIocFiemap   = 0xc020660b // FS_IOC_FIEMAP
	fiemapHeader  = 32         // struct fiemap
	fiemapExtent  = 56         // struct fiemap_extent
	fiemapSync    = 1          // write the file first
	fiemapBatch   = 256        // extents of one call
	maxFileExtent = 1 << 18    // of one file

	extentLast      = 0x1
	extentUnknown   = 0x2
	extentDelalloc  = 0x4
	extentEncoded   = 0x8
	extentEncrypted = 0x80
	extentUnaligned = 0x100
	extentInline    = 0x200
	extentTail      = 0x400
	extentUnwritten = 0x800
)

// extent is a run of a file's bytes on its file system's device.
type extent struct {
	logical, physical, length uint64 // bytes
	flags                     uint32
}

// fiemap asks the file system where a file's bytes are.
func fiemap(f *os.File) ([]extent, error) {
	var all []extent
	buf := make([]byte, fiemapHeader+fiemapBatch*fiemapExtent)
	var from uint64
	for {
		clear(buf)
		binary.NativeEndian.PutUint64(buf, from)
		binary.NativeEndian.PutUint64(buf[8:], ^uint64(0)-from)
		binary.NativeEndian.PutUint32(buf[16:], fiemapSync)
		binary.NativeEndian.PutUint32(buf[24:], fiemapBatch)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&buf[0])))
		runtime.KeepAlive(buf)
		switch {
		case errors.Is(errno, unix.EOPNOTSUPP), errors.Is(errno, unix.ENOTTY):
			return nil, errors.New("its file system doesn't report where blocks are (FIEMAP): use ext2, ext3, ext4 or XFS for /boot")
		case errno != 0:
			return nil, fmt.Errorf("asking for its blocks (FIEMAP): %w", errno)
		}
		batch, last := parseExtents(buf)
		all = append(all, batch...)
		if last || len(batch) == 0 {
			return all, nil
		}
		next := batch[len(batch)-1].logical + batch[len(batch)-1].length
		if len(all) > maxFileExtent || next <= from {
			return nil, fmt.Errorf("it is in more than %d pieces: copy it again", maxFileExtent)
		}
		from = next
	}
}

// parseExtents reads the kernel's answer.
func parseExtents(buf []byte) (batch []extent, last bool) {
	n := min(binary.NativeEndian.Uint32(buf[20:]), fiemapBatch)
	for i := range int(n) {
		b := buf[fiemapHeader+i*fiemapExtent:]
		e := extent{
			logical:  binary.NativeEndian.Uint64(b),
			physical: binary.NativeEndian.Uint64(b[8:]),
			length:   binary.NativeEndian.Uint64(b[16:]),
			flags:    binary.NativeEndian.Uint32(b[40:]),
		}
		batch = append(batch, e)
		last = e.flags&extentLast != 0
	}
	return batch, last
}

// checkFlags refuses what isn't plain bytes of the file in whole blocks.
func (e extent) checkFlags() error {
	for _, c := range []struct {
		flag uint32
		text string
	}{
		{extentInline, "is kept in its inode, not in blocks of its own (inline_data): make it larger or copy it to another file system"},
		{extentTail, "shares a block with others: copy it to another file system"},
		{extentEncrypted, "is encrypted by the file system"},
		{extentEncoded, "is compressed or otherwise encoded by the file system"},
		{extentDelalloc, "has no place on the disk yet: run sync, then lilo again"},
		{extentUnaligned, "is not in whole blocks"},
		{extentUnknown, "has no known place on the disk"},
	} {
		if e.flags&c.flag != 0 {
			return fmt.Errorf("at byte %d it %s", e.logical, c.text)
		}
	}
	return nil
}

// run is a run of sectors of a disk or of a volume, or of zeros.
type run struct{ lba, count uint64 }

// hole is the lba of a run that is on no disk and reads as zeros.
const hole = math.MaxUint64

// sectorRuns turns extents into the runs of sectors, on the volume, that hold
// exactly size bytes, rounded up to a sector.
func sectorRuns(extents []extent, size int64) ([]run, error) {
	want := (uint64(size) + 511) / 512
	var runs []run
	var at uint64 // sectors of the file so far
	for _, e := range extents {
		if at == want {
			break // blocks beyond the end of the file
		}
		if err := e.checkFlags(); err != nil {
			return nil, err
		}
		if e.logical < at*512 || e.logical%512 != 0 {
			return nil, fmt.Errorf("its blocks overlap at byte %d", e.logical)
		}
		if gap := min(e.logical/512, want) - at; gap > 0 {
			runs = appendRun(runs, run{hole, gap})
			at += gap
		}
		if e.physical%512 != 0 || e.length%512 != 0 || e.length == 0 {
			return nil, fmt.Errorf("at byte %d it is not in whole sectors", e.logical)
		}
		n := min(e.length/512, want-at)
		where := e.physical / 512
		if e.flags&extentUnwritten != 0 {
			where = hole
		}
		if n > 0 {
			runs = appendRun(runs, run{where, n})
		}
		at += n
	}
	if at < want {
		runs = appendRun(runs, run{hole, want - at})
	}
	return runs, nil
}

// appendRun adds a run, to the last one where it goes on from there.
func appendRun(runs []run, r run) []run {
	n := len(runs)
	if n == 0 {
		return append(runs, r)
	}
	last := &runs[n-1]
	both := last.lba == hole && r.lba == hole
	if both || last.lba != hole && last.lba+last.count == r.lba {
		last.count += r.count
		return runs
	}
	return append(runs, r)
}

// onDisk turns runs on a volume into runs on the one disk below it.
func (v *volume) onDisk(runs []run) ([]run, *Disk, error) {
	var out []run
	var disk *Disk
	for _, r := range runs {
		if r.lba == hole {
			out = appendRun(out, r)
			continue
		}
		for r.count > 0 {
			p, ok := v.piece(r.lba)
			if !ok {
				return nil, nil, fmt.Errorf("sector %d of %s is not on a disk", r.lba, v.name)
			}
			if disk != nil && p.disk != disk {
				return nil, nil, fmt.Errorf("it is partly on %s and partly on %s: the loader reads only one disk; move the volume with pvmove", disk, p.disk)
			}
			disk = p.disk
			n := min(r.count, p.start+p.count-r.lba)
			out = appendRun(out, run{p.lba + r.lba - p.start, n})
			r = run{r.lba + n, r.count - n}
		}
	}
	if disk == nil {
		return nil, nil, errors.New("it is one hole, and not on a disk")
	}
	return out, disk, nil
}

func (v *volume) piece(sector uint64) (piece, bool) {
	for _, p := range v.pieces {
		if sector >= p.start && sector-p.start < p.count {
			return p, true
		}
	}
	return piece{}, false
}
