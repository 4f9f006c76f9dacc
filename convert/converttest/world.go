// Package converttest is a whole migration for tests: an ESXi host and a libvirt
// in memory, a real storage, a state directory.
package converttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/layout"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/pvhead"
	"esxodus/convert/runs"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/fixtures"
	"esxodus/inventory"
	"esxodus/network"
	"esxodus/network/wire"
)

// World is a source, a target and a state directory. The storage and the copy
// engine are real; the ESXi host and libvirt are values in memory. Every call
// into an effect first asks tick, which a test may let fail or crash.
type World struct {
	t       *testing.T
	Dir     string
	content map[string][]byte // datastore path → disk
	Host    inventory.Host
	Power   map[string]bool // what Shutdown and PowerOn did: id → on
	Cut     []string        // ids of VMs whose power was cut
	AtCut   func()          // is called before that; nil for nothing
	// Stubborn guests answer a shutdown with this, and stay on; nil for none.
	Stubborn func(ctx context.Context) error
	Defined  map[string]string
	Proofs   int
	Wanted   plan.Expect        // of the last proof
	Saw      plan.Sight         // by a proof; "" for a login
	Domains  []plan.KnownDomain // on the target
	Tick     func(what string) error
	// Guest is what a copy of the domain does; nil for nothing.
	Guest func(ctx context.Context, xml string, network func() (answered, complete bool)) error
	// Entry is the VM's entry in the host's autostart.
	Entry   inventory.AutoStartEntry
	Started bool     // the domain runs
	Boots   bool     // this host starts it
	Made    string   // that libvirt has put behind the domain's XML
	Differs []string // how the domain differs from the plan's
	Agent   bool     // its guest's agent is connected
	// Silent keeps the NICs of a running domain from answering; Taken is who has their
	// addresses before.
	Silent bool
	Half   bool // one of them is heard, and another isn't
	Taken  []string
	relaid bool // the first disk gets a head, and the guest is converted
	edited bool // the disks stay as they are, and the guest is converted
}

// New is a world with one VM of two disks, that stay as they are.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{
		t: t, Dir: fixtures.OpenDir(t), content: map[string][]byte{}, Defined: map[string]string{},
		Power: map[string]bool{}, Tick: func(string) error { return nil },
	}
	rnd := rand.NewChaCha8([32]byte{1})
	for _, name := range []string{"[ds] web/web.vmdk", "[ds] web/web_1.vmdk"} {
		b := make([]byte, plantest.DiskSize)
		if _, err := io.ReadFull(rnd, b[1<<20:5<<20]); err != nil {
			t.Fatal(err)
		}
		w.content[name] = b
	}
	swap(w.content["[ds] web/web_1.vmdk"])
	w.Host = plantest.Host()
	return w
}

// swapped is how many bytes of the second disk are swap, full of what was in it.
const swapped = 3 << 20

// swap makes the start of a disk a swap space (the header of mm/swapfile.c), whose
// pages nothing needs.
func swap(b []byte) {
	copy(b[4086:], "SWAPSPACE2")
	binary.LittleEndian.PutUint32(b[1024:], 1)
	binary.LittleEndian.PutUint32(b[1028:], swapped/4096-1)
}

// Own gives a copy of a VM disks of its own, with the same content: no disk may be two
// VMs'.
func (w *World) Own(vm *inventory.VM) {
	vm.Disks = slices.Clone(vm.Disks)
	for i := range vm.Disks {
		old := vm.Disks[i].Path
		vm.Disks[i].Path = strings.Replace(old, "web/", vm.Name+"/", 1)
		w.content[vm.Disks[i].Path] = w.content[old]
	}
}

// Flip flips a bit of a disk on the source.
func (w *World) Flip(path string, off int64) { w.content[path][off] ^= 16 }

// Content is what a disk of the source holds.
func (w *World) Content(path string) []byte { return w.content[path] }

