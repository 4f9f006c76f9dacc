package netrun

import (
	"context"
	"fmt"

	"esxodus/network"
)

// virtual is what one of libvirt's networks is, which must be what was planned with.
func (x *executor) virtual(ctx context.Context, c *network.VirtualChange) (network.Virtual, error) {
	is, _, err := x.Libvirt(c.URI).Virtual(ctx, c.Name())
	if err == nil && is != c.Old {
		err = fmt.Errorf("libvirt's network %s isn't what it was when this was planned: plan again", c.Name())
	}
	return is, err
}

// setVirtual removes one of libvirt's networks, or has it be as it is wanted.
func (x *executor) setVirtual(ctx context.Context, c *network.VirtualChange) error {
	if c.New != nil {
		return x.Libvirt(c.URI).RestoreVirtual(ctx, *c.New)
	}
	return x.Libvirt(c.URI).RemoveVirtual(ctx, c.Old)
}

// unsetVirtual has it be as it was.
func (x *executor) unsetVirtual(ctx context.Context, c *network.VirtualChange, was network.Virtual) error {
	v := x.Libvirt(c.URI)
	if c.New != nil {
		if err := v.RemoveVirtual(ctx, *c.New); err != nil || was.Name == "" {
			return err
		}
	}
	return v.RestoreVirtual(ctx, was)
}
