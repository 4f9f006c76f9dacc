// Package target is where domains will be: the libvirt of this machine.
package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/virt"
	"esxodus/network"
	"esxodus/network/hostnet"
)

// connectTimeout is how long a libvirtd may take to answer.
const connectTimeout = 30 * time.Second

var errNoAnswer = errors.New("libvirt does not answer: is its daemon stuck? (systemctl restart libvirtd)")

// Libvirt is a hypervisor's manager as survey and run see it: connected on first
// use.
type Libvirt struct {
	URI string
	Log *slog.Logger

	mu   sync.Mutex
	conn *virt.Conn
}

func (h *Libvirt) connect(ctx context.Context) (*virt.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		return h.conn, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAnswer)
	defer cancel()
	conn, err := virt.Connect(bounded, h.URI)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.URI, err)
	}
	h.conn = conn
	return conn, nil
}

// Answers connects, if that wasn't done yet.
func (h *Libvirt) Answers(ctx context.Context) error {
	_, err := h.connect(ctx)
	return err
}

// Close ends the connection, if there is one.
func (h *Libvirt) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		return nil
	}
	err := h.conn.Close()
	h.conn = nil
	return err
}

// Facts says what it has and can.
func (h *Libvirt) Facts(ctx context.Context) (plan.TargetFacts, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return plan.TargetFacts{}, err
	}
	caps, err := conn.Capabilities(ctx)
	if err != nil {
		return plan.TargetFacts{}, err
	}
	infos, err := conn.Domains(ctx)
	if err != nil {
		return plan.TargetFacts{}, err
	}
	name, err := os.Hostname()
	if err != nil {
		return plan.TargetFacts{}, fmt.Errorf("this host's name: %w", err)
	}
	facts := plan.TargetFacts{Host: name, VirtTypes: caps.VirtTypes, EFI: caps.EFI, SecureBoot: caps.SecureBoot, TPM: caps.TPM}
	if there, err := OtherMachine(ctx, h.URI); there == "" && err == nil {
		facts.CPULevel = ownLevel()
	}
	if facts.Links, err = h.links(ctx); err != nil {
		return plan.TargetFacts{}, err
	}
	for _, i := range infos {
		facts.Domains = append(facts.Domains, plan.KnownDomain{Name: i.Name, UUID: i.UUID, MACs: i.MACs, Active: i.Active, Disks: i.Disks})
	}
	return facts, nil
}

// links lists this host's network interfaces, where libvirt is this host's.
func (h *Libvirt) links(ctx context.Context) ([]string, error) {
	if there, err := OtherMachine(ctx, h.URI); there != "" || err != nil {
		return nil, nil // a rollback has no use for them
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

// Network reads this host's networking, nil where libvirt is another host's, or
// where it can't be known what configures which link: then all is planned as for a
// host that isn't known.
func (h *Libvirt) Network(ctx context.Context) *network.Host {
	if there, err := OtherMachine(ctx, h.URI); there != "" || err != nil {
		return nil
	}
	here, err := hostnet.Machine{}.Read(ctx)
	if err != nil || here.Networkd.Unknown != "" {
		return nil
	}
	return &here
}

// Users lists the domains that are attached to each of this host's links.
func (h *Libvirt) Users(ctx context.Context) (map[string][]string, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Users(ctx)
}

// Virtual is one of libvirt's own networks.
func (h *Libvirt) Virtual(ctx context.Context, name string) (network.Virtual, bool, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return network.Virtual{}, false, err
	}
	return conn.Network(ctx, name)
}

// RemoveVirtual removes one, if it is still that.
func (h *Libvirt) RemoveVirtual(ctx context.Context, was network.Virtual) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.RemoveNetwork(ctx, was)
}

// RestoreVirtual has one be as it was.
func (h *Libvirt) RestoreVirtual(ctx context.Context, was network.Virtual) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.RestoreNetwork(ctx, was)
}

// Define defines a persistent domain, marked as the run's.
func (h *Libvirt) Define(ctx context.Context, xml string, autostart bool, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Define(ctx, xml, autostart, run)
}

// Compare returns what libvirt made of a domain's XML, and how that differs.
func (h *Libvirt) Compare(ctx context.Context, xml string) (made string, differs []string, err error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return "", nil, err
	}
	return conn.Compare(ctx, xml)
}

// Undefine removes the run's domain, if it is there.
func (h *Libvirt) Undefine(ctx context.Context, name, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Undefine(ctx, name, run)
}

// Prove has a transient domain boot, and returns which proof was had: none that is
// less than what is wanted. line gets each line of its console.
func (h *Libvirt) Prove(ctx context.Context, xml string, want plan.Expect, network func() (answered, complete bool), line func(string)) (plan.Proof, error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return plan.Proof{}, err
	}
	expect := virt.LoginPrompt
	if want.See == plan.SawActivity {
		expect = virt.Activity
	}
	p, err := conn.Prove(ctx, virt.ProofRequest{
		XML: xml, Expect: expect, For: time.Duration(want.Seconds) * time.Second,
		Network: network, Linger: want.Network.Linger(),
		Line: func(text string) {
			h.Log.InfoContext(ctx, "console", "line", text)
			line(text)
		},
	})
	if err != nil {
		return plan.Proof{}, err
	}
	return proofOf(p), nil
}

// proofOf puts into words which proof was had.
func proofOf(p virt.Proof) plan.Proof {
	saw, what := plan.SawLogin, "login prompt on the serial console"
	if p.Kind != virt.LoginPrompt {
		saw, what = plan.SawActivity, "activity only, no login prompt,"
	}
	return plan.Proof{Saw: saw, Text: fmt.Sprintf("%s after %v: %s", what, p.Duration.Round(time.Second/10), p.Evidence)}
}

// CleanProof destroys a domain that a killed proof left.
func (h *Libvirt) CleanProof(ctx context.Context, name, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.CleanProof(ctx, name, run)
}

// Start starts the domain of a run.
func (h *Libvirt) Start(ctx context.Context, name, run string) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Start(ctx, name, run)
}

// Stop stops it, as [virt.Conn.Stop] does.
func (h *Libvirt) Stop(ctx context.Context, name, run string, patience time.Duration) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.Stop(ctx, name, run, patience)
}

// AutoStart has it started, or not, when this host boots.
func (h *Libvirt) AutoStart(ctx context.Context, name, run string, on bool) error {
	conn, err := h.connect(ctx)
	if err != nil {
		return err
	}
	return conn.AutoStart(ctx, name, run, on)
}

// Agent reports whether the guest's agent is connected, and whether the domain runs.
func (h *Libvirt) Agent(ctx context.Context, name, run string) (connected, runs bool, err error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return false, false, err
	}
	return conn.Agent(ctx, name, run)
}
