package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"esxodus/disk"

	"golang.org/x/sys/unix"
)

// Dir makes volumes as sparse raw files in a directory.
type Dir struct {
	Path string       // absolute
	Log  *slog.Logger // nil for none
}

// String returns the storage as it is asked for on the command line.
func (d Dir) String() string { return KindDir + ":" + d.Path }

// maxFile leaves room in a file name of 255 bytes for what tempPath adds.
const maxFile = 180

// Volume names the file of a volume; see [Storage].
func (d Dir) Volume(name string, size int64) (Volume, error) {
	bad := func(r rune) bool { return r == '/' || unicode.IsControl(r) }
	switch {
	case name == "" || strings.HasPrefix(name, "."):
		return Volume{}, fmt.Errorf("file name %q: empty, or begins with a dot", name)
	case len(name) > maxFile:
		return Volume{}, fmt.Errorf("file name %q: longer than %d bytes", name, maxFile)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, bad):
		return Volume{}, fmt.Errorf("file name %q: has a slash, a control character or is not UTF-8", name)
	case size <= 0:
		return Volume{}, fmt.Errorf("file %q: a size of %d bytes", name, size)
	}
	return Volume{Kind: KindDir, Path: filepath.Join(d.Path, name), Size: size}, nil
}

// Check reads the facts for a plan; see [Storage].
func (d Dir) Check(ctx context.Context, vols []Volume) (Facts, error) {
	if err := ctx.Err(); err != nil {
		return Facts{}, context.Cause(ctx)
	}
	fi, err := os.Stat(d.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Facts{}, fmt.Errorf("%s does not exist: make the directory, on the file system that is to hold the disks", d.Path)
	case err != nil:
		return Facts{}, err
	case !fi.IsDir():
		return Facts{}, fmt.Errorf("%s is not a directory", d.Path)
	}
	facts, err := d.statfs()
	if err != nil {
		return Facts{}, err
	}
	facts.Unpassable = Unpassable(d.Path)
	facts.Volumes = []Found{}
	for _, v := range vols {
		f := Found{Volume: v, Size: (v.Size + facts.Unit - 1) / facts.Unit * facts.Unit}
		f.Exists, err = describe(v.Path)
		if err = errors.Join(fits(facts, v), err); err != nil {
			f.Unfit = err.Error() // of this one; the others may well be fit
		}
		facts.Volumes = append(facts.Volumes, f)
	}
	return facts, nil
}

// statfs reads what the file system says of itself.
func (d Dir) statfs() (Facts, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Path, &st); err != nil {
		return Facts{}, fmt.Errorf("file system of %s: %w", d.Path, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return Facts{}, fmt.Errorf("the file system of %s is mounted read-only", d.Path)
	}
	if err := unix.Access(d.Path, unix.W_OK|unix.X_OK); err != nil {
		return Facts{}, fmt.Errorf("no files can be made in %s: %w: run esxodus as root", d.Path, err)
	}
	unit := st.Frsize
	if unit <= 0 {
		unit = 512
	}
	name := fsName(st.Type)
	return Facts{
		Free: int64(st.Bavail) * unit, Unit: unit,
		FSType: name, Sparse: name != "vfat" && name != "exfat",
	}, nil
}

// fits refuses what no amount of free space would make room for.
func fits(f Facts, v Volume) error {
	const maxVFAT = 1<<32 - 1
	most := int64(math.MaxInt64)
	switch f.FSType {
	case "vfat":
		most = maxVFAT
	case "ext4": // which numbers a file's blocks with 32 bits
		most = math.MaxUint32 * f.Unit
	}
	if v.Size > most {
		return fmt.Errorf("%s: %d bytes, but a file on this %s has at most %d: choose another directory", v, v.Size, f.FSType, most)
	}
	return nil
}

// fsName names the file systems that people put disks on.
func fsName(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.RAMFS_MAGIC:
		return "ramfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.MSDOS_SUPER_MAGIC:
		return "vfat"
	case unix.EXFAT_SUPER_MAGIC:
		return "exfat"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("%#x", magic)
}

// Unpassable returns the first directory on the way to path that users other
// than its owner can't enter, "" if there is none. QEMU runs as such a user.
func Unpassable(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if fi, err := os.Stat(path[:i]); err == nil && fi.Mode()&0o001 == 0 {
			return path[:i]
		}
	}
	return ""
}

// describe says what is at path, "" for nothing.
func describe(path string) (string, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case fi.Mode().IsRegular():
		return fmt.Sprintf("a file of %d bytes", fi.Size()), nil
	case fi.IsDir():
		return "a directory", nil
	case fi.Mode()&fs.ModeSymlink != 0:
		return "a symbolic link", nil
	}
	return "a special file", nil
}

