package lilo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Report is what [Verify] found on a disk that will boot.
type Report struct {
	Low        bool     `json:"low"` // stage 2 is in sectors 2 to 7, too
	Header     uint64   `json:"header"`
	MapSectors int      `json:"map_sectors"`
	Default    string   `json:"default"`
	Images     []Booted `json:"images"`
	// Highest is the last LBA that the loader reads.
	Highest uint64 `json:"highest"`
}

// Booted is an image whose kernel and initrd have the sums of the map.
type Booted struct {
	Label  string `json:"label"`
	Alias  string `json:"alias,omitempty"`
	Kernel int64  `json:"kernel"`           // bytes
	Initrd int64  `json:"initrd,omitempty"` // bytes
}

// ErrLoader is wrapped by errors about sectors 0 and 2 to 7.
var ErrLoader = errors.New("the boot loader isn't whole")

// Verify follows the loader's way over a disk of size bytes as it lies there,
// by LBA only and with no help of the guest: sector 0 with its empty partition
// table; where stage 2 is in sectors 2 to 7, LVM's label beside it; stage 2,
// the map, and the sums of every kernel and initrd. The first thing that is
// wrong is the error.
func Verify(ctx context.Context, disk io.ReaderAt, size int64) (*Report, error) {
	v := &verifier{disk: disk, size: size}
	boot := make([]byte, 8*SectorSize)
	if err := v.read(0, boot); err != nil {
		return nil, err
	}
	low, err := v.loader(boot)
	if err != nil {
		return nil, err
	}
	header := make([]byte, SectorSize)
	lba := binary.LittleEndian.Uint64(boot[bootHeaderAt:])
	if err := v.read(lba, header); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	id, err := mapID(header)
	if err != nil {
		return nil, fmt.Errorf("sector %d: %w", lba, err)
	}
	if id != binary.LittleEndian.Uint32(boot[bootIDAt:]) || !bytes.Equal(boot[bootSerialAt:][:4], header[headerSerialAt:][:4]) {
		return nil, fmt.Errorf("sector %d: %w: it isn't the one that sector 0 was written for; run lilo", lba, ErrMap)
	}
	d, err := decodeMap(header, v.read)
	if err != nil {
		return nil, fmt.Errorf("map at sector %d: %w", lba, err)
	}
	if !bytes.Equal(d.overlay, overlay()) {
		return nil, fmt.Errorf("map at sector %d: %w: it is for another version of the loader; run lilo", lba, ErrMap)
	}
	r := &Report{
		Low: low, Header: lba, Highest: max(d.highest, lba, v.highest),
		MapSectors: int(binary.LittleEndian.Uint32(header[headerSectorsAt:])),
		Default:    d.menu.Images[d.menu.Default].Label,
	}
	for i := range d.menu.Images {
		b, err := v.image(ctx, &d.menu.Images[i], d.images[i])
		if err != nil {
			return nil, fmt.Errorf("image %q: %w", d.menu.Images[i].Label, err)
		}
		r.Images = append(r.Images, b)
	}
	return r, nil
}

type verifier struct {
	disk    io.ReaderAt
	size    int64
	highest uint64
}

// read reads sectors from lba on.
func (v *verifier) read(lba uint64, b []byte) error {
	n := int64(len(b))
	if lba > maxLBA || int64(lba)*SectorSize > v.size-n {
		return fmt.Errorf("sector %d is beyond the disk's end at %d; run lilo", lba, v.size/SectorSize)
	}
	if n, err := v.disk.ReadAt(b, int64(lba)*SectorSize); err != nil && n < len(b) {
		return fmt.Errorf("sector %d: %w", lba, err)
	}
	v.highest = max(v.highest, lba)
	return nil
}

