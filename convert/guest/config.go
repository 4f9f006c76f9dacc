package guest

import "strings"

// Config is the part of a guest's files that its conversion is made from. Paths are
// absolute in the guest. Texts are as the guest has them, but for passwords, which
// [Mask] has hidden: nothing is cleaned.
type Config struct {
	Files    map[string]File   // configuration, by path
	Links    map[string]Link   // links to kernels and initrds that are there, masks of services, /etc/systemd/network
	Boot     []string          // names in /boot
	Has      map[string]bool   // other paths that are there
	Dirs     map[string]string // those of [SystemDirs] that links lead elsewhere: where they really are
	Cmdline  string            // kernel command line of the default boot entry, in full
	Image    string            // the kernel that it boots, as its boot loader names it
	Guarded  bool              // the boot loader asks for a password
	Packages []Package         // dpkg's, of interest and what depends on those
	Owned    map[string]string // lists of the files of packages that may have to go, by package
	Unread   []string          // configuration that is there and could not be read, and why
	Arch     string            // dpkg's own architecture: amd64
	Codename string            // of the release: bookworm
	Tools    Tools             // VMware's own, not open-vm-tools
	Free     map[string]Space  // by mount point, of file systems that were unmounted cleanly
	Initrds  map[string]int64  // sizes in bytes, by path

	Fixed []Fixed // what a conversion may have to change, and can't

	// IdleNames are those of the guest's DiskNames that nothing uses by itself.
	IdleNames []string

	Needs   []Need // what the guest doesn't come up without
	ESP     bool   // an EFI system partition was read, so that EFILoaders are all there are
	Systemd bool   // the init program is systemd

	// MachineID is the first digits of a digest of the guest's machine id, which is to
	// be kept secret (machine-id(5)); "" where it has none.
	MachineID string

	NICDrivers []DriverMatch // where NICs are picked by a driver that they won't have
	Net        Net           // what its files say of its network interfaces
	Naming     Naming
	CloudInit  CloudInit
}

// FilesOf lists the files of a package that may have to go.
func (c *Config) FilesOf(pkg string) []string {
	if c.Owned[pkg] == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(c.Owned[pkg], "\n"), "\n")
}

// Share replaces texts by equal ones of other guests, and adds to those what is new:
// guests of one release have most of them in common.
func (c *Config) Share(texts map[string]string) {
	same := func(text string) string {
		if known, ok := texts[text]; ok {
			return known
		}
		texts[text] = text
		return text
	}
	for name, f := range c.Files {
		f.Text = same(f.Text)
		c.Files[name] = f
	}
	for pkg, list := range c.Owned {
		c.Owned[pkg] = same(list)
	}
}

// Naming is what decides how NICs get their names, besides [Net].
type Naming struct {
	LinkFiles  bool       // udev reads .link files: systemd is of 209 or later
	NoPolicy   bool       // net.ifnames=0: .link files give only those names that they spell out
	NoLinkRule bool       // udev's rule that gives the names of .link files is masked
	HWAddr     bool       // HWADDR= in ifcfg files renames NICs, as in RHEL up to 7
	Active     []NetStyle // whose programs are installed
}

// Fixed is a file or directory that nobody can change, root neither, before an
// attribute is taken from it (chattr(1)).
type Fixed struct {
	Path   string // absolute
	Real   string // where it is, links in Path followed
	Dir    bool
	Append bool // append-only (a), else immutable (i)
}

// File is a regular file.
type File struct {
	Path string // where it really is, links followed
	Text string
}

// Link is a symbolic link, or a file where one may be.
type Link struct {
	Target  string // "" where it is no link
	Missing bool   // what it leads to is not there
}
