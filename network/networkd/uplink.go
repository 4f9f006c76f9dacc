package networkd

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FileFlag is the flag that fills [Uplink.File]: --network-file eno1=lan.network.
const FileFlag = "--network-file"

// Uplink is a physical interface to which VLAN devices or domains are attached.
type Uplink struct {
	Name string // eno1
	// File is the name of the .network file that the host applies to it
	// ("lan.network"; networkctl status eno1 shows it), "" if that isn't known.
	File  string
	VLANs []VLAN
	MTU   int // that domains need, bytes; 0 or at most DefaultMTU to leave it
}

// VLAN is a VLAN device on an uplink.
type VLAN struct {
	Name string   // eno1.42
	ID   int      // 1 to 4094
	MTU  int      // bytes, 0 for the uplink's
	For  []string // what it is there for: names of port groups, for a comment
}

// Units returns the files of an uplink's VLAN devices. None of them matches the
// uplink, or changes more of it than attaching VLAN devices.
func (u Uplink) Units() ([]Unit, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	var units []Unit
	for _, v := range u.VLANs {
		mtu := v.MTU
		if mtu > DefaultMTU { // the kernel refuses more than the uplink's: see Optional
			mtu = 0
		}
		units = append(units,
			Unit{Name: "20-esxodus-" + v.Name + ".netdev", Text: v.netdev()},
			Unit{Name: "20-esxodus-" + v.Name + ".network", Text: addressless(v.Name, mtu)},
			Unit{Name: u.file() + ".d/esxodus-" + v.Name + ".conf", Text: u.about() + fmt.Sprintf(`# A networkctl reload that finds this file new reconfigures %[1]s at once: its
# foreign routes and addresses go, and BGP sessions with them. esxodus network apply
# makes the device itself and leaves this to the next boot. By hand that is:
# ip link add link %[1]s name %[2]s up type vlan id %[3]d

[Network]
VLAN=%[2]s
`, u.Name, v.Name, v.ID)})
	}
	return units, nil
}

// Optional returns the files that only a person can decide on, because they
// touch the uplink itself: its base where nothing else configures it, and
// jumbo frames.
func (u Uplink) Optional() ([]Unit, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	var units []Unit
	if u.File == "" && len(u.VLANs) > 0 {
		units = append(units, optional(u.file(), u.base()))
	}
	if u.MTU > DefaultMTU {
		units = append(units, optional(mtuDropIn(u.file(), u.MTU), u.about()+fmt.Sprintf(`# A change of the MTU resets the link on many NICs: sessions over %s (BGP,
# iSCSI, ssh) drop. Do it in a quiet hour, and allow it on the switch's port first.

[Link]
MTUBytes=%d
`, u.Name, u.MTU)))
	}
	for _, v := range u.VLANs {
		if v.MTU > DefaultMTU {
			file := "20-esxodus-" + v.Name + ".network"
			units = append(units, optional(mtuDropIn(file, v.MTU), fmt.Sprintf(`# Adds to %s. A VLAN device has its uplink's MTU if it is made
# after that was raised, and can't have more: the kernel refuses this line unless
# %s has an MTU of %d too. A domain's macvtap has the MTU of its device.

[Link]
MTUBytes=%d
`, file, u.Name, v.MTU, v.MTU)))
		}
	}
	return units, nil
}

// mtuDropIn has the MTU in its name, padded: of two plans' the last one by
// name counts, and that is the larger one.
func mtuDropIn(file string, mtu int) string {
	return fmt.Sprintf("%s.d/esxodus-mtu-%05d.conf", file, mtu)
}

// file is the .network file that drop-ins for the uplink add to.
func (u Uplink) file() string {
	if u.File != "" {
		return u.File
	}
	return "zz-esxodus-" + u.Name + ".network"
}

