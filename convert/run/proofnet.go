package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/network/wire"

	"golang.org/x/sync/errgroup"
	"libvirt.org/go/libvirtxml"
)

// proveWired has a copy boot whose NICs are on wires to this process, which is the
// network that the plan expects.
func (x *executor) proveWired(ctx context.Context, dom *libvirtxml.Domain, want plan.Expect, bases, overlays []string, said *console) (proof plan.Proof, err error) {
	nics, at, err := wired(dom, want.Network)
	if err != nil {
		return plan.Proof{}, err
	}
	w, err := wire.Open(nics)
	if err != nil {
		return plan.Proof{}, fmt.Errorf("network proof: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	wires := make([]*domain.Wire, len(at))
	for i, k := range at {
		if k >= 0 {
			e := w.Ends()[k]
			wires[i] = &domain.Wire{From: e.Guest, To: e.Ours}
		}
	}
	xml, err := x.proofXML(dom, wires, bases, overlays)
	if err != nil {
		return plan.Proof{}, err
	}
	proof, err = x.proveOn(ctx, w, xml, want, said)
	return x.answered(w, want.Network, proof, err)
}

// proveOn has the copy boot while the wires are a network.
func (x *executor) proveOn(ctx context.Context, w *wire.Wire, xml string, want plan.Expect, said *console) (plan.Proof, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	var proof plan.Proof
	var running sync.Once
	g.Go(func() (err error) {
		defer stop() // the network ends with the guest
		proof, err = x.Virt.Prove(ctx, xml, want, func() (answered, complete bool) {
			running.Do(w.Begin) // the guest runs from here
			return w.Answered(), w.Complete()
		}, said.line)
		return err
	})
	return proof, g.Wait()
}

// answered adds to a proof, or to its error, what came of the network.
func (x *executor) answered(w *wire.Wire, want *plan.Network, proof plan.Proof, err error) (plan.Proof, error) {
	var texts []string
	for _, r := range w.Results() {
		if err == nil || !r.Passed {
			texts = append(texts, r.String())
		}
		proof.Network = append(proof.Network, resultOf(r, want))
	}
	if err == nil {
		proof.Text += "; " + strings.Join(texts, "; ")
		return proof, nil
	}
	if len(texts) > 0 {
		err = fmt.Errorf("%w; on its network: %s", err, strings.Join(texts, "; "))
	}
	failed := &unprovenError{err: err, saw: plan.Proof{Saw: plan.SawNothing, Network: proof.Network}}
	if !w.Captured() {
		return plan.Proof{}, failed
	}
	path := x.journal.Path(runs.CaptureFile)
	if kept := writeCapture(w, path); kept != nil {
		failed.err = fmt.Errorf("%w; what was heard could not be kept: %w", err, kept)
		return plan.Proof{}, failed
	}
	failed.err = fmt.Errorf("%w; what was heard is in %s (tcpdump -enr)", err, path)
	return plan.Proof{}, failed
}

// unprovenError is a network proof that failed, and what it saw.
type unprovenError struct {
	err error
	saw plan.Proof
}

func (e *unprovenError) Error() string { return e.err.Error() }
func (e *unprovenError) Unwrap() error { return e.err }

// writeCapture writes what was heard to a file that isn't there.
func writeCapture(w *wire.Wire, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return w.WriteCapture(f)
}

func resultOf(r wire.Result, want *plan.Network) plan.AnsweredNIC {
	n := plan.AnsweredNIC{NIC: want.NIC(r.MAC), Name: r.Name, MAC: r.MAC, Passed: r.Passed, Text: r.String()}
	for _, a := range r.Answers {
		one := plan.AnsweredAddress{Address: a.Address, Tag: a.Tag, MAC: a.MAC, Seconds: seconds(a.After), Ping: seconds(a.Ping)}
		for _, p := range a.Ports {
			if p.After != 0 {
				if one.Ports == nil {
					one.Ports = make(map[uint16]float64)
				}
				one.Ports[p.Port] = seconds(p.After)
			}
		}
		n.Addresses = append(n.Addresses, one)
	}
	return n
}

// seconds is a time to a tenth of a second; an answer's is never 0.
func seconds(d time.Duration) float64 {
	if d == 0 {
		return 0
	}
	return max(0.1, d.Round(time.Second/10).Seconds())
}

// wired lists the NICs that get a wire, and for each NIC of the domain which it gets:
// -1 for none. One that the plan has unplugged, and of which nothing is expected,
// stays so; of any other that isn't tried is said what was heard.
func wired(dom *libvirtxml.Domain, want *plan.Network) (nics []wire.NIC, at []int, err error) {
	left := slices.Clone(want.NICs)
	for _, n := range dom.Devices.Interfaces {
		mac := ""
		if n.MAC != nil {
			mac = n.MAC.Address
		}
		i := slices.IndexFunc(left, func(g guest.NIC) bool { return strings.EqualFold(g.MAC, mac) })
		if i < 0 && (mac == "" || n.Link != nil && n.Link.State == "down") {
			at = append(at, -1)
			continue
		}
		nic := wire.NIC{MAC: mac}
		if i >= 0 {
			nic = expected(left[i], want.Ports)
			left = slices.Delete(left, i, i+1)
		}
		at = append(at, len(nics))
		nics = append(nics, nic)
	}
	if len(left) > 0 {
		return nil, nil, fmt.Errorf("network proof: domain.xml of the plan has no NIC with the MAC %s, which is to answer: correct it, or plan with --proof boot", left[0].MAC)
	}
	return nics, at, nil
}

// expected is a NIC with what is expected of it.
func expected(g guest.NIC, ports []uint16) wire.NIC {
	n := wire.NIC{
		Name: cmp.Or(g.Name, fmt.Sprintf("ethernet%d", g.Index)), MAC: g.MAC, Gateways: g.Gateways, DNS: g.DNS,
		DHCP4: g.DHCP4, DHCP6: g.DHCP6, RA: g.RA, LeasedOn: g.LeasedOn, Ports: ports,
	}
	for _, a := range g.Addresses {
		// A bridge or bond may have another MAC than the NIC's, and a VLAN with a
		// name of its own may be on either.
		own := g.Name == "" || a.On == g.Name || strings.HasPrefix(a.On, g.Name+".")
		n.Addresses = append(n.Addresses, wire.Address{Tag: a.Tag, Prefix: a.Prefix, Shared: !own || g.OtherMAC != ""})
	}
	return n
}
