package install

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
)

// attempts is how often sector 0 is written if something else puts an old one
// back.
const attempts = 5

const (
	fiFreeze = 0xc0045877 // FIFREEZE
	fiThaw   = 0xc0045878 // FITHAW
)

// errLost says that sector 0 doesn't have what was written to it.
var errLost = errors.New("sector 0 was overwritten by something else")

// writeBoot writes sector 0 and then, where they are stage 2's, sectors 2 to 7.
// switched is true from when the new boot sector may be on the disk.
func (in *installer) writeBoot(ctx context.Context, boot []byte) (switched bool, err error) {
	if err := in.backup(); err != nil {
		return false, err
	}
	if in.layout.plain {
		return in.writePlain(boot)
	}
	disk, err := in.sys.direct(in.disk, os.O_RDWR)
	if err != nil {
		return false, fmt.Errorf("the boot disk: %w", err)
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	for range attempts {
		var tried bool
		tried, err = in.writeLocked(ctx, disk, boot)
		switched = switched || tried
		if !errors.Is(err, errLost) {
			return switched, err
		}
		in.o.Log.Warn("%s: %v; writing it again", in.disk, err)
	}
	return switched, fmt.Errorf("%s: %w, %d times: which program writes to it?", in.disk, err, attempts)
}

// writeLocked does it once, under LVM's lock, and looks again without it.
func (in *installer) writeLocked(ctx context.Context, disk *direct, boot []byte) (switched bool, err error) {
	wait, cancel := context.WithTimeoutCause(ctx, in.o.LockWait, fmt.Errorf("not free within %v", in.o.LockWait))
	defer cancel()
	lock, err := in.sys.lockGroup(wait, in.dirVol.group, func(s string) { in.o.Log.Alert("%s", s) })
	if err != nil {
		return false, err
	}
	switched, err = in.writeSectors(disk, boot)
	if err := errors.Join(err, lock.release()); err != nil {
		return switched, err
	}
	return switched, check(disk, boot)
}

// writeSectors writes under the lock. Sector 1 is LVM's and never written.
func (in *installer) writeSectors(disk *direct, boot []byte) (switched bool, err error) {
	head, err := disk.read(0, lowSectors)
	if err != nil {
		return false, err
	}
	// The layout may be another since it was examined.
	now, err := examine(in.disk, head, in.dirVol)
	if err != nil {
		return false, err
	}
	if now != in.layout {
		return false, fmt.Errorf("%s has become another physical volume meanwhile: run lilo again", in.disk)
	}
	head = bytes.Clone(head)
	if err := disk.write(0, boot); err != nil {
		return true, err
	}
	if err := check(disk, boot); err != nil {
		return true, err
	}
	stage2 := lilo.Stage2()
	if !in.layout.low || bytes.Equal(head[lilo.Stage2Sector*512:], stage2) {
		return true, nil
	}
	in.o.Log.Note(1, "Sectors %d to %d get a new stage 2", lilo.Stage2Sector, lowSectors-1)
	if err := disk.write(lilo.Stage2Sector, stage2); err != nil {
		return true, err
	}
	got, err := disk.read(lilo.Stage2Sector, lilo.Stage2Sectors)
	if err == nil && !bytes.Equal(got, stage2) {
		err = fmt.Errorf("%s: sectors %d to %d don't have what was written to them; the loader uses its copy in the map", in.disk, lilo.Stage2Sector, lowSectors-1)
	}
	return true, err
}

// check reads sector 0 back.
func check(disk *direct, boot []byte) error {
	got, err := disk.read(0, 1)
	if err == nil && !bytes.Equal(got, boot) {
		err = errLost
	}
	return err
}

// writePlain writes sector 0 where a mounted ext file system has its superblock
// in the same block: through the cache that the file system uses too, so that
// it doesn't write the old sector back; and then freezes it for an instant,
// which empties its journal, where the old sector may be as well: after a power
// cut it would come back.
func (in *installer) writePlain(boot []byte) (switched bool, err error) {
	f, err := in.sys.open(in.disk, os.O_RDWR)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) {
		return false, fmt.Errorf("%s: %w: this kernel doesn't let mounted disks be written; boot it once with bdev_allow_write_mounted=1", in.disk, err)
	}
	if err != nil {
		return false, fmt.Errorf("the boot disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(boot, 0); err != nil {
		return true, fmt.Errorf("writing %s, sector 0: %w", in.disk, err)
	}
	if err := f.Sync(); err != nil {
		return true, fmt.Errorf("flushing %s: %w", in.disk, err)
	}
	if err := in.freeze(); err != nil {
		return true, err
	}
	if err := check(in.direct, boot); err != nil {
		return true, fmt.Errorf("%s: %w", in.disk, err)
	}
	return true, nil
}

// freeze freezes and thaws the map's file system. Nothing may come between the
// two: everything that writes would stand still.
func (in *installer) freeze() error {
	dir, err := os.Open(filepath.Dir(in.cfg.Map))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read
	fd := int(dir.Fd())
	if err := unix.IoctlSetInt(fd, fiFreeze, 0); err != nil {
		return fmt.Errorf("freezing the file system of %s, so that its journal holds no old boot sector: %w; the new one is written, and may be lost if the power fails now", dir.Name(), err)
	}
	if err := unix.IoctlSetInt(fd, fiThaw, 0); err != nil {
		return fmt.Errorf("thawing the file system of %s: %w: run fsfreeze -u on its mount point at once", dir.Name(), err)
	}
	return nil
}

// backup keeps a boot sector that isn't LILO's, as LILO does: once, unless
// force-backup= says each time. There is none on a disk that esxodus made.
func (in *installer) backup() error {
	sector, err := in.direct.read(0, 1)
	if err != nil {
		return err
	}
	if _, ok := lilo.MapHeader(sector); ok || bytes.Equal(sector, make([]byte, 512)) {
		return nil
	}
	name, info, err := in.backupFile()
	switch {
	case err != nil:
		return fmt.Errorf("a copy of the old boot sector: %w", err)
	case info != nil && !in.cfg.ForceBackup:
		in.o.Log.Note(1, "%s exists: no copy of the old boot sector is made", name)
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("a copy of the old boot sector: %w", err)
	}
	_, err = f.Write(sector)
	if info == nil || info.Mode().IsRegular() { // /dev/null can't be synced
		err = errors.Join(err, f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("a copy of the old boot sector: %w", err)
	}
	in.o.Log.Note(1, "The old boot sector is kept in %s", name)
	return nil
}

// backupFile is where the old boot sector goes: the file or the device of
// backup=, boot.<device number> in its directory, or that beside the map. info
// is nil where nothing is there yet.
func (in *installer) backupFile() (name string, info fs.FileInfo, err error) {
	name = cmp.Or(in.cfg.Backup, filepath.Dir(in.cfg.Map))
	info, err = os.Stat(name)
	if err == nil && info.IsDir() {
		name = filepath.Join(name, fmt.Sprintf("boot.%02X%02X", in.disk.dev.major, in.disk.dev.minor))
		info, err = os.Stat(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil, nil
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeDevice == 0:
		return "", nil, fmt.Errorf("%s is not a file but %v: give backup= another path", name, info.Mode().Type())
	}
	return name, info, nil
}
