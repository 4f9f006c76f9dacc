package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/vmx"
)

// Dir is a directory of this host that holds VMs' files: a datastore that is mounted
// or was copied. Nothing is written to it, and nothing outside of it is read.
type Dir struct {
	noHost

	Path string // absolute
}

// Inventory reads it again.
func (s *Dir) Inventory(ctx context.Context) (*inventory.Host, error) {
	h, err := s.tree().Host(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	h.Name = s.Path
	if len(h.VMs) == 0 {
		return nil, fmt.Errorf("%s: no .vmx file in it (what symbolic links lead to isn't looked through)", s.Path)
	}
	return h, nil
}

func (s *Dir) tree() vmx.Tree {
	return vmx.Tree{FS: disk.Below(s.Path), Name: filepath.Base(s.Path)}
}

// OpenDisk opens the disk behind a descriptor.
func (s *Dir) OpenDisk(_ context.Context, o plan.Origin) (disk.Image, func() error, error) {
	return openFile(s.tree(), s.Path, o.Path)
}

// openFile opens the disk whose descriptor is this file of a tree, which is at root.
func openFile(t vmx.Tree, root, file string) (disk.Image, func() error, error) {
	return openImage(localFiles{t, root, path.Dir(file)}, path.Base(file), filepath.Join(root, file))
}

// errNoHost is what can't be asked of files.
var errNoHost = errors.New("files have no power switch: there is no host to ask")

// noHost is what files have in place of a host.
type noHost struct{}

// Shutdown refuses: there is nothing that runs.
func (noHost) Shutdown(context.Context, inventory.Via, string) error { return &refusedError{errNoHost} }

// PowerOff refuses.
func (noHost) PowerOff(context.Context, inventory.Via, string) error { return errNoHost }

// PowerOn refuses.
func (noHost) PowerOn(context.Context, inventory.Via, string) error { return errNoHost }

// AutoStart has nobody to ask.
func (noHost) AutoStart(context.Context, inventory.Via, string) (inventory.AutoStartEntry, error) {
	return inventory.AutoStartEntry{}, errNoHost
}

// SetAutoStart has nobody to ask.
func (noHost) SetAutoStart(context.Context, inventory.Via, string, inventory.AutoStartEntry) error {
	return errNoHost
}

// Away reports that files are nowhere else.
func (noHost) Away(error) bool { return false }

// Ready reports that nothing is missing to read them.
func (noHost) Ready() error { return nil }

// Close has nothing to close.
func (noHost) Close(context.Context) error { return nil }

// Files are VMs in files of this machine: a [Dir] or a [Package].
type Files interface {
	Inventory(ctx context.Context) (*inventory.Host, error)
	OpenDisk(ctx context.Context, from plan.Origin) (disk.Image, func() error, error)
	Shutdown(ctx context.Context, via inventory.Via, id string) error
	PowerOn(ctx context.Context, via inventory.Via, id string) error
	PowerOff(ctx context.Context, via inventory.Via, id string) error
	AutoStart(ctx context.Context, via inventory.Via, id string) (inventory.AutoStartEntry, error)
	SetAutoStart(ctx context.Context, via inventory.Via, id string, e inventory.AutoStartEntry) error
	Away(err error) bool
	Ready() error
	Close(ctx context.Context) error
}

// At finds out what is at an absolute path, and returns the path that it goes by from
// now on: that of the .ovf for a directory that holds one and no VM of ESXi's.
func At(ctx context.Context, name string) (string, Files, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", nil, err
	}
	switch kind := strings.ToLower(filepath.Ext(name)); {
	case info.Mode().IsRegular() && (kind == ".ova" || kind == ".ovf"):
		return name, &Package{Path: name}, nil
	case !info.IsDir():
		return "", nil, fmt.Errorf("%s: want a directory with VMs' files, an .ova or an .ovf (a VMDK alone says nothing of its VM: put a .vmx beside it and give the directory, `esxodus help sources` has one to begin with; `esxodus copy` takes the bytes only)", name)
	}
	s := &Dir{Path: name}
	found, err := filepath.Glob(filepath.Join(escapeGlob(name), "*.[oO][vV][fF]"))
	if err != nil || len(found) == 0 {
		return name, s, err
	}
	if h, err := s.tree().Host(ctx); err != nil || len(h.VMs) > 0 {
		return name, s, err
	}
	if len(found) > 1 {
		return "", nil, fmt.Errorf("%s: %d .ovf files: give one of them, such as %s", name, len(found), found[0])
	}
	return found[0], &Package{Path: found[0]}, nil
}

// Of are the files at a path that [At] returned once.
func Of(name string) Files {
	if kind := strings.ToLower(filepath.Ext(name)); kind == ".ova" || kind == ".ovf" {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			return &Package{Path: name}
		}
	}
	return &Dir{Path: name}
}

// escapeGlob is a path as a pattern of itself.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// localFiles opens the files of disks in a tree.
type localFiles struct {
	tree      vmx.Tree
	root, dir string // where the tree is, and a directory of it
}

// Open implements vmdk.Opener.
func (l localFiles) Open(name string) (vmdk.File, error) {
	at := path.Join(l.dir, name)
	return openLocal(l.root, at, at)
}

// openLocal opens a file below a directory of this machine, that is called name.
func openLocal(root, at, name string) (*localFile, error) {
	f, err := disk.OpenBelow(root, at)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	raw, err := disk.NewRaw(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &localFile{raw, name, fmt.Sprintf("%d bytes, changed %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))}, nil
}

// Parent implements vmdk.Opener.
func (l localFiles) Parent(hint string) (vmdk.Opener, string, error) {
	at, err := l.tree.Locate(l.dir, hint)
	if err != nil {
		return nil, "", fmt.Errorf("parent: %w", err)
	}
	return localFiles{l.tree, l.root, path.Dir(at)}, path.Base(at), nil
}

// localFile is a file that tells which state of it is read.
type localFile struct {
	*disk.Raw
	name, version string
}

// Name is where it is, in the tree or on its datastore.
func (f *localFile) Name() string { return f.name }

// Version differs once it was written to.
func (f *localFile) Version() string { return f.version }
