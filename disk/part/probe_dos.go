package part

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// isFATBoot reports whether b is a FAT boot sector that says so in words.
func isFATBoot(b []byte) bool {
	_, ok := parseFATBoot(b)
	return ok && (hasAt(b, 54, "FAT1") || hasAt(b, 82, "FAT32"))
}

func isNTFSBoot(b []byte) bool { return hasAt(b, 3, "NTFS    ") || hasAt(b, 3, "-FVE-FS-") }

// fatBoot is the geometry in a FAT boot sector.
type fatBoot struct {
	bits                               int // 12, 16 or 32
	bytesPerSector, perCluster         int64
	reserved, fats, rootEntries        int64
	fatSectors, totalSectors, clusters int64
	rootCluster, fsInfo                int64
	serial                             uint32
	label                              string
}

// fatStart is where the first table lies, in bytes.
func (f fatBoot) fatStart() int64 { return f.reserved * f.bytesPerSector }

// rootSectors is the size of the root directory, 0 on FAT32.
func (f fatBoot) rootSectors() int64 {
	return (f.rootEntries*32 + f.bytesPerSector - 1) / f.bytesPerSector
}

// parseFATBoot decodes a boot sector (Microsoft FAT specification, 2005, § 3).
// ok is false where the numbers cannot be those of a FAT.
func parseFATBoot(b []byte) (f fatBoot, ok bool) {
	if len(b) < sector || b[510] != 0x55 || b[511] != 0xaa || (b[0] != 0xeb && b[0] != 0xe9) {
		return f, false
	}
	le := binary.LittleEndian
	f = fatBoot{
		bytesPerSector: int64(le.Uint16(b[11:])), perCluster: int64(b[13]), reserved: int64(le.Uint16(b[14:])),
		fats: int64(b[16]), rootEntries: int64(le.Uint16(b[17:])), fatSectors: int64(le.Uint16(b[22:])),
		totalSectors: int64(le.Uint16(b[19:])),
	}
	if f.totalSectors == 0 {
		f.totalSectors = int64(le.Uint32(b[32:]))
	}
	tail := b[36:]
	if f.fatSectors == 0 {
		f.fatSectors = int64(le.Uint32(b[36:]))
		f.rootCluster, f.fsInfo = int64(le.Uint32(b[44:])), int64(le.Uint16(b[48:]))
		tail = b[64:]
	}
	if tail[2] == 0x29 {
		f.serial, f.label = le.Uint32(tail[3:]), text(tail[7:18])
	}
	pow2 := func(n int64) bool { return n > 0 && n&(n-1) == 0 }
	media := b[21]
	if !pow2(f.bytesPerSector) || f.bytesPerSector < 512 || f.bytesPerSector > 4096 || !pow2(f.perCluster) ||
		f.reserved == 0 || f.fats == 0 || f.fatSectors == 0 || (media != 0xf0 && media < 0xf8) {
		return f, false
	}
	data := f.totalSectors - f.reserved - f.fats*f.fatSectors - f.rootSectors()
	f.clusters = data / f.perCluster
	if f.clusters <= 0 {
		return f, false
	}
	switch {
	case f.rootEntries == 0:
		f.bits = 32
	case f.clusters < 4085:
		f.bits = 12
	default:
		f.bits = 16
	}
	return f, true
}

func probeFAT(p *peek) (Content, bool) {
	f, ok := parseFATBoot(p.at(0, sector))
	if !ok {
		return Content{}, false
	}
	c := Content{
		Type: "vfat", Version: fmt.Sprintf("FAT%d", f.bits), Label: f.label,
		BlockSize: f.perCluster * f.bytesPerSector, Size: f.totalSectors * f.bytesPerSector,
	}
	if c.Label == "NO NAME" {
		c.Label = ""
	}
	if f.serial != 0 {
		c.UUID = fmt.Sprintf("%04X-%04X", f.serial>>16, f.serial&0xffff)
	}
	return c, true
}

func probeExFAT(p *peek) (Content, bool) {
	b := p.at(0, sector)
	if !hasAt(b, 3, "EXFAT   ") || b[108] < 9 || b[108] > 12 {
		return Content{}, false
	}
	le := binary.LittleEndian
	serial := le.Uint32(b[100:])
	return Content{
		Type: "exfat", UUID: fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff),
		Size: clampSize(le.Uint64(b[72:]), 1<<b[108]), Dirty: b[106]&2 != 0,
	}, true
}

func probeNTFS(p *peek) (Content, bool) {
	b := p.at(0, sector)
	if !hasAt(b, 3, "NTFS    ") {
		return Content{}, false
	}
	le := binary.LittleEndian
	bps, spc := int64(le.Uint16(b[11:])), int64(b[13])
	if spc > 128 { // a negative power of two, for clusters above 64 KiB
		spc = 1 << min(256-spc, 16)
	}
	if bps < 256 || bps > 4096 || spc == 0 {
		return Content{}, false
	}
	c := Content{
		Type: "ntfs", UUID: fmt.Sprintf("%016X", le.Uint64(b[72:])),
		BlockSize: bps * spc, Size: clampSize(le.Uint64(b[40:]), bps),
	}
	record := int64(1024)
	if r := int8(b[64]); r > 0 { // the field is signed
		record = int64(r) * c.BlockSize
	}
	mft := clampSize(le.Uint64(b[48:]), c.BlockSize)
	if record <= 4096 && mft > 0 {
		c.ntfsVolume(p.at(mft+3*record, record))
	}
	return c, true
}

// ntfsVolume takes label and dirty flag out of $Volume, record 3 of the master
// file table. What it can't decode it leaves alone.
func (c *Content) ntfsVolume(rec []byte) {
	if !hasAt(rec, 0, "FILE") {
		return
	}
	const volumeName, volumeInformation, end = 0x60, 0x70, 0xffffffff
	le := binary.LittleEndian
	for at := int(le.Uint16(rec[20:])); at+24 <= len(rec); {
		typ, length := le.Uint32(rec[at:]), le.Uint32(rec[at+4:])
		if typ == end || length < 24 || int64(length) > int64(len(rec)-at) {
			return
		}
		attr := rec[at : at+int(length)]
		at += int(length)
		size, off := le.Uint32(attr[16:]), le.Uint16(attr[20:])
		if attr[8] != 0 || int64(off)+int64(size) > int64(len(attr)) {
			continue // not resident
		}
		value := attr[off : int64(off)+int64(size)]
		switch {
		case typ == volumeName:
			c.Label = utf16Label(value)
		case typ == volumeInformation && len(value) >= 12:
			c.Version = fmt.Sprintf("%d.%d", value[8], value[9])
			c.Dirty = le.Uint16(value[10:])&1 != 0
		}
	}
}

func utf16Label(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u = append(u, binary.LittleEndian.Uint16(b[i:]))
	}
	return text([]byte(strings.TrimRight(string(utf16.Decode(u)), "\x00")))
}
