package hostnet

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"esxodus/network"

	"github.com/godbus/dbus/v5"
)

// networkManager asks NetworkManager which links it manages.
func networkManager(ctx context.Context, bus *dbus.Conn) []network.Manager {
	const name = "org.freedesktop.NetworkManager"
	if !owned(ctx, bus, name) {
		return nil
	}
	var devices []dbus.ObjectPath
	if err := bus.Object(name, "/org/freedesktop/NetworkManager").CallWithContext(ctx, name+".GetDevices", 0).Store(&devices); err != nil {
		return nil
	}
	m := network.Manager{Name: network.NetworkManager, Evidence: "it says so on D-Bus"}
	for _, path := range devices {
		var all map[string]dbus.Variant
		if err := bus.Object(name, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, name+".Device").Store(&all); err != nil {
			continue // it has gone
		}
		link, _ := all["Interface"].Value().(string)
		managed, _ := all["Managed"].Value().(bool)
		active, _ := all["ActiveConnection"].Value().(dbus.ObjectPath)
		if managed && link != "lo" && len(active) > 1 {
			m.Links = append(m.Links, link)
		}
	}
	slices.Sort(m.Links)
	return []network.Manager{m}
}

// netplan finds the links whose networkd file Netplan wrote.
func (m Machine) netplan(links []network.Link) []network.Manager {
	var files []string
	for _, dir := range []string{"etc/netplan", "run/netplan", "usr/lib/netplan"} {
		found, _ := filepath.Glob(m.path(dir, "*.yaml")) // the pattern is good
		for _, f := range found {
			files = append(files, "/"+dir+"/"+filepath.Base(f))
		}
	}
	if len(files) == 0 {
		return nil
	}
	out := network.Manager{Name: network.Netplan, Evidence: strings.Join(files, ", ")}
	for _, l := range links {
		if strings.HasPrefix(filepath.Base(l.Networkd.File), "10-netplan-") {
			out.Links = append(out.Links, l.Name)
		}
	}
	return []network.Manager{out}
}

// ifupdown finds the links that /etc/network/interfaces has, where ifupdown is
// installed.
func (m Machine) ifupdown() []network.Manager {
	installed := slices.ContainsFunc([]string{"usr/sbin/ifup", "sbin/ifup"}, func(p string) bool {
		_, err := os.Stat(m.path(p))
		return err == nil
	})
	if !installed {
		return nil
	}
	out := network.Manager{Name: network.Ifupdown}
	m.interfaces("/etc/network/interfaces", &out, 0)
	if len(out.Links) == 0 {
		return nil
	}
	slices.Sort(out.Links)
	out.Links = slices.Compact(out.Links)
	return []network.Manager{out}
}

// interfaces reads a file of ifupdown's, and those that it sources.
func (m Machine) interfaces(file string, out *network.Manager, depth int) {
	const deepest = 8
	b, err := os.ReadFile(m.path(file))
	if err != nil || depth > deepest {
		return
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "iface":
			if words[1] != "lo" {
				out.Links = append(out.Links, words[1])
				if !strings.Contains(out.Evidence, file) {
					out.Evidence = strings.TrimPrefix(out.Evidence+", "+file, ", ")
				}
			}
		case "source", "source-directory":
			m.sourced(words, filepath.Dir(file), out, depth)
		}
	}
}

func (m Machine) sourced(words []string, dir string, out *network.Manager, depth int) {
	pattern := words[1]
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	if words[0] == "source-directory" {
		pattern = filepath.Join(pattern, "*")
	}
	found, _ := filepath.Glob(m.path(pattern)) // of a bad pattern ifupdown reads nothing either
	for _, f := range found {
		m.interfaces(filepath.Join(filepath.Dir(pattern), filepath.Base(f)), out, depth+1)
	}
}
