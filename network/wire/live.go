package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// LiveNIC is a NIC of a guest on a network that others are on, too.
type LiveNIC struct {
	Name   string // for people
	MAC    string
	Device string // of this host, that it is attached to
	Mode   string // of its macvtap: bridge or vepa; "" where the device is a bridge
	// Addresses must answer. Where there are none something must be heard of the NIC,
	// and what it is heard to have is asked.
	Addresses []Address
}

// Live asks guests on their real networks what the network of a proof asks: ARP or
// neighbour discovery for each address. It takes no address there: ARP is asked as a
// probe is (RFC 5227), with no sender's address, which every stack answers that has the
// address; neighbour discovery (RFC 4861) from a link-local address made of a random
// MAC. Nothing of the host's own links is changed.
type Live struct {
	nics []*liveNIC
}

// Place is one on a real network, as hostnet takes it.
type Place interface {
	MAC() net.HardwareAddr
	Listen(ctx context.Context, take func(frame []byte)) error
	Send(frame []byte) error
	Close() error
}

type liveNIC struct {
	nic  LiveNIC
	mac  hw
	us   hw // our place's
	spot Place

	mu      sync.Mutex
	targets []*liveTarget
	frames  int // from its MAC
	heard   time.Duration
	since   time.Time
}

// liveTarget is an address, and who answers for it.
type liveTarget struct {
	Address
	learned bool // it was heard, and not known
	after   time.Duration
	others  []hw // who else says that it is theirs
}

// mostLearned is how many addresses are learnt of a NIC.
const mostLearned = 16

// OpenLive takes places on the NICs' networks by open, which gets a device of this host
// and the mode of a macvtap on it.
func OpenLive(nics []LiveNIC, open func(device, mode string) (Place, error)) (*Live, error) {
	l := &Live{}
	for _, n := range nics {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil || len(mac) != len(hw{}) {
			return nil, errors.Join(fmt.Errorf("MAC %q of %s: not one", n.MAC, n.Name), l.Close())
		}
		s, err := open(n.Device, n.Mode)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		p := &liveNIC{nic: n, mac: hw(mac), us: hw(s.MAC()), spot: s}
		for _, a := range n.Addresses {
			p.targets = append(p.targets, &liveTarget{Address: a})
		}
		l.nics = append(l.nics, p)
	}
	return l, nil
}

// Run asks until ctx ends, from now on.
func (l *Live) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	now := time.Now()
	for _, n := range l.nics {
		n.mu.Lock()
		n.since = now
		n.mu.Unlock()
		g.Go(func() error { return n.spot.Listen(ctx, n.take) })
		g.Go(func() error { return n.asks(ctx) })
	}
	return g.Wait()
}

// Close leaves the places.
func (l *Live) Close() error {
	var errs []error
	for _, n := range l.nics {
		errs = append(errs, n.spot.Close())
	}
	return errors.Join(errs...)
}

