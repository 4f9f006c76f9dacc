package disktest

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Delta says which grains of a disk a snapshot holds, in the order in which the VM
// wrote them.
type Delta struct {
	Size   int64 // of the disk, in bytes
	Grains []int64
	Read   func(grain int64) []byte // its content, which may end with the disk
	Zeros  []int64                  // those that the snapshot holds as zeros, without room for them
}

// COWD is the vmfsSparse extent of a snapshot, as ESXi writes it on VMFS 5: a grain table
// is made when the first grain in it is written. grain is in bytes.
func COWD(d Delta, grain int) []byte {
	const entries = 4096
	le := binary.LittleEndian
	per := int64(grain * entries)
	tables := (d.Size + per - 1) / per
	file := make([]byte, 4*sector)
	copy(file, "COWD")
	for at, v := range map[int]int{4: 1, 8: 3, 12: int(d.Size / sector), 16: grain / sector, 20: 4, 24: int(tables)} {
		le.PutUint32(file[at:], uint32(v))
	}
	directory := len(file)
	file = append(file, pad(make([]byte, tables*4), sector)...)
	entry := func(g int64) int {
		gd := directory + int(g/entries)*4
		if le.Uint32(file[gd:]) == 0 {
			le.PutUint32(file[gd:], uint32(len(file)/sector))
			file = append(file, make([]byte, entries*4)...)
		}
		return int(le.Uint32(file[gd:]))*sector + int(g%entries)*4
	}
	for _, g := range d.Grains {
		e := entry(g)
		le.PutUint32(file[e:], uint32(len(file)/sector))
		file = append(file, pad(slices.Clone(d.Read(g)), grain)...)
	}
	for _, g := range d.Zeros {
		le.PutUint32(file[entry(g):], 1)
	}
	le.PutUint32(file[28:], uint32(len(file)/sector))
	return file
}

// SeSparse is the seSparse extent of a snapshot, as ESXi writes it on VMFS 6.
func SeSparse(d Delta) []byte {
	const (
		grain, entries = 8 * sector, 4096
		head           = 4096 * sector // where the directory begins
	)
	le := binary.LittleEndian
	tables := (d.Size + grain*entries - 1) / (grain * entries)
	directory := int(tables+63) / 64 * sector
	grains := head + directory + int(tables)*entries*8
	grains = (grains + grain - 1) / grain * grain
	file := make([]byte, grains)
	for at, v := range map[int]int{
		0: 0xcafebabe, 8: 2<<32 | 1, 16: int(d.Size / sector), 24: grain / sector, 32: 64,
		80: 1, 88: 1, 96: 2, 104: 2, 112: 2048, 120: 2048, 128: head / sector, 136: directory / sector,
		144: (head + directory) / sector, 152: int(tables) * 64, 192: grains / sector, 200: int(d.Size)/sector + 8,
	} {
		le.PutUint64(file[at:], uint64(v))
	}
	le.PutUint64(file[sector:], 0xcafecafe)
	made := uint64(0)
	entry := func(g int64) []byte {
		gd := file[head+g/entries*8:]
		if le.Uint64(gd) == 0 {
			le.PutUint64(gd, 1<<60|made)
			made++
		}
		at := head + directory + int(le.Uint64(gd)&0xffffffff)*entries*8
		return file[at+int(g%entries)*8:]
	}
	for _, g := range d.Grains {
		n := uint64(len(file)-grains) / grain
		le.PutUint64(entry(g), 3<<60|n&0xfff<<48|n>>12)
		file = append(file, pad(slices.Clone(d.Read(g)), grain)...)
	}
	for i, g := range d.Zeros {
		le.PutUint64(entry(g), uint64(1+i%2)<<60)
	}
	return file
}

// Descriptor is that of a disk with one extent, on a parent if hint isn't empty.
func Descriptor(createType, kind, file string, size int64, cid, parent uint32, hint string) string {
	text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08x\nparentCID=%08x\ncreateType=%q\n", cid, parent, createType)
	if hint != "" {
		text += "parentFileNameHint=\"" + hint + "\"\n"
	}
	return text + fmt.Sprintf("# Extent description\nRW %d %s \"%s\"\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\n", size/sector, kind, file)
}
