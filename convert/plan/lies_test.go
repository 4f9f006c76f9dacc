package plan

import (
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

// TestKeptLies: a plan file can't have a guest that keeps its layout treated as
// one that doesn't, nor changed where the appliance would not find it, or only
// after everything was copied.
func TestKeptLies(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  func(*VMPlan)
		want string
	}{
		{"another kind", func(v *VMPlan) { v.Layout.Kind = layout.LVM }, "layout.kind"},
		{"another kind, and a loader", func(v *VMPlan) {
			v.Layout.Kind, v.Conversion.Loader, v.Conversion.OwnLoader = layout.Plain, []string{"lilo"}, "lilo 24.2"
		}, "layout.kind"},
		{"no kind, and a package", func(v *VMPlan) { v.Layout.Kind, v.Conversion.Remove = "", []string{"grub-pc"} }, "layout.kind"},
		{"a kind that nobody knows", func(v *VMPlan) { v.Layout.Kind = "raid" }, "layout.kind"},
		{"groups", func(v *VMPlan) {
			v.Layout.Groups = []layout.Group{{Name: "vg", ExtentSize: 4 << 20, PVs: []layout.PV{{Disk: v.Disks[0].Address, UUID: "x"}}}}
		}, "layout.groups"},
		{"a boot map", func(v *VMPlan) { v.Layout.Boot = &layout.Boot{} }, "layout.boot"},
		{"an edit of no path", func(v *VMPlan) { v.Conversion.Edits[0].Path = "" }, "conversion: path"},
		{"an edit that leads out", func(v *VMPlan) { v.Conversion.Edits[0].Path = "/etc/../../x" }, "conversion: path"},
		{"an edit of another's", func(v *VMPlan) { v.Conversion.Edits[0].Path = "etc/fstab" }, "conversion: path"},
		{"an initrd that leads out", func(v *VMPlan) { v.Conversion.Overlays[0].Initrd = "/boot/../../x" }, "conversion: path"},
		{"a mount that leads out", func(v *VMPlan) {
			v.Conversion.Mounts = append(v.Conversion.Mounts, guest.Mount{Device: "disk:scsi0:1#1", At: "/../x"})
		}, "conversion: path"},
		{"a mount of no disk", func(v *VMPlan) { v.Conversion.Mounts[0].Device = "disk:scsi9:9#1" }, "conversion: device"},
		{"a check of no disk", func(v *VMPlan) { v.Conversion.Checks = []guest.Mount{{Device: "disk:../x#1", Content: "ext4"}} }, "conversion: device"},
		{"a mount of anything", func(v *VMPlan) { v.Conversion.Mounts[0].Device = "--help" }, "conversion: device"},
		{"an empty command", func(v *VMPlan) { v.Conversion.Commands = [][]string{{}} }, "conversion.commands[0]"},
	} {
		d := named(t, testOptions(t), "pvscsi", nil)
		d.Answer(func(Need) GuestFacts { return GuestFacts{} })
		p := d.Finish()
		tt.lie(&p.VMs[0])
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v; want %q", tt.name, err, tt.want)
		}
	}
}
