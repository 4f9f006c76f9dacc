package plan_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/converttest"
	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/inventory"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestConcerns has one case for each concern that a plan can raise beside
// those of the domain and the network. testdata/concerns.txt holds their texts.
func TestConcerns(t *testing.T) {
	second := func(f *plan.Facts, change func(vm *inventory.VM)) {
		vm := f.Host.VMs[0]
		vm.ID, vm.Name, vm.BIOSUUID = "8", "db", "564d0000-0000-0000-0000-000000000008"
		vm.NICs = slices.Clone(vm.NICs)
		vm.NICs[0].MAC = "00:50:56:01:02:99"
		vm.Disks = slices.Clone(vm.Disks)
		for i := range vm.Disks {
			vm.Disks[i].Path = strings.ReplaceAll(vm.Disks[i].Path, "web", "db")
		}
		change(&vm)
		f.Host.VMs = append(f.Host.VMs, vm)
	}
	clones := func(f *plan.Facts, change func(g *guest.Guest)) {
		f.Guests = maps.Clone(f.Guests)
		second(f, func(vm *inventory.VM) { f.Guests[vm.ID] = f.Guests[f.Host.VMs[0].ID] })
		for id, g := range f.Guests {
			change(&g)
			f.Guests[id] = g
		}
	}
	uuid := func(f *plan.Facts) string { return "00004d56-0000-0000-0000-000000000001" }
	type test struct {
		id       string
		severity ledger.Severity
		change   func(f *plan.Facts, o *plan.Options)
	}
	tests := []test{
		{plan.ConcernPower, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Power = inventory.PoweredOn }},
		{plan.ConcernPower, ledger.Note, func(f *plan.Facts, o *plan.Options) { f.Host.VMs[0].Power, o.Shutdown = inventory.PoweredOn, "ssh" }},
		{plan.ConcernPower, ledger.Blocker, func(f *plan.Facts, o *plan.Options) { f.Host.VMs[0].Power, o.Shutdown = inventory.PoweredOn, "api" }},
		{plan.ConcernSuspended, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Power = inventory.Suspended }},
		{plan.ConcernFormat, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Disks[0].Format = "rdm" }},
		{plan.ConcernTwice, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			second(f, func(vm *inventory.VM) { vm.Disks[0].Path = f.Host.VMs[0].Disks[0].Path })
		}},
		{plan.ConcernTwice, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			vm := &f.Host.VMs[0]
			vm.Disks[1].Path = vm.Disks[0].Path
		}},
		{plan.ConcernWay, ledger.Blocker, func(_ *plan.Facts, o *plan.Options) { o.Via = map[string]plan.Way{"": plan.WayFile} }},
		{plan.ConcernWay, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			f.Detours = map[string]plan.Detour{"7": {Way: plan.WaySSH, Why: "403 Forbidden"}}
		}},
		{plan.ConcernWay, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			f.Source.Scratch, f.Detours = "/scratch", map[string]plan.Detour{"7": {Way: plan.WayNFC, Why: "an object"}}
		}},
		{plan.ConcernWay, ledger.Blocker, func(f *plan.Facts, o *plan.Options) {
			f.Source.Scratch, f.Host.License.ReadOnly, o.Via = "/scratch", true, map[string]plan.Way{"": plan.WayNFC}
		}},
		{plan.ConcernFiles, ledger.Note, func(f *plan.Facts, _ *plan.Options) { f.Source.From = "/mnt/datastore1" }},
		{plan.ConcernSourceUnread, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Host.Problems = []string{"web can't be looked into"} }},
		{plan.ConcernNoDisk, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Disks = nil }},
		{plan.ConcernInaccessible, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].ConnectionState = "inaccessible" }},
		{plan.ConcernUnread, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Unread = map[string]*plan.UnreadError{"7": {Address: "scsi0:0", Err: errors.New("no such file")}}
		}},
		{plan.ConcernUnread, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			full := &fs.PathError{Op: "write", Path: "/scratch/web.raw", Err: syscall.ENOSPC}
			f.Unread = map[string]*plan.UnreadError{"7": {Address: "scsi0:0", Err: fmt.Errorf("by a lease: %w", full)}}
		}},
		{plan.ConcernConfig, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].CPU.Count = 0 }},
		{plan.ConcernConfig, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Memory.SizeMiB = 0 }},
		{domain.ConcernCapacity, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Disks[0].Capacity = 1 }},
		{plan.ConcernVolume, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Storage.Volumes[0].Unfit = "a file on vfat is too small" }},
		{plan.ConcernVolume, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Storage.Volumes[0].Exists = "a file of 1 bytes" }},
		{plan.ConcernDomain, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Target.Domains = []plan.KnownDomain{{Name: "web"}} }},
		{plan.ConcernDomain, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Target.Domains = []plan.KnownDomain{{Name: "x", UUID: uuid(f)}}
		}},
		{plan.ConcernTargetMAC, ledger.Warning, func(f *plan.Facts, _ *plan.Options) {
			f.Target.Domains = []plan.KnownDomain{{Name: "x", MACs: []string{"00:50:56:01:02:03"}}}
		}},
		{plan.ConcernFirmware, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].Firmware = inventory.EFI }},
		{plan.ConcernFirmware, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Host.VMs[0].Firmware, f.Host.VMs[0].SecureBoot, f.Target.EFI = inventory.EFI, true, true
		}},
		{plan.ConcernFirmware, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Host.VMs[0].TPM = true }},
		{plan.ConcernSpace, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Storage.Free, f.Storage.Pool = 0, pool(1<<50, 1<<30) }},
		{plan.ConcernSpace, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Storage.Pool = pool(1<<50, 1) }},
		{plan.ConcernOvercommit, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Storage.Pool = pool(1<<20, 1<<30) }},
		{plan.ConcernBoot, ledger.Warning, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Activation, f.Storage.Sharing = volume.Activation{NotAtBoot: true}, volume.Sharing{Name: "vg0"}
		}},
		{plan.ConcernOnePath, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Paths.Singles = []volume.Single{{Disk: "sdb", Map: "mpatha"}, {Disk: "sdc", Others: []string{"sdd", "sde"}}}
		}},
		{plan.ConcernSpace, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Storage.Free = 1 }},
		{plan.ConcernSpace, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { f.Storage.Free, f.Storage.Sparse = 1, false }},
		{plan.ConcernShared, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Sharing = volume.Sharing{Name: "vg0", Over: "iscsi", Locks: "sanlock"}
		}},
		{plan.ConcernShared, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Sharing = volume.Sharing{Name: "vg0", Locks: "dlm", Stopped: true}
		}},
		{plan.ConcernShared, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Sharing = volume.Sharing{Name: "vg0", Over: "fc", Owner: "kvm1"}
		}},
		{plan.ConcernShared, ledger.Warning, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Sharing = volume.Sharing{Name: "vg0", Over: "multipath"}
		}},
		{plan.ConcernWriter, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Storage.Sharing = volume.Sharing{Name: "vg0", Over: "iscsi", Others: []volume.Writer{{Host: "kvm2", Tag: "esxodus_writer_kvm2_0"}}}
		}},
		{plan.ConcernMemory, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Storage.FSType = "tmpfs" }},
		{plan.ConcernPath, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Storage.Unpassable = "/root" }},
		{plan.ConcernTarget, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Target = plan.TargetFacts{Missing: "no libvirt"} }},
		{plan.ConcernVirtType, ledger.Blocker, func(_ *plan.Facts, o *plan.Options) { o.VirtType = "kvm" }},
		{plan.ConcernLink, ledger.Warning, func(f *plan.Facts, _ *plan.Options) { f.Target.Links = []string{"lo", "ens3"} }},
		{plan.ConcernClashName, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) { second(f, func(vm *inventory.VM) { vm.Name = "web" }) }},
		{plan.ConcernClashUUID, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			second(f, func(vm *inventory.VM) { vm.BIOSUUID = f.Host.VMs[0].BIOSUUID })
		}},
		{plan.ConcernClashMAC, ledger.Warning, func(f *plan.Facts, _ *plan.Options) {
			second(f, func(vm *inventory.VM) { vm.NICs[0].MAC = f.Host.VMs[0].NICs[0].MAC })
		}},
		{plan.ConcernClashHost, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			clones(f, func(g *guest.Guest) { g.Hostname = "Web.example.org" })
		}},
		{plan.ConcernClashMachine, ledger.Note, func(f *plan.Facts, _ *plan.Options) {
			clones(f, func(g *guest.Guest) { g.Config.MachineID = "0123456789ab" })
		}},
	}
	for _, state := range []string{"", "invalid", "orphaned", "inaccessible"} {
		tests = append(tests, test{plan.ConcernConfig, ledger.Blocker, func(f *plan.Facts, _ *plan.Options) {
			f.Host.VMs[0].CPU.Count, f.Host.VMs[0].Memory.SizeMiB, f.Host.VMs[0].ConnectionState = 0, 0, state
		}})
	}
	var texts strings.Builder
	for _, tt := range tests {
		t.Run(tt.id+" "+string(tt.severity), func(t *testing.T) {
			w := converttest.New(t)
			o := w.Options()
			draft, err := survey.Gather(t.Context(), w.Sources(), plan.Source{}, o)
			if err != nil {
				t.Fatal(err)
			}
			facts := draft.Facts
			plain := concernsOf(t, facts, o)
			if slices.ContainsFunc(plain, func(c ledger.Concern) bool { return c.ID == tt.id && c.Severity == tt.severity }) {
				t.Fatalf("raised for the plain VM too: %+v", plain)
			}
			tt.change(&facts, &o)
			got := concernsOf(t, facts, o)
			i := slices.IndexFunc(got, func(c ledger.Concern) bool { return c.ID == tt.id && c.Severity == tt.severity })
			if i < 0 {
				t.Fatalf("no %s %s in %+v", tt.severity, tt.id, got)
			}
			if got[i].Evidence == "" || got[i].Advice == "" {
				t.Errorf("%+v lacks evidence or advice", got[i])
			}
			text := fmt.Sprintf("%s %s (%s): %s\n    do: %s\n", tt.severity, tt.id, got[i].Subject, got[i].Evidence, got[i].Advice)
			texts.WriteString(strings.ReplaceAll(text, strings.TrimPrefix(w.Options().Storage, "dir:"), "/disks"))
		})
	}
	const golden = "testdata/concerns.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(texts.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), texts.String()); diff != "" {
		t.Errorf("%s (-want +got); run with -update if that is intended:\n%s", golden, diff)
	}
}

