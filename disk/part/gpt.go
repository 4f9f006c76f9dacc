package part

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"

	"esxodus/disk"
	"esxodus/disk/internal/readat"
)

const (
	gptHeaderSize = 92
	maxGPTEntries = 1024 // tools make 128; four times what Windows can use
	maxGPTEntry   = 4096 // bytes of one entry
	maxGPTArray   = 1 << 20
	gptLegacyBoot = 1 << 2 // attribute bit: legacy BIOS bootable
)

// gptHeader is the part of a GPT header (UEFI 2.10, table 5.5) that is used.
// Numbers are sectors of the table's size.
type gptHeader struct {
	diskGUID    string
	arrayLBA    int64
	lastUsable  int64 // the last sector that a partition may have
	count, size int
	arrayCRC    uint32
}

// readGPT tries the primary header with sectors of 512 and 4096 bytes, then
// the backup in the disk's last sector.
func readGPT(img disk.Image, m mbr) (Table, error) {
	var errs []error
	for _, backup := range []bool{false, true} {
		for _, ss := range []int64{512, 4096} {
			lba := int64(1)
			if backup {
				lba = img.Size()/ss - 1
			}
			t, err := readGPTAt(img, lba, ss)
			switch {
			case err == nil:
				t.Backup = backup
				t.Hybrid = m.hybrid()
				t.describe(errs)
				return t, nil
			case !errors.Is(err, ErrFormat):
				return Table{}, err
			case ss == 512:
				errs = append(errs, err)
			}
		}
	}
	return Table{}, fmt.Errorf("neither GPT header can be used: primary: %w; backup: %w", errs[0], errs[1])
}

func (t *Table) describe(errs []error) {
	if t.Backup {
		t.Notes = append(t.Notes, fmt.Sprintf("the backup GPT at the end of the disk is used, as the primary is broken: %v", errs[0]))
	}
	if t.Hybrid {
		t.Notes = append(t.Notes, "the MBR lists partitions besides the GPT (hybrid); only the GPT is followed")
	}
}

func readGPTAt(img disk.Image, lba, ss int64) (Table, error) {
	b := make([]byte, sector)
	if err := readat.Full(img, b, lba*ss); errors.Is(err, io.ErrUnexpectedEOF) || lba < 1 {
		return Table{}, fmt.Errorf("%w: the disk has no sector %d", ErrFormat, lba)
	} else if err != nil {
		return Table{}, fmt.Errorf("gpt header at sector %d: %w", lba, err)
	}
	h, err := parseGPTHeader(b, lba)
	if err != nil {
		return Table{}, err
	}
	array, err := readSome(img, h.arrayLBA*ss, int64(h.count*h.size), img.Size())
	if err != nil {
		return Table{}, fmt.Errorf("gpt entries at sector %d: %w", h.arrayLBA, err)
	}
	if len(array) != h.count*h.size {
		return Table{}, fmt.Errorf("%w gpt header at sector %d: its entries at sector %d are beyond the end of the disk", ErrFormat, lba, h.arrayLBA)
	}
	if crc32.ChecksumIEEE(array) != h.arrayCRC {
		return Table{}, fmt.Errorf("%w gpt header at sector %d: the checksum of its entries at sector %d is wrong", ErrFormat, lba, h.arrayLBA)
	}
	t := Table{Kind: KindGPT, SectorSize: ss, ID: h.diskGUID, Usable: (h.lastUsable + 1) * ss}
	for i := range h.count {
		e, ok, err := parseGPTEntry(array[i*h.size:(i+1)*h.size], i+1, ss)
		if err != nil {
			return Table{}, err
		}
		if ok {
			t.Entries = append(t.Entries, e)
		}
	}
	return t, nil
}

// parseGPTHeader decodes the header that was read at sector lba.
func parseGPTHeader(b []byte, lba int64) (gptHeader, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w gpt header at sector %d: %s", ErrFormat, lba, fmt.Sprintf(format, args...))
	}
	if len(b) < gptHeaderSize || !bytes.Equal(b[:8], []byte("EFI PART")) {
		return gptHeader{}, bad("no signature EFI PART")
	}
	le := binary.LittleEndian
	n := le.Uint32(b[12:])
	if n < gptHeaderSize || int64(n) > int64(len(b)) {
		return gptHeader{}, bad("its size is %d bytes", n)
	}
	sum := bytes.Clone(b[:n])
	clear(sum[16:20])
	if crc32.ChecksumIEEE(sum) != le.Uint32(b[16:]) {
		return gptHeader{}, bad("its checksum is wrong")
	}
	if self := le.Uint64(b[24:]); self != uint64(lba) { // lba is positive
		return gptHeader{}, bad("it says that it is at sector %d", self)
	}
	count, size := le.Uint32(b[80:]), le.Uint32(b[84:])
	if count == 0 || count > maxGPTEntries || size < 128 || size > maxGPTEntry || size%8 != 0 || count*size > maxGPTArray {
		return gptHeader{}, bad("%d entries of %d bytes", count, size)
	}
	const maxLBA = 1 << 50 // far above any disk; keeps the products in range
	array := le.Uint64(b[72:])
	if array > maxLBA {
		return gptHeader{}, bad("entries at sector %d", array)
	}
	return gptHeader{
		diskGUID: guid(b[56:72]), arrayLBA: int64(array), lastUsable: int64(min(le.Uint64(b[48:]), maxLBA)),
		count: int(count), size: int(size), arrayCRC: le.Uint32(b[88:]),
	}, nil
}

// parseGPTEntry decodes one entry. ok is false for an unused one.
func parseGPTEntry(b []byte, number int, ss int64) (e Entry, ok bool, err error) {
	typ := guid(b[:16])
	if typ == guidUnused {
		return Entry{}, false, nil
	}
	le := binary.LittleEndian
	first, last := le.Uint64(b[32:]), le.Uint64(b[40:])
	const maxLBA = 1 << 50
	if first > last || last >= maxLBA || first == 0 {
		return Entry{}, false, fmt.Errorf("%w gpt: partition %d spans sectors %d to %d", ErrFormat, number, first, last)
	}
	e = Entry{
		Number: number, Offset: int64(first) * ss, Length: int64(last-first+1) * ss,
		Type: typ, TypeName: gptTypeName(typ), GUID: guid(b[16:32]), Flags: le.Uint64(b[48:]),
		Name: utf16Name(b[56:128]),
	}
	e.Active = e.Flags&gptLegacyBoot != 0
	return e, true, nil
}

// guid prints 16 bytes whose first three fields are little-endian, in capitals.
func guid(b []byte) string {
	u := uuid.UUID{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}
	copy(u[8:], b[8:16])
	return strings.ToUpper(u.String())
}

// utf16Name decodes a name that ends at the first zero.
func utf16Name(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return text([]byte(string(utf16.Decode(u))))
}
