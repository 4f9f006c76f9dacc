package act

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"esxodus/convert/guest"
)

// state is what a path of the guest is.
type state struct {
	exists  bool
	link    bool   // a symbolic link
	target  string // of the link
	real    string // the path at the end of links; "" if they lead nowhere
	content string // of the regular file at the end
	names   int64  // of the file, hard links; 0 if that is not known
}

// look reads what a path is. Only regular files and links can be edited.
func (r *run) look(ctx context.Context, name string) (state, error) {
	var s state
	info, err := r.tree.Lstat(rel(name))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.exists = true
	if n, ok := info.(interface{ Names() int64 }); ok {
		s.names = n.Names()
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		s.link = true
		if s.target, err = r.tree.ReadLink(rel(name)); err != nil {
			return s, err
		}
	} else if !info.Mode().IsRegular() {
		return s, fmt.Errorf("%s is not a regular file but %v", name, info.Mode().Type())
	}
	real, err := r.RealPath(ctx, name)
	if s.link && errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.real = real
	b, err := r.tree.ReadFile(rel(real))
	s.content = string(b)
	return s, err
}

// lookFor is look, but of an edit that is about the link itself reads no more
// than that.
func (r *run) lookFor(ctx context.Context, e guest.Edit) (state, error) {
	if !e.Link {
		return r.look(ctx, e.Path)
	}
	info, err := r.tree.Lstat(rel(e.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return state{exists: true}, err
	}
	target, err := r.tree.ReadLink(rel(e.Path))
	return state{exists: true, link: true, target: target}, err
}

// errChanged is what a guest is that isn't as the plan found it.
var errChanged = errors.New("changed since the plan was made: plan again")

// same compares a text of the plan, whose passwords may be masked, with a file.
func same(plan, content string) bool {
	masked, _ := guest.Mask(content)
	return content == plan || masked == plan
}

// fits says whether an edit can be made where a path is s.
func fits(e guest.Edit, s state) error {
	switch {
	case e.Make && s.exists:
		return fmt.Errorf("%s exists, but the plan creates it: %w", e.Path, errChanged)
	case e.Make:
		return nil
	case !s.exists:
		return fmt.Errorf("%s is no longer there: %w", e.Path, errChanged)
	case e.Link && (!s.link || s.target != e.Old):
		return fmt.Errorf("%s is no longer a symbolic link to %s: %w", e.Path, e.Old, errChanged)
	case !e.Link && s.real == "":
		return fmt.Errorf("%s is a symbolic link to %s, which is not there: %w", e.Path, s.target, errChanged)
	case !e.Link && !same(e.Old, s.content):
		return fmt.Errorf("%s: %w", e.Path, errChanged)
	}
	return nil
}

// compare compares the guest with what the plan says of each file, before
// anything is changed.
func (r *run) compare(ctx context.Context) error {
	after := map[string]state{} // by path: as the edits so far leave it
	for _, e := range r.c.Edits {
		s, ok := after[e.Path]
		if !ok {
			var err error
			if s, err = r.lookFor(ctx, e); err != nil {
				return err
			}
		}
		if err := fits(e, s); err != nil {
			return err
		}
		if s.link && !e.Link && !ok {
			r.followed(e, s)
		}
		if s.names > 1 && !s.link && !e.Remove {
			r.note("%s has %d names (hard links): the others keep the old content", e.Path, s.names)
		}
		after[e.Path] = done(e)
	}
	return nil
}

// done is what a path is once an edit is made.
func done(e guest.Edit) state {
	switch {
	case e.Remove:
		return state{}
	case e.Link:
		return state{exists: true, link: true, target: e.New}
	}
	return state{exists: true, real: e.Path, content: e.New}
}

// followed notes what becomes of an edit of a symbolic link.
func (r *run) followed(e guest.Edit, s state) {
	if e.Remove {
		r.note("%s is a symbolic link to %s: only the link is removed", e.Path, s.real)
		return
	}
	r.note("%s is a symbolic link to %s: that file is changed", e.Path, s.real)
}

// edit makes the edits.
func (r *run) edit(ctx context.Context) error {
	for _, e := range r.c.Edits {
		// Packages that came or went may have touched it.
		s, err := r.lookFor(ctx, e)
		if err != nil {
			return err
		}
		if e.Remove && !s.exists {
			continue
		}
		if err := fits(e, s); err != nil {
			return fmt.Errorf("after packages were installed and removed: %w", err)
		}
		if err := r.make(ctx, e, s); err != nil {
			return err
		}
	}
	return nil
}

// make makes an edit where a path is s.
func (r *run) make(ctx context.Context, e guest.Edit, s state) error {
	if e.Remove {
		return r.Remove(ctx, e.Path)
	}
	if e.Make {
		if err := r.MkdirAll(ctx, path.Dir(e.Path)); err != nil {
			return err
		}
	}
	if e.Link {
		return r.Symlink(ctx, e.New, e.Path)
	}
	mode := fs.FileMode(e.Mode).Perm()
	if mode == 0 {
		mode = 0o644
	}
	text := e.New
	if !e.Make {
		_, passwords := guest.Mask(s.content)
		var err error
		if text, err = guest.Unmask(text, passwords); err != nil {
			return fmt.Errorf("%s: %w: %w", e.Path, err, errChanged)
		}
	}
	_, err := r.WriteFile(ctx, e.Path, []byte(text), mode)
	return err
}

// isDone reads back what an edit left.
func (r *run) isDone(ctx context.Context, e guest.Edit) error {
	s, err := r.lookFor(ctx, e)
	if err != nil {
		return err
	}
	want := done(e)
	if s.exists != want.exists || e.Link && s.target != want.target || !e.Link && !same(want.content, s.content) {
		return fmt.Errorf("%s differs from the plan: something that ran in the guest changed it", e.Path)
	}
	return nil
}

// programs copies what esxodus brings along.
func (r *run) programs(ctx context.Context) error {
	for _, p := range r.c.Programs {
		b := r.in.Programs[p.Source]
		s, err := r.look(ctx, p.Path)
		if err != nil {
			return err
		}
		if s.exists && s.content != string(b) {
			r.note("%s was there already, with %d bytes: it was replaced", p.Path, len(s.content))
		}
		// A new file gets the mode that is wanted, an old one would keep its own.
		if s.exists {
			if err := r.Remove(ctx, p.Path); err != nil {
				return err
			}
		}
		if err := r.MkdirAll(ctx, path.Dir(p.Path)); err != nil {
			return err
		}
		if _, err := r.WriteFile(ctx, p.Path, b, fs.FileMode(p.Mode).Perm()); err != nil {
			return err
		}
	}
	return nil
}
