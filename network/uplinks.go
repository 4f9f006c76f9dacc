package network

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/network/networkd"
)

// Releases of systemd from which on networkd can do a thing.
const (
	keepsForeign = 252 // KeepConfiguration=yes keeps what is foreign over a reload; 247 loses it
	keepsRules   = 249 // ManageForeignRoutingPolicyRules=
)

// uplinks looks at each link of the host's that the plan builds on.
func (d *differ) uplinks() error {
	attached := d.attached()
	for _, name := range slices.Sorted(maps.Keys(attached)) {
		l, there := d.host.Link(name)
		if !there {
			d.concern(ConcernNoLink, ledger.Blocker, name, fmt.Sprintf("this host has no interface %s; it has %s", name, strings.Join(d.physical(), ", ")),
				"name another with "+UplinkFlag+" or "+MapFlag)
			continue
		}
		d.state(&l)
		vlans := attached[name]
		if len(vlans) == 0 || !d.owned(&l, vlans) {
			continue
		}
		if err := d.keep(&l, vlans); err != nil {
			return err
		}
	}
	return nil
}

// attached are the links that the plan builds on, and the VLAN devices that it
// puts on each.
func (d *differ) attached() map[string][]string {
	out := map[string][]string{}
	for _, a := range d.plan.Attachments {
		switch {
		case a.Mode == None || slices.ContainsFunc(d.plan.Devices, func(v Device) bool { return v.Name == a.Device }):
		case a.Uplink == "" || d.has(a.Device):
			out[a.Device] = nil
		}
		if a.Uplink != "" {
			out[a.Uplink] = nil
		}
	}
	for _, v := range d.plan.Devices {
		if v.Parent != "" {
			out[v.Parent] = append(out[v.Parent], v.Name)
		}
	}
	return out
}

// has reports whether the host has a link.
func (d *differ) has(name string) bool {
	_, there := d.host.Link(name)
	return there
}

// physical are the host's links that an uplink could be.
func (d *differ) physical() []string {
	var names []string
	for _, l := range d.host.Links {
		if l.Kind == "" && l.Name != "lo" || l.Kind == "bond" {
			names = append(names, l.Name)
		}
	}
	return names
}

// state says what is wrong with an uplink by itself.
func (d *differ) state(l *Link) {
	d.port(l)
	switch {
	case d.bridged(l.Name) && l.Kind != "bridge":
		d.concern(ConcernUnfit, ledger.Blocker, l.Name, fmt.Sprintf("%s is no bridge (%s): no domain on it would start", l.Name, l.device().Kind),
			fmt.Sprintf("name a bridge, or attach by macvtap: %s 'PORTGROUP=macvtap:%s'", MapFlag, l.Name))
	case l.Wireless:
		d.concern(ConcernUnfit, ledger.Blocker, l.Name, l.Name+" is a Wi-Fi adapter: an access point takes no frames from the domains' MAC addresses, by macvtap, VLAN or bridge", "name a wired one with "+UplinkFlag+" or "+MapFlag)
	case !l.ethernet():
		d.concern(ConcernUnfit, ledger.Blocker, l.Name, l.Name+" isn't an Ethernet interface: neither macvtap nor a VLAN device works on it", "name another with "+UplinkFlag+" or "+MapFlag)
	}
	if l.Up && !l.Carrier {
		d.concern(ConcernCarrier, ledger.Warning, l.Name, l.Name+" has no carrier: no cable, or nothing at its other end", "the domains on it are cut off until it has")
	}
}

// port says that a link is a port of another, which takes all its frames.
func (d *differ) port(l *Link) {
	if l.Master != "" && !d.bridged(l.Name) {
		d.concern(ConcernPort, ledger.Blocker, l.Name, fmt.Sprintf("%s is a port of %s, which takes all its frames", l.Name, l.Master),
			fmt.Sprintf("use %[1]s itself: %[2]s vmnicN=%[1]s for a bond, %[3]s 'PORTGROUP=bridge:%[1]s' for a bridge", l.Master, UplinkFlag, MapFlag))
	}
}

// ethernet reports whether a link has an Ethernet address. lo, tunnels and InfiniBand
// haven't.
func (l *Link) ethernet() bool {
	mac, err := net.ParseMAC(l.MAC)
	return err == nil && len(mac) == 6 && !bytes.Equal(mac, make([]byte, 6))
}

