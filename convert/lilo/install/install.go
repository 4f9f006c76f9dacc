package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
)

// Options say what to install.
type Options struct {
	Config *conf.Config
	// Boot is a device that must be the boot disk, "" for any. What the
	// configuration says is a hint only: names of devices change.
	Boot    string
	Default string // label, "" for that of the configuration
	// Bus is the one that the disk will be on when it boots; Unknown takes the
	// one that it is on now.
	Bus  Bus
	Test bool // write nothing
	// IfChanged leaves all as it is where that is what a run would write, and
	// keeps the one-shot line. Files that are being written are waited for.
	IfChanged bool
	// Booted is the label that the system was booted by: that image gets to be
	// the last resort, if the map still has it as it is. "" leaves what is there.
	Booted string
	// LockWait is how long LVM's lock is waited for.
	LockWait time.Duration
	Log      Log
}

// Log takes what people read. No function may be nil.
type Log struct {
	Note func(level int, format string, args ...any) // from that many -v on
	Warn func(format string, args ...any)
	// Alert takes warnings that nothing may silence: something else boots than was
	// asked for, or lilo stands still.
	Alert func(format string, args ...any)
}

// Result is what was installed, or would have been.
type Result struct {
	Disk   string // "/dev/vda"
	PV     string // UUID of the physical volume that it is, "" for a file system on the bare disk
	Map    string // path
	Images []Added
	// Unchanged says that nothing was written: all was so already.
	Unchanged bool
	// Moved says that a file has changed since it was mapped.
	Moved bool
}

// Added is an image of a map.
type Added struct {
	Label, Alias string
	Default      bool
	Password     bool // is asked for
	Kernel       string
	Initrd       string
	Cmdline      string
}

// Install makes the map of a configuration and the boot sector for it. Images
// that are missing, or that the loader couldn't read, are left out with a
// warning; it is an error if none is left. Whatever the error, the boot sector
// refers to a whole map: the old one, or from when it was written the new one.
func Install(ctx context.Context, sys *System, o Options) (res Result, err error) {
	in := &installer{sys: sys, o: o, cfg: o.Config, mapper: newMapper(sys, o.Bus), files: map[string]*mapped{}}
	defer in.close()
	dir, err := os.Open(filepath.Dir(in.cfg.Map))
	if err != nil {
		return Result{}, fmt.Errorf("directory of the map: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	if !o.Test {
		if err := sys.alone(ctx, dir, o.LockWait, o.Log); err != nil {
			return Result{}, err
		}
	}
	if err := in.begin(ctx); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, in.nameCopies()) }()
	if err := in.collect(dir); err != nil {
		return Result{}, err
	}
	disk, err := sys.direct(in.disk, os.O_RDONLY)
	if err != nil {
		return Result{}, fmt.Errorf("the boot disk: %w", err)
	}
	defer disk.Close() //nolint:errcheck // only read
	in.direct = disk
	if err := in.examine(); err != nil {
		return Result{}, err
	}
	if err := in.prove(ctx); err != nil {
		return Result{}, err
	}
	in.makeLastResort()
	menu, res, err := in.menu()
	if err != nil {
		return Result{}, err
	}
	if o.Test {
		return res, in.rehearse(menu)
	}
	if o.IfChanged {
		res.Unchanged = in.boots(menu)
	}
	if res.Unchanged && in.renewLastResort(menu) {
		res.Unchanged = false
	}
	if !res.Unchanged {
		err = in.write(ctx, dir, menu)
	}
	res.Moved = in.moved()
	return res, err
}

// installer is one run of [Install].
type installer struct {
	sys    *System
	o      Options
	cfg    *conf.Config
	mapper *mapper
	files  map[string]*mapped // by path
	images []*candidate
	dirVol *volume // what the map's directory is on
	disk   *Disk   // the boot disk
	direct *direct
	layout layout
	live   *Installed // the map that boots, nil if there is none; where it matters
}

