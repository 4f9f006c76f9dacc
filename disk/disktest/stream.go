package disktest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	sector       = 512
	grainSectors = 128
	grain        = grainSectors * sector
	tableGrains  = 512
	streamHead   = 128 // sectors before the first grain
)

// StreamOptimized writes size bytes of r as a streamOptimized VMDK the way
// ESXi's NFC export does: the header says that the grain directory is at the
// end, each grain table follows its grains behind a marker, then come the
// directory, the footer and the end-of-stream marker. name is the one that the
// embedded descriptor gives to the file. Grains of zeros are left out; an r with a
// method NextData(off) says where the first data at or after off is, so that a disk far
// larger than its data is soon written.
func StreamOptimized(w io.Writer, r io.ReaderAt, size int64, name string, level int) error {
	if size <= 0 || size%sector != 0 {
		return fmt.Errorf("a disk of %d bytes", size)
	}
	s := &stream{w: w, capacity: size / sector}
	z, err := zlib.NewWriterLevel(&s.zipped, level)
	if err != nil {
		return err
	}
	s.z = z
	s.put(s.header(math.MaxUint64))
	s.put(pad([]byte(streamDescriptor(name, s.capacity)), 20*sector))
	s.put(make([]byte, (streamHead-21)*sector))
	if err := s.grains(r, size); err != nil {
		return err
	}
	gd := make([]byte, 0, len(s.directory)*4)
	for _, at := range s.directory {
		gd = binary.LittleEndian.AppendUint32(gd, at)
	}
	gd = pad(gd, sector)
	s.meta(2, len(gd)/sector)
	at := uint64(s.sector)
	s.put(gd)
	s.meta(3, 1)
	s.put(s.header(at))
	s.meta(0, 0)
	return s.err
}

// stream is a streamOptimized VMDK being written.
type stream struct {
	w         io.Writer
	err       error
	sector    int64 // next to be written
	capacity  int64
	directory []uint32
	zipped    bytes.Buffer
	z         *zlib.Writer
}

func (s *stream) put(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
		s.sector += int64(len(b)) / sector
	}
}

// meta writes a metadata marker.
func (s *stream) meta(kind uint32, sectors int) {
	b := make([]byte, sector)
	binary.LittleEndian.PutUint64(b, uint64(sectors))
	binary.LittleEndian.PutUint32(b[12:], kind)
	s.put(b)
}

func (s *stream) header(directory uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, sector)
	copy(b, "KDMV")
	le.PutUint32(b[4:], 3)
	le.PutUint32(b[8:], 1|1<<16|1<<17)
	le.PutUint64(b[12:], uint64(s.capacity))
	le.PutUint64(b[20:], grainSectors)
	le.PutUint64(b[28:], 1)
	le.PutUint64(b[36:], 20)
	le.PutUint32(b[44:], tableGrains)
	le.PutUint64(b[56:], directory)
	le.PutUint64(b[64:], streamHead)
	copy(b[73:], "\n \r\n")
	le.PutUint16(b[77:], 1)
	return b
}

// grains writes all grains and their tables.
func (s *stream) grains(r io.ReaderAt, size int64) error {
	buf := make([]byte, grain)
	table := make([]byte, tableGrains*4)
	zero := make([]byte, grain)
	used := false
	sparse, _ := r.(interface{ NextData(off int64) int64 })
	for i := int64(0); i*grain < size && s.err == nil; i++ {
		if next := i + tableGrains; sparse != nil && i%tableGrains == 0 && next*grain < size && sparse.NextData(i*grain) >= next*grain {
			s.directory = append(s.directory, 0)
			i = next - 1
			continue
		}
		clear(buf)
		if n, err := r.ReadAt(buf[:min(grain, size-i*grain)], i*grain); err != nil && err != io.EOF {
			return fmt.Errorf("grain %d after %d bytes: %w", i, n, err)
		}
		if !bytes.Equal(buf, zero) {
			used = true
			binary.LittleEndian.PutUint32(table[i%tableGrains*4:], uint32(s.sector))
			s.grain(i, buf)
		}
		if i%tableGrains != tableGrains-1 && (i+1)*grain < size {
			continue
		}
		at := uint32(0)
		if used {
			s.meta(1, len(table)/sector)
			at = uint32(s.sector)
			s.put(table)
		}
		s.directory = append(s.directory, at)
		clear(table)
		used = false
	}
	return s.err
}

// grain writes the marker and the compressed content of one grain.
func (s *stream) grain(i int64, b []byte) {
	s.zipped.Reset()
	s.zipped.Write(make([]byte, 12))
	s.z.Reset(&s.zipped)
	if _, err := s.z.Write(b); err != nil {
		s.err = err
	}
	if err := s.z.Close(); err != nil {
		s.err = err
	}
	out := s.zipped.Bytes()
	binary.LittleEndian.PutUint64(out, uint64(i*grainSectors))
	binary.LittleEndian.PutUint32(out[8:], uint32(len(out)-12))
	s.put(pad(out, sector))
}

// pad appends zeros up to a multiple of n bytes.
func pad(b []byte, n int) []byte { return append(b, make([]byte, (n-len(b)%n)%n)...) }

func streamDescriptor(name string, sectors int64) string {
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=7e2b80c1
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RDONLY %d SPARSE "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.longContentID = "0b1fb09c5b2ac5f3dd2f51f07e2b80c1"
ddb.virtualHWVersion = "14"
`, sectors, name, max(sectors/(255*63), 1))
}