// bridged reports whether the plan attaches domains to a bridge of that name.
func (d *differ) bridged(name string) bool {
	return slices.ContainsFunc(d.plan.Attachments, func(a Attachment) bool { return a.Mode == Bridge && a.Device == name })
}

// owned reports whether networkd can be told to attach VLAN devices to a link. What
// it says of others is a blocker.
func (d *differ) owned(l *Link, vlans []string) bool {
	if d.managed(l, vlans) {
		return false
	}
	switch file := path.Base(l.Networkd.File); {
	case d.host.Networkd.Unknown != "":
		d.concern(ConcernNetworkd, ledger.Blocker, l.Name, "it can't be known which file networkd applies to "+l.Name+": "+d.host.Networkd.Unknown, "run this as root, on a host where D-Bus answers")
	case !d.host.Networkd.Running:
		d.concern(ConcernNetworkd, ledger.Blocker, l.Name, "systemd-networkd doesn't run here, so nothing makes "+strings.Join(vlans, ", ")+" at the next boot",
			"have networkd configure "+l.Name+" (a file in "+Dir+" for it, systemctl enable --now systemd-networkd), or make the VLAN devices with what configures this host and give "+FileFlag+" or "+MapFlag)
	case l.Networkd.File == "":
		return d.unowned(l, vlans)
	case !d.hasDropIn(file):
		d.concern(ConcernShared, ledger.Blocker, l.Name, fmt.Sprintf("%s is configured by %s, which isn't its alone, or not the file that the plan was made for", l.Name, l.Networkd.File),
			fmt.Sprintf("give %s a file of its own, with a name that sorts before %q, restart this host in a quiet hour, and plan again", l.Name, file))
	default:
		return true
	}
	return false
}

// hasDropIn reports whether the plan attaches VLAN devices in drop-ins of a file.
func (d *differ) hasDropIn(file string) bool {
	return slices.ContainsFunc(d.plan.Units, func(u Unit) bool { return strings.HasPrefix(u.Name, file+".d/") })
}

// managed reports whether something else than networkd configures a link, which
// is never half taken over.
func (d *differ) managed(l *Link, vlans []string) bool {
	blocked := false
	for _, m := range d.host.managers(l.Name) {
		switch {
		case m.Name == Netplan && l.Networkd.File != "":
			d.concern(ConcernManager, ledger.Warning, l.Name, fmt.Sprintf("Netplan writes %s (%s)", l.Networkd.File, m.Evidence),
				"the plan's drop-ins add to that file. netplan apply configures "+l.Name+" anew, whatever changed: don't run it while BGP sessions hang on it")
		default:
			blocked = true
			d.concern(ConcernManager, ledger.Blocker, l.Name, fmt.Sprintf("%s configures %s (%s): networkd and it would work against each other", m.Name, l.Name, m.Evidence), handOver(m.Name, l.Name, vlans))
		}
	}
	return blocked
}

// handOver says how a link gets from another manager to networkd, or how its VLAN
// devices are made there.
func handOver(manager, link string, vlans []string) string {
	own := fmt.Sprintf("make %s there and say so with %s %s=FILE or %s; or hand %s over in a quiet hour: ", strings.Join(vlans, ", "), FileFlag, vlans[0], MapFlag, link)
	network := fmt.Sprintf("a file %s/50-%s.network with its addresses, then ", Dir, link)
	switch manager {
	case NetworkManager:
		return own + network + fmt.Sprintf("a file in /etc/NetworkManager/conf.d with [keyfile] unmanaged-devices=interface-name:%s, systemctl enable systemd-networkd, and a restart of the host", link)
	case Ifupdown:
		return own + network + fmt.Sprintf("remove its stanzas (auto, iface %s) from /etc/network/interfaces, systemctl enable systemd-networkd, and restart the host", link)
	}
	return own + network + "take " + link + " out of " + manager + "'s configuration, and restart the host"
}

