package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// root is a private directory in which apt works, with the guest's packages
// as the installed ones, or with none where it only reads an index. How the host reaches its mirrors (proxies, and the
// passwords for them) is taken over from its configuration; nothing else is,
// and no hook of it runs.
type root struct {
	dir  string
	conf string // apt.conf

	from    *root    // whose index it uses
	acquire []string // lines about the way to mirrors
}

// newRoot makes one, with the index of another, or, if from is nil, one of its
// own.
func newRoot(temp string, from *root, status []byte) (r *root, err error) {
	dir, err := os.MkdirTemp(temp, "esxodus-apt-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	r = &root{dir: dir, conf: filepath.Join(dir, "apt.conf"), from: from}
	if from == nil {
		r.from = r
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove())
		}
	}()
	if strings.ContainsAny(dir, "\"\\\n") {
		return nil, fmt.Errorf("%q: apt's configuration can't hold the name of this directory", dir)
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial", "none", "repo"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return r, os.WriteFile(filepath.Join(dir, "status"), status, 0o600)
}

func (r *root) remove() error { return os.RemoveAll(r.dir) }

// configure writes apt.conf; acquire are lines about the way to mirrors.
func (r *root) configure(g Guest, acquire []string) error {
	r.acquire = acquire
	var b strings.Builder
	set := func(name, value string) { fmt.Fprintf(&b, "%s \"%s\";\n", name, value) }
	set("Dir::State", filepath.Join(r.dir, "state"))
	set("Dir::State::lists", filepath.Join(r.from.dir, "state/lists"))
	set("Dir::State::status", filepath.Join(r.dir, "status"))
	set("Dir::Cache", filepath.Join(r.dir, "cache"))
	set("Dir::Etc::sourcelist", filepath.Join(r.from.dir, "sources.list"))
	for _, name := range []string{"sourceparts", "parts", "preferencesparts"} {
		set("Dir::Etc::"+name, filepath.Join(r.dir, "none"))
	}
	for _, name := range []string{"main", "preferences"} {
		set("Dir::Etc::"+name, filepath.Join(r.dir, "none/none"))
	}
	set("APT::Architecture", g.Arch)
	for _, arch := range architectures(g) {
		set("APT::Architectures::", arch)
	}
	set("APT::Install-Recommends", "false")
	set("APT::Get::Remove", "false")
	set("APT::Sandbox::User", "root") // the directory is private
	set("Acquire::Languages", "none")
	set("Acquire::Retries", "1") // somebody waits for the plan
	set("Acquire::http::Timeout", "15")
	set("Acquire::https::Timeout", "15")
	for _, line := range acquire {
		b.WriteString(line + "\n")
	}
	return os.WriteFile(r.conf, []byte(b.String()), 0o600)
}

// architectures are those of the guest's packages, its own first: one that
// apt wasn't told of would look broken to it.
func architectures(g Guest) []string {
	archs := []string{g.Arch}
	for line := range bytes.Lines(g.Status) {
		if v, ok := bytes.CutPrefix(line, []byte("Architecture:")); ok {
			arch := string(bytes.TrimSpace(v))
			if arch != "all" && wordPattern.MatchString(arch) && !slices.Contains(archs, arch) && len(archs) < 5 {
				archs = append(archs, arch)
			}
		}
	}
	return archs
}

