package inspect

import (
	"path"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"

	"github.com/google/go-cmp/cmp"
)

func TestParseTools(t *testing.T) {
	got := conf.ParseTools([]byte(strings.Join([]string{
		"answer BINDIR /usr/bin",
		"file /a 17", "file /a b 17", "file /no time", "file /twice 1", "file /twice 2",
		"file /gone 1", "remove_file /gone", "file /edited 1", "config /edited", "modified /edited", "modified /never",
		"file /back 1", "modified /back", "remove_file /back", "file /back 3",
		"file relative 1", "file /odd/../path 1", "file / 1", "file  1", "file", "", "file /huge 99999999999999999999",
		"directory /d", "directory /e f", "directory /gone", "remove_directory /gone", "directory /etc/",
		"file /last 5",
	}, "\n")))
	want := conf.ToolsFiles{
		Files: map[string]int64{"/a": 17, "/a b": 17, "/no time": 0, "/twice": 2, "/edited": conf.Edited, "/back": 3, "/huge 99999999999999999999": 0, "/last": 5},
		Dirs:  map[string]bool{"/d": true, "/e f": true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(conf.ToolsFiles{})); diff != "" {
		t.Errorf("parseTools (-want +got):\n%s", diff)
	}
}

func FuzzParseTools(f *testing.F) {
	f.Add([]byte("directory /etc/vmware-tools\nfile /etc/vmware-tools/locations\nfile /usr/bin/vmtoolsd 1400000000\nmodified /usr/bin/vmtoolsd\nremove_file /x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := conf.ParseTools(b)
		for name, when := range r.Files {
			if !path.IsAbs(name) || path.Clean(name) != name || when < conf.Edited {
				t.Errorf("file %q of %d", name, when)
			}
		}
	})
}

// TestTools removes what the installer's record names, and nothing that isn't
// VMware's beyond doubt.
func TestTools(t *testing.T) {
	files := map[string]string{
		"usr/lib/vmware-tools/bin/a": "x", "usr/lib/vmware-tools/bin/b.LINK": "a",
		"etc/vmware-tools/tools.conf": "mine", "etc/vmware-tools/statechange.subr": "x",
		"etc/init.d/vmware-tools": "x", "etc/rc2.d/S20vmware-tools.LINK": "../init.d/vmware-tools", "etc/rc2.d/S20vmwarex.LINK": "../init.d/x",
		"etc/rc.d/rc3.d/K01vmware-tools.LINK":                  "../init.d/vmware-tools",
		"etc/systemd/system/x.wants/vmware-tools.service.LINK": "/etc/systemd/system/vmware-tools.service", "etc/systemd/system/vmware-tools.service": "x",
		"usr/share/doc/vmware-tools/README": "x", "usr/share/doc/vmware-tools/own": "not in the record",
		"etc/real/99-vmware.rules": "x", "etc/rules.LINK": "real", "bin/bash": "x", "etc/X11/xorg.conf": "x", "etc/X11/vmware.old": "x",
		"lib/modules/6.1/misc/vmware.ko": "x", "srv/vmware/vm.vmdk": "a user's", "usr/lib/vmware-linked.LINK": "/srv/vmware",
	}
	record := []string{
		"directory /etc/vmware-tools", "directory /usr/lib/vmware-tools", "directory /usr/lib/vmware-tools/bin", "directory /usr/share/doc/vmware-tools", "directory /etc/X11",
		"directory /usr/lib/vmware-linked",
		"file /etc/vmware-tools/locations", "file /etc/vmware-tools/tools.conf 5", "file /etc/vmware-tools/statechange.subr",
		"file /usr/lib/vmware-tools/bin/a", "file /usr/lib/vmware-tools/bin/b 5", "file /etc/init.d/vmware-tools", "file /usr/share/doc/vmware-tools/README",
		"file /etc/rules/99-vmware.rules", "file /bin/bash", "file /etc/X11/xorg.conf", "file /lib/modules/6.1/misc/vmware.ko", "file /usr/lib/vmware-gone",
		"file /usr/lib/vmware-tools", "file /etc/X11/vmware.old", "modified /etc/X11/vmware.old",
	}
	files[toolsRecord] = strings.Join(record, "\n") + "\n"
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, debianDisk(t, files))}})
	if err != nil {
		t.Fatal(err)
	}
	want := guest.Tools{
		Goes: []string{
			"/etc/init.d/vmware-tools", "/etc/rc.d/rc3.d/K01vmware-tools", "/etc/rc2.d/S20vmware-tools", "/etc/real/99-vmware.rules",
			"/etc/systemd/system/vmware-tools.service", "/etc/systemd/system/x.wants/vmware-tools.service",
			"/etc/vmware-tools/locations", "/etc/vmware-tools/statechange.subr", "/usr/lib/vmware-tools/", "/usr/share/doc/vmware-tools/README",
		},
		Stays: []string{"/etc/X11/vmware.old", "/etc/X11/xorg.conf", "/etc/vmware-tools/tools.conf", "/usr/bin/bash"},
	}
	if diff := cmp.Diff(want, g.Config.Tools); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
}
