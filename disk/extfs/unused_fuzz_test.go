package extfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/disk"
)

// patched is an image in memory with some bytes changed, zeros behind it, and an end to
// patience.
type patched struct {
	image []byte
	at    map[int64]byte
	left  int // bytes
}

var errPatience = errors.New("that was enough")

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, errPatience
	}
	clear(b)
	if off < int64(len(p.image)) {
		copy(b, p.image[off:])
	}
	for at, c := range p.at {
		if at >= off && at < off+int64(len(b)) {
			b[at-off] = c
		}
	}
	return len(b), nil
}

// FuzzUnused: whatever the superblock, descriptors, the journal's inode and the
// journal say, Unused doesn't panic, ends, and yields nothing outside the file system.
func FuzzUnused(f *testing.F) {
	type seed struct {
		image  []byte
		places []int64
	}
	var seeds []seed
	for _, tt := range []struct{ features, commands string }{
		{"", ""},
		{"^metadata_csum,^uninit_bg", ""},
		{"^metadata_csum,^uninit_bg", "jo\njw -b BITMAP,1 /dev/zero\njc"},
		{"^extents,^metadata_csum,^uninit_bg,^flex_bg,^64bit", "jo\njw -b BITMAP,9 /dev/zero\njc"},
		{"bigalloc,^metadata_csum,uninit_bg", "feature needs_recovery"},
		{"meta_bg,^resize_inode,^metadata_csum,^uninit_bg", ""},
	} {
		path := filepath.Join(f.TempDir(), "img")
		run(f, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-J", "size=1", "-g", "2048", "-O", tt.features, path, "6M")
		fsys, _, _ := openImage(f, path)
		in, err := fsys.inode(8)
		if err != nil {
			f.Fatal(err)
		}
		block, _, err := fsys.find(in, 0)
		if err != nil {
			f.Fatal(err)
		}
		if tt.commands != "" {
			debugfs(f, path, strings.ReplaceAll(tt.commands, "BITMAP", fmt.Sprint(bitmapOf(f, fsys, 0))))
		}
		image, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, seed{image, []int64{superOffset, fsys.descriptorAt(0), fsys.descriptorAt(1), block * 1024, (block + 1) * 1024, inodeAt(f, fsys, image, in)}})
	}
	for i := range seeds {
		f.Add(byte(i), true, []byte{})
		f.Add(byte(i), false, []byte{0, 96, 0, 4, 0, 0, 0})                               // needs recovery
		f.Add(byte(i), false, []byte{0, 4, 0, 0xff, 0xff, 0xff, 0x7f})                    // blocks
		f.Add(byte(i), true, []byte{0, 32, 0, 8, 0, 0, 0, 0, 36, 0, 8, 0, 0, 0})          // blocks and clusters per group
		f.Add(byte(i), true, []byte{1, 0, 0, 1, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0})            // bitmap, table
		f.Add(byte(i), true, []byte{3, 16, 0, 0xff, 0xff, 0xff, 0xff})                    // the journal's length
		f.Add(byte(i), true, []byte{4, 12, 0, 0, 0, 0, 1, 5, 40, 0, 0, 0, 0, 1})          // a tag, the journal's place
		f.Add(byte(i), true, []byte{0, 28, 0, 30, 0, 0, 0, 0, 100, 0, 3, 2, 0, 0})        // clusters
		f.Add(byte(i), false, []byte{0, 204, 0, 0, 0, 0xff, 0xff, 0, 254, 0, 0, 4, 0, 0}) // reserved blocks, descriptors' size
	}
	f.Fuzz(func(t *testing.T, which byte, own bool, changes []byte) {
		s := seeds[int(which)%len(seeds)]
		r := &patched{image: s.image, at: map[int64]byte{}, left: 8 << 20}
		size := int64(1) << 45
		if own {
			size = int64(len(s.image))
		}
		for ; len(changes) >= 7; changes = changes[7:] {
			at := s.places[int(changes[0])%len(s.places)] + int64(binary.LittleEndian.Uint16(changes[1:])%1021)
			for i, c := range changes[3:7] {
				r.at[at+int64(i)] = c
			}
		}
		fsys, err := Open(r, size)
		if err != nil {
			return
		}
		end := int64(0)
		for run, err := range fsys.Unused(t.Context()) {
			var untrusted *disk.UntrustedError
			switch {
			case err != nil:
				if !errors.Is(err, ErrFormat) && !errors.As(err, &untrusted) && !errors.Is(err, errPatience) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Unused: %v", err)
				}
			case run.Offset <= end || run.Length <= 0 || run.Offset+run.Length < 0 || run.Offset+run.Length > size:
				t.Fatalf("%+v behind %d, size %d", run, end, size)
			default:
				end = run.Offset + run.Length
			}
		}
	})
}

// inodeAt is where an inode lies.
func inodeAt(tb testing.TB, f *FS, image []byte, in inode) int64 {
	tb.Helper()
	for at := int64(0); at+f.inodeSize <= int64(len(image)); at += f.inodeSize {
		if string(image[at:at+f.inodeSize]) == string(in.raw) {
			return at
		}
	}
	tb.Fatalf("inode %d isn't in the image", in.number)
	return 0
}
