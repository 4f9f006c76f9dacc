package report

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/inventory"
	"esxodus/network"
)

// several is a plan of a VM that is ready, one with a warning, and two that are
// blocked alike.
func several() *plan.Plan {
	p := &plan.Plan{
		Source: plan.Source{URL: "https://root@esx1", Host: "esx1", Version: "6.5.0"},
		Target: plan.Target{Storage: "dir:/srv/vms", Libvirt: "qemu:///system", VirtType: "kvm"},
		Network: network.Plan{
			Attachments: []network.Attachment{
				{PortGroup: "VM Network", Mode: network.Macvtap, Device: "eno1", Uplink: "eno1"},
				{PortGroup: "VLAN 42", Mode: network.Macvtap, Device: "eno1.42", Uplink: "eno1", VLAN: 42},
			},
			Units:  []network.Unit{{Name: "20-esxodus-eno1.42.netdev", Text: "[NetDev]\nName=eno1.42\nKind=vlan\n"}},
			Ledger: []ledger.Entry{{Property: "portGroups[VLAN 42].vlan", Source: "42", Target: "eno1.42", Fate: ledger.Mapped}},
		},
		VMs: []plan.VMPlan{planOf("web", "web", debian()), planOf("データベース "+evil, "db", locked()), planOf("old 1", "old-1", locked()), planOf("old 2", "old-2", locked())},
		Concerns: []ledger.Concern{
			{ID: "network.file", Severity: ledger.Warning, Subject: "eno1", Evidence: "no file is known to configure it", Advice: "give --network-file eno1=FILE"},
		},
	}
	for i := range p.VMs {
		v := &p.VMs[i]
		v.Source.ID = strconv.Itoa(i)
		v.Sizes = plan.Sizes{Provisioned: 10 * gib, Allocated: gib, Target: 10 * gib}
		v.Steps = []plan.Step{{Text: "copy scsi0:0 over HTTPS to " + v.Name}, {Text: "define the persistent domain " + v.Name}}
		v.Source.NICs = []inventory.NIC{{Index: 0, MAC: "00:0c:29:00:00:01", PortGroup: "VM Network"}, {Index: 1, MAC: "00:0c:29:00:00:02", PortGroup: "VLAN 42"}}
		v.Ledger = []ledger.Entry{
			{Property: "nics[ethernet0].model", Source: "vmxnet3", Target: "virtio", Fate: ledger.Changed, Reason: "the paravirtual NIC of KVM"},
			{Property: "nics[ethernet0].key", Source: "4000", Fate: ledger.Dropped, Reason: "number of the device on ESXi"},
			{Property: "disks[scsi0:0].files[[datastore1] a [b]/c.vmdk].type", Source: "diskExtent", Fate: ledger.Dropped, Reason: "a file on the datastore"},
			{Property: "cpu.count", Source: "2", Target: "2", Fate: ledger.Mapped},
		}
		v.Concerns = []ledger.Concern{{ID: "guest.agent", Severity: ledger.Note, Evidence: "qemu-guest-agent was not seen", Advice: "install it"}}
	}
	p.VMs[1].Concerns = append(p.VMs[1].Concerns, ledger.Concern{ID: "vm.autostart", Severity: ledger.Warning, Evidence: "the host starts it", Advice: "turn that off there"})
	for _, i := range []int{2, 3} {
		p.VMs[i].Concerns = []ledger.Concern{
			{ID: "power.on", Severity: ledger.Blocker, Evidence: "it runs", Advice: "shut it down"},
			{ID: "disk.rdm", Severity: ledger.Blocker, Subject: "scsi0:0", Evidence: "a mapping of lun " + strings.Repeat("f", i), Advice: "detach it"},
		}
	}
	return p
}

// flagged stands for what completes commands.
func flagged(s string) string { return strings.ReplaceAll(s, "esxodus plan", "esxodus plan --esxi x") }

// TestPlan holds what is shown of a plan: of several VMs, of those that are named,
// and of everything.
func TestPlan(t *testing.T) {
	t.Parallel()
	one := several()
	one.VMs = one.VMs[:1]
	for _, tt := range []struct {
		file string
		plan *plan.Plan
		ask  Ask
	}{
		{"list.txt", several(), Ask{Next: true}},
		{"saved.txt", several(), Ask{Next: true, Saved: "plan.yaml"}},
		{"one.txt", one, Ask{Next: true}},
		{"named.txt", several(), Ask{Named: true}},
		{"full.txt", several(), Ask{Full: true}},
	} {
		var got bytes.Buffer
		if err := Plan(&got, Form{Complete: flagged}, ViewOf(tt.plan, tt.ask)); err != nil {
			t.Fatal(err)
		}
		golden(t, tt.file, got.String())
		if c := regexp.MustCompile(`[^\P{C}\n]`).FindString(got.String()); c != "" {
			t.Errorf("%s: a control character, %q, is in the text", tt.file, c)
		}
	}
}

// TestPlanOfAllBlocks: that all is copied is said where else what is used is.
func TestPlanOfAllBlocks(t *testing.T) {
	t.Parallel()
	p := several()
	for i := range p.VMs {
		p.VMs[i].AllBlocks = true
	}
	var got bytes.Buffer
	if err := Plan(&got, Form{}, ViewOf(p, Ask{Named: true})); err != nil {
		t.Fatal(err)
	}
	if all := "all blocks are copied, also what nothing needs (--all-blocks)"; !strings.Contains(strings.Join(strings.Fields(got.String()), " "), "used "+all) {
		t.Errorf("want %q in:\n%s", all, got.String())
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	name := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestPlanShows names what must be in those texts, and what must not, whatever
// their golden files are updated to.
func TestPlanShows(t *testing.T) {
	t.Parallel()
	for file, tt := range map[string]struct{ want, not []string }{
		"list.txt": {
			[]string{"1 ready, 1 needs attention, 2 blocked", "power.on (old 1, old 2): it runs do: shut it down", "esxodus plan --esxi x 2", "esxodus convert web", "esxodus batch plan.yaml", "WARNING network.file: eno1: no file"},
			[]string{"step 1", "edit /etc", "nics[", "install it"},
		},
		"named.txt": {
			[]string{"step 2 define the persistent domain web", "edit /etc/lilo.conf", "BLOCKER disk.rdm (scsi0:0): a mapping of lun ff", "nics[ethernet0].model vmxnet3 -> virtio", "NOTE guest.agent", "touches what follows from these changes"},
			[]string{"nics[ethernet0].key", ".files[", "cpu.count", "touches /", "Kind=vlan"},
		},
		"full.txt": {[]string{"nics[ethernet0].key 4000", ".files[[datastore1] a [b]/c.vmdk].type", "mapped cpu.count 2", "touches /", "Kind=vlan", "part scsi0:0:2 ext4"}, []string{"--full"}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, s := range tt.want {
			if !strings.Contains(flat, s) {
				t.Errorf("%s has no %q", file, s)
			}
		}
		for _, s := range tt.not {
			if strings.Contains(flat, s) {
				t.Errorf("%s has %q", file, s)
			}
		}
	}
}
