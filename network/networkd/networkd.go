// Package networkd writes systemd-networkd's files as text: what a KVM host
// needs under the macvtap interfaces of its domains. It does no I/O.
//
// The files are small, one purpose each, and all have "esxodus" in their names,
// so that ls shows what is ours and deleting them is the way back:
//
//	20-esxodus-eno1.42.netdev             the VLAN device
//	20-esxodus-eno1.42.network            the VLAN device is up and has no address
//	90-esxodus-eno1.network               the uplink, if nothing else configures it
//	90-esxodus-eno1.network.d/eno1.42.conf  hangs the VLAN device on the uplink
//
// An uplink is never taken over. networkd applies the first file, by name,
// that matches a link, and ignores the rest. A VLAN device hangs on its uplink
// by a VLAN= line in the file that applies to the uplink, so that line goes
// into a drop-in of that file (Uplink.File: the host's 10-lan.network, or
// netplan's 10-netplan-eno1.network). Where the host has no file for the
// uplink, ours sorts late, so that one that is added any day wins over it, and
// it keeps whatever addresses the link has.
//
// Every name that gets into a file is checked by [CheckName]; everything else
// is a number or a quoted comment, so that no port group's name can smuggle in
// a line.
package networkd

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Unit is one file under /etc/systemd/network.
type Unit struct {
	// Name is relative to that directory. That of a drop-in has one slash:
	// "10-lan.network.d/eno1.42.conf".
	Name string `json:"name"`
	Text string `json:"text"`
}

// MaxName is the length of the longest name of an interface in bytes
// (IFNAMSIZ-1).
const MaxName = 15

// CheckName says what is wrong with an interface's name. It allows less than
// the kernel: what networkd, libvirt and a shell all take literally.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("empty interface name")
	case len(name) > MaxName:
		return fmt.Errorf("interface name %q: %d bytes, the kernel allows %d", name, len(name), MaxName)
	case name == "." || name == ".." || name == "all" || name == "default":
		return fmt.Errorf("interface name %q means something else", name)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("interface name %q: character %q", name, r)
		}
	}
	return nil
}

// Uplink is a physical interface that VLAN devices or domains hang on.
type Uplink struct {
	Name string // eno1
	// File is the name of the .network file that the host applies to it
	// ("10-lan.network"; networkctl status eno1 shows it), "" for none.
	File  string
	VLANs []VLAN
	MTU   int // 0 to leave it
}

// VLAN is a VLAN device on an uplink.
type VLAN struct {
	Name string   // eno1.42
	ID   int      // 1 to 4094
	MTU  int      // 0 for the uplink's
	For  []string // what it is there for: names of port groups, for a comment
}

// Units returns the files of an uplink and its VLAN devices.
func (u Uplink) Units() ([]Unit, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	var units []Unit
	file := u.File
	if file == "" {
		file = "90-esxodus-" + u.Name + ".network"
		units = append(units, Unit{Name: file, Text: u.network()})
	}
	for _, v := range u.VLANs {
		units = append(units,
			Unit{Name: "20-esxodus-" + v.Name + ".netdev", Text: v.netdev()},
			Unit{Name: "20-esxodus-" + v.Name + ".network", Text: addressless(v.Name, v.MTU)},
			Unit{Name: file + ".d/" + v.Name + ".conf", Text: u.dropIn(file, fmt.Sprintf("[Network]\nVLAN=%s\n", v.Name))})
	}
	if u.MTU > 0 {
		units = append(units, Unit{Name: file + ".d/esxodus-mtu.conf", Text: u.dropIn(file, fmt.Sprintf("[Link]\nMTUBytes=%d\n", u.MTU))})
	}
	return units, nil
}

