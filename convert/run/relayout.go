package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
	"esxodus/convert/plan"
	"esxodus/convert/pvhead"
	"esxodus/convert/volume"
	"esxodus/disk"
)

// templates has LVM's own tools make the head of each physical volume of the
// layout, and keeps the heads for the copy.
func (x *executor) templates(ctx context.Context, _ *task) (_ any, err error) {
	dir := x.templateDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var closers []func() error
	defer func() {
		for _, c := range closers {
			err = errors.Join(err, c())
		}
	}()
	source := func(address string) (io.ReaderAt, error) {
		d, ok := x.job.VM.Disk(address)
		if !ok {
			return nil, fmt.Errorf("the plan has no disk %q", address)
		}
		img, closeImage, err := x.openSource(ctx, d)
		if err != nil {
			return nil, err
		}
		closers = append(closers, closeImage)
		return keptReads{img}, nil
	}
	return nil, x.Guests.Templates(ctx, dir, x.job.VM.Layout.Groups, source)
}

// keptReads is a source whose failures leave the work in place: they may go
// away when it is tried again.
type keptReads struct{ io.ReaderAt }

func (k keptReads) ReadAt(p []byte, off int64) (int, error) {
	n, err := k.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = keep(err)
	}
	return n, err
}

func (x *executor) forgetTemplates(context.Context, *task) error {
	return pvhead.Remove(x.templateDir())
}

func (x *executor) templateDir() string { return x.journal.Path("templates") }

// mappings says where a disk's bytes come from: the head that LVM made, and
// the ranges of the source.
func (x *executor) mappings(d *plan.Disk, src disk.Image) ([]disk.Mapping, func() error, error) {
	lay, ok := x.job.VM.LaidOut(d.Address)
	if !ok {
		return nil, nil, fmt.Errorf("the plan has no layout of disk %q", d.Address)
	}
	var maps []disk.Mapping
	closeHead := func() error { return nil }
	if lay.Head > 0 {
		head, err := disk.OpenRaw(pvhead.Head(x.templateDir(), d.Address), false)
		if err != nil {
			return nil, nil, fmt.Errorf("head of %s: %w", d.Address, err)
		}
		if head.Size() != lay.Head {
			return nil, nil, errors.Join(fmt.Errorf("head of %s: %d bytes, but the plan says %d", d.Address, head.Size(), lay.Head), head.Close())
		}
		closeHead = head.Close
		maps = append(maps, disk.Mapping{Source: head, Length: lay.Head})
	}
	for _, r := range lay.Ranges {
		maps = append(maps, disk.Mapping{Source: src, SourceOffset: r.Source, TargetOffset: r.Target, Length: r.Length})
	}
	return maps, closeHead, nil
}

// convertGuest converts the guest on overlays over its volumes, which stay the
// untouched copies until all of it went well.
func (x *executor) convertGuest(ctx context.Context, _ *task) (result any, err error) {
	if err := x.cleanGuest(); err != nil { // of a run that was killed
		return nil, err
	}
	bases, err := x.volumePaths(ctx)
	if err != nil {
		return nil, err
	}
	overlays, err := volume.Overlays(ctx, x.Tool, x.guestDir(), bases)
	if err != nil {
		return nil, err
	}
	if err = os.Mkdir(x.scratchDir(), 0o755); err == nil {
		report := func(doing string) { x.Progress.Step(x.job.VM.Name, "guest: "+doing) }
		result, err = x.Guests.Convert(ctx, x.job, x.packagesDir(), x.scratchDir(), overlays, report)
	}
	if err != nil {
		if !x.job.VM.Relaid() {
			err = fmt.Errorf("%w. The volumes are exact copies still: roll back, and plan with --no-edits to have the guest left as it is", err)
		}
		return nil, keep(errors.Join(err, x.cleanGuest()))
	}
	return result, keep(errors.Join(os.RemoveAll(x.scratchDir()), os.RemoveAll(x.packagesDir())))
}

// fetch gets the packages that the guest lacks: a mirror that has other ones by
// now is found out before the VM is shut down and copied.
func (x *executor) fetch(ctx context.Context, _ *task) (any, error) {
	if err := os.MkdirAll(x.packagesDir(), 0o700); err != nil {
		return nil, err
	}
	return nil, x.Guests.Fetch(ctx, x.job.VM.Packages, x.packagesDir())
}

func (x *executor) forgetPackages(context.Context, *task) error { return os.RemoveAll(x.packagesDir()) }

func (x *executor) packagesDir() string { return x.journal.Path("packages") }

// forgetGuest removes all of a guest's conversion that isn't merged.
func (x *executor) forgetGuest(context.Context, *task) error { return x.cleanGuest() }

func (x *executor) cleanGuest() error {
	return errors.Join(volume.RemoveOverlays(x.guestDir()), os.RemoveAll(x.scratchDir()))
}

func (x *executor) guestDir() string { return x.journal.Path("guest") }

