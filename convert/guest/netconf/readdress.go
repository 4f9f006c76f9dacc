package netconf

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// Readdress gives an interface another address, in the style of the file that
// configures it. read returns a file of the guest's. What comes back are the files
// that change, whole. An error says why the style doesn't allow it.
func Readdress(l guest.NetLink, read func(string) (string, bool), a guest.NewAddress) ([]File, error) {
	text, ok := read(l.File)
	if !ok {
		return nil, fmt.Errorf("%s can't be read", l.File)
	}
	var had []string
	for _, p := range l.Addresses {
		if a.Family(p.Addr()) {
			had = append(had, p.String())
		}
	}
	if len(had) > 1 {
		return nil, fmt.Errorf("%s gives it several addresses (%s), and which of them is to change isn't known", l.File, strings.Join(had, ", "))
	}
	files, err := written(l, text, read, a)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.File, err)
	}
	same := func(o guest.NetLink) bool {
		return o.Name == l.Name && o.ID == l.ID && slices.Contains(o.Addresses, a.Prefix)
	}
	if !slices.ContainsFunc(links(l.Style, files[0]), same) {
		return nil, fmt.Errorf("%s is written in a way that isn't understood well enough to change it", l.File)
	}
	return files, nil
}

// written makes the changed files.
func written(l guest.NetLink, text string, read func(string) (string, bool), a guest.NewAddress) ([]File, error) {
	var err error
	switch l.Style {
	case guest.Ifupdown:
		text, err = interfacesAddress(text, l.Name, a)
	case guest.Netplan:
		text, err = netplanAddress(text, l, a)
	case guest.Networkd:
		text, err = networkAddress(text, a)
	case guest.NetworkManager:
		text, err = keyfileAddress(text, a)
	case guest.Ifcfg:
		return ifcfgAddress(l, text, read, a)
	default:
		err = errors.New("its style isn't known")
	}
	return []File{{Path: l.File, Text: []byte(text)}}, err
}

// links reads one file of a style again.
func links(style guest.NetStyle, f File) []guest.NetLink {
	var n guest.Net
	switch style {
	case guest.Ifupdown:
		n, _ = ParseInterfaces(f.Path, f.Text)
	case guest.Netplan:
		n, _ = Netplan(f) // what is no YAML has no links
	case guest.Networkd:
		n = Networkd([]File{f})
	case guest.NetworkManager:
		n = ParseKeyfile(f.Path, f.Text)
	case guest.Ifcfg:
		n = Ifcfg([]File{f})
	}
	return n.Links
}

// family is a word for each family.
func family(a guest.NewAddress, v4, v6 string) string {
	if a.Prefix.Addr().Is4() {
		return v4
	}
	return v6
}

func dns(a guest.NewAddress, sep string) string {
	var out []string
	for _, d := range a.DNS {
		out = append(out, d.String())
	}
	return strings.Join(out, sep)
}

// stanzaWords begin a stanza of interfaces(5).
func beginsStanza(word string) bool {
	return slices.Contains([]string{"iface", "auto", "mapping", "source", "source-directory", "rename", "no-auto-down", "no-scripts", "template"}, word) || strings.HasPrefix(word, "allow-")
}

// stanzaMethod has the method of a stanza after its first group.
var stanzaMethod = regexp.MustCompile(`^(\s*iface\s+\S+\s+\S+\s+)\S+`)

// netmask is 255.255.255.0 in IPv4, 64 in IPv6.
func netmask(p netip.Prefix) string {
	if p.Addr().Is4() {
		return net.IP(net.CIDRMask(p.Bits(), p.Addr().BitLen())).String()
	}
	return strconv.Itoa(p.Bits())
}

