package adapt

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// TestOwnNames: a guest whose configuration still has ens192 in it, but which has
// ways of its own to name its NICs, has those names here, too. A .link file of
// ours would be the first to match and take them away.
func TestOwnNames(t *testing.T) {
	const mac, lower = "00:50:56:AB:CD:01", "00:50:56:ab:cd:01" // ens192's; ens224 is another's
	for _, tt := range []struct {
		name, file, text string
		pinned           string // the names that files of ours keep
	}{
		{"nothing", "", "", "ens192 ens224"},
		{"no such names at all", "boot/grub/grub.cfg", "menuentry 'Debian' {\n linux /boot/vmlinuz-6.1.0-18-amd64 root=UUID=00000000-1111-4222-8333-444444444444 ro net.ifnames=0\n}\n", ""},
		{"no such names by systemd-boot", "etc/kernel/cmdline", "root=UUID=1 net.ifnames=0 quiet\n", ""},
		{"systemd's file hidden", "etc/systemd/network/99-default.link.LINK", "/dev/null", ""},
		{"systemd's file emptied", "etc/systemd/network/99-default.link", "", ""},
		{"udev's rule hidden", "etc/udev/rules.d/80-net-setup-link.rules.LINK", "/dev/null", ""},
		{"a rule of its own", "etc/udev/rules.d/70-persistent-net.rules", `SUBSYSTEM=="net", ATTR{address}=="` + lower + `", NAME="eth0"` + "\n", "ens224"},
		{"a rule that never matches", "etc/udev/rules.d/70-persistent-net.rules", `SUBSYSTEM=="net", ATTR{address}=="` + mac + `", NAME="eth0"` + "\n", "ens192 ens224"},
		{"a rule by VMware's driver", "etc/udev/rules.d/70-net.rules", `SUBSYSTEM=="net", DRIVERS=="vmxnet3", ATTR{address}=="` + lower + `", NAME="lan0"` + "\n", "lan0 ens224"},
		{"a link file", "etc/systemd/network/10-lan.link", "[Match]\nMACAddress=" + mac + "\n[Link]\nName=lan0\n", "ens224"},
		{"a link file that names nothing", "etc/systemd/network/50-jumbo.link", "[Match]\nPermanentMACAddress=" + mac + "\n[Link]\nMTUBytes=9000\n", "ens224"},
		{"a link file for all", "etc/systemd/network/10-all.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=mac\n", ""},
		{"netplan", "etc/netplan/50-cloud-init.yaml", "network:\n  ethernets:\n    lan:\n      match: {macaddress: '" + mac + "'}\n      set-name: lan0\n", "ens224"},
		{"a file of RHEL's, whose programs are there", "etc/sysconfig/network-scripts/ifcfg-lan0", "DEVICE=lan0\nHWADDR=" + mac + "\n", "lan0 ens224"},
		{"a link file of another NIC", "etc/systemd/network/10-lan.link", "[Match]\nMACAddress=00:50:56:00:00:98\n[Link]\nName=lan0\n", "ens192 ens224"},
		{"a link file for USB", "etc/systemd/network/10-usb.link", "[Match]\nPath=*-usb-*\n[Link]\nNamePolicy=mac\n", "ens192 ens224"},
		{"a link file for VMware's driver", "etc/systemd/network/10-lan.link", "[Match]\nDriver=vmxnet3\nMACAddress=" + mac + "\n[Link]\nName=lan0\n", "lan0 ens224"},
		{"a link file for a place", "etc/systemd/network/10-lan.link", "[Match]\nPath=pci-0000:0b:00.0\n[Link]\nName=lan0\n", "lan0 ens224"},
		{"a name without an address", "etc/udev/rules.d/99-net.rules", `ATTR{address}=="` + lower + `", RUN+="/bin/true"` + "\n", "ens192 ens224"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := archive(t, "keep-debian.txtar")
			a.Files = append(a.Files, txtar.File{Name: "tree/" + tt.file, Data: []byte(tt.text)})
			if tt.file == "" {
				a.Files = a.Files[:len(a.Files)-1]
			}
			in := input(t, a)
			c, _, concerns := New(in)
			var pinned []string
			for _, e := range c.Edits {
				if _, name, ok := strings.Cut(strings.TrimSpace(e.New), "\nName="); ok {
					pinned = append(pinned, name)
				}
			}
			if got := strings.Join(pinned, " "); got != tt.pinned || ledger.Blocked(concerns) {
				t.Errorf("names that are kept: %s; want %s (%+v)", got, tt.pinned, in.NICs)
			}
		})
	}
}

