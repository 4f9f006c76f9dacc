package netrun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/fixtures"
	"esxodus/network"
)

// paper is a machine of names alone.
type paper struct {
	links map[string]bool
	fails network.StepKind // the step that goes wrong
	nets  map[string]network.Virtual
	// bridges are LXD's.
	bridges map[string]network.Virtual
	vfs     map[string]int
	used    string // an address of each link's
}

func (p *paper) MakeFunctions(f network.FunctionChange) error {
	p.vfs[f.Device] = f.Count
	if p.fails == network.StepVFs {
		return errors.New("no room for them")
	}
	return nil
}

func (p *paper) RemoveFunctions(f network.FunctionChange) error {
	delete(p.vfs, f.Device)
	return nil
}

func (p *paper) Virtual(_ context.Context, name string) (network.Virtual, bool, error) {
	v, ok := p.nets[name]
	return v, ok, nil
}

func (p *paper) RemoveVirtual(_ context.Context, was network.Virtual) error {
	delete(p.nets, was.Name)
	if p.fails == network.StepVirtual {
		return errors.New("half gone")
	}
	return nil
}

func (p *paper) RestoreVirtual(_ context.Context, was network.Virtual) error {
	p.nets[was.Name] = was
	return nil
}

// ofLXD are the bridges of the machine's LXD.
type ofLXD struct{ p *paper }

func (o ofLXD) Virtual(_ context.Context, name string) (network.Virtual, bool, error) {
	v, ok := o.p.bridges[name]
	return v, ok, nil
}

func (o ofLXD) RemoveVirtual(_ context.Context, was network.Virtual) error {
	delete(o.p.bridges, was.Name)
	return nil
}

func (o ofLXD) RestoreVirtual(_ context.Context, was network.Virtual) error {
	o.p.bridges[was.Name] = was
	return nil
}

// lxdbr0 is a bridge of LXD's.
func lxdbr0() network.Virtual {
	return network.Virtual{Name: "lxdbr0", Bridge: "lxdbr0", Active: true, Persistent: true, AutoStart: true, LXD: &network.LXD{
		Config:  map[string]string{"ipv4.address": "10.1.2.1/24"},
		Devices: []network.LXDDevice{{Project: "default", Profile: "web", Name: "eth0", Keys: map[string]string{"type": "nic", "network": "lxdbr0"}}},
	}}
}

// pool is one that is made.
func pool() network.Virtual {
	return network.Virtual{Name: "esxodus-vf-eno1", UUID: "2", Active: true, Persistent: true, AutoStart: true, XML: "<network/>"}
}

// lan is a network of libvirt's.
func lan() network.Virtual {
	return network.Virtual{Name: "lan", UUID: "1", Bridge: "virbr7", Active: true, Persistent: true, AutoStart: true, XML: "<network/>"}
}

func (p *paper) Read(context.Context) (network.Host, error) {
	h := network.Host{Name: "kvm1"}
	for name := range p.links {
		l := network.Link{Name: name, Up: true, VFs: p.vfs[name]}
		if p.used != "" {
			l.Addresses = []network.Address{{CIDR: p.used}}
		}
		h.Links = append(h.Links, l)
	}
	return h, nil
}

func (p *paper) Reload(context.Context) error {
	if p.fails == network.StepReload {
		return errors.New("no answer")
	}
	return nil
}

func (p *paper) Make(d network.Device) error {
	p.links[d.Name] = true // also if it then fails
	if p.fails == network.StepDevice {
		return errors.New("no such kind")
	}
	return nil
}

func (p *paper) Remove(d network.Device) error { delete(p.links, d.Name); return nil }
func (p *paper) Up(string) error               { return nil }
func (p *paper) Down(string) error             { return nil }

// desk is a root with a file that is changed, and what is to be done there.
type desk struct {
	t    *testing.T
	root string
	dir  Dir
	m    *paper
	said []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, root: t.TempDir(), dir: Dir(t.TempDir()), m: &paper{links: map[string]bool{"eno1": true}, nets: map[string]network.Virtual{"lan": lan()}, bridges: map[string]network.Virtual{"lxdbr0": lxdbr0()}, vfs: map[string]int{}}}
	path := filepath.Join(d.root, network.Dir, "20-esxodus-eno1.42.network")
	d.check(os.MkdirAll(filepath.Dir(path), 0o755))
	d.check(os.WriteFile(path, []byte("old\n"), 0o640))
	d.check(os.Chtimes(path, time.Time{}, time.Unix(1e9, 123456789)))
	return d
}

