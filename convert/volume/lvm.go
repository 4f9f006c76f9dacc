package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"esxodus/convert/host"
	"esxodus/disk/lvm"
	"esxodus/inventory/fit"
)

// LVM makes volumes as linear logical volumes of a volume group, or as thin ones
// of a pool in it. The run's id is a tag of each, given by the command that
// makes it.
type LVM struct {
	VG   string
	Pool string // thin pool; "" for linear volumes
	Tool host.Runner
	Log  *slog.Logger // nil for none

	writer Writer        // who it writes as; the zero value is this host
	settle time.Duration // 0 for [settle]
}

// String returns the storage as it is asked for on the command line.
func (l LVM) String() string {
	if l.Pool != "" {
		return KindLVM + ":" + l.VG + "/" + l.Pool
	}
	return KindLVM + ":" + l.VG
}

// Volume names a logical volume; see [Storage].
func (l LVM) Volume(name string, size int64) (Volume, error) {
	if err := errors.Join(CheckVG(l.VG), CheckLV(name)); err != nil {
		return Volume{}, err
	}
	if size <= 0 {
		return Volume{}, fmt.Errorf("logical volume %s: a size of %d bytes", name, size)
	}
	return Volume{Kind: KindLVM, Path: "/dev/" + l.VG + "/" + name, VG: l.VG, LV: name, Pool: l.Pool, Size: size}, nil
}

// Check reads the facts for a plan; see [Storage].
func (l LVM) Check(ctx context.Context, vols []Volume) (Facts, error) {
	vg, err := l.group(ctx)
	if err != nil {
		return Facts{}, err
	}
	lvs, err := l.volumes(ctx)
	if err != nil {
		return Facts{}, err
	}
	seen, err := l.look(ctx)
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{Free: vg.Free, Unit: vg.Extent, Sharing: seen.Sharing, Volumes: []Found{}}
	if facts.Activation, err = l.activation(ctx); err != nil {
		return Facts{}, err
	}
	for _, v := range vols {
		if err := l.owns(v); err != nil {
			return Facts{}, err
		}
		f := Found{Volume: v, Size: vg.extents(v.Size) * vg.Extent}
		if lv, ok := lvs[v.LV]; ok {
			f.Exists = fmt.Sprintf("a logical volume of %d bytes", lv.Size)
		} else {
			vg.LVs++
		}
		if err := vg.fits(v); err != nil {
			f.Unfit = err.Error()
		}
		facts.Volumes = append(facts.Volumes, f)
	}
	if err := l.checkPool(ctx, &facts); err != nil {
		return Facts{}, err
	}
	facts.Paths, err = l.paths(ctx)
	return facts, err
}

// fits says why a volume can't be one of those that a group has then.
func (g group) fits(v Volume) error {
	const most = 125 // of device-mapper's 127, LVM 2.03.16 keeps two
	if n := len(mapped(v)); n > most {
		return fmt.Errorf("device-mapper would have to name it VG-LV with each hyphen doubled, in %d bytes, of which LVM takes %d", n, most)
	}
	if g.Max != 0 && g.LVs > g.Max {
		return fmt.Errorf("the volume group %s may have %s: vgchange --maxlogicalvolumes 0 %s allows more", v.VG, fit.Count(int(g.Max), "logical volume"), v.VG)
	}
	return nil
}

// mapped is the volume's name in device-mapper.
func mapped(v Volume) string {
	return strings.ReplaceAll(v.VG, "-", "--") + "-" + strings.ReplaceAll(v.LV, "-", "--")
}

// Create makes the logical volume and waits for its device; see [Storage].
func (l LVM) Create(ctx context.Context, v Volume, run string, claim func(Identity) error) error {
	if err := errors.Join(l.owns(v), CheckRun(run)); err != nil {
		return err
	}
	return l.changing(ctx, func(t turn) error { return l.create(ctx, v, run, claim, t) })
}

