package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
	"esxodus/convert/lilo/install"
)

// lockWait is how long LVM's lock is waited for: a pvmove or a resize of a file
// system may have it for a while.
const lockWait = 2 * time.Minute

// command is one run of lilo.
type command struct {
	opts options
	out  io.Writer
	err  io.Writer
	conf *conf.Config // nil until it was read
}

func (c *command) note(level int, format string, args ...any) {
	if c.opts.verbose >= level {
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}

func (c *command) warn(format string, args ...any) {
	if c.opts.loud || !c.opts.quiet && (c.conf == nil || !c.conf.NoWarn) {
		c.alert(format, args...)
	}
}

// alert is a warning that -w and nowarn don't silence.
func (c *command) alert(format string, args ...any) {
	fmt.Fprintf(c.err, "Warning: "+format+"\n", args...)
}

func (c *command) log() install.Log {
	return install.Log{Note: c.note, Warn: c.warn, Alert: c.alert}
}

func (c *command) run(ctx context.Context) error {
	switch c.opts.action {
	case doHelp:
		fmt.Fprint(c.out, usage)
		return nil
	case doVersion:
		c.version()
		return nil
	}
	// What the kernel shows of devices is opened before the chroot, in which
	// there may be none of it.
	sys, err := install.OpenSystem()
	if err != nil {
		return err
	}
	defer sys.Close() //nolint:errcheck // only read
	if err := c.enter(); err != nil {
		return err
	}
	switch c.opts.action {
	case doQuery:
		return c.query(sys)
	case doOneShot:
		return c.oneShot(ctx, sys)
	case doIdentify:
		return c.identify()
	}
	return c.install(ctx, sys)
}

// enter makes the directory of -r the root.
func (c *command) enter() error {
	if c.opts.root == "" {
		return nil
	}
	if err := syscall.Chroot(c.opts.root); err != nil {
		return fmt.Errorf("chroot %s: %w", c.opts.root, err)
	}
	return os.Chdir("/")
}

// read reads the configuration.
func (c *command) read() error {
	name := c.opts.config
	if name == "" {
		name = conf.DefaultFile
	}
	text, err := install.ReadFile(name, conf.MaxSize+1)
	if err != nil {
		return err
	}
	cfg, err := conf.Parse(name, text)
	if err != nil {
		return err
	}
	c.conf = cfg
	c.opts.verbose = max(c.opts.verbose, cfg.Verbose)
	if c.opts.mapPath != "" {
		cfg.Map = c.opts.mapPath
	}
	if c.opts.delay >= 0 {
		cfg.Delay = c.opts.delay
	}
	if c.opts.backup != "" {
		cfg.Backup, cfg.ForceBackup = c.opts.backup, c.opts.force
	}
	for _, w := range cfg.Warnings {
		say := c.warn
		if w.Loud {
			say = c.alert
		}
		say("%s:%d: %s", name, w.Line, w.Text)
	}
	return nil
}

func (c *command) install(ctx context.Context, sys *install.System) error {
	if err := c.read(); err != nil {
		return err
	}
	o := install.Options{
		Config: c.conf, Boot: c.opts.boot, Default: c.opts.deflt, Bus: c.opts.bus, Test: c.opts.test,
		IfChanged: c.opts.ifChanged, LockWait: lockWait, Log: c.log(),
	}
	if c.opts.booted {
		o.Booted = sys.BootedLabel()
	}
	for range maxRuns {
		res, err := install.Install(ctx, sys, o)
		if err != nil {
			return err
		}
		c.report(res)
		if !o.IfChanged || !res.Moved {
			return nil
		}
		o.Booted = "" // it isn't what was booted any more
	}
	return fmt.Errorf("kernels or initrds of %s change all the time: run lilo when that has ended", c.conf.File)
}

// maxRuns is how often --if-changed follows files that change meanwhile.
const maxRuns = 20

// report says what was installed.
func (c *command) report(res install.Result) {
	if res.Unchanged {
		c.note(1, "Nothing has changed: %s and the boot sector of %s stay as they are", res.Map, res.Disk)
		return
	}
	for _, a := range res.Images {
		line := "Added " + a.Label
		if a.Alias != "" {
			line += "  (alias " + a.Alias + ")"
		}
		fmt.Fprintln(c.out, strings.TrimRight(line+"  "+marks(a.Default, a.Password), " "))
		c.note(1, "    kernel %s%s\n    command line: %s", a.Kernel, with(" initrd ", a.Initrd), a.Cmdline)
	}
	if c.opts.test {
		fmt.Fprintf(c.out, "The boot sector and the map file have *NOT* been altered.\n")
		return
	}
	c.note(1, "Boot sector of %s and %s are written", res.Disk, res.Map)
}

// marks are the signs that LILO puts behind an image: * is the default, p has a
// password.
func marks(deflt, password bool) string {
	s := ""
	if deflt {
		s = "*"
	}
	if password {
		s += "p"
	}
	return s
}

func with(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// mapPath returns the map's path: that of -m, of the configuration, or the
// usual one where there is no configuration.
func (c *command) mapPath() (string, error) {
	if c.opts.mapPath != "" {
		return c.opts.mapPath, nil
	}
	err := c.read()
	switch {
	case err == nil:
		return c.conf.Map, nil
	case errors.Is(err, os.ErrNotExist) && c.opts.config == "":
		return conf.DefaultMap, nil
	}
	return "", err
}

// query lists what the map has.
func (c *command) query(sys *install.System) error {
	path, err := c.mapPath()
	if err != nil {
		return err
	}
	in, err := install.Query(sys, path)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	if !in.Live {
		c.alert("the boot sector of %s doesn't refer to %s: run lilo", in.Disk, in.Path)
	}
	c.note(1, "%s on %s%s", in.Path, in.Disk, timing(in.Menu))
	for i := range in.Menu.Images {
		c.describe(&in.Menu.Images[i], i == in.Menu.Default)
	}
	switch {
	case in.Menu.OneShotTyped:
		fmt.Fprintf(c.out, "Next boot, locked at the prompt: %s\n", in.Menu.OneShot)
	case in.Menu.OneShot != "":
		fmt.Fprintf(c.out, "Next boot, once: %s\n", in.Menu.OneShot)
	}
	return nil
}

func timing(m *lilo.Menu) string {
	s := ""
	if m.Prompt {
		s = ", prompt"
	}
	return fmt.Sprintf("%s, delay %d, timeout %d tenths of a second", s, m.Delay, m.Timeout)
}

func (c *command) describe(img *lilo.Image, deflt bool) {
	fmt.Fprintln(c.out, strings.TrimRight(img.Label+"  "+marks(deflt, img.Password != nil), " "))
	if img.Alias != "" {
		c.note(1, "    alias %s", img.Alias)
	}
	c.note(1, "    kernel: %d bytes in %d runs of sectors, from sector %d on", img.Kernel.Size, len(img.Kernel.Runs), img.Kernel.Runs[0].LBA)
	if img.Initrd != nil {
		c.note(1, "    initrd: %d bytes in %d runs of sectors, from sector %d on", img.Initrd.Size, len(img.Initrd.Runs), img.Initrd.Runs[0].LBA)
	}
	c.note(1, "    command line: %s", img.Cmdline)
	if img.Fallback != "" {
		c.note(1, "    fallback: %s", img.Fallback)
	}
}

// oneShot sets or erases what the next boot takes.
func (c *command) oneShot(ctx context.Context, sys *install.System) error {
	path, err := c.mapPath()
	if err != nil {
		return err
	}
	err = install.SetOneShot(ctx, sys, install.OneShot{
		Map: path, Line: c.opts.line, Test: c.opts.test, LockWait: lockWait, Log: c.log(),
	})
	if err == nil && c.opts.test {
		fmt.Fprintln(c.out, "The map file has *NOT* been altered.")
	}
	return err
}

// identify prints parts of what the configuration says of an image, in LILO's
// words and order, or with D the label of the default, whatever the image.
func (c *command) identify() error {
	letters := cmp.Or(c.opts.detail, "i")
	if bad := strings.Trim(letters, "irRaD"); bad != "" {
		return fmt.Errorf("-I %s %s: want letters of i (kernel), r (initrd), R (root), a (append) and D (default label); there is no keyboard table, k", c.opts.label, letters)
	}
	if err := c.read(); err != nil {
		return err
	}
	if strings.Contains(letters, "D") {
		fmt.Fprintln(c.out, c.defaultLabel())
		return nil
	}
	im := c.conf.Find(c.opts.label)
	if im == nil {
		return fmt.Errorf("no image of %s is labelled %s", c.conf.File, c.opts.label)
	}
	for _, part := range []struct{ letter, value string }{
		{"i", im.Kernel},
		{"r", cmp.Or(im.Initrd, "No initial ramdisk specified")},
		{"a", cmp.Or(im.Append, "No append= was specified")},
		{"R", cmp.Or(im.Root, "No root specified")},
	} {
		if strings.Contains(letters, part.letter) {
			fmt.Fprintln(c.out, part.value)
		}
	}
	return nil
}

func (c *command) defaultLabel() string {
	if im := c.conf.Find(c.conf.Default); c.conf.Default != "" && im != nil {
		return im.Label
	}
	return c.conf.Images[0].Label
}

// version says which LILO this is.
func (c *command) version() {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok && c.opts.verbose > 0 {
		revision = " (" + info.GoVersion + ")"
	}
	fmt.Fprintf(c.out, "LILO of esxodus, for disks without a partition table%s\n", revision)
}

const usage = `Usage: lilo [OPTION]...
       lilo -q [-v]
       lilo -R [LABEL [ARGUMENT]...]
       lilo -I LABEL [i|r|R|a|D]

Writes the boot sector and the map of what /etc/lilo.conf says. See lilo(8).

  -t           test only, and write nothing
  -v           say more; may be repeated, or -v 3
  -q           list what is in the map; * is the default
  -R LABEL...  boot this once, at the next boot; without a label, cancel that
  -D LABEL     make this image the default
  -I LABEL     print the path of an image's kernel, or its initrd (r), root (R),
               append (a), or the label of the default (D)
  -C FILE      read this configuration
  -m FILE      write, or read, this map
  -b DEVICE    insist on this boot disk
  -d TENTHS    delay before the default boots
  -r DIR       chroot there first
  -s FILE, -S FILE
               keep a boot sector that isn't LILO's there; -S: over another file
  -P fix|ignore  accepted: there is no partition table
  -w, -w+      no warnings, but of what boots or waits otherwise than asked for;
               or all of them, whatever the configuration says
  -V           print the version
  -h           print this
  --if-changed write only if that makes a difference; keep what -R left
  --booted     the same, and make what this system was booted by the last resort
  --bus virtio|scsi|ata|nvme
               the bus on which the disk will boot, if not the present one

Exit status: 0 if all is well, 1 on an error. The loader always has a whole map,
the old one or the new one: see lilo(8) for what boots by it.
`
