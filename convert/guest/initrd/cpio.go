package initrd

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
)

// writeCPIO writes files and the directories that they are in as an archive of
// the "new ASCII" kind (cpio(5), newc), which Linux unpacks.
func writeCPIO(w io.Writer, files map[string]file) error {
	c := &cpio{w: w}
	dirs := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, dir := range parents(name) {
			if !dirs[dir] {
				dirs[dir] = true
				c.entry(dir, 0o040755, nil)
			}
		}
		f := files[name]
		c.entry(name, 0o100000|uint32(f.mode.Perm()), f.body)
	}
	c.inode = -1
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

// parents are the directories above a path, the topmost first, without those
// that an initrd may have as links.
func parents(name string) []string {
	var dirs []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		switch dir {
		case "bin", "sbin", "lib", "lib64":
		default:
			dirs = append(dirs, dir)
		}
	}
	slices.Reverse(dirs)
	return dirs
}

// cpio writes entries until the first error.
type cpio struct {
	w     io.Writer
	inode int
	err   error
}

// entry writes one. All belong to root and are of the epoch, so that an archive
// depends on nothing but its files.
func (c *cpio) entry(name string, mode uint32, body []byte) {
	c.inode++
	links := 1
	if mode&0o170000 == 0o040000 {
		links = 2
	}
	c.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, links, 0, len(body), 0, 0, 0, 0, len(name)+1, 0, name))
	c.write(body)
}

// write writes b and pads it to a multiple of 4.
func (c *cpio) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
	if pad := -len(b) & 3; c.err == nil && pad > 0 {
		_, c.err = c.w.Write(make([]byte, pad))
	}
}
