package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"esxodus/convert/host"
	"esxodus/disk"
)

// maxBacking is how long the name of an overlay's base may be, in bytes
// (QEMU's qcow2 specification, "backing file name").
const maxBacking = 1023

// Overlays makes one qcow2 file over each raw base, a file or a block device,
// in a new directory dir, and returns their paths in order. What a guest
// writes goes there; the bases are only read. On an error nothing is left.
// [RemoveOverlays] removes them.
func Overlays(ctx context.Context, tool host.Runner, dir string, bases []string) (paths []string, err error) {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, fmt.Errorf("directory for overlays: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, RemoveOverlays(dir))
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask
		return nil, err
	}
	for i, base := range bases {
		if !filepath.IsAbs(base) || len(base) > maxBacking {
			return nil, fmt.Errorf("overlay over %q: want an absolute path of at most %d bytes", base, maxBacking)
		}
		path := overlayPath(dir, i)
		if _, err := tool.Run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path); err != nil {
			return nil, fmt.Errorf("overlay over %s: %w", base, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

const (
	overlayPrefix = "disk"
	overlaySuffix = ".qcow2"
	overlayNVRAM  = "nvram.fd"
	overlaySocket = "console"
)

// overlayPath is where the overlay over base i is.
func overlayPath(dir string, i int) string {
	return filepath.Join(dir, overlayPrefix+strconv.Itoa(i)+overlaySuffix)
}

// maxSocket is how long the path of a Unix socket may be, bytes (unix(7)).
const maxSocket = 107

// OverlayConsole is where among the overlays in dir the socket of a proof's
// console goes.
func OverlayConsole(dir string) string { return filepath.Join(dir, overlaySocket) }

// CheckOverlays says, before there are any, why the QEMU of a domain could not
// use overlays in dir: a directory that its user can't pass, or a path too long
// for a socket. An appliance's runs as esxodus does.
func CheckOverlays(dir string) error {
	if bar := Unpassable(filepath.Dir(dir)); bar != "" {
		return fmt.Errorf("overlays in %s: QEMU, which runs as its own user, can't enter %s: chmod o+x %s, or choose another directory", dir, bar, bar)
	}
	if n := len(OverlayConsole(dir)); n > maxSocket {
		return fmt.Errorf("overlays in %s: the path is too long for a socket by %d bytes: choose a shorter one", dir, n-maxSocket)
	}
	return nil
}

// OverlayNVRAM is where among the overlays in dir a proof's EFI variables go:
// libvirt makes the file and leaves it.
func OverlayNVRAM(dir string) string { return filepath.Join(dir, overlayNVRAM) }

// RemoveOverlays removes what [Overlays] made, whole or in part, and what is at
// [OverlayNVRAM] and [OverlayConsole]. It is not an error if there is nothing; anything else in dir
// makes it fail and stays.
func RemoveOverlays(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		ours := strings.HasPrefix(e.Name(), overlayPrefix) && strings.HasSuffix(e.Name(), overlaySuffix)
		if !ours && e.Name() != overlayNVRAM && e.Name() != overlaySocket {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

// MergeOverlays writes what the overlays in dir hold into their bases. It may
// be repeated; no overlays, or no dir, is not an error.
func MergeOverlays(ctx context.Context, tool host.Runner, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), overlayPrefix) || !strings.HasSuffix(e.Name(), overlaySuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if _, err := tool.Run(ctx, "qemu-img", "commit", "-q", "-d", "-f", "qcow2", path); err != nil {
			return fmt.Errorf("merging %s into its volume: %w", path, err)
		}
	}
	return nil
}

// Overlaid returns the ranges, ascending, that the overlay over base i in dir holds:
// what [MergeOverlays] writes into the base. The error wraps [fs.ErrNotExist] if there
// is no such overlay.
func Overlaid(ctx context.Context, tool host.Runner, dir string, i int) ([]disk.Range, error) {
	path := overlayPath(dir, i)
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	out, err := tool.Run(ctx, "qemu-img", "map", "-f", "qcow2", "--output=json", path)
	if err != nil {
		return nil, fmt.Errorf("what %s holds: %w", path, err)
	}
	var runs []struct{ Start, Length, Depth int64 } // depth is 0 in the overlay, 1 in its base
	if err := json.Unmarshal(out, &runs); err != nil {
		return nil, fmt.Errorf("what %s holds, by qemu-img map: %w", path, err)
	}
	var ranges []disk.Range
	for _, r := range runs {
		if r.Depth == 0 {
			ranges = append(ranges, disk.Range{Offset: r.Start, Length: r.Length})
		}
	}
	return ranges, nil
}