// loader checks the first eight sectors and stage 2's copy in the map.
func (v *verifier) loader(boot []byte) (low bool, err error) {
	le := binary.LittleEndian
	switch {
	case string(boot[bootMagicAt:][:len(bootMagic)]) != bootMagic || boot[510] != 0x55 || boot[511] != 0xaa:
		return false, fmt.Errorf("%w: sector 0 isn't LILO's; run lilo", ErrLoader)
	case !bytes.Equal(boot[bootCodeEnd:510], make([]byte, 510-bootCodeEnd)):
		return false, fmt.Errorf("%w: there is a partition table in sector 0, which hides the physical volume; run lilo", ErrLoader)
	case le.Uint16(boot[bootFormatAt:]) != bootFormat || !sameCode(boot):
		return false, fmt.Errorf("%w: sector 0 is of another version of the loader, or damaged; run lilo", ErrLoader)
	}
	low = le.Uint64(boot[bootListsAt:]) != 0
	if low && string(boot[SectorSize:][:8]) != "LABELONE" {
		return false, fmt.Errorf("%w: sector 1 isn't LVM's label; the physical volume is damaged", ErrLoader)
	}
	for list := range 2 {
		if list == 0 && !low {
			continue
		}
		if err := v.stage2(boot, list); err != nil {
			return false, err
		}
	}
	return low, nil
}

// sameCode compares stage 1 with ours, apart from its parameters.
func sameCode(boot []byte) bool {
	end := bootListsAt + 2*8*Stage2Sectors
	return string(boot[:bootIDAt]) == stage1[:bootIDAt] && string(boot[end:SectorSize]) == stage1[end:]
}

func (v *verifier) stage2(boot []byte, list int) error {
	le := binary.LittleEndian
	var all []byte
	for i := range Stage2Sectors {
		b := make([]byte, SectorSize)
		lba := le.Uint64(boot[bootListsAt+8*(list*Stage2Sectors+i):])
		if list == 0 && lba != uint64(Stage2Sector+i) {
			return fmt.Errorf("%w: stage 2 isn't in sectors 2 to 7; run lilo", ErrLoader)
		}
		if err := v.read(lba, b); err != nil {
			return fmt.Errorf("stage 2: %w", err)
		}
		all = append(all, b...)
	}
	if sum(streamSeed, all) != le.Uint32(boot[bootSumAt:]) || !bytes.Equal(all, Stage2()) {
		where := [...]string{"sectors 2 to 7", "the map's copy of it"}[list]
		return fmt.Errorf("%w: stage 2 in %s is damaged; run lilo", ErrLoader, where)
	}
	return nil
}

// image reads the kernel and the initrd where the map says they are.
func (v *verifier) image(ctx context.Context, img *Image, d decodedImage) (Booted, error) {
	b := Booted{Label: img.Label, Alias: img.Alias, Kernel: img.Kernel.Size}
	r := &runReader{ctx: ctx, v: v, runs: img.Kernel.Runs}
	if err := matches(r, d.setup, d.head); err != nil {
		return b, fmt.Errorf("kernel: %w", err)
	}
	if err := matches(r, img.Kernel.Size-d.setup, d.rest); err != nil {
		return b, fmt.Errorf("kernel: %w", err)
	}
	if img.Initrd == nil {
		return b, nil
	}
	b.Initrd = img.Initrd.Size
	if err := matches(&runReader{ctx: ctx, v: v, runs: img.Initrd.Runs}, b.Initrd, d.initrdSum); err != nil {
		return b, fmt.Errorf("initrd: %w", err)
	}
	return b, nil
}

func matches(r io.Reader, n int64, want uint32) error {
	got, err := sumReader(r, n)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: the file has changed since lilo ran; run lilo", ErrMap)
	}
	return nil
}

// runReader reads the sectors of runs, in order.
type runReader struct {
	ctx  context.Context
	v    *verifier
	runs []Run
	done uint32 // sectors of the first run
	buf  []byte // what is left of the last read
}

func (r *runReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	if len(r.buf) == 0 {
		if len(r.runs) == 0 {
			return 0, io.EOF
		}
		run := r.runs[0]
		n := min(run.Count-r.done, 128)
		r.buf = make([]byte, n*SectorSize)
		if err := r.v.read(run.LBA+uint64(r.done), r.buf); err != nil {
			return 0, err
		}
		if r.done += n; r.done == run.Count {
			r.runs, r.done = r.runs[1:], 0
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}
