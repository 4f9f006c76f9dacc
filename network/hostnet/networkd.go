package hostnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"esxodus/network"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The names of networkd on D-Bus.
const (
	networkdName    = "org.freedesktop.network1"
	networkdPath    = "/org/freedesktop/network1"
	networkdManager = "org.freedesktop.network1.Manager."
)

// networkd asks networkd what it does with each link.
func (m Machine) networkd(ctx context.Context, bus *dbus.Conn, h *network.Host) {
	h.Networkd.Version = systemdVersion(ctx, bus)
	if h.Networkd.Version == 0 {
		h.Networkd.Version = m.version()
	}
	if !owned(ctx, bus, networkdName) { // to call it would start it
		return
	}
	h.Networkd.Running = true
	var pid uint32
	if err := bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, networkdName).Store(&pid); err == nil {
		h.Networkd.Started = started(pid)
	}
	for i := range h.Links {
		l := &h.Links[i]
		if err := m.describe(ctx, bus, l); err != nil {
			h.Networkd.Unknown = fmt.Sprintf("networkd says nothing of %s: %v", l.Name, err)
			return
		}
	}
}

// owned reports whether a program with that name is on the bus.
func owned(ctx context.Context, bus *dbus.Conn, name string) bool {
	var has bool
	err := bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, name).Store(&has)
	return err == nil && has
}

// systemdVersion asks process 1.
func systemdVersion(ctx context.Context, bus *dbus.Conn) int {
	const systemd = "org.freedesktop.systemd1"
	if !owned(ctx, bus, systemd) {
		return 0
	}
	var v dbus.Variant
	obj := bus.Object(systemd, "/org/freedesktop/systemd1")
	if err := obj.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemd+".Manager", "Version").Store(&v); err != nil {
		return 0
	}
	text, _ := v.Value().(string)
	return leadingNumber(strings.TrimPrefix(text, "v"))
}

// started is when a process started, the zero time if that can't be known.
func started(pid uint32) time.Time {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return time.Time{}
	}
	// proc(5): the 22nd field, the 20th after the name, in ticks of 10 ms since boot.
	const field, tick = 19, 10 * time.Millisecond
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) <= field {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(string(fields[field]), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(ticks)*tick - time.Duration(now.Nano())).Round(0)
}

// described is what networkd says of a link, as much of it as is used.
type described struct {
	NetworkFile         string
	AdministrativeState string
	Addresses           []struct {
		Address      []byte // an array of numbers
		PrefixLength int
		ConfigSource string
	}
	Routes []struct {
		Protocol     int
		Table        int
		ConfigSource string
	}
}

// describe asks networkd for one link. Before 249 it can't answer; then its state
// files say what is needed.
func (m Machine) describe(ctx context.Context, bus *dbus.Conn, l *network.Link) error {
	var text string
	err := bus.Object(networkdName, networkdPath).CallWithContext(ctx, networkdManager+"DescribeLink", 0, int32(l.Index)).Store(&text) //nolint:gosec // the kernel's are that small
	if err != nil {
		return m.stateFile(l, err)
	}
	var d described
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	l.Networkd.File, l.Networkd.State = d.NetworkFile, d.AdministrativeState
	for _, a := range d.Addresses {
		cidr := fmt.Sprintf("%s/%d", net.IP(a.Address), a.PrefixLength)
		for i := range l.Addresses {
			if l.Addresses[i].CIDR == cidr {
				l.Addresses[i].Source = a.ConfigSource
			}
		}
	}
	for _, r := range d.Routes {
		for i := range l.Routes {
			k := &l.Routes[i]
			if r.Protocol == unix.RTPROT_STATIC && k.Protocol == "static" && k.Table == r.Table && r.ConfigSource == "foreign" {
				k.Foreign = true
			}
		}
	}
	return nil
}

// stateFile reads networkd's own note of a link: not for others to parse, but all
// that there is on releases which say it nowhere else.
func (m Machine) stateFile(l *network.Link, why error) error {
	b, err := os.ReadFile(m.path("run/systemd/netif/links", strconv.Itoa(l.Index)))
	if err != nil {
		return fmt.Errorf("%w; and %w", why, err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		switch key, value, _ := strings.Cut(line, "="); key {
		case "ADMIN_STATE":
			l.Networkd.State = value
		case "NETWORK_FILE":
			l.Networkd.File = value
		}
	}
	return nil
}

// Reload has networkd read its files, and waits until it has configured what that
// concerns.
func (m Machine) Reload(ctx context.Context) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("D-Bus: %w", err)
	}
	defer func() { _ = bus.Close() }() // nothing is left to send
	if !owned(ctx, bus, networkdName) {
		return errors.New("networkd doesn't run")
	}
	if err := bus.Object(networkdName, networkdPath).CallWithContext(ctx, networkdManager+"Reload", 0).Err; err != nil {
		return fmt.Errorf("networkd: reload: %w", err)
	}
	return nil
}
