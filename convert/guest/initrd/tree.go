package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"esxodus/convert/guest"
)

// tree is a guest's tree whose links lead nowhere but into it. It remembers
// what it saw of links, for a look may be slow.
type tree struct {
	root  fs.ReadLinkFS
	links map[string]string // target by path; "" for what is no link
}

// resolve follows all links of an absolute path. The result is a name for root.
func (t tree) resolve(name string) (string, error) { return guest.Resolve(name, t.link) }

// link returns a link's target, "" for anything else.
func (t tree) link(name string) (string, error) {
	if target, ok := t.links[name]; ok {
		return target, nil
	}
	info, err := t.root.Lstat(name)
	if err != nil {
		return "", err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = t.root.ReadLink(name); err != nil {
			return "", err
		}
		if target == "" {
			return "", fmt.Errorf("/%s: a link without a target", name)
		}
	}
	t.links[name] = target
	return target, nil
}

// regular is a file that is open, at any place of which can be read.
type regular interface {
	fs.File
	io.ReaderAt
}

// open opens a regular file of the guest.
func (t tree) open(name string) (_ regular, size int64, err error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, 0, err
	}
	f, err := t.root.Open(real)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	r, ok := f.(regular)
	if err == nil && (!ok || !info.Mode().IsRegular()) {
		err = fmt.Errorf("%s is not a regular file but %v", name, info.Mode().Type())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return r, info.Size(), nil
}

// read reads a regular file of the guest.
func (t tree) read(name string) (_ []byte, mode fs.FileMode, err error) {
	f, size, err := t.open(name)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size > maxFile {
		return nil, 0, fmt.Errorf("%s: %d bytes; the limit for a file in an initrd is %d", name, size, maxFile)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	return b, info.Mode(), nil
}

// exists reports whether a path leads to something.
func (t tree) exists(name string) bool {
	_, err := t.resolve(name)
	return err == nil
}
