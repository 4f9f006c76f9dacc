// Package packages gets Debian packages for a guest that lacks them, without a
// change to the host: apt works in a private directory, on the guest's own
// record of what is installed.
//
// [Resolver.Resolve] says at plan time which packages are needed, and from
// where; [Fetch] gets those and no others, known by their hashes.
package packages

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/host"
)

// Guest is the system that packages are for.
type Guest struct {
	ID       string // as in os-release: debian or ubuntu
	Codename string // "bookworm"
	Arch     string // dpkg's: "amd64"
	Status   []byte // its /var/lib/dpkg/status
}

// Package is one package to install.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Old     string `json:"old,omitempty"` // version that is installed and goes
	From    string `json:"from"`          // URI, or absolute path of a file on this host
	Size    int64  `json:"size"`          // bytes
	SHA256  string `json:"sha256"`        // in hex
}

// Set is what has to be installed for something, in apt's order.
type Set struct {
	Packages []Package `json:"packages"`
	Unpacked int64     `json:"unpacked"` // bytes that they take when installed, about
}

// Runner runs programs; host.Tool is one.
type Runner interface {
	Run(ctx context.Context, argv ...string) ([]byte, error)
}

// Limits.
const (
	maxStatus   = 32 << 20         // bytes of a guest's status
	maxPackages = 40               // of a set: lvm2 needs ten
	updateLimit = 3 * time.Minute  // of an index
	fetchLimit  = 15 * time.Minute // of all packages
)

// ErrNoSource means that this host has nowhere to get packages of the guest's
// distribution from.
var ErrNoSource = errors.New("this host's apt has no source of the guest's distribution")

// Resolver finds out which packages a guest lacks.
type Resolver struct {
	Tool Runner
	// Dir is a directory of packages that the admin vouches for; if "", they
	// come from the host's own mirrors, with their signatures.
	Dir string
	// TempDir is where a private directory is made for the while; the system's
	// if "".
	TempDir string
	// Indexes keeps what is read of sources; nil to keep nothing.
	Indexes *Indexes
}

// hint ends errors that the admin can do something about.
const hint = "give the packages with --packages DIR"

