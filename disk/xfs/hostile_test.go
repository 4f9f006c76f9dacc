package xfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"esxodus/disk/internal/fsview"
)

// resealed makes the checksums right of what an image has at some offset, if
// that is metadata, so that what comes after the checks is tested too.
func resealed(b []byte, at int) {
	for _, size := range []int{512, 1024, 2048} {
		if inode := b[at&^(size-1):][:size]; string(inode[:2]) == "IN" {
			seal(inode[:512], 100)
			return
		}
	}
	if at < 512 {
		seal(b[:512], 224)
		return
	}
	for _, size := range []int{1024, 4096} {
		block := b[at&^(size-1):][:size]
		switch string(block[:4]) {
		case "XDB3", "XDD3":
			seal(block, 4)
			return
		case "BMA3":
			seal(block, 64)
			return
		case "XSLM":
			seal(block, 12)
			return
		}
	}
}

// pathError reports whether a file's kind is not what was asked for.
func pathError(err error) bool {
	return errors.Is(err, fsview.ErrNotDir) || errors.Is(err, fsview.ErrNotFile)
}

// TestOpenHostile changes fields of a superblock.
func TestOpenHostile(t *testing.T) {
	for _, version := range []string{"v4", "v5"} {
		image := storedImage(t, version)
		for _, tt := range []struct {
			name  string
			at, n int
			value uint64
			err   string
		}{
			{"magic", 0, 4, 0x58465341, "no superblock"},
			{"block size 0", 4, 4, 0, "blocks of 0 bytes"},
			{"block size odd", 4, 4, 1000, "blocks of 1000 bytes"},
			{"block size unlike its logarithm", 120, 1, 12, "blocks of 1024 bytes (2^12)"},
			{"logarithm of 200", 120, 1, 200, "blocks of 1024 bytes (2^200)"},
			{"more blocks than groups hold", 8, 8, 1 << 40, "blocks in 2 allocation groups"},
			{"no blocks", 8, 8, 0, "0 blocks"},
			{"blocks past the sign", 8, 8, 1 << 63, "9223372036854775808 blocks"},
			{"groups", 88, 4, 3, "in 3 allocation groups"},
			{"no groups", 88, 4, 0, "in 0 allocation groups"},
			{"group size 0", 84, 4, 0, "groups of 0 blocks"},
			{"group size all ones", 84, 4, 1<<32 - 1, "groups of 4294967295 blocks"},
			{"group's logarithm", 124, 1, 60, "(2^60)"},
			{"sector", 102, 2, 0, "sectors of 0 bytes"},
			{"sector's logarithm", 121, 1, 12, "(2^12)"},
			{"inode", 104, 2, 4096, "inodes of 4096 bytes"},
			{"inodes in a block", 123, 1, 9, "2^9 in a block"},
			{"directory blocks", 192, 1, 7, "directory blocks of 2^17 bytes"},
			{"directory blocks all ones", 192, 1, 255, "directory blocks of 2^265 bytes"},
			{"version", 101, 1, 3, "version 3"},
			{"being made", 126, 1, 1, "mkfs.xfs"},
			{"log past the end", 96, 4, 1<<32 - 1, "log: "},
			{"log of nothing", 96, 4, 0, "log: "},
			{"log in no group", 48, 8, 1 << 60, "log: "},
		} {
			t.Run(version+" "+tt.name, func(t *testing.T) {
				b := bytes.Clone(image)
				var v [8]byte
				binary.BigEndian.PutUint64(v[:], tt.value)
				copy(b[tt.at:], v[8-tt.n:])
				if version == "v5" {
					seal(b[:512], 224)
				}
				_, err := Open(bytes.NewReader(b), int64(len(b)))
				if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("Open: %v; want ErrFormat with %q", err, tt.err)
				}
			})
		}
	}
}

