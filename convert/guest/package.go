package guest

import (
	"slices"
	"strings"
)

// Package is an installed package.
type Package struct {
	Name    string
	Version string
	// Needs are its dependencies on packages of interest: of each, the
	// installed packages that fulfil it.
	Needs [][]string
	// Protected: dpkg removes it only when it is forced to.
	Protected bool
}

// LoaderPackage reports whether a package is of a boot loader that has no work
// on a disk without partitions.
func LoaderPackage(name string) bool {
	return name == "os-prober" || name == "lilo" || slices.ContainsFunc([]string{"grub", "shim-", "systemd-boot"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}