// interfacesAddress changes the stanza of an interface and a family, interfaces(5).
func interfacesAddress(text, name string, a guest.NewAddress) (string, error) {
	var out []string
	at, method, in, mask := -1, "", false, true
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
		case beginsStanza(f[0]):
			in = len(f) > 3 && f[0] == "iface" && f[1] == name && f[2] == family(a, "inet", "inet6")
			if in && at >= 0 {
				return "", fmt.Errorf("there are two stanzas of %s for this family", name)
			}
			if in {
				at, method = len(out), f[3]
				line = stanzaMethod.ReplaceAllString(line, "${1}static")
			}
		case in && unclearOption(line, a) != "":
			return "", fmt.Errorf("the stanza of %s %s", name, unclearOption(line, a))
		case in && dropsOption(f, a):
			mask = mask && !strings.Contains(line, "/")
			continue
		}
		out = append(out, line)
	}
	switch {
	case at < 0:
		return "", fmt.Errorf("it has no stanza of %s for this family", name)
	case !slices.Contains([]string{"static", "dhcp", "auto"}, method):
		return "", fmt.Errorf("the stanza of %s has the method %s", name, method)
	}
	add := []string{"\taddress " + a.Prefix.String() + "\n"}
	if mask { // ifupdown of old, and busybox's, want it apart
		add = []string{"\taddress " + a.Prefix.Addr().String() + "\n", "\tnetmask " + netmask(a.Prefix) + "\n"}
	}
	if a.Gateway.IsValid() {
		add = append(add, "\tgateway "+a.Gateway.String()+"\n")
	}
	if len(a.DNS) > 0 {
		add = append(add, "\tdns-nameservers "+dns(a, " ")+"\n")
	}
	if !strings.HasSuffix(out[at], "\n") {
		out[at] += "\n"
	}
	return strings.Join(slices.Insert(out, at+1, add...), ""), nil
}

