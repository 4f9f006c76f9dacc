package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/inventory/fit"

	"esxodus/convert/source"
	"esxodus/disk"
	"esxodus/disk/unused"
	"esxodus/disk/vmdk"
	"esxodus/inventory/esxi"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

func copyCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "copy one disk to a raw file or block device",
		ArgsUsage: "SRC DST",
		Description: `SRC is a VMDK: a local file (the descriptor, or a file that holds its own), or
one on an ESXi host, as a URL of the datastore browser or as a datastore path.
DST is a raw file that doesn't exist yet, or a block device that is blank;
--overwrite accepts one that isn't. The rest of a larger device is zeroed. What
reads as zeros isn't written: a file is sparse, a device's range is zeroed. What
nothing on the disk needs (free space of file systems, swap) isn't read, and is
zero in DST; --all-blocks copies that, too. A thin volume takes all of its space
by that; convert --storage lvm:VG/POOL makes thin ones.

  esxodus copy web1.vmdk web1.raw
  esxodus copy 'https://root@esx1/folder/web1/web1.vmdk?dsName=datastore1' /dev/vg0/web1
  esxodus copy --esxi https://root@esx1 '[datastore1] web1/web1.vmdk' web1.raw`,
		Flags: slices.Concat(sourceFlags(), runFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "verify", Usage: "read the target back and compare it with what was read"},
			&cli.BoolFlag{Name: "all-blocks", Usage: "copy also what nothing on the disk needs (free space of file systems, swap)"},
			&cli.BoolFlag{Name: "overwrite", Usage: "write to a block device that is not blank"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 2, 2, "a source and a target")
			if err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			return copyDisk(c.Context, c, t, args[0], args[1], wantJSON)
		},
	}
}

// copied is what `copy` reports.
type copied struct {
	Source  string  `json:"source"`
	Target  string  `json:"target"`
	Bytes   int64   `json:"bytes"`
	Read    int64   `json:"read"`
	Written int64   `json:"written"`
	Zero    int64   `json:"zero"`
	Unused  int64   `json:"unused"` // that nothing needs, and weren't read
	Seconds float64 `json:"seconds"`
	Verify  bool    `json:"verified"`
}

// String is the result for people.
func (c copied) String() string {
	text := fmt.Sprintf("%s: %s, %s of it data, in %.1f s", c.Target, fit.Bytes(c.Bytes), fit.Bytes(c.Written), c.Seconds)
	if c.Unused > 0 {
		text += fmt.Sprintf("; left out %s that nothing needs (--all-blocks copies all)", fit.Bytes(c.Unused))
	}
	return text
}

func copyDisk(ctx context.Context, c *cli.Context, t terminal, src, dst string, wantJSON bool) (err error) {
	begin := time.Now()
	rate, err := parseRate(c.String("rate"))
	if err != nil {
		return err
	}
	connections, err := connections(c)
	if err != nil {
		return err
	}
	img, closeImage, err := openSource(ctx, c, t, src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeImage()) }()
	var left int64
	if !c.Bool("all-blocks") {
		if img, left, err = needed(ctx, src, img); err != nil {
			return err
		}
	}
	target, made, err := openTarget(dst, img.Size(), c.Bool("overwrite"))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, target.Close())
		if err != nil && made {
			err = errors.Join(fmt.Errorf("%w; %s was removed", err, dst), os.Remove(dst))
		}
	}()
	stats, err := transfer(ctx, c, t, img, target, disk.Options{Connections: connections, Rate: rate})
	if err != nil {
		return err
	}
	r := copied{
		Source: redact.Text(src, t.secrets...), Target: dst, Bytes: stats.Bytes, Read: stats.Read, Written: stats.Written, Zero: stats.Zero,
		Unused: left, Seconds: time.Since(begin).Seconds(), Verify: c.Bool("verify"),
	}
	if wantJSON {
		return printJSON(t.out, r)
	}
	_, err = fmt.Fprintln(t.out, r)
	return err
}

// needed hides what nothing on the disk needs, and says how many bytes that are.
func needed(ctx context.Context, src string, img disk.Image) (disk.Image, int64, error) {
	found, err := unused.Find(ctx, []unused.Disk{{Address: src, Image: img}})
	if err != nil {
		return nil, 0, err
	}
	return found.Masks[0].Over(img), found.Masks[0].Unused(), nil
}

// transfer copies, and reads back where that is asked for.
func transfer(ctx context.Context, c *cli.Context, t terminal, img disk.Image, target *disk.Raw, o disk.Options) (stats disk.Stats, err error) {
	maps := disk.Whole(img)
	if c.Bool("verify") {
		dir, err := os.MkdirTemp("", "esxodus-copy-")
		if err != nil {
			return stats, err
		}
		o.Digests, err = disk.CreateDigests(filepath.Join(dir, "digests"), "copy", target.Size(), maps)
		// They are of no use afterwards, and a kill must not leave them: the open file suffices.
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return stats, err
		}
		defer func() { err = errors.Join(err, o.Digests.Close()) }()
	}
	p := newProgress(t)
	name := filepath.Base(c.Args().Get(1))
	add, end := p.Begin(name, "copy", target.Size())
	o.Progress = add
	stats, err = disk.Copy(ctx, target, maps, o)
	end()
	if err != nil || o.Digests == nil {
		return stats, err
	}
	add, end = p.Begin(name, "verify", target.Size())
	defer end()
	o.Progress = add
	o.Connections = nil // for the source
	_, err = disk.Verify(ctx, target, maps, o)
	return stats, err
}

