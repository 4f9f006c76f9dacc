// Package initrd makes what is appended to a guest's initrd, so that a kernel
// finds its root on a new kind of disk without rebuilding the initrd: a
// cpio archive with programs of the guest and the libraries that they need,
// with kernel modules and with configuration. The kernel unpacks one archive
// after the other; files of a later one replace those of an earlier one.
//
// An initrd of initramfs-tools has /bin, /lib and /sbin either as directories
// or as links into /usr. The archive names its files by these, and has no
// entries for the three themselves: so it fits both.
package initrd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"esxodus/convert/guest"
)

// Limits of an archive, in bytes.
const (
	maxFile  = 64 << 20
	maxTotal = 256 << 20
)

// Build makes all that is appended to one initrd of the guest, from its last
// byte on. root is the guest's tree, whose links may lead anywhere: they are
// followed inside of it. The same tree and overlay give the same bytes.
func Build(root fs.ReadLinkFS, o guest.Overlay) ([]byte, error) {
	b := &builder{tree: tree{root: root, links: map[string]string{}}, files: map[string]file{}}
	if err := b.fill(o); err != nil {
		return nil, fmt.Errorf("addition to %s: %w", o.Initrd, err)
	}
	added, err := b.pack(o.Initrd)
	if err != nil {
		return nil, fmt.Errorf("addition to %s: %w", o.Initrd, err)
	}
	return added, nil
}

// pack writes the archive, in the form that fits to the end of an initrd.
func (b *builder) pack(initrd string) ([]byte, error) {
	f, size, err := b.tree.open(initrd)
	if err != nil {
		return nil, err
	}
	isLZ4, err := endsInLZ4(f, size)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var plain, out bytes.Buffer
	if isLZ4 {
		err := writeCPIO(&plain, b.files)
		writeLZ4(&out, plain.Bytes())
		return out.Bytes(), err
	}
	out.Write(make([]byte, (align-size%align)%align))
	z, err := gzip.NewWriterLevel(&out, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	err = errors.Join(writeCPIO(z, b.files), z.Close())
	return out.Bytes(), err
}

// align is what an initrd is filled up to with zeros. Archives begin at
// multiples of 4 bytes; 512 is what cpio itself pads to.
const align = 512

// file is a regular file of the archive.
type file struct {
	mode fs.FileMode // permission bits
	body []byte
}

// builder collects an archive's files by their paths, which have no slash at
// their start.
type builder struct {
	tree  tree
	files map[string]file
	total int64
}

func (b *builder) fill(o guest.Overlay) error {
	for _, f := range o.Files {
		if err := b.program(f); err != nil {
			return err
		}
	}
	for _, f := range o.Also {
		if err := b.program(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := b.modules(o.Kernel, o.Modules); err != nil {
		return err
	}
	for _, e := range o.Texts {
		if err := b.put(e.Path, fs.FileMode(e.Mode).Perm(), []byte(e.New)); err != nil {
			return err
		}
	}
	return nil
}

// put adds a file.
func (b *builder) put(name string, mode fs.FileMode, body []byte) error {
	name = inside(name)
	if !fs.ValidPath(name) || name == "." || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%q can't be the name of a file in an initrd", name)
	}
	if b.total += int64(len(body)); b.total > maxTotal {
		return fmt.Errorf("%s: the files are larger than %d bytes in all", name, maxTotal)
	}
	b.files[name] = file{mode: mode, body: body}
	return nil
}

// inside is a guest's path in an initrd: /usr/lib and the like by the names
// that they have in any initrd.
func inside(name string) string {
	name = path.Clean("/" + name)[1:]
	for _, dir := range []string{"bin/", "sbin/", "lib/", "lib64/"} {
		if strings.HasPrefix(name, "usr/"+dir) {
			return name[len("usr/"):]
		}
	}
	return name
}

// program adds a file of the guest and, if it is a program or a library, the
// libraries that it needs.
func (b *builder) program(name string) error {
	todo := []string{name}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if _, ok := b.files[inside(name)]; ok {
			continue
		}
		body, mode, err := b.tree.read(name)
		if err != nil {
			return err
		}
		if err := b.put(name, mode.Perm(), body); err != nil {
			return err
		}
		needs, err := needed(body)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		libs, err := b.libraries(name, needs)
		if err != nil {
			return err
		}
		todo = append(todo, libs...)
	}
	return nil
}
