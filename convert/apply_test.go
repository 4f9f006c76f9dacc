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
	"esxodus/convert/host"
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
		b := make([]byte, 9<<20+512)
		if _, err := io.ReadFull(rnd, b[1<<20:5<<20]); err != nil {
			t.Fatal(err)
		}
		w.content[name] = b
	}
	w.host = inventory.Host{
		Name: "esx1", Version: "6.5.0", License: inventory.License{ReadOnly: true},
		Network: inventory.Network{
			VSwitches:  []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}},
			PortGroups: []inventory.PortGroup{{Name: "VM Network", VSwitch: "vSwitch0"}},
			Uplinks:    []inventory.Uplink{{Device: "vmnic0", SpeedMbps: 1000}},
		},
		VMs: []inventory.VM{w.vm()},
	}
	return w
}

func (w *world) vm() inventory.VM {
	vm := inventory.VM{
		ID: "7", Name: "web", Path: "[ds] web/web.vmx", BIOSUUID: "564d0000-0000-0000-0000-000000000001",
		InstanceUUID: "520d0000-0000-0000-0000-000000000001", GuestID: "debian10_64Guest", HardwareVersion: 13,
		Power: inventory.PoweredOff, Firmware: inventory.BIOS, ConnectionState: "connected", ChangeVersion: "v1",
		CPU: inventory.CPU{Count: 1, CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{SizeMiB: 256, LimitMiB: -1},
		Controllers: []inventory.Controller{{Key: 1000, Class: "scsi", Model: "pvscsi"}},
		NICs:        []inventory.NIC{{Key: 4000, Model: "vmxnet3", MAC: "00:50:56:01:02:03", MACType: "manual", PortGroup: "VM Network", StartConnected: true}},
	}
	for i, path := range []string{"[ds] web/web.vmdk", "[ds] web/web_1.vmdk"} {
		vm.Disks = append(vm.Disks, inventory.Disk{
			Key: int32(2000 + i), Class: "scsi", Unit: i, Path: path, Capacity: int64(len(w.content[path])), Format: "flat",
		})
	}
	return vm
}

func (w *world) effects() Effects {
	store, err := host.ParseStorage("dir:"+w.storage(), host.Tool{})
	if err != nil {
		w.t.Fatal(err)
	}
	return Effects{Host: w, Storage: tickingStorage{store, w}, Virt: virtOf{w}, Guests: guestsOf{w}, Tool: toolOf{w}, Progress: quiet{}}
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
	facts, err := Gather(w.t.Context(), w.effects(), Source{URL: "https://root@esx1"}, o)
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
		w.relay(p, facts, o)
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

// apply carries out a run until it ends or crashes, and closes its journal.
func (w *world) apply(ctx context.Context, j *Journal) (err error, crashed bool) {
	defer func() {
		if cerr := j.Close(); cerr != nil {
			w.t.Fatal(cerr)
		}
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	return Apply(ctx, j, w.effects()), false
}

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

func TestApply(t *testing.T) {
	w := newWorld(t)
	if err, crashed := w.apply(t.Context(), w.create()); err != nil || crashed {
		t.Fatalf("Apply = %v, crashed %v", err, crashed)
	}
	w.checkDone()
	j := w.open()
	if err := Commit(t.Context(), j, w.effects()); err != nil {
		t.Fatal(err)
	}
	if err := Rollback(t.Context(), j, w.effects()); err == nil {
		t.Error("Rollback after Commit = nil, want an error")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(j.Job().VM.Disks[0].Volume.Path); err != nil {
		t.Errorf("a committed volume is gone: %v", err)
	}
}

// TestCommitCut: a commit that ends half-way can't be rolled back, which would
// remove only those volumes that still have their mark; it can be run again.
func TestCommitCut(t *testing.T) {
	w := newWorld(t)
	if err, crashed := w.apply(t.Context(), w.create()); err != nil || crashed {
		t.Fatalf("Apply = %v, crashed %v", err, crashed)
	}
	j := w.open()
	w.tick = func(what string) error {
		if what == "released" {
			return errors.New("no link to the disks")
		}
		return nil
	}
	if err := Commit(t.Context(), j, w.effects()); !errors.Is(err, ErrStopped) {
		t.Errorf("Commit = %v; want %v", err, ErrStopped)
	}
	w.tick = func(string) error { return nil }
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = w.open()
	if s := j.State(); s.Phase != PhaseCommitting || s.Ways() != "`esxodus commit web`" {
		t.Errorf("phase = %s, ways on %s; want %s and commit", s.Phase, s.Ways(), PhaseCommitting)
	}
	for verb, f := range map[string]func(context.Context, *Journal, Effects) error{"roll back": Rollback, "resume": Apply} {
		if err := f(t.Context(), j, w.effects()); err == nil || !strings.Contains(err.Error(), "a commit has begun") {
			t.Errorf("%s after half a commit = %v; want a refusal", verb, err)
		}
	}
	if _, err := w.state().Create(j.Job(), "next"); err == nil || !strings.Contains(err.Error(), "esxodus commit web") {
		t.Errorf("Create = %v; want to be sent to commit", err)
	}
	if err := Commit(t.Context(), j, w.effects()); err != nil || j.State().Phase != PhaseCommitted {
		t.Errorf("Commit again = %v, phase %s; want nil, %s", err, j.State().Phase, PhaseCommitted)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// count returns how often a whole run ticks.
func count(t *testing.T, make func(*testing.T) *world) int {
	t.Helper()
	w := make(t)
	j := w.create()
	n := 0
	w.tick = func(string) error { n++; return nil }
	if err, _ := w.apply(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCrash lets the process die at each effect in turn; a resume must come to
// the same end, and a rollback to nothing.
func TestCrash(t *testing.T) {
	for name, make := range worlds() {
		for at := range count(t, make) {
			for _, back := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", at, " ", back), func(t *testing.T) { crashAt(t, make(t), at, back) })
			}
		}
	}
}

func crashAt(t *testing.T, w *world, at int, back bool) {
	t.Helper()
	j := w.create()
	left := at
	var where string
	var read bool
	w.tick = func(what string) error {
		if left--; left == -1 {
			where = what
			if read = what == "read"; read {
				return errRead // the copy's goroutines can't be made to die
			}
			panic(crash{})
		}
		return nil
	}
	err, crashed := w.apply(t.Context(), j)
	if !crashed && !read {
		t.Fatalf("Apply = %v at %q; want a crash", err, where)
	}
	w.tick = func(string) error { return nil }
	if !back {
		if err, _ := w.apply(t.Context(), w.open()); err != nil {
			t.Fatalf("resume after a crash at %q: %v", where, err)
		}
		w.checkDone()
		return
	}
	j = w.open()
	if err := Rollback(t.Context(), j, w.effects()); err != nil {
		t.Fatalf("Rollback after a crash at %q: %v", where, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.checkGone()
}

var errRead = errors.New("connection reset")

// TestLostLink: a source that stops answering leaves the run for resume.
func TestLostLink(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	w.tick = func(what string) error {
		if what == "read" {
			return errRead
		}
		return nil
	}
	err, _ := w.apply(t.Context(), j)
	if !errors.Is(err, ErrStopped) || !errors.Is(err, errRead) {
		t.Fatalf("Apply = %v, want one of %v and %v", err, ErrStopped, errRead)
	}
	w.tick = func(string) error { return nil }
	if err, _ := w.apply(t.Context(), w.open()); err != nil {
		t.Fatal(err)
	}
	w.checkDone()
}

// TestFailure: an effect on the target that fails undoes the run.
func TestFailure(t *testing.T) {
	for _, what := range []string{"claim", "created"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			j := w.create()
			w.tick = func(at string) error {
				if at == what {
					return errors.New("no space left on device")
				}
				return nil
			}
			err, _ := w.apply(t.Context(), j)
			if !errors.Is(err, ErrUndone) || !strings.Contains(err.Error(), "no space left") {
				t.Fatalf("Apply = %v, want it undone", err)
			}
			w.checkGone()
			w.tick = func(string) error { return nil }
			if err, _ := w.apply(t.Context(), w.create()); err != nil {
				t.Fatalf("second run: %v", err)
			}
			w.checkDone()
		})
	}
}

// TestKept: what fails once the disks are copied leaves them there.
func TestKept(t *testing.T) {
	for _, what := range []string{"convert", "converted", "merged", "define", "defined", "prove"} {
		t.Run(what, func(t *testing.T) {
			w := newRelaid(t)
			j := w.create()
			w.tick = func(at string) error {
				if at == what {
					return errors.New("libvirt is away")
				}
				return nil
			}
			err, _ := w.apply(t.Context(), j)
			if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "libvirt is away") {
				t.Fatalf("Apply = %v, want it stopped", err)
			}
			w.tick = func(string) error { return nil }
			if err, _ := w.apply(t.Context(), w.open()); err != nil {
				t.Fatal(err)
			}
			w.checkDone()
		})
	}
}

// TestReplaced: a volume that somebody put in the place of the run's own is
// not written to.
func TestReplaced(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	path := j.Job().VM.Disks[0].Volume.Path
	w.tick = func(what string) error {
		if what == "read" {
			return errRead
		}
		return nil
	}
	if err, _ := w.apply(t.Context(), j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, make([]byte, 9<<20+512), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.tick = func(string) error { return nil }
	err, _ := w.apply(t.Context(), w.open())
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "not the one that this run made") {
		t.Errorf("resume onto another's file = %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || len(bytes.Trim(b, "\x00")) > 0 {
		t.Errorf("the other's file was written to (%v)", err)
	}
}

// createRunning begins the run of a VM that is on, and that the run shuts down.
func (w *world) createRunning() *Journal {
	w.t.Helper()
	w.host.VMs[0].Power = inventory.PoweredOn
	o := w.options()
	o.Shutdown = "ssh"
	facts, err := Gather(w.t.Context(), w.effects(), Source{}, o)
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

// TestRestarted: a VM that the run shut down, and that was started and stopped
// again before the resume, is not finished as if nothing had been.
func TestRestarted(t *testing.T) {
	w := newWorld(t)
	j := w.createRunning()
	w.tick = func(what string) error {
		if what == "read" {
			return errRead
		}
		return nil
	}
	if err, _ := w.apply(t.Context(), j); !errors.Is(err, ErrStopped) {
		t.Fatalf("Apply = %v, want it stopped", err)
	}
	w.tick = func(string) error { return nil }
	w.host.VMs[0].Disks = slices.Clone(w.host.VMs[0].Disks)
	w.host.VMs[0].Disks[0].ContentID = "beef"
	err, _ := w.apply(t.Context(), w.open())
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "was started or changed") {
		t.Errorf("resume of a VM that ran in between = %v", err)
	}
}

// TestInterrupt: the end of the context undoes the run, at every effect but
// the last, which is done before it can notice.
func TestInterrupt(t *testing.T) {
	for name, make := range worlds() {
		for at := range count(t, make) - 1 {
			w := make(t)
			j := w.create()
			ctx, cancel := context.WithCancel(t.Context())
			left := at
			w.tick = func(string) error {
				if left--; left == -1 {
					cancel()
				}
				return nil
			}
			err, _ := w.apply(ctx, j)
			cancel()
			if !errors.Is(err, ErrUndone) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s interrupted at %d: Apply = %v, want %v and %v", name, at, err, ErrUndone, context.Canceled)
			}
			w.checkGone()
		}
	}
}

// TestForeign: a file that somebody else has made in the meantime stays.
func TestForeign(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	path := j.Job().VM.Disks[1].Volume.Path
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err, _ := w.apply(t.Context(), j)
	if !errors.Is(err, ErrUndone) {
		t.Fatalf("Apply = %v, want it undone", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("the other's file = %q, %v; want it untouched", got, err)
	}
}

// TestChanged: a source that is no longer as planned is not copied.
func TestChanged(t *testing.T) {
	tests := []struct {
		name   string
		change func(vm *inventory.VM)
		err    string
	}{
		{"powered on", func(vm *inventory.VM) { vm.Power = inventory.PoweredOn }, "is poweredOn"},
		{"reconfigured", func(vm *inventory.VM) { vm.ChangeVersion = "v2" }, "change version"},
		{"disk grown", func(vm *inventory.VM) { vm.Disks[0].Capacity += 512 }, "the size of scsi0:0"},
		{"disk written", func(vm *inventory.VM) { vm.Disks[0].ContentID = "cafe" }, "the content ID of scsi0:0"},
		{"snapshot", func(vm *inventory.VM) { vm.Snapshots = []inventory.Snapshot{{ID: "1"}} }, "snapshots"},
		{"gone", func(vm *inventory.VM) { vm.ID = "8" }, "no longer on esx1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			j := w.create()
			vms := []inventory.VM{w.vm()}
			tt.change(&vms[0])
			w.host.VMs = vms
			err, _ := w.apply(t.Context(), j)
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Apply = %v, want %q", err, tt.err)
			}
			w.checkGone()
		})
	}
}

// TestShutdown: the plan shuts the VM down, and a rollback powers it on.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	w.host.VMs[0].Power = inventory.PoweredOn
	o := w.options()
	facts, err := Gather(t.Context(), w.effects(), Source{}, o)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := New(facts, o)
	if err != nil {
		t.Fatal(err)
	}
	if b := refused.Blockers(0); len(b) != 1 || b[0].ID != ConcernPower || !strings.Contains(b[0].Advice, "vim-cmd vmsvc/power.shutdown 7") {
		t.Fatalf("blockers of a VM that runs = %+v", b)
	}
	o.Shutdown = "auto"
	p, err := New(facts, o)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.VMs[0].Steps[0]; s.Kind != StepShutdown || s.Road != "ssh" {
		t.Fatalf("first step = %+v, want a shutdown by ssh (the licence is read-only)", s)
	}
	j, err := w.state().Create(p.Job(0), NewRun())
	if err != nil {
		t.Fatal(err)
	}
	if err, _ := w.apply(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	w.checkDone()
	j = w.open()
	if err := Rollback(t.Context(), j, w.effects()); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.checkGone()
	if !w.power["7"] {
		t.Error("the source was not powered on again")
	}
}

// TestShutdownOfChanged: a guest that runs, and whose VM isn't as planned any
// more, is refused before it is shut down for nothing.
func TestShutdownOfChanged(t *testing.T) {
	for name, change := range map[string]func(*inventory.VM){
		"memory":          func(vm *inventory.VM) { vm.Memory.SizeMiB *= 2 },
		"one more NIC":    func(vm *inventory.VM) { vm.NICs = append(vm.NICs, vm.NICs[0]) },
		"another network": func(vm *inventory.VM) { vm.NICs[0].PortGroup = "Management Network" },
		"another disk":    func(vm *inventory.VM) { vm.Disks[1].Path = "[ds] web/other.vmdk" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			j := w.createRunning()
			vm := w.vm()
			vm.Power = inventory.PoweredOn
			change(&vm)
			w.host.VMs = []inventory.VM{vm}
			if err, _ := w.apply(t.Context(), j); err == nil || !strings.Contains(err.Error(), "has changed since the plan") {
				t.Errorf("Apply = %v, want a refusal", err)
			}
			if on, asked := w.power["7"]; asked {
				t.Errorf("the source was touched: on is %v", on)
			}
			w.checkGone()
		})
	}
}

// TestStateUnknown: LVM that gives no answer for a moment costs no copy.
func TestStateUnknown(t *testing.T) {
	w := newWorld(t)
	j := w.create()
	e := w.effects()
	var away error
	created := 0
	w.tick = func(what string) error {
		if what == "created" {
			if created++; created == 2 {
				away = errors.New("no answer")
			}
		}
		return nil
	}
	e.Storage = statelessStorage{e.Storage, &away}
	err := Apply(t.Context(), j, e)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("Apply = %v, want it stopped", err)
	}
	away = nil
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil {
		t.Fatal(err)
	}
	w.checkDone()
}

// statelessStorage can't say what its volumes are while err is set.
type statelessStorage struct {
	host.Storage
	err *error
}

func (s statelessStorage) State(ctx context.Context, v host.Volume, run string, id host.Identity) (host.State, error) {
	if *s.err != nil {
		return host.Foreign, *s.err
	}
	return s.Storage.State(ctx, v, run, id)
}
