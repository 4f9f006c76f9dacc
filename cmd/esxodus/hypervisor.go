package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"esxodus/convert"
	"esxodus/convert/host"
	"esxodus/convert/virt"
)

// connectTimeout is how long a libvirtd may take to answer.
const connectTimeout = 30 * time.Second

var errNoAnswer = errors.New("libvirt does not answer: is its daemon stuck? (systemctl restart libvirtd)")

// hypervisor is libvirt as package convert sees it: connected on first use.
type hypervisor struct {
	uri  string
	log  *slog.Logger
	mu   sync.Mutex
	conn *virt.Conn
}

func (h *hypervisor) connect(ctx context.Context) (*virt.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		return h.conn, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAnswer)
	defer cancel()
	conn, err := virt.Connect(bounded, h.uri)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.uri, err)
	}
	h.conn = conn
	return conn, nil
}

// answers makes sure, before anything is made, that there is a libvirt to define
// domains in: by a URI that leads nowhere not even a rollback could be done.
func (h *hypervisor) answers(ctx context.Context) error {
	if _, err := h.connect(ctx); err != nil {
		return withHint(fmt.Errorf("%w; nothing was changed", err), "libvirt must answer on this machine before anything is copied: `virsh -c "+host.ShellQuote(h.uri)+" list` shows whether it does")
	}
	return nil
}

// Close ends the connection, if there is one.
func (h *hypervisor) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		return nil
	}
	err := h.conn.Close()
	h.conn = nil
	return err
}

// Facts implements convert.Hypervisor.
func (h *hypervisor) Facts(ctx context.Context) (convert.TargetFacts, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return convert.TargetFacts{}, err
	}
	caps, err := conn.Capabilities(ctx)
	if err != nil {
		return convert.TargetFacts{}, err
	}
	infos, err := conn.Domains(ctx)
	if err != nil {
		return convert.TargetFacts{}, err
	}
	name, err := os.Hostname()
	if err != nil {
		return convert.TargetFacts{}, fmt.Errorf("this host's name: %w", err)
	}
	facts := convert.TargetFacts{Host: name, VirtTypes: caps.VirtTypes, EFI: caps.EFI, SecureBoot: caps.SecureBoot, TPM: caps.TPM}
	if facts.Links, err = h.links(ctx); err != nil {
		return convert.TargetFacts{}, err
	}
	for _, i := range infos {
		facts.Domains = append(facts.Domains, convert.KnownDomain{Name: i.Name, UUID: i.UUID, MACs: i.MACs, Active: i.Active, Disks: i.Disks})
	}
	return facts, nil
}

// links lists this host's network interfaces, where libvirt is this host's.
func (h *hypervisor) links(ctx context.Context) ([]string, error) {
	if there, err := otherMachine(ctx, h.uri); there != "" || err != nil {
		return nil, nil //nolint:nilerr // a rollback has no use for them
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("this host's network interfaces: %w", err)
	}
	names := []string{}
	for _, l := range all {
		names = append(names, l.Name)
	}
	return names, nil
}

// Define implements convert.Hypervisor.
func (h *hypervisor) Define(ctx context.Context, xml string, autostart bool, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Define(ctx, xml, autostart, run)
}

// Undefine implements convert.Hypervisor.
func (h *hypervisor) Undefine(ctx context.Context, name, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Undefine(ctx, name, run)
}

// Prove implements convert.Hypervisor.
func (h *hypervisor) Prove(ctx context.Context, xml string, want convert.Expect) (convert.Proof, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return convert.Proof{}, err
	}
	expect := virt.LoginPrompt
	if want.See == convert.SawActivity {
		expect = virt.Activity
	}
	p, err := conn.Prove(ctx, virt.ProofRequest{
		XML: xml, Expect: expect, For: time.Duration(want.Seconds) * time.Second,
		Line: func(line string) { h.log.InfoContext(ctx, "console", "line", line) },
	})
	if err != nil {
		return convert.Proof{}, err
	}
	return proofOf(p), nil
}

// proofOf puts into words which proof was had.
func proofOf(p virt.Proof) convert.Proof {
	saw, what := convert.SawLogin, "login prompt on the serial console"
	if p.Kind != virt.LoginPrompt {
		saw, what = convert.SawActivity, "activity only, no login prompt,"
	}
	return convert.Proof{Saw: saw, Text: fmt.Sprintf("%s after %v: %s", what, p.Duration.Round(time.Second/10), p.Evidence)}
}

// CleanProof implements convert.Hypervisor.
func (h *hypervisor) CleanProof(ctx context.Context, name, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.CleanProof(ctx, name, run)
}