// take looks at a frame.
func (p *liveNIC) take(frame []byte) {
	n, sound := decode(frame)
	if !sound || n.src == p.us {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.src == p.mac {
		p.frames++
		p.heard = cmp.Or(p.heard, max(1, time.Since(p.since)))
	}
	if n.kind != claim && n.kind != reply {
		return
	}
	i := slices.IndexFunc(p.targets, func(t *liveTarget) bool { return t.Prefix.Addr() == n.addr })
	switch own := n.src == p.mac && n.mac == p.mac; {
	case i >= 0 && (own || p.targets[i].Shared && n.src == n.mac):
		// Only what it answers to us shows that it hears this network, too.
		if n.kind == reply && n.dst == p.us {
			p.targets[i].after = cmp.Or(p.targets[i].after, max(1, time.Since(p.since)))
		}
	case i >= 0:
		if t := p.targets[i]; !slices.Contains(t.others, n.mac) && len(t.others) < mostMACs {
			t.others = append(t.others, n.mac)
		}
	case own && n.addr.IsGlobalUnicast() && len(p.nic.Addresses) == 0 && len(p.targets) < mostLearned:
		p.targets = append(p.targets, &liveTarget{Address: Address{Prefix: netip.PrefixFrom(n.addr, n.addr.BitLen()), Tag: n.tag}, learned: true})
	}
}

// asks asks for what hasn't answered, again and again.
func (p *liveNIC) asks(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for _, t := range p.open() {
			from := netip.IPv4Unspecified()
			if t.Prefix.Addr().Is6() {
				from = linkLocalOf(p.us)
			}
			frame, err := ask(p.us, from, t.Prefix.Addr())
			if err == nil {
				err = p.spot.Send(tagged(t.Tag, frame))
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *liveNIC) open() (out []Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.targets {
		if t.after == 0 {
			out = append(out, t.Address)
		}
	}
	return out
}

// linkLocalOf is the link-local address of a MAC (RFC 4291, appendix A).
func linkLocalOf(m hw) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// LiveResult is what was heard of a NIC. Times count from the beginning of Run; 0 is
// never.
type LiveResult struct {
	Name    string
	MAC     string
	Passed  bool // all of its known addresses answered, or something was heard of it
	Frames  int
	Answers []LiveAnswer
}

// LiveAnswer is how an address answered.
type LiveAnswer struct {
	Address netip.Addr
	Learned bool // it wasn't known
	After   time.Duration
	// Others are MACs other than the NIC's that say that the address is theirs.
	Others []string
}

// Results says what came of it so far.
func (l *Live) Results() []LiveResult {
	var out []LiveResult
	for _, p := range l.nics {
		out = append(out, p.result())
	}
	return out
}

func (p *liveNIC) result() LiveResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := LiveResult{Name: p.nic.Name, MAC: p.nic.MAC, Frames: p.frames, Passed: p.frames > 0}
	for _, t := range p.targets {
		a := LiveAnswer{Address: t.Prefix.Addr(), Learned: t.learned, After: t.after}
		for _, m := range t.others {
			a.Others = append(a.Others, m.String())
		}
		r.Answers = append(r.Answers, a)
		r.Passed = r.Passed && (t.learned || t.after != 0)
	}
	return r
}

// Passed reports whether all that must be there is: the addresses that are known, or
// where none is, something of one NIC at least. complete says that of each NIC something
// is.
func (l *Live) Passed() (passed, complete bool) {
	sure, any, all := true, false, true
	for _, p := range l.nics {
		is := p.result().Passed
		any, all = any || is, all && is
		sure = sure && (is || len(p.nic.Addresses) == 0)
	}
	return sure && any, all
}

// Taken lists who has addresses of the guest's though it isn't there, or is taken for
// it: "192.0.2.10 is had by 52:54:…".
func (l *Live) Taken(running bool) (out []string) {
	for _, r := range l.Results() {
		for _, a := range r.Answers {
			if a.After != 0 && !running {
				out = append(out, fmt.Sprintf("%s is had by %s, the NIC's own MAC", a.Address, r.MAC))
			}
			for _, m := range a.Others {
				out = append(out, fmt.Sprintf("%s is had by %s", a.Address, m))
			}
		}
		if r.Frames > 0 && !running && len(r.Answers) == 0 {
			out = append(out, fmt.Sprintf("the MAC of %s, %s, sends on its network", r.Name, r.MAC))
		}
	}
	return out
}

// String is the result in words.
func (r LiveResult) String() string {
	var parts []string
	for _, a := range r.Answers {
		switch {
		case a.After != 0:
			parts = append(parts, fmt.Sprintf("%s answered after %v", a.Address, a.After.Round(time.Second/10)))
		case a.Learned:
			parts = append(parts, fmt.Sprintf("has %s", a.Address))
		default:
			parts = append(parts, fmt.Sprintf("%s doesn't answer", a.Address))
		}
		if len(a.Others) > 0 {
			parts[len(parts)-1] += ", and " + strings.Join(a.Others, ", ") + " says that it is theirs"
		}
	}
	switch {
	case len(parts) > 0:
		return r.Name + ": " + strings.Join(parts, ", ")
	case r.Frames > 0:
		return fmt.Sprintf("%s: heard, with no address that it told", r.Name)
	}
	return r.Name + ": nothing was heard of it"
}
