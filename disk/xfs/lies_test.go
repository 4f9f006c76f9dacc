package xfs

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// TestFaultsHostile: trees that go round, groups that aren't there, and lists
// without bounds end, with little read.
func TestFaultsHostile(t *testing.T) {
	be := binary.BigEndian
	for _, tt := range []struct {
		name string
		lie  func(f *FS, b []byte)
	}{
		{"a tree that leads to itself", func(f *FS, b []byte) {
			at := int64(be.Uint32(b[f.sectorSize+16:])) * f.blockSize
			be.PutUint32(b[at+12:], be.Uint32(b[f.sectorSize+16:]))
			if be.Uint16(b[at+4:]) > 0 { // one of small blocks: its first pointer
				be.PutUint32(b[at+16+(f.blockSize-16)/12*8:], be.Uint32(b[f.sectorSize+16:]))
			}
			if f.version == 5 {
				seal(b[at:at+f.blockSize], 52)
			}
		}},
		{"a root in the last block", func(f *FS, b []byte) { be.PutUint32(b[f.sectorSize+16:], uint32(f.agBlocks-1)) }},
		{"a root in the superblock", func(f *FS, b []byte) { be.PutUint32(b[f.sectorSize+16:], 0) }},
		{"no level", func(f *FS, b []byte) { be.PutUint32(b[f.sectorSize+28:], 0) }},
		{"all levels", func(f *FS, b []byte) { be.PutUint32(b[f.sectorSize+28:], 1<<32-1) }},
		{"spares everywhere", func(f *FS, b []byte) {
			be.PutUint32(b[f.sectorSize+40:], 1<<31)
			be.PutUint32(b[f.sectorSize+44:], 1<<32-1)
			be.PutUint32(b[f.sectorSize+48:], 1<<32-1)
		}},
		{"a group longer than it is", func(f *FS, b []byte) { be.PutUint32(b[f.sectorSize+12:], 1<<32-1) }},
		{"free blocks without bounds", func(f *FS, b []byte) {
			be.PutUint32(b[f.sectorSize+52:], 1<<32-1)
			be.PutUint32(b[f.sectorSize+56:], 1<<32-1)
		}},
	} {
		for _, version := range []string{"v4", "v4-small-blocks", "v5"} {
			m := &memory{b: slices.Clone(storedImage(t, version))}
			f, err := Open(m, int64(len(m.b)))
			if err != nil {
				t.Fatal(err)
			}
			tt.lie(f, m.b)
			if f.version == 5 {
				seal(m.b[f.sectorSize:2*f.sectorSize], spaceSum)
			}
			before, started := m.bytes, time.Now()
			found, refused, err := f.Faults()
			if err == nil && len(found)+len(refused) == 0 {
				t.Errorf("%s, %s: no fault", tt.name, version)
			}
			if n := m.bytes - before; n > maxTree*f.blockSize+maxGroups*3*f.sectorSize || time.Since(started) > 5*time.Second {
				t.Errorf("%s, %s: %d bytes read in %s", tt.name, version, n, time.Since(started))
			}
		}
	}
}

// FuzzFaults: a superblock, headers and trees of any content neither panic nor
// make Faults read without end.
func FuzzFaults(f *testing.F) {
	for _, version := range []string{"v4", "v4-small-blocks", "v5"} {
		f.Add(version, []byte{0, 0, 0, 0xff}, true)
	}
	f.Fuzz(func(t *testing.T, version string, changes []byte, seals bool) {
		switch version {
		case "v4", "v4-small-blocks", "v5":
		default:
			return
		}
		m := &memory{b: slices.Clone(storedImage(t, version))}
		s, _ := Open(m, int64(len(m.b)))
		for ; len(changes) >= 4; changes = changes[4:] {
			at := int(binary.BigEndian.Uint16(changes)) % (int(s.sectorSize)*4 + 8*int(s.blockSize))
			if at < len(m.b) {
				m.b[at] = changes[2] + changes[3]
			}
		}
		if s.version == 5 && seals {
			n := s.sectorSize
			for i, sum := range []int{224, spaceSum, inodeSum, spareSum} {
				seal(m.b[int64(i)*n:int64(i+1)*n], sum)
			}
		}
		g, err := Open(m, int64(len(m.b)))
		if err != nil {
			return
		}
		before := m.bytes
		_, _, _ = g.Faults()
		if n := m.bytes - before; n > maxTree*g.blockSize+maxGroups*3*g.sectorSize {
			t.Errorf("%d bytes read", n)
		}
	})
}
