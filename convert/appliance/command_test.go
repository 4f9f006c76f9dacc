package appliance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/layout"
)

// TestCommandsFit holds that guestfish reads each command of a plan, however
// many files it is about and whatever their names are.
func TestCommandsFit(t *testing.T) {
	for name, path := range map[string]string{
		"short": "/etc/vmware-tools/%d", "long": "/usr/lib/vmware-tools/" + strings.Repeat("x", 200) + "/%d",
		"quoted": `/opt/vmware's "x" ` + strings.Repeat(`'\`, 50) + "\n/%d", "Latin": "/opt/vmware/" + strings.Repeat("é", 100) + "/%d",
	} {
		t.Run(name, func(t *testing.T) {
			var files []string
			g := guest.Guest{VMwareTools: true, Root: "scsi0:0", Config: guest.Config{
				Files: map[string]guest.File{
					"/etc/fstab": {Path: "/etc/fstab"}, "/etc/selinux/config": {Text: "SELINUX=enforcing\nSELINUXTYPE=targeted\n"},
				},
				Has:      map[string]bool{"/usr/sbin/setfiles": true},
				Packages: []guest.Package{{Name: "initramfs-tools"}, {Name: "lvm2"}},
			}}
			for i := range 300 {
				file := fmt.Sprintf(path, i)
				files = append(files, file)
				g.Initrds = append(g.Initrds, guest.Initrd{Kernel: "6.1", Path: file, Virtio: guest.Yes})
			}
			g.Config.Tools.Goes = files
			c, _, concerns := adapt.New(adapt.Input{Guest: g, Layout: layout.Layout{Kind: layout.LVM, Moves: []layout.Move{{Content: "ext4", Mount: "/", From: "scsi0:0", To: "vg/root"}}}})
			got := map[string][]string{}
			for _, argv := range c.Commands {
				if _, err := commandLine("sh", []string{commandScript(argv)}); err != nil {
					t.Errorf("%.40q and %d more: %v", argv[0], len(argv)-1, err)
				}
				for _, a := range argv {
					if slices.Contains(files, a) {
						got[argv[0]] = append(got[argv[0]], a)
					}
				}
			}
			for _, program := range []string{"rm", "setfiles"} {
				if !slices.Equal(got[program], files) {
					t.Errorf("%s gets %d files; want %d: %v", program, len(got[program]), len(files), concerns)
				}
			}
		})
	}
}