func (x *executor) scratchDir() string { return x.journal.Path("scratch") }

// volumePaths returns where this run's volumes are, in the order of the disks.
func (x *executor) volumePaths(ctx context.Context) ([]string, error) {
	paths := make([]string, len(x.job.VM.Disks))
	for i := range x.job.VM.Disks {
		if err := x.ours(ctx, &x.job.VM.Disks[i]); err != nil {
			return nil, err
		}
		paths[i] = x.job.VM.Disks[i].Volume.Path
	}
	return paths, nil
}

// merge writes the overlays into the volumes, which may be done any number of
// times, keeps digests of what they changed there for a later verification, and
// compares what boots with the files, without running the guest.
// Overlays are removed last: where there are none, all is merged.
func (x *executor) merge(ctx context.Context, _ *task) (any, error) {
	paths, err := x.volumePaths(ctx)
	if err != nil {
		return nil, err
	}
	if err := volume.MergeOverlays(ctx, x.Tool, x.guestDir()); err != nil {
		return nil, keep(err)
	}
	for i, p := range paths {
		if err := syncVolume(p); err != nil {
			return nil, keep(err)
		}
		if err := x.recordMerged(ctx, &x.job.VM.Disks[i], i); err != nil {
			return nil, keep(err)
		}
	}
	report, err := x.verifyBoot(ctx)
	if err != nil {
		return nil, err
	}
	return report, volume.RemoveOverlays(x.guestDir())
}

// recordMerged keeps the digests of the blocks that overlay i has changed on its
// disk's volume. Where there is no overlay any more, a run that was killed has kept
// them.
func (x *executor) recordMerged(ctx context.Context, d *plan.Disk, i int) (err error) {
	ranges, err := volume.Overlaid(ctx, x.Tool, x.guestDir(), i)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dst, err := disk.OpenRaw(d.Volume.Path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	stand, err := x.stand(d)
	if err != nil {
		return err
	}
	maps, closeHead, err := x.mappings(d, stand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeHead()) }()
	path := x.laterPath(d.Address)
	if err := disk.RemoveDigests(path); err != nil {
		return err
	}
	later, err := disk.CreateDigests(path, x.laterSource(d), dst.Size(), maps)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, later.Close()) }()
	return disk.Record(ctx, dst, maps, ranges, disk.Options{Digests: later})
}

func syncVolume(path string) (err error) {
	raw, err := disk.OpenRaw(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	return raw.Sync()
}

// verifyBoot follows the loader's way over the boot disk as it lies on its
// volume, without running the guest. A LILO of the guest's own isn't ours to
// check: the boot proof shows whether it works.
func (x *executor) verifyBoot(ctx context.Context) (report *lilo.Report, err error) {
	vm := &x.job.VM
	if vm.Layout.Boot == nil || vm.Conversion == nil || vm.Conversion.OwnLoader != "" {
		return nil, nil // there is nothing to report
	}
	d, ok := vm.Disk(vm.Layout.Boot.Disk)
	if !ok {
		return nil, fmt.Errorf("the plan has no disk %q to boot from", vm.Layout.Boot.Disk)
	}
	raw, err := disk.OpenRaw(d.Volume.Path, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	if report, err = lilo.Verify(ctx, raw, raw.Size()); err != nil {
		return nil, fmt.Errorf("%s would not boot: %w", d.Volume, err)
	}
	if err := bootsDefault(vm.Conversion, report.Default); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Volume, err)
	}
	return report, nil
}

// bootsDefault compares the image that the loader starts by itself with the one
// that is meant to: lilo leaves out images whose files are missing, takes
// another as the default, and says so only in its output.
func bootsDefault(c *guest.Conversion, label string) error {
	want, err := defaultImage(c)
	if err != nil || want.Label == label {
		return err
	}
	files := want.Kernel
	if want.Initrd != "" {
		files += " or " + want.Initrd
	}
	return fmt.Errorf("%s would boot by default instead of %s, which lilo skipped: make sure in the guest that %s points to a readable file on the /boot file system, then plan again", label, want.Label, files)
}

// defaultImage is the image that boots by default by the planned lilo.conf. A
// plan without one leaves the guest's, which is the same text then.
func defaultImage(c *guest.Conversion) (conf.Image, error) {
	for _, e := range slices.Backward(c.Edits) { // of several edits of a file the last one counts
		if e.Path != conf.DefaultFile {
			continue
		}
		cfg, err := conf.Parse(conf.DefaultFile, []byte(e.New))
		if err != nil {
			return conf.Image{}, fmt.Errorf("the planned %w", err)
		}
		if im := cfg.Find(cfg.Default); im != nil {
			return *im, nil
		}
		return cfg.Images[0], nil
	}
	return conf.Image{Label: adapt.DefaultLabel, Kernel: "the file that image= with that label names in " + conf.DefaultFile + " names"}, nil
}
