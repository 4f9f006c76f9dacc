package convert

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/packages"
	"esxodus/disk"
	"esxodus/fixtures"
	"esxodus/inventory"
	"esxodus/network"
)

// world is a source, a target and a state directory. The storage and the copy
// engine are real; the ESXi host and libvirt are values in memory. Every call
// into an effect first asks tick, which a test may let fail or crash.
type world struct {
	t       *testing.T
	dir     string
	content map[string][]byte // datastore path → disk
	host    inventory.Host
	power   map[string]bool // what Shutdown and PowerOn did: id → on
	defined map[string]string
	proofs  int
	wanted  Expect        // of the last proof
	saw     Sight         // by a proof; "" for a login
	domains []KnownDomain // on the target
	tick    func(what string) error
	relaid  bool // the first disk gets a head, and the guest is converted
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: fixtures.OpenDir(t), content: map[string][]byte{}, defined: map[string]string{},
		power: map[string]bool{}, tick: func(string) error { return nil },
	}
	rnd := rand.NewChaCha8([32]byte{1})
	for _, name := range []string{"[ds] web/web.vmdk", "[ds] web/web_1.vmdk"} {
		b := make([]byte, webDisk)
		if _, err := io.ReadFull(rnd, b[1<<20:5<<20]); err != nil {
			t.Fatal(err)
		}
		w.content[name] = b
	}
	w.host = webHost()
	return w
}

