package install

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Magic numbers of file systems, of statfs(2), whose blocks move or have no one
// place on a disk.
const (
	magicBtrfs    = 0x9123683e
	magicBcachefs = 0xca451a4e
	magicF2FS     = 0xf2f52010
	magicNILFS    = 0x3434
	magicZFS      = 0x2fc12fc1
	magicOverlay  = 0x794c7630
	magicTmpfs    = 0x01021994
	magicExt      = 0xef53
)

const (
	fsIocGetflags = 0x80086601 // FS_IOC_GETFLAGS
	flagJournal   = 0x4000     // FS_JOURNAL_DATA_FL
)

// maxFile is how long a kernel or an initrd can be, in bytes: below 2 GiB, where
// the loader puts it.
const maxFile = 1<<31 - 1

// mapped is an open file and its place on a disk.
type mapped struct {
	path string
	file *os.File
	size int64
	time time.Time // of its last change, before it was mapped
	vol  *volume
	disk *Disk
	runs []run // sectors of disk
}

// mapper finds the places of files.
type mapper struct {
	resolver
	bus     Bus // the one that the disk will be on; Unknown takes the present one
	volumes map[device]*volume
}

func newMapper(sys *System, bus Bus) *mapper {
	return &mapper{
		resolver: resolver{sys: sys, tables: sys.table, disks: map[device]*Disk{}},
		bus:      bus, volumes: map[device]*volume{},
	}
}

// open opens a file and finds its place. The error wraps [fs.ErrNotExist] if
// there is no such file. The caller closes the file.
func (m *mapper) open(path string) (*mapped, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	mf, err := m.locate(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return mf, nil
}

// locate finds the place of an open file.
func (m *mapper) locate(f *os.File) (*mapped, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("it is not a regular file: %s", fi.Mode().Type())
	case fi.Size() == 0:
		return nil, errors.New("it is empty")
	case fi.Size() > maxFile:
		return nil, fmt.Errorf("%d bytes are more than the loader can read", fi.Size())
	}
	vol, err := m.volumeOf(f)
	if err != nil {
		return nil, err
	}
	// A file that was written a moment ago has no place before.
	if err := f.Sync(); err != nil {
		return nil, err
	}
	extents, err := fiemap(f)
	if err != nil {
		return nil, err
	}
	runs, err := sectorRuns(extents, fi.Size())
	if err != nil {
		return nil, err
	}
	runs, disk, err := vol.onDisk(runs)
	if err != nil {
		return nil, err
	}
	mf := &mapped{path: f.Name(), file: f, size: fi.Size(), time: fi.ModTime(), vol: vol, disk: disk, runs: runs}
	return mf, m.reachable(mf)
}

// reachable says whether the BIOS reads all of a file.
func (m *mapper) reachable(mf *mapped) error {
	if mf.disk.block != 512 {
		return fmt.Errorf("%s has logical sectors of %d bytes, which the BIOS doesn't boot from: give the disk sectors of 512 bytes (in libvirt: <blockio logical_block_size='512'/>)",
			mf.disk, mf.disk.block)
	}
	bus := m.bus
	if bus == Unknown {
		bus = mf.disk.bus
	}
	for _, r := range mf.runs {
		if limit := bus.limit(); limit > 0 && r.lba != hole && r.lba+r.count > limit {
			return fmt.Errorf("it lies beyond sector 2^32 (2 TiB) of %s, and the BIOS can't read a %s disk there: "+
				"put the disk on virtio-blk, or move the volume down with pvmove", mf.disk, bus)
		}
	}
	return nil
}

