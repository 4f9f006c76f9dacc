package ntfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"esxodus/disk"
	"esxodus/disk/internal/freemap"
	"esxodus/disk/internal/readat"
)

// flagsHarmless are flags of the volume that say nothing of its clusters: the log
// is to be resized, the version to be raised, it was mounted by NT 4, its change
// journal is being deleted, its object identifiers are to be repaired.
const flagsHarmless = 0x3e

// clean looks at the volume's version and flags.
func (f *FS) clean() error {
	s, err := f.open(recordVolume, typeVolume, "")
	if err != nil {
		return err
	}
	if s.resident == nil || s.size < 12 {
		return fmt.Errorf("%w: volume information of %d bytes", ErrFormat, s.size)
	}
	flags := binary.LittleEndian.Uint16(s.resident[10:])
	switch {
	case s.resident[8] != 3 || s.resident[9] > 1:
		return freemap.Untrusted("it is of version %d.%d", s.resident[8], s.resident[9])
	case flags&1 != 0:
		return freemap.Untrusted("it is marked as dirty: Windows is to check it")
	case flags&^flagsHarmless != 0:
		return freemap.Untrusted("it has flags that are not known or speak of chkdsk (%#x)", flags)
	}
	return nil
}

// What of the log is looked at: enough for two restart pages of any size.
const (
	logBytes = 128 << 10
	maxPage  = 64 << 10
)

// closed looks whether the log says that the volume was unmounted. It is either
// all ones, as mkntfs makes it and as drivers that have no use for it leave it, or
// begins with two restart pages, of which the newer one counts. Windows since XP
// doesn't close the log then, but says that the volume is clean. Since Windows 8 the
// log is of version 2.0 while the volume is mounted, and stays so over a shutdown
// that isn't one (fast startup).
//
// ntfs-3g says nowhere that it has a volume mounted: what it was doing when its
// machine stopped can't be seen.
func (f *FS) closed() error {
	s, err := f.open(recordLog, typeData, "")
	if err != nil {
		return err
	}
	if s.size < logBytes {
		return freemap.Untrusted("its log has only %d bytes", s.size)
	}
	b := make([]byte, logBytes)
	if err := s.read(b, 0); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if string(b[:4]) == "\xff\xff\xff\xff" {
		return s.empty(b)
	}
	first, err := restart(b)
	if err != nil {
		return err
	}
	second, err := restart(b[first.size:])
	if err != nil {
		return err
	}
	if second.size != first.size {
		return freemap.Untrusted("the pages of its log have %d and %d bytes", first.size, second.size)
	}
	if second.lsn > first.lsn {
		first = second
	}
	if first.inUse && !first.clean {
		return freemap.Untrusted("it was not unmounted: its log is open")
	}
	return nil
}

// EmptyLog reports whether the log is all ones: Windows hasn't mounted the volume
// since mkntfs or ntfs-3g had it, and whether that one unmounted it can't be known.
func (f *FS) EmptyLog() (bool, error) {
	s, err := f.open(recordLog, typeData, "")
	if err != nil {
		return false, err
	}
	b := make([]byte, block)
	if err := s.read(b, 0); err != nil {
		return false, fmt.Errorf("log: %w", err)
	}
	return string(b[:4]) == "\xff\xff\xff\xff", nil
}

