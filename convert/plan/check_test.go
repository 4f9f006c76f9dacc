package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/inventory"
)

// debianPlan is a plan of a Debian that is laid out anew, of a VM of two disks.
func debianPlan(t *testing.T) *plan.Plan {
	t.Helper()
	w := converttest.New(t)
	vm := &w.Host.VMs[0]
	facts := plan.Facts{
		Host: &w.Host, Guests: map[string]guest.Guest{vm.ID: plantest.Debian(vm)}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}},
		Storage: volume.Facts{Free: 1 << 40},
	}
	p := converttest.Planned(t, facts, w.Options())
	if p.VMs[0].Layout.Kind != layout.LVM || len(p.Blockers(0)) > 0 {
		t.Fatalf("layout %s, blockers %+v; want lvm and none", p.VMs[0].Layout.Kind, p.Blockers(0))
	}
	return p
}

// readAgain reads a plan back as a file's.
func readAgain(t *testing.T, p *plan.Plan) *plan.Plan {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out plan.Plan
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// TestCheckTakes: what the planner makes passes, and so do the edits that a plan allows.
func TestCheckTakes(t *testing.T) {
	t.Parallel()
	base := map[string]func(*testing.T) *plan.Plan{
		"kept":   func(t *testing.T) *plan.Plan { t.Helper(); return converttest.New(t).Plan() },
		"debian": debianPlan,
		"running": func(t *testing.T) *plan.Plan {
			t.Helper()
			w := converttest.New(t)
			w.Host.VMs[0].Power = inventory.PoweredOn
			o := w.Options()
			o.Shutdown, o.NoProof = "auto", true
			draft, err := survey.Gather(t.Context(), w.Sources(), plan.Source{}, o)
			if err != nil {
				t.Fatal(err)
			}
			return draft.Finish()
		},
	}
	xml := func(old, text string) func(*plan.Plan) {
		return func(p *plan.Plan) {
			d := &p.VMs[0].Domain
			if !strings.Contains(d.XML, old) {
				panic(old + " is not in " + d.XML)
			}
			d.XML = strings.Replace(d.XML, old, text, 1)
		}
	}
	edits := map[string]func(*plan.Plan){
		"nothing":   func(*plan.Plan) {},
		"autostart": func(p *plan.Plan) { p.VMs[0].Domain.AutoStart = true },
		"a volume of another name": func(p *plan.Plan) {
			v := &p.VMs[0].Disks[0].Volume
			old := v.Path
			v.Path += "-2"
			xml(old, v.Path)(p)
		},
		"a larger volume": func(p *plan.Plan) { p.VMs[0].Disks[1].Volume.Size += 1 << 20 },
		"a drive with a medium": xml("<devices>",
			"<devices><disk type='file' device='cdrom'><source file='/iso/virtio-win.iso'/><target dev='sdz' bus='sata'/><readonly/></disk>"),
		"other memory":     xml("</devices>", "<memballoon model='none'/></devices>"),
		"the steps' texts": func(p *plan.Plan) { p.VMs[0].Steps[0].Text = "look" },
		"a blocked VM's mud": func(p *plan.Plan) {
			p.VMs = append(p.VMs, plan.VMPlan{Name: "web", Concerns: []ledger.Concern{{Severity: ledger.Blocker}}})
		},
	}
	for kind, plan := range base {
		for name, edit := range edits {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				p := readAgain(t, plan(t))
				edit(p)
				if err := p.Check(); err != nil {
					t.Errorf("Check = %v, want nil", err)
				}
			})
		}
	}
}

