package conf

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// NICs are the names of network interfaces in a configuration.
type NICs struct {
	Names  []string // of real ones, as far as can be told
	Pinned []string // names that it binds to a MAC address
	Source []string // interfaces(5): further files and directories, as patterns
	MACs   []string // addresses whose NIC it names, or has settled in a .link file
	Own    bool     // a .link file for NICs of any address: it, too, may name them
}

// Add adds the NICs of another file.
func (n *NICs) Add(o NICs) {
	n.Names = append(n.Names, o.Names...)
	n.Pinned = append(n.Pinned, o.Pinned...)
	n.MACs = append(n.MACs, o.MACs...)
	n.Own = n.Own || o.Own
}

// isVirtual reports whether a name is one of an interface that the guest makes
// itself: a word, perhaps with a number.
func isVirtual(name string) bool {
	stem := strings.TrimRight(name, "0123456789")
	switch stem {
	case "", "lo", "bond", "br", "br-", "virbr", "vlan", "dummy", "tun", "tap", "docker", "veth", "wg", "team", "vxlan", "ifb", "sit", "lxcbr", "lxdbr", "vmbr", "ovs-system":
		return true
	}
	return strings.HasPrefix(name, "br-")
}

// nicName is the real interface behind a name in a configuration: without
// VLAN or alias, "" for patterns and for interfaces that the guest makes.
func nicName(name string) string {
	name, _, _ = strings.Cut(name, ":")
	name, _, _ = strings.Cut(name, ".")
	name, _, _ = strings.Cut(name, "@")
	if name == "" || strings.ContainsAny(name, "*?[]!/= \t\"'") || len(name) > 15 || isVirtual(name) {
		return ""
	}
	return name
}

func nicNames(list ...string) []string {
	var out []string
	for _, n := range list {
		if n = nicName(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}

// ParseInterfaces reads a file of ifupdown, interfaces(5).
func ParseInterfaces(b []byte) NICs {
	var n NICs
	made := map[string]bool{} // bridges, bonds, VLANs, whatever their names
	current := ""
	for _, line := range Lines(b) {
		f := strings.Fields(line)
		switch key := strings.ReplaceAll(f[0], "_", "-"); {
		case key == "source" || key == "source-directory":
			n.Source = append(n.Source, f[1:]...)
		case key == "auto" || strings.HasPrefix(key, "allow-") || key == "no-auto-down" || key == "no-scripts":
			n.Names = append(n.Names, nicNames(f[1:]...)...)
		case key == "iface" && len(f) > 1:
			current = f[1]
			n.Names = append(n.Names, nicNames(current)...)
		case key == "bridge-ports" || key == "bond-slaves" || key == "slaves":
			made[current] = true
			n.Names = append(n.Names, ports(f[1:])...)
		case key == "vlan-raw-device" && len(f) > 1:
			made[current] = true
			n.Names = append(n.Names, nicNames(f[1])...)
		}
	}
	kept := n.Names[:0]
	for _, name := range n.Names {
		if !made[name] {
			kept = append(kept, name)
		}
	}
	n.Names = kept
	return n
}

// ports are the NICs in a list of bridge-utils or ifenslave, which may hold
// patterns between the words regex and noregex.
func ports(words []string) []string {
	var out []string
	pattern := false
	for _, w := range words {
		switch {
		case w == "regex" || w == "noregex":
			pattern = w == "regex"
		case !pattern && w != "none" && w != "all":
			out = append(out, nicNames(w)...)
		}
	}
	return out
}

// netplanFile is what matters of a netplan file.
type netplanFile struct {
	Network struct {
		Ethernets map[string]*netplanNIC `json:"ethernets"`
	} `json:"network"`
}

type netplanNIC struct {
	Match *struct {
		Name       any    `json:"name"` // a pattern, or since 0.103 a list of them
		MACAddress string `json:"macaddress"`
	} `json:"match"`
	SetName string `json:"set-name"`
}

// ParseNetplan reads a file of /etc/netplan. The name of an ethernet is that
// of a NIC only where no match stands in it.
func ParseNetplan(b []byte) (NICs, error) {
	var f netplanFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		return NICs{}, err
	}
	var n NICs
	for id, nic := range f.Network.Ethernets {
		if nic == nil || nic.Match == nil {
			n.Names = append(n.Names, nicNames(id)...)
			continue
		}
		if s, ok := nic.Match.Name.(string); ok {
			n.Names = append(n.Names, nicNames(s)...)
		}
		if nic.SetName == "" {
			continue
		}
		n.Names = append(n.Names, nicNames(nic.SetName)...)
		if nic.Match.MACAddress != "" {
			n.Pinned = append(n.Pinned, nicNames(nic.SetName)...)
			n.MACs = append(n.MACs, strings.ToLower(nic.Match.MACAddress))
		}
	}
	return n, nil
}

// ParseLink reads a .link file of systemd. Of all that match a NIC only the first
// counts: that decides about the name, also where it says nothing of one.
func ParseLink(b []byte) NICs {
	n := ParseNetworkd(b)
	match := Sections(b)["Match"]
	all := func(key string, is func(string) bool) bool {
		words := strings.Fields(strings.Join(match[key], " "))
		return len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return !is(w) })
	}
	for _, v := range append(match["MACAddress"], match["PermanentMACAddress"]...) {
		n.MACs = append(n.MACs, strings.Fields(strings.ToLower(v))...)
	}
	usb := all("Path", func(w string) bool { return strings.Contains(w, "usb") })
	wireless := all("Type", func(w string) bool { return strings.HasPrefix(w, "w") }) // wlan, wwan
	n.Own = len(n.MACs) == 0 && !usb && !wireless
	return n
}

