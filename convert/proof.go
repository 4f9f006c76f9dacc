package convert

import (
	"context"
	"errors"
	"fmt"

	"esxodus/convert/domain"
	"esxodus/convert/host"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

// proofName is the name of the transient domain of a boot proof.
func (a *act) proofName() string { return a.job.VM.Name + "-proof-" + a.journal.Run() }

// prove has a transient copy of the domain boot: its links are down and its
// disks are overlays, so that nothing the guest does lasts or is heard. A
// guest that doesn't come up is kept for a look: the admin may mend it and
// resume, or roll back.
func (a *act) prove(ctx context.Context, step Step) (any, error) {
	if a.NoProof {
		a.Progress.Step(a.job.VM.Name, "leave out the boot proof (--no-proof)")
		return Proof{Saw: SawNothing, Text: leftOut}, keep(a.cleanProof(ctx))
	}
	want, text := a.job.expect(step)
	a.Progress.Step(a.job.VM.Name, text)
	proof, err := a.boot(ctx, want)
	return proof, keep(err)
}

// boot makes the overlays, has the copy boot over them, and removes them.
func (a *act) boot(ctx context.Context, want Expect) (proof Proof, err error) {
	if err := a.cleanProof(ctx); err != nil {
		return Proof{}, err
	}
	bases := make([]string, len(a.job.VM.Disks))
	for i, d := range a.job.VM.Disks {
		if err := a.ours(ctx, &a.job.VM.Disks[i]); err != nil {
			return Proof{}, err
		}
		bases[i] = d.Volume.Path
	}
	if err := host.CheckOverlays(a.proofDir()); err != nil {
		return Proof{}, err
	}
	overlays, err := host.Overlays(ctx, a.Tool, a.proofDir(), bases)
	if err != nil {
		return Proof{}, err
	}
	defer func() { err = errors.Join(err, host.RemoveOverlays(a.proofDir())) }()
	xml, err := a.proofXML(bases, overlays)
	if err != nil {
		return Proof{}, err
	}
	return a.Virt.Prove(ctx, xml, want)
}

func (a *act) proofDir() string { return a.journal.Path(proofDirName) }

// proofXML makes the transient copy's XML, marked as this run's.
func (a *act) proofXML(bases, overlays []string) (string, error) {
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(a.job.VM.Domain.XML); err != nil {
		return "", fmt.Errorf("domain.xml of the plan: %w", err)
	}
	o := domain.ProofOptions{
		Name: a.proofName(), UUID: uuid.NewString(), Overlays: overlaysByTarget(&dom, bases, overlays),
		ConsoleSocket: host.OverlayConsole(a.proofDir()),
	}
	if dom.OS != nil && dom.OS.Firmware == "efi" {
		o.NVRAM = host.OverlayNVRAM(a.proofDir()) // libvirt would leave its own behind
	}
	copied, err := domain.Proof(&dom, o)
	if err != nil {
		return "", err
	}
	xml, err := copied.Marshal()
	if err != nil {
		return "", fmt.Errorf("boot proof: %w", err)
	}
	return domain.Tag(xml, a.journal.Run())
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

// cleanProof removes what a proof that was killed left.
func (a *act) cleanProof(ctx context.Context) error {
	if err := a.Virt.CleanProof(ctx, a.proofName(), a.journal.Run()); err != nil {
		return err
	}
	return host.RemoveOverlays(a.proofDir())
}
