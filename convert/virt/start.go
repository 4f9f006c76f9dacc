package virt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"
)

// Start starts the domain of a run. One that runs already is no error; one that isn't
// there, or is another's, is.
func (c *Conn) Start(ctx context.Context, name, run string) error {
	return c.onDomain(ctx, name, run, "starting", func(dom *libvirt.Domain, info Info) error {
		if info.Active {
			return nil
		}
		err := dom.Create()
		if is(err, libvirt.ERR_OPERATION_INVALID) { // somebody was faster
			if on, asked := dom.IsActive(); asked == nil && on {
				return nil
			}
		}
		return err
	})
}

// Stop stops the domain of a run: by its power button, and where it still runs after
// patience, or ctx ends, for good. One that is off, or isn't there, is no error.
func (c *Conn) Stop(ctx context.Context, name, run string, patience time.Duration) error {
	if _, ok, err := c.Lookup(ctx, name); err != nil || !ok {
		return err
	}
	return c.onDomain(ctx, name, run, "stopping", func(dom *libvirt.Domain, info Info) error {
		if !info.Active {
			return nil
		}
		if patience > 0 && dom.Shutdown() == nil && goesOff(ctx, dom, patience) {
			return nil
		}
		err := dom.Destroy()
		if is(err, libvirt.ERR_OPERATION_INVALID) || is(err, libvirt.ERR_NO_DOMAIN) { // it went off meanwhile
			return nil
		}
		return err
	})
}

// goesOff waits for a domain to be off.
func goesOff(ctx context.Context, dom *libvirt.Domain, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if on, err := dom.IsActive(); err == nil && !on {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// AutoStart has libvirt start the domain of a run, or not, when this host boots. One that
// isn't there, as it was moved to another host, is no error.
func (c *Conn) AutoStart(ctx context.Context, name, run string, on bool) error {
	if _, ok, err := c.Lookup(ctx, name); err != nil || !ok {
		return err
	}
	return c.onDomain(ctx, name, run, "autostart of", func(dom *libvirt.Domain, _ Info) error { return dom.SetAutostart(on) })
}

// agentPort is what qemu-guest-agent listens at.
const agentPort = "org.qemu.guest_agent.0"

// Agent reports whether the agent of a running domain's guest is connected, and
// whether the domain runs.
func (c *Conn) Agent(ctx context.Context, name, run string) (connected, runs bool, err error) {
	err = c.onDomain(ctx, name, run, "asking", func(dom *libvirt.Domain, _ Info) error {
		if runs, err = dom.IsActive(); err != nil || !runs {
			return err
		}
		live, err := dom.GetXMLDesc(0)
		if err != nil {
			return err
		}
		d, err := parse(live)
		if err != nil || d.Devices == nil {
			return err
		}
		for _, ch := range d.Devices.Channels {
			if t := ch.Target; t != nil && t.VirtIO != nil && t.VirtIO.Name == agentPort && t.VirtIO.State == "connected" {
				connected = true
			}
		}
		return nil
	})
	return connected, runs, err
}

// onDomain does something to the domain of a run, and to no other.
func (c *Conn) onDomain(ctx context.Context, name, run, doing string, do func(*libvirt.Domain, Info) error) error {
	info, ok, err := c.Lookup(ctx, name)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("domain %s: libvirt has none of that name: was it undefined, or moved to another host?", name)
	case info.Run != run || run == "":
		return fmt.Errorf("domain %s: it isn't the one that this migration defined: it stays as it is", name)
	}
	dom, err := c.lv.LookupDomainByUUIDString(info.UUID)
	if err != nil {
		return explain("domain "+name, err)
	}
	err = explain(doing+" "+name, do(dom, info))
	return errors.Join(err, dom.Free())
}
