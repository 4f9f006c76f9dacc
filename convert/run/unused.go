package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/disk/unused"
)

// Left is what the journal says of what isn't copied.
type Left struct {
	Spaces []unused.Space `json:"spaces"`
	// Masks names the disks' masks, by address. An older esxodus didn't.
	Masks map[string]string `json:"masks,omitempty"`
}

// findUnused finds what nothing needs of the disks, now that the VM is off. It is kept
// for the copy, a resume, and a later comparison: a copy that was begun with one mask
// can't go on with another.
func (x *executor) findUnused(ctx context.Context, _ *task) (_ any, err error) {
	var disks []unused.Disk
	for i := range x.job.VM.Disks {
		d := &x.job.VM.Disks[i]
		img, closeImage, failed := x.openSource(ctx, d)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, closeImage()) }()
		disks = append(disks, unused.Disk{Address: d.Address, Image: img})
	}
	found, err := unused.Find(ctx, disks)
	if err != nil {
		return nil, keep(err)
	}
	left := Left{Spaces: found.Spaces, Masks: make(map[string]string, len(disks))}
	for i, m := range found.Masks {
		left.Masks[disks[i].Address] = m.Name()
		if err := m.Save(x.maskPath(disks[i].Address)); err != nil {
			return nil, keep(fmt.Errorf("what isn't copied of %s: %w", disks[i].Address, err))
		}
	}
	return left, nil
}

func (x *executor) forgetUnused(context.Context, *task) error {
	var errs []error
	for _, d := range x.job.VM.Disks {
		errs = append(errs, disk.RemoveMask(x.maskPath(d.Address)))
	}
	return errors.Join(errs...)
}

func (x *executor) maskPath(address string) string { return x.journal.Path(address + ".unused") }

// mask is what nothing needs of a disk, if the plan leaves that out.
func (x *executor) mask(d *plan.Disk) (*disk.Mask, error) {
	if !x.job.VM.LeavesOut() {
		return disk.NewMask(d.Size, nil)
	}
	m, err := disk.LoadMask(x.maskPath(d.Address))
	if err == nil && m.Size() != d.Size {
		err = fmt.Errorf("%s: %w: it is for %d bytes, but the disk has %d", x.maskPath(d.Address), disk.ErrDamaged, m.Size(), d.Size)
	}
	if err == nil {
		err = x.found(d, m)
	}
	if err != nil {
		return nil, keep(fmt.Errorf("what isn't copied of %s: %w; roll back", d.Address, err))
	}
	return m, nil
}

// found makes sure that a mask is the one that this run found for the disk: that of
// another of its size, or of another run, hides what is needed.
func (x *executor) found(d *plan.Disk, m *disk.Mask) error {
	i := slices.IndexFunc(x.job.VM.Steps, func(s plan.Step) bool { return s.Kind == plan.StepUnused })
	r := x.journal.Steps()[i].Result
	if r == nil {
		return errors.New("the journal doesn't say that it was found")
	}
	var left Left
	if err := json.Unmarshal(r.Data, &left); err != nil {
		return fmt.Errorf("journal: what was found: %w", err)
	}
	if left.Masks != nil && left.Masks[d.Address] != m.Name() {
		return fmt.Errorf("%s: %w: it isn't what this run found for the disk", x.maskPath(d.Address), disk.ErrDamaged)
	}
	return nil
}

// needed is a disk's image, in which what nothing needs is hidden, if the plan leaves
// that out.
func (x *executor) needed(d *plan.Disk, img disk.Image) (disk.Image, error) {
	m, err := x.mask(d)
	if err != nil {
		return nil, err
	}
	return m.Over(img), nil
}

// stand stands for a disk's image where that isn't read.
func (x *executor) stand(d *plan.Disk) (disk.Image, error) {
	return x.needed(d, disk.FromReaderAt(nil, d.Size))
}