func (u Uplink) check() error {
	if err := CheckName(u.Name); err != nil {
		return err
	}
	if u.File != "" {
		if err := CheckFile(u.File); err != nil {
			return fmt.Errorf("uplink %s: %w", u.Name, err)
		}
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

// CheckFile says what is wrong with the name of a .network file, which has no
// directory. It allows what networkd reads: spaces and UTF-8 too.
func CheckFile(name string) error {
	const most = 255 - len(".d") // NAME_MAX, for the drop-ins' directory
	switch {
	case !strings.HasSuffix(name, ".network") || path.Base(name) != name:
		return fmt.Errorf("%q is not the name of a .network file", name)
	case strings.HasPrefix(name, "."):
		return fmt.Errorf("%q: networkd doesn't read hidden files", name)
	case len(name) > most:
		return fmt.Errorf("name of a .network file of %d bytes: at most %d leave room for its drop-ins", len(name), most)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("name %q of a .network file: a character that isn't printable", name)
	}
	return nil
}

// base is the .network file of an uplink that nothing else configures.
func (u Uplink) base() string {
	return fmt.Sprintf(`# It is for a host where nothing else configures %[1]s. networkd applies only
# the first file, by name, that matches a link. "zz" lets nearly every other file
# win; one that sorts even later (zzz.network, a name that begins with a letter
# beyond ASCII) would be overridden by this one, and %[1]s would lose its
# addresses. So first see which file applies: networkctl status %[1]s shows
# it as Network File. If there is one, don't copy this.
#
# Where ifupdown or NetworkManager configures %[1]s, it is better to make the VLAN
# devices there too. With this file networkd joins in: KeepConfiguration keeps the
# addresses, and from then on networkd answers router advertisements. Don't add
# IPv6AcceptRA=no and LinkLocalAddressing=no then: they take the addresses of SLAAC
# and fe80 away, and with fe80 each BGP session over it (unnumbered BGP).

[Match]
Name=%[1]s

[Link]
RequiredForOnline=no

[Network]
DHCP=no
# Addresses and routes that networkd didn't make stay, and if the cable is out too.
KeepConfiguration=yes
IgnoreCarrierLoss=yes
`, u.Name)
}

// about says in each drop-in for an uplink where it belongs, for that is where
// a person looks if it has no effect.
func (u Uplink) about() string {
	text := fmt.Sprintf(`# Adds to %[1]s, for %[2]s.
# It works if that is the file that applies (networkctl status %[2]s shows it as
# Network File), and that file must match %[2]s only.
`, u.file(), u.Name)
	if u.File != "" {
		return text
	}
	return text + fmt.Sprintf(`# Which file that is isn't known, so this has no effect yet. If %[1]s has a
# file, plan again with %[2]s %[1]s=FILE, or move this to FILE.d. If
# ifupdown or NetworkManager configures %[1]s, do it there. If
# nothing does, read %[3]s, which plans with VLANs have among
# their optional units.
`, u.Name, FileFlag, u.file())
}

// optional heads a file that isn't applied unless a person does so.
func optional(name, text string) Unit {
	how := "# Optional: to use it, copy it to /etc/systemd/network.\n"
	if dir, _, dropIn := strings.Cut(name, "/"); dropIn {
		how = fmt.Sprintf("# Optional: to use it, copy it to /etc/systemd/network, in the directory\n# %s as here.\n", dir)
	}
	return Unit{Name: name, Text: how + text}
}

// Keep returns the drop-in that keeps what networkd didn't make on an uplink when
// that is configured anew.
func (u Uplink) Keep() (Unit, error) {
	if err := u.check(); err != nil {
		return Unit{}, err
	}
	return Unit{Name: u.file() + ".d/esxodus-keep.conf", Text: u.about() + fmt.Sprintf(`# Addresses and routes on %s that networkd didn't make (bird's, FRR's, a person's)
# stay when networkd configures it anew.

[Network]
KeepConfiguration=yes
`, u.Name)}, nil
}

// KeepRules returns the drop-in of networkd.conf that keeps rules of policy
// routing that networkd didn't make. networkd reads it when it starts.
func KeepRules() Unit {
	return Unit{Name: "esxodus-rules.conf", Text: `# Rules of policy routing that networkd didn't make stay when it starts, or
# configures a link anew.

[Network]
ManageForeignRoutingPolicyRules=no
`}
}

// MacvlanName names the host's macvlan on an uplink: "host-eno1", or, where
// that is too long for the kernel, with a hash of the uplink's name.
func MacvlanName(uplink string) string {
	name := "host-" + uplink
	if len(name) <= MaxName {
		return name
	}
	name = fmt.Sprintf("host-%x", sha256.Sum256([]byte(uplink)))
	return name[:MaxName]
}

// HostMacvlan returns the optional files of a macvlan beside the domains'
// macvtaps on an uplink: with the host's address on it instead of on the
// uplink, host and domains reach each other. The address is for a person to
// fill in.
func HostMacvlan(u Uplink) ([]Unit, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	name := MacvlanName(u.Name)
	return []Unit{
		optional("30-esxodus-"+name+".netdev", fmt.Sprintf(`# The host's own port on %s, beside the domains'.

[NetDev]
Name=%s
Kind=macvlan

[MACVLAN]
Mode=bridge
`, u.Name, name)),
		optional("30-esxodus-"+name+".network", fmt.Sprintf(`# Move the host's addresses, gateway and DNS here from the file of %s.
# Do that on the host's console: a mistake here cuts it off.

[Match]
Name=%s

[Network]
#Address=192.0.2.10/24
#Gateway=192.0.2.1
#DNS=192.0.2.1
`, u.Name, name)),
		optional(u.file()+".d/esxodus-"+name+".conf", u.about()+"\n[Network]\nMACVLAN="+name+"\n"),
	}, nil
}