// ParseNetworkd reads a .network file of systemd, or what a .link file has of it.
func ParseNetworkd(b []byte) NICs {
	var n NICs
	s := Sections(b)
	match := s["Match"]
	for _, v := range append(match["Name"], match["OriginalName"]...) {
		n.Names = append(n.Names, nicNames(strings.Fields(v)...)...)
	}
	for _, v := range s["Link"]["Name"] {
		n.Names = append(n.Names, nicNames(v)...)
		if len(match["MACAddress"])+len(match["PermanentMACAddress"]) > 0 {
			n.Pinned = append(n.Pinned, nicNames(v)...)
		}
	}
	return n
}

// ParseKeyfile reads a connection of NetworkManager.
func ParseKeyfile(b []byte) NICs {
	var n NICs
	s := Sections(b)
	c := s["connection"]
	for _, t := range c["type"] {
		if t == "ethernet" || t == "802-3-ethernet" {
			n.Names = append(n.Names, nicNames(c["interface-name"]...)...)
		}
	}
	n.Names = append(n.Names, nicNames(s["vlan"]["parent"]...)...)
	for _, v := range s["match"]["interface-name"] {
		n.Names = append(n.Names, nicNames(strings.Split(v, ";")...)...)
	}
	return n
}

// ParseIfcfg reads a file of the RHEL family or of SUSE. The latter says the
// name in the file's name only.
func ParseIfcfg(name string, b []byte) NICs {
	var n NICs
	a := Assignments(b)
	device := a["DEVICE"]
	if device == "" {
		device = strings.TrimPrefix(path.Base(name), "ifcfg-")
	}
	n.Names = append(n.Names, nicNames(a["PHYSDEV"], a["ETHERDEVICE"])...)
	n.Names = append(n.Names, nicNames(strings.Fields(a["BRIDGE_PORTS"])...)...)
	for key, v := range a {
		if strings.HasPrefix(key, "BONDING_SLAVE") {
			n.Names = append(n.Names, nicNames(v)...)
		}
	}
	switch strings.ToLower(a["TYPE"]) {
	case "", "ethernet":
	default:
		return n // a bond, bridge, team or VLAN
	}
	if a["BONDING_MASTER"] == "yes" || a["BRIDGE"] == "yes" || a["VLAN"] == "yes" || a["DEVICETYPE"] != "" {
		n.Names = append(n.Names, nicNames(beforeDot(device)...)...)
		return n
	}
	n.Names = append(n.Names, nicNames(device)...)
	if a["HWADDR"] != "" {
		n.Pinned = append(n.Pinned, nicNames(device)...)
	}
	if a["HWADDR"] != "" && a["DEVICE"] != "" {
		n.MACs = append(n.MACs, strings.ToLower(a["HWADDR"]))
	}
	return n
}

// beforeDot is the parent in a VLAN's name, none where there is no dot.
func beforeDot(name string) []string {
	if parent, _, ok := strings.Cut(name, "."); ok {
		return []string{parent}
	}
	return nil
}

// ParseUdevRules reads the rules that udev of old wrote into
// 70-persistent-net.rules: a name for a MAC address.
func ParseUdevRules(b []byte) NICs {
	var n NICs
	for _, line := range Lines(b) {
		name, mac := "", ""
		for term := range strings.SplitSeq(line, ",") {
			term = strings.TrimSpace(term)
			if v, ok := strings.CutPrefix(term, "NAME="); ok {
				name = strings.Trim(strings.TrimLeft(v, ":="), `"`)
			}
			for _, key := range []string{"ATTR{address}==", "SYSFS{address}=="} {
				if v, ok := strings.CutPrefix(term, key); ok {
					mac = strings.ToLower(strings.Trim(v, `"`))
				}
			}
		}
		if mac != "" && name != "" {
			n.Pinned = append(n.Pinned, nicNames(name)...)
			n.MACs = append(n.MACs, mac)
		}
	}
	n.Names = n.Pinned
	return n
}
