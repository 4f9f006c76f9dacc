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

// leaves reports whether a package is one that a conversion may remove.
func leaves(name string) bool {
	return LoaderPackage(name) || strings.HasPrefix(name, "open-vm-tools")
}

// maxPackages bounds what is read of dpkg's records.
const maxPackages = 100_000

// installed is a stanza of dpkg's records.
type installed struct {
	Package
	depends string
}

// parseDpkg reads /var/lib/dpkg/status. It returns the installed packages that
// interest picks, and those that depend on one of them, in the file's order,
// and the architecture of dpkg itself.
func parseDpkg(b []byte, interest func(name string) bool) (out []Package, arch string) {
	var all []installed
	providers := map[string][]string{} // of a name, virtual or real
	for stanza := range strings.SplitSeq(string(b), "\n\n") {
		f := fields(stanza)
		status, name := strings.Fields(f["status"]), f["package"]
		if len(all) >= maxPackages || name == "" || len(status) != 3 || status[2] != "installed" {
			continue
		}
		if name == "dpkg" {
			arch = clean(f["architecture"])
		}
		if slices.Contains(providers[name], name) {
			continue // of another architecture
		}
		all = append(all, installed{
			Package: Package{Name: name, Version: f["version"], Protected: f["essential"] == "yes" || f["protected"] == "yes" || f["important"] == "yes"},
			depends: f["pre-depends"] + "," + f["depends"],
		})
		for _, clause := range clauses(name + "," + f["provides"]) {
			providers[clause[0]] = append(providers[clause[0]], name)
		}
	}
	for _, p := range all {
		p.needs(providers, interest)
		if interest(p.Name) || len(p.Needs) > 0 {
			out = append(out, p.Package)
		}
	}
	return out, arch
}

// needs finds out which installed packages fulfil the dependencies.
func (p *installed) needs(providers map[string][]string, interest func(name string) bool) {
	for _, clause := range clauses(p.depends) {
		var by []string
		for _, name := range clause {
			by = append(by, providers[name]...)
		}
		if slices.ContainsFunc(by, interest) && !slices.Contains(by, p.Name) {
			slices.Sort(by)
			p.Needs = append(p.Needs, slices.Compact(by))
		}
	}
}

// fields reads the fields of a stanza (deb-control(5)) that fit on one line,
// as those do that matter here; their names are in lower case.
func fields(stanza string) map[string]string {
	f := map[string]string{}
	for line := range strings.SplitSeq(stanza, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && key != "" && key[0] != ' ' && key[0] != '\t' {
			f[strings.ToLower(key)] = strings.TrimSpace(value)
		}
	}
	return f
}

// clauses takes a list of dependencies apart into alternatives, without
// versions and architectures.
func clauses(s string) [][]string {
	var out [][]string
	for part := range strings.SplitSeq(s, ",") {
		var names []string
		for alternative := range strings.SplitSeq(part, "|") {
			name, _, _ := strings.Cut(strings.TrimSpace(alternative), " ")
			name, _, _ = strings.Cut(name, "(")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			out = append(out, names)
		}
	}
	return out
}
