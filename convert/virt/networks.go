package virt

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"esxodus/network"
)

// Network finds one of libvirt's own networks.
func (c *Conn) Network(ctx context.Context, name string) (out network.Virtual, found bool, err error) {
	n, err := c.network(ctx, name)
	if n == nil || err != nil {
		return out, false, err
	}
	defer func() { err = errors.Join(err, n.Free()) }()
	out, err = describeNetwork(n)
	return out, err == nil, explain("network "+name, err)
}

// network looks one up, nil if there is none.
func (c *Conn) network(ctx context.Context, name string) (*libvirt.Network, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n, err := c.lv.LookupNetworkByName(name)
	if is(err, libvirt.ERR_NO_NETWORK) {
		return nil, nil
	}
	return n, explain("network "+name, err)
}

func describeNetwork(n *libvirt.Network) (out network.Virtual, err error) {
	if out.Active, err = n.IsActive(); err != nil {
		return out, err
	}
	if out.Persistent, err = n.IsPersistent(); err != nil {
		return out, err
	}
	var flags libvirt.NetworkXMLFlags
	if out.Persistent {
		flags = libvirt.NETWORK_XML_INACTIVE
		if out.AutoStart, err = n.GetAutostart(); err != nil {
			return out, err
		}
	}
	if out.XML, err = n.GetXMLDesc(flags); err != nil {
		return out, err
	}
	var d libvirtxml.Network
	if err := d.Unmarshal(out.XML); err != nil {
		return out, err
	}
	out.Name, out.UUID = d.Name, d.UUID
	if d.Bridge != nil {
		out.Bridge = d.Bridge.Name
	}
	return out, nil
}

// RemoveNetwork stops and undefines a network, if it is the one that is meant.
func (c *Conn) RemoveNetwork(ctx context.Context, was network.Virtual) (err error) {
	n, err := c.network(ctx, was.Name)
	if n == nil || err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Free()) }()
	is, err := describeNetwork(n)
	if err != nil {
		return explain("network "+was.Name, err)
	}
	if is.UUID != was.UUID {
		return another(was)
	}
	if is.Active {
		err = n.Destroy()
	}
	if err == nil && is.Persistent {
		err = n.Undefine()
	}
	return explain("removing the network "+was.Name, err)
}

// RestoreNetwork has a network be as it was.
func (c *Conn) RestoreNetwork(ctx context.Context, was network.Virtual) (err error) {
	n, err := c.network(ctx, was.Name)
	if err == nil && n == nil {
		n, err = c.makeNetwork(was)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Free()) }()
	is, err := describeNetwork(n)
	if err == nil && is.UUID != was.UUID {
		return another(was)
	}
	if err == nil && is.AutoStart != was.AutoStart {
		err = n.SetAutostart(was.AutoStart)
	}
	if err == nil && was.Active && !is.Active {
		err = n.Create()
	}
	return explain("restoring the network "+was.Name, err)
}

func (c *Conn) makeNetwork(was network.Virtual) (*libvirt.Network, error) {
	define := c.lv.NetworkDefineXML
	if !was.Persistent {
		define = c.lv.NetworkCreateXML
	}
	n, err := define(was.XML)
	return n, explain("restoring the network "+was.Name, err)
}

func another(was network.Virtual) error {
	return fmt.Errorf("libvirt has another network %s by now: rename that one, then go on", was.Name)
}