// empty checks that a log that begins with ones, which are in b, has nothing else.
// Restart pages could be at any power of two.
func (s *stream) empty(b []byte) error {
	ones := bytes.Repeat([]byte{0xff}, len(b))
	for at := uint64(0); ; at = max(logBytes, at*2) {
		if !bytes.Equal(b, ones[:len(b)]) {
			return freemap.Untrusted("its log begins as an empty one, but is not empty")
		}
		if at*2 > s.size-block {
			return nil
		}
		b = b[:block]
		if err := s.read(b, max(logBytes, at*2)); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
}

// page is a restart page of the log.
type page struct {
	size         int64
	lsn          uint64 // the log's newest record then
	inUse, clean bool
}

// restart decodes the restart page that b begins with, and which is changed.
func restart(b []byte) (page, error) {
	le := binary.LittleEndian
	size := le.Uint32(b[16:])
	switch {
	case string(b[:4]) == "CHKD":
		return page{}, freemap.Untrusted("its log was changed by chkdsk")
	case string(b[:4]) != "RSTR" || size < block || size > maxPage || size&(size-1) != 0:
		return page{}, freemap.Untrusted("its log has no restart page where one should be")
	}
	b = b[:size]
	if err := fixUp(b, "RSTR"); err != nil {
		return page{}, fmt.Errorf("restart page of the log: %w", err)
	}
	minor, major := le.Uint16(b[26:]), le.Uint16(b[28:])
	switch {
	case major == 2 && minor == 0:
		return page{}, freemap.Untrusted("it was not unmounted, or Windows keeps some of it in memory (fast startup): its log is of version 2.0")
	case major != 1 || minor != 1:
		return page{}, freemap.Untrusted("its log is of version %d.%d", major, minor)
	}
	at := int(le.Uint16(b[24:]))
	if at%8 != 0 || at < 30 || at > block-2-48 || le.Uint64(b[8:]) != 0 {
		return page{}, fmt.Errorf("restart page of the log: %w: a restart area at %d", ErrFormat, at)
	}
	area := b[at:]
	clients, inUse := le.Uint16(area[8:]), le.Uint16(area[12:])
	if clients > 1 || inUse != 0xffff && inUse >= clients {
		return page{}, fmt.Errorf("restart page of the log: %w: client %d of %d", ErrFormat, inUse, clients)
	}
	return page{size: int64(size), lsn: le.Uint64(area), inUse: inUse != 0xffff, clean: le.Uint16(area[14:])&2 != 0}, nil
}

// awake looks whether Windows sleeps on the volume: it goes on with what it
// knows of the volume then. The rule is ntfs-3g's, but stricter: a hibernation file
// that was never used is empty.
func (f *FS) awake() error {
	n, ok, err := f.find(recordRoot, "hiberfil.sys")
	if !ok || err != nil {
		return err
	}
	s, err := f.open(n, typeData, "")
	if err != nil {
		return fmt.Errorf("hiberfil.sys: %w", err)
	}
	b := make([]byte, 4096)
	if s.size < uint64(len(b)) {
		return freemap.Untrusted("Windows may be hibernated: hiberfil.sys has only %d bytes", s.size)
	}
	if err := s.read(b, 0); err != nil {
		return fmt.Errorf("hiberfil.sys: %w", err)
	}
	if magic := string(b[:4]); magic != "\x00\x00\x00\x00" {
		return &disk.UntrustedError{Why: fmt.Sprintf("Windows is hibernated, or was (also by fast startup): hiberfil.sys begins with %q", magic), Asleep: true}
	}
	return nil
}

const (
	shadowName  = "{3808876b-c176-4e48-b7ae-04046e6cc752}" // what belongs to shadow copies
	shadowAt    = 0x1e00                                   // bytes: where their header is
	shadowBlock = 16 << 10                                 // bytes of a block of their catalog
	shadowEntry = 128                                      // bytes of an entry, and of the block's header
	maxCatalog  = 256                                      // blocks: 512 shadow copies have some 8
)

// shadowMark is that name in binary.
const shadowMark = "\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52"

// unshadowed looks for shadow copies. One consists of what the volume has changed since,
// in a file of its own here or on another volume, and for the rest of the volume's
// clusters as they are: also of those that the volume has freed.
func (f *FS) unshadowed() error {
	b := make([]byte, block)
	if err := readat.Full(f.r, b, shadowAt); err != nil {
		return fmt.Errorf("header of shadow copies: %w", err)
	}
	if string(b[:16]) == shadowMark {
		if err := f.catalog(binary.LittleEndian.Uint64(b[48:])); err != nil {
			return err
		}
	}
	n, ok, err := f.find(recordRoot, "System Volume Information")
	if !ok || err != nil {
		return err
	}
	found := ""
	err = f.entries(n, func(name string, _ uint64) {
		if i := strings.Index(strings.ToLower(name), shadowName); i > 0 { // the catalog has nothing before that
			found = name
		}
	})
	if found != "" {
		return freemap.Untrusted("it has shadow copies, which need clusters that are free now: System Volume Information has %s", found)
	}
	return err
}

// catalog looks whether the catalog of shadow copies has none. Blocks of it are chained
// by their places on the volume, 0 is the end.
func (f *FS) catalog(at uint64) error {
	le := binary.LittleEndian
	b := make([]byte, shadowBlock)
	for range maxCatalog {
		if at == 0 {
			return nil
		}
		if limit := uint64(f.clusters * f.cluster); limit < shadowBlock || at > limit-shadowBlock || at%block != 0 {
			return freemap.Untrusted("it may have shadow copies: their catalog is at byte %d", at)
		}
		if err := readat.Full(f.r, b, int64(at)); err != nil { // bounded
			return fmt.Errorf("catalog of shadow copies: %w", err)
		}
		if string(b[:16]) != shadowMark || le.Uint32(b[20:]) != 2 || le.Uint64(b[32:]) != at {
			return freemap.Untrusted("it may have shadow copies: their catalog at byte %d is none", at)
		}
		for e := shadowEntry; e < shadowBlock; e += shadowEntry {
			if le.Uint64(b[e:]) > 1 { // 0 and 1 are not in use
				return freemap.Untrusted("it has shadow copies, which need clusters that are free now: they are in its catalog")
			}
		}
		at = le.Uint64(b[40:])
	}
	return freemap.Untrusted("it may have shadow copies: their catalog has no end")
}
