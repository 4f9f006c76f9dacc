package install

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// directSize is how much is read at once, in bytes.
const directSize = 1 << 20

// direct reads and writes a disk past all caches. Its buffer begins on a page.
type direct struct {
	disk *Disk
	file *os.File
	buf  []byte
}

// direct opens a disk; flag is os.O_RDONLY or os.O_RDWR.
func (s *System) direct(d *Disk, flag int) (*direct, error) {
	f, err := s.open(d, flag|unix.O_DIRECT)
	if err != nil {
		return nil, err
	}
	buf, err := unix.Mmap(-1, 0, directSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("memory to read %s with: %w", d, err), f.Close())
	}
	return &direct{disk: d, file: f, buf: buf}, nil
}

// Close closes the disk.
func (d *direct) Close() error { return errors.Join(d.file.Close(), unix.Munmap(d.buf)) }

// read returns count sectors from lba on. They hold until the next call.
func (d *direct) read(lba uint64, count int) ([]byte, error) {
	b := d.buf[:count*512]
	if _, err := d.file.ReadAt(b, int64(lba)*512); err != nil {
		return nil, fmt.Errorf("%s, sector %d: %w", d.disk, lba, err)
	}
	return b, nil
}

// write writes whole sectors from lba on, and has the disk put them on stable
// storage.
func (d *direct) write(lba uint64, data []byte) error {
	b := d.buf[:len(data)]
	copy(b, data)
	if _, err := d.file.WriteAt(b, int64(lba)*512); err != nil {
		return fmt.Errorf("writing %s, sector %d: %w", d.disk, lba, err)
	}
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("flushing %s: %w", d.disk, err)
	}
	return nil
}

// ReadAt reads as io.ReaderAt does, for whoever checks what is on the disk.
func (d *direct) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		skip := int((off + int64(n)) % 512)
		count := min((len(p)-n+skip+511)/512, directSize/512)
		b, err := d.read(uint64(off+int64(n))/512, count)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[skip:])
	}
	return len(p), nil
}