// volumeOf returns what the file's file system lies on.
func (m *mapper) volumeOf(f *os.File) (*volume, error) {
	var st unix.Stat_t
	var sfs unix.Statfs_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if err := unix.Fstatfs(int(f.Fd()), &sfs); err != nil {
		return nil, err
	}
	if name := unfit(uint32(sfs.Type)); name != "" {
		return nil, fmt.Errorf("it is on %s, where a file's blocks have no lasting place on a disk: put /boot on ext4 or XFS", name)
	}
	d := deviceOf(uint64(st.Dev))
	if d.major == 0 {
		return nil, fmt.Errorf("its file system (type %#x) is not on a block device: put /boot on ext4 or XFS", uint32(sfs.Type))
	}
	if journalled(f) || uint32(sfs.Type) == magicExt && m.sys.mountedWith(d, "data=journal") {
		return nil, errors.New("its data goes through the journal (data=journal): what is in its blocks may be old; remount without it, or chattr -j the file")
	}
	if v, ok := m.volumes[d]; ok {
		return v, nil
	}
	v, err := m.volume(d)
	if err != nil {
		return nil, err
	}
	m.volumes[d] = v
	return v, nil
}

// unfit names a file system that no loader can read by sectors.
func unfit(magic uint32) string {
	switch magic {
	case magicBtrfs:
		return "btrfs"
	case magicBcachefs:
		return "bcachefs"
	case magicF2FS:
		return "f2fs"
	case magicNILFS:
		return "nilfs2"
	case magicZFS:
		return "ZFS"
	case magicOverlay:
		return "an overlay"
	case magicTmpfs:
		return "tmpfs"
	}
	return ""
}

// journalled tells whether the file itself has data=journal.
func journalled(f *os.File) bool {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), fsIocGetflags)
	return err == nil && flags&flagJournal != 0
}

// mountedWith tells whether the file system on the device d is mounted with an
// option of its own. Where /proc is missing the comparison of all blocks has to
// do.
func (s *System) mountedWith(d device, option string) bool {
	if s.Proc == nil {
		return false
	}
	text, err := s.Proc.ReadFile("self/mountinfo")
	if err != nil {
		return false
	}
	scan := bufio.NewScanner(bytes.NewReader(text))
	for scan.Scan() {
		mount, super, _ := strings.Cut(scan.Text(), " - ")
		fields := strings.Fields(mount)
		if len(fields) < 3 || fields[2] != d.String() {
			continue
		}
		if slices.Contains(strings.Split(super[strings.LastIndexByte(super, ' ')+1:], ","), option) {
			return true
		}
	}
	return false
}

// missing tells whether an error is of a file that isn't there, or a link that
// leads nowhere.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// compare reads all sectors of a file from its disk, past all caches, and holds
// them against what the file has.
func (mf *mapped) compare(disk *direct) error {
	want := make([]byte, directSize)
	var at int64 // of the file, bytes
	for _, r := range mf.runs {
		for n := uint64(0); n < r.count; {
			step := min(r.count-n, directSize/512)
			got, err := r.read(disk, n, int(step))
			if err != nil {
				return err
			}
			file := want[:step*512]
			clear(file)
			if _, err := mf.file.ReadAt(file, at); err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s at byte %d: %w", mf.path, at, err)
			}
			if i := difference(got, file[:min(int64(len(file)), mf.size-at)]); i >= 0 {
				return fmt.Errorf("%s: byte %d of the file is not what sector %d of %s has, where its file system says that it is: "+
					"nothing was changed; run sync and lilo again, and if that doesn't help, copy the file again",
					mf.path, at+int64(i), r.lba+n+uint64(i)/512, mf.disk)
			}
			n += step
			at += int64(step) * 512
		}
	}
	return nil
}

// read reads sectors of the run, n from its start.
func (r run) read(disk *direct, n uint64, sectors int) ([]byte, error) {
	if r.lba == hole {
		return make([]byte, sectors*512), nil
	}
	return disk.read(r.lba+n, sectors)
}

// difference returns the first byte of want that got has not, or -1.
func difference(got, want []byte) int {
	if bytes.Equal(got[:len(want)], want) {
		return -1
	}
	for i := range want {
		if got[i] != want[i] {
			return i
		}
	}
	return -1
}
