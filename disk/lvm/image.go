package lvm

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"

	"esxodus/disk"
	"esxodus/disk/part"
)

// Piece is a run of bytes of a logical volume on a physical volume.
type Piece struct {
	Start  int64  // bytes from the start of the logical volume
	Length int64  // bytes
	PV     string // the physical volume's UUID, in LVM's groups
	Offset int64  // bytes from the start of the physical volume
}

// Pieces says where the named logical volume lies. It must be linear.
func (vg VG) Pieces(name string) ([]Piece, error) {
	i := slices.IndexFunc(vg.LVs, func(l LV) bool { return l.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("vg %s has no logical volume %s", vg.Name, name)
	}
	lv := vg.LVs[i]
	if !lv.Linear() {
		return nil, fmt.Errorf("logical volume %s/%s is not linear but %s", vg.Name, name, strings.Join(lv.Types(), ", "))
	}
	var ps []Piece
	members := vg.members()
	for _, s := range lv.Segments {
		m := members[s.Stripes[0].PV]
		if vg.ExtentSize > 0 && m.PECount > (maxBytes-m.PEStart)/vg.ExtentSize {
			return nil, fmt.Errorf("%w: physical volume %s has %d extents of %d bytes", ErrFormat, m.Name, m.PECount, vg.ExtentSize)
		}
		ps = append(ps, Piece{
			Start: s.Start * vg.ExtentSize, Length: s.Count * vg.ExtentSize,
			PV: m.UUID, Offset: m.PEStart + s.Stripes[0].PE*vg.ExtentSize,
		})
	}
	return ps, nil
}

// Image is the named linear logical volume over the images of its physical
// volumes, by UUID. A PV that is missing or too small is an error.
func (vg VG) Image(name string, pvs map[string]disk.Image) (disk.Image, error) {
	ps, err := vg.Pieces(name)
	if err != nil {
		return nil, err
	}
	var v volume
	for _, p := range ps {
		img, ok := pvs[p.PV]
		if !ok {
			return nil, fmt.Errorf("logical volume %s/%s: physical volume %s is on none of the VM's disks", vg.Name, name, p.PV)
		}
		if p.Offset > img.Size()-p.Length {
			return nil, fmt.Errorf("%w: logical volume %s/%s: bytes %d to %d go beyond physical volume %s of %d",
				ErrFormat, vg.Name, name, p.Offset, p.Offset+p.Length, p.PV, img.Size())
		}
		v.pieces = append(v.pieces, piece{start: p.Start, img: part.Section(img, p.Offset, p.Length)})
		v.size += p.Length
	}
	return &v, nil
}

// volume is a logical volume as an image: pieces that follow each other.
type volume struct {
	pieces []piece
	size   int64
}

type piece struct {
	start int64
	img   disk.Image
}

func (v *volume) Size() int64 { return v.size }

func (v *volume) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at %d: negative offset", off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= v.size {
			return n, io.EOF
		}
		i := sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].start > at }) - 1
		s := v.pieces[i]
		want := min(int64(len(p)-n), s.img.Size()-(at-s.start))
		m, err := s.img.ReadAt(p[n:n+int(want)], at-s.start)
		n += m
		if int64(m) < want {
			return n, err
		}
	}
	return n, nil
}

func (v *volume) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for _, p := range v.pieces {
			for e, err := range p.img.Extents() {
				e.Offset += p.start
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}
