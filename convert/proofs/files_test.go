package proofs

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/fixtures/manifest"
	"esxodus/fixtures/manifest/tree"
)

// guests are all that are converted, and what each is the case of.
var guests = []string{
	"debian",        // MBR, partitions, no LVM
	"debian-lvm",    // /boot and a physical volume in partitions
	"debian-xfs",    // GPT, XFS root in LVM
	"debian-trixie", // a newer kernel
	"debian-two",    // a volume group over two disks
	"debian-uefi",   // UEFI
}

// TestEveryFile compares every file of every file system with what it was:
// what differs is what the plan said, and the plan's edits are what came true.
func TestEveryFile(t *testing.T) {
	t.Parallel()
	for _, name := range guests {
		t.Run(name, func(t *testing.T) {
			everyFile(t, converted(t, name))
		})
	}
}

func everyFile(t *testing.T, s *subject) {
	t.Helper()
	mounts := mountsOf(t, s.plan.Layout)
	before := manifest.OfDisks(t, s.sources, mounts)
	after := manifest.OfDisks(t, s.disks, mounts)
	differences := manifest.Compare(before, after)
	unlisted := manifest.Unlisted(differences, patterns(s.plan.Conversion))
	t.Logf("%d files before, %d after; %d differences, %d not in the plan", len(before.Files), len(after.Files), len(differences), len(unlisted))
	const shown = 50
	for _, d := range unlisted[:min(shown, len(unlisted))] {
		t.Errorf("not in the plan: %v", d)
	}
	edited(t, s.plan.Conversion, before, after)
	sameFileSystems(t, s.plan.Layout, before, after)
}

// mountsOf are the file systems that the target has, by their UUIDs, which
// hold on both sides.
func mountsOf(t *testing.T, l layout.Layout) []manifest.Mount {
	t.Helper()
	var mounts []manifest.Mount
	for _, m := range l.Moves {
		if m.To == "" || m.Content == "swap" {
			continue
		}
		if m.UUID == "" {
			t.Errorf("%s (%s) has no UUID in the plan", m.From, m.Content)
			continue
		}
		at := m.Mount
		if at == "" {
			at = "/not-mounted/" + m.UUID
		}
		mounts = append(mounts, manifest.Mount{UUID: m.UUID, At: at})
	}
	if !slices.ContainsFunc(mounts, func(m manifest.Mount) bool { return m.At == "/" }) {
		t.Fatalf("no root among the plan's moves: %+v", l.Moves)
	}
	return mounts
}

// patterns are what the plan says will change.
func patterns(c *guest.Conversion) []string {
	if c == nil {
		return nil
	}
	var out []string
	for _, e := range c.Edits {
		out = append(out, manifest.Exactly(e.Path))
	}
	for _, p := range c.Programs {
		out = append(out, manifest.Exactly(p.Path))
	}
	for _, o := range c.Overlays {
		out = append(out, manifest.Exactly(o.Initrd))
	}
	for _, touch := range c.Touches {
		out = append(out, touch.Pattern)
	}
	return out
}

// edited compares each of the plan's edits with the file that came of it.
func edited(t *testing.T, c *guest.Conversion, before, after manifest.Manifest) {
	t.Helper()
	if c == nil {
		t.Fatal("the plan changes nothing in the guest")
	}
	last := map[string]guest.Edit{} // of several edits of a file the last one counts
	for _, e := range c.Edits {
		last[e.Path] = e
	}
	for _, e := range last {
		was, existed := find(before, e.Path)
		is, exists := find(after, e.Path)
		switch {
		case e.Remove:
			if exists {
				t.Errorf("%s is still there", e.Path)
			}
		case !exists:
			t.Errorf("%s isn't there: %s", e.Path, e.Reason)
		case e.Link:
			if is.Type != tree.Link || string(is.Target) != e.New {
				t.Errorf("%s = %+v, want a link to %s", e.Path, is, e.New)
			}
		default:
			if want := digest(e.New); is.Type != tree.File || is.SHA256 != want {
				t.Errorf("%s = %+v, want the content of the plan's edit (%s):\n%s", e.Path, is, want, e.New)
			}
			if existed && (is.Mode != was.Mode || is.UID != was.UID || is.GID != was.GID) {
				t.Errorf("%s has mode %o and owner %d:%d, had %o and %d:%d", e.Path, is.Mode, is.UID, is.GID, was.Mode, was.UID, was.GID)
			}
			if !existed && is.Mode != e.Mode {
				t.Errorf("%s has mode %o, want %o", e.Path, is.Mode, e.Mode)
			}
		}
	}
	for _, p := range c.Programs {
		if is, ok := find(after, p.Path); !ok || is.Mode != p.Mode || is.UID != 0 || is.GID != 0 {
			t.Errorf("%s = %+v, want a file of root's with mode %o", p.Path, is, p.Mode)
		}
	}
	for _, o := range c.Overlays {
		was, _ := find(before, o.Initrd)
		is, _ := find(after, o.Initrd)
		if is.Size <= was.Size {
			t.Errorf("%s had %d bytes, has %d: want more", o.Initrd, was.Size, is.Size)
		}
	}
}

// find looks a path up where the guest sees it: on the file system that is
// mounted the deepest.
func find(m manifest.Manifest, path string) (tree.Entry, bool) {
	var found tree.Entry
	depth := -1
	for k, e := range m.Files {
		if k.Path == path && len(k.At) > depth {
			found, depth = e, len(k.At)
		}
	}
	return found, depth >= 0
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sameFileSystems finds no file system that the plan doesn't know, and none
// that is missing.
func sameFileSystems(t *testing.T, l layout.Layout, before, after manifest.Manifest) {
	t.Helper()
	left := map[string]bool{} // out
	for _, m := range l.Moves {
		if m.To == "" {
			left[strings.ToLower(m.UUID)] = true
		}
	}
	list := func(m manifest.Manifest) (out []string) {
		for _, fs := range m.FileSystems {
			if fs.Type != "LVM2_member" && !left[strings.ToLower(fs.UUID)] {
				out = append(out, fs.Type+" "+fs.UUID)
			}
		}
		slices.Sort(out)
		return out
	}
	if was, is := list(before), list(after); !slices.Equal(was, is) {
		t.Errorf("file systems = %q, want %q", is, was)
	}
}