// TestLinkOrder: a .link file of ours comes before every other that may be for the
// NIC, and says what that said besides.
func TestLinkOrder(t *testing.T) {
	for _, tt := range []struct{ file, text, path, keys string }{
		{"10-default.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database onboard slot path\nMACAddressPolicy=none\nMTUBytes=9000\n", "00-esxodus-ens192.link", "MACAddressPolicy=none\nMTUBytes=9000\n"},
		{"00-first.link", "[Match]\nType=ether\n[Link]\nNamePolicy=slot\nWakeOnLan=magic\n", "00-esxodus-ens192.link", "WakeOnLan=magic\n"},
		{"00-a.link", "[Match]\nDriver=vmxnet3\n[Link]\nNamePolicy=slot\nRxBufferSize=4096\n", "0-esxodus-ens192.link", "RxBufferSize=4096\n"},
		{"0-a.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=slot\n", "+esxodus-ens192.link", ""},
		{"!a.link", "[Match]\nOriginalName=*\n[Link]\nNamePolicy=slot\n", "+esxodus-ens192.link", ""},
		{"05-other.link", "[Match]\nMACAddress=00:50:56:00:00:98\n[Link]\nName=lan0\n", "10-esxodus-ens192.link", ""},
		{"05-wlan.link", "[Match]\nType=wlan\n[Link]\nName=lan0\nMTUBytes=1400\n", "10-esxodus-ens192.link", ""},
		{"05-here.link", "[Match]\nHost=web\n[Link]\nMTUBytes=1400\n", "00-esxodus-ens192.link", ""},
		{"10-default.link.LINK", "/dev/null", "10-esxodus-ens192.link", ""},
	} {
		t.Run(tt.file, func(t *testing.T) {
			a := archive(t, "keep-debian.txtar")
			a.Files = append(a.Files, txtar.File{Name: "tree/etc/systemd/network/" + tt.file, Data: []byte(tt.text)})
			in := input(t, a)
			pins := Pins(in.Guest, in.NICs)
			if len(pins) != 2 {
				t.Fatalf("pins = %+v of %+v; want two", pins, in.NICs)
			}
			_, rest, _ := strings.Cut(pins[0].Edit.New, "Name=ens192\n")
			if _, after, ok := strings.Cut(rest, "until now:\n"); ok {
				rest = after
			}
			if beaten := pins[0].Beaten != ""; beaten != (tt.file == "!a.link") {
				t.Errorf("beaten by %q", pins[0].Beaten)
			}
			if got := pins[0].Edit.Path; got != networkDir+"/"+tt.path || rest != tt.keys {
				t.Errorf("%s ends with %q; want %s with %q", got, rest, tt.path, tt.keys)
			}
		})
	}
}

// TestLostNICs is N8: a file that finds a NIC by its place is changed, one that can't
// be is told of, and so is one of a guest that is left as it is.
func TestLostNICs(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		edited, told     bool
	}{
		{"a place", "etc/systemd/network/10-lan.network", "[Match]\nPath=pci-0000:0b:00.0\n[Network]\nAddress=192.0.2.10/24\n", true, false},
		{"a driver", "etc/systemd/network/10-lan.network", "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n", true, false},
		{"with an address", "etc/systemd/network/10-lan.network", "[Match]\nDriver=vmxnet3\nMACAddress=00:50:56:ab:cd:01\n", true, false},
		{"on VMware alone", "etc/systemd/network/10-lan.network", "[Match]\nName=ens192\nVirtualization=vmware\n[Network]\nDHCP=yes\n", true, false},
		{"on any machine", "etc/systemd/network/10-lan.network", "[Match]\nName=ens192\nVirtualization=vm\n[Network]\nDHCP=yes\n", false, false},
		{"another place", "etc/systemd/network/10-lan.network", "[Match]\nPath=pci-0000:02:03.0\n", false, false},
		{"any place", "etc/systemd/network/10-lan.network", "[Match]\nPath=*pci-*\n", false, false},
	} {
		a := archive(t, "keep-debian.txtar")
		add(a, "tree/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "")
		add(a, "tree/"+tt.file, tt.text)
		in := input(t, a)
		c, _, concerns := New(in)
		edited := slices.ContainsFunc(c.Edits, func(e guest.Edit) bool {
			return e.Path == "/"+tt.file && strings.Contains(e.New, "MACAddress=00:50:56:ab:cd:01")
		})
		told := func(cs []ledger.Concern) bool {
			return slices.ContainsFunc(cs, func(c ledger.Concern) bool { return c.ID == ConcernNIC && c.Subject == "/"+tt.file })
		}
		if edited != tt.edited || told(concerns) != tt.told {
			t.Errorf("%s: edited %v, told %v; want %v, %v", tt.name, edited, told(concerns), tt.edited, tt.told)
		}
		if got := told(LostNICs(in.Guest, in.NICs)); got != (tt.edited || tt.told) {
			t.Errorf("%s: left as it is: told %v", tt.name, got)
		}
	}
}

