package lilo

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Decode returns the menu that a map file holds. The files have no paths, but
// sizes and runs. Whatever the bytes are, an error wraps [ErrMap]; contents of
// kernels and initrds aren't looked at.
func Decode(mapFile []byte) (*Menu, error) {
	if len(mapFile) < SectorSize || len(mapFile)%SectorSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are not whole sectors", ErrMap, len(mapFile))
	}
	header := mapFile[:SectorSize]
	if _, err := mapID(header); err != nil {
		return nil, err
	}
	index, err := ownSectors(mapFile)
	if err != nil {
		return nil, err
	}
	d, err := decodeMap(header, func(lba uint64, b []byte) error {
		i, ok := index[lba]
		if !ok {
			return fmt.Errorf("%w: it refers to sector %d, which isn't its own", ErrMap, lba)
		}
		copy(b, mapFile[i*SectorSize:])
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &d.menu, nil
}

// ownSectors returns the number of each of the map file's sectors by its LBA.
func ownSectors(mapFile []byte) (map[uint64]int, error) {
	le := binary.LittleEndian
	header, n := mapFile[:SectorSize], len(mapFile)/SectorSize
	first, count := int(le.Uint32(header[headerSelfAt:])), int(le.Uint32(header[headerSelfAt+4:]))
	if int(le.Uint32(header[headerSectorsAt:])) != n || first >= n || first+count != n {
		return nil, fmt.Errorf("%w: %d sectors, its header wants %d", ErrMap, n, le.Uint32(header[headerSectorsAt:]))
	}
	id := le.Uint32(header[headerIDAt:])
	index := make(map[uint64]int, n)
	at := 0
	for i := first; i < n; i++ {
		runs, _, err := decodeList(mapFile[i*SectorSize:][:SectorSize], id)
		if err != nil {
			return nil, fmt.Errorf("sector %d of the map: %w", i, err)
		}
		for _, r := range runs {
			if int64(r.Count) > int64(n-at) {
				return nil, fmt.Errorf("%w: more sectors are listed than it has", ErrMap)
			}
			for k := range r.Count {
				index[r.LBA+uint64(k)] = at
				at++
			}
		}
	}
	if at != n {
		return nil, fmt.Errorf("%w: %d of its %d sectors are listed", ErrMap, at, n)
	}
	return index, nil
}

// decodeList returns the runs of a list sector and where the next one lies.
func decodeList(b []byte, id uint32) (runs []Run, next uint64, err error) {
	le := binary.LittleEndian
	if !sealed(b, id) {
		return nil, 0, fmt.Errorf("%w: a list's sum is wrong", ErrMap)
	}
	n := le.Uint32(b[listCountAt:])
	if n > listRuns {
		return nil, 0, fmt.Errorf("%w: a list of %d runs", ErrMap, n)
	}
	for i := range int(n) {
		at := b[listRunsAt+i*listRunSize:]
		r := Run{LBA: le.Uint64(at), Count: le.Uint32(at[8:])}
		if r.Count == 0 || r.LBA == 0 || r.LBA > maxLBA {
			return nil, 0, fmt.Errorf("%w: a run of %d sectors at %d", ErrMap, r.Count, r.LBA)
		}
		runs = append(runs, r)
	}
	return runs, le.Uint64(b[listNextAt:]), nil
}

// decoded is a map with what a Menu doesn't have of it.
type decoded struct {
	menu    Menu
	images  []decodedImage // as in the menu
	overlay []byte         // of the loader, maybe of another version
	highest uint64         // LBA
}

type decodedImage struct {
	setup                 int64 // size of the kernel's real-mode part
	head, rest, initrdSum uint32
}

// decoder follows a map by the LBAs in it.
type decoder struct {
	decoded
	id     uint32
	sector func(lba uint64, b []byte) error // reads one
}

// decodeMap follows a map from its header, whose sum is right.
func decodeMap(header []byte, sector func(uint64, []byte) error) (*decoded, error) {
	le := binary.LittleEndian
	d := &decoder{id: le.Uint32(header[headerIDAt:]), sector: sector}
	n := int(le.Uint16(header[headerImagesAt:]))
	m := &d.menu
	m.Default = int(le.Uint16(header[headerDefaultAt:]))
	if n == 0 || n > MaxImages || m.Default >= n {
		return nil, fmt.Errorf("%w: image %d of %d is the default", ErrMap, m.Default, n)
	}
	m.Timeout = int(le.Uint16(header[headerTimeoutAt:]))
	m.Delay = int(le.Uint16(header[headerDelayAt:]))
	m.Prompt = le.Uint16(header[headerFlagsAt:])&flagPrompt != 0
	m.Serial = decodeSerial(header[headerSerialAt:])
	var err error
	if err := d.oneShot(le.Uint64(header[headerOneShotAt:])); err != nil {
		return nil, fmt.Errorf("one-shot command line: %w", err)
	}
	if m.Message, err = d.text(header[headerMessageAt:], MaxMessage); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if d.overlay, err = d.text(header[headerOverlayAt:], maxOverlay); err != nil {
		return nil, fmt.Errorf("loader: %w", err)
	}
	for i := range n {
		if err := d.image(le.Uint64(header[headerImageAt+8*i:])); err != nil {
			return nil, fmt.Errorf("image %d: %w", i+1, err)
		}
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMap, err)
	}
	return &d.decoded, nil
}

// maxOverlay is what stage 2 has room for.
const maxOverlay = 18 * SectorSize

// read reads a sector that must have a sum.
func (d *decoder) read(lba uint64, magic string) ([]byte, error) {
	b := make([]byte, SectorSize)
	if err := d.sector(lba, b); err != nil {
		return nil, err
	}
	d.highest = max(d.highest, lba)
	if !sealed(b, d.id) || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: sector %d has a wrong sum", ErrMap, lba)
	}
	return b, nil
}

