package host

import (
	"path/filepath"
	"slices"
	"strings"
)

// needs is what a kind of program gets of our environment. Whatever else is
// there stays with us: GOVC_PASSWORD, tokens, keys, and what changes a program's
// ways unasked. guestfish passes its own on to the QEMU that reads the disks of
// strangers.
type needs struct {
	programs []string // by base name; nil: all
	names    []string
	prefixes []string
}

//nolint:gochecknoglobals // a constant table
var environment = []needs{
	{
		// LD_LIBRARY_PATH: tools that were installed in a place of their own.
		names: []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH"},
	},
	{
		// libguestfs: its backend, caches, appliance and QEMU are chosen so.
		programs: []string{"guestfish"},
		names:    []string{"XDG_CACHE_HOME", "XDG_RUNTIME_DIR"},
		prefixes: []string{"LIBGUESTFS_", "SUPERMIN_"},
	},
	{
		programs: []string{"lvm", "lvs", "vgs", "pvs", "lvcreate", "lvremove", "lvchange", "vgchange", "lvmconfig"},
		names:    []string{"LVM_SYSTEM_DIR", "DM_DISABLE_UDEV"},
	},
	{
		// apt reaches its mirrors through proxies.
		programs: []string{"apt-get", "apt-cache", "apt-config", "apt-helper"},
		names: []string{
			"APT_CONFIG", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
			"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
		},
	},
}

// environ picks from an environment what the program of argv needs.
func environ(all, argv []string) []string {
	program := filepath.Base(programOf(argv))
	var out []string
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(environment, func(n needs) bool { return n.gives(program, name) }) {
			out = append(out, v)
		}
	}
	return out
}

func (n needs) gives(program, name string) bool {
	if n.programs != nil && !slices.Contains(n.programs, program) {
		return false
	}
	return slices.Contains(n.names, name) || slices.ContainsFunc(n.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Handed tells whether any program gets a variable of our environment: what starts us
// anew elsewhere hands those on.
func Handed(name string) bool {
	return slices.ContainsFunc(environment, func(n needs) bool {
		return slices.Contains(n.names, name) || slices.ContainsFunc(n.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
}

// programOf is the program that argv starts: that which env starts.
func programOf(argv []string) string {
	for i, arg := range argv {
		if i > 0 && !strings.Contains(arg, "=") || i == 0 && filepath.Base(arg) != "env" {
			return arg
		}
	}
	return ""
}