// candidate is an image that is to be in the map.
type candidate struct {
	conf    *conf.Image
	kernel  *mapped
	initrd  *mapped // nil for none
	cmdline string
}

// begin looks what boots until now, if that matters, cares for the copies of a run
// that was cut short, and waits for who is writing a file.
func (in *installer) begin(ctx context.Context) error {
	if in.o.Test || !in.o.IfChanged && in.cfg.LastResort() == nil {
		return nil
	}
	if im := in.cfg.LastResort(); im != nil && strings.EqualFold(in.o.Booted, im.Label) {
		in.o.Log.Alert("this system was booted by its last resort, %s: every image before it had changed since lilo ran, or couldn't be read", im.Label)
	}
	in.live = in.booting()
	if in.o.IfChanged {
		if err := in.quiet(ctx); err != nil {
			return err
		}
	}
	return in.nameCopies()
}

// booting returns the map that boots, nil if it is none of this configuration's. The
// caller closes it.
func (in *installer) booting() *Installed {
	live, err := Query(in.sys, in.cfg.Map)
	if err != nil {
		return nil // it could boot nothing
	}
	if !live.Live {
		_ = live.Close() // only read
		return nil
	}
	return live
}

func (in *installer) close() {
	if in.live != nil {
		_ = in.live.Close() // only read
	}
	for _, f := range in.files {
		_ = f.file.Close() // only read
	}
}

// alone makes sure that no other lilo writes to the map's directory until that
// is closed.
func (s *System) alone(ctx context.Context, dir *os.File, limit time.Duration, log Log) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not free within %v", limit))
	defer cancel()
	w := waiter{sys: s, what: "another lilo", waiting: func(text string) { log.Alert("%s", text) }}
	if err := w.wait(ctx, dir); err != nil {
		return fmt.Errorf("%s, where another lilo writes its map: %w", dir.Name(), err)
	}
	return nil
}

// collect maps all images that can be mapped, and settles the boot disk.
func (in *installer) collect(dir *os.File) error {
	var err error
	if in.dirVol, err = in.mapper.volumeOf(dir); err != nil {
		return fmt.Errorf("%s, where the map goes: %w", dir.Name(), err)
	}
	disks := in.dirVol.disks()
	if in.disk, err = in.bootDisk(disks); err != nil {
		return err
	}
	for i := range in.cfg.Images {
		im := &in.cfg.Images[i]
		c, err := in.candidate(im)
		if err == nil && in.disk == nil && slices.Contains(disks, c.kernel.disk) {
			in.disk = c.kernel.disk
		}
		if err == nil {
			err = in.sameDisk(c)
		}
		if err != nil {
			in.leaveOut(im, err)
			continue
		}
		in.images = append(in.images, c)
	}
	return in.anyLeft()
}

// errNothing is what Install returns when there is nothing to boot.
var errNothing = errors.New("no image of the configuration can be booted: the boot sector and the map stay as they are")

func (in *installer) anyLeft() error {
	if len(in.images) == 0 {
		return errNothing
	}
	return nil
}

// leaveOut says why an image isn't in the map.
func (in *installer) leaveOut(im *conf.Image, err error) {
	if (im.Optional || im.LastResort) && missing(err) {
		in.o.Log.Note(1, "Skipping %s: %v", im.Label, err)
		return
	}
	in.o.Log.Alert("image %s (%s, line %d) is left out: %v", im.Label, im.Kernel, im.Line, err)
}

// candidate maps an image's files.
func (in *installer) candidate(im *conf.Image) (*candidate, error) {
	c := &candidate{conf: im}
	var err error
	if c.kernel, err = in.file(im.Kernel); err != nil {
		return nil, err
	}
	if im.Initrd != "" {
		if c.initrd, err = in.file(im.Initrd); err != nil {
			return nil, err
		}
	}
	current := ""
	if im.Root == "current" && im.Literal == nil {
		if current, err = in.currentRoot(); err != nil {
			return nil, fmt.Errorf("root=current: %w", err)
		}
	}
	c.cmdline = im.CommandLine(current)
	return c, nil
}

