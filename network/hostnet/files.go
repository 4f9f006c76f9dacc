package hostnet

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/network"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of a file of networkd's.
const maxFile = 1 << 20

// dirs are where networkd reads its files from, without the host's root.
func dirs() []string {
	return []string{"etc", "run", "usr/local/lib", "usr/lib", "lib"}
}

// files reads what networkd reads: its files, their drop-ins and networkd.conf.
func (m Machine) files() ([]network.File, error) {
	var out []network.File
	for _, dir := range dirs() {
		if target, err := os.Readlink(m.path(dir)); err == nil && dir == "lib" && strings.HasSuffix(target, "usr/lib") {
			continue
		}
		for _, pattern := range []string{"network/*.network", "network/*.netdev", "network/*.link", "network/*.d/*.conf", "networkd.conf", "networkd.conf.d/*.conf"} {
			paths, err := filepath.Glob(m.path(dir, "systemd", pattern))
			if err != nil {
				return nil, err
			}
			hidden := func(path string) bool { return strings.HasPrefix(filepath.Base(path), ".") } // networkd reads none
			for _, path := range slices.DeleteFunc(paths, hidden) {
				f, err := m.file(path)
				if errors.Is(err, fs.ErrNotExist) {
					continue // a link that leads nowhere, or gone meanwhile
				}
				if err != nil {
					return nil, fmt.Errorf("networkd's files: %w", err)
				}
				out = append(out, f)
			}
		}
	}
	rules, err := m.rulesOfOurs()
	out = append(out, rules...)
	slices.SortFunc(out, func(a, b network.File) int { return cmp.Compare(a.Path, b.Path) })
	return out, err
}

// rulesOfOurs are udev's rules that esxodus wrote.
func (m Machine) rulesOfOurs() ([]network.File, error) {
	paths, err := filepath.Glob(m.path("etc/udev/rules.d/*-esxodus-*.rules"))
	if err != nil {
		return nil, err
	}
	var out []network.File
	for _, p := range paths {
		f, err := m.file(p)
		if err != nil {
			return nil, fmt.Errorf("udev's rules: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

func (m Machine) file(path string) (network.File, error) {
	f := network.File{Path: "/" + strings.TrimPrefix(strings.TrimPrefix(path, m.path()), "/")}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return f, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	f.Changed = time.Unix(st.Ctim.Unix())
	if st.Mode&unix.S_IFMT != unix.S_IFREG { // masked by a link to /dev/null
		return f, nil
	}
	if st.Size > maxFile {
		return f, fmt.Errorf("%s: %d bytes: too large", path, st.Size)
	}
	b, err := os.ReadFile(path)
	f.Text = secrets().ReplaceAllString(string(b), "$1***")
	return f, err
}

// secrets are the lines of a .netdev file that nobody must see.
func secrets() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(\s*(?:PrivateKey|PresharedKey|Key)\s*=).*$`)
}

// version finds systemd's, where D-Bus doesn't say it, by the name of its library.
func (m Machine) version() int {
	for _, pattern := range []string{"usr/lib/systemd", "usr/lib/*/systemd", "lib/systemd"} {
		libs, _ := filepath.Glob(m.path(pattern, "libsystemd-shared-*.so")) // the pattern is good
		for _, lib := range libs {
			name := strings.TrimPrefix(filepath.Base(lib), "libsystemd-shared-")
			if v := leadingNumber(name); v > 0 {
				return v
			}
		}
	}
	return 0
}

// leadingNumber is the number that a text begins with, 0 if it doesn't.
func leadingNumber(s string) int {
	n, _ := strconv.Atoi(s[:len(s)-len(strings.TrimLeft(s, "0123456789"))])
	return n
}
