// Package pvhead has LVM's own tools make the heads of physical volumes that fill
// whole disks, on templates in memory.
package pvhead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"esxodus/convert/host"
	"esxodus/convert/layout"
	"esxodus/convert/volume"
	"esxodus/disk"
)

const (
	headSuffix   = ".head"
	templateConf = "lvm.template" // LVM's private directory
	bootRoom     = 8 * sector     // sectors 0 to 7: the label in 1, boot code around it
	labelSector  = 1
)

// Make has LVM's own tools make the heads of the physical volumes of a
// layout's groups: of a new group from nothing, of an existing one from what
// the source has there, which source reads (the disk at an address). It works
// on loop devices over memory, of which as much is taken as the heads are long,
// with a configuration of its own that knows no other device; device-mapper has no
// part in it, nor have the host's groups. While the devices are there the host's
// LVM sees them, though: no esxodus asks it for a group then. What the tools made is read back and must
// be what the layout says; of an existing group, what they found must be too.
//
// It returns by disk address the file in dir that holds the head, as long as
// the layout says and on stable storage, with sectors 0 and 2 to 7 zero. Heads
// that are there are made again; anything that an earlier call left is removed.
func Make(ctx context.Context, tool host.Tool, dir string, groups []layout.Group, source func(address string) (io.ReaderAt, error)) (heads map[string]string, err error) {
	t := &templates{dir: dir, files: map[string]*os.File{}, loops: map[string]*loop{}, source: source}
	if err := t.clear(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(), t.clear()) }()
	for _, g := range groups {
		for _, pv := range g.PVs {
			if err := t.add(pv); err != nil {
				return nil, fmt.Errorf("template of %s: %w", pv.Disk, err)
			}
		}
	}
	release, err := volume.LockLVM(ctx, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()); release() }()
	if err := t.attach(ctx); err != nil {
		return nil, err
	}
	conf, err := t.configure()
	if err != nil {
		return nil, err
	}
	tool.Env = append(slices.Clone(tool.Env), "LVM_SYSTEM_DIR="+conf)
	t.lvm = lvmTool{tool}
	for _, g := range groups {
		if err := t.group(ctx, g); err != nil {
			return nil, fmt.Errorf("volume group %s on its template: %w", g.Name, err)
		}
	}
	heads = map[string]string{}
	for _, g := range groups {
		for _, pv := range g.PVs {
			if heads[pv.Disk], err = t.head(pv); err != nil {
				return nil, fmt.Errorf("head of %s: %w", pv.Disk, err)
			}
		}
	}
	return heads, disk.SyncDir(dir)
}

// templates is one call of Templates at work.
type templates struct {
	dir    string
	source func(string) (io.ReaderAt, error)
	lvm    lvmTool
	files  map[string]*os.File // in memory, until they are loop devices
	loops  map[string]*loop    // by disk address
}

// file is a path in dir for a disk. Addresses are words of esxodus: "scsi0:0".
func (t *templates) file(address, suffix string) string {
	return filepath.Join(t.dir, strings.ReplaceAll(address, "/", "_")+suffix)
}

// Head is where in dir Templates leaves the head of the disk at an
// address.
func Head(dir, address string) string {
	return (&templates{dir: dir}).file(address, headSuffix)
}

