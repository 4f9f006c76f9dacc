package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/disk"
)

// Verification is what [Verify] found of a run's disks.
type Verification struct {
	Name  string         `json:"name"` // the domain's
	VM    string         `json:"vm"`   // the source's
	Disks []VerifiedDisk `json:"disks"`
}

// VerifiedDisk is what was found of one disk. A side that is nil wasn't compared,
// or not to its end.
type VerifiedDisk struct {
	Address string `json:"address"`
	Volume  *Side  `json:"volume,omitempty"`
	Source  *Side  `json:"source,omitempty"`
	// Apart are the bytes of the volume, in its first block that differs, from the
	// first to the last that isn't the source's. It is known only if both were read,
	// and the conversion didn't write to that block.
	Apart *disk.Range `json:"apart,omitempty"`
	// Agree says that volume and source are alike in that block: then the digest is
	// what is wrong.
	Agree bool `json:"agree,omitempty"`
	// Digests is the file that they were compared with.
	Digests string `json:"digests"`
	Error   string `json:"error,omitempty"` // why it couldn't be compared, or not to the end
}

// Side is one side of a copy, compared with the digests of what was copied.
type Side struct {
	Where     string     `json:"where"`            // the volume's path, or that of the source's descriptor
	Kept      bool       `json:"kept,omitempty"`   // the source wasn't read, but what a lease has brought of it and is kept on this machine
	Bytes     int64      `json:"bytes"`            // that were compared
	Left      int64      `json:"left,omitempty"`   // bytes of the source that the layout leaves out, not compared
	Unused    int64      `json:"unused,omitempty"` // bytes of the source that nothing needs, which weren't copied, and count as zeros
	Blocks    int64      `json:"blocks"`           // that were compared
	Converted int64      `json:"convertedBlocks"`  // of those, the ones that the guest's conversion wrote to: compared with what it left
	Differ    int64      `json:"differingBlocks"`
	First     disk.Range `json:"first,omitzero"`    // the first block that differs
	Changed   []string   `json:"changed,omitempty"` // files of the source whose state is another than when they were copied
	// Written is when a volume that differs was last written to, after this run had
	// done with it. It is nil if it wasn't, or where that can't be known.
	Written *time.Time `json:"written,omitempty"`
}

// Differs reports whether a block of either side isn't what was copied.
func (v *VerifiedDisk) Differs() bool {
	return v.Volume != nil && v.Volume.Differ > 0 || v.Source != nil && v.Source.Differ > 0
}

// OnlyDigest reports whether volume and source are the same, and what is wrong is one
// digest of what was copied.
func (v *VerifiedDisk) OnlyDigest() bool {
	return v.Agree && v.Volume.Differ == 1 && v.Source.Differ == 1
}

// Verify reads the volumes of a run again, and with source the source's disks, and
// compares them with the digests that the copy kept. It changes nothing. A disk that
// can't be compared doesn't keep the others from it; an error is one that concerns
// them all.
func Verify(ctx context.Context, j *runs.Journal, e Effects, source bool) (*Verification, error) {
	if err := errors.Join(verifiable(j), sound(j)); err != nil {
		return nil, err
	}
	x := &executor{Effects: e, job: j.Job(), journal: j}
	if err := x.atRest(ctx, source); err != nil {
		return nil, err
	}
	out := &Verification{Name: x.job.VM.Name, VM: x.job.VM.Source.Name}
	for i := range x.job.VM.Disks {
		v := VerifiedDisk{Address: x.job.VM.Disks[i].Address, Digests: x.digestPath(x.job.VM.Disks[i].Address)}
		err := x.compare(ctx, &x.job.VM.Disks[i], &v, source)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			v.Error = err.Error()
		}
		out.Disks = append(out.Disks, v)
	}
	if slices.ContainsFunc(out.Disks, func(v VerifiedDisk) bool { return v.Differs() }) {
		if err := x.atRest(ctx, source); err != nil { // what somebody wrote meanwhile is no finding
			return nil, err
		}
	}
	return out, nil
}

