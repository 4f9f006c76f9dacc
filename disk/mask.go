package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"sort"
)

const (
	maskMagic  = "ESXODUS\x02"
	maskHeader = len(maskMagic) + 16 // then the ranges, 16 bytes each, and the SHA-256 of all that
	// maxMask is how many ranges a mask may have: 16 MiB of them.
	maxMask = 1 << 20
)

// Mask is a set of ranges of an image of a certain size that nothing needs.
type Mask struct {
	size   int64
	ranges []Range // ascend and don't touch
}

// NewMask makes the mask of an image of size bytes. The ranges must ascend, must not
// touch each other, and there may be at most 1,048,576 of them.
func NewMask(size int64, ranges []Range) (*Mask, error) {
	if len(ranges) > maxMask {
		return nil, fmt.Errorf("a mask of %d ranges: the limit is %d", len(ranges), maxMask)
	}
	end := int64(-1)
	for _, r := range ranges {
		if r.Offset <= end || r.Length <= 0 || r.Offset > size || r.Length > size-r.Offset {
			return nil, fmt.Errorf("a mask of %d bytes: impossible range of %d bytes at %d, after one that ends at %d", size, r.Length, r.Offset, end)
		}
		end = r.Offset + r.Length
	}
	return &Mask{size: size, ranges: ranges}, nil
}

// Size is the size in bytes of the image that the mask is for.
func (m *Mask) Size() int64 { return m.size }

// Unused is how many bytes the mask hides.
func (m *Mask) Unused() int64 {
	var n int64
	for _, r := range m.ranges {
		n += r.Length
	}
	return n
}

// Over is img with the mask's ranges hidden: they are [Unused] extents and read as
// zeros, and img isn't read there. img has the mask's size.
func (m *Mask) Over(img Image) Image {
	if len(m.ranges) == 0 {
		return img
	}
	return &maskedImage{img: img, mask: m, name: m.Name()}
}

// encode is the mask as its file holds it.
func (m *Mask) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, maskHeader+16*len(m.ranges)+sha256.Size)
	b = append(b, maskMagic...)
	b = le.AppendUint64(b, uint64(m.size))
	b = le.AppendUint64(b, uint64(len(m.ranges)))
	for _, r := range m.ranges {
		b = le.AppendUint64(b, uint64(r.Offset))
		b = le.AppendUint64(b, uint64(r.Length))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Name is the same for no other mask.
func (m *Mask) Name() string {
	b := m.encode()
	return hex.EncodeToString(b[len(b)-sha256.Size:])
}

// Save writes the mask to a file, which is either whole on stable storage or as it
// was before. A kill may leave what [RemoveMask] and the next call remove.
func (m *Mask) Save(path string) error { return WriteFile(path, m.encode()) }

// RemoveMask removes a mask's file, if it is there, with what a killed [Mask.Save] left.
func RemoveMask(path string) error {
	for _, name := range []string{path + unfinished, path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// LoadMask reads what [Mask.Save] wrote. What isn't that is an error wrapping
// [ErrDamaged].
func LoadMask(path string) (*Mask, error) {
	const most = int64(maskHeader + 16*maxMask + sha256.Size)
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := decodeMask(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func decodeMask(b []byte) (*Mask, error) {
	le := binary.LittleEndian
	body := len(b) - sha256.Size
	if body < maskHeader || !bytes.HasPrefix(b, []byte(maskMagic)) {
		return nil, fmt.Errorf("%w: it doesn't begin as a mask does", ErrDamaged)
	}
	if sum := sha256.Sum256(b[:body]); !bytes.Equal(sum[:], b[body:]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	size, count := le.Uint64(b[len(maskMagic):]), le.Uint64(b[len(maskMagic)+8:])
	if size > 1<<62 || count > maxMask || body != maskHeader+16*int(count) {
		return nil, fmt.Errorf("%w: a mask of %d ranges in %d bytes", ErrDamaged, count, len(b))
	}
	ranges := make([]Range, 0, count)
	for at := maskHeader; at < body; at += 16 {
		off, n := le.Uint64(b[at:]), le.Uint64(b[at+8:])
		if off > 1<<62 || n > 1<<62 {
			return nil, fmt.Errorf("%w: a range of %d bytes at %d", ErrDamaged, n, off)
		}
		ranges = append(ranges, Range{Offset: int64(off), Length: int64(n)})
	}
	m, err := NewMask(int64(size), ranges)
	if err != nil {
		return nil, errors.Join(ErrDamaged, err)
	}
	return m, nil
}

// from are the ranges that end behind off.
func (m *Mask) from(off int64) []Range {
	i := sort.Search(len(m.ranges), func(i int) bool { return m.ranges[i].Offset+m.ranges[i].Length > off })
	return m.ranges[i:]
}

// maskedImage is an image under a mask.
type maskedImage struct {
	img  Image
	mask *Mask
	name string
}

func (m *maskedImage) Size() int64 { return m.img.Size() }

// Mask is the mask's name, for the digests.
func (m *maskedImage) Mask() string { return m.name }

func (m *maskedImage) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at %d: negative offset", off)
	}
	n := 0
	for _, r := range m.mask.from(off) {
		from := max(r.Offset-off, 0)
		if from >= int64(len(p)) {
			break
		}
		if k, err := m.seen(p[n:from], off+int64(n)); err != nil {
			return n + k, err
		}
		n = int(min(r.Offset+r.Length-off, int64(len(p))))
		clear(p[from:n])
	}
	k, err := m.seen(p[n:], off+int64(n))
	return n + k, err
}

// seen reads of the image what no range hides.
func (m *maskedImage) seen(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := m.img.ReadAt(p, off)
	if n == len(p) && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (m *maskedImage) Extents() iter.Seq2[Extent, error] { return m.ExtentsFrom(0) }

// ExtentsFrom yields the extents from the one that holds off.
func (m *maskedImage) ExtentsFrom(off int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for e, err := range ExtentsFrom(m.img, off) {
			if err != nil {
				yield(Extent{}, err)
				return
			}
			if before := off - e.Offset; before > 0 && before < e.Length {
				e.Offset, e.Length = off, e.Length-before
			}
			if !cut(e, m.mask.from(e.Offset), yield) {
				return
			}
		}
	}
}

// cut yields the parts of an extent that the ranges hide and those that they don't; one
// that isn't data it yields as it is. The first range ends behind the extent's start.
func cut(e Extent, ranges []Range, yield func(Extent, error) bool) bool {
	if e.Kind != Data {
		return yield(e, nil)
	}
	end := e.Offset + e.Length
	for _, r := range ranges {
		if r.Offset >= end {
			break
		}
		if n := r.Offset - e.Offset; n > 0 {
			if !yield(Extent{Offset: e.Offset, Length: n}, nil) {
				return false
			}
			e.Offset = r.Offset
		}
		to := min(r.Offset+r.Length, end)
		if !yield(Extent{Offset: e.Offset, Length: to - e.Offset, Kind: Unused}, nil) {
			return false
		}
		e.Offset = to
	}
	return e.Offset == end || yield(Extent{Offset: e.Offset, Length: end - e.Offset}, nil)
}
