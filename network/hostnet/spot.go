package hostnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Spot is a place on a real network: a packet socket on a device.
type Spot struct {
	file *os.File // the socket
	mac  net.HardwareAddr
	name string
	done func()
}

// OpenSpot takes a place on the network that a guest's NIC is attached to: beside its
// macvtap, where mode is that of one, else on the bridge. It needs root.
func OpenSpot(device, mode string) (*Spot, error) {
	if mode != "" {
		return beside(device, mode)
	}
	i, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	return on(i, device)
}

// MAC is the place's own.
func (s *Spot) MAC() net.HardwareAddr { return s.mac }

const (
	macLength    = 6
	largestFrame = 64 << 10 // of a device that joins segments
)

// beside makes a macvlan beside the macvtaps of a device, which is where their guests
// can be asked from: the device itself doesn't reach them. It has a network namespace
// of its own, so that nothing of this host configures it, and no address. It is gone
// when the spot is closed, or this process ends.
func beside(device, mode string) (*Spot, error) {
	type made struct {
		s   *Spot
		err error
	}
	out, done := make(chan made), make(chan struct{})
	go func() {
		// Never unlocked: the thread ends with this function, and with it its namespace.
		runtime.LockOSThread()
		s, err := makeBeside(device, mode)
		out <- made{s, err}
		if err == nil {
			<-done
		}
	}()
	m := <-out
	if m.err != nil {
		return nil, fmt.Errorf("a macvlan on %s, to ask the guest from: %w", device, m.err)
	}
	m.s.done = func() { close(done) }
	return m.s, nil
}

// makeBeside does that on a thread of its own.
func makeBeside(device, mode string) (_ *Spot, err error) {
	parent, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	host, err := netlink.NewHandle()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	kind := netlink.MACVLAN_MODE_BRIDGE
	if mode == "vepa" {
		kind = netlink.MACVLAN_MODE_VEPA
	}
	const name = "esxodus"
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace = name, parent.Index, netlink.NsFd(ns.Fd())
	if err := host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: kind}); err != nil {
		return nil, err
	}
	made, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: made.Index}}); err != nil {
		return nil, err
	}
	return on(made, device)
}

// on opens a packet socket on an interface of the thread's network namespace.
func on(i *net.Interface, called string) (*Spot, error) {
	if len(i.HardwareAddr) != macLength {
		return nil, fmt.Errorf("%s is no Ethernet device", called)
	}
	every := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(every))
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", called, err)
	}
	f := os.NewFile(uintptr(fd), called)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: i.Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket on %s: %w", called, err), f.Close())
	}
	return &Spot{file: f, mac: i.HardwareAddr, name: called, done: func() {}}, nil
}

// Listen gives take each frame until ctx ends.
func (s *Spot) Listen(ctx context.Context, take func(frame []byte)) error {
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, largestFrame)
	for {
		n, err := s.file.Read(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENETDOWN): // it comes up again
			continue
		case err != nil:
			return fmt.Errorf("listening on %s: %w", s.name, err)
		}
		take(b[:n])
	}
}

// Send sends a frame. One that the device doesn't take is lost, as frames are.
func (s *Spot) Send(frame []byte) error {
	if _, err := s.file.Write(frame); errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("sending on %s: %w", s.name, err)
	}
	return nil
}

// Close leaves the place.
func (s *Spot) Close() error {
	err := s.file.Close()
	s.done()
	return err
}
