package volume

import (
	"errors"
	"os"
	"strings"
	"testing"

	"esxodus/convert/host"
)

// TestDirPlace: a file that isn't where it was made is absent only if the
// directory is the one that it was made in.
func TestDirPlace(t *testing.T) {
	t.Parallel()
	d, v := dirVolume(t, "a", 1<<20)
	place, err := d.Place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := d.Create(t.Context(), v, "r1", func(got Identity) error { id = got; return nil }); err != nil {
		t.Fatal(err)
	}
	begun := Identity{Place: place} // killed before the claim
	id.Place = place
	if err := os.Rename(d.Path, d.Path+"-aside"); err != nil {
		t.Fatal(err)
	}
	unknown := func(when string) {
		t.Helper()
		for _, id := range []Identity{id, begun} {
			var p *PlaceError
			if _, err := d.State(t.Context(), v, "r1", id); !errors.As(err, &p) {
				t.Errorf("%s: State = %v; want it unknown", when, err)
			}
			if err := d.Remove(t.Context(), v, "r1", id); !errors.As(err, &p) {
				t.Errorf("%s: Remove = %v; want it unknown", when, err)
			}
			if err := d.Release(t.Context(), v, "r1", id); !errors.As(err, &p) {
				t.Errorf("%s: Release = %v; want it unknown", when, err)
			}
		}
	}
	unknown("no directory")
	if err := os.Mkdir(d.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	unknown("another directory")
	if err := os.WriteFile(v.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unknown("another directory with a file of the name")
	wantNames(t, d.Path, "a")
	if err := errors.Join(os.RemoveAll(d.Path), os.Rename(d.Path+"-aside", d.Path)); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, v, "r1", id, Ours)
	if err := os.Remove(v.Path); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, v, "r1", id, Absent)
	wantState(t, d, v, "r1", begun, Absent)
	id.Place = "" // of an older esxodus
	wantState(t, d, v, "r1", id, Absent)
}

// TestLogicalPlace: a logical volume is absent only if its volume group is there.
func TestLogicalPlace(t *testing.T) {
	t.Parallel()
	const vgs = `{"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"u1"}]}]}`
	s := &script{answers: map[string]string{"vgs": vgs, "lvs": lvJSON}, fail: map[string]error{}}
	l := LVM{VG: "vg0", Tool: s}
	if place, err := l.Place(t.Context()); place != "u1" || err != nil {
		t.Errorf("Place = %q, %v; want u1", place, err)
	}
	v := lvmVolume(t, l, "none", 1)
	wantState(t, l, v, "r1", Identity{Place: "u1"}, Absent)
	wantState(t, l, lvmVolume(t, l, "old", 1), "r1", Identity{Place: "u1"}, Foreign)
	for what, fail := range map[string]func(){
		"another group": func() { s.answers["vgs"] = strings.ReplaceAll(vgs, "u1", "u2") },
		"no group": func() {
			s.fail["lvs"] = &host.ExitError{Argv: []string{"lvs"}, Code: 5, Stderr: "  Volume group \"vg0\" not found\n  Cannot process volume group vg0\n"}
		},
	} {
		s.answers["vgs"], s.fail = vgs, map[string]error{}
		fail()
		var p *PlaceError
		if _, err := l.State(t.Context(), v, "r1", Identity{Place: "u1"}); !errors.As(err, &p) {
			t.Errorf("%s: State = %v; want it unknown", what, err)
		}
		if err := l.Remove(t.Context(), v, "r1", Identity{Place: "u1"}); !errors.As(err, &p) {
			t.Errorf("%s: Remove = %v; want it unknown", what, err)
		}
	}
}
