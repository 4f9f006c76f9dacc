package part

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"esxodus/disk/internal/readat"
	"esxodus/inventory/fit"
)

// Content is what a range of bytes holds, by its signature. The names of types
// are those of blkid where it has one, but for lvm2 (LVM2_member), md
// (linux_raid_member), luks (crypto_LUKS), zfs (zfs_member) and bitlocker.
type Content struct {
	Type    string // ext2, ext3, ext4, xfs, swap, lvm2 … ; "" unknown
	Version string // where a type has several: "1.2" of md, "2" of luks
	Label   string
	UUID    string // as blkid prints it
	// Size is how many bytes it claims, 0 if it doesn't say. It can be less
	// than the partition, and more on a damaged one.
	Size int64
	// BlockSize is its allocation unit in bytes, 0 if it doesn't say.
	BlockSize int64
	Features  []string // ext2/3/4: the features in tune2fs's words
	Dirty     bool     // not cleanly unmounted, or its journal holds changes
	Suspended bool     // swap: it holds a hibernated system
	Members   int      // btrfs, md: devices that it is made of
	Detail    string   // anything else worth a line: "raid1"
}

// The bytes that a probe looks at: everything with a signature but ZFS's
// uberblocks and md's superblocks at the end.
const headSize = 72 << 10

// peek gives probers the head of a range and single reads behind it.
type peek struct {
	r    io.ReaderAt
	size int64
	head []byte
	err  error // the first error of reading
}

// at returns n bytes at off, or nil when the range or the reading ends.
func (p *peek) at(off, n int64) []byte {
	if off < 0 || n < 0 || off > p.size-n || p.err != nil {
		return nil
	}
	if off+n <= int64(len(p.head)) {
		return p.head[off : off+n]
	}
	b := make([]byte, n)
	if p.err = readat.Full(p.r, b, off); p.err != nil {
		return nil
	}
	return b
}

// Probe says what the first size bytes of r hold. A content that it doesn't
// know has the type "" and is not an error; an error is one of reading.
func Probe(r io.ReaderAt, size int64) (Content, error) {
	cs, err := probe(r, size, 1)
	if err != nil || len(cs) == 0 {
		return Content{}, err
	}
	return cs[0], nil
}

// Signatures says all that the first size bytes of r may hold, the likeliest, which
// is [Probe]'s answer, first. There is more than one where what was there before left
// a signature; which of them counts only the guest knows.
func Signatures(r io.ReaderAt, size int64) ([]Content, error) { return probe(r, size, len(probers())) }

// probers lists the kinds of content. Containers come first: a mirror's member or a
// re-used disk also shows the signature of what is inside or was there before.
func probers() []func(*peek) (Content, bool) {
	return []func(*peek) (Content, bool){
		probeLUKS, probeLVM2, probeBitLocker, probeForeign, probeMD1, probeMDEnd, probeSwap, probeXFS, probeExt, probeBtrfs,
		probeNTFS, probeExFAT, probeReFS, probeFAT, probeZFS, probeSquashFS, probeISO9660, probeUFS,
	}
}

// probe returns the first signatures that it finds, at most a number.
func probe(r io.ReaderAt, size int64, most int) (found []Content, err error) {
	head, err := readSome(r, 0, headSize, size)
	if err != nil {
		return nil, err
	}
	p := &peek{r: r, size: size, head: head}
	for _, probe := range probers() {
		c, ok := probe(p)
		if p.err != nil {
			return nil, fmt.Errorf("looking for a signature: %w", p.err)
		}
		if !ok {
			continue
		}
		if found = append(found, c); len(found) == most {
			break
		}
	}
	return found, nil
}