// pool is a thin pool with so many bytes, and so many free for its metadata.
func pool(size, metadata int64) *volume.Pool {
	return &volume.Pool{Name: "vg0/pool", Size: size, Chunk: 64 << 10, Metadata: metadata, Waits: true}
}

// concernsOf makes the plan twice, which must come to the same bytes.
func concernsOf(t *testing.T, f plan.Facts, o plan.Options) []ledger.Concern {
	t.Helper()
	var texts []string
	var out []ledger.Concern
	for range 2 {
		p := converttest.Planned(t, f, o)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
		out = slices.Clone(p.Concerns)
		for _, v := range p.VMs {
			out = append(out, v.Concerns...)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("two plans of the same facts differ:\n%s\n%s", texts[0], texts[1])
	}
	return out
}

// TestManyAlike: of many VMs that share a value each has a few names and a count, and
// guests that are called localhost share nothing.
func TestManyAlike(t *testing.T) {
	w := converttest.New(t)
	o := w.Options()
	draft, err := survey.Gather(t.Context(), w.Sources(), plan.Source{}, o)
	if err != nil {
		t.Fatal(err)
	}
	f, first := draft.Facts, draft.Facts.Host.VMs[0]
	f.Guests = maps.Clone(f.Guests)
	for i := range 40 {
		vm := first
		vm.ID, vm.Name, vm.BIOSUUID, vm.NICs, vm.Disks = fmt.Sprint(100+i), fmt.Sprintf("clone%d", i), fmt.Sprintf("564d0000-0000-0000-0000-0000000001%02d", i), nil, nil
		f.Host.VMs = append(f.Host.VMs, vm)
		f.Guests[vm.ID] = guest.Guest{Hostname: "db"}
		if i >= 10 {
			f.Guests[vm.ID] = guest.Guest{Hostname: "localhost.localdomain"}
		}
	}
	alike := 0
	for _, c := range concernsOf(t, f, o) {
		if c.ID == plan.ConcernClashHost {
			alike++
			if !strings.HasPrefix(c.Evidence, `"clone0" and "clone1" and `) || !strings.Contains(c.Evidence, " and 5 more have ") || strings.Contains(c.Evidence, "clone5") {
				t.Errorf("evidence %q", c.Evidence)
			}
		}
	}
	if alike != 10 {
		t.Errorf("%d guests share a host name; want 10", alike)
	}
}