func (w *world) storage() string {
	dir := filepath.Join(w.dir, "disks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *world) state() StateDir { return StateDir(filepath.Join(w.dir, "state")) }

func (w *world) options() Options {
	return Options{
		Storage: "dir:" + w.storage(), Libvirt: "qemu:///system",
		Network: network.Options{Uplinks: map[string]string{"vmnic0": "eno1"}},
	}
}

func (w *world) plan() *Plan {
	w.t.Helper()
	o := w.options()
	facts, err := Gather(w.t.Context(), w.sources(), Source{URL: "https://root@esx1"}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := New(facts, o)
	if err != nil {
		w.t.Fatal(err)
	}
	if b := p.Blockers(0); len(b) > 0 {
		w.t.Fatalf("blockers: %+v", b)
	}
	if w.relaid {
		w.relay(p)
	}
	return p
}

// Inventory implements Host.
func (w *world) Inventory(context.Context) (*inventory.Host, error) {
	if err := w.tick("inventory"); err != nil {
		return nil, err
	}
	h := w.host
	return &h, nil
}

// OpenDisk implements Host.
func (w *world) OpenDisk(_ context.Context, path string) (disk.Image, func() error, error) {
	if err := w.tick("open"); err != nil {
		return nil, nil, err
	}
	b := w.content[path]
	r := tickingReader{bytes.NewReader(b), w}
	return disk.FromReaderAt(r, int64(len(b))), func() error { return nil }, nil
}

// Shutdown implements Host.
func (w *world) Shutdown(_ context.Context, _, id string) error {
	if err := w.tick("shutdown"); err != nil {
		return err
	}
	w.power[id] = false
	w.host.VMs[0].Power = inventory.PoweredOff
	w.host.VMs[0].ChangeVersion = "v2"
	return nil
}

// PowerOn implements Host.
func (w *world) PowerOn(_ context.Context, _, id string) error {
	w.power[id] = true
	w.host.VMs[0].Power = inventory.PoweredOn
	return nil
}

type tickingReader struct {
	*bytes.Reader
	w *world
}

func (r tickingReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.w.tick("read"); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}

type tickingStorage struct {
	host.Storage
	w *world
}

func (s tickingStorage) Create(ctx context.Context, v host.Volume, run string, claim func(host.Identity) error) error {
	err := s.Storage.Create(ctx, v, run, func(id host.Identity) error {
		if err := claim(id); err != nil {
			return err
		}
		return s.w.tick("claim")
	})
	return errors.Join(err, s.w.tick("created"))
}

func (s tickingStorage) Release(ctx context.Context, v host.Volume, run string, id host.Identity) error {
	return errors.Join(s.Storage.Release(ctx, v, run, id), s.w.tick("released"))
}

type virtOf struct{ w *world }

func (v virtOf) Facts(context.Context) (TargetFacts, error) {
	return TargetFacts{Host: "kvm1", VirtTypes: []string{"qemu"}, Domains: v.w.domains}, nil
}

func (v virtOf) Define(_ context.Context, xml string, _ bool, run string) error {
	if got, ok := domain.RunID(xml); !ok || got != run {
		return fmt.Errorf("run in the XML = %q, want %q", got, run)
	}
	if err := v.w.tick("define"); err != nil {
		return err
	}
	v.w.defined["web"] = run
	return v.w.tick("defined")
}

func (v virtOf) Undefine(_ context.Context, name, run string) error {
	if v.w.defined[name] == run {
		delete(v.w.defined, name)
	}
	return nil
}

func (v virtOf) Prove(_ context.Context, _ string, want Expect) (Proof, error) {
	if err := v.w.tick("prove"); err != nil {
		return Proof{}, err
	}
	v.w.proofs++
	v.w.wanted = want
	return Proof{Saw: cmp.Or(v.w.saw, SawLogin), Text: "as the test says"}, nil
}

func (v virtOf) CleanProof(context.Context, string, string) error { return nil }

type quiet struct{}

func (quiet) Begin(string, string, int64) (func(int64), func()) { return func(int64) {}, func() {} }
func (quiet) Step(string, string)                               {}

// crash is what a tick panics with where the process is to die.
type crash struct{}

func (w *world) create() *Journal {
	w.t.Helper()
	j, err := w.state().Create(w.plan().Job(0), NewRun())
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) open() *Journal {
	w.t.Helper()
	j, err := w.state().Open("web")
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// checkDone verifies that the target is whole: the same bytes, one domain.
func (w *world) checkDone() {
	w.t.Helper()
	s, err := w.state().State("web")
	if err != nil || s.Phase != PhaseReady {
		w.t.Fatalf("State = %+v, %v; want phase %s", s, err, PhaseReady)
	}
	job := w.open()
	defer func() { _ = job.Close() }()
	for _, d := range job.Job().VM.Disks {
		got, err := os.ReadFile(d.Volume.Path)
		if err != nil {
			w.t.Fatal(err)
		}
		if !bytes.Equal(got, w.want(d.Path)) {
			w.t.Errorf("%s differs from %s", d.Volume, d.Path)
		}
	}
	if len(w.defined) != 1 || w.proofs == 0 {
		w.t.Errorf("domains = %v, proofs = %d; want one domain and a proof", w.defined, w.proofs)
	}
	w.checkTidy()
	w.noneLeft("packages")
}

// checkTidy verifies that nothing of a guest's conversion is left.
func (w *world) checkTidy() {
	w.t.Helper()
	w.noneLeft("guest", "scratch")
}

// noneLeft verifies that there are no such directories in the state of a VM.
func (w *world) noneLeft(names ...string) {
	w.t.Helper()
	for _, what := range names {
		if left, err := filepath.Glob(filepath.Join(w.dir, "state", "vms", "*", what)); err != nil || len(left) > 0 {
			w.t.Errorf("%q are left (%v)", left, err)
		}
	}
}

// checkGone verifies that nothing is left on the target.
func (w *world) checkGone() {
	w.t.Helper()
	entries, err := os.ReadDir(w.storage())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(entries) > 0 || len(w.defined) > 0 {
		w.t.Errorf("left: files %v, domains %v; want none", entries, w.defined)
	}
	w.checkTidy()
	w.noneLeft("packages")
}

// createRunning begins the run of a VM that is on, and that the run shuts down.
func (w *world) createRunning() *Journal {
	w.t.Helper()
	w.host.VMs[0].Power = inventory.PoweredOn
	o := w.options()
	o.Shutdown = "ssh"
	facts, err := Gather(w.t.Context(), w.sources(), Source{}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := New(facts, o)
	if err != nil {
		w.t.Fatal(err)
	}
	j, err := w.state().Create(p.Job(0), NewRun())
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) planAny() *Plan {
	w.t.Helper()
	o := w.options()
	facts, err := Gather(w.t.Context(), w.sources(), Source{}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := New(facts, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
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
func (w *world) relay(p *Plan) {
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
	w.restep(v)
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

// restep adds the steps that a new layout and a conversion call for.
func (w *world) restep(v *VMPlan) {
	before := func(kind Kind, add ...Step) {
		i := slices.IndexFunc(v.Steps, func(s Step) bool { return s.Kind == kind })
		v.Steps = slices.Insert(v.Steps, i, add...)
	}
	before(StepCopy, Step{Kind: StepTemplate, Text: "template"})
	before(StepDefine, Step{Kind: StepGuest, Text: "convert"}, Step{Kind: StepMerge, Text: "merge"})
	v.Steps = slices.Insert(v.Steps, 0, Step{Kind: StepPackages, Text: "packages"})
}

// sources are what a plan is gathered from.
func (w *world) sources() Sources {
	return Sources{Host: w, Storage: w.store(), Virt: virtOf{w}, Guests: guestsOf{w}}
}

func (w *world) store() host.Storage {
	store, err := host.ParseStorage("dir:"+w.storage(), host.Tool{})
	if err != nil {
		w.t.Fatal(err)
	}
	return tickingStorage{store, w}
}

// proofOf returns the step of a plan that is the boot proof.
func proofOf(t *testing.T, v *VMPlan) *Step {
	t.Helper()
	i := slices.IndexFunc(v.Steps, func(s Step) bool { return s.Kind == StepProve })
	if i < 0 {
		t.Fatalf("no boot proof in %+v", v.Steps)
	}
	return &v.Steps[i]
}