// TestNewAddress: each way in which a file may find its NIC is given the address.
func TestNewAddress(t *testing.T) {
	const networkd, manager = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "etc/systemd/system/multi-user.target.wants/NetworkManager.service"
	for _, tt := range []struct{ program, file, text, want string }{
		{networkd, "etc/systemd/network/a.network", "[Match]\nMACAddress=00-50-56-AB-CD-01\n[Network]\nAddress=10.0.0.9/8\n", "Address=192.0.2.20/24"},
		{networkd, "etc/systemd/network/a.network", "[Match]\nName=en*\n[Network]\nDHCP=yes\n", "Address=192.0.2.20/24"},
		{networkd, "etc/systemd/network/a.network", "[Match]\nPath=pci-0000:0b:00.0\n[Network]\nAddress=10.0.0.9/8\n", "MACAddress=00:50:56:ab:cd:01"},
		{manager, "etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\n[ethernet]\nmac-address=00:50:56:AB:CD:01\n[ipv4]\nmethod=auto\n", "address1=192.0.2.20/24"},
		{"usr/sbin/netplan", "etc/netplan/a.yaml", "network: {ethernets: {lan: {match: {macaddress: '00:50:56:AB:CD:01'}, dhcp4: true}}}\n", "192.0.2.20/24"},
	} {
		a := archive(t, "keep-debian.txtar")
		a.Files = append(a.Files, txtar.File{Name: "tree/" + tt.program, Data: []byte("x")}, txtar.File{Name: "tree/usr/sbin/NetworkManager", Data: []byte("x")}, txtar.File{Name: "tree/" + tt.file, Data: []byte(tt.text)})
		in := input(t, a)
		in.Addresses = []guest.NewAddress{{Prefix: netip.MustParsePrefix("192.0.2.20/24")}}
		c, _, concerns := New(in)
		var last string // edits of one file come one after the other
		for _, e := range c.Edits {
			if e.Path == "/"+tt.file {
				last = e.New
			}
		}
		if !strings.Contains(last, tt.want) || !strings.Contains(last, "192.0.2.20/24") || ledger.Blocked(concerns) {
			t.Errorf("%s: the file becomes\n%s\nwant %s in it (%+v)", tt.text, last, tt.want, concerns)
		}
	}
}

// TestRuleFile: a udev from before .link files gets a rule, in the initrd too, where
// rules are.
func TestRuleFile(t *testing.T) {
	in := input(t, archive(t, "keep-debian.txtar"))
	in.Guest.Config.Naming = guest.Naming{}
	in.NICs = []guest.NIC{{MAC: "00:50:56:ab:cd:01", Name: "lan0"}}
	c, _, _ := New(in)
	if len(c.Edits) != 1 || c.Edits[0].Path != "/etc/udev/rules.d/71-esxodus-lan0.rules" || !strings.Contains(c.Edits[0].New, `ATTR{address}=="00:50:56:ab:cd:01"`) {
		t.Errorf("edits %+v; want a rule", c.Edits)
	}
	for _, o := range c.Overlays {
		if len(o.Texts) != 1 || o.Texts[0].Path != "/lib/udev/rules.d/71-esxodus-lan0.rules" {
			t.Errorf("%s gets %+v; want the rule", o.Initrd, o.Texts)
		}
	}
	if len(c.Overlays) == 0 {
		t.Error("no initrd gets the rule")
	}
}
