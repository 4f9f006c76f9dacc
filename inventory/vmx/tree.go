package vmx

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"esxodus/inventory"
)

// maxEntries is how many names a tree may have: a datastore has some thousands, and
// who gives / by mistake shall not wait for all of it.
const maxEntries = 200_000

// ErrOutside is wrapped by errors about files that lie elsewhere.
var ErrOutside = errors.New("not in this directory")

// Tree is a directory that holds VMs' directories: a datastore that is mounted or
// was copied, several datastores, or what is left of one VM.
type Tree struct {
	FS   fs.FS  // none of its symbolic links leads out of it
	Name string // what it is called: a datastore's directory has the datastore's name or UUID
}

// Host makes an inventory of all .vmx files in the tree. One that can't be read is a
// VM with a problem. Symbolic links aren't followed, and what begins with a dot isn't
// looked into: on filers the snapshots of all else are there.
func (t Tree) Host(ctx context.Context) (*inventory.Host, error) {
	w := walk{ctx: ctx, fs: t.FS, left: maxEntries, locked: make(map[string][]string)}
	if err := w.dir("."); err != nil {
		return nil, err
	}
	h := &inventory.Host{SchemaVersion: inventory.SchemaVersion, Datastores: []inventory.Datastore{}, VMs: []inventory.VM{}, Problems: w.problems}
	for _, found := range w.found {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		vm := t.vm(found)
		vm.Locks = append(vm.Locks, w.locksOfDisks(&vm)...)
		h.VMs = append(h.VMs, vm)
	}
	slices.SortStableFunc(h.VMs, func(a, b inventory.VM) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return h, nil
}

// vm reads a .vmx, whatever is in it.
func (t Tree) vm(at found) inventory.VM {
	vm, err := t.read(at.file)
	if err != nil {
		vm = inventory.VM{
			Path: at.file, Name: strings.TrimSuffix(path.Base(at.file), path.Ext(at.file)), Power: inventory.PowerUnknown,
			Controllers: []inventory.Controller{}, Disks: []inventory.Disk{}, NICs: []inventory.NIC{},
		}
		vm.Problem("its file can't be read: %v", err)
	}
	vm.ID, vm.Locks = at.file, at.locks
	return vm
}

// read reads a .vmx and what its disks' descriptors say. Of a disk whose descriptor
// isn't in the tree the VM has a problem.
func (t Tree) read(name string) (inventory.VM, error) {
	b, err := readFile(t.FS, name, maxSize)
	if err != nil {
		return inventory.VM{}, err
	}
	f, err := Parse(b)
	if err != nil {
		return inventory.VM{}, err
	}
	vm, err := f.vm(name)
	if err != nil {
		return vm, err
	}
	sum := sha256.Sum256(b)
	vm.ChangeVersion = fmt.Sprintf("%x", sum[:8])
	for i := range vm.Disks {
		if err := t.describe(&vm.Disks[i]); err != nil {
			vm.Problem("disk %s: %v", vm.Disks[i].Address(), err)
		}
	}
	return vm, nil
}

// Locate returns where in the tree the file is that one in a directory of it calls
// name. What lies outside wraps [ErrOutside].
func (t Tree) Locate(dir, name string) (string, error) {
	file := path.Join(dir, name)
	if rest, ok := strings.CutPrefix(path.Clean(name), "/vmfs/volumes/"); ok {
		store, inside, _ := strings.Cut(rest, "/")
		root, ok := t.store(store)
		if !ok {
			return "", fmt.Errorf("%w: %.200q: its datastore is elsewhere; copy or mount that one too, both in one directory, under the name %s", ErrOutside, name, store)
		}
		file = path.Join(root, inside)
	} else if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("%w: %.200q", ErrOutside, name)
	}
	if name == "" || file == "." || !fs.ValidPath(file) {
		return "", fmt.Errorf("%w: %.200q", ErrOutside, name)
	}
	return file, nil
}

