package run

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"libvirt.org/go/libvirtxml"
)

const (
	wiredMAC     = "00:50:56:01:02:03" // of plantest's VM
	wiredAddress = "192.0.2.10"
)

// wiredJob is a job whose guest has an address, on its only NIC.
func wiredJob(t *testing.T, w *converttest.World) *runs.Journal {
	t.Helper()
	p := w.Plan()
	v := &p.VMs[0]
	v.NICs = []guest.NIC{{
		MAC: wiredMAC, Name: "ens192", Kept: "the test", Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Addresses: []guest.Address{{On: "ens192", Prefix: netip.MustParsePrefix(wiredAddress + "/24")}},
	}}
	e := converttest.ProofOf(t, v).Expect
	e.Network, e.Untried = &plan.Network{NICs: v.NICs}, nil
	v.Sums = v.Sum()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	j, err := w.State().Create(p.Job(0), journal.NewRun())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// plugged is the guest's end of the wire of a domain's first NIC.
func plugged(t *testing.T, xml string) (conn *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(xml); err != nil {
		t.Fatal(err)
	}
	n := dom.Devices.Interfaces[0]
	if n.Source.UDP == nil || n.Link.State != "up" || n.MAC.Address != wiredMAC {
		t.Fatalf("the copy's NIC is not on a wire: %s", xml)
	}
	u := n.Source.UDP
	at := func(port uint) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at(u.Local.Port)))
	if err != nil {
		t.Fatal(err)
	}
	return conn, at(u.Port)
}

// answers is a guest that answers ARP for its address, and nothing else, until it
// has answered.
func answers(t *testing.T) func(context.Context, string, func() (bool, bool)) error {
	t.Helper()
	return func(ctx context.Context, xml string, network func() (answered, complete bool)) error {
		conn, to := plugged(t, xml)
		defer conn.Close()
		b := make([]byte, 2048)
		for ctx.Err() == nil {
			if ok, _ := network(); ok {
				return nil
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Second / 10)); err != nil {
				return err
			}
			n, err := conn.Read(b)
			if err != nil {
				continue
			}
			if reply := arpReply(t, b[:n]); reply != nil {
				if _, err := conn.WriteToUDPAddrPort(reply, to); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	}
}

// arpReply answers a question for the guest's address, nil for any other frame.
func arpReply(t *testing.T, frame []byte) []byte {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	q, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if !ok || netip.AddrFrom4([4]byte(q.DstProtAddress)).String() != wiredAddress {
		return nil
	}
	mac, _ := net.ParseMAC(wiredMAC)
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{}, &layers.Ethernet{SrcMAC: mac, DstMAC: q.SourceHwAddress, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
		SourceHwAddress: mac, SourceProtAddress: q.DstProtAddress, DstHwAddress: q.SourceHwAddress, DstProtAddress: q.SourceProtAddress,
	}); err != nil {
		t.Error(err)
	}
	return b.Bytes()
}

// TestNetworkProof: how the NICs answered is on record.
func TestNetworkProof(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	w.Guest = answers(t)
	if err, crashed := apply(t.Context(), w, wiredJob(t, w)); err != nil || crashed {
		t.Fatalf("Apply = %v, crashed %v", err, crashed)
	}
	s, err := w.State().State("web")
	if err != nil {
		t.Fatal(err)
	}
	const text = "ens192 has 192.0.2.10 (00:50:56:01:02:03), answered ARP after "
	if s.Phase != runs.PhaseReady || !strings.HasPrefix(s.Proof, "as the test says; "+text) {
		t.Errorf("phase %s, proof %q; want it ready, %q", s.Phase, s.Proof, text)
	}
	if len(s.Network) != 1 || !s.Network[0].Passed || s.Network[0].Addresses[0].Seconds <= 0 || s.Network[0].Addresses[0].MAC != wiredMAC || s.Network[0].Addresses[0].Ping != 0 {
		t.Errorf("network = %+v; want one NIC that passed, and didn't answer ping", s.Network)
	}
}

// TestNetworkProofFails: what was heard of a NIC that doesn't answer is in the error,
// on record and in a file, and the run is kept. The admin may leave the network out.
func TestNetworkProofFails(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	w.Guest = elsewhere(t)
	err, _ := apply(t.Context(), w, wiredJob(t, w))
	const want = "booted, but did not answer; on its network: ens192 doesn't answer for 192.0.2.10: "
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), want) {
		t.Fatalf("Apply = %v; want it stopped, and %q", err, want)
	}
	s, failed := w.State().State("web")
	if failed != nil || len(s.Network) != 1 || s.Network[0].Passed || s.Network[0].NIC != "ethernet0" || s.Network[0].Name != "ens192" || s.Network[0].MAC != wiredMAC || s.Proof != "" {
		t.Fatalf("State = %+v, %v; want how the NIC didn't answer", s, failed)
	}
	path := filepath.Join(w.Dir, "state", "vms", "web", runs.CaptureFile)
	if s.Capture != path || !strings.Contains(err.Error(), "what was heard is in "+path) {
		t.Errorf("capture %q; want %s, also in %v", s.Capture, path, err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, asks(t, "192.0.2.99", "192.0.2.99")) {
		t.Errorf("the frame isn't in the capture: %v", err)
	}
	w.Guest = func(context.Context, string, func() (bool, bool)) error { return errors.New("no login") }
	j := w.Open()
	err = errors.Join(Apply(t.Context(), j, effects(w)), j.Close())
	if s, _ = w.State().State("web"); s.Capture != "" || !strings.Contains(err.Error(), "no frame at all") || strings.Contains(err.Error(), "what was heard") {
		t.Errorf("of a NIC that says nothing: capture %q, %v", s.Capture, err)
	}
	w.Guest = nil
	j, e := w.Open(), effects(w)
	e.BootOnly = true
	if err := errors.Join(Apply(t.Context(), j, e), j.Close()); err != nil || w.Proofs != 1 || w.Wanted.Network != nil || !slices.Equal(w.Wanted.Untried, []string{"ens192 (left out with --proof boot)"}) {
		t.Errorf("Apply without the network = %v, which wanted %+v", err, w.Wanted)
	}
	if s, _ = w.State().State("web"); len(s.Network) != 0 || len(s.Untried) != 1 {
		t.Errorf("State = %+v; want nothing left of the proof that failed", s)
	}
}

