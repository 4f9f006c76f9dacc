package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// fixedShown is how many files a concern about attributes names.
const fixedShown = 20

// fixed tells of files and directories that the conversion changes and that
// chattr has made immutable or append-only: not even root can change them.
func (b *builder) fixed() {
	paths := b.written()
	var immutable, appended []string
	for _, f := range b.c.Fixed {
		list := &immutable
		if f.Append {
			list = &appended
		}
		if !slices.Contains(*list, f.Real) && (b.changes(paths, f.Path, f.Dir) || b.changes(paths, f.Real, f.Dir)) {
			*list = append(*list, f.Real)
		}
	}
	b.unchangeable(immutable, "immutable", "i")
	b.unchangeable(appended, "append-only", "a")
}

func (b *builder) unchangeable(names []string, what, attribute string) {
	if len(names) == 0 {
		return
	}
	list := strings.Join(names[:min(len(names), fixedShown)], " ")
	if more := len(names) - fixedShown; more > 0 {
		list += fmt.Sprintf(" and %d more (lsattr shows them)", more)
	}
	b.concern(ConcernFixed, ledger.Blocker, names[0], fmt.Sprintf("the conversion changes what is %s in the guest (chattr +%s): %s", what, attribute, list),
		fmt.Sprintf("in the guest, before the migration: chattr -%s %s; or %s", attribute, list, b.instead()))
}

// written lists the files that are made, changed or removed by name.
func (b *builder) written() []string {
	var out []string
	for _, e := range b.out.Edits {
		out = append(out, e.Path)
	}
	for _, p := range b.out.Programs {
		out = append(out, p.Path)
	}
	for _, o := range b.out.Overlays {
		out = append(out, o.Initrd)
	}
	for _, argv := range b.out.Commands {
		out = append(out, slices.DeleteFunc(slices.Clone(argv), func(a string) bool { return !path.IsAbs(a) })...)
	}
	return out
}

// changes reports whether the conversion writes to a file, or makes or removes
// something in a directory.
func (b *builder) changes(paths []string, name string, dir bool) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return p == name || dir && path.Dir(p) == name }) ||
		slices.ContainsFunc(b.out.Touches, func(t guest.Touch) bool {
			parent := guest.Touch{Pattern: path.Dir(strings.TrimSuffix(t.Pattern, "/"))}
			return t.Match(name) || dir && parent.Match(name)
		})
}
