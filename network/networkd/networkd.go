// Package networkd writes systemd-networkd's files as text: what a KVM host
// needs under the macvtap interfaces of its domains. It does no I/O.
//
// The files are small, one purpose each, and all have "esxodus" in their names,
// so that ls shows what is ours and deleting them is the way back:
//
//	10-esxodus-macvtap.network             leaves the domains' interfaces alone
//	20-esxodus-eno1.42.netdev              the VLAN device
//	20-esxodus-eno1.42.network             the VLAN device is up and has no address
//	lan.network.d/esxodus-eno1.42.conf     hangs the VLAN device on the uplink
//	zz-esxodus-eno1.network                optional: an uplink that nothing configures
//
// An uplink is never taken over. networkd applies the first file, by name,
// that matches a link, and ignores the rest, so a file of ours that matches an
// uplink can push the host's own aside, whatever number it begins with: then
// the host's addresses go, and its BGP sessions with them. So no file that
// must be there matches an uplink. A VLAN device is attached to its uplink by a VLAN=
// line in the file that is applied to the uplink; that line goes into a drop-in
// of that file, which is Uplink.File: the host's lan.network, or netplan's
// 10-netplan-eno1.network. Where it isn't known the drop-in is one of
// zz-esxodus-eno1.network, and has no effect until a person has decided for
// that file.
//
// Every name that gets into a file is checked by [CheckName]; everything else
// is a number or a quoted comment, so that no port group's name can smuggle in
// a line.
package networkd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Unit is one file under /etc/systemd/network.
type Unit struct {
	// Name is relative to that directory. That of a drop-in has one slash:
	// "lan.network.d/esxodus-eno1.42.conf".
	Name string `json:"name"`
	Text string `json:"text"`
}

// MaxName is the length of the longest name of an interface in bytes
// (IFNAMSIZ-1).
const MaxName = 15

// DefaultMTU is Ethernet's, in bytes: what every uplink can have.
const DefaultMTU = 1500

// CheckName says what is wrong with an interface's name. It allows less than
// the kernel: what networkd, libvirt and a shell all take literally.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("empty interface name")
	case len(name) > MaxName:
		return fmt.Errorf("interface name %q: %d bytes, the kernel allows %d", name, len(name), MaxName)
	case name == "." || name == ".." || name == "all" || name == "default":
		return fmt.Errorf("interface name %q has a special meaning", name)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("interface name %q: character %q isn't allowed", name, r)
		}
	}
	return nil
}

func (v VLAN) netdev() string {
	return comment("VLAN "+strconv.Itoa(v.ID), v.For) + fmt.Sprintf(`
[NetDev]
Name=%s
Kind=vlan

[VLAN]
Id=%d
`, v.Name, v.ID)
}

// addressless is the .network file of a device that only domains use: it is
// up, without an address, and nothing waits for it.
func addressless(name string, mtu int) string {
	text := fmt.Sprintf(`# Domains attach to %[1]s; the host has no address on it. If a file of the
# host's own configures %[1]s, delete this one: it may sort before that.

[Match]
Name=%[1]s

[Link]
RequiredForOnline=no
`, name)
	if mtu > 0 {
		text += fmt.Sprintf("MTUBytes=%d\n", mtu)
	}
	return text + `
[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
DHCP=no
ConfigureWithoutCarrier=yes
`
}

// Dummy returns the files of a device with nothing behind it, on which domains
// reach each other and nothing else: a vSwitch without uplinks.
func Dummy(name string, mtu int, portGroups []string) ([]Unit, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if mtu < 0 || mtu > 65535 {
		return nil, fmt.Errorf("device %s: MTU %d", name, mtu)
	}
	return []Unit{
		{Name: "20-esxodus-" + name + ".netdev", Text: comment("A network without an uplink", portGroups) + fmt.Sprintf("\n[NetDev]\nName=%s\nKind=dummy\n", name)},
		{Name: "20-esxodus-" + name + ".network", Text: addressless(name, mtu)},
	}, nil
}

// Macvtap returns the file that keeps networkd's hands off the interfaces that
// libvirt makes for domains, which a file for all links (Name=*, DHCP=yes)
// would otherwise configure.
func Macvtap() Unit {
	return Unit{Name: "10-esxodus-macvtap.network", Text: `# libvirt makes and configures these for the domains' interfaces.

[Match]
Name=macvtap*

[Link]
Unmanaged=yes
`}
}

// Unnamed returns the .link file that keeps udev from naming a device by one of the
// others, before which its prefix sorts it: udev heeds the first file that matches
// (systemd.link(5)). The rest is as in systemd's own 99-default.link.
func Unnamed(prefix, device string, others []string) Unit {
	return Unit{Name: prefix + "esxodus-" + device + ".link", Text: fmt.Sprintf(`# %[1]s keeps the name that it was made with. Without this file udev would take
# %[2]s for it, too.

[Match]
OriginalName=%[1]s

[Link]
NamePolicy=keep
MACAddressPolicy=persistent
`, device, quoted(others))}
}

// comment is a comment that names port groups.
func comment(what string, names []string) string {
	if len(names) == 0 {
		return "# " + what + ".\n"
	}
	return "# " + what + ", for " + quoted(names) + ".\n"
}

// quoted is a list of names on one line, whatever is in them.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(shorten(n))
	}
	return strings.Join(out, ", ")
}

// shorten keeps a line readable, and below networkd's limit.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
