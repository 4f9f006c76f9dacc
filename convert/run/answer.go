package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/network/wire"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// answer waits for what must answer of a domain that has been started.
func (x *switcher) answer(ctx context.Context, want *cutover.Expect) (*cutover.Answer, error) {
	live, err := x.live()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	if live != nil {
		g.Go(func() error { return live.Run(ctx) })
	}
	w := &waiting{switcher: x, want: want, live: live, begun: time.Now()}
	g.Go(func() error {
		defer stop()
		return w.wait(ctx)
	})
	err = g.Wait()
	a := w.result(err)
	if live != nil {
		err = errors.Join(err, live.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, a.Text)
	}
	return a, nil
}

// waiting is what is awaited of a domain.
type waiting struct {
	*switcher
	want  *cutover.Expect
	live  Live
	begun time.Time
	agent bool // it answered
	ports []knocked
}

// errSilent is a guest that isn't there.
var errSilent = errors.New("not all that must answer has")

// wait returns when all is there, or an error when the time is up, or the domain gone.
func (w *waiting) wait(ctx context.Context) error {
	limit := w.want.Within()
	if !w.want.Asks() {
		limit = w.want.Watch()
	}
	end := time.NewTimer(limit)
	defer end.Stop()
	var since time.Time // all that must be there is
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		agent, runs, err := w.Virt.Agent(ctx, w.job.Name, w.job.Migration)
		switch {
		case err != nil:
			return err
		case !runs:
			return fmt.Errorf("the domain %s has stopped", w.job.Name)
		}
		w.agent = w.agent || agent
		there, all := w.there()
		if there && since.IsZero() {
			since = time.Now()
		}
		if there && (all || time.Since(since) >= lingerFor) {
			return w.knock(ctx, end.C)
		}
		select {
		case <-tick.C:
		case <-end.C:
			if !w.want.Asks() {
				return nil // it still runs
			}
			return fmt.Errorf("%w within %v", errSilent, limit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lingerFor is how long NICs are listened for that needn't be heard, once all that must
// be there is.
const lingerFor = 30 * time.Second

// there reports whether all that must be there is, and whether all is.
func (w *waiting) there() (must, all bool) {
	if !w.want.Asks() || w.want.Agent && !w.agent {
		return false, false
	}
	must, all = true, true
	if w.live != nil {
		must, all = w.live.Passed()
		must = must || w.want.Agent && !slices.ContainsFunc(w.want.NICs, func(n cutover.NIC) bool { return len(n.Addresses) > 0 })
	}
	return must, must && all
}

// knocked is a TCP port, and what came of trying it.
type knocked struct {
	at      netip.AddrPort
	open    bool
	refused bool // something answered that nobody listens
}

// dialTimeout is how long a connection may take to be taken.
const dialTimeout = 3 * time.Second

// knock tries the ports at each address that has answered, from where this host's routes
// lead there, until all take a connection or the time is up. Over a macvtap they lead
// nowhere, unless this host has a macvlan beside it: an address of which nothing comes
// back at all isn't held against the guest.
func (w *waiting) knock(ctx context.Context, end <-chan time.Time) error {
	for _, r := range w.results() {
		for _, a := range r.Answers {
			for _, p := range w.want.Ports {
				if a.After != 0 {
					w.ports = append(w.ports, knocked{at: netip.AddrPortFrom(a.Address, p)})
				}
			}
		}
	}
	if len(w.ports) == 0 {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for i := range w.ports {
			w.ports[i].try(ctx)
		}
		closed, reached := w.closed()
		if closed == "" || !reached {
			return nil
		}
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("%w: %s", errSilent, closed)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (k *knocked) try(ctx context.Context) {
	if k.open {
		return
	}
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", k.at.String())
	k.refused = k.refused || errors.Is(err, unix.ECONNREFUSED)
	if err == nil {
		k.open = true
		_ = c.Close()
	}
}

// closed lists the ports that take no connection, and reports whether the guest was
// reached at all.
func (w *waiting) closed() (list string, reached bool) {
	var out []string
	for _, k := range w.ports {
		reached = reached || k.open || k.refused
		if !k.open {
			out = append(out, "TCP "+k.at.String())
		}
	}
	return strings.Join(out, ", "), reached
}

// result says what was seen.
func (w *waiting) result(err error) *cutover.Answer {
	a := &cutover.Answer{Seconds: time.Since(w.begun).Seconds(), Seen: w.agent}
	var texts []string
	for _, r := range w.results() {
		texts = append(texts, r.String())
		a.Seen = a.Seen || r.Frames > 0
	}
	switch {
	case w.agent:
		texts = append(texts, "its agent answers")
	case w.want.Agent:
		texts = append(texts, "its agent doesn't answer")
	}
	closed, reached := w.closed()
	for _, k := range w.ports {
		if k.open {
			texts = append(texts, "TCP "+strconv.Itoa(int(k.at.Port()))+" is open")
		}
	}
	switch {
	case closed != "" && reached:
		texts = append(texts, closed+" took no connection")
	case closed != "":
		texts = append(texts, closed+": not reached from this host, as is usual over macvtap (a macvlan for the host is the way out)")
	}
	if len(w.want.Untried) > 0 {
		texts = append(texts, "not asked: "+strings.Join(w.want.Untried, ", "))
	}
	if err == nil && !w.want.Asks() {
		texts = append(texts, "nothing of it could be asked; it still ran after "+w.want.Watch().String())
	}
	a.Text = strings.Join(texts, "; ")
	return a
}

func (w *waiting) results() []wire.LiveResult {
	if w.live == nil {
		return nil
	}
	return w.live.Results()
}
