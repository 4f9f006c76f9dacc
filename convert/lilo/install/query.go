package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"esxodus/convert/lilo"
)

// maxMap is the longest map that is written or read, in bytes: enough for five
// million pieces of files.
const maxMap = 64 << 20

// Installed is the map that boots.
type Installed struct {
	Path string
	Disk string // "/dev/vda"
	// Live says that the boot sector refers to this map. Where it doesn't, the
	// disk boots something else, and lilo is to be run.
	Live bool
	Menu *lilo.Menu

	file    *mapped
	content []byte
}

// Close closes the map's file.
func (i *Installed) Close() error { return i.file.file.Close() }

// Query reads the map with that path, or the one beside it that an interrupted
// run left behind and that boots.
func Query(sys *System, path string) (*Installed, error) {
	in, err := query(sys, path)
	if err == nil && in.Live {
		return in, nil
	}
	newer, err2 := query(sys, path+"~")
	switch {
	case err2 == nil && newer.Live:
		if in != nil {
			err = in.Close()
		}
		return newer, err
	case err2 == nil:
		err = errors.Join(err, newer.Close())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: lilo was never run here", err)
	}
	return in, err
}

func query(sys *System, path string) (_ *Installed, err error) {
	mf, err := newMapper(sys, Unknown).open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, mf.file.Close())
		}
	}()
	if mf.size > maxMap {
		return nil, fmt.Errorf("%s: %d bytes are not a map", path, mf.size)
	}
	content, err := io.ReadAll(io.NewSectionReader(mf.file, 0, mf.size))
	if err != nil {
		return nil, err
	}
	if _, err := lilo.Decode(content); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	disk, err := sys.direct(mf.disk, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer disk.Close() //nolint:errcheck // only read
	sector, err := disk.read(0, 1)
	if err != nil {
		return nil, err
	}
	header, ok := lilo.MapHeader(sector)
	menu, err := mf.onDisk(disk, content)
	if err != nil {
		return nil, err
	}
	return &Installed{Path: path, Disk: mf.disk.String(), Live: ok && header == mf.runs[0].lba, Menu: menu, file: mf, content: content}, nil
}

// onDisk decodes a map with the one-shot line as it is on the disk: the loader
// writes there past the file system.
func (mf *mapped) onDisk(disk *direct, content []byte) (*lilo.Menu, error) {
	sector, err := disk.read(mf.sectors()[lilo.OneShotIndex], 1)
	if err != nil {
		return nil, err
	}
	copy(content[lilo.OneShotIndex*lilo.SectorSize:], sector)
	menu, err := lilo.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mf.path, err)
	}
	return menu, nil
}

// OneShot says what the next boot is to take, once.
type OneShot struct {
	Map      string // path
	Line     string // label and options; "" takes back what is there
	Test     bool   // write nothing
	LockWait time.Duration
	Log      Log
}

// SetOneShot changes one sector of the map in place, and keeps other runs of
// lilo away meanwhile, which might put another map there.
func SetOneShot(ctx context.Context, sys *System, o OneShot) (err error) {
	dir, err := os.Open(filepath.Dir(o.Map))
	if err != nil {
		return fmt.Errorf("directory of the map: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	if !o.Test {
		if err := sys.alone(ctx, dir, o.LockWait, o.Log); err != nil {
			return err
		}
	}
	in, err := Query(sys, o.Map)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	sector, err := in.oneShot(o.Line)
	if err != nil || o.Test {
		return err
	}
	if err := overwrite(in.Path, lilo.OneShotIndex*lilo.SectorSize, sector[:]); err != nil {
		return fmt.Errorf("%s: %w", in.Path, err)
	}
	return in.landed(sys, sector[:])
}

// oneShot makes the sector with the line for this map.
func (i *Installed) oneShot(line string) (sector [lilo.SectorSize]byte, err error) {
	if !i.Live {
		return sector, fmt.Errorf("%s: the boot sector of %s doesn't refer to it: run lilo first", i.Path, i.Disk)
	}
	if line != "" {
		label := strings.Fields(line + " .")[0]
		if !known(i.Menu, label) {
			return sector, fmt.Errorf("-R %s: no image has this label; lilo -q lists them", label)
		}
	}
	header := make([]byte, lilo.SectorSize)
	if _, err := i.file.file.ReadAt(header, 0); err != nil {
		return sector, fmt.Errorf("%s: %w", i.Path, err)
	}
	return lilo.SetOneShot(header, line)
}

func known(m *lilo.Menu, label string) bool {
	for _, img := range m.Images {
		if strings.EqualFold(img.Label, label) || img.Alias != "" && strings.EqualFold(img.Alias, label) {
			return true
		}
	}
	return false
}

// overwrite changes bytes of a file in place.
func overwrite(path string, off int64, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.Sync()
}

// landed makes sure that the one-shot sector is where the loader reads it.
func (i *Installed) landed(sys *System, want []byte) error {
	disk, err := sys.direct(i.file.disk, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // only read
	got, err := disk.read(i.file.sectors()[lilo.OneShotIndex], 1)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s: what was written is not where the loader reads it: its file system copies on write; run lilo", i.Path)
	}
	return err
}