func (d *desk) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) effects() Effects {
	yes := func(context.Context) error { return nil }
	return Effects{Machine: d.m, Libvirt: func(string) Virtuals { return d.m }, LXD: ofLXD{d.m}, Root: d.root, Tool: host.Tool{}, Ask: yes, Note: func(text string) { d.said = append(d.said, text) }}
}

// job changes a file, writes one in a new directory, and makes a device.
func (d *desk) job() *Job {
	file := func(name, old, text string, state network.FileState) network.Step {
		return network.Step{Kind: network.StepFile, Text: "write " + name, File: &network.FileChange{Path: network.Dir + "/" + name, Old: old, New: text, State: state}}
	}
	h, _ := d.m.Read(d.t.Context())
	c := network.Changes{Steps: []network.Step{
		file("20-esxodus-eno1.42.network", "old\n", "new\n", network.FileChanged),
		{Kind: network.StepReload, Text: "reload"},
		{Kind: network.StepDevice, Text: "make eno1.42", Device: &network.Device{Name: "eno1.42", Kind: network.KindVLAN, Parent: "eno1", VLAN: 42}},
		{Kind: network.StepVFs, Text: "make 4", VFs: &network.FunctionChange{Device: "eno1", Count: 4}},
		{Kind: network.StepCheck, Text: "check"},
		{Kind: network.StepConfirm, Text: "confirm"},
		file("lan.network.d/esxodus-eno1.42.conf", "", "[Network]\nVLAN=eno1.42\n", network.FileNew),
		{Kind: network.StepVirtual, Text: "remove lan", Virtual: &network.VirtualChange{Old: lan()}},
		{Kind: network.StepVirtual, Text: "remove lxdbr0", Virtual: &network.VirtualChange{Old: lxdbr0()}},
		{Kind: network.StepVirtual, Text: "lend", Virtual: &network.VirtualChange{New: new(pool())}},
		{Kind: network.StepRecord, Text: "record"},
	}}
	return &Job{Host: "kvm1", Within: time.Hour, Before: See(&h, &c), Changes: c}
}

func (d *desk) begin() *Journal {
	d.t.Helper()
	j, err := d.dir.Create(d.job())
	d.check(err)
	d.t.Cleanup(func() { _ = j.Close() })
	return j
}

// sight is all that a run may change: files with their modes and times, and links.
func (d *desk) sight() string {
	d.t.Helper()
	var b bytes.Buffer
	d.check(filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == ".git" {
			return fs.SkipDir
		}
		fmt.Fprintln(&b, strings.TrimPrefix(path, d.root))
		if e.IsDir() {
			return nil
		}
		info, err := e.Info()
		d.check(err)
		text, err := os.ReadFile(path)
		fmt.Fprintln(&b, info.Mode(), info.ModTime().UnixNano(), string(text))
		return err
	}))
	for name := range d.m.links {
		fmt.Fprintln(&b, "link", name)
	}
	nets, err := json.Marshal([]any{d.m.nets, d.m.bridges})
	d.check(err)
	fmt.Fprintln(&b, string(nets), d.m.vfs)
	lines := strings.Split(b.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestKilledAtEachRecord cuts the journal off after each of its records, as a crash
// would: the guard's end of the run puts all back.
func TestKilledAtEachRecord(t *testing.T) {
	d := newDesk(t)
	j := d.begin()
	d.check(Apply(t.Context(), j, d.effects()))
	records := len(j.Records()) - 1 // all but the last, which ends the last step
	if records < 14 {
		t.Errorf("only %d records", records)
	}
	for k := range records {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			killedAfter(t, k)
		})
	}
}

func killedAfter(t *testing.T, k int) {
	t.Helper()
	d := newDesk(t)
	before := d.sight()
	j := d.begin()
	d.check(Apply(t.Context(), j, d.effects()))
	path := j.Path(journal.FileName)
	d.check(j.Close())
	text, err := os.ReadFile(path)
	d.check(err)
	// Who waits for a word waits no longer.
	lines := bytes.SplitAfter(bytes.Replace(text, []byte(`"within":3600000000000`), []byte(`"within":1`), 1), []byte("\n"))
	d.check(os.WriteFile(path, bytes.Join(lines[:k+1], nil), 0o600))
	d.undoneAfter(k, lines) // what is cut off was not done, or only half
	alone := d.effects()
	alone.Ask = nil
	if err := d.dir.Guard(t.Context(), j.Run(), nil, alone); err != nil && !errors.Is(err, ErrUnconfirmed) {
		t.Error(err)
	}
	if diff := cmp.Diff(before, d.sight()); diff != "" {
		t.Errorf("killed after record %d (%s), there is (-was +is):\n%s", k, lines[k], diff)
	}
	s, ok, err := d.dir.Last()
	if err != nil || ok {
		t.Errorf("killed after record %d, the last run is %+v, %v", k, s, err)
	}
}