// clear removes what a killed call may have left.
func (t *templates) clear() error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != templateConf && !strings.HasSuffix(e.Name(), headSuffix+".tmp") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(t.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// close may be called again.
func (t *templates) close() error {
	var errs []error
	for _, l := range t.loops {
		errs = append(errs, l.Close())
	}
	for _, f := range t.files {
		errs = append(errs, f.Close())
	}
	clear(t.loops)
	clear(t.files)
	return errors.Join(errs...)
}

// add makes what a physical volume will be, with the source's head on it where
// there is one.
func (t *templates) add(pv layout.PV) error {
	if pv.Start < bootRoom || pv.Start > pv.Size || t.files[pv.Disk] != nil {
		return fmt.Errorf("extents from byte %d on, of %d bytes: no room for a head", pv.Start, pv.Size)
	}
	f, err := memory(t.file(pv.Disk, headSuffix), pv.Size)
	if err != nil {
		return err
	}
	t.files[pv.Disk] = f
	if pv.New {
		return nil
	}
	return t.copyHead(f, pv)
}

// attach makes block devices of the files.
func (t *templates) attach(ctx context.Context) error {
	for address, f := range t.files {
		l, err := openLoop(ctx, f)
		if err != nil {
			return fmt.Errorf("template of %s: %w", address, err)
		}
		t.loops[address] = l
		delete(t.files, address)
	}
	return nil
}

// memory makes a file of size bytes without a directory: it can be larger than
// any file system takes, and is gone when nobody has it open. Its name is for
// people that list loop devices.
func memory(name string, size int64) (*os.File, error) {
	const longest = 200 // memfd_create(2) takes 249 bytes
	name = "esxodus " + name[max(0, len(name)-longest):]
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("file of %d bytes in memory: %w", size, err), f.Close())
	}
	return f, nil
}

// copyHead copies what a physical volume has before its extents, without what
// may be in the sectors that boot code gets.
func (t *templates) copyHead(f *os.File, pv layout.PV) error {
	r, err := t.source(pv.Disk)
	if err != nil {
		return err
	}
	if n, err := io.Copy(f, io.NewSectionReader(r, pv.Source, pv.Start)); err != nil || n != pv.Start {
		return fmt.Errorf("reading %d bytes at %d of the source: %w", pv.Start, pv.Source+n, orEOF(err))
	}
	for s := int64(0); s < bootRoom; s += sector {
		if s == labelSector*sector {
			continue
		}
		if _, err := f.WriteAt(make([]byte, sector), s); err != nil {
			return err
		}
	}
	return nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// configure writes the configuration that replaces the host's.
func (t *templates) configure() (string, error) {
	dir := filepath.Join(t.dir, templateConf)
	if err := os.MkdirAll(filepath.Join(dir, "lock"), 0o700); err != nil {
		return "", err
	}
	var accept []string
	for _, l := range t.loops {
		accept = append(accept, strconv.Quote("a|^"+l.Path+"$|"))
	}
	slices.Sort(accept)
	filter := strings.Join(append(accept, `"r|.*|"`), ",")
	text := fmt.Sprintf(`devices {
	dir = "/dev"
	scan = ["/dev"]
	use_devicesfile = 0
	filter = [%[1]s]
	global_filter = [%[1]s]
	scan_lvs = 1
	hints = "none"
	obtain_device_list_from_udev = 0
	external_device_info_source = "none"
	multipath_component_detection = 0
	md_component_detection = 0
	fw_raid_component_detection = 0
	data_alignment_detection = 0
	data_alignment_offset_detection = 0
	md_chunk_alignment = 0
}
backup { backup = 0 archive = 0 }
activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 0 monitoring = 0 }
global {
	event_activation = 0
	use_lvmpolld = 0
	use_lvmlockd = 0
	system_id_source = "none"
	locking_dir = "%[2]s"
}
log { syslog = 0 }
`, filter, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(filepath.Join(dir, "lock")))
	return dir, os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(text), 0o600)
}

// group has a group made or changed, and compares it with the layout before
// and after.
func (t *templates) group(ctx context.Context, g layout.Group) error {
	if err := checkGroup(g); err != nil {
		return err
	}
	if g.UUID == "" {
		if err := t.create(ctx, g); err != nil {
			return err
		}
	} else {
		if err := t.found(ctx, g); err != nil {
			return err
		}
		for _, pv := range g.PVs {
			if _, err := t.lvm.Run(ctx, "pvresize", "--yes", t.loops[pv.Disk].Path); err != nil {
				return err
			}
		}
	}
	for _, v := range g.Volumes {
		if v.New {
			if err := t.volume(ctx, g, v); err != nil {
				return fmt.Errorf("logical volume %s: %w", v.Name, err)
			}
		}
	}
	return t.made(ctx, g)
}

