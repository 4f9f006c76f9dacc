package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/packages"
	"esxodus/inventory"
)

// worlds are those that a run is crashed and interrupted in.
func worlds() map[string]func(*testing.T) *world {
	return map[string]func(*testing.T) *world{"kept": newWorld, "relaid": newRelaid}
}

func newRelaid(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.relaid = true
	return w
}

const (
	relaidGrown = 1 << 20
	relaidHead  = 1 << 20
	converted   = "converted" // what the guest's conversion leaves at a volume's end
)

// relay changes the plan as if the first disk's bytes got a head before them
// and the guest were converted. Its loader is its own, so that nobody looks
// for a real one.
func (w *world) relay(p *Plan, f Facts, o Options) {
	w.t.Helper()
	v := &p.VMs[0]
	d := &v.Disks[0]
	d.Volume.Size += relaidGrown
	v.Layout.Kind = layout.LVM
	v.Layout.Disks[0] = layout.Disk{
		Address: d.Address, Kind: layout.LVM, Size: d.Volume.Size, Grown: relaidGrown, Head: relaidHead,
		Ranges: []layout.Range{{Target: relaidHead, Length: d.Size}},
	}
	v.Sizes.Target += relaidGrown
	const extent = 512
	extents := d.Size / extent
	v.Layout.Groups = []layout.Group{{
		Name: "vg", ExtentSize: extent,
		PVs:     []layout.PV{{UUID: "pv", Disk: d.Address, Size: d.Volume.Size, Start: relaidHead, Extents: extents, New: true}},
		Volumes: []layout.Volume{{Name: "root", New: true, Extents: extents, Segments: []layout.Segment{{PV: "pv", Count: extents}}}},
	}}
	v.Layout.Boot = &layout.Boot{Disk: d.Address}
	v.Conversion = &guest.Conversion{Loader: []string{"lilo"}, OwnLoader: "lilo 24.2"}
	v.Packages.Packages = []packages.Package{{Name: "lvm2", Size: 1}}
	v.Steps = steps(&w.host.VMs[0], v, f, o)
	if err := p.Check(); err != nil {
		w.t.Fatal(err)
	}
}

// want is what the volume of a disk must hold in the end.
func (w *world) want(path string) []byte {
	content := w.content[path]
	if !w.relaid {
		return content
	}
	if path == w.host.VMs[0].Disks[0].Path {
		content = append(bytes.Repeat([]byte{0xAA}, relaidHead), content...)
	}
	content = bytes.Clone(content)
	copy(content[len(content)-len(converted):], converted)
	return content
}

// guestsOf converts guests by a word in each overlay.
type guestsOf struct{ w *world }

func (g guestsOf) Missing([]string) string { return "" }

func (g guestsOf) Packages(context.Context, guest.Guest, []string) (packages.Set, error) {
	return packages.Set{}, nil
}

