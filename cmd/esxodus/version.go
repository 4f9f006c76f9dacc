package main

import "runtime/debug"

// revision is the commit that this was built from; the Makefile sets it.
var revision string //nolint:gochecknoglobals // only the linker writes it

// version is what the module system knows of this build.
func version() string {
	if revision != "" {
		return revision
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