// store is the directory that a datastore of this name or UUID is.
func (t Tree) store(name string) (string, bool) {
	if name == "" || !fs.ValidPath(name) {
		return "", false
	}
	if info, err := fs.Stat(t.FS, name); err == nil && info.IsDir() {
		return name, true
	}
	return ".", name == t.Name
}

// found is a .vmx, and files beside it that are there while its VM runs.
type found struct {
	file  string
	locks []string
}

// walk looks for .vmx files.
type walk struct {
	ctx      context.Context
	fs       fs.FS
	left     int // entries that may still be seen
	found    []found
	locked   map[string][]string // names of locks on files, by directory
	problems []string
}

// dir looks through a directory. One that can't be read is a problem; of the tree
// itself it is an error.
func (w *walk) dir(name string) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	entries, err := w.entries(name)
	if err != nil && name != "." {
		w.problems = append(w.problems, fmt.Sprintf("%s can't be looked into: %v", name, err))
		return nil
	}
	if err != nil {
		return err
	}
	if w.left -= len(entries); w.left < 0 {
		return fmt.Errorf("more than %d files: give a directory that holds VMs, and little else", maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	running := swapsAndLocks(entries)
	for _, e := range entries {
		at, kind := path.Join(name, e.Name()), strings.ToLower(path.Ext(e.Name()))
		if fileLock.MatchString(e.Name()) {
			w.locked[name] = append(w.locked[name], at)
		}
		switch {
		case e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found":
			if err := w.dir(at); err != nil {
				return err
			}
		case e.Type().IsRegular() && (kind == ".vmx" || kind == ".vmtx") && !strings.HasPrefix(e.Name(), "."):
			w.found = append(w.found, found{at, running.of(e.Name())})
		}
	}
	return nil
}

func (w *walk) entries(name string) (_ []fs.DirEntry, err error) {
	f, err := w.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, fmt.Errorf("%s: not a directory", name)
	}
	entries, err := d.ReadDir(w.left + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}

// swapOrLock matches what is beside a .vmx while its VM runs: ESXi's swap files, its
// locks on NFS, and those of the hosted products. All of them may be left over.
var swapOrLock = regexp.MustCompile(`(?i)(^\.lck-|\.vswp$|\.lck$)`)

// fileLock matches a lock on some file beside it, a disk perhaps.
var fileLock = regexp.MustCompile(`(?i)(^\.lck-|\.vmdk\.lck$)`)

// locksOfDisks are locks on files in the other directories that a VM's disks are in.
func (w *walk) locksOfDisks(vm *inventory.VM) []string {
	var out []string
	seen := map[string]bool{path.Dir(vm.Path): true}
	for _, d := range vm.Disks {
		for _, file := range append([]string{d.Path}, d.Parents...) {
			dir := path.Dir(file)
			if n := min(len(w.locked[dir]), mostLocks-len(out)); !seen[dir] && n > 0 {
				out = append(out, w.locked[dir][:n]...)
			}
			seen[dir] = true
		}
	}
	return out
}

// mostLocks is how many files are named for which a VM may be running.
const mostLocks = 5

// lockFiles are the files of a directory for which its VMs may be running.
type lockFiles struct {
	common []string            // of whichever VM
	own    map[string][]string // of one .vmx, whose name in lower case is the key
}

func swapsAndLocks(entries []fs.DirEntry) lockFiles {
	l := lockFiles{own: map[string][]string{}}
	for _, e := range entries {
		switch vmx, ok := strings.CutSuffix(strings.ToLower(e.Name()), ".lck"); {
		case ok && strings.HasSuffix(vmx, ".vmx"):
			l.own[vmx] = append(l.own[vmx], e.Name())
		case swapOrLock.MatchString(e.Name()):
			l.common = append(l.common, e.Name())
		}
	}
	return l
}

// of are some of those that tell of a .vmx.
func (l lockFiles) of(vmx string) []string {
	all := slices.Concat(l.own[strings.ToLower(vmx)], l.common[:min(len(l.common), mostLocks)])
	slices.Sort(all)
	return all[:min(len(all), mostLocks)]
}
