package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"esxodus/convert/domain"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/volume"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

// proofName is the name of the transient domain of a boot proof.
func (x *executor) proofName() string { return x.job.VM.Name + "-proof-" + x.journal.Run() }

// prove has a transient copy of the domain boot: its links are down, or lead to this
// process, and its disks are overlays, so that nothing the guest does lasts or is
// heard elsewhere. A
// guest that doesn't come up is kept for a look: the admin may fix it and
// resume, or roll back.
func (x *executor) prove(ctx context.Context, t *task) (any, error) {
	if x.NoProof {
		x.Progress.Step(x.job.VM.Name, "leave out the boot proof (--no-proof)")
		return plan.Proof{Saw: plan.SawNothing, Text: plan.ProofLeftOut}, keep(x.cleanProof(ctx))
	}
	want, text := x.job.Expect(t.Step)
	if x.BootOnly && want.Network != nil {
		want, text = want.WithoutNetwork(), text+" (without its network: --proof boot)"
	}
	x.Progress.Step(x.job.VM.Name, text)
	proof, err := x.boot(ctx, want)
	if err == nil {
		proof.Leaves(want)
	}
	return proof, keep(err)
}

// boot makes the overlays, has the copy boot over them, and removes them.
func (x *executor) boot(ctx context.Context, want plan.Expect) (proof plan.Proof, err error) {
	if err := x.cleanProof(ctx); err != nil {
		return plan.Proof{}, err
	}
	bases := make([]string, len(x.job.VM.Disks))
	for i, d := range x.job.VM.Disks {
		if err := x.ours(ctx, &x.job.VM.Disks[i]); err != nil {
			return plan.Proof{}, err
		}
		bases[i] = d.Volume.Path
	}
	if err := volume.CheckOverlays(x.proofDir()); err != nil {
		return plan.Proof{}, err
	}
	overlays, err := volume.Overlays(ctx, x.Tool, x.proofDir(), bases)
	if err != nil {
		return plan.Proof{}, err
	}
	defer func() { err = errors.Join(err, volume.RemoveOverlays(x.proofDir())) }()
	for try := 1; ; try++ {
		proof, err := x.watch(ctx, want, bases, overlays)
		taken, ok := errors.AsType[interface {
			error
			PortTaken() bool
		}](err)
		if !ok || !taken.PortTaken() || try == 3 {
			return proof, err
		}
	}
}

// watch has the copy boot, on wires where its network is tried.
func (x *executor) watch(ctx context.Context, want plan.Expect, bases, overlays []string) (proof plan.Proof, err error) {
	said, err := openConsole(x.journal.Path(runs.ConsoleFile))
	if err != nil {
		return plan.Proof{}, err
	}
	defer func() { err = errors.Join(err, said.Close()) }()
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(x.job.VM.Domain.XML); err != nil {
		return plan.Proof{}, fmt.Errorf("domain.xml of the plan: %w", err)
	}
	if want.Network != nil {
		return x.proveWired(ctx, &dom, want, bases, overlays, said)
	}
	xml, err := x.proofXML(&dom, nil, bases, overlays)
	if err != nil {
		return plan.Proof{}, err
	}
	return x.Virt.Prove(ctx, xml, want, nil, said.line)
}

// maxConsole is how many bytes of a guest's console are kept.
const maxConsole = 4 << 20

// console keeps what a guest wrote to its serial console.
type console struct {
	*os.File

	left int
	err  error
}

func openConsole(path string) (*console, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the guest's console: %w", err)
	}
	return &console{File: f, left: maxConsole}, nil
}

func (c *console) line(text string) {
	if c.left -= len(text) + 1; c.left < 0 || c.err != nil {
		return
	}
	_, c.err = c.WriteString(text + "\n")
}

// Close says why something wasn't kept.
func (c *console) Close() error {
	if err := errors.Join(c.err, c.File.Close()); err != nil {
		return fmt.Errorf("the guest's console: %w", err)
	}
	return nil
}

func (x *executor) proofDir() string { return x.journal.Path(runs.ProofDir) }

// proofXML makes the transient copy's XML, marked as this run's.
func (x *executor) proofXML(dom *libvirtxml.Domain, wires []*domain.Wire, bases, overlays []string) (string, error) {
	o := domain.ProofOptions{
		Name: x.proofName(), UUID: uuid.NewString(), Overlays: overlaysByTarget(dom, bases, overlays),
		ConsoleSocket: volume.OverlayConsole(x.proofDir()), Wires: wires,
	}
	if dom.OS != nil && dom.OS.Firmware == "efi" {
		o.NVRAM = volume.OverlayNVRAM(x.proofDir()) // libvirt would leave its own behind
	}
	copied, err := domain.Proof(dom, o)
	if err != nil {
		return "", err
	}
	xml, err := copied.Marshal()
	if err != nil {
		return "", fmt.Errorf("boot proof: %w", err)
	}
	return domain.Tag(xml, x.journal.Run())
}

// overlaysByTarget keys each overlay with the target device (vda) of the disk
// whose base it stands over.
func overlaysByTarget(dom *libvirtxml.Domain, bases, overlays []string) map[string]string {
	byBase := make(map[string]string)
	for i, base := range bases {
		byBase[base] = overlays[i]
	}
	out := make(map[string]string)
	for _, d := range dom.Devices.Disks {
		if overlay, ok := byBase[domain.SourcePath(d.Source)]; ok && d.Target != nil {
			out[d.Target.Dev] = overlay
		}
	}
	return out
}

func (x *executor) forgetProof(ctx context.Context, _ *task) error { return x.cleanProof(ctx) }

// cleanProof removes what a proof that was killed left.
func (x *executor) cleanProof(ctx context.Context) error {
	if err := x.Virt.CleanProof(ctx, x.proofName(), x.journal.Run()); err != nil {
		return err
	}
	for _, name := range []string{runs.CaptureFile, runs.ConsoleFile} {
		if err := os.Remove(x.journal.Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("what a proof saw: %w", err)
		}
	}
	return volume.RemoveOverlays(x.proofDir())
}
