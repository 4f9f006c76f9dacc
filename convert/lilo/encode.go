package lilo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Open opens the content of a file of a [Menu] by its Path.
type Open func(path string) (io.ReadCloser, error)

// Sectors returns how many sectors the map of m takes, or an error as of
// [Menu.Check].
func Sectors(m *Menu) (int, error) {
	if err := m.Check(); err != nil {
		return 0, err
	}
	n := stage2Index + Stage2Sectors + 1 + textSectors(len(overlay())) + textSectors(len(m.Message))
	for i := range m.Images {
		img := &m.Images[i]
		n += 1 + textSectors(len(img.Cmdline)+1) + lists(len(trim(img.Kernel)))
		if img.Initrd != nil {
			n += lists(len(trim(*img.Initrd)))
		}
	}
	return n + selfLists(n), nil
}

// lists is how many list sectors n runs take.
func lists(n int) int { return (n + listRuns - 1) / listRuns }

// textSectors is how many sectors a stream of n bytes in the map itself takes,
// lists included, each sector being a run in the worst case.
func textSectors(n int) int {
	data := int(sectors(int64(n)))
	return data + lists(data)
}

// selfLists is how many sectors list n others and themselves.
func selfLists(n int) int {
	own := lists(n)
	for lists(n+own) > own {
		own++
	}
	return own
}

// Same reports whether the loader reads the same sectors for both.
func (f File) Same(o File) bool { return f.Size == o.Size && slices.Equal(trim(f), trim(o)) }

// trim returns the runs of the sectors that hold the file's bytes, adjacent
// ones merged. Of a hole each sector is a run: there is one sector of zeros.
func trim(f File) []Run {
	var runs []Run
	left := sectors(f.Size)
	for _, r := range f.Runs {
		if left <= 0 {
			break
		}
		r.Count = uint32(min(int64(r.Count), left))
		left -= int64(r.Count)
		if r.LBA == Hole {
			runs = append(runs, slices.Repeat([]Run{{LBA: Hole, Count: 1}}, int(r.Count))...)
			continue
		}
		runs = merge(runs, r)
	}
	return runs
}

// merge appends r, to the last run if it follows that.
func merge(runs []Run, r Run) []Run {
	if n := len(runs); n > 0 {
		last := &runs[n-1]
		if last.LBA != Hole && last.LBA+uint64(last.Count) == r.LBA && last.Count+r.Count > last.Count {
			last.Count += r.Count
			return runs
		}
	}
	return append(runs, r)
}

// Encode returns the content of the map file for m. lbas are where on the boot
// disk the sectors of that file lie, in order, as many as [Sectors] says. open
// gives the content of kernels and initrds, which is summed.
func Encode(m *Menu, lbas []uint64, open Open) ([]byte, error) {
	want, err := Sectors(m)
	if err != nil {
		return nil, err
	}
	if len(lbas) != want {
		return nil, fmt.Errorf("map: room for %d sectors, want %d", len(lbas), want)
	}
	if slices.Contains(lbas, 0) || slices.Max(lbas) > maxLBA {
		return nil, fmt.Errorf("map: can't lie at sectors %d to %d", slices.Min(lbas), slices.Max(lbas))
	}
	e := &encoder{lbas: lbas, buf: make([]byte, want*SectorSize)}
	header := e.sector(true)
	oneShot := e.sector(true)
	copy(e.take(Stage2Sectors), Stage2())
	e.header(header, m)
	e.zero = e.lba()
	e.sector(false)
	for i := range m.Images {
		lba := e.lba()
		if err := e.image(e.sector(true), &m.Images[i], open); err != nil {
			return nil, fmt.Errorf("image %q: %w", m.Images[i].Label, err)
		}
		binary.LittleEndian.PutUint64(header[headerImageAt+8*i:], lba)
	}
	e.self(header)
	id := sum(streamSeed, e.buf)
	putOneShot(oneShot, m.OneShot, m.OneShotTyped) // it comes and goes
	e.finish(header, id)
	return e.buf, nil
}

// encoder fills the map from the front.
type encoder struct {
	lbas   []uint64
	buf    []byte
	next   int
	zero   uint64 // where a sector of zeros lies, which stands for holes
	sealed []int  // sectors that get a sum
}

