// Package appliance drives libguestfs, through guestfish: a small virtual
// machine without a network, in which the file systems of a guest are mounted
// and its programs run. The host never mounts them.
//
// The appliance sees the given disks only. Within it, a guest's paths are
// followed below the guest's own root, as in a chroot: symbolic links lead
// nowhere else.
//
// Disks are named by the labels that they were added with ([Appliance.Device]),
// since the names that the kernel in there gives them (sda, sdb) follow no
// order that can be relied on; logical volumes are /dev/VG/LV.
package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/host"
)

// Limits on how long the appliance may take.
const (
	quick       = 2 * time.Minute  // what only touches a few blocks
	launchLimit = 10 * time.Minute // without KVM and cold: a minute
	copyLimit   = 30 * time.Minute // a file
	runLimit    = time.Hour        // a program of the guest
	stopLimit   = time.Minute
)

// Starter starts programs beside us; a [host.Tool] does.
type Starter interface {
	Start(ctx context.Context, s host.Spec) (*host.Process, error)
}

// Disk is a disk of the appliance.
type Disk struct {
	Name   string // what the plan calls it: "scsi0:0"
	Path   string // of the image: absolute
	Format string // "qcow2" or "raw": it is never probed
}

// Options of an appliance. The zero value is fit for use.
type Options struct {
	MemoryMiB int          // 1280 if 0
	CPUs      int          // as QEMU's default, one, if 0
	TCG       bool         // emulate, even where there is KVM
	TempDir   string       // where a private directory is made; the system's if ""
	Log       *slog.Logger // calls at level debug; nil for none
}

// Appliance is a running appliance. It must be closed. It is not safe for use
// by several goroutines.
type Appliance struct {
	fish   *host.Process
	dir    string // private: guestfish's files, and those that go in and out
	disks  []Disk
	sock   string // libguestfs's directory of sockets, "" until it is known
	log    *slog.Logger
	broken error // why nothing can be asked any more
}

// Start launches an appliance with these disks. When ctx ends, or the
// appliance doesn't answer, it is killed, and every call fails from then on;
// it must be closed nonetheless.
func Start(ctx context.Context, tool Starter, disks []Disk, o Options) (*Appliance, error) {
	if err := checkDisks(disks); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.TempDir, "esxodus-appliance-")
	if err != nil {
		return nil, fmt.Errorf("appliance: %w", err)
	}
	a := &Appliance{dir: dir, disks: disks, log: o.Log}
	a.fish, err = tool.Start(ctx, host.Spec{
		Argv: []string{"guestfish"},
		// Debugging output would be taken for errors. The appliance itself
		// stays in the cache of the caller's choice.
		Env: []string{"LIBGUESTFS_TMPDIR=" + dir, "LIBGUESTFS_DEBUG=0", "LIBGUESTFS_TRACE=0"},
		Dir: dir,
	})
	if err != nil {
		if _, missing := errors.AsType[*host.MissingError](err); missing {
			err = errMissing
		}
		return nil, errors.Join(fmt.Errorf("appliance: %w", err), os.RemoveAll(dir))
	}
	if err := a.launch(ctx, o); err != nil {
		return nil, errors.Join(err, a.halt(0))
	}
	return a, nil
}

// MaxDisks is how many disks an appliance takes: each has a letter for its
// label.
const MaxDisks = 25

func checkDisks(disks []Disk) error {
	if len(disks) == 0 || len(disks) > MaxDisks {
		return fmt.Errorf("appliance: %d disks: want 1 to %d", len(disks), MaxDisks)
	}
	for _, d := range disks {
		if !filepath.IsAbs(d.Path) {
			return fmt.Errorf("appliance: disk %q: want an absolute path", d.Path)
		}
		if d.Format != "qcow2" && d.Format != "raw" {
			return fmt.Errorf("appliance: disk %s: format %q: want qcow2 or raw", d.Path, d.Format)
		}
	}
	return nil
}