// openSource opens what SRC names.
func openSource(ctx context.Context, c *cli.Context, t terminal, src string) (disk.Image, func() error, error) {
	path, host, remote, err := remoteSource(src)
	if err != nil {
		return nil, nil, usageErr(err)
	}
	if !remote {
		img, err := vmdk.Open(vmdk.DirOpener(filepath.Dir(src)), filepath.Base(src))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", src, err)
		}
		return img, img.Close, nil
	}
	cfg, err := sourceConfig(c, t, host)
	if err != nil {
		return nil, nil, err
	}
	client, err := esxi.Dial(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	img, closeImage, err := source.OpenVMDK(ctx, client, path)
	if err != nil {
		logout(ctx, cfg.Log, client)
		return nil, nil, err
	}
	return img, func() error { defer logout(ctx, cfg.Log, client); return closeImage() }, nil
}

var urlPattern = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)

// remoteSource reports whether SRC is on an ESXi host: a datastore path (the
// host is given elsewhere), or a URL of the datastore browser's.
func remoteSource(src string) (path, host string, remote bool, err error) {
	if strings.HasPrefix(src, "[") {
		if _, err := os.Stat(src); errors.Is(err, fs.ErrNotExist) {
			return src, "", true, nil
		}
	}
	scheme := urlPattern.FindStringSubmatch(src)
	if scheme == nil {
		return "", "", false, nil
	}
	if !strings.EqualFold(scheme[1], "https") {
		if _, err := os.Stat(src); err == nil {
			return "", "", false, nil // a directory may have any name
		}
		return "", "", false, fmt.Errorf("source %s: scheme %q: want a local file, or https://user@host/folder/DIR/NAME.vmdk?dsName=DATASTORE", src, scheme[1])
	}
	u, err := url.Parse(src)
	if err != nil {
		return "", "", false, fmt.Errorf("source: not a URL: want https://user@host/folder/DIR/NAME.vmdk?dsName=DATASTORE")
	}
	file, ok := strings.CutPrefix(u.Path, "/folder/")
	store := u.Query().Get("dsName")
	if !ok || store == "" {
		return "", "", false, fmt.Errorf("source %s: want https://user@host/folder/DIR/NAME.vmdk?dsName=DATASTORE", src)
	}
	at := url.URL{Scheme: "https", User: u.User, Host: u.Host}
	return "[" + store + "] " + file, at.String(), true, nil
}

// amongDevices reports whether a path is where devices are: a file there would take
// the host's memory, and be gone after a reboot. /dev/shm is for such files.
func amongDevices(path string) bool {
	full, err := filepath.Abs(path)
	return err == nil && strings.HasPrefix(full, "/dev/") && !strings.HasPrefix(full, "/dev/shm/")
}

// openTarget opens a block device, or makes a file of the size. A file that
// exists is never written to; a device only if it is blank or overwrite is
// set.
func openTarget(dst string, size int64, overwrite bool) (_ *disk.Raw, made bool, err error) {
	info, err := os.Stat(dst)
	if errors.Is(err, fs.ErrNotExist) {
		if amongDevices(dst) {
			return nil, false, withHint(fmt.Errorf("there is no device %s", dst), fmt.Sprintf("make the volume first, such as by lvcreate --size %db --name NAME VG", size))
		}
		raw, err := disk.CreateRaw(dst, size)
		return raw, err == nil, err
	}
	if err != nil {
		return nil, false, err
	}
	if info.IsDir() {
		return nil, false, usagef("%s is a directory: give the path of the new file in it", dst)
	}
	if info.Mode()&os.ModeDevice == 0 {
		return nil, false, withHint(fmt.Errorf("%s exists", dst), "esxodus overwrites nothing: remove the file, or choose another name")
	}
	raw, err := disk.OpenRaw(dst, true)
	if err != nil {
		return nil, false, err
	}
	if err := fits(raw, dst, size, overwrite); err != nil {
		return nil, false, errors.Join(err, raw.Close())
	}
	return raw, false, nil
}

func fits(raw *disk.Raw, dst string, size int64, overwrite bool) error {
	if raw.Size() < size {
		return fmt.Errorf("%s has %d bytes, but the disk needs %d", dst, raw.Size(), size)
	}
	if overwrite {
		return nil
	}
	const look = 1 << 20
	buf := make([]byte, look)
	// The beginning and the end, where signatures are, and all that lies
	// beyond the disk, which the copy zeroes.
	offsets := []int64{0, max(0, size-look)}
	for off := size; off < raw.Size(); off += look {
		offsets = append(offsets, off)
	}
	for _, off := range offsets {
		buf := buf[:min(look, raw.Size()-off)]
		if _, err := raw.ReadAt(buf, off); err != nil {
			return fmt.Errorf("%s: %w", dst, err)
		}
		if len(bytes.Trim(buf, "\x00")) > 0 {
			return withHint(fmt.Errorf("%s is not blank", dst), "to overwrite it, give --overwrite")
		}
	}
	return nil
}

// parseRate reads --rate, "" for no limit.
func parseRate(s string) (*disk.Rate, error) {
	rate := &disk.Rate{}
	if s == "" {
		return rate, nil
	}
	n, err := parseBytes(s)
	if err != nil {
		return nil, err
	}
	rate.Set(n)
	return rate, nil
}

// parseBytes reads bytes a second with a binary suffix.
func parseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGkmg")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30}
	by, ok := shift[strings.ToUpper(s[len(digits):])]
	if err != nil || n <= 0 || !ok || n > 1<<32 {
		return 0, usagef("--rate %q: want a whole number of bytes a second, with K, M, G or nothing behind it, such as 50M", s)
	}
	return n << by, nil
}