// unowned deals with an uplink that nothing configures: one that nobody uses
// gets a file of its own.
func (d *differ) unowned(l *Link, vlans []string) bool {
	if used := l.uses(); len(used) > 0 {
		d.concern(ConcernUnowned, ledger.Blocker, l.Name, fmt.Sprintf("nothing on this host configures %s, but it has %s: they were made by hand, and a file for it might take them away", l.Name, strings.Join(used, ", ")),
			fmt.Sprintf("write %s/50-%s.network with them, restart this host in a quiet hour, and plan again", Dir, l.Name))
		return false
	}
	base := "zz-esxodus-" + l.Name + ".network"
	i := slices.IndexFunc(d.plan.Optional, func(u Unit) bool { return u.Name == base })
	if i < 0 {
		d.concern(ConcernShared, ledger.Blocker, l.Name, fmt.Sprintf("the plan was made for a file of %s, but networkd applies none to it", l.Name), "leave "+FileFlag+" out for it, and plan again")
		return false
	}
	d.file(path.Join(Dir, base), d.plan.Optional[i].Text, true)
	if !l.Up {
		d.up = append(d.up, l.Name)
	}
	d.c.Wire = append(d.c.Wire, fmt.Sprintf("%s: nothing uses it and nothing configures it; it gets a file of its own, and is set up", l.Name))
	return false // nothing is on it that could be lost
}

// uses lists what a link has that somebody must have made.
func (l *Link) uses() []string {
	var out []string
	for _, a := range l.Addresses {
		if a.Scope == "" {
			out = append(out, a.CIDR)
		}
	}
	for _, r := range l.Routes {
		if r.Protocol != "kernel" {
			out = append(out, r.String())
		}
	}
	return out
}

// keep has the drop-ins of an uplink keep what networkd didn't make, and says
// what this release can't keep.
func (d *differ) keep(l *Link, vlans []string) error {
	wire := fmt.Sprintf("%s: not touched now. At the next boot networkd attaches %s to it", l.Name, strings.Join(vlans, ", "))
	if d.attachedBefore(l) {
		return nil
	}
	foreign := l.Foreign()
	version := d.host.Networkd.Version
	window := "until the next boot nobody may run networkctl reload, or restart networkd: do that in a quiet hour. A boot itself is safe: nothing is there yet that could be lost"
	switch {
	case len(foreign) == 0:
	case l.DHCP():
		d.concern(ConcernKeep, ledger.Warning, l.Name, fmt.Sprintf("%s has %s that networkd didn't make, and a lease: KeepConfiguration=yes would keep the lease past its end, so it isn't set", l.Name, strings.Join(foreign, ", ")), window)
	case version < keepsForeign:
		d.concern(ConcernKeep, ledger.Warning, l.Name, fmt.Sprintf("%s has %s that networkd didn't make, and networkd %d can't keep them when it configures %[1]s anew", l.Name, strings.Join(foreign, ", "), version), window)
	default:
		if err := d.keepFile(networkd.Uplink{Name: l.Name, File: path.Base(l.Networkd.File)}); err != nil {
			return err
		}
		wire += "; what networkd didn't make there (" + strings.Join(foreign, ", ") + ") stays from then on"
	}
	d.c.Wire = append(d.c.Wire, wire)
	d.keepForeignRules()
	return nil
}

// attachedBefore reports whether all drop-ins for a link are there already.
func (d *differ) attachedBefore(l *Link) bool {
	for _, u := range d.plan.Units {
		if !strings.HasPrefix(u.Name, path.Base(l.Networkd.File)+".d/") {
			continue
		}
		if old, ok := d.host.file(path.Join(Dir, u.Name)); !ok || old.Text != u.Text {
			return false
		}
	}
	return true
}

// keepForeignRules keeps the rules that networkd didn't make, where it can.
func (d *differ) keepForeignRules() {
	rules := d.host.foreignRules()
	where := path.Join(confDir, networkd.KeepRules().Name)
	if len(rules) == 0 || slices.ContainsFunc(d.c.Files, func(f FileChange) bool { return f.Path == where }) {
		return
	}
	if v := d.host.Networkd.Version; v < keepsRules {
		return // 247 leaves rules alone
	}
	d.file(where, networkd.KeepRules().Text, true)
	if !d.host.keepsRules() {
		d.concern(ConcernKeep, ledger.Note, "rules", "rules of policy routing that networkd didn't make: "+strings.Join(rules, "; "),
			"a file of networkd.conf.d keeps them from the next boot on; until then nobody may run networkctl reload over a changed file, or restart networkd")
	}
}

// foreignRules are the rules that networkd didn't make. Its own are static ones.
func (h *Host) foreignRules() []string {
	own := slices.ContainsFunc(h.Files, func(f File) bool { return strings.Contains(f.Text, "[RoutingPolicyRule]") })
	var out []string
	for _, r := range h.Rules {
		if r.Protocol != "kernel" && (r.Protocol != "static" || !own) {
			out = append(out, r.Text)
		}
	}
	return out
}
