package convert

import (
	"encoding/json"
	"slices"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// TestConcerns has one case for each concern that a plan can raise beside
// those of the domain and the network.
func TestConcerns(t *testing.T) {
	second := func(f *Facts, change func(vm *inventory.VM)) {
		vm := f.Host.VMs[0]
		vm.ID, vm.Name, vm.BIOSUUID = "8", "db", "564d0000-0000-0000-0000-000000000008"
		vm.NICs = slices.Clone(vm.NICs)
		vm.NICs[0].MAC = "00:50:56:01:02:99"
		change(&vm)
		f.Host.VMs = append(f.Host.VMs, vm)
	}
	uuid := func(f *Facts) string { return "00004d56-0000-0000-0000-000000000001" }
	tests := []struct {
		id       string
		severity ledger.Severity
		change   func(f *Facts, o *Options)
	}{
		{ConcernPower, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].Power = inventory.PoweredOn }},
		{ConcernPower, ledger.Note, func(f *Facts, o *Options) { f.Host.VMs[0].Power, o.Shutdown = inventory.PoweredOn, "ssh" }},
		{ConcernSuspended, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].Power = inventory.Suspended }},
		{ConcernFormat, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].Disks[0].Format = "seSparse" }},
		{ConcernFormat, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].Disks[0].Parents = []string{"[other] web/web.vmdk"} }},
		{ConcernNoDisk, ledger.Warning, func(f *Facts, _ *Options) { f.Host.VMs[0].Disks = nil }},
		{ConcernInaccessible, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].ConnectionState = "inaccessible" }},
		{ConcernVolume, ledger.Blocker, func(f *Facts, _ *Options) { f.Storage.Volumes[0].Exists = "a file of 1 bytes" }},
		{ConcernDomain, ledger.Blocker, func(f *Facts, _ *Options) { f.Target.Domains = []KnownDomain{{Name: "web"}} }},
		{ConcernDomain, ledger.Blocker, func(f *Facts, _ *Options) { f.Target.Domains = []KnownDomain{{Name: "x", UUID: uuid(f)}} }},
		{ConcernTargetMAC, ledger.Warning, func(f *Facts, _ *Options) {
			f.Target.Domains = []KnownDomain{{Name: "x", MACs: []string{"00:50:56:01:02:03"}}}
		}},
		{ConcernFirmware, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].Firmware = inventory.EFI }},
		{ConcernFirmware, ledger.Blocker, func(f *Facts, _ *Options) {
			f.Host.VMs[0].Firmware, f.Host.VMs[0].SecureBoot, f.Target.EFI = inventory.EFI, true, true
		}},
		{ConcernFirmware, ledger.Blocker, func(f *Facts, _ *Options) { f.Host.VMs[0].TPM = true }},
		{ConcernSpace, ledger.Warning, func(f *Facts, _ *Options) { f.Storage.Free = 1 }},
		{ConcernSpace, ledger.Blocker, func(f *Facts, _ *Options) { f.Storage.Free, f.Storage.Sparse = 1, false }},
		{ConcernPath, ledger.Warning, func(f *Facts, _ *Options) { f.Storage.Unpassable = "/root" }},
		{ConcernTarget, ledger.Warning, func(f *Facts, _ *Options) { f.Target = TargetFacts{Missing: "no libvirt"} }},
		{ConcernVirtType, ledger.Blocker, func(_ *Facts, o *Options) { o.VirtType = "kvm" }},
		{ConcernLink, ledger.Warning, func(f *Facts, _ *Options) { f.Target.Links = []string{"lo", "ens3"} }},
		{ConcernClashName, ledger.Blocker, func(f *Facts, _ *Options) { second(f, func(vm *inventory.VM) { vm.Name = "web" }) }},
		{ConcernClashUUID, ledger.Blocker, func(f *Facts, _ *Options) {
			second(f, func(vm *inventory.VM) { vm.BIOSUUID = f.Host.VMs[0].BIOSUUID })
		}},
		{ConcernClashMAC, ledger.Warning, func(f *Facts, _ *Options) {
			second(f, func(vm *inventory.VM) { vm.NICs[0].MAC = f.Host.VMs[0].NICs[0].MAC })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.id+" "+string(tt.severity), func(t *testing.T) {
			w := newWorld(t)
			o := w.options()
			facts, err := Gather(t.Context(), w.sources(), Source{}, o)
			if err != nil {
				t.Fatal(err)
			}
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
		})
	}
}

// concernsOf makes the plan twice, which must come to the same bytes.
func concernsOf(t *testing.T, f Facts, o Options) []ledger.Concern {
	t.Helper()
	var texts []string
	var out []ledger.Concern
	for range 2 {
		p, err := New(f, o)
		if err != nil {
			t.Fatal(err)
		}
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
