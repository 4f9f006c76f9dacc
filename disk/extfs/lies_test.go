package extfs

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// counting is an image in memory that knows how much of it was read.
type counting struct {
	*bytes.Reader
	n int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.n += len(p)
	return c.Reader.ReadAt(p, off)
}

// FuzzFaults: no superblock and no descriptors make Faults panic, or read more
// than its limit.
func FuzzFaults(f *testing.F) {
	var images [][]byte
	for _, features := range []string{"", "^64bit", "meta_bg,^resize_inode", "^metadata_csum,uninit_bg"} {
		path := filepath.Join(f.TempDir(), "img")
		run(f, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", features, path, "20M")
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		images = append(images, b[:64<<10]) // the rest isn't there
	}
	for i := range images {
		f.Add(byte(i), []byte{32, 0, 1, 0, 0, 0})
		f.Add(byte(i), []byte{0, 4, 0xff, 0xff, 0xff, 0x7f, 32, 0, 8, 0, 0, 0})   // firstMeta, blocks per group
		f.Add(byte(i), []byte{254, 0, 0, 4, 0, 0, 96, 0, 0xff, 0xff, 0xff, 0xff}) // descriptors' size, features
	}
	f.Fuzz(func(t *testing.T, which byte, changes []byte) {
		b := slices.Clone(images[int(which)%len(images)])
		for ; len(changes) >= 6; changes = changes[6:] {
			at := superOffset + int(binary.LittleEndian.Uint16(changes))%1020
			copy(b[at:], changes[2:6])
		}
		r := &counting{Reader: bytes.NewReader(b)}
		fsys, err := Open(r, 1<<45) // of a disk that claims to be large
		if err != nil {
			return
		}
		faults, refused, _ := fsys.Faults()
		if r.n > 1024+maxDescriptors*1024 || len(faults)+len(refused) > maxDescriptors+2 {
			t.Errorf("%d bytes read, %d faults", r.n, len(faults)+len(refused))
		}
	})
}