// sources points apt at the host's own mirrors, for the guest's release.
func (r *root) sources(ctx context.Context, tool Runner, g Guest) error {
	out, err := tool.Run(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)\t$(COMPONENT)\t$(CODENAME)\t$(ORIGIN)\t$(LABEL)", "Created-By: Packages")
	if err != nil {
		return fmt.Errorf("this host's sources of packages: %w: %s", err, hint)
	}
	list := sourceLines(string(out), g)
	if len(list) == 0 {
		return fmt.Errorf("%w, %s (apt-get update may not have been run here): %s", ErrNoSource, g.ID, hint)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "sources.list"), []byte(strings.Join(list, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	dump, err := tool.Run(ctx, "apt-config", "dump", "--format", `%F "%v";%n`)
	if err != nil {
		return fmt.Errorf("this host's apt: %w", err)
	}
	return r.configure(g, acquireLines(string(dump)))
}

// acquireLines picks from the host's configuration how mirrors are reached.
func acquireLines(dump string) []string {
	var lines []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		for _, p := range []string{"Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::ForceIPv", "Acquire::Max-Default-Age"} {
			if strings.HasPrefix(line, p) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// sourceLines makes lines of a sources.list for the guest's release out of
// what the host has of the same distribution, whose fields are tabbed:
// repository, component, codename, origin, label.
func sourceLines(targets string, g Guest) []string {
	origin := map[string]string{"debian": "Debian", "ubuntu": "Ubuntu"}[g.ID]
	signed := "/usr/share/keyrings/" + g.ID + "-archive-keyring.gpg"
	options := "arch=" + g.Arch
	if _, err := os.Stat(signed); err == nil {
		options += " signed-by=" + signed
	}
	var lines []string
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 5 || f[3] != origin || f[4] != origin && f[4] != origin+"-Security" {
			continue
		}
		// bookworm, bookworm-security; buster/updates
		end := strings.IndexAny(f[2], "-/")
		if end < 0 {
			end = len(f[2])
		}
		pocket := f[2][end:]
		if pocket == "/updates" {
			pocket = "-security"
		}
		if !slices.Contains([]string{"", "-updates", "-security"}, pocket) {
			continue
		}
		if pocket == "-security" && slices.Contains([]string{"jessie", "stretch", "buster"}, g.Codename) {
			pocket = "/updates"
		}
		l := fmt.Sprintf("deb [%s] %s %s%s %s", options, f[0], g.Codename, pocket, f[1])
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return lines
}

// maxFiles bounds how many packages of the admin's directory are looked at.
const maxFiles = 5000

// index makes a repository of the packages in a directory, by links, and
// returns their files by NAME_VERSION.
func (r *root) index(ctx context.Context, tool Runner, dir string, g Guest) (map[string]debFile, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of packages: %w", err)
	}
	var index bytes.Buffer
	files := map[string]debFile{}
	for i, e := range entries {
		if !strings.HasSuffix(e.Name(), ".deb") {
			continue
		}
		if len(files) >= maxFiles {
			return nil, fmt.Errorf("directory of packages %s: more than %d packages", dir, maxFiles)
		}
		if err := r.add(ctx, tool, filepath.Join(dir, e.Name()), i, g.Arch, files, &index); err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("directory of packages %s: no *.deb for %s in it", dir, g.Arch)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "repo/Packages"), index.Bytes(), 0o600); err != nil {
		return nil, err
	}
	// The admin vouches for what is in the directory.
	list := "deb [trusted=yes arch=" + g.Arch + "] copy:" + strings.NewReplacer("%", "%25", " ", "%20", "[", "%5B", "]", "%5D").Replace(r.dir) + "/repo ./\n"
	if err := os.WriteFile(filepath.Join(r.dir, "sources.list"), []byte(list), 0o600); err != nil {
		return nil, err
	}
	return files, r.configure(g, nil)
}

// add puts one package into the index, unless it is for another architecture.
func (r *root) add(ctx context.Context, tool Runner, file string, i int, arch string, files map[string]debFile, index *bytes.Buffer) error {
	out, err := tool.Run(ctx, "dpkg-deb", "-f", file)
	if err != nil {
		return fmt.Errorf("package %s: %w", file, err)
	}
	control := strings.TrimSpace(string(out))
	field := map[string]string{}
	for line := range strings.Lines(control) {
		if line = strings.TrimRight(line, "\n"); line == "" {
			return fmt.Errorf("package %s: an empty line in its control file", file)
		}
		if name, value, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
			field[name] = strings.TrimSpace(value)
		}
	}
	if field["Architecture"] != arch && field["Architecture"] != "all" {
		return nil
	}
	hash, size, err := hashFile(ctx, file)
	if err != nil {
		return fmt.Errorf("package %s: %w", file, err)
	}
	link := strconv.Itoa(i) + ".deb"
	if err := os.Symlink(file, filepath.Join(r.dir, "repo", link)); err != nil {
		return err
	}
	fmt.Fprintf(index, "%s\nFilename: ./%s\nSize: %d\nSHA256: %s\n\n", control, link, size, hash)
	files[field["Package"]+"_"+field["Version"]] = debFile{from: file, size: size, sha256: hash}
	return nil
}

// hashFile returns a regular file's SHA-256 in hex, and its size.
func hashFile(ctx context.Context, name string) (hash string, size int64, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("%s: not a regular file", name)
	}
	if ctx.Err() != nil {
		return "", 0, context.Cause(ctx)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}
