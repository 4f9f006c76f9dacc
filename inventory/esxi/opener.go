package esxi

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// Opener opens the files that a descriptor names: extents beside it, and
// parents, which may be on another datastore.
type Opener struct {
	ctx    context.Context // bounds the files' life, as of Client.Open
	c      *Client
	stores []store
	dir    dsPath // the descriptor itself; names are relative to its directory
}

// VMDKOpener returns an opener for the files that the descriptor at the
// datastore path descriptorPath names. ctx bounds the life of all files that
// it opens.
func (c *Client) VMDKOpener(ctx context.Context, descriptorPath string) (*Opener, error) {
	stores, err := c.datastores(ctx)
	if err != nil {
		return nil, err
	}
	p, err := parsePath(descriptorPath, stores)
	if err != nil {
		return nil, err
	}
	return &Opener{ctx: ctx, c: c, stores: stores, dir: p}, nil
}

// Parent returns the opener of the files of the disk's parent, which its
// descriptor calls hint, and the parent's name there. The hint may lead to
// another directory of the datastore, and to other datastores that the host
// mounts; any other wraps [ErrOutside].
func (o *Opener) Parent(hint string) (*Opener, string, error) {
	p, err := o.parent(hint)
	if err != nil {
		return nil, "", fmt.Errorf("%s has the parent %q: %w", o.dir, hint, err)
	}
	return &Opener{ctx: o.ctx, c: o.c, stores: o.stores, dir: p}, path.Base(p.file), nil
}

// parent resolves the path of a parent, which unlike an extent's may go by way
// of other directories of the datastore.
func (o *Opener) parent(hint string) (dsPath, error) {
	if strings.HasPrefix(hint, "/") || strings.HasPrefix(hint, "[") || !strings.Contains(hint, "/") {
		return o.resolve(hint)
	}
	file, err := cleanFile(path.Join(path.Dir(o.dir.file), hint))
	return dsPath{o.dir.store, file}, err
}

// Open opens the file that a descriptor calls name: one in the descriptor's
// directory, or an absolute path below /vmfs/volumes on a datastore that the
// host mounts. Any other name wraps [ErrOutside].
func (o *Opener) Open(name string) (*File, error) {
	p, err := o.resolve(name)
	if err != nil {
		return nil, fmt.Errorf("%s names %q: %w", o.dir, name, err)
	}
	return o.c.Open(o.ctx, p.String())
}

// Locate returns the datastore that the file is on which a descriptor calls name, and
// where it is there.
func (o *Opener) Locate(name string) (store, file string, err error) {
	p, err := o.resolve(name)
	return p.store, p.file, err
}

// ShellPath returns where that file is on the host's own file system.
func (o *Opener) ShellPath(name string) (string, error) {
	p, err := o.resolve(name)
	if err != nil {
		return "", fmt.Errorf("%s names %q: %w", o.dir, name, err)
	}
	return p.shell(o.stores), nil
}

func (o *Opener) resolve(name string) (dsPath, error) {
	switch {
	case name == "" || name == "." || name == "..":
		return dsPath{}, fmt.Errorf("%w: not a file name", ErrOutside)
	case strings.HasPrefix(name, "/"):
		return absolute(name, o.stores)
	case strings.HasPrefix(name, "["):
		return parsePath(name, o.stores)
	case strings.Contains(name, "/"):
		return dsPath{}, fmt.Errorf("%w: want a file beside the descriptor or a path below /vmfs/volumes", ErrOutside)
	}
	file, err := cleanFile(path.Join(path.Dir(o.dir.file), name))
	return dsPath{o.dir.store, file}, err
}