func (g guestsOf) Fetch(_ context.Context, set packages.Set, dir string) error {
	if err := g.w.tick("fetch"); err != nil {
		return err
	}
	for _, p := range set.Packages {
		if err := os.WriteFile(filepath.Join(dir, p.Name), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Templates makes heads of 0xAA, having read the source as LVM's tools would
// be given it.
func (g guestsOf) Templates(_ context.Context, dir string, groups []layout.Group, source func(string) (io.ReaderAt, error)) error {
	if err := g.w.tick("template"); err != nil {
		return err
	}
	for _, group := range groups {
		for _, pv := range group.PVs {
			r, err := source(pv.Disk)
			if err != nil {
				return err
			}
			if _, err := r.ReadAt(make([]byte, 512), pv.Source); err != nil {
				return err
			}
			if err := os.WriteFile(host.TemplateHead(dir, pv.Disk), bytes.Repeat([]byte{0xAA}, relaidHead), 0o600); err != nil {
				return err
			}
		}
	}
	return g.w.tick("templates")
}

func (g guestsOf) Convert(_ context.Context, job *VMJob, got, dir string, overlays []string, report func(string)) (any, error) {
	report("converting")
	if _, err := os.Stat(filepath.Join(got, "lvm2")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
		return nil, err
	}
	if err := g.w.tick("convert"); err != nil {
		return nil, err
	}
	for i, o := range overlays {
		f, err := os.OpenFile(o, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		_, err = f.WriteString("\n" + converted)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if base, _, _ := strings.Cut(string(must(os.ReadFile(o))), "\n"); base != job.VM.Disks[i].Volume.Path {
			return nil, fmt.Errorf("overlay %d is over %s", i, base)
		}
	}
	return map[string][]string{"notes": {"vda1 is not checked"}}, g.w.tick("converted")
}

// TestNotes: what a conversion says beyond the plan is told.
func TestNotes(t *testing.T) {
	w := newRelaid(t)
	j := w.create()
	if err, _ := w.apply(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if s := summary(j.records); !slices.Equal(s.Notes, []string{"vda1 is not checked"}) {
		t.Errorf("notes = %q, want the conversion's", s.Notes)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// toolOf stands for qemu-img. An overlay's file holds its base's name, then
// what was written to it, which goes to the base's end.
type toolOf struct{ w *world }

func (f toolOf) Run(_ context.Context, argv ...string) ([]byte, error) {
	path := argv[len(argv)-1]
	if argv[1] == "create" {
		return nil, os.WriteFile(path, []byte(argv[8]), 0o600)
	}
	base, written, _ := strings.Cut(string(must(os.ReadFile(path))), "\n")
	info, err := os.Stat(base)
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(base, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if _, err := out.WriteAt([]byte(written), info.Size()-int64(len(written))); err != nil {
		return nil, err
	}
	return nil, errors.Join(out.Close(), f.w.tick("merged"))
}

// TestUntouched: until the guest's conversion is complete, the volumes are the
// copies that they were.
func TestUntouched(t *testing.T) {
	w := newRelaid(t)
	j := w.create()
	w.tick = func(what string) error {
		if what == "converted" {
			return errors.New("no kernel can be booted")
		}
		return nil
	}
	if err, _ := w.apply(t.Context(), j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	for _, d := range j.Job().VM.Disks {
		got, err := os.ReadFile(d.Volume.Path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(got, []byte(converted)) {
			t.Errorf("%s was written to by a conversion that failed", d.Volume)
		}
	}
	w.checkTidy()
}

// TestLay: what this host can't do leaves the disks as they are, or is refused
// where it was asked for.
func TestLay(t *testing.T) {
	w := newWorld(t)
	vm := w.vm()
	debian := debianOf(&vm)
	tests := []struct {
		name    string
		missing string
		asked   layout.Kind
		guest   guest.Guest
		kind    layout.Kind
		refused bool
		reason  string
	}{
		{"unknown guest", "", layout.Auto, guest.Guest{}, layout.Keep, false, ""},
		{"qualifies", "", layout.Auto, debian, layout.LVM, false, ""},
		{"no appliance", "no guestfish", layout.Auto, debian, layout.Keep, false, "no guestfish"},
		{"no appliance, asked", "no guestfish", layout.LVM, debian, layout.Keep, true, "no guestfish"},
		{"keep", "", layout.Keep, debian, layout.Keep, false, ""},
		{"plain", "", layout.Plain, debian, layout.Plain, false, ""},
		{"shared", "", layout.Auto, debian, layout.Keep, false, "multi-writer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm.Disks[0].MultiWriter = tt.name == "shared"
			f := Facts{
				Guests:      map[string]guest.Guest{vm.ID: tt.guest},
				Convertible: map[string]GuestFacts{vm.ID: {Missing: tt.missing}},
			}
			l := f.lay(&vm, Options{Layout: tt.asked})
			if l.Kind != tt.kind || l.Refused != tt.refused || !strings.Contains(strings.Join(l.Reasons, "\n"), tt.reason) {
				t.Errorf("lay = %s, refused %v, because %q; want %s, %v, %q", l.Kind, l.Refused, l.Reasons, tt.kind, tt.refused, tt.reason)
			}
			if len(l.Disks) != len(vm.Disks) {
				t.Errorf("%d disks are laid out of %d", len(l.Disks), len(vm.Disks))
			}
			v := VMPlan{Source: inventory.VM{ID: vm.ID}, Guest: tt.guest, Layout: l}
			v.layoutConcerns()
			if got := len(v.Concerns) > 0; got != (tt.refused || tt.kind == layout.Plain) {
				t.Errorf("concerns = %+v, refused %v", v.Concerns, tt.refused)
			}
		})
	}
}