// checkGroup refuses names that LVM doesn't allow: a plan may have been edited.
func checkGroup(g layout.Group) error {
	if err := volume.CheckVG(g.Name); err != nil {
		return err
	}
	if g.UUID != "" && !lvmUUID.MatchString(g.UUID) {
		return fmt.Errorf("the UUID %q is not in LVM's form", g.UUID)
	}
	for _, v := range g.Volumes {
		if !v.New {
			continue
		}
		if err := volume.CheckLV(v.Name); err != nil {
			return err
		}
		if len(v.Segments) != 1 || v.Extents <= 0 || v.Segments[0].Count != v.Extents {
			return fmt.Errorf("logical volume %s: a new one has one segment", v.Name)
		}
	}
	return nil
}

var lvmUUID = regexp.MustCompile(`^[0-9A-Za-z!#]{6}(-[0-9A-Za-z!#]{4}){5}-[0-9A-Za-z!#]{6}$`)

// create makes physical volumes and their group.
func (t *templates) create(ctx context.Context, g layout.Group) error {
	argv := []string{"vgcreate", "--yes", "--physicalextentsize", strconv.FormatInt(g.ExtentSize, 10) + "b", g.Name}
	for _, pv := range g.PVs {
		dev := t.loops[pv.Disk].Path
		if !lvmUUID.MatchString(pv.UUID) {
			return fmt.Errorf("physical volume of %s: the UUID %q is not in LVM's form", pv.Disk, pv.UUID)
		}
		_, err := t.lvm.Run(ctx, "pvcreate", "--yes", "--uuid", pv.UUID, "--norestorefile",
			"--dataalignment", strconv.FormatInt(pv.Start, 10)+"b", dev)
		if err != nil {
			return err
		}
		argv = append(argv, dev)
	}
	_, err := t.lvm.Run(ctx, argv...)
	return err
}

// volume makes a linear volume on the extents that the layout gives it.
func (t *templates) volume(ctx context.Context, g layout.Group, v layout.Volume) error {
	s := v.Segments[0]
	i := slices.IndexFunc(g.PVs, func(pv layout.PV) bool { return pv.UUID == s.PV })
	if i < 0 {
		return fmt.Errorf("the group has no physical volume %s", s.PV)
	}
	_, err := t.lvm.Run(ctx, "lvcreate", "--yes", "--type", "linear", "--activate", "n", "--zero", "n", "--wipesignatures", "n",
		"--extents", strconv.FormatInt(v.Extents, 10), "--name", v.Name, g.Name,
		fmt.Sprintf("%s:%d-%d", t.loops[g.PVs[i].Disk].Path, s.PE, s.PE+s.Count-1))
	return err
}

// head writes the start of a physical volume to a file of its own.
func (t *templates) head(pv layout.PV) (string, error) {
	l := t.loops[pv.Disk]
	if err := l.dev.Sync(); err != nil {
		return "", err
	}
	if err := blankBootRoom(l.file); err != nil {
		return "", err
	}
	path := t.file(pv.Disk, headSuffix)
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, io.NewSectionReader(l.file, 0, pv.Start))
	if err == nil && n != pv.Start {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(path+".tmp", path)
}

// blankBootRoom says when LVM left anything where boot code goes.
func blankBootRoom(f io.ReaderAt) error {
	b := make([]byte, bootRoom)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	for i, c := range b {
		if c != 0 && i/sector != labelSector {
			return fmt.Errorf("byte %d is %#x: LVM wrote where boot code goes", i, c)
		}
	}
	return nil
}

// Remove removes the heads that [Make] made in dir, and dir if
// nothing else is in it. It is not an error if there is nothing.
func Remove(dir string) error {
	t := &templates{dir: dir}
	if err := t.clear(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	others := false
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), headSuffix) || !e.Type().IsRegular() {
			others = true
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if others {
		return nil
	}
	return os.Remove(dir)
}
