package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
)

// mapFile is a new map on the disk.
type mapFile struct {
	path    string
	content []byte
	lbas    []uint64 // of its sectors
}

// write puts the new map beside the old one, switches to it and gives it its
// name.
func (in *installer) write(ctx context.Context, dir *os.File, menu *lilo.Menu) error {
	if err := in.adopt(dir); err != nil {
		return err
	}
	m, err := in.writeMap(menu)
	if err != nil {
		return errors.Join(err, remove(in.newName()))
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("%s: %w", dir.Name(), err)
	}
	boot, err := lilo.BootSector(m.content, m.lbas, in.layout.low)
	if err != nil {
		return err
	}
	if err := in.foresee(ctx, boot[:]); err != nil {
		return errors.Join(err, remove(in.newName()))
	}
	switched, err := in.writeBoot(ctx, boot[:])
	if err != nil {
		if !switched {
			err = errors.Join(err, remove(in.newName()))
		}
		return err
	}
	return in.rename(dir)
}

func (in *installer) newName() string { return in.cfg.Map + "~" }

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rename makes the new map the map. Its blocks stay where they are.
func (in *installer) rename(dir *os.File) error {
	if err := os.Rename(in.newName(), in.cfg.Map); err != nil {
		return fmt.Errorf("the new map is in use, and named wrongly: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("%s: %w", dir.Name(), err)
	}
	return nil
}

// adopt cares for the map~ of a run that was cut short: if sector 0 was written
// already, it is the map that boots, and what has the map's name is an old one.
func (in *installer) adopt(dir *os.File) error {
	f, err := os.OpenFile(in.newName(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s, of an earlier run: %w", in.newName(), err)
	}
	defer f.Close() //nolint:errcheck // only read
	sector, err := in.direct.read(0, 1)
	if err != nil {
		return err
	}
	header, ok := lilo.MapHeader(sector)
	mf, _ := in.mapper.locate(f) // nil of what no run has finished
	if !ok || mf == nil || mf.disk != in.disk || mf.runs[0].lba != header {
		return remove(in.newName())
	}
	in.o.Log.Note(1, "An earlier run was cut short after the boot sector was written: finishing it first")
	return in.rename(dir)
}

// writeMap writes the new map. Where its sectors are must be known before its
// content is: so it is written twice.
func (in *installer) writeMap(menu *lilo.Menu) (m *mapFile, err error) {
	n, err := lilo.Sectors(menu)
	if err != nil {
		return nil, err
	}
	if n > maxMap/lilo.SectorSize {
		return nil, fmt.Errorf("the new map would have %d sectors: the images are in too many pieces; copy them again", n)
	}
	m = &mapFile{path: in.newName()}
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the new map: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(make([]byte, n*lilo.SectorSize)); err != nil {
		return nil, fmt.Errorf("the new map: %w", err)
	}
	before, err := in.locateMap(f)
	if err != nil {
		return nil, err
	}
	m.lbas = before.sectors()
	if m.content, err = lilo.Encode(menu, m.lbas, in.content); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(m.content, 0); err != nil {
		return nil, fmt.Errorf("the new map: %w", err)
	}
	after, err := in.locateMap(f)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(before.runs, after.runs) {
		return nil, fmt.Errorf("%s: its blocks moved when it was written again: its file system copies on write, and can't hold the map", m.path)
	}
	in.o.Log.Note(2, "%s: %d sectors, the first at %d", m.path, len(m.lbas), m.lbas[0])
	return m, after.compare(in.direct)
}

// locateMap maps the new map; it has to be on the boot disk.
func (in *installer) locateMap(f *os.File) (*mapped, error) {
	mf, err := in.mapper.locate(f)
	if err != nil {
		return nil, fmt.Errorf("the new map, %s: %w", f.Name(), err)
	}
	if slices.ContainsFunc(mf.runs, func(r run) bool { return r.lba == hole }) {
		return nil, fmt.Errorf("the new map, %s, has no blocks though it was written: its file system can't hold it", f.Name())
	}
	if mf.disk != in.disk {
		return nil, fmt.Errorf("the new map, %s, is on %s, but the images are on %s: the loader reads only one disk", f.Name(), mf.disk, in.disk)
	}
	return mf, nil
}

// sectors lists a file's sectors one by one.
func (mf *mapped) sectors() []uint64 {
	var all []uint64
	for _, r := range mf.runs {
		for i := range r.count {
			all = append(all, r.lba+i)
		}
	}
	return all
}

// foresee follows the loader's way over the disk as it will be.
func (in *installer) foresee(ctx context.Context, boot []byte) error {
	head, err := in.direct.read(0, lowSectors)
	if err != nil {
		return err
	}
	later := &patched{disk: in.direct, head: bytes.Clone(head)}
	copy(later.head, boot)
	if in.layout.low {
		copy(later.head[lilo.Stage2Sector*512:], lilo.Stage2())
	}
	report, err := lilo.Verify(ctx, later, int64(in.disk.sectors)*512)
	if err != nil {
		return fmt.Errorf("following the loader's steps before anything is switched: %w", err)
	}
	in.o.Log.Note(2, "The loader's way is sound: %d images, the last sector it reads is %d", len(report.Images), report.Highest)
	return nil
}

// patched is a disk with another start.
type patched struct {
	disk *direct
	head []byte
}

// ReadAt reads as io.ReaderAt does.
func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.disk.ReadAt(b, off)
	if err == nil && off < int64(len(p.head)) {
		copy(b, p.head[off:])
	}
	return n, err
}