// verifiable says why a run's volumes can't be compared with the digests of its
// copies.
func verifiable(j *runs.Journal) error {
	name, s := j.Job().VM.Name, j.State()
	if s.Ended() || s.Phase == journal.PhaseUndoing || s.Phase == journal.PhaseCommitting {
		return fmt.Errorf("%s: is %s: only a migration that isn't committed or rolled back can be verified; after the commit the volumes are the domain's", name, s.Phase)
	}
	for i, st := range j.Steps() {
		switch step := j.Job().VM.Steps[i]; {
		case step.Kind == plan.StepCopy && !st.Done:
			return fmt.Errorf("%s: %s isn't copied yet: `esxodus resume %s` goes on", name, step.Disk, name)
		case step.Kind == plan.StepMerge && st.Begun && !st.Done:
			return fmt.Errorf("%s: the guest's conversion isn't all on the volumes yet: `esxodus resume %s` goes on", name, name)
		}
	}
	return nil
}

// atRest makes sure that no domain runs on the volumes, and with source that the
// source VM is off: what somebody writes meanwhile is neither the same nor a
// difference.
func (x *executor) atRest(ctx context.Context, source bool) error {
	err := x.eachUser(ctx, func(k plan.KnownDomain, d *plan.Disk) error {
		if !k.Active {
			return nil
		}
		return fmt.Errorf("the domain %s is running from %s, and what it writes isn't what was copied: shut it down first", k.Name, d.Volume)
	})
	if err != nil || !source {
		return err
	}
	vm, err := x.sourceNow(ctx, "leave out --source")
	if err != nil {
		return err
	}
	if why := x.mayRun(vm); why != "" {
		return fmt.Errorf("%q: %s: what it writes isn't what was copied; shut it down, or leave out --source", vm.Name, why)
	}
	return nil
}

// compare compares what there is of a disk with its digests.
func (x *executor) compare(ctx context.Context, d *plan.Disk, v *VerifiedDisk, source bool) (err error) {
	if err := x.ours(ctx, d); err != nil {
		return err
	}
	dst, err := disk.OpenRaw(d.Volume.Path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	stand, err := x.stand(d) // for the source, until that is read
	if err != nil {
		return err
	}
	maps, closeHead, err := x.mappings(d, stand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeHead()) }()
	digests, err := disk.OpenDigests(x.digestPath(d.Address), x.digestSource(d), dst.Size(), maps)
	if err != nil {
		return fmt.Errorf("there is nothing to compare it with: %w", err)
	}
	defer func() { err = errors.Join(err, digests.Close()) }()
	c := &comparing{executor: x, d: d, dst: dst, digests: digests}
	if err := c.volume(ctx, maps, v); err != nil || !source {
		return err
	}
	return c.source(ctx, maps, stand, v)
}

// comparing is the comparison of one disk.
type comparing struct {
	*executor

	d       *plan.Disk
	dst     *disk.Raw
	digests *disk.Digests
	changed bool // the first block of the volume that differs is one that the conversion wrote
}

// volume compares the volume.
func (c *comparing) volume(ctx context.Context, maps []disk.Mapping, v *VerifiedDisk) (err error) {
	later, closeLater, err := c.later(maps)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLater()) }()
	found, err := c.run(doVerify, c.dst.Size(), func(o disk.Options) (disk.Comparison, error) {
		return disk.CompareTarget(ctx, c.dst, maps, later, o)
	})
	if err != nil {
		return notWhole(err)
	}
	c.changed = found.FirstLater
	v.Volume = sideOf(c.d.Volume.Path, found)
	if found.Differ > 0 {
		v.Volume.Written, err = c.writtenSince()
	}
	return err
}

// later opens the digests of what the guest's conversion wrote, if it did.
func (c *comparing) later(maps []disk.Mapping) (later *disk.Digests, closeLater func() error, err error) {
	if !c.begun(plan.StepMerge) {
		return nil, func() error { return nil }, nil
	}
	later, err = disk.OpenDigests(c.laterPath(c.d.Address), c.laterSource(c.d), c.dst.Size(), maps)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the guest was converted after the copy, and what that changed isn't on record (%w)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	return later, later.Close, nil
}