func (l LVM) create(ctx context.Context, v Volume, run string, claim func(Identity) error, t turn) error {
	if err := t.free(); err != nil {
		return err
	}
	vg, err := l.group(ctx)
	if err != nil {
		return err
	}
	lvs, err := l.volumes(ctx)
	if err != nil {
		return err
	}
	if _, ok := lvs[v.LV]; ok {
		return fmt.Errorf("logical volume %s %w", v, ErrExists)
	}
	vg.LVs++
	if err := vg.fits(v); err != nil {
		return fmt.Errorf("logical volume %s: %w", v, err)
	}
	n := vg.extents(v.Size)
	if err := l.checkPool(ctx, &Facts{Sharing: t.g.Sharing}); err != nil {
		return err
	}
	if l.Pool == "" && n*vg.Extent > vg.Free {
		return fmt.Errorf("volume group %s has %d bytes free, but %s needs %d (%s of %d): extend the group or remove something",
			l.VG, vg.Free, v, n*vg.Extent, fit.Count(int(n), "extent"), vg.Extent)
	}
	if err := claim(Identity{Tag: tag(run)}); err != nil {
		return err
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	options, err := t.claim(ctx)
	if err != nil {
		return err
	}
	// What an earlier volume left on these extents is wiped, or udev would
	// show its file system, array or volume group to the host until the
	// copy comes by. LVM wipes before udev looks. --yes is its answer to
	// whether it may; it is the only question that lvcreate has left.
	argv := append([]string{"lvcreate", "--yes", "--quiet", "--activate", "ey", "--addtag", tag(run), "--name", v.LV}, options...)
	_, err = l.run(ctx, append(argv, l.shape(n, vg.Extent)...)...)
	if err == nil {
		err = t.made(ctx, v, run)
	}
	if err != nil {
		return fmt.Errorf("logical volume %s of %d bytes: %w", v, n*vg.Extent, err)
	}
	return l.awaitNode(ctx, v)
}

// State looks for the run's tag; see [Storage].
func (l LVM) State(ctx context.Context, v Volume, run string, id Identity) (State, error) {
	if err := errors.Join(l.owns(v), CheckRun(run)); err != nil {
		return "", err
	}
	lvs, err := l.volumes(ctx)
	if unseen(err) {
		return "", &PlaceError{v, fmt.Sprintf("this host doesn't see the volume group %s (%v)", l.VG, err), "bring its disks back, and repeat the command"}
	}
	if err != nil {
		return "", err
	}
	lv, ok := lvs[v.LV]
	switch {
	case !ok:
		return Absent, l.here(ctx, v, id)
	case slices.Contains(lv.Tags, tag(run)):
		return Ours, nil
	}
	return Foreign, l.here(ctx, v, id)
}

// Place is the volume group's UUID; see [Storage].
func (l LVM) Place(ctx context.Context) (string, error) {
	rows, err := l.rows(ctx, "vgs", "vg", "vg_name,vg_uuid")
	if err == nil && (len(rows) != 1 || rows[0]["vg_name"] != l.VG || rows[0]["vg_uuid"] == "") {
		err = fmt.Errorf("vgs reports %d groups of that name, or none with a UUID", len(rows))
	}
	if err != nil {
		return "", fmt.Errorf("volume group %s: %w", l.VG, err)
	}
	return rows[0]["vg_uuid"], nil
}

// here is an error if the volume group isn't the one in which v was made.
func (l LVM) here(ctx context.Context, v Volume, id Identity) error {
	if id.Place == "" {
		return nil
	}
	place, err := l.Place(ctx)
	if err != nil || place == id.Place {
		return err
	}
	return &PlaceError{
		v, fmt.Sprintf("the volume group %s (%s) is not the one in which it was made (%s)", l.VG, place, id.Place),
		"bring that one back under its name (vgrename), and repeat the command",
	}
}

// Activate activates the logical volume and waits for its device; see
// [Storage].
func (l LVM) Activate(ctx context.Context, v Volume) error {
	if err := l.owns(v); err != nil {
		return err
	}
	if _, err := l.run(ctx, "lvchange", "--yes", "--quiet", "--activate", "ey", "--ignoreactivationskip", v.String()); err != nil {
		return fmt.Errorf("activating %s: %w", v, err)
	}
	return l.awaitNode(ctx, v)
}

// Remove removes the logical volume; see [Storage].
func (l LVM) Remove(ctx context.Context, v Volume, run string, id Identity) error {
	state, err := l.State(ctx, v, run, id)
	if err != nil {
		return err
	}
	return l.changing(ctx, func(t turn) error {
		if state == Ours {
			err := t.free()
			if err == nil {
				err = l.remove(ctx, v, run, id)
			}
			if err != nil {
				return err
			}
		} else if state == Foreign && l.Log != nil {
			l.Log.WarnContext(ctx, "left alone: this run did not make it", "volume", v.String())
		}
		return t.leave(ctx)
	})
}

func (l LVM) remove(ctx context.Context, v Volume, run string, id Identity) error {
	// LVM compares the tag again, under its lock.
	if _, err := l.run(ctx, "lvremove", "--yes", "--quiet", "--force", "--select", "lv_tags={"+tag(run)+"}", v.String()); err != nil {
		return fmt.Errorf("removing %s: %w", v, err)
	}
	state, err := l.State(ctx, v, run, id)
	if err == nil && state == Ours {
		err = fmt.Errorf("removing %s: lvremove succeeded, but it is still there", v)
	}
	return err
}

// Release takes the run's tag off; see [Storage].
func (l LVM) Release(ctx context.Context, v Volume, run string, id Identity) error {
	state, err := l.State(ctx, v, run, id)
	if err != nil {
		return err
	}
	return l.changing(ctx, func(t turn) error {
		if state != Ours {
			return t.leave(ctx)
		}
		if err := t.free(); err != nil {
			return err
		}
		options, err := t.disclaim(ctx)
		if err != nil {
			return err
		}
		argv := append([]string{"lvchange", "--quiet", "--deltag", tag(run)}, options...)
		if _, err := l.run(ctx, append(argv, v.String())...); err != nil {
			return fmt.Errorf("taking the tag off %s: %w", v, err)
		}
		return t.leave(ctx)
	})
}

// nodeTimeout is how long udev has to make a device node.
const nodeTimeout = 10 * time.Second

// awaitNode waits for the device node, and asks LVM for it if there is no
// udev that would make it.
func (l LVM) awaitNode(ctx context.Context, v Volume) error {
	deadline := time.Now().Add(nodeTimeout)
	asked := false
	for {
		fi, err := os.Stat(v.Path)
		if err == nil && fi.Mode()&fs.ModeDevice != 0 && fi.Mode()&fs.ModeCharDevice == 0 {
			return nil
		}
		if err == nil {
			return fmt.Errorf("%s exists, but is not a block device: move it away", v.Path)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%s is active, but %s did not appear within %v: is udev running?", v, v.Path, nodeTimeout)
		}
		if left < nodeTimeout/2 && !asked {
			asked = true
			if _, err := l.run(ctx, "vgmknodes", v.String()); err != nil {
				return fmt.Errorf("device node of %s: %w", v, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", v.Path, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// owns says whether v can be one of l's, and that its names are safe in argv.
func (l LVM) owns(v Volume) error {
	if v.Kind != KindLVM || v.VG != l.VG || v.Pool != l.Pool || v.Path != "/dev/"+v.VG+"/"+v.LV {
		return fmt.Errorf("%s is not a logical volume of %s", v, l.VG)
	}
	return errors.Join(CheckVG(v.VG), CheckLV(v.LV))
}

// tag is the LVM tag of what a run made.
func tag(run string) string { return "esxodus_" + run }

// CheckVG returns an error unless LVM takes the name for a volume group.
func CheckVG(name string) error {
	if !lvm.ValidName(name) {
		return fmt.Errorf("volume group %q: want letters, digits and _ + . - (not first)", name)
	}
	return nil
}

// CheckLV returns an error unless LVM takes the name for a logical volume.
func CheckLV(name string) error {
	if !lvm.ValidName(name) || len(name) > maxName {
		return fmt.Errorf("logical volume %q: want up to %d letters, digits and _ + . - (not first)", name, maxName)
	}
	if part := lvm.Reserved(name); part != "" {
		return fmt.Errorf("logical volume %q: LVM keeps names with %s for itself", name, part)
	}
	return nil
}
