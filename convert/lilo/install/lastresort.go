package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
	"esxodus/disk"
)

// The last resort is an image whose files are lilo's own: copies of a kernel and
// an initrd that nobody else writes, so that the loader finds them whatever became
// of all others. They are of what booted last, which is known to work; before
// anything did, of the default. New copies lie beside the old ones until the map
// that has them boots.

// newCopy is what the name of a copy ends in until the map that boots has it.
const newCopy = ".new"

// copies lists where the files of the last resort are.
func copies(im *conf.Image) []string {
	if im.Initrd == "" {
		return []string{im.Kernel}
	}
	return []string{im.Kernel, im.Initrd}
}

// makeLastResort makes the copies where they are missing.
func (in *installer) makeLastResort() {
	im := in.cfg.LastResort()
	if im == nil || in.o.Test || in.find(im.Label) != nil {
		return
	}
	name := in.defaultLabel()
	from := in.find(name)
	if from == nil {
		from = in.images[0]
	}
	c, err := in.copied(im, from)
	if err != nil {
		in.o.Log.Warn("image %s (line %d): %v", im.Label, im.Line, err)
		return
	}
	if c != nil {
		in.images = append(in.images, c)
	}
}

// renewLastResort makes copies of what booted, and reports whether it did. menu is
// that of the map that boots: its images are what their files are, so that of
// Booted is what was booted.
func (in *installer) renewLastResort(menu *lilo.Menu) bool {
	im := in.cfg.LastResort()
	if im == nil || in.o.Booted == "" || strings.EqualFold(in.o.Booted, im.Label) {
		return false
	}
	from, old := in.find(in.o.Booted), in.find(im.Label)
	if from == nil || old == nil || sameFiles(from, old) {
		return false
	}
	c, err := in.copied(im, from)
	if err != nil || c == nil {
		in.o.Log.Warn("image %s (line %d) stays what it is: %v", im.Label, im.Line, err)
		return false
	}
	for i := range menu.Images {
		if img := &menu.Images[i]; img.Label == im.Label {
			img.Kernel = c.kernel.inMenu()
			if c.initrd != nil {
				initrd := c.initrd.inMenu()
				img.Initrd = &initrd
			}
		}
	}
	return true
}

// find returns the image of a label or an alias that is to be in the map.
func (in *installer) find(name string) *candidate {
	for _, c := range in.images {
		if strings.EqualFold(c.conf.Label, name) || c.conf.Alias != "" && strings.EqualFold(c.conf.Alias, name) {
			return c
		}
	}
	return nil
}

// copied makes the image im of copies of another one's files.
func (in *installer) copied(im *conf.Image, from *candidate) (*candidate, error) {
	sources := []*mapped{from.kernel}
	if im.Initrd != "" {
		if from.initrd == nil {
			return nil, fmt.Errorf("it has an initrd=, and %s has none", from.conf.Label)
		}
		sources = append(sources, from.initrd)
	} else if from.initrd != nil {
		return nil, fmt.Errorf("it has no initrd=, and %s has one", from.conf.Label)
	}
	names := copies(im)
	if err := os.MkdirAll(filepath.Dir(names[0]), 0o700); err != nil {
		return nil, err
	}
	if err := room(filepath.Dir(names[0]), sources); err != nil {
		return nil, err
	}
	for i, mf := range sources {
		if err := mf.copy(names[i] + newCopy); err != nil {
			return nil, fmt.Errorf("copying %s: %w", mf.path, err)
		}
	}
	with := *im
	for i, path := range []*string{&with.Kernel, &with.Initrd} {
		if i < len(names) {
			*path = names[i] + newCopy
		}
	}
	c, err := in.candidate(&with)
	if err != nil {
		return nil, err
	}
	c.conf = im
	for _, f := range []*mapped{c.kernel, c.initrd} {
		if f != nil {
			err = errors.Join(err, f.compare(in.direct))
		}
	}
	in.o.Log.Note(1, "%s is a copy of %s now", im.Label, from.conf.Label)
	return c, errors.Join(err, in.sameDisk(c))
}

// room says whether copies can be made, and leave as much room as they take: the
// next kernel needs it.
func room(dir string, files []*mapped) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	var need int64
	for _, f := range files {
		need += 2 * f.size
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("its copies need %d MiB free in %s, half of it for the next kernel, and there are %d", need>>20+1, dir, free>>20)
	}
	return nil
}

// copy writes a file anew: on a file system that can, it shares the blocks until
// one of the two is written to.
func (mf *mapped) copy(name string) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, remove(name))
		}
	}()
	if _, err := mf.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.CopyN(f, mf.file, mf.size); err != nil {
		return err
	}
	return f.Sync()
}

// nameCopies cares for copies that have no names yet: those of the map that boots
// take the place of the old ones, others were made for a map that never came.
func (in *installer) nameCopies() error {
	im := in.cfg.LastResort()
	if im == nil || in.o.Test {
		return nil
	}
	live := in.booting()
	if live != nil {
		defer live.Close() //nolint:errcheck // only read
	}
	for _, name := range copies(im) {
		f, err := in.mapper.open(name + newCopy)
		if err == nil {
			_ = f.file.Close() // only read
		}
		switch {
		case missing(err):
			continue
		case err == nil && live.holds(im.Label, f):
			err = os.Rename(name+newCopy, name)
		default:
			err = remove(name + newCopy)
		}
		if err == nil {
			err = disk.SyncDir(filepath.Dir(name))
		}
		if err != nil {
			return fmt.Errorf("the copies of the last resort: %w", err)
		}
	}
	return nil
}

// holds reports whether the map's image of a label has a file as it is. Another one
// may have it as well, where copies share their blocks.
func (i *Installed) holds(label string, f *mapped) bool {
	if i == nil {
		return false
	}
	file := f.inMenu()
	for _, img := range i.Menu.Images {
		if img.Label == label {
			return img.Kernel.Same(file) || img.Initrd != nil && img.Initrd.Same(file)
		}
	}
	return false
}

// sameFiles reports whether two images have the same content.
func sameFiles(a, b *candidate) bool {
	if (a.initrd == nil) != (b.initrd == nil) {
		return false
	}
	return sameContent(a.kernel, b.kernel) && (a.initrd == nil || sameContent(a.initrd, b.initrd))
}

func sameContent(a, b *mapped) bool {
	if a.size != b.size {
		return false
	}
	x, y := make([]byte, directSize), make([]byte, directSize)
	for at := int64(0); at < a.size; at += directSize {
		n := min(directSize, a.size-at)
		if _, err := a.file.ReadAt(x[:n], at); err != nil {
			return false
		}
		if _, err := b.file.ReadAt(y[:n], at); err != nil || !bytes.Equal(x[:n], y[:n]) {
			return false
		}
	}
	return true
}