// undoneAfter takes away what steps did that the cut journal knows nothing of.
func (d *desk) undoneAfter(k int, lines [][]byte) {
	known := string(bytes.Join(lines[:k+1], nil))
	begun := func(text string) bool { return strings.Contains(known, `"event":"begin","step":`+text) }
	dropIn := filepath.Join(d.root, network.Dir, "lan.network.d")
	if !begun("9") {
		delete(d.m.nets, pool().Name)
	}
	if !begun("8") {
		d.m.bridges["lxdbr0"] = lxdbr0()
	}
	if !begun("3") {
		delete(d.m.vfs, "eno1")
	}
	if !begun("7") {
		d.m.nets["lan"] = lan()
	}
	if !begun("6") {
		d.check(os.RemoveAll(dropIn))
	}
	if !begun("2") {
		delete(d.m.links, "eno1.42")
	}
	if !begun("0") {
		path := filepath.Join(d.root, network.Dir, "20-esxodus-eno1.42.network")
		d.check(replace(path, wasFile{Text: "old\n", Mode: 0o640, Modified: time.Unix(1e9, 123456789)}))
	}
}

// TestFailures: a step that goes wrong undoes all, and the run says why.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, kind := range []network.StepKind{network.StepReload, network.StepDevice, network.StepVirtual, network.StepVFs} {
		d := newDesk(t)
		before := d.sight()
		d.m.fails = kind
		err := Apply(t.Context(), d.begin(), d.effects())
		if !errors.Is(err, ErrUndone) || d.sight() != before {
			t.Errorf("%s: Apply = %v; there is %s", kind, err, d.sight())
		}
	}
}

// TestChangedSince: what somebody else has written is never overwritten or removed.
func TestChangedSince(t *testing.T) {
	file := func(d *desk, name string) string { return filepath.Join(d.root, network.Dir, name) }
	t.Run("before", func(t *testing.T) {
		d := newDesk(t)
		d.check(os.WriteFile(file(d, "20-esxodus-eno1.42.network"), []byte("theirs\n"), 0o644))
		before := d.sight()
		err := Apply(t.Context(), d.begin(), d.effects())
		if err == nil || !strings.Contains(err.Error(), "plan again") || d.sight() != before {
			t.Errorf("Apply = %v; there is %s", err, d.sight())
		}
	})
	t.Run("network", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		theirs := lan()
		theirs.XML = "<network>\n</network>"
		d.m.nets["lan"] = theirs
		before := d.sight()
		if err := Apply(t.Context(), d.begin(), d.effects()); err == nil || !strings.Contains(err.Error(), "libvirt's network lan isn't what it was") || d.sight() != before {
			t.Errorf("Apply = %v; there is %s", err, d.sight())
		}
	})
	t.Run("functions", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		d.m.vfs["eno1"] = 4 // somebody has made them, who keeps them
		before := d.sight()
		if err := Apply(t.Context(), d.begin(), d.effects()); err == nil || !strings.Contains(err.Error(), "it has 4 virtual functions") || d.sight() != before {
			t.Errorf("Apply = %v; there is %s", err, d.sight())
		}
	})
	t.Run("a link in use", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		j := d.begin()
		d.check(Apply(t.Context(), j, d.effects()))
		d.m.used = "192.0.2.7/24"
		d.check(Rollback(t.Context(), j, d.effects()))
		if d.m.vfs["eno1"] != 4 || len(d.said) != 1 || !strings.Contains(d.said[0], "stay until the next boot") {
			t.Errorf("there are %d virtual functions; said %q", d.m.vfs["eno1"], d.said)
		}
	})
	t.Run("pool", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		d.m.nets[pool().Name] = network.Virtual{Name: pool().Name, UUID: "3"}
		before := d.sight()
		if err := Apply(t.Context(), d.begin(), d.effects()); err == nil || !strings.Contains(err.Error(), "esxodus-vf-eno1 isn't what it was") || d.sight() != before {
			t.Errorf("Apply = %v; there is %s", err, d.sight())
		}
	})
	t.Run("after", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		before := d.sight()
		j := d.begin()
		d.check(Apply(t.Context(), j, d.effects()))
		theirs := file(d, "lan.network.d/esxodus-eno1.42.conf")
		d.check(os.WriteFile(theirs, []byte("theirs\n"), 0o644))
		if err := Rollback(t.Context(), j, d.effects()); err == nil || !strings.Contains(err.Error(), "was changed after it was written: move it away") {
			t.Errorf("Rollback = %v", err)
		}
		d.check(os.Remove(theirs))
		d.check(Rollback(t.Context(), j, d.effects()))
		if diff := cmp.Diff(before, d.sight()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("beside", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		j := d.begin()
		d.check(Apply(t.Context(), j, d.effects()))
		theirs := file(d, "lan.network.d/theirs.conf")
		d.check(os.WriteFile(theirs, nil, 0o644))
		d.check(Rollback(t.Context(), j, d.effects()))
		if _, err := os.Stat(theirs); err != nil {
			t.Error(err)
		}
	})
}

