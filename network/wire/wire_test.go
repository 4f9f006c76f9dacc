package wire

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// has is what is said of an address that answered.
func has(address, by string) string {
	return `has ` + regexp.QuoteMeta(address) + ` \(00:0c:29:01:02:03\), answered ` + by + ` after \d+ s and ping after \d+ s`
}

// TestAnswers has a network stack at both ends.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tagged := nic("192.0.2.10/24")
	tagged.Addresses[0].Tag = 42
	shared := nic("192.0.2.10/24")
	shared.Addresses[0].Shared = true
	self := nic("192.0.2.1/24") // is its own gateway and DNS server
	self.DNS = []netip.Addr{addr("192.0.2.1")}
	for _, tt := range []struct {
		name string
		nic  NIC
		mac  string
		at   map[int][]string
		want string
	}{
		{"IPv4", nic("192.0.2.10/24"), guestMAC, map[int][]string{0: {"192.0.2.10"}}, has("192.0.2.10", "ARP")},
		{"IPv6", nic("2001:db8::10/64"), guestMAC, map[int][]string{0: {"2001:db8::10"}}, has("2001:db8::10", "neighbour discovery")},
		{"two", nic("192.0.2.10/24", "198.51.100.7/30"), guestMAC, map[int][]string{0: {"192.0.2.10", "198.51.100.7"}}, has("192.0.2.10", "ARP") + "; " + has("198.51.100.7", "ARP")},
		{"VLAN", tagged, guestMAC, map[int][]string{42: {"192.0.2.10"}, 0: nil}, strings.Replace(has("192.0.2.10", "ARP"), ` \(`, ` in VLAN 42 \(`, 1)},
		{"its own gateway", self, guestMAC, map[int][]string{0: {"192.0.2.1"}}, has("192.0.2.1", "ARP")},
		{"a bridge's MAC", shared, "02:01:02:03:04:05", map[int][]string{0: {"192.0.2.10"}}, strings.Replace(has("192.0.2.10", "ARP"), guestMAC, "02:01:02:03:04:05", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, tt.nic)
			plug(t, w.Ends()[0], tt.mac, tt.at)
			w.run(t)
			await(t, "all to answer", w.Complete)
			r := w.Results()[0]
			if !w.Answered() || !regexp.MustCompile("^ens192 "+tt.want+"$").MatchString(r.String()) {
				t.Errorf("answered %v: %s; want %s", w.Answered(), r, tt.want)
			}
		})
	}
}

