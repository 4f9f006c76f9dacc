// Package hostnet reads this host's networking as it is, and does the few things
// that need no file: devices by netlink, a reload of networkd. It is the one room
// that touches the network of the machine that it runs on; package network decides
// what is done.
package hostnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"esxodus/network"

	"github.com/godbus/dbus/v5"
)

// Machine is a host. What it says of links is of the network namespace that the
// calling thread is in.
type Machine struct {
	Root string // under which /etc, /run, /usr and /sys are; "" for /
}

// Read reads the host. What can't be read is said in it, if a plan can be made all
// the same.
func (m Machine) Read(ctx context.Context) (network.Host, error) {
	var h network.Host
	var err error
	if h.Name, err = os.Hostname(); err != nil {
		return h, fmt.Errorf("this host's name: %w", err)
	}
	if h.Links, err = m.links(); err != nil {
		return h, err
	}
	if h.Rules, err = rules(); err != nil {
		return h, err
	}
	if h.Files, err = m.files(); err != nil {
		return h, err
	}
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		h.Networkd = network.Networkd{Version: m.version(), Unknown: "D-Bus doesn't answer: " + err.Error()}
	} else {
		m.networkd(ctx, bus, &h)
		h.Managers = networkManager(ctx, bus)
		err = bus.Close()
	}
	h.Managers = append(h.Managers, m.netplan(h.Links)...)
	h.Managers = append(h.Managers, m.ifupdown()...)
	m.dnsmasqs(h.Links)
	h.IOMMU = m.iommu()
	h.Came = came(h.Links)
	slices.SortFunc(h.Links, func(a, b network.Link) int { return cmp.Compare(a.Name, b.Name) })
	if errors.Is(err, dbus.ErrClosed) || h.Networkd.Unknown != "" {
		err = nil
	}
	return h, err
}

// path is where one of the host's files is.
func (m Machine) path(elements ...string) string {
	return filepath.Join(append([]string{"/", m.Root}, elements...)...)
}
