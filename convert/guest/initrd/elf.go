package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// needs are what a program or a library needs to be loaded.
type needs struct {
	class  elf.Class
	interp string   // the program that loads it
	libs   []string // names, or paths
	paths  []string // where it has them looked for first
}

// Limits of what is read of a file.
const (
	maxSegments = 256
	maxDynamic  = 64 << 10 // bytes of the dynamic section
	maxName     = 4096     // bytes
	maxLibs     = 256
)

var errELF = errors.New("a damaged ELF file")

// needed reads what a file needs from its segments, as the kernel and the
// dynamic loader do; sections may be missing. A file that is no ELF file needs
// nothing.
func needed(b []byte) (needs, error) {
	if len(b) < 64 || !bytes.HasPrefix(b, []byte(elf.ELFMAG)) {
		return needs{}, nil
	}
	f, err := elf.NewFile(bytes.NewReader(withoutSections(b)))
	if err != nil {
		return needs{}, fmt.Errorf("%w: %w", errELF, err)
	}
	if len(f.Progs) > maxSegments {
		return needs{}, fmt.Errorf("%w: %d segments", errELF, len(f.Progs))
	}
	n := needs{class: f.Class}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			n.interp = cstring(p, 0)
		case elf.PT_DYNAMIC:
			if err := n.dynamic(f, p); err != nil {
				return needs{}, err
			}
		}
	}
	return n, nil
}

// withoutSections hides the sections, which package elf doesn't read with the
// care that a guest's file needs: they may inflate to any size.
func withoutSections(b []byte) []byte {
	b = bytes.Clone(b)
	offset, count := b[40:48], b[60:62]
	if elf.Class(b[elf.EI_CLASS]) == elf.ELFCLASS32 {
		offset, count = b[32:36], b[48:50]
	}
	clear(offset)
	clear(count)
	return b
}

// dynamic reads the dynamic section from its segment.
func (n *needs) dynamic(f *elf.File, p *elf.Prog) error {
	table, err := io.ReadAll(io.LimitReader(p.Open(), maxDynamic))
	if err != nil {
		return err
	}
	width, word := 8, f.ByteOrder.Uint64
	if f.Class == elf.ELFCLASS32 {
		width, word = 4, func(b []byte) uint64 { return uint64(f.ByteOrder.Uint32(b)) }
	}
	var names uint64 // their address
	values := map[elf.DynTag][]uint64{}
	for ; len(table) >= 2*width; table = table[2*width:] {
		tag, value := elf.DynTag(word(table)), word(table[width:])
		if tag == elf.DT_NULL {
			break
		}
		if tag == elf.DT_STRTAB {
			names = value
		}
		values[tag] = append(values[tag], value)
	}
	if libs := len(n.libs) + len(values[elf.DT_NEEDED]); libs > maxLibs {
		return fmt.Errorf("%w: it needs %d libraries", errELF, libs)
	}
	for _, tag := range []elf.DynTag{elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH} {
		for _, offset := range values[tag] {
			name := nameAt(f, names, offset)
			switch {
			case name == "":
				return fmt.Errorf("%w: a name outside its string table", errELF)
			case tag == elf.DT_NEEDED:
				n.libs = append(n.libs, name)
			case len(n.paths) < maxLibs:
				n.paths = append(n.paths, strings.Split(name, ":")...)
			}
		}
	}
	return nil
}

// nameAt is the text at an offset from an address, "" where the file has none.
func nameAt(f *elf.File, addr, offset uint64) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz && offset < p.Filesz-(addr-p.Vaddr) {
			return cstring(p, int64(addr-p.Vaddr+offset))
		}
	}
	return ""
}

// cstring is the text before the first zero, "" where that is far.
func cstring(r io.ReaderAt, offset int64) string {
	b := make([]byte, maxName)
	n, err := r.ReadAt(b, offset)
	i := bytes.IndexByte(b[:n], 0)
	if i < 0 || err != nil && !errors.Is(err, io.EOF) {
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
	if n.class == elf.ELFCLASS32 {
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
	return "", fmt.Errorf("%s needs %s, which isn't in any of %s", program, lib, strings.Join(dirs, " "))
}
