package part

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"esxodus/disk/internal/readat"
)

// What [FAT] accepts: a table of 1 GiB at 4 KiB per cluster and 32 bits needs
// 1 MiB. An EFI system partition is far below.
const (
	maxFATTable = 8 << 20
	maxFATChain = 256 << 20 // bytes of one file or directory
	maxFATRead  = 16 << 20  // bytes that one call may read
)

// FAT opens a FAT12, FAT16 or FAT32 file system through go-diskfs, which
// trusts what it reads: it follows a chain of clusters that bites its tail
// until memory is used up, allocates what the boot sector says, and can panic.
// So the geometry, and every chain, is checked here first, and the returned
// file system turns panics into errors that wrap [ErrFormat]. It costs one
// extra read of the allocation table. Directories are listed by fs.ReadDir and
// files read by fs.ReadFile; names compare without regard to case.
func FAT(r io.ReaderAt, size int64) (fs.FS, error) {
	b, err := readSome(r, 0, sector, size)
	if err != nil {
		return nil, err
	}
	f, ok := parseFATBoot(b)
	if !ok {
		return nil, fmt.Errorf("%w fat: impossible boot sector", ErrFormat)
	}
	if err := f.check(r, size); err != nil {
		return nil, err
	}
	t := &fatFS{store: &storage{r: r, size: size}}
	err = t.guard("opening", func() (err error) {
		t.sys, err = f.open(t.store, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (f fatBoot) open(s backend.Storage, size int64) (filesystem.FileSystem, error) {
	switch f.bits {
	case 12:
		return fat12.Read(s, size, 0, sector)
	case 16:
		return fat16.Read(s, size, 0, sector)
	default:
		return fat32.Read(s, size, 0, sector)
	}
}

// check refuses what go-diskfs could not survive or would misread.
func (f fatBoot) check(r io.ReaderAt, size int64) error {
	table := f.fatSectors * f.bytesPerSector
	switch {
	case f.totalSectors*f.bytesPerSector > size:
		return fmt.Errorf("%w fat: it claims %d bytes of %d", ErrFormat, f.totalSectors*f.bytesPerSector, size)
	case table > maxFATTable:
		return fmt.Errorf("fat: an allocation table of %d bytes; the limit is %d", table, maxFATTable)
	case table*8/int64(f.bits) < f.clusters+2:
		return fmt.Errorf("%w fat: a table of %d bytes is too small for %d clusters", ErrFormat, table, f.clusters)
	case f.fats != 2:
		return fmt.Errorf("fat: %d allocation tables; only 2 can be read here", f.fats)
	case f.bits == 32 && f.rootCluster != 2:
		return fmt.Errorf("fat: root directory in cluster %d; only 2 can be read here", f.rootCluster)
	}
	b := make([]byte, table)
	if err := readat.Full(r, b, f.fatStart()); err != nil {
		return fmt.Errorf("fat: allocation table: %w", err)
	}
	return f.checkChains(b)
}

// next is what the table says follows cluster n; ok is false at a chain's end.
func (f fatBoot) next(table []byte, n int64) (next int64, ok bool) {
	le := binary.LittleEndian
	var v, eoc uint32
	switch f.bits {
	case 12:
		v, eoc = uint32(le.Uint16(table[n*3/2:]))>>(n%2*4)&0xfff, 0xff7
	case 16:
		v, eoc = uint32(le.Uint16(table[n*2:])), 0xfff7
	default:
		v, eoc = le.Uint32(table[n*4:])&0x0fffffff, 0x0ffffff7
	}
	return int64(v), v != 0 && v < eoc
}

// checkChains refuses a table in which two clusters have the same follower or
// a chain is a circle: together that leaves only chains that end, of which no
// cluster is read twice.
func (f fatBoot) checkChains(table []byte) error {
	entries := min(int64(len(table))*8/int64(f.bits), f.clusters+2)
	if f.bits == 12 && entries > 0 {
		entries = min(entries, int64(len(table)-1)*2/3)
	}
	followed := make([]bool, entries)
	for n := int64(2); n < entries; n++ {
		next, ok := f.next(table, n)
		if !ok {
			continue
		}
		if next < 2 || next >= entries || followed[next] {
			return fmt.Errorf("%w fat: cluster %d is followed by %d, which is outside or has another predecessor", ErrFormat, n, next)
		}
		followed[next] = true
	}
	return f.checkHeads(table, followed)
}

// checkHeads refuses circles. With one predecessor at most for each cluster,
// what is there are chains, each with a head that nothing points to, and
// circles; following all heads reaches every cluster of the former.
func (f fatBoot) checkHeads(table []byte, followed []bool) error {
	var used, seen int64
	for n := int64(2); n < int64(len(followed)); n++ {
		if v, _ := f.next(table, n); v != 0 {
			used++
		}
		if followed[n] {
			continue
		}
		length := int64(0)
		for at, ok := n, true; ok; length++ {
			if at, ok = f.next(table, at); at != 0 {
				seen++
			}
		}
		if length*f.perCluster*f.bytesPerSector > maxFATChain {
			return fmt.Errorf("fat: the file at cluster %d is larger than the limit of %d bytes", n, maxFATChain)
		}
	}
	if seen != used {
		return fmt.Errorf("%w fat: %d clusters form a circle", ErrFormat, used-seen)
	}
	return nil
}

// fatFS is go-diskfs's FAT with its calls guarded, one at a time.
type fatFS struct {
	sys   filesystem.FileSystem
	store *storage
	mu    sync.Mutex
}

// guard is the one place where panics of go-diskfs become errors: it indexes
// slices with numbers from the disk. And of our own: it ignores errors of
// reading, so that a panic of store is what ends a call that reads too much.
// Nothing is left half-done, for all that it does is read.
func (f *fatFS) guard(act string, call func() error) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.left, f.store.err = maxFATRead, nil
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w fat: %s: %v", ErrFormat, act, r)
		}
		if f.store.err != nil {
			err = fmt.Errorf("fat: %s: %w", act, f.store.err)
		}
	}()
	return call()
}

func (f *fatFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is a directory; use fs.ReadDir")}
	}
	var file fs.File
	err = f.guard("opening "+name, func() (err error) {
		file, err = f.sys.OpenFile("/"+name, os.O_RDONLY)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &fatFile{fsys: f, file: file, left: info.Size(), info: info}, nil
}

// ReadDir lists a directory. It implements fs.ReadDirFS.
func (f *fatFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	var es []fs.DirEntry
	err := f.guard("listing "+name, func() (err error) {
		es, err = f.sys.ReadDir(name)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return es, nil
}

// Stat implements fs.StatFS.
func (f *fatFS) Stat(name string) (fs.FileInfo, error) {
	if name == "." {
		return fatRoot{}, nil
	}
	es, err := f.ReadDir(path.Dir(name))
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	for _, e := range es {
		if strings.EqualFold(e.Name(), path.Base(name)) {
			return e.Info()
		}
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

// fatFile reads no further than the size in the directory, and says io.EOF
// where go-diskfs would return nothing for ever.
type fatFile struct {
	fsys *fatFS
	file fs.File
	left int64
	info fs.FileInfo
}

func (f *fatFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *fatFile) Close() error               { return f.file.Close() }

func (f *fatFile) Read(p []byte) (n int, err error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	err = f.fsys.guard("reading "+f.info.Name(), func() (err error) {
		n, err = f.file.Read(p[:min(int64(len(p)), f.left)])
		return err
	})
	f.left -= int64(n)
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}

type fatRoot struct{}

func (fatRoot) Name() string       { return "." }
func (fatRoot) Size() int64        { return 0 }
func (fatRoot) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (fatRoot) ModTime() time.Time { return time.Time{} }
func (fatRoot) IsDir() bool        { return true }
func (fatRoot) Sys() any           { return nil }