func TestOpenErrors(t *testing.T) {
	b := storedImage(t, "v5")
	if _, err := Open(bytes.NewReader(b), int64(len(b))/2); !errors.Is(err, ErrFormat) {
		t.Errorf("Open of half of it: %v; want ErrFormat", err)
	}
	if _, err := Open(bytes.NewReader(b), 100); !errors.Is(err, ErrFormat) {
		t.Errorf("Open of 100 bytes: %v; want ErrFormat", err)
	}
	if _, err := Open(bytes.NewReader(b[:5*mib]), int64(len(b))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Open of a reader that ends early: %v; want io.ErrUnexpectedEOF", err)
	}
	if _, err := Open(&memory{b: b, fail: 1024}, int64(len(b))); !errors.Is(err, errBroken) || errors.Is(err, ErrFormat) {
		t.Errorf("Open with a failing read: %v; want the reader's error, not ErrFormat", err)
	}
	for _, feature := range []uint32{1 << 11, 1 << 31} {
		c := bytes.Clone(b)
		binary.BigEndian.PutUint32(c[216:], binary.BigEndian.Uint32(c[216:])|feature)
		seal(c[:512], 224)
		if _, err := Open(bytes.NewReader(c), int64(len(c))); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "newer than esxodus") {
			t.Errorf("Open with feature %#x: %v; want ErrFormat", feature, err)
		}
	}
	c := bytes.Clone(b)
	c[110]++
	if _, err := Open(bytes.NewReader(c), int64(len(c))); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Open with a wrong checksum: %v; want ErrFormat", err)
	}
}

// readAll reads what a path is: a file's bytes, a directory's entries, a link.
func readAll(fsys *FS, name string) error {
	info, err := fsys.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		_, err = fsys.ReadLink(name)
		return err
	}
	if info.IsDir() {
		_, err = fsys.ReadDir(name)
		return err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(f, 4*mib))
	return errors.Join(err, f.Close())
}