// Create makes the file under a temporary name that holds the run's id and
// gives it its own name once it is claimed; see [Storage].
func (d Dir) Create(ctx context.Context, v Volume, run string, claim func(Identity) error) (err error) {
	if err := errors.Join(context.Cause(ctx), d.owns(v), CheckRun(run)); err != nil {
		return err
	}
	temp := tempPath(v, run)
	// What a killed run left under its own id.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if what, err := describe(v.Path); err != nil || what != "" {
		return errors.Join(err, fmt.Errorf("%s: %s %w", v.Path, what, ErrExists))
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("new file in %s: %w", d.Path, err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temp)))
		}
	}()
	if err := f.Truncate(v.Size); err != nil {
		if errors.Is(err, unix.EFBIG) {
			return fmt.Errorf("%s: the file system can't hold a file of %d bytes: choose another directory", v.Path, v.Size)
		}
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	id, err := identify(f)
	if err != nil {
		return err
	}
	if err := claim(id); err != nil {
		return err
	}
	if err := publish(temp, v.Path); err != nil {
		return err
	}
	return disk.SyncDir(d.Path)
}

// owns says whether v can be one of d's.
func (d Dir) owns(v Volume) error {
	if v.Kind != KindDir || filepath.Dir(v.Path) != d.Path {
		return fmt.Errorf("%s is not a file in %s", v, d.Path)
	}
	return nil
}

func tempPath(v Volume, run string) string {
	return filepath.Join(filepath.Dir(v.Path), "."+filepath.Base(v.Path)+"."+run+".tmp")
}

// publish gives a file its name and takes the temporary one away. It never
// replaces a file.
func publish(temp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// NFS, old kernels. Killed between the two, Activate goes on.
		if err = os.Link(temp, path); err == nil {
			err = os.Remove(temp)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("%s: naming the new file: %w", path, err)
	}
	return nil
}

// State compares the file with what was claimed; see [Storage].
func (d Dir) State(ctx context.Context, v Volume, run string, id Identity) (State, error) {
	if err := errors.Join(context.Cause(ctx), d.owns(v), CheckRun(run)); err != nil {
		return "", err
	}
	fi, err := os.Lstat(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, d.here(v, id)
	}
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() {
		return Foreign, d.here(v, id)
	}
	f, err := os.OpenFile(v.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	got, err := identify(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if id.same(got) {
		return Ours, nil
	}
	return Foreign, d.here(v, id)
}

// Place names the directory by its inode and time of birth, or device; see
// [Storage]. The mount point beneath a file system is another one.
func (d Dir) Place(context.Context) (string, error) {
	id, err := d.identity()
	return id.place(), err
}

// place is a directory's identity in a word.
func (id Identity) place() string {
	if id.Birth != 0 {
		return fmt.Sprintf("inode %d born %d", id.Ino, id.Birth)
	}
	return fmt.Sprintf("inode %d on device %d", id.Ino, id.Dev)
}

// identity tells the directory from any other.
func (d Dir) identity() (Identity, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return Identity{}, err
	}
	id, err := identify(f)
	return id, errors.Join(err, f.Close())
}

// here is an error if the directory isn't the one in which v was made. Claims
// from before places were recorded have the file system's device.
func (d Dir) here(v Volume, id Identity) error {
	if id.Place == "" && id.Dev == 0 {
		return nil // nothing was made
	}
	why := &PlaceError{Volume: v, Advice: "mount again what was mounted there, and repeat the command"}
	now, err := d.identity()
	if err != nil {
		why.Why = err.Error()
		return why
	}
	if id.Place == "" && now.Dev == id.Dev || id.Place == now.place() {
		return nil
	}
	why.Why = fmt.Sprintf("%s is not the directory in which it was made: another file system is mounted there, or none, or the directory was made again", d.Path)
	return why
}

// same compares files. Device numbers change with the order of a boot, so a
// time of birth counts for more.
func (id Identity) same(got Identity) bool {
	if id.Ino == 0 || id.Ino != got.Ino || id.Birth != got.Birth {
		return false
	}
	return id.Birth != 0 || id.Dev == got.Dev
}

func identify(f *os.File) (Identity, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return Identity{}, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	id := Identity{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}

// Blank knows nothing that a file's holes don't say; see [Storage].
func (d Dir) Blank(context.Context, Volume) (from int64, ok bool, err error) { return 0, false, nil }

// Activate says whether the file is there, and takes away the second name
// that a run killed while naming it may have left; see [Storage].
func (d Dir) Activate(ctx context.Context, v Volume) error {
	if err := errors.Join(context.Cause(ctx), d.owns(v)); err != nil {
		return err
	}
	fi, err := os.Lstat(v.Path)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is no longer a regular file", v.Path)
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+filepath.Base(v.Path)+".") || !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if other, err := e.Info(); err == nil && os.SameFile(fi, other) {
			if err := os.Remove(filepath.Join(d.Path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove removes the file; see [Storage].
func (d Dir) Remove(ctx context.Context, v Volume, run string, id Identity) error {
	state, err := d.State(ctx, v, run, id)
	if err != nil {
		return err
	}
	if err := ignoreMissing(os.Remove(tempPath(v, run))); err != nil {
		return err
	}
	switch state {
	case Ours:
		if err := ignoreMissing(os.Remove(v.Path)); err != nil {
			return err
		}
	case Foreign:
		if d.Log != nil {
			d.Log.WarnContext(ctx, "left alone: this run did not make it", "file", v.Path)
		}
	case Absent:
	}
	return ignoreMissing(disk.SyncDir(d.Path))
}

// Release has nothing to do for a file, which only the journal's claim marks, but
// to see that it can be known.
func (d Dir) Release(ctx context.Context, v Volume, run string, id Identity) error {
	_, err := d.State(ctx, v, run, id)
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