func (u Uplink) check() error {
	if err := CheckName(u.Name); err != nil {
		return err
	}
	if f := u.File; f != "" && (path.Base(f) != f || !strings.HasSuffix(f, ".network") || strings.ContainsFunc(f, unsafe)) {
		return fmt.Errorf("uplink %s: %q is no name of a .network file", u.Name, f)
	}
	if u.MTU < 0 || u.MTU > 65535 {
		return fmt.Errorf("uplink %s: MTU %d", u.Name, u.MTU)
	}
	for _, v := range u.VLANs {
		if err := CheckName(v.Name); err != nil {
			return fmt.Errorf("VLAN %d on %s: %w", v.ID, u.Name, err)
		}
		if v.ID < 1 || v.ID > 4094 {
			return fmt.Errorf("VLAN device %s: id %d: want 1 to 4094", v.Name, v.ID)
		}
		if v.MTU < 0 || v.MTU > 65535 {
			return fmt.Errorf("VLAN device %s: MTU %d", v.Name, v.MTU)
		}
	}
	return nil
}

func unsafe(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }

func (u Uplink) network() string {
	return fmt.Sprintf(`# %[1]s carries domains' traffic and has no address for that.
# This file sorts late: networkd applies only the first file that matches a
# link, so any other file of this host's for %[1]s wins over it. In that case
# move the directory %[2]s.d
# to the other file's name + ".d" (networkctl status %[1]s shows it as Network File).

[Match]
Name=%[1]s

[Link]
RequiredForOnline=no

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
DHCP=no
# Addresses that ifupdown or a person gave the link stay.
KeepConfiguration=yes
`, u.Name, "90-esxodus-"+u.Name+".network")
}

// dropIn adds the same warning to each drop-in, where it will be looked for.
func (u Uplink) dropIn(file, text string) string {
	return fmt.Sprintf(`# Adds to %[1]s, which configures %[2]s.
# It has no effect if another file is applied to %[2]s (networkctl status %[2]s
# shows it as Network File): then this belongs into that file's name + ".d".

`, file, u.Name) + text
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
	text := fmt.Sprintf(`# Domains attach to %[1]s; the host has no address on it.

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
	return Unit{Name: "10-esxodus-macvtap.network", Text: `# libvirt makes these for the domains' interfaces and takes care of them.

[Match]
Name=macvtap*

[Link]
Unmanaged=yes
`}
}

// HostMacvlan returns the files of a macvlan beside the domains' macvtaps on
// uplink: with the host's address on it instead of on the uplink, host and
// domains reach each other. The address is for a person to fill in.
func HostMacvlan(u Uplink) ([]Unit, error) {
	u.VLANs, u.MTU = nil, 0
	units, err := u.Units()
	if err != nil {
		return nil, err
	}
	file := u.File
	if file == "" {
		file = units[0].Name
	}
	name := "host-" + u.Name
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	return append(units,
		Unit{Name: "30-esxodus-" + name + ".netdev", Text: fmt.Sprintf(`# The host's own port on %s, beside the domains'.

[NetDev]
Name=%s
Kind=macvlan

[MACVLAN]
Mode=bridge
`, u.Name, name)},
		Unit{Name: "30-esxodus-" + name + ".network", Text: fmt.Sprintf(`# Move the host's addresses, gateway and DNS here from the file of %s.
# Do that on the host's console: a mistake here cuts it off.

[Match]
Name=%s

[Network]
#Address=192.0.2.10/24
#Gateway=192.0.2.1
#DNS=192.0.2.1
`, u.Name, name)},
		Unit{Name: file + ".d/" + name + ".conf", Text: u.dropIn(file, "[Network]\nMACVLAN="+name+"\n")},
	), nil
}

// comment is a comment that names port groups, quoted: whatever is in a name
// stays on the line.
func comment(what string, names []string) string {
	if len(names) == 0 {
		return "# " + what + ".\n"
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(shorten(n))
	}
	return "# " + what + ", for " + strings.Join(quoted, ", ") + ".\n"
}

// shorten keeps a line readable, and below networkd's limit.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