// Storage is the directory of the volumes.
func (w *World) Storage() string {
	dir := filepath.Join(w.Dir, "disks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// State is the state directory.
func (w *World) State() runs.StateDir { return runs.StateDir(filepath.Join(w.Dir, "state")) }

// Options are those of its plans.
func (w *World) Options() plan.Options {
	return plan.Options{
		Storage: "dir:" + w.Storage(), Libvirt: "qemu:///system",
		Network: network.Options{Uplinks: map[string]string{"vmnic0": "eno1"}},
	}
}

// Plan gathers and plans; it may have no blocker.
func (w *World) Plan() *plan.Plan {
	w.t.Helper()
	p := w.planned(plan.Source{URL: "https://root@esx1"}, w.Options())
	if b := p.Blockers(0); len(b) > 0 {
		w.t.Fatalf("blockers: %+v", b)
	}
	if w.relaid {
		w.relay(p)
	}
	if w.edited {
		v := &p.VMs[0]
		v.Conversion = &guest.Conversion{Mounts: []guest.Mount{{Device: "disk:scsi0:0", At: "/"}}, Edits: []guest.Edit{{Path: "/etc/x", Make: true, New: "x"}}}
		w.restep(v)
	}
	return p
}

// Inventory implements Host.
func (w *World) Inventory(context.Context) (*inventory.Host, error) {
	if err := w.Tick("inventory"); err != nil {
		return nil, err
	}
	h := w.Host
	return &h, nil
}

// OpenDisk implements Host.
func (w *World) OpenDisk(_ context.Context, from plan.Origin) (disk.Image, func() error, error) {
	if err := w.Tick("open"); err != nil {
		return nil, nil, err
	}
	b := w.content[from.Path]
	r := tickingReader{bytes.NewReader(b), w}
	return disk.FromReaderAt(r, int64(len(b))), func() error { return nil }, nil
}

// Shutdown implements Host.
func (w *World) Shutdown(ctx context.Context, _ inventory.Via, id string) error {
	if err := w.Tick("shutdown"); err != nil {
		return err
	}
	if w.Stubborn != nil {
		return w.Stubborn(ctx)
	}
	w.Power[id] = false
	w.Host.VMs[0].Power = inventory.PoweredOff
	w.Host.VMs[0].ChangeVersion = "v2"
	return nil
}

// PowerOff implements Host.
func (w *World) PowerOff(_ context.Context, _ inventory.Via, id string) error {
	if err := w.Tick("power off"); err != nil {
		return err
	}
	if w.AtCut != nil {
		w.AtCut()
	}
	w.Cut = append(w.Cut, id)
	w.Power[id] = false
	w.Host.VMs[0].Power = inventory.PoweredOff
	w.Host.VMs[0].ChangeVersion = "v2"
	return nil
}

// PowerOn implements Host.
func (w *World) PowerOn(_ context.Context, _ inventory.Via, id string) error {
	if w.Started {
		w.t.Errorf("the VM %s is powered on beside its domain", id)
	}
	w.Power[id] = true
	w.Host.VMs[0].Power = inventory.PoweredOn
	return nil
}

// Away implements Host.
func (w *World) Away(err error) bool { return errors.Is(err, ErrAway) }

// AutoStart implements Host.
func (w *World) AutoStart(context.Context, inventory.Via, string) (inventory.AutoStartEntry, error) {
	return w.Entry, w.Tick("autostart")
}

// SetAutoStart implements Host.
func (w *World) SetAutoStart(_ context.Context, _ inventory.Via, _ string, e inventory.AutoStartEntry) error {
	if err := w.Tick("set autostart"); err != nil {
		return err
	}
	w.Entry = e
	return w.Tick("autostart set")
}

// Live is the domain's place on the network, as package run has it.
type Live struct{ W *World }

// Run says nothing until it is over: before the domain runs that is at once.
func (l Live) Run(ctx context.Context) error {
	if l.W.Started {
		<-ctx.Done()
	}
	return nil
}

// Passed reports whether the domain's NICs answered.
func (l Live) Passed() (passed, complete bool) {
	is := l.W.Started && !l.W.Silent
	return is, is && !l.W.Half
}

// Results has one NIC.
func (l Live) Results() []wire.LiveResult {
	is, _ := l.Passed()
	r := wire.LiveResult{Name: "ens192", Passed: is}
	if is {
		r.Frames = 1
	}
	return []wire.LiveResult{r}
}

// Taken is what the world says.
func (l Live) Taken(running bool) []string {
	if running {
		return nil
	}
	return l.W.Taken
}

// Close leaves it.
func (Live) Close() error { return nil }

type tickingReader struct {
	*bytes.Reader
	w *World
}

// looked is how long the reads of a look inside are (part.Cached). They aren't effects
// of their own: a test that stops at each would try the same a hundred times.
const looked = 64 << 10

func (r tickingReader) ReadAt(p []byte, off int64) (int, error) {
	if len(p) != looked {
		if err := r.w.Tick("read"); err != nil {
			return 0, err
		}
	}
	return r.Reader.ReadAt(p, off)
}

type tickingStorage struct {
	volume.Storage
	w *World
}

func (s tickingStorage) Create(ctx context.Context, v volume.Volume, run string, claim func(volume.Identity) error) error {
	err := s.Storage.Create(ctx, v, run, func(id volume.Identity) error {
		if err := claim(id); err != nil {
			return err
		}
		return s.w.Tick("claim")
	})
	return errors.Join(err, s.w.Tick("created"))
}

func (s tickingStorage) Release(ctx context.Context, v volume.Volume, run string, id volume.Identity) error {
	return errors.Join(s.Storage.Release(ctx, v, run, id), s.w.Tick("released"))
}

// Virt is libvirt.
type Virt struct{ W *World }

// Network says nothing of this host's.
func (Virt) Network(context.Context) *network.Host { return nil }

// Facts says that it can emulate.
func (v Virt) Facts(context.Context) (plan.TargetFacts, error) {
	return plan.TargetFacts{Host: "kvm1", VirtTypes: []string{"qemu"}, Domains: v.W.Domains}, nil
}

// Define takes the domain down.
func (v Virt) Define(_ context.Context, xml string, _ bool, run string) error {
	if !strings.Contains(xml, `id="`+run+`"`) {
		return fmt.Errorf("the XML isn't tagged with run %q", run)
	}
	if err := v.W.Tick("define"); err != nil {
		return err
	}
	v.W.Defined["web"] = run
	return v.W.Tick("defined")
}

// Start starts the domain of the run.
func (v Virt) Start(_ context.Context, name, run string) error {
	if err := v.W.Tick("start"); err != nil {
		return err
	}
	if v.W.Defined[name] != run {
		return fmt.Errorf("no domain %s of run %s", name, run)
	}
	if v.W.Host.VMs[0].Power == inventory.PoweredOn {
		v.W.t.Errorf("the domain %s is started beside its VM", name)
	}
	v.W.Started = true
	return v.W.Tick("started")
}

// Stop stops it.
func (v Virt) Stop(context.Context, string, string, time.Duration) error {
	if err := v.W.Tick("stop"); err != nil {
		return err
	}
	v.W.Started = false
	return v.W.Tick("stopped")
}

// AutoStart notes whether this host starts the domain.
func (v Virt) AutoStart(_ context.Context, _, _ string, on bool) error {
	v.W.Boots = on
	return v.W.Tick("boots")
}

// Agent is what the world says.
func (v Virt) Agent(context.Context, string, string) (connected, runs bool, err error) {
	return v.W.Agent, v.W.Started, v.W.Tick("agent")
}

// Compare has made of the XML what the world says.
func (v Virt) Compare(_ context.Context, xml string) (made string, differs []string, err error) {
	return xml + v.W.Made, v.W.Differs, v.W.Tick("compare")
}

// Undefine forgets a domain of the run.
func (v Virt) Undefine(_ context.Context, name, run string) error {
	if v.W.Defined[name] == run {
		delete(v.W.Defined, name)
	}
	return nil
}

// Prove sees what the world says, a login by default.
func (v Virt) Prove(ctx context.Context, xml string, want plan.Expect, network func() (answered, complete bool), line func(string)) (plan.Proof, error) {
	line("web login:")
	if v.W.Guest != nil {
		if err := v.W.Guest(ctx, xml, network); err != nil {
			return plan.Proof{}, err
		}
	}
	if err := v.W.Tick("prove"); err != nil {
		return plan.Proof{}, err
	}
	v.W.Proofs++
	v.W.Wanted = want
	return plan.Proof{Saw: cmp.Or(v.W.Saw, plan.SawLogin), Text: "as the test says"}, nil
}

// CleanProof has nothing to clean.
func (v Virt) CleanProof(context.Context, string, string) error { return nil }

// Quiet shows no progress.
type Quiet struct{}

// Begin shows nothing.
func (Quiet) Begin(string, string, int64) (func(int64), func()) { return func(int64) {}, func() {} }

// Step shows nothing.
func (Quiet) Step(string, string) {}

// ErrAway is a host that can't be reached.
var ErrAway = errors.New("no route to host")

// Crash is what a tick panics with where the process is to die.
type Crash struct{}

// Create begins a run of its plan.
func (w *World) Create() *runs.Journal {
	w.t.Helper()
	j, err := w.State().Create(w.Plan().Job(0), journal.NewRun())
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// Open opens the journal of its run.
func (w *World) Open() *runs.Journal {
	w.t.Helper()
	j, err := w.State().Open("web")
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// CheckDone verifies that the target is whole: the same bytes, one domain.
func (w *World) CheckDone() {
	w.t.Helper()
	s, err := w.State().State("web")
	if err != nil || s.Phase != runs.PhaseReady {
		w.t.Fatalf("State = %+v, %v; want phase %s", s, err, runs.PhaseReady)
	}
	job := w.Open()
	defer func() { _ = job.Close() }()
	for _, d := range job.Job().VM.Disks {
		got, err := os.ReadFile(d.Volume.Path)
		if err != nil {
			w.t.Fatal(err)
		}
		if !bytes.Equal(got, w.Want(d.Path)) {
			w.t.Errorf("%s differs from %s", d.Volume, d.Path)
		}
	}
	if len(w.Defined) != 1 || w.Proofs == 0 {
		w.t.Errorf("domains = %v, proofs = %d; want one domain and a proof", w.Defined, w.Proofs)
	}
	w.CheckTidy()
	w.noneLeft("packages")
}

// CheckTidy verifies that nothing of a guest's conversion is left.
func (w *World) CheckTidy() {
	w.t.Helper()
	w.noneLeft("guest", "scratch")
}

// noneLeft verifies that the state of a VM has nothing of these names, or patterns.
func (w *World) noneLeft(names ...string) {
	w.t.Helper()
	for _, what := range names {
		if left, err := filepath.Glob(filepath.Join(w.Dir, "state", "vms", "*", what)); err != nil || len(left) > 0 {
			w.t.Errorf("%q are left (%v)", left, err)
		}
	}
}

// CheckGone verifies that nothing is left on the target.
func (w *World) CheckGone() {
	w.t.Helper()
	entries, err := os.ReadDir(w.Storage())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(entries) > 0 || len(w.Defined) > 0 {
		w.t.Errorf("left: files %v, domains %v; want none", entries, w.Defined)
	}
	w.CheckTidy()
	w.noneLeft("packages", "*.digests")
}

// CreateRunning begins the run of a VM that is on, and that the run shuts down.
func (w *World) CreateRunning(also ...func(*plan.Options)) *runs.Journal {
	w.t.Helper()
	w.Host.VMs[0].Power = inventory.PoweredOn
	o := w.Options()
	o.Shutdown = plan.ShutdownSSH
	for _, more := range also {
		more(&o)
	}
	p := w.planned(plan.Source{}, o)
	j, err := w.State().Create(p.Job(0), journal.NewRun())
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// PlanAny gathers and plans, whatever comes of it.
func (w *World) PlanAny() *plan.Plan {
	w.t.Helper()
	return w.planned(plan.Source{}, w.Options())
}

func (w *World) planned(src plan.Source, o plan.Options) *plan.Plan {
	w.t.Helper()
	draft, err := survey.Gather(w.t.Context(), w.Sources(), src, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return draft.Finish()
}

// Planned is the plan of facts, among them the storage's, where each guest can be
// converted on this host.
func Planned(t *testing.T, f plan.Facts, o plan.Options) *plan.Plan {
	t.Helper()
	d, err := plan.NewDraft(f, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Answer(func(plan.Need) plan.GuestFacts { return plan.GuestFacts{} })
	return d.Finish()
}

// NewRelaid is one whose first disk gets a head, and whose guest is converted.
func NewRelaid(t *testing.T) *World {
	t.Helper()
	w := New(t)
	w.relaid = true
	return w
}

// NewEdited is one whose disks stay as they are, and whose guest is converted.
func NewEdited(t *testing.T) *World {
	t.Helper()
	w := New(t)
	w.edited = true
	return w
}

const (
	relaidGrown = 1 << 20
	relaidHead  = 1 << 20
	// Converted is what the guest's conversion leaves at a volume's end.
	Converted = "converted"
)

// relay changes the plan as if the first disk's bytes got a head before them
// and the guest were converted. Its loader is its own, so that nobody looks
// for a real one.
func (w *World) relay(p *plan.Plan) {
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
	v.Conversion = &guest.Conversion{Mounts: []guest.Mount{{Device: "/dev/vg/root", At: "/"}}, Loader: []string{"lilo"}, OwnLoader: "lilo 24.2"}
	v.Packages.Packages = []packages.Package{{Name: "lvm2", Size: 1}}
	w.restep(v)
	if err := p.Check(); err != nil {
		w.t.Fatal(err)
	}
}

// Want is what the volume of a disk must hold in the end.
func (w *World) Want(path string) []byte {
	content := w.content[path]
	if bytes.Equal(content[4086:4096], []byte("SWAPSPACE2")) {
		content = bytes.Clone(content)
		clear(content[64<<10 : swapped])
	}
	if !w.relaid && !w.edited {
		return content
	}
	if w.relaid && path == w.Host.VMs[0].Disks[0].Path {
		content = append(bytes.Repeat([]byte{0xAA}, relaidHead), content...)
	}
	content = bytes.Clone(content)
	copy(content[len(content)-len(Converted):], Converted)
	return content
}

// Guests converts guests by a word in each overlay.
type Guests struct{ W *World }

// Missing lacks nothing.
func (g Guests) Missing([]string) string { return "" }

// Packages finds none.
func (g Guests) Packages(context.Context, guest.Guest, []byte, []string) (packages.Set, error) {
	return packages.Set{}, nil
}

// Fetch makes an empty file for each package.
func (g Guests) Fetch(_ context.Context, set packages.Set, dir string) error {
	if err := g.W.Tick("fetch"); err != nil {
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
func (g Guests) Templates(_ context.Context, dir string, groups []layout.Group, source func(string) (io.ReaderAt, error)) error {
	if err := g.W.Tick("template"); err != nil {
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
			if err := os.WriteFile(pvhead.Head(dir, pv.Disk), bytes.Repeat([]byte{0xAA}, relaidHead), 0o600); err != nil {
				return err
			}
		}
	}
	return g.W.Tick("templates")
}

// Convert writes [Converted] to each overlay.
func (g Guests) Convert(_ context.Context, job *plan.VMJob, got, dir string, overlays []string, report func(string)) (any, error) {
	report("converting")
	if _, err := os.Stat(filepath.Join(got, "lvm2")); g.W.relaid && err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
		return nil, err
	}
	if err := g.W.Tick("convert"); err != nil {
		return nil, err
	}
	for i, o := range overlays {
		f, err := os.OpenFile(o, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		_, err = f.WriteString("\n" + Converted)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if base, _, _ := strings.Cut(string(Must(os.ReadFile(o))), "\n"); base != job.VM.Disks[i].Volume.Path {
			return nil, fmt.Errorf("overlay %d is over %s", i, base)
		}
	}
	return map[string][]string{"notes": {"vda1 is not checked"}}, g.W.Tick("converted")
}

// Must panics with an error.
func Must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Tool stands for qemu-img. An overlay's file holds its base's name, then
// what was written to it, which goes to the base's end.
type Tool struct{ W *World }

// Run makes an overlay, merges it, or says what it holds.
func (f Tool) Run(_ context.Context, argv ...string) ([]byte, error) {
	path := argv[len(argv)-1]
	if argv[1] == "create" {
		return nil, os.WriteFile(path, []byte(argv[8]), 0o600)
	}
	base, written, _ := strings.Cut(string(Must(os.ReadFile(path))), "\n")
	info, err := os.Stat(base)
	if err != nil {
		return nil, err
	}
	at, n := info.Size()-int64(len(written)), len(written)
	if argv[1] == "map" {
		return fmt.Appendf(nil, `[{"start": 0, "length": %d, "depth": 1}, {"start": %d, "length": %d, "depth": 0}]`, at, at, n), f.W.Tick("mapped")
	}
	out, err := os.OpenFile(base, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if _, err := out.WriteAt([]byte(written), at); err != nil {
		return nil, err
	}
	return nil, errors.Join(out.Close(), f.W.Tick("merged"))
}

// restep adds the steps that a new layout and a conversion call for.
func (w *World) restep(v *plan.VMPlan) {
	before := func(kind plan.Kind, add ...plan.Step) {
		i := slices.IndexFunc(v.Steps, func(s plan.Step) bool { return s.Kind == kind })
		v.Steps = slices.Insert(v.Steps, i, add...)
	}
	before(plan.StepDefine, plan.Step{Kind: plan.StepGuest, Text: "convert"}, plan.Step{Kind: plan.StepMerge, Text: "merge"})
	if !w.relaid {
		return
	}
	before(plan.StepCopy, plan.Step{Kind: plan.StepTemplate, Text: "template"})
	v.Steps = slices.Insert(v.Steps, 0, plan.Step{Kind: plan.StepPackages, Text: "packages"})
}

// Sources are what a plan is gathered from.
func (w *World) Sources() survey.Sources {
	return survey.Sources{Host: w, Storage: w.Store(), Virt: Virt{w}, Guests: Guests{w}}
}

// Store is its storage, which asks Tick.
func (w *World) Store() volume.Storage {
	store, err := volume.ParseStorage("dir:"+w.Storage(), host.Tool{})
	if err != nil {
		w.t.Fatal(err)
	}
	return tickingStorage{store, w}
}

// ProofOf returns the step of a plan that is the boot proof.
func ProofOf(t *testing.T, v *plan.VMPlan) *plan.Step {
	t.Helper()
	i := slices.IndexFunc(v.Steps, func(s plan.Step) bool { return s.Kind == plan.StepProve })
	if i < 0 {
		t.Fatalf("no boot proof in %+v", v.Steps)
	}
	return &v.Steps[i]
}
