package part

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ext features that decide the type or are worth showing, by word of the
// superblock (compat, incompat, ro_compat) and bit, in tune2fs's names.
func extFeatures(compat, incompat, roCompat uint32) []string {
	var names []string
	for _, w := range []struct {
		set  uint32
		bits []string
	}{
		{compat, []string{"dir_prealloc", "imagic_inodes", "has_journal", "ext_attr", "resize_inode", "dir_index", "", "", "", "sparse_super2", "fast_commit", "stable_inodes", "orphan_file"}},
		{incompat, []string{
			"compression", "filetype", "needs_recovery", "journal_dev", "meta_bg", "", "extent", "64bit", "mmp", "flex_bg",
			"ea_inode", "", "dirdata", "metadata_csum_seed", "large_dir", "inline_data", "encrypt", "casefold",
		}},
		{roCompat, []string{
			"sparse_super", "large_file", "", "huge_file", "uninit_bg", "dir_nlink", "extra_isize", "", "quota", "bigalloc",
			"metadata_csum", "replica", "read-only", "project", "shared_blocks", "verity", "orphan_present",
		}},
	} {
		for i, name := range w.bits {
			if name != "" && w.set&(1<<i) != 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

func probeExt(p *peek) (Content, bool) {
	b := p.at(1024, 1024)
	if len(b) == 0 || binary.LittleEndian.Uint16(b[56:]) != 0xef53 {
		return Content{}, false
	}
	le := binary.LittleEndian
	logBlock, perGroup := le.Uint32(b[24:]), le.Uint32(b[40:])
	if logBlock > 6 || perGroup == 0 || le.Uint32(b[32:]) == 0 {
		return Content{}, false // two bytes are a weak signature
	}
	compat, incompat, roCompat := le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	const (
		hasJournal, recover, journalDev = 0x4, 0x4, 0x8
		ext3Incompat                    = 0x2 | recover | 0x10 // filetype, meta_bg
		ext3ROCompat                    = 0x1 | 0x2 | 0x4      // sparse_super, large_file, btree_dir
		stateClean                      = 0x1
	)
	c := Content{
		Type: "ext2", Label: text(b[120:136]), UUID: uuidText(b[104:120]), BlockSize: 1024 << logBlock,
		Features: extFeatures(compat, incompat, roCompat),
	}
	switch {
	case incompat&journalDev != 0:
		c.Type = "jbd"
	case incompat&^ext3Incompat != 0 || roCompat&^ext3ROCompat != 0:
		c.Type = "ext4"
	case compat&hasJournal != 0:
		c.Type = "ext3"
	}
	blocks := uint64(le.Uint32(b[4:]))
	if incompat&0x80 != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	c.Size = clampSize(blocks, c.BlockSize)
	c.Dirty = incompat&recover != 0 || le.Uint16(b[58:])&stateClean == 0
	return c, true
}

func probeXFS(p *peek) (Content, bool) {
	b := p.at(0, sector)
	if !hasAt(b, 0, "XFSB") {
		return Content{}, false
	}
	be := binary.BigEndian
	bs := be.Uint32(b[4:])
	if bs < 512 || bs > 65536 || bs&(bs-1) != 0 {
		return Content{}, false
	}
	return Content{
		Type: "xfs", Version: fmt.Sprint(be.Uint16(b[100:]) & 0xf), Label: text(b[108:120]), UUID: uuidText(b[32:48]),
		BlockSize: int64(bs), Size: clampSize(be.Uint64(b[8:]), int64(bs)),
	}, true
}

func probeBtrfs(p *peek) (Content, bool) {
	b := p.at(65536, 4096)
	if !hasAt(b, 64, "_BHRfS_M") {
		return Content{}, false
	}
	le := binary.LittleEndian
	return Content{
		Type: "btrfs", Label: text(b[299:555]), UUID: uuidText(b[32:48]), Size: clampSize(le.Uint64(b[112:]), 1),
		BlockSize: int64(le.Uint32(b[144:])), Members: int(min(le.Uint64(b[136:]), 1<<16)), // at most 65536
	}, true
}

func probeSwap(p *peek) (Content, bool) {
	for _, page := range []int64{4096, 8192, 16384, 65536} {
		magic := string(p.at(page-10, 10))
		c := Content{Type: "swap"}
		switch {
		case magic == "SWAPSPACE2":
		case magic == "SWAP-SPACE":
			return Content{Type: "swap", Version: "0", BlockSize: page}, true
		case strings.HasPrefix(magic, "S1SUSPEND"), strings.HasPrefix(magic, "S2SUSPEND"),
			strings.HasPrefix(magic, "ULSUSPEND"), magic == "LINHIB0001":
			c.Suspended = true
		default:
			continue
		}
		b := p.at(1024, 64)
		if binary.LittleEndian.Uint32(b) == 1 {
			c.Version = "1" // else only the signature is left of it, or it is a big-endian machine's
		}
		c.UUID, c.Label, c.BlockSize = uuidText(b[12:28]), text(b[28:44]), page
		c.Size = clampSize(uint64(binary.LittleEndian.Uint32(b[4:]))+1, page)
		return c, true
	}
	return Content{}, false
}

const mdMagic = 0xa92b4efc

// probeMD1 finds superblocks of version 1.1 (at 0) and 1.2 (at 4096), and of
// 1.0, which lies at least 8 KiB before the end.
func probeMD1(p *peek) (Content, bool) {
	end := (p.size/sector - 16) &^ 7 * sector
	for _, v := range []struct {
		at      int64
		version string
	}{{0, "1.1"}, {4096, "1.2"}, {end, "1.0"}} {
		b := p.at(v.at, 256)
		le := binary.LittleEndian
		if len(b) == 0 || le.Uint32(b) != mdMagic || le.Uint32(b[4:]) != 1 || le.Uint64(b[144:]) != uint64(v.at/sector) { // at is not negative: its read succeeded
			continue
		}
		return Content{
			Type: "md", Version: v.version, UUID: uuidText(b[16:32]), Label: text(b[32:64]),
			Members: int(min(le.Uint32(b[92:]), 1<<16)), Detail: mdLevel(le.Uint32(b[72:])),
		}, true
	}
	return Content{}, false
}

// probeMDEnd finds the superblock of version 0.90 in the last whole 64 KiB but
// one.
func probeMDEnd(p *peek) (Content, bool) {
	b := p.at(p.size&^65535-65536, 4096)
	le := binary.LittleEndian
	if len(b) == 0 || le.Uint32(b) != mdMagic || le.Uint32(b[4:]) != 0 {
		return Content{}, false
	}
	// The words of the identifier are printed in their value's order.
	var id []byte
	for _, at := range []int{20, 52, 56, 60} {
		id = binary.BigEndian.AppendUint32(id, le.Uint32(b[at:]))
	}
	return Content{
		Type: "md", Version: fmt.Sprintf("0.%d", le.Uint32(b[8:])), UUID: uuidText(id),
		Members: int(min(le.Uint32(b[40:]), 1<<16)), Detail: mdLevel(le.Uint32(b[28:])),
	}, true
}

func mdLevel(l uint32) string {
	if int32(l) == -1 { // the field is signed
		return "linear"
	}
	return fmt.Sprintf("raid%d", l)
}