// file maps a file once.
func (in *installer) file(path string) (*mapped, error) {
	if f, ok := in.files[path]; ok {
		return f, nil
	}
	f, err := in.mapper.open(path)
	if err != nil {
		return nil, err
	}
	in.files[path] = f
	in.o.Log.Note(2, "%s: %d bytes in %d runs of sectors on %s", path, f.size, len(f.runs), f.disk)
	for _, r := range f.runs {
		in.o.Log.Note(4, "    %d sectors from %d on", r.count, r.lba)
	}
	return f, nil
}

// currentRoot returns the kernel's name for what / is on.
func (in *installer) currentRoot() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return "", err
	}
	d := deviceOf(uint64(st.Dev))
	if d.major == 0 {
		return "", errors.New("the root file system is not on a block device: give root= a name")
	}
	dir, err := in.sys.dir(d)
	if err != nil {
		return "", err
	}
	name, err := in.sys.attribute(dir + "/dm/name")
	if err != nil {
		return "", err
	}
	if name != "" {
		return "/dev/mapper/" + name, nil
	}
	node, err := in.sys.node(dir)
	return "/dev/" + node, err
}

// sameDisk says whether an image is on the boot disk.
func (in *installer) sameDisk(c *candidate) error {
	for _, f := range []*mapped{c.kernel, c.initrd} {
		if f != nil && f.disk != in.disk {
			disk := "another disk"
			if in.disk != nil {
				disk = in.disk.String()
			}
			return fmt.Errorf("%s is on %s, but the map is on %s: the loader reads only one disk", f.path, f.disk, disk)
		}
	}
	return nil
}

// examine looks at the boot disk's start, and at what boot= says.
func (in *installer) examine() error {
	head, err := in.direct.read(0, lowSectors)
	if err != nil {
		return err
	}
	if in.layout, err = examine(in.disk, head, in.dirVol); err != nil {
		return err
	}
	if in.layout.pv != "" {
		in.o.Log.Note(1, "Boot disk is %s, physical volume %s of %s", in.disk, in.layout.pv, in.dirVol.group)
	} else {
		in.o.Log.Note(1, "Boot disk is %s, with a file system and no LVM", in.disk)
	}
	return in.checkBoot()
}

// prove compares every mapped block with the files.
func (in *installer) prove(ctx context.Context) error {
	proven := map[*mapped]error{}
	left := in.images[:0]
	for _, c := range in.images {
		var err error
		for _, f := range []*mapped{c.kernel, c.initrd} {
			if f == nil {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, ok := proven[f]; !ok {
				proven[f] = f.compare(in.direct)
			}
			err = errors.Join(err, proven[f])
		}
		if err != nil {
			in.leaveOut(c.conf, err)
			continue
		}
		left = append(left, c)
	}
	in.images = left
	return in.anyLeft()
}

// moved reports whether a file is another one than was mapped, or has changed.
func (in *installer) moved() bool {
	for path, f := range in.files {
		now, err := os.Stat(path)
		was, err2 := f.file.Stat()
		if err != nil || err2 != nil || !os.SameFile(now, was) || now.Size() != f.size || !now.ModTime().Equal(f.time) {
			return true
		}
	}
	return false
}

// rehearse does what can be done without writing anything.
func (in *installer) rehearse(menu *lilo.Menu) error {
	n, err := lilo.Sectors(menu)
	if err != nil {
		return err
	}
	lbas := make([]uint64, n)
	for i := range lbas {
		lbas[i] = uint64(lowSectors + i) // the map's place isn't known yet
	}
	_, err = lilo.Encode(menu, lbas, in.content)
	return err
}
