package part

import (
	"fmt"
	"io"
	"iter"

	"esxodus/disk"
)

// Section is the range [off, off+n) of img as an image of its own, cut to what
// img has. Offsets in it count from off.
func Section(img disk.Image, off, n int64) disk.Image {
	off = min(max(off, 0), img.Size())
	n = min(max(n, 0), img.Size()-off)
	return section{img: img, off: off, size: n}
}

type section struct {
	img       disk.Image
	off, size int64
}

func (s section) Size() int64 { return s.size }

func (s section) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at %d: negative offset", off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	n, err := s.img.ReadAt(p, s.off+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

func (s section) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for e, err := range disk.ExtentsFrom(s.img, s.off) {
			if err != nil {
				yield(disk.Extent{}, err)
				return
			}
			from, to := max(e.Offset, s.off), min(e.Offset+e.Length, s.off+s.size)
			if e.Offset >= s.off+s.size {
				return
			}
			if from >= to {
				continue
			}
			if !yield(disk.Extent{Offset: from - s.off, Length: to - from, Kind: e.Kind}, nil) {
				return
			}
		}
	}
}
