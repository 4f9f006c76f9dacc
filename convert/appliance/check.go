package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

var errMissing = errors.New("guestfish is not installed on this host: install the packages guestfish and libguestfs-xfs (Debian, Ubuntu) or guestfs-tools and libguestfs-xfs (Fedora, RHEL)")

// Host is what an appliance needs of the host it runs on. The zero value is
// not usable: ask [ThisHost].
type Host struct {
	Path     []string // directories with programs
	Boot     string   // directory of kernels
	Supermin []string // directories that list the appliance's packages
	Kernel   string   // a kernel that the environment names
	Fixed    string   // directories of a ready-made appliance, as of LIBGUESTFS_PATH
}

// ThisHost reads where this host has things from the environment.
func ThisHost() Host {
	return Host{
		Path:     append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin"),
		Boot:     "/boot",
		Supermin: []string{"/usr/lib/x86_64-linux-gnu/guestfs/supermin.d", "/usr/lib/aarch64-linux-gnu/guestfs/supermin.d", "/usr/lib64/guestfs/supermin.d", "/usr/lib/guestfs/supermin.d"},
		Kernel:   os.Getenv("SUPERMIN_KERNEL"),
		Fixed:    os.Getenv("LIBGUESTFS_PATH"),
	}
}

// Check says what is missing on the host for an appliance that can work on
// file systems of these types, and how to get it; nil if nothing is. It
// starts nothing.
func (h Host) Check(types []string) error {
	if !slices.ContainsFunc(h.Path, func(dir string) bool { return isFile(filepath.Join(dir, "guestfish")) }) {
		return errMissing
	}
	for _, dir := range filepath.SplitList(h.Fixed) {
		if isFile(filepath.Join(dir, "kernel")) && isFile(filepath.Join(dir, "root")) {
			return nil
		}
	}
	if err := h.checkKernel(); err != nil {
		return err
	}
	if slices.Contains(types, "xfs") && !h.knows("xfs") {
		return errors.New("libguestfs on this host has no XFS: install the package libguestfs-xfs")
	}
	return nil
}

// checkKernel looks for a kernel that supermin can read.
func (h Host) checkKernel() error {
	if h.Kernel != "" {
		f, err := os.Open(h.Kernel)
		if err != nil {
			return fmt.Errorf("kernel of libguestfs's appliance (SUPERMIN_KERNEL): %w", err)
		}
		return f.Close()
	}
	kernels, err := filepath.Glob(filepath.Join(h.Boot, "vmlinu[xz]-*"))
	if err != nil {
		return err
	}
	err = fmt.Errorf("no kernel in %s, which libguestfs's appliance needs: install the package linux-image-amd64 (Debian) or linux-image-generic (Ubuntu)", h.Boot)
	for _, k := range kernels {
		f, openErr := os.Open(k)
		if openErr == nil {
			return f.Close()
		}
		err = fmt.Errorf("kernel for libguestfs's appliance: %w: make it readable (chmod 0644), or run esxodus as root", openErr)
	}
	return err
}

// knows reports whether the appliance has the tools of a type of file system,
// which Debian packages one by one; elsewhere there is no such list, and it has.
func (h Host) knows(fstype string) bool {
	for _, dir := range h.Supermin {
		if !isFile(filepath.Join(dir, "packages")) {
			continue
		}
		lists, err := filepath.Glob(filepath.Join(dir, "*packages*"+fstype+"*"))
		return err == nil && len(lists) > 0
	}
	return true
}

func isFile(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.Mode().IsRegular()
}