// unclearOption says why a stanza with an option can't be changed, "" where it can.
func unclearOption(line string, a guest.NewAddress) string {
	f := strings.Fields(line)
	switch {
	case strings.HasSuffix(strings.TrimRight(line, "\r\n"), `\`):
		return "has a line that goes on in the next"
	case a.Gateway.IsValid() && slices.Contains([]string{"up", "post-up", "pre-up"}, f[0]) && slices.Contains(f, "default"):
		return "makes its default route by a command"
	}
	return ""
}

// dropsOption reports whether an option of a stanza gives way to the new address.
func dropsOption(f []string, a guest.NewAddress) bool {
	switch strings.ReplaceAll(f[0], "_", "-") {
	case "address", "netmask", "broadcast", "network":
		return true
	case "gateway":
		return a.Gateway.IsValid()
	case "dns-nameservers", "dns-nameserver":
		return len(a.DNS) > 0
	}
	return false
}

// ours reports whether a value is an address of the new one's family.
func ours(value string, a guest.NewAddress) bool {
	value, _, _ = strings.Cut(value, "/")
	x, err := netip.ParseAddr(strings.TrimSpace(value))
	return err == nil && a.Family(x)
}

// networkAddress changes the section [Network], systemd.network(5).
func networkAddress(text string, a guest.NewAddress) (string, error) {
	if hasKey(text, "[Address]", "Address") {
		return "", errors.New("it has addresses in sections of their own")
	}
	add := "Address=" + a.Prefix.String() + "\n"
	if a.Gateway.IsValid() {
		if hasKey(text, "[Route]", "Gateway") {
			return "", errors.New("it has routes in sections of their own")
		}
		add += "Gateway=" + a.Gateway.String() + "\n"
	}
	if len(a.DNS) > 0 {
		add += "DNS=" + dns(a, " ") + "\n"
	}
	dhcp := ""
	_, _ = inSection(text, "[Network]", func(key, value string) bool {
		if key == "DHCP" {
			dhcp = value
		}
		return false
	}, "")
	switch on := isYes(dhcp) || dhcp == "both"; {
	case on:
		add += "DHCP=" + family(a, "ipv6", "ipv4") + "\n"
	case dhcp == family(a, "ipv4", "ipv6") || dhcp == family(a, "v4", "v6"):
		add += "DHCP=no\n"
	case dhcp != "":
		add += "DHCP=" + dhcp + "\n"
	}
	out, ok := inSection(text, "[Network]", func(key, value string) bool {
		switch key {
		case "Address":
			return ours(value, a)
		case "Gateway":
			return a.Gateway.IsValid() && ours(value, a)
		case "DNS":
			return len(a.DNS) > 0
		}
		return key == "DHCP"
	}, add)
	if !ok {
		return "", errors.New("it has no section [Network]")
	}
	return out, nil
}

// keyfileAddress changes the section of a family, nm-settings-keyfile(5).
func keyfileAddress(text string, a guest.NewAddress) (string, error) {
	section := family(a, "[ipv4]", "[ipv6]")
	gateway := a.Gateway.String()
	if !a.Gateway.IsValid() {
		gateway = ""
		_, _ = inSection(text, section, func(key, value string) bool {
			if _, old, ok := strings.Cut(value, ","); ok && key == "address1" {
				gateway = strings.Trim(old, " ,;")
			}
			return false
		}, "")
	}
	add := "address1=" + a.Prefix.String()
	if gateway != "" {
		add += "," + gateway
	}
	add += "\nmethod=manual\n"
	if len(a.DNS) > 0 {
		add += "dns=" + dns(a, ";") + ";\n"
	}
	out, ok := inSection(text, section, func(key, value string) bool {
		to, _, _ := strings.Cut(value, ",")
		return key == "method" || a.Gateway.IsValid() && routeKey.MatchString(key) && isDefault(to) || key == "gateway" && a.Gateway.IsValid() || key == "dns" && len(a.DNS) > 0 || strings.HasPrefix(key, "address")
	}, add)
	if !ok {
		out = strings.TrimRight(text, "\n") + "\n\n" + section + "\n" + add
	}
	return out, nil
}

// ifcfgAddress changes the assignments of a file of the RHEL family's or SUSE's, whose
// default route is elsewhere.
func ifcfgAddress(l guest.NetLink, text string, read func(string) (string, bool), a guest.NewAddress) ([]File, error) {
	suse, v6 := path.Dir(l.File) == suseDir, !a.Prefix.Addr().Is4()
	if suse && v6 && l.DHCP4 {
		return nil, fmt.Errorf("%s: an IPv6 address besides DHCP isn't understood there", l.File)
	}
	var drop, add []string
	if suse || !v6 {
		suffix := addressSuffix(text, a)
		for _, key := range []string{"IPADDR", "NETMASK", "PREFIX", "PREFIXLEN", "BROADCAST", "NETWORK"} {
			drop = append(drop, key+suffix)
		}
		add = []string{"IPADDR" + suffix + "='" + a.Prefix.String() + "'"}
		if !suse {
			add = []string{"IPADDR" + suffix + "=" + a.Prefix.Addr().String(), "NETMASK" + suffix + "=" + netmask(a.Prefix)}
		}
	} else {
		drop, add = []string{"IPV6ADDR", "IPV6INIT"}, []string{"IPV6INIT=yes", "IPV6ADDR=" + a.Prefix.String()}
	}
	if !suse && a.Gateway.IsValid() {
		key := family(a, "GATEWAY", "IPV6_DEFAULTGW")
		drop, add = append(drop, key, key+"0"), append(add, key+"="+a.Gateway.String())
	}
	if len(a.DNS) > 0 && suse {
		return nil, errors.New("name servers are the whole system's there (netconfig): leave dns= out")
	}
	for i, d := range a.DNS {
		key := fmt.Sprintf("DNS%d", i+1)
		drop, add = append(drop, key), append(add, key+"="+d.String())
	}
	if l.DHCP4 && a.Prefix.Addr().Is4() {
		drop, add = append(drop, "BOOTPROTO"), append(add, "BOOTPROTO=static")
	}
	out := []File{{Path: l.File, Text: []byte(assigned(text, drop, add))}}
	if suse && a.Gateway.IsValid() {
		routes := suseDir + "/routes"
		have, _ := read(routes)
		out = append(out, File{Path: routes, Text: []byte(suseRoutes(have, a))})
	}
	return out, nil
}

// addressSuffix is that of the keys that have the address of a family: "", "0", "_1".
// Where none has, it is one that is free.
func addressSuffix(text string, a guest.NewAddress) string {
	have := conf.Assignments([]byte(text))
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if suffix, ok := strings.CutPrefix(key, "IPADDR"); ok && ours(have[key], a) {
			return suffix
		}
	}
	for _, suffix := range []string{"", "_esxodus"} {
		if have["IPADDR"+suffix] == "" {
			return suffix
		}
	}
	return ""
}

// assigned replaces the lines of some keys by others, where the first of them was.
func assigned(text string, drop, add []string) string {
	var out []string
	at := -1
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if slices.Contains(drop, key) {
			if at < 0 {
				at = len(out)
			}
			continue
		}
		out = append(out, line)
	}
	if n := len(out); n > 0 && !strings.HasSuffix(out[n-1], "\n") {
		out[n-1] += "\n"
	}
	if at < 0 {
		at = len(out)
	}
	return strings.Join(slices.Insert(out, at, strings.Join(add, "\n")+"\n"), "")
}

// suseRoutes changes the default route of a family in SUSE's file of routes.
func suseRoutes(text string, a guest.NewAddress) string {
	out := ""
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && isDefault(f[0]) && ours(f[1], a) {
			continue
		}
		out += line
	}
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	return out + "default " + a.Gateway.String() + " - -\n"
}
