// Package act carries a [guest.Conversion] out in an appliance: what the plan
// says and nothing else. Everything is checked before the first change, and
// read back after the last; an error at any point means that the disks of the
// appliance are to be thrown away, so they must be overlays.
package act

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
)

// Machine is a running appliance; [appliance.Appliance] is one.
type Machine interface {
	// FSCheck checks a file system that isn't mounted; what it finds is not an error.
	FSCheck(ctx context.Context, device, content string) (appliance.Finding, error)
	// Mount mounts a file system in the guest's tree; Unmount, all of it.
	Mount(ctx context.Context, device, at string) error
	Unmount(ctx context.Context) error
	// Free is in bytes and inodes; inodes is -1 where there is no limit.
	Free(ctx context.Context, name string) (bytes, inodes int64, err error)
	// RealPath follows an absolute path within the guest's tree to its end.
	RealPath(ctx context.Context, name string) (string, error)
	// WriteFile replaces or makes a file, all or nothing; written is the path
	// at the end of symbolic links.
	WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode) (written string, err error)
	// Append adds to a file that exists.
	Append(ctx context.Context, name string, content []byte) error
	Symlink(ctx context.Context, target, name string) error
	Remove(ctx context.Context, name string) error
	MkdirAll(ctx context.Context, name string) error
	// Upload copies a file of the host into the guest's tree.
	Upload(ctx context.Context, local, to string) error
	// Command runs a program of the guest in its tree and returns its output; its
	// failure is an [*appliance.CommandError].
	Command(ctx context.Context, argv ...string) (string, error)
	// Cover hides a file behind a script, or a directory behind an empty one,
	// until Uncover: nothing of it reaches the disk.
	Cover(ctx context.Context, name, script string) error
	Uncover(ctx context.Context, name string) error
}

// Tree is the guest's tree, for reading.
type Tree interface {
	fs.ReadLinkFS
	fs.ReadFileFS
}

// Input is what a conversion needs besides itself.
type Input struct {
	Packages []string          // the packages to install: files on the host
	Unpacked int64             // bytes that they take when installed
	Programs map[string][]byte // contents by the source of a [guest.Program]
	// Overlay builds what is appended to an initrd, from the guest's tree
	// with the packages in it: all that comes after the initrd's last byte.
	Overlay func(root fs.ReadLinkFS, o guest.Overlay) ([]byte, error)
	// Report gets what is being done, for people; it may be nil.
	Report func(doing string)
}

// Result is what came of it.
type Result struct {
	Loader string   `json:"loader,omitempty"` // what the loader's installer printed
	Notes  []string `json:"notes,omitempty"`  // what a reader of the plan wouldn't expect
	Took   []Took   `json:"took,omitempty"`   // in order
	// Checks are what was found of the file systems that the conversion mounts
	// and of those that it only checks.
	Checks []guest.Checked `json:"checks,omitempty"`
}

// Took is how long a part took.
type Took struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
}

// run is one Apply at work.
type run struct {
	Machine
	tree    Tree
	c       guest.Conversion
	in      Input
	out     Result
	found   []appliance.Finding // by the first check of each of out.Checks
	stage   string              // directory in memory in the guest's tree
	debian  bool                // dpkg rules here, not rpm
	before  []string            // packages that were in a bad state already
	covered []string            // paths, in order
	made    []string            // files that go again
}

// Apply carries a conversion out. tree reads the guest's tree of m. At its end
// nothing is mounted. After an error, m must be closed, and what its disks
// hold thrown away.
func Apply(ctx context.Context, m Machine, tree Tree, c guest.Conversion, in Input) (Result, error) {
	r := &run{Machine: m, tree: tree, c: c, in: in}
	parts := []struct {
		what string
		do   func(context.Context) error
	}{
		{"checking the plan", r.checkInput},
		{"checking file systems", r.fsckSource},
		{"mounting", r.mount},
		{"comparing with the plan", r.compare},
		{"checking free space", r.space},
		{"preparing", r.prepare},
		{"installing packages", r.install},
		{"removing packages", r.remove},
		{"checking packages", r.settled},
		{"editing files", r.edit},
		{"copying programs", r.programs},
		{"extending initrds", r.overlays},
		{"running commands", r.commands},
		{"writing the boot map", r.loader},
		{"cleaning up", r.clear},
		{"reading back", r.readBack},
		{"unmounting", m.Unmount},
		{"checking file systems again", r.fsck},
	}
	for _, p := range parts {
		if in.Report != nil {
			in.Report(p.what)
		}
		start := time.Now()
		if err := p.do(ctx); err != nil {
			return r.out, fmt.Errorf("guest: %s: %w", p.what, err)
		}
		r.out.Took = append(r.out.Took, Took{p.what, time.Since(start).Seconds()})
	}
	return r.out, nil
}

// note reports something once.
func (r *run) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(r.out.Notes, n) {
		r.out.Notes = append(r.out.Notes, n)
	}
}

// checkInput refuses what could not be carried out whole.
func (r *run) checkInput(context.Context) error {
	if len(r.c.Mounts) == 0 || r.c.Mounts[0].At != "/" {
		return errors.New("the plan's first mount is not the root")
	}
	for _, p := range r.c.Programs {
		if _, ok := r.in.Programs[p.Source]; !ok {
			return fmt.Errorf("this esxodus has no program %q, for %s", p.Source, p.Path)
		}
	}
	if err := r.c.CheckPaths(); err != nil {
		return err
	}
	if len(r.c.Install) > 0 && len(r.in.Packages) == 0 {
		return fmt.Errorf("the plan installs the packages %s, but has none", strings.Join(r.c.Install, ", "))
	}
	return nil
}

