package netrun

import (
	"context"
	"fmt"

	"esxodus/network"
)

// owner is who has the network of a change.
func (x *executor) owner(c *network.VirtualChange) Virtuals {
	if c.Of().LXD != nil {
		return x.LXD
	}
	return x.Libvirt(c.URI)
}

// virtual is what a network is, which must be what was planned with.
func (x *executor) virtual(ctx context.Context, c *network.VirtualChange) (network.Virtual, error) {
	is, _, err := x.owner(c).Virtual(ctx, c.Of().Name)
	if err == nil && !is.Same(c.Old) {
		err = fmt.Errorf("%s isn't what it was when this was planned: plan again", c.Of())
	}
	return is, err
}

// setVirtual removes a network, or has it be as it is wanted.
func (x *executor) setVirtual(ctx context.Context, c *network.VirtualChange) error {
	if c.New != nil {
		return x.owner(c).RestoreVirtual(ctx, *c.New)
	}
	return x.owner(c).RemoveVirtual(ctx, c.Old)
}

// unsetVirtual has it be as it was.
func (x *executor) unsetVirtual(ctx context.Context, c *network.VirtualChange, was network.Virtual) error {
	v := x.owner(c)
	if c.New != nil {
		if err := v.RemoveVirtual(ctx, *c.New); err != nil || was.Name == "" {
			return err
		}
	}
	return v.RestoreVirtual(ctx, was)
}
