package main

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
)

// guests converts guests as package convert wants it, in an appliance of
// libguestfs's.
type guests struct {
	tool     host.Tool
	lilo     string // --lilo, "" to look for it
	packages string // --packages
}

// Missing implements convert.Guests.
func (g *guests) Missing(types []string) string {
	if err := appliance.ThisHost().Check(types); err != nil {
		return "guests can't be converted on this host: " + err.Error()
	}
	if _, err := g.liloPath(); err != nil {
		return err.Error()
	}
	return ""
}

// liloPath finds the program that goes into guests.
func (g *guests) liloPath() (string, error) {
	if g.lilo != "" {
		if _, err := os.Stat(g.lilo); err != nil {
			return "", fmt.Errorf("--lilo: %w", err)
		}
		return g.lilo, nil
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

// Packages implements convert.Guests.
func (g *guests) Packages(ctx context.Context, found guest.Guest, names []string) (packages.Set, error) {
	c := found.Config
	return packages.Resolver{Tool: g.tool, Dir: g.packages}.Resolve(ctx,
		packages.Guest{ID: found.Distro, Codename: c.Codename, Arch: c.Arch, Status: c.Status}, names...)
}

// Templates implements convert.Guests.
func (g *guests) Templates(ctx context.Context, dir string, groups []layout.Group, source func(string) (io.ReaderAt, error)) error {
	_, err := host.Templates(ctx, g.tool, dir, groups, source)
	return err
}

// Fetch implements convert.Guests.
func (g *guests) Fetch(ctx context.Context, set packages.Set, dir string) error {
	_, err := packages.Fetch(ctx, g.tool, dir, set)
	return err
}

// Convert implements convert.Guests.
func (g *guests) Convert(ctx context.Context, job *plan.VMJob, packages, dir string, overlays []string, report func(string)) (any, error) {
	in, err := g.input(ctx, job, packages)
	if err != nil {
		return nil, err
	}
	in.Report = report
	disks := make([]appliance.Disk, len(overlays))
	for i, o := range overlays {
		disks[i] = appliance.Disk{Name: job.VM.Disks[i].Address, Path: o, Format: "qcow2"}
	}
	o := appliance.Options{TCG: job.Target.VirtType == "qemu", TempDir: dir, Log: g.tool.Log}
	return act.Run(ctx, g.tool, disks, o, *job.VM.Conversion, in)
}

// input gathers what goes into the guest, its packages from a directory.
func (g *guests) input(ctx context.Context, job *plan.VMJob, dir string) (in act.Input, err error) {
	in = act.Input{Programs: make(map[string][]byte), Overlay: initrd.Build, Unpacked: job.VM.Packages.Unpacked}
	for _, p := range job.VM.Conversion.Programs {
		if in.Programs[p.Source], err = g.program(p); err != nil {
			return in, err
		}
	}
	if len(job.VM.Packages.Packages) == 0 {
		return in, nil
	}
	in.Packages, err = packages.Fetch(ctx, g.tool, dir, job.VM.Packages)
	return in, err
}

// program returns the content of a file that goes into a guest.
func (g *guests) program(p guest.Program) ([]byte, error) {
	if p.Source != "lilo" {
		return guestfiles.File(p.Source)
	}
	path, err := g.liloPath()
	if err != nil {
		return nil, err
	}
	return readRegular(path)
}
