package conf

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// Leaves reports whether a package is one that a conversion may remove.
func Leaves(name string) bool {
	return guest.LoaderPackage(name) || strings.HasPrefix(name, "open-vm-tools")
}

// maxPackages bounds what is read of dpkg's records.
const maxPackages = 50_000

// installed is a stanza of dpkg's records.
type installed struct {
	guest.Package
	depends string
}

// ParseDpkg reads /var/lib/dpkg/status. It returns the installed packages that
// interest picks, and those that depend on one of them, in the file's order,
// and the architecture of dpkg itself. More than [maxPackages] are an error.
func ParseDpkg(b []byte, interest func(name string) bool) (out []guest.Package, arch string, err error) {
	var all []installed
	providers := map[string][]string{} // of a name, virtual or real
	for stanza := range strings.SplitSeq(string(b), "\n\n") {
		f := fields(stanza)
		status, name := strings.Fields(f["status"]), f["package"]
		if name == "" || len(status) != 3 || status[2] != "installed" {
			continue
		}
		if len(all) == maxPackages {
			return nil, "", fmt.Errorf("more than %d packages are installed", maxPackages)
		}
		if name == "dpkg" {
			arch = strings.Clone(Clean(f["architecture"])) // see kept
		}
		if slices.Contains(providers[name], name) {
			continue // of another architecture
		}
		all = append(all, installed{
			Package: guest.Package{Name: name, Version: f["version"], Protected: f["essential"] == "yes" || f["protected"] == "yes" || f["important"] == "yes"},
			depends: f["pre-depends"] + "," + f["depends"],
		})
		for _, clause := range clauses(name + "," + f["provides"]) {
			providers[clause[0]] = append(providers[clause[0]], name)
		}
	}
	for _, p := range all {
		p.needs(providers, interest)
		if interest(p.Name) || len(p.Needs) > 0 {
			out = append(out, p.kept())
		}
	}
	return out, arch, nil
}

// kept is the package by itself: parts of the file's text would hold all of it in
// memory, of every guest of a plan.
func (p *installed) kept() guest.Package {
	k := p.Package
	k.Name, k.Version = strings.Clone(k.Name), strings.Clone(k.Version)
	for _, names := range k.Needs {
		for i := range names {
			names[i] = strings.Clone(names[i])
		}
	}
	return k
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

// OfInterest reports whether a conversion may have to know a package.
func OfInterest(name string) bool {
	switch name {
	case "lvm2", "initramfs-tools", "dracut", "qemu-guest-agent", "udev":
		return true
	}
	return Leaves(name) || strings.HasPrefix(name, "linux-image-")
}