// TestGit: where /etc is in git, our files and nothing else are committed, and so is
// the rollback; a commit that fails is said and undoes nothing.
func TestGit(t *testing.T) {
	t.Parallel()
	git := func(d *desk, args ...string) string {
		out, err := exec.Command(fixtures.Tool(t, "git"), append([]string{"-C", filepath.Join(d.root, "etc")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	d := newDesk(t)
	git(d, "init", "-q")
	git(d, "config", "user.name", "root")
	git(d, "config", "user.email", "root@localhost")
	git(d, "add", ".")
	git(d, "commit", "-q", "-m", "as it was")
	d.check(os.WriteFile(filepath.Join(d.root, "etc/hosts"), nil, 0o644))
	j := d.begin()
	d.check(Apply(t.Context(), j, d.effects()))
	d.check(Rollback(t.Context(), j, d.effects()))
	if log := git(d, "log", "--format=%s", "--name-only"); !strings.HasPrefix(log, "esxodus: network devices for domains, rolled back\n") || strings.Count(log, "lan.network.d/esxodus-eno1.42.conf") != 2 {
		t.Errorf("git log:\n%s", log)
	}
	if status := git(d, "status", "--porcelain"); status != "?? hosts\n" {
		t.Errorf("git status: %q", status)
	}
	if diff := git(d, "diff", "HEAD~2"); diff != "" {
		t.Errorf("after the rollback git has\n%s", diff)
	}
	d.check(os.WriteFile(filepath.Join(d.root, "etc/.git/hooks/pre-commit"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	d.check(Apply(t.Context(), d.begin(), d.effects()))
	if len(d.said) != 1 || !strings.Contains(d.said[0], "/etc's history lacks the change") {
		t.Errorf("said %q", d.said)
	}
}

// TestTampered: a journal that would have other files touched is no job.
func TestTampered(t *testing.T) {
	for _, path := range []string{"/etc/passwd", "/etc/systemd/network/../../passwd", "/etc/systemd/network/lan.network", "/etc/systemd/system/esxodus-x.service"} {
		j := newDesk(t).job()
		j.Changes.Steps[0].File.Path = path
		if err := j.CheckRecorded("run", "run"); err == nil {
			t.Errorf("a job that writes %s is taken", path)
		}
	}
	if err := newDesk(t).job().CheckRecorded("run", "run"); err != nil {
		t.Error(err)
	}
}

func TestLost(t *testing.T) {
	bird := network.Routes{Protocol: "bird", Table: 254, Family: 4, Count: 5, Examples: []string{"203.0.113.0/24"}}
	was := Sight{Links: []network.Link{{Name: "eno1", Up: true, Addresses: []network.Address{{CIDR: "192.0.2.2/24"}}, Routes: []network.Routes{bird}}}, Rules: []network.Rule{{Text: "ip rule 5"}}}
	whole := func() network.Host {
		l := was.Links[0]
		return network.Host{Links: []network.Link{l}, Rules: was.Rules}
	}
	for _, tt := range []struct {
		name   string
		change func(h *network.Host)
		want   []string
	}{
		{"nothing", func(*network.Host) {}, nil},
		{"more", func(h *network.Host) { h.Links = append(h.Links, network.Link{Name: "eno1.42"}) }, nil},
		{"fewer routes", func(h *network.Host) { r := bird; r.Count = 3; h.Links[0].Routes = []network.Routes{r} }, nil},
		{"no routes", func(h *network.Host) { h.Links[0].Routes = nil }, []string{"eno1 has lost 5 routes proto bird (203.0.113.0/24, …)"}},
		{"no address", func(h *network.Host) { h.Links[0].Addresses = nil }, []string{"eno1 has lost the address 192.0.2.2/24"}},
		{"down", func(h *network.Host) { h.Links[0].Up = false }, []string{"eno1 is down"}},
		{"no link", func(h *network.Host) { h.Links = nil }, []string{"the interface eno1 is gone"}},
		{"no rule", func(h *network.Host) { h.Rules = nil }, []string{"ip rule 5 is gone"}},
	} {
		h := whole()
		tt.change(&h)
		if diff := cmp.Diff(tt.want, was.Lost(&h)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
