package hostnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"esxodus/network"

	"github.com/vishvananda/netlink"
)

// addrGenNone is IN6_ADDR_GEN_MODE_NONE: a device for domains has no address.
const addrGenNone = 1

// Make makes a device and sets it up. One that is there already as it should be
// is left as it is.
func (m Machine) Make(d network.Device) error {
	if l, err := netlink.LinkByName(d.Name); err == nil {
		if why := m.differs(l, d); why != "" {
			return fmt.Errorf("%s: %s", d.Name, why)
		}
		return m.Up(d.Name)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = d.Name, d.MTU
	if d.Parent != "" {
		parent, err := netlink.LinkByName(d.Parent)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Parent, err)
		}
		attrs.ParentIndex = parent.Attrs().Index
	}
	link, err := device(d, attrs)
	if err != nil {
		return err
	}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("making %s (%s): %w", d.Name, d.Kind, err)
	}
	if err := netlink.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil && !ipv6Off(err) {
		return fmt.Errorf("%s: no address of its own: %w", d.Name, err)
	}
	return m.Up(d.Name)
}

// ipv6Off reports whether the kernel knows nothing of IPv6.
func ipv6Off(err error) bool {
	return strings.Contains(err.Error(), "not supported") || strings.Contains(err.Error(), "address family")
}

func device(d network.Device, attrs netlink.LinkAttrs) (netlink.Link, error) {
	switch d.Kind {
	case network.KindVLAN:
		return &netlink.Vlan{LinkAttrs: attrs, VlanId: d.VLAN}, nil
	case network.KindDummy:
		return &netlink.Dummy{LinkAttrs: attrs}, nil
	case network.KindMacvlan:
		return &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}, nil
	}
	return nil, fmt.Errorf("%s: %q is no kind of device that esxodus makes", d.Name, d.Kind)
}

// differs says why a link isn't the device, "" if it is.
func (m Machine) differs(l netlink.Link, d network.Device) string {
	names := map[int]string{}
	if parent, err := netlink.LinkByIndex(l.Attrs().ParentIndex); err == nil {
		names[l.Attrs().ParentIndex] = parent.Attrs().Name
	}
	have := m.link(l, names)
	if have.Kind != d.Kind || have.Parent != d.Parent || have.VLAN != d.VLAN {
		return fmt.Sprintf("it is another device (%q on %q, VLAN %d), not the %s on %q, VLAN %d, that was planned", have.Kind, have.Parent, have.VLAN, d.Kind, d.Parent, d.VLAN)
	}
	return ""
}

// Up sets a link up.
func (m Machine) Up(name string) error { return set(name, "up", netlink.LinkSetUp) }

// Down sets a link down that [Machine.Up] set up. One that isn't there is down; one
// that others stand on by now, or that has got an address, stays up.
func (m Machine) Down(name string) error {
	if gone(name) {
		return nil
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	users, err := standing(l)
	if err != nil {
		return err
	}
	has, err := addresses(l)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", name, err)
	}
	own := func(a network.Address) bool { return a.Scope != "link" }
	if len(users) > 0 || slices.ContainsFunc(has, own) {
		return nil
	}
	return set(name, "down", netlink.LinkSetDown)
}

// standing lists the devices that stand on a link.
func standing(l netlink.Link) ([]string, error) {
	all, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("network interfaces: %w", err)
	}
	var users []string
	for _, other := range all {
		if kind := other.Type(); other.Attrs().ParentIndex == l.Attrs().Index && (kind == "macvtap" || kind == "macvlan" || kind == "vlan" || kind == "ipvlan") {
			users = append(users, other.Attrs().Name)
		}
	}
	return users, nil
}

func set(name, state string, do func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = do(l)
	}
	if err != nil {
		return fmt.Errorf("setting %s %s: %w", name, state, err)
	}
	return nil
}

func gone(name string) bool {
	_, err := netlink.LinkByName(name)
	_, missing := errors.AsType[netlink.LinkNotFoundError](err)
	return missing
}

// Remove removes a device that [Machine.Make] made, or that networkd made of the
// files for it. One that is something else by now stays, and so does one on which
// others stand: a domain's macvtap would go with it.
func (m Machine) Remove(d network.Device) error {
	if gone(d.Name) {
		return nil
	}
	l, err := netlink.LinkByName(d.Name)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name, err)
	}
	if why := m.differs(l, d); why != "" {
		return nil // not ours: somebody removed that, and made another
	}
	users, err := standing(l)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%s is in use by %s: shut down the domains that have them", d.Name, strings.Join(users, ", "))
	}
	if err := netlink.LinkDel(l); err != nil {
		return fmt.Errorf("removing %s: %w", d.Name, err)
	}
	return nil
}