// Resolve returns what a guest needs to have these packages: nothing if it
// has them. An error says why it can't be had; it wraps [ErrNoSource] if there
// is nowhere to ask. Nothing that is installed in the guest is ever removed.
func (r Resolver) Resolve(ctx context.Context, g Guest, want ...string) (set Set, err error) {
	if err := g.check(); err != nil {
		return Set{}, err
	}
	for _, name := range want {
		if !namePattern.MatchString(name) {
			return Set{}, fmt.Errorf("%q is not a package name", name)
		}
	}
	if _, err := r.Tool.Run(ctx, "apt-get", "--version"); err != nil {
		return Set{}, fmt.Errorf("can't work out which packages the guest needs for %s: apt is required (%w); or install it in the guest before migrating", strings.Join(want, ", "), err)
	}
	indexes := r.Indexes
	if indexes == nil {
		indexes = new(Indexes)
		defer func() { err = errors.Join(err, indexes.Close()) }()
	}
	index, err := indexes.get(ctx, r, g)
	if err != nil {
		return Set{}, err
	}
	root, err := newRoot(r.TempDir, index.root, g.Status)
	if err != nil {
		return Set{}, fmt.Errorf("packages: %w", err)
	}
	defer func() { err = errors.Join(err, root.remove()) }()
	if err := root.configure(g, index.root.acquire); err != nil {
		return Set{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, updateLimit, fmt.Errorf("packages: apt didn't resolve them within %v", updateLimit))
	defer cancel()
	return r.solve(ctx, root, index.local, want)
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,100}$`)
	wordPattern = regexp.MustCompile(`^[a-z0-9]{1,30}$`)
)

func (g Guest) check() error {
	switch {
	case g.ID != "debian" && g.ID != "ubuntu":
		return fmt.Errorf("packages for a guest with %q: want debian or ubuntu", g.ID)
	case !wordPattern.MatchString(g.Codename):
		return fmt.Errorf("packages: the guest's release is %q: want a codename", g.Codename)
	case !wordPattern.MatchString(g.Arch):
		return fmt.Errorf("packages: the guest's architecture is %q: want a name that dpkg uses", g.Arch)
	case len(g.Status) == 0 || len(g.Status) > maxStatus:
		return fmt.Errorf("packages: the guest's dpkg status has %d bytes: want 1 to %d", len(g.Status), maxStatus)
	}
	return nil
}

// update reads the index.
func (r Resolver) update(ctx context.Context, root *root, g Guest) error {
	_, err := r.apt(ctx, root, "apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
	if err == nil {
		return nil
	}
	if r.Dir != "" {
		return fmt.Errorf("packages in %s: %w", r.Dir, err)
	}
	return fmt.Errorf("can't get the index of %s %s from this host's mirrors: %w: %s", g.ID, g.Codename, err, hint)
}

// apt runs one of apt's programs in the private directory. Its error says what
// apt prints about dependencies, too, which is on stdout.
func (r Resolver) apt(ctx context.Context, root *root, argv ...string) ([]byte, error) {
	out, err := r.Tool.Run(ctx, append([]string{"env", "APT_CONFIG=" + root.conf}, argv...)...)
	exit, ok := errors.AsType[*host.ExitError](err)
	if !ok {
		return out, err
	}
	why := exit.Stderr
	if _, unmet, ok := strings.Cut(exit.Stdout, "unmet dependencies:"); ok {
		why += " (" + strings.Trim(strings.Join(strings.Fields(unmet), " "), "; ") + ")"
	}
	return nil, fmt.Errorf("%s: %s: %s", argv[0], exit.State, why)
}

// solve has apt say what an installation would do.
func (r Resolver) solve(ctx context.Context, root *root, local map[string]debFile, want []string) (Set, error) {
	where := "this host's mirrors"
	if r.Dir != "" {
		where = r.Dir
	}
	out, err := r.apt(ctx, root, append([]string{"apt-get", "-q", "-s", "install"}, want...)...)
	if err != nil {
		return Set{}, fmt.Errorf("%s can't be installed in the guest from %s: %w", strings.Join(want, ", "), where, err)
	}
	set, err := parseSimulation(string(out))
	if err != nil || len(set.Packages) == 0 {
		return set, err
	}
	for _, p := range set.Packages {
		if p.Old != "" && p.Name == "libc6" {
			return Set{}, fmt.Errorf("%s would upgrade the guest's libc6 from %s to %s: upgrade the guest yourself first, or %s", strings.Join(want, ", "), p.Old, p.Version, hint)
		}
	}
	if local == nil {
		out, err := r.apt(ctx, root, append([]string{"apt-get", "-qq", "--print-uris", "-o", "Acquire::ForceHash=SHA256", "install"}, want...)...)
		if err != nil {
			return Set{}, fmt.Errorf("addresses of packages: %w", err)
		}
		if local, err = parseURIs(string(out)); err != nil {
			return Set{}, err
		}
	}
	return r.complete(ctx, root, set, local)
}

// complete adds to each package where it is and how large.
func (r Resolver) complete(ctx context.Context, root *root, set Set, from map[string]debFile) (Set, error) {
	for i, p := range set.Packages {
		f, ok := from[p.Name+"_"+p.Version]
		if !ok {
			return Set{}, fmt.Errorf("package %s %s: apt doesn't say where it is", p.Name, p.Version)
		}
		set.Packages[i].From, set.Packages[i].Size, set.Packages[i].SHA256 = f.from, f.size, f.sha256
		out, err := r.apt(ctx, root, "apt-cache", "show", p.Name+"="+p.Version)
		if err != nil {
			return Set{}, fmt.Errorf("package %s: %w", p.Name, err)
		}
		set.Unpacked += installedSize(string(out), f.size)
	}
	return set, nil
}

// installedSize reads the size that a package says it takes, in bytes; four
// times that of its file if it says none.
func installedSize(stanza string, size int64) int64 {
	for line := range strings.Lines(stanza) {
		if v, ok := strings.CutPrefix(line, "Installed-Size:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32); err == nil && kib > 0 {
				return kib << 10
			}
		}
	}
	return 4 * size
}

// simulated is a line of apt-get -s: "Inst NAME [OLD] (NEW ORIGIN [ARCH])".
var simulated = regexp.MustCompile(`^Inst ([^ :]+)(?::[a-z0-9]+)? (?:\[([^ \]]+)\] )?\(([^ )]+) `)

// parseSimulation reads what apt-get -s install prints.
func parseSimulation(out string) (Set, error) {
	var set Set
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "Inst":
			m := simulated.FindStringSubmatch(line)
			if m == nil {
				return Set{}, fmt.Errorf("apt-get: can't read %.200q", line)
			}
			set.Packages = append(set.Packages, Package{Name: m[1], Old: m[2], Version: m[3]})
		case "Remv", "Purg":
			return Set{}, fmt.Errorf("the packages would remove %.200q from the guest", rest)
		}
	}
	if len(set.Packages) > maxPackages {
		return Set{}, fmt.Errorf("%d packages would be installed or upgraded, more than %d: bring the guest up to date first", len(set.Packages), maxPackages)
	}
	return set, nil
}

// debFile is a package's file.
type debFile struct {
	from   string // URI or path
	size   int64
	sha256 string
}

// hashPattern is SHA-256 in hex.
var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseURIs reads what apt-get --print-uris prints: 'URI' FILE SIZE HASH. The
// files are NAME_VERSION_ARCH.deb, escaped as URIs are.
func parseURIs(out string) (map[string]debFile, error) {
	files := map[string]debFile{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		from := strings.Trim(f[0], "'")
		if err := noSecret(from); err != nil { // before any error that quotes the line
			return nil, err
		}
		if len(f) != 4 {
			return nil, fmt.Errorf("apt-get: can't read %.200q", line)
		}
		name, err := url.PathUnescape(f[1])
		if err != nil {
			return nil, fmt.Errorf("apt-get: file %.200q: %w", f[1], err)
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("apt-get: size of %.200q: %w", name, err)
		}
		hash, ok := strings.CutPrefix(f[3], "SHA256:")
		if !ok || !hashPattern.MatchString(hash) {
			return nil, fmt.Errorf("apt-get: %.200q has no SHA-256, so its source isn't trusted", name)
		}
		parts := strings.Split(strings.TrimSuffix(name, path.Ext(name)), "_")
		if len(parts) != 3 {
			return nil, fmt.Errorf("apt-get: file %.200q: want NAME_VERSION_ARCH.deb", name)
		}
		files[parts[0]+"_"+parts[1]] = debFile{from: from, size: size, sha256: hash}
	}
	return files, nil
}

// noSecret refuses an address with a password in it, as a line of sources.list
// may have it: the address gets into the plan, which is shown, and into argv.
// What apt finds in auth.conf stays out of addresses. The error has nothing of
// the password.
func noSecret(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("apt-get: can't read the address of a package: %s", hint)
	}
	if u.User != nil {
		return fmt.Errorf("this host's source of packages on %s has a user's name or password in its address, which would end up in the plan: "+
			"put it into a file in /etc/apt/auth.conf.d instead (apt_auth.conf(5)), or %s", u.Host, hint)
	}
	return nil
}

// Fetch gets the files of a set into a directory that exists and returns their
// paths in order; a package that is a file on this host stays where it is.
// Each is exactly what the plan says, by its hash; what an earlier Fetch left in
// the directory isn't fetched again. Downloads are made by apt's
// own program, by the way that this host reaches its mirrors.
func Fetch(ctx context.Context, tool Runner, dir string, set Set) (paths []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchLimit, fmt.Errorf("packages: not fetched within %v", fetchLimit))
	defer cancel()
	for i, p := range set.Packages {
		if !hashPattern.MatchString(p.SHA256) {
			return nil, fmt.Errorf("package %s of the plan: %q is not a SHA-256", p.Name, p.SHA256)
		}
		local := p.From
		if !filepath.IsAbs(p.From) {
			local = filepath.Join(dir, strconv.Itoa(i)+".deb")
			if hash, _, err := hashFile(ctx, local); err == nil && hash == p.SHA256 {
				paths = append(paths, local)
				continue
			}
			if err := download(ctx, tool, p, local); err != nil {
				return nil, err
			}
		}
		hash, _, err := hashFile(ctx, local)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p.Name, err)
		}
		if hash != p.SHA256 {
			return nil, fmt.Errorf("package %s: %s is not the file in the plan: plan again", p.Name, local)
		}
		paths = append(paths, local)
	}
	return paths, nil
}

// schemes of URIs that are fetched: none that reads a file of this host.
var schemes = []string{"http", "https"} //nolint:gochecknoglobals // a constant table

func download(ctx context.Context, tool Runner, p Package, to string) error {
	u, err := url.Parse(p.From)
	if err != nil || !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("package %s of the plan: %.200q: want a path or an address with http or https", p.Name, p.From)
	}
	_, err = tool.Run(ctx, "/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2",
		"-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30", "download-file", p.From, to, "SHA256:"+p.SHA256)
	if err != nil {
		return fmt.Errorf("package %s: %w: if the mirror now has a newer one, plan again; if a proxy in between changes it, reach the mirror without it; or %s", p.Name, err, hint)
	}
	return nil
}
