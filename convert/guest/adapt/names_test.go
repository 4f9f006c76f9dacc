package adapt

import (
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestOwnNames: a guest whose configuration still has ens192 in it, but which has
// ways of its own to name its NICs, has those names here, too. A .link file of
// ours would be the first to match and take them away.
func TestOwnNames(t *testing.T) {
	const mac = "00:50:56:AB:CD:01" // ens192's
	for _, tt := range []struct {
		name, file, text string
		named            bool // it is called ens192 by us
	}{
		{"nothing", "", "", true},
		{"no such names at all", "boot/grub/grub.cfg", "menuentry 'Debian' {\n linux /boot/vmlinuz-6.1.0-18-amd64 root=UUID=00000000-1111-4222-8333-444444444444 ro net.ifnames=0\n}\n", false},
		{"systemd's file hidden", "etc/systemd/network/99-default.link.LINK", "/dev/null", false},
		{"systemd's file emptied", "etc/systemd/network/99-default.link", "", false},
		{"udev's rule hidden", "etc/udev/rules.d/80-net-setup-link.rules.LINK", "/dev/null", false},
		{"a rule of its own", "etc/udev/rules.d/70-persistent-net.rules", `SUBSYSTEM=="net", ATTR{address}=="` + mac + `", NAME="eth0"` + "\n", false},
		{"a link file", "etc/systemd/network/10-lan.link", "[Match]\nMACAddress=" + mac + "\n[Link]\nName=lan0\n", false},
		{"a link file that names nothing", "etc/systemd/network/50-jumbo.link", "[Match]\nPermanentMACAddress=" + mac + "\n[Link]\nMTUBytes=9000\n", false},
		{"a link file for all", "etc/systemd/network/10-all.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=mac\n", false},
		{"netplan", "etc/netplan/50-cloud-init.yaml", "network:\n  ethernets:\n    lan:\n      match: {macaddress: '" + mac + "'}\n      set-name: lan0\n", false},
		{"a file of RHEL's", "etc/sysconfig/network-scripts/ifcfg-lan0", "DEVICE=lan0\nHWADDR=" + mac + "\n", false},
		{"a link file of another NIC", "etc/systemd/network/10-lan.link", "[Match]\nMACAddress=00:50:56:00:00:99\n[Link]\nName=lan0\n", true},
		{"a link file for USB", "etc/systemd/network/10-usb.link", "[Match]\nPath=*-usb-*\n[Link]\nNamePolicy=mac\n", true},
		{"a name without an address", "etc/udev/rules.d/99-net.rules", `ATTR{address}=="` + mac + `", RUN+="/bin/true"` + "\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := archive(t, "keep-debian.txtar")
			a.Files = append(a.Files, txtar.File{Name: "tree/" + tt.file, Data: []byte(tt.text)})
			if tt.file == "" {
				a.Files = a.Files[:len(a.Files)-1]
			}
			c, _, concerns := New(input(t, a))
			if c.Changes() != tt.named || len(concerns) > 0 {
				t.Errorf("New = %+v, %+v; want changes: %v", c, concerns, tt.named)
			}
		})
	}
}
