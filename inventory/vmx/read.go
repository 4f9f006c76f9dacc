package vmx

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"esxodus/inventory"
)

// Read reads the .vmx called name (slash-separated, below fsys), and of its
// disks what their descriptors say where they lie below fsys too: capacity,
// UUID, thin or not, snapshots. A descriptor that isn't there leaves the
// capacity at 0; one that makes no sense is in VM.Problems.
func Read(fsys fs.FS, name string) (inventory.VM, error) {
	b, err := readFile(fsys, name, maxSize)
	if err != nil {
		return inventory.VM{}, err
	}
	f, err := Parse(b)
	if err != nil {
		return inventory.VM{}, fmt.Errorf("%s: %w", name, err)
	}
	vm, err := f.vm(name)
	if err != nil {
		return vm, fmt.Errorf("%s: %w", name, err)
	}
	for i := range vm.Disks {
		err := Tree{FS: fsys}.describe(&vm.Disks[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrOutside) {
			vm.Problem("disk %s: %v", vm.Disks[i].Address(), err)
		}
	}
	return vm, nil
}

// describe fills in what the descriptors of the disk's chain say, and where they are.
func (t Tree) describe(d *inventory.Disk) error {
	if d.Path == "" {
		return nil // which is a problem already
	}
	at, err := t.Locate(".", d.Path)
	if err != nil {
		return err
	}
	d.Path = at
	top, err := readDescriptor(t.FS, at)
	if err != nil {
		return err
	}
	d.Capacity, d.UUID, d.ContentID, d.Thin = top.capacity, top.uuid, top.cid, top.thin
	if d.Format == inventory.FormatFlat { // else the .vmx says that it is a LUN
		d.Format = top.format()
	}
	seen := map[string]bool{at: true}
	for link := top; link.parent != ""; {
		next, err := t.Locate(path.Dir(at), link.parent)
		if err != nil {
			d.Parents = append(d.Parents, outside(path.Dir(at), link.parent))
			return fmt.Errorf("parent: %w", err)
		}
		if seen[next] || len(seen) > maxLinks {
			return fmt.Errorf("%s: its chain of parents is too long, or a circle", at)
		}
		seen[next] = true
		d.Parents = append(d.Parents, next)
		at = next
		if link, err = readDescriptor(t.FS, at); err != nil {
			return fmt.Errorf("parent %w", err)
		}
		d.Thin, d.UUID = d.Thin || link.thin, cmp.Or(d.UUID, link.uuid)
	}
	return nil
}

// outside is a name that leads out of the tree, as it is shown.
func outside(dir, name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return path.Join(dir, name)
}

// readFile reads a regular file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) (_ []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return b, nil
}