// fsckSource checks file systems as they came from the source: until now nothing
// has been written to them, the copy was verified, and where each lies was compared
// with what LVM made. So what is wrong is wrong at the source, too, and the
// guest lives with it; what must not be is that one isn't there.
func (r *run) fsckSource(ctx context.Context) error {
	for _, m := range slices.Concat(r.c.Mounts, r.c.Checks) {
		f, err := r.FSCheck(ctx, m.Device, m.Content)
		if err != nil {
			return err
		}
		c := guest.Checked{Mount: m, Verdict: guest.CheckedSound}
		switch f.Verdict {
		case appliance.Absent:
			return absent(m, f)
		case appliance.Damaged:
			c.Verdict, c.Said = guest.CheckedDamaged, f.Says()
		case appliance.NotChecked:
			c.Verdict, c.Said = guest.NotChecked, f.Says()
		case appliance.Sound:
		}
		r.found, r.out.Checks = append(r.found, f), append(r.out.Checks, c)
	}
	return nil
}

// fsck checks the file systems again, where that says something of what the
// conversion did, and compares: only what is new is damage that it did.
func (r *run) fsck(ctx context.Context) error {
	for i := range r.out.Checks {
		c, before := &r.out.Checks[i], r.found[i]
		if before.Verdict == appliance.NotChecked {
			continue
		}
		f, err := r.FSCheck(ctx, c.Device, c.Content)
		if err != nil {
			return err
		}
		switch f.Verdict {
		case appliance.Absent:
			return absent(c.Mount, f)
		case appliance.Damaged:
			if f.Out = strings.Join(f.New(before), "\n"); f.Out != "" {
				return fmt.Errorf("%s on %s has new damage after the conversion: %s: nothing was written to the volumes; roll back, or try again with resume", c.Content, c.Device, f.Says())
			}
		case appliance.NotChecked:
			if before.Verdict == appliance.Sound {
				c.Verdict, c.Said = guest.CheckedBefore, f.Says()
			}
		case appliance.Sound:
			c.Verdict, c.Said = guest.CheckedSound, ""
		}
	}
	return nil
}

// absent is the error where something else, or nothing, is where the plan has a
// file system.
func absent(m guest.Mount, f appliance.Finding) error {
	return fmt.Errorf("the plan has %s on %s, but it isn't there: %s", m.Content, m.Device, cmp.Or(f.Says(), "another type"))
}

func (r *run) mount(ctx context.Context) error {
	for _, m := range r.c.Mounts {
		if m.At != "/" {
			if _, err := r.tree.Lstat(rel(m.At)); errors.Is(err, fs.ErrNotExist) {
				r.note("%s is not mounted: the guest has no directory %s", m.Device, m.At)
				continue
			}
		}
		if err := r.Mount(ctx, m.Device, m.At); err != nil {
			return err
		}
	}
	return nil
}

// space finds out before anything is changed whether all of it will fit.
func (r *run) space(ctx context.Context) error {
	need, err := r.c.Needs(guest.Sizes{
		Packages: len(r.in.Packages), Unpacked: r.in.Unpacked,
		Program: func(p guest.Program) int64 { return int64(len(r.in.Programs[p.Source])) },
		Initrd: func(path string) (string, int64, error) {
			real, err := r.RealPath(ctx, path)
			if err != nil {
				return "", 0, err
			}
			st, err := r.tree.Lstat(rel(real))
			if err != nil {
				return "", 0, err
			}
			return real, st.Size(), nil
		},
	})
	if err != nil {
		return err
	}
	for _, m := range r.c.Mounts {
		if need[m.At] == (guest.Space{}) {
			continue
		}
		free, inodes, err := r.Free(ctx, m.At)
		if err != nil {
			return err
		}
		if err := guest.Short(m.At, guest.Space{Bytes: free, Files: inodes}, need[m.At]); err != nil {
			return err
		}
	}
	return nil
}

// rel is an absolute path as a name of io/fs.
func rel(name string) string {
	if name == "/" {
		return "."
	}
	return strings.TrimPrefix(name, "/")
}

// overlays appends to each initrd.
func (r *run) overlays(ctx context.Context) error {
	tree := newMemo(r.tree)
	for _, o := range r.c.Overlays {
		b, err := r.in.Overlay(tree, o)
		if err != nil {
			return fmt.Errorf("for %s: %w", o.Initrd, err)
		}
		if err := r.Append(ctx, o.Initrd, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) commands(ctx context.Context) error {
	for _, argv := range r.c.Commands {
		if _, err := r.Command(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) loader(ctx context.Context) error {
	if len(r.c.Loader) == 0 {
		return nil
	}
	out, err := r.Command(ctx, r.c.Loader...)
	r.out.Loader = out
	return err
}

// readBack compares what is in the guest now with the plan.
func (r *run) readBack(ctx context.Context) error {
	last := map[string]guest.Edit{}
	for _, e := range r.c.Edits {
		last[e.Path] = e
	}
	for _, e := range r.c.Edits {
		if err := r.isDone(ctx, last[e.Path]); err != nil {
			return err
		}
	}
	for _, p := range r.c.Programs {
		b, err := r.tree.ReadFile(rel(p.Path))
		if err != nil {
			return err
		}
		if !slices.Equal(b, r.in.Programs[p.Source]) {
			return fmt.Errorf("%s differs from what was written", p.Path)
		}
	}
	return nil
}
