package netconf

import (
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ByMAC changes a file that finds NICs by their place or their driver to find those
// of the given addresses. ok is false where the file can't say so, or in a way that
// isn't understood.
func ByMAC(file, text string, macs []string) (changed string, ok bool) {
	switch path.Ext(file) {
	case ".network":
		return networkByMAC(text, macs)
	case ".yaml":
		return netplanByMAC(text, macs)
	}
	if path.Base(path.Dir(file)) == "system-connections" {
		return keyfileByMAC(text, macs)
	}
	return "", false
}

// networkByMAC is for systemd.network(5). Path= keeps VLANs and bridges out, which
// have a NIC's address, but no place on a bus.
func networkByMAC(text string, macs []string) (string, bool) {
	gone := func(key, value string) bool {
		return key == "Path" || key == "Driver" || key == "Virtualization" && value == "vmware"
	}
	add := "Path=*pci-*\n"
	if !hasKey(text, "[Match]", "MACAddress") && !hasKey(text, "[Match]", "PermanentMACAddress") {
		add = "MACAddress=" + strings.Join(macs, " ") + "\n" + add
	}
	here := false // and in no drop-in
	out, done := inSection(text, "[Match]", func(key, value string) bool {
		here = here || gone(key, value)
		return gone(key, value)
	}, add)
	return out, done && here
}

// keyfileByMAC is for nm-settings-keyfile(5), where a connection has one address.
func keyfileByMAC(text string, macs []string) (string, bool) {
	if len(macs) != 1 || hasKey(text, "[ethernet]", "mac-address") || hasKey(text, "[802-3-ethernet]", "mac-address") {
		return "", false
	}
	out, done := inSection(text, "[match]", func(key, _ string) bool { return key == "path" || key == "driver" }, "")
	if !done {
		return "", false
	}
	line := "mac-address=" + macs[0] + "\n"
	if with, there := inSection(out, "[ethernet]", func(_, _ string) bool { return false }, line); there {
		return with, true
	}
	return strings.TrimRight(out, "\n") + "\n\n[ethernet]\n" + line, true
}

// netplanDriver is a match by driver in a file of netplan's.
var netplanDriver = regexp.MustCompile(`\bdriver:[ \t]*("[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_*?]+)`)

// netplanByMAC is for netplan(5), where a definition has one address.
func netplanByMAC(text string, macs []string) (string, bool) {
	at := netplanDriver.FindAllStringIndex(text, -1)
	if len(macs) != 1 || len(at) != 1 {
		return "", false
	}
	out := text[:at[0][0]] + `macaddress: "` + macs[0] + `"` + text[at[0][1]:]
	var m map[string]any
	return out, yaml.Unmarshal([]byte(out), &m) == nil // a match that has an address already has two now
}

// inSection drops the lines of some keys from a section and adds others at its
// beginning. ok is false where there is no such section.
func inSection(text, section string, drop func(key, value string) bool, add string) (out string, ok bool) {
	var b strings.Builder
	in := false
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		if strings.HasPrefix(word, "[") {
			in = word == section
			b.WriteString(line)
			if in && !ok {
				if !strings.HasSuffix(line, "\n") {
					b.WriteByte('\n')
				}
				b.WriteString(add)
				ok = true
			}
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		if in && drop(strings.TrimSpace(key), strings.TrimSpace(value)) {
			continue
		}
		b.WriteString(line)
	}
	return b.String(), ok
}

// hasKey reports whether a section has a key.
func hasKey(text, section, key string) bool {
	has := false
	_, _ = inSection(text, section, func(k, _ string) bool { has = has || k == key; return false }, "")
	return has
}