// at returns a sector.
func (e *encoder) at(i int) []byte { return e.buf[i*SectorSize:][:SectorSize] }

// lba is where the next sector lies.
func (e *encoder) lba() uint64 { return e.lbas[e.next] }

// take returns the next n sectors.
func (e *encoder) take(n int) []byte {
	b := e.buf[e.next*SectorSize:][:n*SectorSize]
	e.next += n
	return b
}

// sector returns the next one.
func (e *encoder) sector(seal bool) []byte {
	if seal {
		e.sealed = append(e.sealed, e.next)
	}
	return e.take(1)
}

// own returns the runs of n sectors of the map from number first on.
func (e *encoder) own(first, n int) []Run {
	var runs []Run
	for _, lba := range e.lbas[first:][:n] {
		runs = merge(runs, Run{LBA: lba, Count: 1})
	}
	return runs
}

// list writes the runs into n list sectors, or as few as it takes, and leaves
// the rest of the n empty. It returns where the first one lies.
func (e *encoder) list(runs []Run, n int) uint64 {
	start := e.next
	for range n {
		e.sector(true)
	}
	for i := start; len(runs) > 0; i++ {
		b, part := e.at(i), runs[:min(len(runs), listRuns)]
		runs = runs[len(part):]
		if len(runs) > 0 {
			binary.LittleEndian.PutUint64(b[listNextAt:], e.lbas[i+1])
		}
		binary.LittleEndian.PutUint32(b[listCountAt:], uint32(len(part)))
		for k, r := range part {
			if r.LBA == Hole {
				r.LBA = e.zero
			}
			binary.LittleEndian.PutUint64(b[listRunsAt+k*listRunSize:], r.LBA)
			binary.LittleEndian.PutUint32(b[listRunsAt+k*listRunSize+8:], r.Count)
		}
	}
	return e.lbas[start]
}

// text puts a stream into the map itself and refers to it at ref.
func (e *encoder) text(ref, b []byte) {
	if len(b) == 0 {
		return
	}
	first, n := e.next, int(sectors(int64(len(b))))
	copy(e.take(n), b)
	putStream(ref, e.list(e.own(first, n), lists(n)), int64(len(b)), sum(streamSeed, b))
}

func putStream(ref []byte, list uint64, size int64, sum uint32) {
	binary.LittleEndian.PutUint64(ref, list)
	binary.LittleEndian.PutUint32(ref[streamSizeAt:], uint32(size))
	binary.LittleEndian.PutUint32(ref[streamSumAt:], sum)
}

// putText writes length, text and NUL.
func putText(b []byte, s string) {
	binary.LittleEndian.PutUint16(b, uint16(len(s)))
	copy(b[2:], s)
}

// putOneShot writes a one-shot sector but for its sum.
func putOneShot(b []byte, line string, typed bool) {
	copy(b, oneShotMagic)
	putText(b[oneShotAt:], line)
	if line != "" && !typed {
		binary.LittleEndian.PutUint16(b[oneShotFlagsAt:], oneShotRoot)
	}
}

func (e *encoder) header(b []byte, m *Menu) {
	le := binary.LittleEndian
	copy(b, headerMagic)
	le.PutUint16(b[headerImagesAt:], uint16(len(m.Images)))
	le.PutUint16(b[headerDefaultAt:], uint16(m.Default))
	if m.Prompt {
		le.PutUint16(b[headerFlagsAt:], flagPrompt)
	}
	le.PutUint32(b[headerSectorsAt:], uint32(len(e.lbas)))
	le.PutUint16(b[headerTimeoutAt:], uint16(m.Timeout))
	le.PutUint16(b[headerDelayAt:], uint16(m.Delay))
	m.Serial.put(b[headerSerialAt:])
	le.PutUint64(b[headerOneShotAt:], e.lbas[OneShotIndex])
	e.text(b[headerOverlayAt:], overlay())
	e.text(b[headerMessageAt:], m.Message)
}

// put writes the port's number or 255, its line control register and divisor.
func (s *Serial) put(b []byte) {
	if s == nil {
		b[0] = 0xff
		return
	}
	b[0], b[1] = byte(s.Port), byte(s.Bits-5)
	switch s.Parity {
	case 'o':
		b[1] |= 0x08
	case 'e':
		b[1] |= 0x18
	}
	binary.LittleEndian.PutUint16(b[2:], uint16(115200/s.BPS))
}