// launch sets the appliance up and waits until it is there.
func (a *Appliance) launch(ctx context.Context, o Options) error {
	memory := o.MemoryMiB
	if memory == 0 {
		memory = 1280
	}
	calls := [][]string{
		{"set-backend", "direct"}, // no libvirt between us and it
		{"set-network", "false"},
		{"set-memsize", strconv.Itoa(memory)},
	}
	if o.CPUs > 0 {
		calls = append(calls, []string{"set-smp", strconv.Itoa(o.CPUs)})
	}
	if o.TCG {
		calls = append(calls, []string{"set-backend-setting", "force_tcg", "1"})
	}
	for i, d := range a.disks {
		// What is written lies in an overlay that is thrown away unless
		// Close has synced it.
		calls = append(calls, []string{"add-drive", d.Path, "format:" + d.Format, "label:" + label(i), "cachemode:unsafe"})
	}
	for _, c := range calls {
		if _, err := a.call(ctx, quick, c[0], c[1:]...); err != nil {
			return fmt.Errorf("setting up the appliance: %w", err)
		}
	}
	if _, err := a.call(ctx, launchLimit, "run"); err != nil {
		return fmt.Errorf("starting the appliance: %w (libguestfs-test-tool shows the details)", err)
	}
	pid, err := a.call(ctx, quick, "get-pid")
	if err != nil {
		return fmt.Errorf("starting the appliance: %w", err)
	}
	a.sock = socketDir(pid)
	return nil
}

// socketPath finds the socket among the arguments of QEMU, as libguestfs
// starts it.
var socketPath = regexp.MustCompile(`path=(/[^,\x00]*/libguestfs[A-Za-z0-9]{6})/guestfsd\.sock`)

// socketDir is the directory of sockets of the appliance whose QEMU has this
// process id. libguestfs chooses it, and doesn't let us.
func socketDir(pid string) string {
	b, err := os.ReadFile(filepath.Join("/proc", filepath.Base(pid), "cmdline"))
	if err != nil {
		return "" // libguestfs itself removes it, unless it is killed
	}
	if m := socketPath.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// label is the label of the disk at index i: libguestfs allows letters only.
func label(i int) string { return "disk" + string(rune('a'+i)) }

// devicePrefix starts the name of a disk of the plan.
const devicePrefix = "disk:"

// Device translates a plan's name of a device into the appliance's: of
// "disk:scsi0:1" the disk of that name, of "disk:scsi0:1#2" its second
// partition; anything else stays as it is.
func (a *Appliance) Device(name string) (string, error) {
	rest, ok := strings.CutPrefix(name, devicePrefix)
	if !ok {
		return name, nil
	}
	disk, part, _ := strings.Cut(rest, "#")
	if part != "" {
		if _, err := strconv.ParseUint(part, 10, 8); err != nil {
			return "", fmt.Errorf("device %q: partition %q is not a number", name, part)
		}
	}
	for i, d := range a.disks {
		if d.Name == disk {
			return "/dev/disk/guestfs/" + label(i) + part, nil
		}
	}
	return "", fmt.Errorf("device %q: the appliance has no such disk", name)
}

// Close unmounts everything, has all of it written to the disks' files, and
// ends the appliance. It must be called, whatever happened; only if all calls
// and it succeed is what was done on the disks. When ctx has ended, the
// appliance is killed. One that was killed before is an error of the call that
// did it, not of Close; a second Close does nothing.
func (a *Appliance) Close(ctx context.Context) error {
	if a.broken != nil {
		return a.halt(0)
	}
	if ctx.Err() != nil {
		a.broken = context.Cause(ctx)
		return errors.Join(fmt.Errorf("appliance: ended before everything was written: %w", a.broken), a.halt(0))
	}
	err := a.Unmount(ctx)
	if err == nil {
		_, err = a.call(ctx, quick, "shutdown")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("closing the appliance: %w", err), a.halt(0))
	}
	a.broken = errClosed
	if err := a.halt(stopLimit); err != nil {
		return err
	}
	for _, d := range a.disks {
		if err := syncFile(d.Path); err != nil {
			return fmt.Errorf("disk of the appliance: %w", err)
		}
	}
	return nil
}

// Abandon ends the appliance at once: what its disks hold is good for nothing.
// The error is of what could not be cleaned up.
func (a *Appliance) Abandon() error { return a.halt(0) }

var errClosed = errors.New("it is closed")

// halt ends guestfish, and with it the appliance, and removes their files.
// With a grace of 0 nothing that guestfish says about it is an error: that it
// died is known.
func (a *Appliance) halt(grace time.Duration) error {
	err := a.fish.Stop(grace)
	if grace == 0 {
		err = nil
	}
	if a.broken == nil {
		a.broken = errClosed
	}
	if a.sock != "" {
		err = errors.Join(err, os.RemoveAll(a.sock)) // left if guestfish was killed
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}

// syncFile makes what was written to a file last.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