// arpFrame is an ARP message of the guest's.
func arpFrame(tb testing.TB, op uint16, src, dst, from hw, sender string, to hw, target string) []byte {
	tb.Helper()
	f, err := encode(&layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: from[:], SourceProtAddress: addr(sender).AsSlice(), DstHwAddress: to[:], DstProtAddress: addr(target).AsSlice(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func broadcast() hw { return hw{255, 255, 255, 255, 255, 255} }

// probe6 is a probe of duplicate address detection (RFC 4862).
func probe6(tb testing.TB, src hw, target string) []byte {
	tb.Helper()
	ip, icmp := icmp6(netip.IPv6Unspecified(), addr("ff02::1:ff00:1"), layers.ICMPv6TypeNeighborSolicitation)
	f, err := encode(link(src, hw{0x33, 0x33, 0xff, 0, 0, 1}, addr(target)), ip, icmp, &layers.ICMPv6NeighborSolicitation{TargetAddress: addr(target).AsSlice()})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// told lists what a port sends in answer to frames. Its sockets see none of it.
func told(t *testing.T, n NIC, frames ...[]byte) []note {
	t.Helper()
	w := open(t, n)
	g := plug(t, w.Ends()[0], guestMAC, nil)
	for _, f := range frames {
		if err := w.ports[0].receive(f, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	var out []note
	for {
		p := w.ports[0].segments[0].link.Read()
		if p == nil {
			break
		}
		v := p.ToView()
		said, ok := decode(slices.Clone(v.AsSlice()))
		v.Release()
		p.DecRef()
		if !ok {
			t.Error("the network sends what is no frame")
		}
		out = append(out, said)
	}
	// A datagram on loopback is there once it is sent.
	marker := []byte("that was all")
	if _, err := w.ports[0].conn.WriteToUDPAddrPort(marker, netip.AddrPortFrom(addr("127.0.0.1"), w.Ends()[0].Guest)); err != nil {
		t.Fatal(err)
	}
	await(t, "the last datagram", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.over })
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(out, g.heard...)
}

// TestNoProbeIsAnswered: a guest that asks whether its address is free may have it,
// whichever that is.
func TestNoProbeIsAnswered(t *testing.T) {
	t.Parallel()
	us, guest := hw{0x02, 0x65, 0x73, 0x78, 0x6f, 0}, mac(t, guestMAC)
	n := nic("192.0.2.10/24", "2001:db8::10/64", "203.0.113.9/29")
	n.Gateways = append(n.Gateways, addr("2001:db8::1"))
	for _, tt := range []struct {
		name    string
		frame   []byte
		answers bool
	}{
		{"ARP for the gateway", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.10", hw{}, "192.0.2.1"), true},
		{"ARP to us", arpFrame(t, layers.ARPRequest, guest, us, guest, "192.0.2.10", hw{}, "192.0.2.1"), true},
		{"probe for its own", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "0.0.0.0", hw{}, "192.0.2.10"), false},
		{"probe for the gateway's", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "0.0.0.0", hw{}, "192.0.2.1"), false},
		{"probe for where we ask from", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "0.0.0.0", hw{}, "203.0.113.14"), false},
		{"announcement of its own", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.10", hw{}, "192.0.2.10"), false},
		{"announcement of the gateway's", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.1", hw{}, "192.0.2.1"), false},
		{"ARP for its own other", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.10", hw{}, "203.0.113.9"), false},
		{"ARP for another's", arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.10", hw{}, "192.0.2.77"), false},
		{"IPv6 probe for its own", probe6(t, guest, "2001:db8::10"), false},
		{"IPv6 probe for the gateway's", probe6(t, guest, "2001:db8::1"), false},
	} {
		if got := told(t, n, tt.frame); (len(got) > 0) != tt.answers {
			t.Errorf("%s: the network sends %+v; want an answer: %v", tt.name, got, tt.answers)
		}
	}
}

// TestNotFooled: what is no answer to what was asked, or not the NIC's, proves
// nothing, and what is said of it is what it was.
func TestNotFooled(t *testing.T) {
	t.Parallel()
	us, guest, stranger := hw{0x02, 0x65, 0x73, 0x78, 0x6f, 0}, mac(t, guestMAC), mac(t, "00:0c:29:ff:ff:ff")
	answer := func(src, from hw, sender string) []byte {
		return arpFrame(t, layers.ARPReply, src, us, from, sender, us, "192.0.2.1")
	}
	double := tagged(42, tagged(7, answer(guest, guest, "192.0.2.10")))
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string // "" for an answer
	}{
		{"an answer", answer(guest, guest, "192.0.2.10"), ""},
		{"an answer with a priority and no VLAN", retag(0x6000, answer(guest, guest, "192.0.2.10")), ""},
		{"another MAC", answer(stranger, stranger, "192.0.2.10"), "address conflict: 00:0c:29:ff:ff:ff says that it has 192.0.2.10"},
		{"another MAC inside", answer(guest, stranger, "192.0.2.10"), "address conflict: 00:0c:29:ff:ff:ff says that it has 192.0.2.10"},
		{"another sender", answer(stranger, guest, "192.0.2.10"), "frames from another MAC (00:0c:29:ff:ff:ff)"},
		{"another address", answer(guest, guest, "192.0.2.99"), "announces 192.0.2.99"},
		{"an answer to somebody else", arpFrame(t, layers.ARPReply, guest, us, guest, "192.0.2.10", us, "192.0.2.77"), "1 frames from it, and none of them tells an address"},
		{"an announcement", arpFrame(t, layers.ARPReply, guest, broadcast(), guest, "192.0.2.10", broadcast(), "192.0.2.10"), "1 frames from it, and none of them tells an address"},
		{"another VLAN", tagged(7, answer(guest, guest, "192.0.2.10")), "announces 192.0.2.10 in VLAN 7"},
		{"a tag in a tag", double, "nothing but frames that no network takes"},
		{"cut short", answer(guest, guest, "192.0.2.10")[:30], "nothing but frames that no network takes"},
		{"nothing in it", nil, "nothing but frames that no network takes"},
		{"a group's MAC", answer(broadcast(), broadcast(), "192.0.2.10"), "nothing but frames that no network takes"},
		{"other sizes of addresses", resized(answer(guest, guest, "192.0.2.10")), "nothing but frames that no network takes"},
		{"a jumbo of zeros", append(answer(guest, guest, "192.0.2.99"), make([]byte, 60000)...), "announces 192.0.2.99"},
	} {
		w := open(t, nic("192.0.2.10/24"))
		w.Begin()
		for range 3 {
			if err := w.ports[0].receive(tt.frame, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		r := w.Results()[0]
		want := "ens192 doesn't answer for 192.0.2.10: " + strings.Replace(tt.want, "1 frames", "3 frames", 1)
		if tt.want == "" {
			want = "ens192 has 192.0.2.10 (" + guestMAC + "), answered ARP after 0 s, but not ping"
		}
		if r.Passed != (tt.want == "") || r.String() != want {
			t.Errorf("%s: %s; want %s", tt.name, r, want)
		}
	}
}

// retag gives a frame a tag as it is, priority included.
func retag(tci uint16, frame []byte) []byte {
	f := tagged(1, frame)
	f[14], f[15] = byte(tci>>8), byte(tci)
	return f
}

// resized says that the addresses in an ARP message are longer than they are.
func resized(frame []byte) []byte {
	f := slices.Clone(frame)
	f[18], f[19] = 200, 200
	return f
}

// TestLeasedOn: a bond asks for its address by one of its NICs.
func TestLeasedOn(t *testing.T) {
	t.Parallel()
	first := Result{LeasedOn: "bond0", Answers: []Answer{{Leased: true, After: 1}}}
	second := Result{LeasedOn: "bond0", Lacks: "a lease by DHCP"}
	other := Result{Lacks: "a lease by DHCP"}
	all := []Result{first, second, other}
	for i := range all {
		all[i].giveUp(all)
	}
	if all[1].missing() != "" || all[2].missing() == "" {
		t.Errorf("the bond's other NIC lacks %q, want nothing; another NIC lacks %q, want its lease", all[1].missing(), all[2].missing())
	}
	alone := []Result{second, {LeasedOn: "bond1", Answers: first.Answers}, {LeasedOn: "bond0", Answers: []Answer{{Leased: true}}}}
	if alone[0].giveUp(alone); alone[0].missing() == "" {
		t.Error("a bond that took no lease lacks nothing")
	}
}

// TestFlood: what is kept of any number of frames is little.
func TestFlood(t *testing.T) {
	t.Parallel()
	w := open(t, NIC{Name: "ens192", MAC: guestMAC, DHCP4: true, DHCP6: true, RA: true})
	p := w.ports[0]
	for i := range 3000 {
		src := hw{0, 0x0c, byte(i >> 8), byte(i), 1, 1}
		for _, f := range [][]byte{
			arpFrame(t, layers.ARPRequest, src, broadcast(), src, fmt.Sprintf("10.%d.%d.1", i>>8, i&255), hw{}, "198.51.100.14"),
			probe6(t, src, fmt.Sprintf("2001:db8:0:1::%x", i+1)),
			discover(t, src, fmt.Sprintf("10.%d.%d.9", i>>8, i&255)),
		} {
			if err := p.receive(tagged(i%5, f), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := w.Results()[0]
	if h := r.Heard; len(h.Claims) > mostClaims || len(h.Others) > mostMACs || h.Frames != 9000 {
		t.Errorf("kept %d claims, %d MACs of %d frames", len(h.Claims), len(h.Others), h.Frames)
	}
	if len(p.targets) > mostLeases || len(p.segments) != 1 || len(p.segments[0].own) > mostLeases+2 || len(p.sights.at) > mostLeases {
		t.Errorf("%d targets, %d VLANs, %d addresses, %d sights", len(p.targets), len(p.segments), len(p.segments[0].own), len(p.sights.at))
	}
}

// discover is a request of DHCP for an address.
func discover(tb testing.TB, src hw, wanted string) []byte {
	tb.Helper()
	d, err := newRequest(src, wanted)
	if err != nil {
		tb.Fatal(err)
	}
	return message4(tb, src, d)
}

// TestOthersAreDropped: a datagram that isn't from the guest's end is no frame of it.
func TestOthersAreDropped(t *testing.T) {
	t.Parallel()
	w := open(t, nic("192.0.2.10/24"))
	w.run(t)
	g := plug(t, w.Ends()[0], guestMAC, nil)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	guest := mac(t, guestMAC)
	lie := arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.99", hw{}, "192.0.2.1")
	for range 10 {
		if _, err := other.WriteToUDPAddrPort(lie, g.to); err != nil {
			t.Fatal(err)
		}
	}
	g.send(arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.98", hw{}, "192.0.2.1"))
	await(t, "the guest's frame", func() bool { return w.Results()[0].Heard.Frames > 0 })
	if h := w.Results()[0].Heard; h.Frames != 1 || len(h.Claims) != 1 || h.Claims[0].Address != addr("192.0.2.98") {
		t.Errorf("heard %+v; want the guest's frame alone", h)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		edit func(*NIC)
		err  string
	}{
		{func(n *NIC) { n.MAC = "01:00:5e:00:00:01" }, "is no NIC's MAC"},
		{func(n *NIC) { n.MAC = "" }, "is no NIC's MAC"},
		{func(n *NIC) { n.Addresses[0].Prefix = netip.Prefix{} }, "can't be tried"},
		{func(n *NIC) { n.Addresses[0].Prefix = prefix("127.0.0.1/8") }, "can't be tried"},
		{func(n *NIC) { n.Addresses[0].Tag = 4095 }, "no VLAN has the tag 4095"},
		{func(n *NIC) { n.Addresses[0].Prefix, n.Gateways = prefix("192.0.2.10/32"), nil }, "no gateway is known"},
	} {
		n := nic("192.0.2.10/24")
		tt.edit(&n)
		w, err := Open([]NIC{n})
		if err == nil {
			_ = w.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Open = %v; want %q", err, tt.err)
		}
	}
	w := open(t, NIC{MAC: "02:65:73:78:6f:00"}, NIC{MAC: "02:65:73:78:6f:01"})
	if got := w.ports[0].us.String(); got != "02:65:73:78:6f:02" {
		t.Errorf("esxodus's MAC is %s, which the guest has", got)
	}
}