// TestCheckRefuses: whatever is missing from a plan, or doesn't belong there, is
// found before anything is done, and named.
func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	step := func(v *plan.VMPlan, k plan.Kind) int {
		return slices.IndexFunc(v.Steps, func(s plan.Step) bool { return s.Kind == k })
	}
	without := func(kinds ...plan.Kind) func(*plan.VMPlan) {
		return func(v *plan.VMPlan) {
			v.Steps = slices.DeleteFunc(v.Steps, func(s plan.Step) bool { return slices.Contains(kinds, s.Kind) })
		}
	}
	disks := func(old, text string) func(*plan.VMPlan) {
		return func(v *plan.VMPlan) {
			if !strings.Contains(v.Domain.XML, old) {
				panic(old + " is not in " + v.Domain.XML)
			}
			v.Domain.XML = strings.Replace(v.Domain.XML, old, text, 1)
		}
	}
	const more = "<devices><disk type='file'><driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/other'/><target dev='vdz'/></disk>"
	tests := []struct {
		name   string
		change func(*plan.VMPlan)
		want   string
	}{
		{"no steps", func(v *plan.VMPlan) { v.Steps = []plan.Step{} }, "steps: 0, but the plan needs recheck next"},
		{"all blocks, and a step that leaves some out", func(v *plan.VMPlan) { v.AllBlocks = true }, "unused, but the plan needs"},
		{"what nothing needs found twice", func(v *plan.VMPlan) {
			i := step(v, plan.StepUnused)
			v.Steps = slices.Insert(v.Steps, i, v.Steps[i])
		}, "unused, but the plan needs"},
		{"what nothing needs found after the copy", func(v *plan.VMPlan) {
			i, c := step(v, plan.StepUnused), step(v, plan.StepCopy)
			v.Steps[i], v.Steps[c] = v.Steps[c], v.Steps[i]
		}, "but the plan needs unused"},
		{"no copy", without(plan.StepCopy), "recheck, but the plan needs copy scsi0:0"},
		{"no verify", without(plan.StepVerify), "but the plan needs verify scsi0:0"},
		{"no recheck", without(plan.StepRecheck), "create scsi0:0, but the plan needs recheck"},
		{"no proof", without(plan.StepProve), "the plan needs prove next"},
		{"no template", without(plan.StepTemplate), "copy scsi0:0, but the plan needs template"},
		{"no conversion's steps", without(plan.StepGuest, plan.StepMerge), "define, but the plan needs guest"},
		{"one copy of two", func(v *plan.VMPlan) { i := step(v, plan.StepCopy); v.Steps = slices.Delete(v.Steps, i, i+1) }, "copy scsi0:1, but the plan needs copy scsi0:0"},
		{"a copy twice", func(v *plan.VMPlan) { i := step(v, plan.StepCopy); v.Steps[i+1].Disk = "scsi0:0" }, "copy scsi0:0, but the plan needs copy scsi0:1"},
		{"a step twice", func(v *plan.VMPlan) { v.Steps = append(v.Steps, v.Steps[len(v.Steps)-1]) }, "prove is one too many"},
		{"another order", func(v *plan.VMPlan) { slices.Reverse(v.Steps) }, "steps[0]: prove, but the plan needs recheck"},
		{"a shutdown of what is off", func(v *plan.VMPlan) {
			v.Steps = slices.Insert(v.Steps, 0, plan.Step{Kind: plan.StepShutdown, Via: "ssh"})
		}, "shutdown ssh, but"},
		{"a road that is none", func(v *plan.VMPlan) {
			v.Steps = slices.Insert(v.Steps, 0, plan.Step{Kind: plan.StepShutdown, Via: "pigeon"})
		}, `unknown way "pigeon"`},
		{"a step of no disk's", func(v *plan.VMPlan) { v.Steps[1].Disk = "scsi7:7" }, `no disk "scsi7:7"`},

		{"a disk that only the XML has", func(v *plan.VMPlan) { v.Disks = v.Disks[:1] }, "disks: 1, but the source has 2"},
		{"a disk less everywhere but in the XML", func(v *plan.VMPlan) {
			v.Disks, v.Source.Disks, v.Layout.Disks = v.Disks[:1], v.Source.Disks[:1], v.Layout.Disks[:1]
			v.Sizes.Provisioned, v.Sizes.Allocated = v.Disks[0].Size, v.Source.Disks[0].Allocated()
			v.Steps = slices.DeleteFunc(v.Steps, func(s plan.Step) bool { return s.Disk == "scsi0:1" })
		}, "which is not a volume of this plan"},
		{"a disk twice", func(v *plan.VMPlan) { v.Disks[1] = v.Disks[0] }, "the source's disk there is scsi0:1"},
		{"another disk's content", func(v *plan.VMPlan) { v.Disks[1].Path = v.Disks[0].Path }, "the source's disk there is scsi0:1"},
		{"a smaller disk", func(v *plan.VMPlan) { v.Disks[1].Size = 512 }, "512 bytes: the source's disk there"},
		{"a disk of no size", func(v *plan.VMPlan) { v.Disks[1].Size, v.Source.Disks[1].Capacity = 0, 0 }, "a size of 0 bytes"},
		{"a disk of a negative size", func(v *plan.VMPlan) { v.Disks[1].Size, v.Source.Disks[1].Capacity = -512, -512 }, "a size of -512 bytes"},
		{"a huge volume", func(v *plan.VMPlan) { v.Disks[1].Volume.Size = 1 << 62 }, "on a volume of"},
		{"an address that leads out", func(v *plan.VMPlan) {
			v.Source.Disks[1].Class = "../../../tmp/x"
			v.Disks[1].Address = v.Source.Disks[1].Address()
		}, "not a disk's address"},
		{"a volume with a newline", func(v *plan.VMPlan) { v.Disks[0].Volume.Path += "\nx" }, "control character"},
		{"a volume that leads out", func(v *plan.VMPlan) { v.Disks[0].Volume.Path += "/../../x" }, "not in dir:"},
		{"a volume of another storage", func(v *plan.VMPlan) {
			v.Disks[0].Volume = volume.Volume{Kind: volume.KindLVM, VG: "vg0", LV: "root", Path: "/dev/vg0/root", Size: v.Disks[0].Volume.Size}
		}, "not in dir:"},
		{"two disks on one volume", func(v *plan.VMPlan) { v.Disks[1].Volume = v.Disks[0].Volume }, "is used twice"},

		{"no ranges", func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges = []layout.Range{} }, "layout of scsi0:0: "},
		{"no ranges of a kept disk", func(v *plan.VMPlan) { v.Layout.Disks[1].Ranges = nil }, "layout of scsi0:1: ranges: []"},
		{"half a kept disk", func(v *plan.VMPlan) { v.Layout.Disks[1].Ranges[0].Length /= 2 }, "but a disk that is kept has one range of all its"},
		{"a kept disk that grows", func(v *plan.VMPlan) {
			v.Layout.Disks[1].Grown, v.Layout.Disks[1].Size = -512, v.Layout.Disks[1].Size-512
		}, "is not inside"},
		{"ranges that overlap", func(v *plan.VMPlan) { r := &v.Layout.Disks[0].Ranges; *r = append(*r, (*r)[0]) }, "after the range before it"},
		{"a range of a huge length", func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges[0].Length = 1<<63 - 1 }, "is not inside"},
		{"a range from before the disk", func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges[0].Source = -512 }, "is not inside"},
		{"another place of the source", func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges[0].Source = 0 }, "have no place"},
		{"half a file system", func(v *plan.VMPlan) { v.Layout.Disks[0].Ranges[0].Length /= 2 }, "have no place"},
		{"a range more", func(v *plan.VMPlan) {
			r := &v.Layout.Disks[0].Ranges
			*r = append(*r, layout.Range{Target: v.Layout.Disks[0].Size - 512, Length: 512})
		}, "belongs to no volume"},
		{"no moves", func(v *plan.VMPlan) { v.Layout.Moves = nil }, "moves: none for partition 1, ext4"},
		{"no volume group", func(v *plan.VMPlan) { v.Layout.Groups = nil }, "a physical volume of 0 groups"},
		{"a disk in two groups", func(v *plan.VMPlan) { v.Layout.Groups = append(v.Layout.Groups, v.Layout.Groups[0]) }, "a physical volume of 2 groups"},
		{"a volume that no range fills", func(v *plan.VMPlan) {
			g := &v.Layout.Groups[0]
			g.Volumes = append(g.Volumes, layout.Volume{Name: "more", New: true, Segments: []layout.Segment{{PV: g.PVs[0].UUID, PE: 1, Count: 1}}})
		}, "none for the extents"},
		{"no head", func(v *plan.VMPlan) { v.Layout.Disks[0].Head = 0 }, "doesn't fit"},
		{"extents of no size", func(v *plan.VMPlan) { v.Layout.Groups[0].ExtentSize = 0 }, "doesn't fit"},
		{"a layout that nobody knows", func(v *plan.VMPlan) { v.Layout.Kind, v.Layout.Disks[0].Kind = "raid", "raid" }, `unknown kind "raid"`},
		{"a layout less", func(v *plan.VMPlan) { v.Layout.Disks = v.Layout.Disks[:1] }, "layout.disks: 1 of them, for 2 disks"},
		{"a layout of another disk", func(v *plan.VMPlan) { slices.Reverse(v.Layout.Disks) }, "in the order of the disks"},

		{"no conversion", func(v *plan.VMPlan) { v.Conversion = nil }, "conversion: missing"},
		{"packages that are gone", func(v *plan.VMPlan) { v.Conversion.Install = []string{"lvm2"} }, "conversion.install has lvm2"},
		{"other sums", func(v *plan.VMPlan) { v.Sizes.Provisioned-- }, "sizes: "},
		{"too little on the target", func(v *plan.VMPlan) { v.Sizes.Target = -1 }, "sizes: "},

		{"a foreign disk in the XML", disks("<devices>", more), "which is not a volume of this plan"},
		{"a volume twice in the XML", func(v *plan.VMPlan) {
			disks("<devices>", strings.Replace(more, "/var/lib/libvirt/images/other", v.Disks[0].Volume.Path, 1))(v)
		}, "is used twice"},
		{"a volume less in the XML", func(v *plan.VMPlan) {
			at := strings.Index(v.Domain.XML, "<disk ")
			v.Domain.XML = v.Domain.XML[:at] + v.Domain.XML[at+strings.Index(v.Domain.XML[at:], "</disk>")+len("</disk>"):]
		}, "domain.xml does not use the volume"},
		{"a volume as qcow2", disks(`type="raw"`, `type="qcow2"`), "type must be raw"},
		{"a volume of unknown format", disks(` type="raw"`, ""), "type must be raw"},
		{"a volume as a CD", disks(`device="disk"`, `device="cdrom"`), "is a disk's volume"},
		{"a volume as a LUN", disks(`device="disk"`, `device="lun"`), `device "lun"`},
		{"a file as a block device", func(v *plan.VMPlan) {
			disks(`<disk type="file"`, `<disk type="block"`)(v)
			disks(`<source file=`, `<source dev=`)(v)
		}, "source of type file"},
		{"a floppy to write on", disks("<devices>", "<devices><disk type='file' device='floppy'><source file='/etc/passwd'/><target dev='fda'/></disk>"), "must be <readonly/>"},
		{"a disk without a target", disks("<devices>", "<devices><disk type='file'><source file='/x'/></disk>"), "no target"},
		{"another UUID", func(v *plan.VMPlan) { v.Domain.UUID = "00000000-0000-0000-0000-000000000001" }, "they must be the same"},
		{"a boot map for another bus", func(v *plan.VMPlan) { v.Conversion.Loader = []string{"lilo", "--bus", "ata"} }, "conversion.loader says"},
		{"a boot map for a disk that is gone", func(v *plan.VMPlan) { v.Layout.Boot = nil }, "layout.boot is missing"},
		{"XML of another kind", func(v *plan.VMPlan) { v.Domain.XML = "<network/>" }, "domain.xml: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := readAgain(t, debianPlan(t))
			tt.change(&p.VMs[0])
			if err := p.Check(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "vms[0]") {
				t.Errorf("Check = %v; want %q of vms[0]", err, tt.want)
			}
		})
	}
}

// TestCheckOthers: a VM's disk isn't another's volume.
func TestCheckOthers(t *testing.T) {
	t.Parallel()
	p := converttest.New(t).Plan()
	second := readAgain(t, p).VMs[0]
	second.Name = "db"
	second.Domain.XML = strings.Replace(second.Domain.XML, "<name>web</name>", "<name>db</name>", 1)
	p.VMs = append(p.VMs, second)
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "vms[1] (db): disks[0] (scsi0:0): volume ") || !strings.Contains(err.Error(), "is web's") {
		t.Errorf("Check = %v; want the second VM's volume refused", err)
	}
}
