package virt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// Users lists the domains that are attached to each of the host's links: itself,
// by a bridge, or by a network of libvirt's that stands on it; and those that are
// attached to each of these networks. A domain that is
// shut off counts, and of one that runs also what it was given while it ran.
func (c *Conn) Users(ctx context.Context) (map[string][]string, error) {
	standing, err := c.standing(ctx)
	if err != nil {
		return nil, err
	}
	doms, err := c.lv.ListAllDomains(0)
	if err != nil {
		return nil, explain("domains of "+c.uri, err)
	}
	users := map[string][]string{}
	for i := range doms {
		d, e := bothXML(&doms[i])
		if is(e, libvirt.ERR_NO_DOMAIN) {
			e = nil // it went away as we looked
		}
		err = errors.Join(err, explain("domains of "+c.uri, e), doms[i].Free())
		for _, link := range linksOf(d, standing) {
			users[link] = append(users[link], d[0].Name)
		}
	}
	for _, names := range users {
		slices.Sort(names)
	}
	return users, err
}

// NetworkKey is what [Conn.Users] calls a network of libvirt's: no link has such a
// name.
func NetworkKey(name string) string { return "network/" + name }

// standing lists the links that each of libvirt's networks stands on.
func (c *Conn) standing(ctx context.Context) (map[string][]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	nets, err := c.lv.ListAllNetworks(0)
	if err != nil {
		return nil, explain("networks of "+c.uri, err)
	}
	out := map[string][]string{}
	for i := range nets {
		doc, e := nets[i].GetXMLDesc(0)
		err = errors.Join(err, nets[i].Free())
		if is(e, libvirt.ERR_NO_NETWORK) {
			continue
		}
		var n libvirtxml.Network
		if e == nil {
			e = n.Unmarshal(doc)
		}
		err = errors.Join(err, explain("networks of "+c.uri, e))
		out[n.Name] = linksOfNetwork(&n)
	}
	return out, err
}

func linksOfNetwork(n *libvirtxml.Network) []string {
	var out []string
	if n.Bridge != nil {
		out = append(out, n.Bridge.Name)
	}
	if n.Forward == nil {
		return out
	}
	out = append(out, n.Forward.Dev)
	for _, i := range n.Forward.Interfaces {
		out = append(out, i.Dev)
	}
	for _, p := range n.Forward.PFs {
		out = append(out, p.Dev)
	}
	return out
}

// bothXML reads what a domain will be, and what it is now where it runs.
func bothXML(dom *libvirt.Domain) ([]*libvirtxml.Domain, error) {
	var out []*libvirtxml.Domain
	for _, flags := range []libvirt.DomainXMLFlags{libvirt.DOMAIN_XML_INACTIVE, 0} {
		doc, err := dom.GetXMLDesc(flags)
		if err != nil {
			return nil, err
		}
		d, err := parse(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doc[:min(len(doc), 80)], err)
		}
		out = append(out, d)
	}
	return out, nil
}

// linksOf lists the links that a domain's NICs are attached to, each once.
func linksOf(ds []*libvirtxml.Domain, standing map[string][]string) []string {
	var out []string
	for _, d := range ds {
		for _, n := range nics(d) {
			switch s := n.Source; {
			case s == nil:
			case s.Direct != nil:
				out = append(out, s.Direct.Dev)
			case s.Bridge != nil:
				out = append(out, s.Bridge.Bridge)
			case s.Network != nil:
				out = append(out, s.Network.Bridge, NetworkKey(s.Network.Network))
				out = append(out, standing[s.Network.Network]...)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(link string) bool { return link == "" })
}