// TestInodeHostile changes bytes of a path's inode.
func TestInodeHostile(t *testing.T) {
	type change struct {
		at    int
		bytes string
	}
	all := strings.Repeat("\xff", 16)
	for _, tt := range []struct {
		name, path, err string
		changes         []change // -1 is where the fork begins
	}{
		{"no magic", "etc/fstab", "no inode", []change{{0, "XX"}}},
		{"free", "etc/fstab", "it is free", []change{{2, "\x00\x00"}}},
		{"version", "etc/fstab", "no inode", []change{{4, "\x04"}}},
		{"negative size", "etc/fstab", "size -1", []change{{56, all[:8]}}},
		{"fork beyond the inode", "etc/fstab", "a fork of", []change{{82, "\xff"}}},
		{"format", "etc/fstab", "format 7", []change{{5, "\x07"}}},
		{"file in its inode", "etc/fstab", "format 1", []change{{5, "\x01"}}},
		{"realtime", "etc/fstab", "realtime device", []change{{91, "\x01"}}},
		{"extents beyond the fork", "whole", "extents in a fork", []change{{76, all[:4]}, {24, all[:8]}}},
		{"extent anywhere", "whole", "group", []change{{-1, "\x00\x00\x00\x00\x00\x00\x01" + all[7:]}}},
		{"tree too high", "fragmented", "65535 levels", []change{{-1, all[:2]}}},
		{"tree too low", "fragmented", "0 levels", []change{{-1, "\x00\x00"}}},
		{"tree's root empty", "fragmented", "0 entries", []change{{-1, "\x00\x01\x00\x00"}}},
		{"tree's root full", "fragmented", "65535 entries", []change{{-1, "\x00\x01\xff\xff"}}},
		{"tree of other height", "fragmented", "is not a node of level", []change{{-1, "\x00\x05"}}},
		{"huge directory", "many", "; the limit is", []change{{56, "\x00\x00\x00\x01\x00\x00\x00\x00"}}},
		{"directory cut short", "many", "not a whole number", []change{{62, "\x00\x10"}}},
		{"directory of a file's data", "etc", "a directory block", nil},
		{"short directory that claims more", "etc", "is cut short", []change{{-1, "\xff"}}},
		{"long link", "link 1", "a link of", []change{{56, "\x00\x00\x00\x00\x00\x00\x04\x01"}}},
		{"link longer than its inode", "link 30", "a link of", []change{{56, "\x00\x00\x00\x00\x00\x00\x04\x00"}}},
		{"link in a hole", "link 1000", "in a hole", []change{{76, "\x00\x00\x00\x00"}, {24, "\x00\x00\x00\x00\x00\x00\x00\x00"}}},
		{"link of huge blocks", "link 1000", "too many blocks", []change{{-1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00"}}},
	} {
		for _, version := range []string{"v4", "v5"} {
			t.Run(version+" "+tt.name, func(t *testing.T) {
				b := storedImage(t, version)
				fsys, err := Open(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				at := fsys.where(t, tt.path)
				in := b[at:][:fsys.inodeSize]
				base := 100
				if version == "v5" {
					base = 176
				}
				if tt.changes == nil { // its data is another file's
					other := b[fsys.where(t, "whole"):][:fsys.inodeSize]
					copy(in[base:], other[base:base+16])
					in[5], in[82] = 2, 0
					copy(in[56:], "\x00\x00\x00\x00\x00\x00\x10\x00")
					copy(in[24:32], other[24:32])
					copy(in[76:80], other[76:80])
				}
				for _, c := range tt.changes {
					if c.at < 0 {
						c.at = base
					}
					copy(in[c.at:], c.bytes)
				}
				if version == "v5" {
					seal(in, 100)
				}
				if err := readAll(fsys, tt.path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("reading %s: %v; want ErrFormat with %q", tt.path, err, tt.err)
				}
			})
		}
	}
}

// TestStaleBlocks puts blocks of version 5, with right checksums, where they
// don't belong.
func TestStaleBlocks(t *testing.T) {
	image := storedImage(t, "v5")
	for _, tt := range []struct {
		magic, path, err string
		sum, at          int
	}{
		{"XDD3", "many", "belongs to inode", 4, 8},
		{"XDD3", "many", "belongs to inode", 4, 40},
		{"XDD3", "many", "or to another file system", 4, 24},
		{"XDD3", "many", "the checksum", 0, 100},
		{"BMA3", "fragmented", "belongs to inode", 64, 24},
		{"BMA3", "fragmented", "belongs to inode", 64, 56},
		{"BMA3", "fragmented", "the checksum", 0, 100},
		{"XSLM", "link 1000", "belongs to inode", 12, 32},
		{"XSLM", "link 1000", "want those at", 12, 4},
		{"XSLM", "link 1000", "bytes at 0", 12, 8},
		{"XSLM", "link 1000", "the checksum", 0, 100},
	} {
		b := bytes.Clone(image)
		n := 0
		for off := 0; off < len(b); off += 1024 {
			if string(b[off:off+4]) != tt.magic {
				continue
			}
			size := map[string]int{"XDD3": 4096, "BMA3": 1024, "XSLM": 2048}[tt.magic]
			block := b[off : off+size]
			block[tt.at] ^= 1
			if tt.sum > 0 {
				seal(block, tt.sum)
			}
			n++
		}
		if n == 0 {
			t.Fatalf("the image has no %s", tt.magic)
		}
		fsys, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := readAll(fsys, tt.path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s with another byte %d: %v; want ErrFormat with %q", tt.magic, tt.at, err, tt.err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	images := [][]byte{storedImage(f, "v4"), storedImage(f, "v4-small-blocks"), storedImage(f, "v5")}
	paths := []string{
		".", "etc", "etc/fstab", "empty", "odd", "block", "many", "shrunk", "link 1", "link 1000", "link 200",
		"fragmented", "sparse", "unwritten", "whole", strings.Repeat("deep/", 60) + "file",
	}
	for i, b := range images {
		fsys, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		for field := range uint32(14) { // fields of the superblock
			f.Add(uint8(i), uint32(4+8*field), uint64(1<<63-1), uint32(120+field), uint64(field))
		}
		for _, path := range paths {
			at := uint32(fsys.where(f, path))
			for _, field := range []uint32{5, 24, 56, 76, 82, 100, 108, 176, 184, 192} {
				f.Add(uint8(i), at+field, uint64(1<<64-1), at+field+8, uint64(field)<<40)
			}
		}
		for _, magic := range []string{"XDD3", "XD2D", "XDB3", "XD2B", "BMA3", "BMAP", "XSLM", "\xfe\xed\xba\xbe"} {
			if at := bytes.Index(b, []byte(magic)); at > 0 {
				f.Add(uint8(i), uint32(at+4), uint64(1<<62), uint32(at+72), uint64(1<<64-1))
				f.Add(uint8(i), uint32(at+16), uint64(0), uint32(at+64), uint64(7<<56))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, at1 uint32, v1 uint64, at2 uint32, v2 uint64) {
		b := images[int(which)%len(images)]
		for _, p := range []struct {
			at uint32
			v  uint64
		}{{at1, v1}, {at2, v2}} {
			at := int(p.at) % (len(b) - 8192)
			part := b[at&^4095:][:8192]
			defer copy(part, bytes.Clone(part)) // cheaper than to copy the image
			binary.BigEndian.PutUint64(b[at:], p.v)
			resealed(b, at)
		}
		m := &memory{b: b}
		fsys, err := Open(m, int64(len(b)))
		if err != nil {
			return
		}
		for _, path := range paths {
			before := m.bytes
			if err := readAll(fsys, path); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, fs.ErrNotExist) && !pathError(err) {
				t.Errorf("%s: %v; want ErrFormat", path, err)
			}
			if n := m.bytes - before; n > 512*mib {
				t.Errorf("%s: %d bytes read of an image of %d", path, n, len(b))
			}
		}
	})
}
