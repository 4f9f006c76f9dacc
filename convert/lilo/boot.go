package lilo

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
)

// Both are made by scripts/loader.sh.
//
//go:embed loader/stage1.bin
var stage1 string

//go:embed loader/stage2.bin
var stage2 string

// Stage2 returns the 3072 bytes of sectors 2 to 7.
func Stage2() []byte { return []byte(stage2[:Stage2Sectors*SectorSize]) }

// overlay is the rest of the loader, which only the map holds.
func overlay() []byte { return []byte(stage2[Stage2Sectors*SectorSize:]) }

// ErrMap is wrapped by errors about what should be a map and isn't.
var ErrMap = errors.New("no valid LILO map")

// BootSector returns sector 0 for a map file as [Encode] made it, whose sectors
// lie at lbas. low says that stage 2 is, or will be, in sectors 2 to 7; where a
// file system begins there it must not be, and stage 2 comes from the map only.
func BootSector(mapFile []byte, lbas []uint64, low bool) ([SectorSize]byte, error) {
	var b [SectorSize]byte
	if len(mapFile) < SectorSize || string(mapFile[:len(headerMagic)]) != headerMagic ||
		len(mapFile) != len(lbas)*SectorSize || len(lbas) < stage2Index+Stage2Sectors {
		return b, fmt.Errorf("%w: %d bytes in %d sectors", ErrMap, len(mapFile), len(lbas))
	}
	copy(b[:], stage1)
	le := binary.LittleEndian
	copy(b[bootIDAt:], mapFile[headerIDAt:][:4])
	le.PutUint64(b[bootHeaderAt:], lbas[headerIndex])
	le.PutUint32(b[bootSumAt:], sum(streamSeed, Stage2()))
	copy(b[bootSerialAt:], mapFile[headerSerialAt:][:4])
	for i := range Stage2Sectors {
		if low {
			le.PutUint64(b[bootListsAt+8*i:], uint64(Stage2Sector+i))
		}
		le.PutUint64(b[bootListsAt+8*(Stage2Sectors+i):], lbas[stage2Index+i])
	}
	return b, nil
}

// MapHeader returns where the map's header lies that a boot sector refers to; ok
// is false if sector, 512 bytes, is no boot sector of LILO's, of any version.
func MapHeader(sector []byte) (lba uint64, ok bool) {
	if len(sector) < SectorSize || string(sector[bootMagicAt:][:len(bootMagic)]) != bootMagic || sector[510] != 0x55 || sector[511] != 0xaa {
		return 0, false
	}
	return binary.LittleEndian.Uint64(sector[bootHeaderAt:]), true
}

// SetOneShot returns the sector OneShotIndex of a map with another line in it,
// which is root's, and empty to erase the one before. header is the map file's
// first sector.
func SetOneShot(header []byte, line string) ([SectorSize]byte, error) {
	var b [SectorSize]byte
	if err := checkLine("one-shot command line", line); err != nil {
		return b, err
	}
	id, err := mapID(header)
	if err != nil {
		return b, err
	}
	putOneShot(b[:], line, false)
	seal(b[:], id)
	return b, nil
}

// mapID returns the id of the map that the header belongs to.
func mapID(header []byte) (uint32, error) {
	const number = len(headerMagic) - 1
	switch {
	case len(header) < SectorSize || string(header[:number]) != headerMagic[:number]:
		return 0, fmt.Errorf("%w: no header; run lilo", ErrMap)
	case header[number] != headerMagic[number]:
		return 0, fmt.Errorf("%w: it is for another version of the loader; run lilo", ErrMap)
	}
	id := binary.LittleEndian.Uint32(header[headerIDAt:])
	if !sealed(header[:SectorSize], id) {
		return 0, fmt.Errorf("%w: the header's sum is wrong; run lilo", ErrMap)
	}
	return id, nil
}