func (e *encoder) image(b []byte, img *Image, open Open) error {
	le := binary.LittleEndian
	copy(b, imageMagic)
	copy(b[imageLabelAt:], img.Label)
	copy(b[imageAliasAt:], img.Alias)
	le.PutUint16(b[imageFlagsAt:], img.flags())
	if img.Video != nil {
		le.PutUint16(b[imageVideoAt:], uint16(*img.Video))
	}
	if p := img.Password; p != nil {
		copy(b[imageSaltAt:], p.Salt[:])
		copy(b[imageHashAt:], p.Hash[:])
		le.PutUint32(b[imageRoundsAt:], p.Rounds)
	}
	putText(b[imageFallbackAt:], img.Fallback)
	e.text(b[imageCmdlineAt:], append([]byte(img.Cmdline), 0))
	if err := e.kernel(b, img, open); err != nil {
		return fmt.Errorf("%s: %w", img.Kernel.Path, err)
	}
	if img.Initrd == nil {
		return nil
	}
	total, err := sumFile(*img.Initrd, open)
	if err != nil {
		return fmt.Errorf("%s: %w", img.Initrd.Path, err)
	}
	runs := trim(*img.Initrd)
	putStream(b[imageInitrdAt:], e.list(runs, lists(len(runs))), img.Initrd.Size, total)
	return nil
}

func (i *Image) flags() uint16 {
	var f uint16
	for _, flag := range []struct {
		on  bool
		bit uint16
	}{
		{i.Video != nil, imageVideo},
		{i.Password != nil, imagePassword},
		{i.Password != nil && i.Restricted, imageRestricted},
		{i.SingleKey, imageSingleKey},
		{i.Lock, imageLock},
	} {
		if flag.on {
			f |= flag.bit
		}
	}
	return f
}

// kernel sums both parts of the kernel and refuses what the loader can't start.
func (e *encoder) kernel(b []byte, img *Image, open Open) (err error) {
	f := img.Kernel
	r, err := open(f.Path)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	head := make([]byte, min(f.Size, maxSetup))
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("first %d bytes: %w", len(head), err)
	}
	s, err := ParseSetup(head)
	if err != nil {
		return err
	}
	if s.Size >= f.Size {
		return fmt.Errorf("%w: %d bytes are less than its setup code", ErrKernel, f.Size)
	}
	room := min(int(s.CmdlineMax), MaxCmdline) // the loader has no more
	if n := len(img.Label) + len("auto BOOT_IMAGE= ") + len(img.Cmdline); n > room {
		return fmt.Errorf("command line of %d bytes with BOOT_IMAGE=: this kernel takes %d", n, room)
	}
	rest, err := sumReader(io.MultiReader(bytes.NewReader(head[s.Size:]), r), f.Size-s.Size)
	if err != nil {
		return err
	}
	runs := trim(f)
	putStream(b[imageKernelAt:], e.list(runs, lists(len(runs))), f.Size, sum(streamSeed, head[:s.Size]))
	binary.LittleEndian.PutUint32(b[imageSetupAt:], uint32(s.Size))
	binary.LittleEndian.PutUint32(b[imageRestSumAt:], rest)
	return nil
}

func sumFile(f File, open Open) (uint32, error) {
	r, err := open(f.Path)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // only read
	return sumReader(r, f.Size)
}

// self lists the map's own sectors in what is left of it.
func (e *encoder) self(header []byte) {
	n := len(e.lbas) - e.next
	binary.LittleEndian.PutUint32(header[headerSelfAt:], uint32(e.next))
	binary.LittleEndian.PutUint32(header[headerSelfAt+4:], uint32(n))
	e.list(e.own(0, len(e.lbas)), n)
}

// finish gives the map its id, which follows from all of its content but the one-shot
// line, and the sectors their sums.
func (e *encoder) finish(header []byte, id uint32) {
	binary.LittleEndian.PutUint32(header[headerIDAt:], id)
	for _, i := range e.sealed {
		seal(e.at(i), id)
	}
}