// TestCaptureGoes: a rollback removes what a proof heard.
func TestCaptureGoes(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	w.Guest = elsewhere(t)
	_, _ = apply(t.Context(), w, wiredJob(t, w))
	path := filepath.Join(w.Dir, "state", "vms", "web", runs.CaptureFile)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	j := w.Open()
	if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the capture after a rollback: %v", err)
	}
	w.CheckGone()
}

// elsewhere is a guest that has another address than planned.
func elsewhere(t *testing.T) func(context.Context, string, func() (bool, bool)) error {
	t.Helper()
	return func(ctx context.Context, xml string, _ func() (bool, bool)) error {
		conn, to := plugged(t, xml)
		defer conn.Close()
		b := make([]byte, 2048)
		for ctx.Err() == nil {
			for _, about := range []string{"192.0.2.99", "192.0.2.1"} { // itself; and the gateway, whose answer shows that both were heard
				if _, err := conn.WriteToUDPAddrPort(asks(t, "192.0.2.99", about), to); err != nil {
					return err
				}
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			for {
				n, err := conn.Read(b)
				if err != nil {
					break // it asks again
				}
				p := gopacket.NewPacket(b[:n], layers.LayerTypeEthernet, gopacket.Default)
				if a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && a.Operation == layers.ARPReply {
					return errors.New("booted, but did not answer")
				}
			}
		}
		return ctx.Err()
	}
}

// asks is a question of ARP; one for its own address announces that.
func asks(t *testing.T, from, about string) []byte {
	t.Helper()
	mac, _ := net.ParseMAC(wiredMAC)
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{}, &layers.Ethernet{SrcMAC: mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: mac, SourceProtAddress: netip.MustParseAddr(from).AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: netip.MustParseAddr(about).AsSlice(),
	}); err != nil {
		t.Error(err)
	}
	return b.Bytes()
}

// taken says that somebody has the port of a wire.
type taken struct{ error }

func (taken) PortTaken() bool { return true }

// TestPortTaken: other wires are made where somebody has taken a port, three times.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		times int
		done  bool
	}{{2, true}, {3, false}} {
		w := converttest.New(t)
		tries := 0
		w.Guest = func(ctx context.Context, xml string, network func() (bool, bool)) error {
			if tries++; tries <= tt.times {
				return taken{errors.New("can't bind")}
			}
			return answers(t)(ctx, xml, network)
		}
		if err, _ := apply(t.Context(), w, wiredJob(t, w)); (err == nil) != tt.done {
			t.Errorf("taken %d times: Apply = %v; want it done: %v", tt.times, err, tt.done)
		}
	}
}

// TestNoSuchNIC: an edited domain doesn't have the NIC that is to answer.
func TestNoSuchNIC(t *testing.T) {
	t.Parallel()
	want := &plan.Network{NICs: []guest.NIC{{MAC: "00:50:56:ff:ff:ff", Name: "ens192"}}}
	dom := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Interfaces: []libvirtxml.DomainInterface{{MAC: &libvirtxml.DomainInterfaceMAC{Address: wiredMAC}}}}}
	if _, _, err := wired(dom, want); err == nil || !strings.Contains(err.Error(), "no NIC with the MAC 00:50:56:ff:ff:ff") {
		t.Errorf("wired = %v", err)
	}
}

// TestExpectedMAC: a NIC to which the guest gives another MAC may answer by that.
func TestExpectedMAC(t *testing.T) {
	t.Parallel()
	g := guest.NIC{Name: "ens192", MAC: "00:0c:29:01:02:03", Addresses: []guest.Address{{On: "ens192", Prefix: netip.MustParsePrefix("192.0.2.10/24")}}}
	if expected(g, nil).Addresses[0].Shared {
		t.Error("an address of the NIC's own may answer by any MAC")
	}
	g.OtherMAC = "02:00:00:aa:00:01"
	if !expected(g, nil).Addresses[0].Shared {
		t.Errorf("%s must answer by %s, which the guest doesn't use", g.Name, g.MAC)
	}
}
