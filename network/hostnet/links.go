package hostnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"esxodus/network"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// whole asks again where the kernel's answer was cut by a change meanwhile.
func whole[T any](ask func() (T, error)) (T, error) {
	const tries = 10
	var answer T
	var err error
	for range tries {
		if answer, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return answer, err
}

// links reads the kernel's links, with their addresses and routes.
func (m Machine) links() ([]network.Link, error) {
	all, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("network interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	routes, err := routes()
	if err != nil {
		return nil, err
	}
	var links []network.Link
	for _, l := range all {
		link := m.link(l, names)
		if link.Addresses, err = addresses(l); err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", link.Name, err)
		}
		link.Routes = routes[link.Index]
		links = append(links, link)
	}
	return links, nil
}

func (m Machine) link(l netlink.Link, names map[int]string) network.Link {
	a := l.Attrs()
	link := network.Link{
		Name: a.Name, Index: a.Index, MTU: a.MTU, MAC: a.HardwareAddr.String(),
		Up: a.Flags&net.FlagUp != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Master: names[a.MasterIndex],
	}
	if l.Type() != "device" {
		link.Kind = l.Type()
	}
	if slices.Contains([]string{"vlan", "macvlan", "macvtap", "ipvlan"}, link.Kind) {
		link.Parent = names[a.ParentIndex]
	}
	if v, ok := l.(*netlink.Vlan); ok {
		link.VLAN = v.VlanId
	}
	dir := m.path("sys/class/net", a.Name)
	link.SpeedMbps = max(number(filepath.Join(dir, "speed")), 0)
	if link.Kind == "" {
		m.functions(&link)
	}
	_, err := os.Lstat(filepath.Join(dir, "phy80211"))
	link.Wireless = err == nil
	if driver, err := os.Readlink(filepath.Join(dir, "device/driver")); err == nil {
		link.Driver = filepath.Base(driver)
	}
	return link
}

// number reads one of sysfs's numbers, 0 where there is none.
func number(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

func addresses(l netlink.Link) ([]network.Address, error) {
	all, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	var out []network.Address
	for _, a := range all {
		out = append(out, network.Address{CIDR: a.IPNet.String(), Scope: map[int]string{unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host"}[a.Scope]})
	}
	return out, nil
}

// routeKind is what routes are counted by.
type routeKind struct{ link, protocol, table, family int }

// routes reads the routes of all tables, by the index of their link.
func routes() (map[int][]network.Routes, error) {
	const examples = 3
	count := map[routeKind]*network.Routes{}
	for family, name := range map[int]int{netlink.FAMILY_V4: 4, netlink.FAMILY_V6: 6} {
		took := func(r netlink.Route) bool {
			for _, via := range hops(r) {
				k := routeKind{via.LinkIndex, int(r.Protocol), r.Table, name}
				if count[k] == nil {
					count[k] = &network.Routes{Protocol: r.Protocol.String(), Table: r.Table, Family: name}
				}
				c := count[k]
				c.Count++
				c.Foreign = !slices.Contains([]int{unix.RTPROT_KERNEL, unix.RTPROT_RA, unix.RTPROT_DHCP, unix.RTPROT_STATIC}, k.protocol)
				c.Default = c.Default || isDefault(r.Dst)
				if len(c.Examples) < examples {
					c.Examples = append(c.Examples, routeText(r.Dst, via.Gw))
				}
			}
			return true
		}
		filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		if err := netlink.RouteListFilteredIter(family, filter, netlink.RT_FILTER_TABLE, took); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("routes: %w", err)
		}
	}
	out := map[int][]network.Routes{}
	for k, c := range count {
		out[k.link] = append(out[k.link], *c)
	}
	for _, rs := range out {
		slices.SortFunc(rs, func(a, b network.Routes) int {
			return strings.Compare(fmt.Sprint(a.Family, a.Table, a.Protocol), fmt.Sprint(b.Family, b.Table, b.Protocol))
		})
	}
	return out, nil
}

// hops are the ways that a route takes. The local table's own routes are nobody's
// concern: they come and go with the addresses.
func hops(r netlink.Route) []*netlink.NexthopInfo {
	if r.Table == unix.RT_TABLE_LOCAL {
		return nil
	}
	if len(r.MultiPath) > 0 {
		return r.MultiPath
	}
	return []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

func routeText(dst *net.IPNet, gw net.IP) string {
	text := "default"
	if !isDefault(dst) {
		text = dst.String()
	}
	if gw != nil {
		text += " via " + gw.String()
	}
	return text
}

// rules reads the rules of policy routing but the kernel's own.
func rules() ([]network.Rule, error) {
	var out []network.Rule
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := whole(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if err != nil {
			return nil, fmt.Errorf("rules of policy routing: %w", err)
		}
		for _, r := range all {
			if r.Protocol == unix.RTPROT_KERNEL {
				continue
			}
			text := r.String()
			if family == netlink.FAMILY_V6 {
				text = "IPv6 " + text
			}
			out = append(out, network.Rule{Text: strings.TrimSpace(text), Protocol: netlink.RouteProtocol(r.Protocol).String()})
		}
	}
	return out, nil
}