// probeForeign knows by their magic numbers what other programs keep on a bare
// partition, and device-mapper targets with a header: whatever file system was there
// before, these don't wipe all of it. The places are libblkid's (util-linux 2.41,
// e2fsprogs 1.47) and, for VMFS, vmfs-tools'.
func probeForeign(p *peek) (Content, bool) {
	for _, f := range []struct {
		name  string
		at    int64
		magic string
	}{
		{"oracleasm", 32, "ORCLDISK"},
		{"ceph_bluestore", 0, "bluestore block device"},
		{"bcache", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
		{"vdo", 0, "dmvdo001"},
		{"DM_integrity", 0, "integrt\x00"},
		{"DM_verity_hash", 0, "verity\x00\x00"},
		{"DM_snapshot_cow", 0, "SnAp"},
		{"stratis", sector + 4, "!Stra0tis\x86\xff\x02^\x41rh"},
		{"VMFS_volume_member", 1 << 20, "\x0d\xd0\x01\xc0"},
		{"bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
		{"jfs", 32 << 10, "JFS1"},
		{"reiserfs", 64<<10 + 52, "ReIsEr"},
		{"reiser4", 64 << 10, "ReIsEr4"},
		{"gfs2", 64 << 10, "\x01\x16\x19\x70"},
		{"ocfs2", 1 << 10, "OCFSV2"}, // at its second block
		{"ocfs2", 2 << 10, "OCFSV2"},
		{"ocfs2", 4 << 10, "OCFSV2"},
		{"ocfs2", 8 << 10, "OCFSV2"},
		{"f2fs", 1 << 10, "\x10\x20\xf5\xf2"},
		{"vxfs", 1 << 10, "\xf5\xfc\x01\xa5"},
		{"vxfs", 8 << 10, "\xa5\x01\xfc\xf5"},
		{"hfsplus", 1 << 10, "H+\x00\x04"},
		{"apfs", 32, "NXSB"},
	} {
		if string(p.at(f.at, int64(len(f.magic)))) == f.magic {
			return Content{Type: f.name}, true
		}
	}
	return Content{}, false
}

// text makes a printable string of bytes that end at a zero or in blanks.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return fit.Line(strings.TrimRight(string(b), " "))
}

// uuidText prints 16 bytes as they stand, "" when all are zero.
func uuidText(b []byte) string {
	u, err := uuid.FromBytes(b)
	if err != nil || u == uuid.Nil {
		return ""
	}
	return u.String()
}

func hasAt(b []byte, off int, magic string) bool {
	return len(b) >= off+len(magic) && string(b[off:off+len(magic)]) == magic
}

func probeLUKS(p *peek) (Content, bool) {
	b := p.at(0, 512)
	if !hasAt(b, 0, "LUKS\xba\xbe") {
		return Content{}, false
	}
	version := binary.BigEndian.Uint16(b[6:])
	c := Content{Type: "luks", Version: fmt.Sprint(version), UUID: text(b[168:208])}
	if version == 2 {
		c.Label = text(b[24:72])
	}
	return c, true
}

func probeLVM2(p *peek) (Content, bool) {
	for s := range int64(4) {
		b := p.at(s*sector, sector)
		if !hasAt(b, 0, "LABELONE") || !hasAt(b, 24, "LVM2 001") {
			continue
		}
		at := binary.LittleEndian.Uint32(b[20:])
		if at > sector-40 {
			continue
		}
		u := b[at : at+32]
		size := binary.LittleEndian.Uint64(b[at+32:])
		return Content{Type: "lvm2", Version: "001", UUID: LVMUUID(u), Size: clampSize(size, 1)}, true
	}
	return Content{}, false
}

// LVMUUID prints the 32 characters of an LVM identifier in LVM's groups.
func LVMUUID(b []byte) string {
	if len(b) != 32 {
		return ""
	}
	var groups []string
	for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
		groups = append(groups, text(b[:n]))
		b = b[n:]
	}
	return strings.Join(groups, "-")
}

func probeBitLocker(p *peek) (Content, bool) {
	b := p.at(0, sector)
	return Content{Type: "bitlocker"}, hasAt(b, 3, "-FVE-FS-")
}

func probeReFS(p *peek) (Content, bool) {
	b := p.at(0, sector)
	return Content{Type: "refs"}, hasAt(b, 3, "ReFS\x00\x00\x00\x00")
}

func probeSquashFS(p *peek) (Content, bool) {
	b := p.at(0, 96)
	if !hasAt(b, 0, "hsqs") {
		return Content{}, false
	}
	return Content{Type: "squashfs", Size: clampSize(binary.LittleEndian.Uint64(b[40:]), 1)}, true
}

func probeISO9660(p *peek) (Content, bool) {
	b := p.at(32768, 2048)
	if !hasAt(b, 1, "CD001") {
		return Content{}, false
	}
	blocks := uint64(binary.LittleEndian.Uint32(b[80:]))
	return Content{Type: "iso9660", Label: text(b[40:72]), BlockSize: 2048, Size: clampSize(blocks, 2048)}, true
}

func probeUFS(p *peek) (Content, bool) {
	for _, v := range []struct {
		at      int64
		magic   uint32
		version string
	}{{8192, 0x011954, "1"}, {65536, 0x19540119, "2"}} {
		b := p.at(v.at+1372, 4)
		if len(b) == 4 && (binary.LittleEndian.Uint32(b) == v.magic || binary.BigEndian.Uint32(b) == v.magic) {
			return Content{Type: "ufs", Version: v.version}, true
		}
	}
	return Content{}, false
}

// probeZFS looks for the name/value list in the first of a vdev's four labels,
// which begins 16 KiB in, encoded as XDR.
func probeZFS(p *peek) (Content, bool) {
	b := p.at(16<<10, 4<<10)
	if len(b) == 0 || b[0] != 1 || b[1] > 1 || !bytes.Contains(b, []byte("pool_guid")) || !bytes.Contains(b, []byte("txg")) {
		return Content{}, false
	}
	c := Content{Type: "zfs"}
	// name: XDR string "name", type 9 (string), 1 element, XDR string value.
	key := []byte("\x00\x00\x00\x04name\x00\x00\x00\x09\x00\x00\x00\x01")
	if i := bytes.Index(b, key); i >= 0 && i+len(key)+4 <= len(b) {
		rest := b[i+len(key):]
		if n := binary.BigEndian.Uint32(rest); int64(n) <= int64(len(rest)-4) {
			c.Label = text(rest[4 : 4+n])
		}
	}
	return c, true
}

// clampSize is n units in bytes, or 0 when that is beyond any disk.
func clampSize(n uint64, unit int64) int64 {
	if n > uint64((1<<62)/unit) { // unit is positive
		return 0
	}
	return int64(n) * unit
}
