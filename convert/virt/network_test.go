package virt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/network/wire"

	"golang.org/x/sync/errgroup"
)

const wiredMAC = "52:54:00:12:34:56"

// wired gives a guest Debian's kernel, which runs a command, and its NIC a wire.
func (g *guest) wired(t *testing.T, e wire.Ends, command string) {
	t.Helper()
	out := strings.TrimSpace(fixtures.Run(t, fixtures.Script(t, "guest-net.sh")))
	from := out[strings.LastIndex(out, "\n")+1:]
	to := filepath.Dir(g.base) // libvirt changes the owner of what it starts
	for _, f := range []string{"vmlinux", "initrd.img"} {
		if out, err := exec.Command("cp", "--sparse=always", filepath.Join(from, f), to).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	for old, repl := range map[string]string{
		"<bios useserial='yes'/>": fmt.Sprintf("<kernel>%s/vmlinux</kernel><initrd>%[1]s/initrd.img</initrd><cmdline>console=ttyS0 quiet no_timer_check mitigations=off -- &quot;%s&quot;</cmdline>", to, command),
		"<memory unit='MiB'>64<":  "<memory unit='MiB'>256<",
		"<interface type='user'>": fmt.Sprintf("<interface type='udp'><source address='127.0.0.1' port='%d'><local address='127.0.0.1' port='%d'/></source>", e.Ours, e.Guest),
		"<link state='down'/>":    "<link state='up'/>",
	} {
		if !strings.Contains(g.xml, old) {
			t.Fatalf("no %s in the domain", old)
		}
		g.xml = strings.Replace(g.xml, old, repl, 1)
	}
}

// TestProveNetwork has a real guest of the real libvirtd answer on its network.
func TestProveNetwork(t *testing.T) {
	c := system(t)
	g := newGuest(t, nil)
	w, err := wire.Open([]wire.NIC{{Name: "ens192", MAC: wiredMAC, Addresses: []wire.Address{{Prefix: netip.MustParsePrefix("192.0.2.10/24")}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	g.wired(t, w.Ends()[0], "ip link set eth0 up; ip addr add 192.0.2.10/24 dev eth0")
	ctx, stop := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return w.Run(ctx) })
	req := g.request(t)
	req.For, req.Linger = 10*time.Minute, 10*time.Minute
	req.Network = func() (bool, bool) { return w.Answered(), w.Complete() }
	proof, err := c.Prove(t.Context(), req)
	stop()
	if err := errors.Join(err, running.Wait()); err != nil || proof.Kind != LoginPrompt {
		t.Errorf("Prove = %+v, %v", proof, err)
	}
	g.gone(t, c)
	got := w.Results()[0].String()
	t.Log(got)
	if !strings.HasPrefix(got, "ens192 has 192.0.2.10 ("+wiredMAC+"), answered ARP after ") || !w.Complete() {
		t.Errorf("its NIC: %s; want it to answer ARP and ping", got)
	}
}

// TestProvePortTaken: somebody has the guest's end of the wire.
func TestProvePortTaken(t *testing.T) {
	c := system(t)
	g := newGuest(t, nil)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	g.wired(t, wire.Ends{Ours: 9, Guest: netip.MustParseAddrPort(other.LocalAddr().String()).Port()}, "true")
	_, err = c.Prove(t.Context(), g.request(t))
	if taken, ok := errors.AsType[*PortTakenError](err); !ok || !taken.PortTaken() {
		t.Errorf("Prove = %v; want that the port is taken", err)
	}
	g.gone(t, c)
}
