package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// needs are what a program or a library needs to be loaded.
type needs struct {
	class  byte     // 1 for 32 bits, 2 for 64
	interp string   // the program that loads it
	libs   []string // names, or paths
	paths  []string // where it has them looked for first
}

// Numbers of ELF (System V ABI, chapters 4 and 5).
const (
	ptLoad, ptDynamic, ptInterp               = 1, 2, 3
	dtNeeded, dtStrtab, dtRpath, dtRunpath    = 1, 5, 15, 29
	maxSegments, maxDynamic, maxName, maxLibs = 256, 4096, 4096, 256
)

var errELF = errors.New("a damaged ELF file")

// needed reads what a file needs from its segments, as the kernel and the
// dynamic loader do; sections may be missing. A file that is no ELF file needs
// nothing.
func needed(b []byte) (needs, error) {
	if len(b) < 64 || !bytes.HasPrefix(b, []byte("\x7fELF")) {
		return needs{}, nil
	}
	e := binaryFile{b: b, wide: b[4] == 2}
	if b[4] != 1 && b[4] != 2 || b[5] != 1 {
		return needs{}, fmt.Errorf("%w: neither 32 nor 64 bits, little endian", errELF)
	}
	if err := e.segments(); err != nil {
		return needs{}, err
	}
	n := needs{class: b[4]}
	for _, s := range e.progs {
		switch s.kind {
		case ptInterp:
			n.interp = cstring(e.slice(s.off, s.size))
		case ptDynamic:
			if err := e.dynamic(s, &n); err != nil {
				return needs{}, err
			}
		}
	}
	return n, nil
}

// binaryFile is an ELF file at work; numbers in it are little endian.
type binaryFile struct {
	b     []byte
	wide  bool
	progs []segment
}

type segment struct {
	kind            uint32
	off, addr, size uint64
}

// slice is a part of the file, cut at its end.
func (e *binaryFile) slice(off, size uint64) []byte {
	n := uint64(len(e.b))
	if off > n {
		return nil
	}
	return e.b[off : off+min(size, n-off)]
}

// word reads a number of the file's width at an offset.
func (e *binaryFile) word(b []byte, off int) uint64 {
	if e.wide {
		return binary.LittleEndian.Uint64(b[off:])
	}
	return uint64(binary.LittleEndian.Uint32(b[off:]))
}

// segments reads the program headers.
func (e *binaryFile) segments() error {
	// Where they are, how large and how many; where in one the fields are.
	phoff, at, size := e.word(e.b, 28), 42, 32
	offAt, addrAt, sizeAt := 4, 8, 16
	if e.wide {
		phoff, at, size = e.word(e.b, 32), 54, 56
		offAt, addrAt, sizeAt = 8, 16, 32
	}
	entry := int(binary.LittleEndian.Uint16(e.b[at:]))
	count := int(binary.LittleEndian.Uint16(e.b[at+2:]))
	if entry != size || count > maxSegments {
		return fmt.Errorf("%w: %d segments of %d bytes", errELF, count, entry)
	}
	table := e.slice(phoff, uint64(count*entry))
	if len(table) != count*entry {
		return fmt.Errorf("%w: its segments end beyond it", errELF)
	}
	for ; len(table) > 0; table = table[entry:] {
		e.progs = append(e.progs, segment{
			kind: binary.LittleEndian.Uint32(table), off: e.word(table, offAt), addr: e.word(table, addrAt), size: e.word(table, sizeAt),
		})
	}
	return nil
}

// dynamic reads the dynamic section.
func (e *binaryFile) dynamic(s segment, n *needs) error {
	width := 4
	if e.wide {
		width = 8
	}
	table := e.slice(s.off, min(s.size, uint64(maxDynamic*2*width)))
	type item struct{ tag, value uint64 }
	var items []item
	var names []byte
	for ; len(table) >= 2*width; table = table[2*width:] {
		i := item{e.word(table, 0), e.word(table, width)}
		if i.tag == 0 {
			break
		}
		if i.tag == dtStrtab {
			names = e.at(i.value)
		}
		items = append(items, i)
	}
	for _, i := range items {
		if i.tag != dtNeeded && i.tag != dtRpath && i.tag != dtRunpath {
			continue
		}
		if i.value >= uint64(len(names)) {
			return fmt.Errorf("%w: a name beyond its names", errELF)
		}
		name := cstring(names[i.value:])
		switch {
		case name == "" || len(n.libs) >= maxLibs:
			return fmt.Errorf("%w: no name, or too many", errELF)
		case i.tag == dtNeeded:
			n.libs = append(n.libs, name)
		default:
			n.paths = append(n.paths, strings.Split(name, ":")...)
		}
	}
	return nil
}

// at is what the file has for an address, to the end of that segment.
func (e *binaryFile) at(addr uint64) []byte {
	for _, s := range e.progs {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.size {
			return e.slice(s.off+(addr-s.addr), s.size-(addr-s.addr))
		}
	}
	return nil
}

// cstring is the text before the first zero, "" where that is far.
func cstring(b []byte) string {
	i := bytes.IndexByte(b[:min(len(b), maxName)], 0)
	if i < 0 {
		return ""
	}
	return string(b[:i])
}

// libraries finds the files of what a program needs.
func (b *builder) libraries(program string, n needs) ([]string, error) {
	var found []string
	if n.interp != "" {
		found = append(found, n.interp)
	}
	for _, lib := range n.libs {
		file, err := b.library(program, lib, n)
		if err != nil {
			return nil, err
		}
		found = append(found, file)
	}
	return found, nil
}

// library finds one as the dynamic loader does, without its cache, which names
// no other directories for the programs of a distribution's initrd.
func (b *builder) library(program, lib string, n needs) (string, error) {
	if strings.Contains(lib, "/") {
		return path.Join(path.Dir(program), lib), nil
	}
	dirs := []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	if n.class == 1 {
		dirs = []string{"/lib/i386-linux-gnu", "/usr/lib/i386-linux-gnu", "/lib/i686-linux-gnu", "/lib", "/usr/lib"}
	}
	for _, dir := range slices.Backward(n.paths) {
		for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
			dir = strings.ReplaceAll(dir, origin, path.Dir(program))
		}
		if path.IsAbs(dir) {
			dirs = append([]string{path.Clean(dir)}, dirs...)
		}
	}
	for _, dir := range dirs {
		if file := path.Join(dir, lib); b.tree.exists(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s needs %s, which is in none of %s", program, lib, strings.Join(dirs, " "))
}
