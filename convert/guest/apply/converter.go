// Package apply carries out what is to change inside guests, in an appliance.
package apply

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"esxodus/convert/appliance"
	"esxodus/convert/appliance/act"
	"esxodus/convert/guest"
	"esxodus/convert/guest/initrd"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/lilo/guestfiles"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/pvhead"
	"esxodus/disk"
)

// Converter converts guests in an appliance of libguestfs's. It is to be closed.
type Converter struct {
	Tool host.Tool
	LILO string // the program, "" to look for it beside this one
	Dir  string // a directory of packages, "" for the guest's archives

	indexes packages.Indexes
}

// Close removes what was kept for questions about packages.
func (g *Converter) Close() error { return g.indexes.Close() }

// Missing says why no guest with file systems of these types can be converted on
// this host, "" if it can.
func (g *Converter) Missing(types []string) string {
	if err := appliance.ThisHost().Check(types); err != nil {
		return "guests can't be converted on this host: " + err.Error()
	}
	if _, err := g.liloPath(); err != nil {
		return err.Error()
	}
	return ""
}

// liloPath finds the program that goes into guests.
func (g *Converter) liloPath() (string, error) {
	if g.LILO != "" {
		if _, err := os.Stat(g.LILO); err != nil {
			return "", fmt.Errorf("--lilo: %w", err)
		}
		return g.LILO, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, "lilo"), filepath.Join(dir, "../lib/esxodus/lilo")} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the program lilo, which goes into guests, is neither beside %s nor in ../lib/esxodus: run make build (or make install), or name it with --lilo", self)
}

// Packages finds the packages that a guest lacks by its dpkg's records, with what they
// need.
func (g *Converter) Packages(ctx context.Context, found guest.Guest, records []byte, names []string) (packages.Set, error) {
	c := found.Config
	return packages.Resolver{Tool: g.Tool, Dir: g.Dir, Indexes: &g.indexes}.Resolve(ctx,
		packages.Guest{ID: found.Distro, Codename: c.Codename, Arch: c.Arch, Status: records}, names...)
}

// Templates makes the heads of the physical volumes of groups, as host.Templates
// says.
func (g *Converter) Templates(ctx context.Context, dir string, groups []layout.Group, source func(string) (io.ReaderAt, error)) error {
	_, err := pvhead.Make(ctx, g.Tool, dir, groups, source)
	return err
}

// Fetch gets packages into a directory; what is there isn't fetched again.
func (g *Converter) Fetch(ctx context.Context, set packages.Set, dir string) error {
	_, err := packages.Fetch(ctx, g.Tool, dir, set)
	return err
}

// Convert carries the job's conversion out on overlays over its volumes, in the
// order of the disks, with the packages in a directory of Fetch's. dir is an empty
// directory for what it needs on the way.
func (g *Converter) Convert(ctx context.Context, job *plan.VMJob, packages, dir string, overlays []string, report func(string)) (any, error) {
	in, err := g.input(ctx, job, packages)
	if err != nil {
		return nil, err
	}
	in.Report = report
	disks := make([]appliance.Disk, len(overlays))
	for i, o := range overlays {
		disks[i] = appliance.Disk{Name: job.VM.Disks[i].Address, Path: o, Format: "qcow2"}
	}
	o := appliance.Options{TCG: job.Target.VirtType == "qemu", TempDir: dir, Log: g.Tool.Log}
	return act.Run(ctx, g.Tool, disks, o, *job.VM.Conversion, in)
}

// input gathers what goes into the guest, its packages from a directory.
func (g *Converter) input(ctx context.Context, job *plan.VMJob, dir string) (in act.Input, err error) {
	in = act.Input{Programs: make(map[string][]byte), Overlay: initrd.Build, Unpacked: job.VM.Packages.Unpacked}
	for _, p := range job.VM.Conversion.Programs {
		if in.Programs[p.Source], err = g.program(p); err != nil {
			return in, err
		}
	}
	if len(job.VM.Packages.Packages) == 0 {
		return in, nil
	}
	in.Packages, err = packages.Fetch(ctx, g.Tool, dir, job.VM.Packages)
	return in, err
}

// program returns the content of a file that goes into a guest.
func (g *Converter) program(p guest.Program) ([]byte, error) {
	if p.Source != "lilo" {
		return guestfiles.File(p.Source)
	}
	path, err := g.liloPath()
	if err != nil {
		return nil, err
	}
	return disk.ReadRegular(path)
}
