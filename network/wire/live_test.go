package wire

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/network/hostnet"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// uplink makes a device that macvlans can be made on, and removes it again.
func uplink(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		fixtures.Missing(t, "root, to make network devices")
	}
	name := fmt.Sprintf("esx%x", rand.Uint32())
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: name + "p"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	for _, end := range []string{name, name + "p"} {
		l, err := netlink.LinkByName(end)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// neighbour is a machine on the device's network whose kernel has the addresses. It
// is there until the test ends. It returns its MAC.
func neighbour(t *testing.T, device string, addresses ...string) string {
	t.Helper()
	type result struct {
		mac string
		err error
	}
	up, down := make(chan result), make(chan struct{})
	t.Cleanup(func() { close(down) })
	go func() {
		runtime.LockOSThread() // never unlocked: its namespace ends with it
		mac, err := makeNeighbour(device, addresses)
		up <- result{mac, err}
		<-down
	}()
	r := <-up
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.mac
}

func makeNeighbour(device string, addresses []string) (string, error) {
	parent, err := net.InterfaceByName(device)
	if err != nil {
		return "", err
	}
	host, err := netlink.NewHandle()
	if err != nil {
		return "", err
	}
	defer host.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return "", err
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return "", err
	}
	defer func() { _ = ns.Close() }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace = "guest0", parent.Index, netlink.NsFd(ns.Fd())
	if err := host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return "", err
	}
	made, err := netlink.LinkByName("guest0")
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return "", err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(made, addr); err != nil {
			return "", err
		}
	}
	return made.Attrs().HardwareAddr.String(), netlink.LinkSetUp(made)
}

// until runs it until what is awaited is so.
func (l *Live) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	await(t, what, is)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func spot(device, mode string) (Place, error) {
	s, err := hostnet.OpenSpot(device, mode)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func live(t *testing.T, n LiveNIC) *Live {
	t.Helper()
	l, err := OpenLive([]LiveNIC{n}, spot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func addressesOf(texts ...string) (out []Address) {
	for _, s := range texts {
		out = append(out, Address{Prefix: netip.MustParsePrefix(s)})
	}
	return out
}

// A guest's kernel answers for its addresses of both families, to one that has none.
func TestLiveAnswers(t *testing.T) {
	device := uplink(t)
	mac := neighbour(t, device, "192.0.2.20/24", "2001:db8::20/64")
	l := live(t, LiveNIC{Name: "ens192", MAC: mac, Device: device, Mode: "bridge", Addresses: addressesOf("192.0.2.20/24", "2001:db8::20/64")})
	l.until(t, "both addresses answer", func() bool { is, _ := l.Passed(); return is })
	if taken := l.Taken(true); len(taken) > 0 {
		t.Errorf("taken: %q", taken)
	}
	if taken := l.Taken(false); len(taken) != 2 {
		t.Errorf("before its start both of its addresses would be taken: %q", taken)
	}
}

// Somebody else with the address is no answer.
func TestLiveTaken(t *testing.T) {
	device := uplink(t)
	mac := neighbour(t, device, "192.0.2.20/24")
	l := live(t, LiveNIC{Name: "ens192", MAC: "52:54:00:00:00:01", Device: device, Mode: "bridge", Addresses: addressesOf("192.0.2.20/24")})
	l.until(t, "the address is taken", func() bool { return len(l.Taken(true)) > 0 })
	if got, want := l.Taken(true), []string{"192.0.2.20 is had by " + mac}; !slices.Equal(got, want) {
		t.Errorf("taken %q, want %q", got, want)
	}
	if is, _ := l.Passed(); is {
		t.Error("another's answer counts as the guest's")
	}
	if s := l.Results()[0].String(); !strings.Contains(s, "192.0.2.20 doesn't answer, and "+mac) {
		t.Errorf("said %q", s)
	}
}

// Of a guest with no known address it is learnt what it is heard to have, and asked.
func TestLiveLearns(t *testing.T) {
	device := uplink(t)
	mac := neighbour(t, device, "192.0.2.30/24")
	neighbour(t, device, "192.0.2.31/24")
	asker := live(t, LiveNIC{Name: "asker", MAC: "52:54:00:00:00:09", Device: device, Mode: "bridge", Addresses: addressesOf("192.0.2.30/24")})
	l := live(t, LiveNIC{Name: "ethernet0", MAC: mac, Device: device, Mode: "bridge"})
	// What the guest sends to all is heard: here a gratuitous ARP, as at its start.
	says(t, asker, mac, "192.0.2.30")
	l.until(t, "the guest's address is learnt, and answers", func() bool {
		says(t, asker, mac, "192.0.2.30")
		a := l.Results()[0].Answers
		return len(a) == 1 && a[0].Learned && a[0].After != 0 && a[0].Address == netip.MustParseAddr("192.0.2.30")
	})
	if is, _ := l.Passed(); !is {
		t.Error("a guest that was heard isn't there")
	}
}

// says has an announcement of a guest's sent, by another's socket.
func says(t *testing.T, by *Live, mac, address string) {
	t.Helper()
	m, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr(address)
	frame, err := ask(hw(m), a, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := by.nics[0].spot.Send(tagged(0, frame)); err != nil {
		t.Fatal(err)
	}
}

// Nothing is left of the places: the device's macvlans are gone.
func TestLiveLeavesNothing(t *testing.T) {
	device := uplink(t)
	l, err := OpenLive([]LiveNIC{{Name: "a", MAC: "52:54:00:00:00:01", Device: device, Mode: "bridge"}, {Name: "b", MAC: "52:54:00:00:00:02", Device: device, Mode: "bridge"}}, spot)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	parent, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	// A passthru macvlan can be made only where there is no other.
	await(t, "the macvlans are gone", func() bool {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = device+"q", parent.Attrs().Index
		sole := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PASSTHRU}
		return netlink.LinkAdd(sole) == nil && netlink.LinkDel(sole) == nil
	})
}

// A device that isn't there is named.
func TestLiveNoDevice(t *testing.T) {
	for _, mode := range []string{"", "bridge"} {
		_, err := OpenLive([]LiveNIC{{Name: "a", MAC: "52:54:00:00:00:01", Device: "esx-none0", Mode: mode}}, spot)
		if err == nil || !strings.Contains(err.Error(), "esx-none0") {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
}
