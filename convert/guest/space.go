package guest

import (
	"fmt"
	"slices"
	"strings"
)

// What a conversion needs besides what it writes: Margin stays free on each
// file system that it writes to, Overlaid is a guess at the size of LVM's programs
// with their libraries and modules that are appended to an initrd (Debian 12's are
// 12 MiB, 5 where they are packed, which an lz4 initrd's aren't), Driven of
// drivers alone, Anew by how much an initrd for any machine
// is larger than one for this machine alone, and Unpacked of what dracut puts
// together in /var/tmp before it packs that; all in bytes. MarginFiles can
// still be made, for what programs make on their way, packageFiles are as many as a
// package may have: lvm2 has 159, what it needs fewer; unpackedFiles are those of
// an initrd.
const (
	Margin       = 8 << 20
	Overlaid     = 14 << 20
	Driven       = 4 << 20
	Anew         = 64 << 20
	Unpacked     = 256 << 20
	MarginFiles  = 100
	packageFiles = 100

	unpackedFiles = 4000
)

// Space is room on a file system, left or needed.
type Space struct {
	Bytes int64
	Files int64 // that can be made; negative where nothing limits them
}

// page is what a file takes more than its content, in bytes.
const page = 4096

// Sizes says how large things are that a conversion writes, in bytes.
type Sizes struct {
	Packages int   // how many are installed
	Unpacked int64 // of them, when they are installed
	Program  func(Program) int64
	// Initrd returns where an initrd really is, and its size.
	Initrd func(path string) (real string, size int64, err error)
}

// Needs adds up, for each mount, what will be written to it.
func (c *Conversion) Needs(s Sizes) (map[string]Space, error) {
	need := map[string]Space{}
	add := func(at string, bytes, files int64) {
		need[at] = Space{Bytes: need[at].Bytes + bytes, Files: need[at].Files + files}
	}
	if s.Packages > 0 {
		for _, at := range c.packaged() {
			add(at, s.Unpacked, int64(s.Packages)*packageFiles)
		}
	}
	for _, e := range c.Edits {
		add(c.MountOf(e.Path), int64(len(e.New))+page, 1)
	}
	for _, p := range c.Programs {
		add(c.MountOf(p.Path), s.Program(p)+page, 1)
	}
	largest := map[string]int64{} // there are two of an initrd for a moment
	for _, o := range c.Overlays {
		real, size, err := s.Initrd(o.Initrd)
		if err != nil {
			return nil, err
		}
		at := c.MountOf(real)
		add(at, o.size(), 1)
		largest[at] = max(largest[at], size)
	}
	var unpacked Space // one at a time
	for _, argv := range c.Commands {
		name := Remade(argv)
		if name == "" {
			continue
		}
		real, size, err := s.Initrd(name)
		if err != nil {
			return nil, err
		}
		at := c.MountOf(real)
		add(at, Anew, 1)
		largest[at] = max(largest[at], size)
		unpacked = Space{Unpacked, unpackedFiles}
	}
	add(c.MountOf("/var/tmp"), unpacked.Bytes, unpacked.Files)
	for at, size := range largest {
		add(at, size, 0)
	}
	return need, nil
}

// size is what is added to an initrd at most, in bytes.
func (o *Overlay) size() int64 {
	size := int64(page)
	switch {
	case len(o.Files)+len(o.Also) > 0:
		size += Overlaid
	case len(o.Modules) > 0:
		size += Driven
	}
	for _, e := range o.Texts {
		size += int64(len(e.New)) + page
	}
	return size
}

// Remade is the initrd that a command of package adapt rebuilds, "" where it
// makes none: dracut's arguments end in initrd and kernel.
func Remade(argv []string) string {
	if len(argv) < 3 || argv[0] != "dracut" {
		return ""
	}
	return argv[len(argv)-2]
}

// Short says what a file system that is mounted at a place lacks, nil if
// nothing.
func Short(at string, free, need Space) error {
	const advice = "make room in the guest, then plan again"
	if need == (Space{}) {
		return nil
	}
	if want := need.Bytes + Margin; free.Bytes < want {
		return fmt.Errorf("%s of the guest has %d MiB free, but %d MiB are needed: %s", at, free.Bytes>>20, (want+1<<20-1)>>20, advice)
	}
	if want := need.Files + MarginFiles; free.Files >= 0 && free.Files < want {
		return fmt.Errorf("%s of the guest has room for %d more files (df -i), but %d are needed: %s", at, free.Files, want, advice)
	}
	return nil
}

// packaged lists the mounts that packages' files and the records of them lie on.
// How much of them is on which of these the plan can't know.
func (c *Conversion) packaged() []string {
	var out []string
	for _, dir := range []string{"/", "/usr", "/usr/lib", "/usr/share", "/var/lib/dpkg", "/var/lib/rpm"} {
		if at := c.MountOf(dir); !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

// MountOf is the mount that holds a path.
func (c *Conversion) MountOf(name string) string {
	best := "/"
	for _, m := range c.Mounts {
		if (name == m.At || strings.HasPrefix(name, m.At+"/")) && len(m.At) > len(best) {
			best = m.At
		}
	}
	return best
}

// lilo is about what the program takes, and KernelSize what a kernel does, in bytes.
const (
	lilo       = 4 << 20
	KernelSize = 16 << 20
)

// Estimate says how large things are, as far as a plan can know.
func (g *Guest) Estimate(packages int, unpacked int64) Sizes {
	return Sizes{
		Packages: packages, Unpacked: unpacked,
		Program: func(p Program) int64 {
			if p.Source == "lilo" {
				return lilo
			}
			return page
		},
		Initrd: func(path string) (string, int64, error) { return path, g.Config.Initrds[path], nil },
	}
}

// Room says, before anything is copied, which of the guest's file systems has
// too little room for a conversion, nil if none is known to. The appliance looks
// again.
func (g *Guest) Room(c *Conversion, packages int, unpacked int64) error {
	need, err := c.Needs(g.Estimate(packages, unpacked))
	if err != nil {
		return err
	}
	for _, m := range c.Mounts {
		if free, ok := g.Config.Free[m.At]; ok {
			if err := Short(m.At, free, need[m.At]); err != nil {
				return err
			}
		}
	}
	return nil
}