// list follows lists from lba on until they have the sectors of size bytes.
func (d *decoder) list(lba uint64, size int64) ([]Run, error) {
	var all []Run
	left := sectors(size)
	for left > 0 {
		b, err := d.read(lba, "")
		if err != nil {
			return nil, err
		}
		runs, next, err := decodeList(b, d.id)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			left -= int64(r.Count)
			d.highest = max(d.highest, r.LBA+uint64(r.Count)-1)
		}
		all = append(all, runs...)
		if len(runs) == 0 || len(all) > maxRuns || left < 0 || (next == 0) != (left == 0) {
			return nil, fmt.Errorf("%w: the list at sector %d doesn't add up to %d bytes", ErrMap, lba, size)
		}
		lba = next
	}
	return all, nil
}

// text reads a stream that lies in the map itself.
func (d *decoder) text(ref []byte, limit int) ([]byte, error) {
	le := binary.LittleEndian
	list, size := le.Uint64(ref), int64(le.Uint32(ref[streamSizeAt:]))
	if list == 0 {
		return nil, nil
	}
	if size > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMap, size, limit)
	}
	runs, err := d.list(list, size)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, sectors(size)*SectorSize)
	for _, r := range runs {
		for i := range r.Count {
			n := len(b)
			b = b[:n+SectorSize]
			if err := d.sector(r.LBA+uint64(i), b[n:]); err != nil {
				return nil, err
			}
		}
	}
	if sum(streamSeed, b[:size]) != le.Uint32(ref[streamSumAt:]) {
		return nil, fmt.Errorf("%w: a sum is wrong", ErrMap)
	}
	return b[:size], nil
}

func (d *decoder) oneShot(lba uint64) error {
	b, err := d.read(lba, oneShotMagic)
	if err != nil {
		return err
	}
	m := &d.menu
	m.OneShot, err = decodeText(b[oneShotAt:])
	m.OneShotTyped = m.OneShot != "" && binary.LittleEndian.Uint16(b[oneShotFlagsAt:])&oneShotRoot == 0
	return err
}

func decodeText(b []byte) (string, error) {
	n := int(binary.LittleEndian.Uint16(b))
	if n > MaxLine {
		return "", fmt.Errorf("%w: a line of %d bytes", ErrMap, n)
	}
	return string(b[2:][:n]), nil
}

func decodeSerial(b []byte) *Serial {
	divisor := int(binary.LittleEndian.Uint16(b[2:]))
	if b[0] == 0xff || divisor == 0 {
		return nil
	}
	s := &Serial{Port: int(b[0]), Bits: int(b[1]&3) + 5, BPS: 115200 / divisor, Parity: 'n'}
	switch b[1] & 0x18 {
	case 0x08:
		s.Parity = 'o'
	case 0x18:
		s.Parity = 'e'
	}
	return s
}

func (d *decoder) image(lba uint64) (err error) {
	b, err := d.read(lba, imageMagic)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	flags := le.Uint16(b[imageFlagsAt:])
	img := Image{
		Label: name(b[imageLabelAt:]), Alias: name(b[imageAliasAt:]),
		Restricted: flags&imageRestricted != 0, SingleKey: flags&imageSingleKey != 0, Lock: flags&imageLock != 0,
	}
	if flags&imageVideo != 0 {
		mode := VideoMode(le.Uint16(b[imageVideoAt:]))
		img.Video = &mode
	}
	if flags&imagePassword != 0 {
		img.Password = &Password{
			Salt: [16]byte(b[imageSaltAt:]), Hash: [32]byte(b[imageHashAt:]), Rounds: le.Uint32(b[imageRoundsAt:]),
		}
	}
	cmdline, err := d.text(b[imageCmdlineAt:], MaxCmdline+1)
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	img.Cmdline = string(bytes.TrimSuffix(cmdline, []byte{0}))
	if img.Fallback, err = decodeText(b[imageFallbackAt:]); err != nil {
		return fmt.Errorf("fallback: %w", err)
	}
	di := decodedImage{
		setup: int64(le.Uint32(b[imageSetupAt:])), head: le.Uint32(b[imageKernelAt+streamSumAt:]),
		rest: le.Uint32(b[imageRestSumAt:]), initrdSum: le.Uint32(b[imageInitrdAt+streamSumAt:]),
	}
	if err := d.file(&img.Kernel, b[imageKernelAt:], maxKernel); err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	if di.setup <= 0 || di.setup > maxSetup || di.setup >= img.Kernel.Size {
		return fmt.Errorf("%w: a kernel of %d bytes with setup code of %d", ErrMap, img.Kernel.Size, di.setup)
	}
	if le.Uint64(b[imageInitrdAt:]) != 0 {
		img.Initrd = new(File)
		if err := d.file(img.Initrd, b[imageInitrdAt:], maxInitrd); err != nil {
			return fmt.Errorf("initrd: %w", err)
		}
	}
	d.menu.Images = append(d.menu.Images, img)
	d.images = append(d.images, di)
	return nil
}

func (d *decoder) file(f *File, ref []byte, limit int64) (err error) {
	f.Size = int64(binary.LittleEndian.Uint32(ref[streamSizeAt:]))
	if f.Size == 0 || f.Size > limit {
		return fmt.Errorf("%w: size of %d bytes", ErrMap, f.Size)
	}
	f.Runs, err = d.list(binary.LittleEndian.Uint64(ref), f.Size)
	return err
}

// name returns a label, which NULs fill to 16 bytes.
func name(b []byte) string {
	return string(bytes.TrimRight(b[:MaxLabel+1], "\x00"))
}