// run has a comparison show its progress on total bytes.
func (c *comparing) run(what string, total int64, compare func(disk.Options) (disk.Comparison, error)) (disk.Comparison, error) {
	add, end := c.Progress.Begin(c.job.VM.Name, what+" "+c.d.Address, total)
	defer end()
	o := disk.Options{Progress: add, Digests: c.digests, Rate: c.Rate}
	if what != doVerify {
		o.Connections = c.Connections
	}
	return compare(o)
}

// notWhole says of digests that miss a block what that means once all was copied.
func notWhole(err error) error {
	if errors.Is(err, disk.ErrNotCopied) {
		return fmt.Errorf("the digests are damaged: a block that was copied has none: %w", err)
	}
	return err
}

func sideOf(where string, found disk.Comparison) *Side {
	return &Side{Where: where, Bytes: found.Bytes, Blocks: found.Blocks, Converted: found.Later, Differ: found.Differ, First: found.First}
}

// writtenSince is when a volume that is a file was last written to, if that was
// after this run had done with it.
func (c *comparing) writtenSince() (*time.Time, error) {
	info, err := os.Stat(c.d.Volume.Path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	const slack = time.Second // the journal's times are cut, and a file system's are coarse
	var done time.Time
	for _, r := range c.journal.Records() {
		if r.Event != journal.EventDone || r.Step == nil {
			continue
		}
		if s := c.job.VM.Steps[*r.Step]; s.Kind == plan.StepMerge || s.Kind == plan.StepCopy && s.Disk == c.d.Address {
			done = r.Time.Add(slack)
		}
	}
	if at := info.ModTime(); at.After(done) {
		return &at, nil
	}
	return nil, nil
}

// source compares the source, for which stand stands in maps.
func (c *comparing) source(ctx context.Context, maps []disk.Mapping, stand disk.Image, v *VerifiedDisk) (err error) {
	img, closeImage, err := c.Host.OpenDisk(ctx, c.d.Origin())
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer func() { err = errors.Join(err, closeImage()) }()
	if img.Size() != c.d.Size {
		return fmt.Errorf("source: %s has %d bytes, but the copy was made of %d", c.d.Path, img.Size(), c.d.Size)
	}
	mask, err := c.mask(c.d)
	if err != nil {
		return err
	}
	seen := mask.Over(img)
	var total int64
	for i := range maps {
		if maps[i].Source == stand {
			maps[i].Source = seen
			total += maps[i].Length
		}
	}
	files, err := c.changedFiles(img)
	if err != nil {
		return err
	}
	found, err := c.run("verify the source of", total, func(o disk.Options) (disk.Comparison, error) {
		return disk.CompareSource(ctx, seen, c.dst.Size(), maps, o)
	})
	if err != nil {
		return fmt.Errorf("source: %w", notWhole(err))
	}
	v.Source = sideOf(c.d.Path+" "+c.d.Origin().String(), found)
	v.Source.Kept = c.d.Via == plan.WayNFC
	v.Source.Left, v.Source.Unused = max(0, c.d.Size-total), mask.Unused()
	for _, f := range files {
		v.Source.Changed = append(v.Source.Changed, fmt.Sprintf("it was %s, and is %s", f.was, f.is))
	}
	return c.apart(maps, seen, v)
}

// apart compares volume and source with each other in the first block that differs:
// a digest says no more than that the block does.
func (c *comparing) apart(maps []disk.Mapping, img disk.Image, v *VerifiedDisk) error {
	for _, m := range maps {
		if m.Source != img {
			continue
		}
		at := disk.Range{Offset: v.Volume.First.Offset - m.TargetOffset, Length: v.Volume.First.Length} // in the mapping
		if at.Length == 0 && v.Volume.Converted == 0 {
			at = disk.Range{Offset: v.Source.First.Offset - m.SourceOffset, Length: v.Source.First.Length}
		}
		if at.Length == 0 || at.Offset < 0 || at.Offset >= m.Length || c.changed {
			continue
		}
		var err error
		if v.Apart, err = disk.Apart(c.dst, m.TargetOffset+at.Offset, img, m.SourceOffset+at.Offset, at.Length); err != nil {
			return err
		}
		v.Agree = v.Apart == nil
		return nil
	}
	return nil
}
