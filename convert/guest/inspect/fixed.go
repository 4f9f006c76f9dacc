package inspect

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// attributes are what the readers of file systems also know about a file.
type attributes interface {
	Immutable() bool
	AppendOnly() bool
}

// changeable lists what a conversion may write to, make or remove, whatever it
// comes to: files, directories that it makes and removes files in, directories
// of which all files may change, and such with all that is below.
func changeable() (files, dirs, lists, trees []string) {
	files = []string{"boot/map", "usr/sbin/lilo", "usr/share/man/man8/lilo.8.gz", "var/log/dpkg.log", "var/log/alternatives.log"}
	dirs = []string{
		"bin", "etc/lvm/archive", "lib", "lib/systemd/system", "lib/systemd/system-generators", "lib/udev/rules.d", "sbin", "usr/bin",
		"usr/lib/systemd/system", "usr/lib/systemd/system-generators", "usr/lib/tmpfiles.d", "usr/lib/udev/rules.d", "usr/share/doc",
		"usr/share/initramfs-tools/hooks", "usr/share/lintian/overrides", "usr/share/man/man5", "usr/share/man/man7", "var/lib/dpkg/info",
	}
	lists = []string{
		"boot", "boot/loader/entries", "etc", "etc/apt/preferences.d", "etc/default", "etc/default/grub.d", "etc/grub.d", "etc/init.d",
		"etc/initramfs/post-update.d", "etc/kernel/install.d", "etc/kernel/postinst.d", "etc/kernel/postrm.d", "etc/lvm", "etc/lvm/backup",
		"etc/lvm/devices", "etc/systemd/network", "etc/systemd/system", "usr/lib/sysimage/rpm", "var/cache/debconf", "var/cache/ldconfig",
		"var/lib/dpkg", "var/lib/dpkg/triggers", "var/lib/dpkg/updates", "var/lib/grub", "var/lib/rpm", "var/lib/systemd", "var/lib/ucf",
	}
	return files, dirs, lists, []string{"boot/grub"}
}

// wanted are files to look at, by directory; "" stands for all that are in one.
type wanted map[string]map[string]bool

// add adds a directory, those above it, and files that are in it.
func (w wanted) add(dir string, files ...string) {
	for at := dir; w[at] == nil; at = path.Dir(at) {
		w[at] = map[string]bool{}
	}
	for _, f := range files {
		w[dir][f] = true
	}
}

// fixed finds, among what a conversion may change, what chattr(1) has made
// immutable or append-only.
func (l *look) fixed(c *guest.Config) []guest.Fixed {
	w := wanted{}
	file := func(name string) {
		if name = strings.Trim(path.Clean(name), "/"); fs.ValidPath(name) {
			w.add(path.Dir(name), path.Base(name))
		}
	}
	files, dirs, lists, trees := changeable()
	for _, f := range c.Files {
		files = append(files, f.Path)
	}
	for pkg := range c.Owned {
		files = append(files, c.FilesOf(pkg)...)
	}
	for _, name := range c.Tools.Goes {
		if dir, all := strings.CutSuffix(name, "/"); all {
			trees = append(trees, dir[1:])
		}
		files = append(files, name)
	}
	for _, name := range SystemDirs() {
		dirs = append(dirs, name[1:])
	}
	dirs = slices.Concat(dirs, l.tree.glob("etc", "rc?.d"), l.tree.glob("etc/systemd/system", "*.wants"), l.tree.glob("usr/lib", "*-linux-gnu"))
	for _, name := range files {
		file(name)
	}
	for _, dir := range dirs {
		w.add(dir)
	}
	for _, dir := range slices.Concat(lists, l.below(trees)) {
		w.add(dir, "")
	}
	var out []guest.Fixed
	for _, dir := range slices.Sorted(maps.Keys(w)) {
		out = append(out, l.fixedIn(dir, w[dir])...)
	}
	return out
}

// maxBelow bounds how many directories are gone through for what is in them.
const maxBelow = 1000

// below lists directories with all those below them.
func (l *look) below(dirs []string) []string {
	for i := 0; i < len(dirs); i++ {
		for _, e := range l.tree.entries(dirs[i]) {
			if !e.IsDir() {
				continue
			}
			if len(dirs) >= maxBelow {
				l.unread("there are more than %d directories in /%s and similar places: what is immutable (chattr +i) in the rest isn't known", maxBelow, dirs[i])
				return dirs
			}
			dirs = append(dirs, path.Join(dirs[i], e.Name()))
		}
	}
	return dirs
}

// fixedIn looks at a directory and at some files in it. Links have no such
// attributes.
func (l *look) fixedIn(dir string, files map[string]bool) []guest.Fixed {
	real, info, err := l.tree.resolve(dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	out := fixed(nil, dir, real, info)
	if len(files) == 0 {
		return out
	}
	for _, e := range l.tree.entries(real) {
		if !e.Type().IsRegular() || !files[""] && !files[e.Name()] {
			continue
		}
		if info, err := e.Info(); err == nil {
			out = fixed(out, path.Join(dir, e.Name()), path.Join(real, e.Name()), info)
		}
	}
	return out
}

// fixed appends a file that can't be changed. Logs are only appended to.
func fixed(to []guest.Fixed, name, real string, info fs.FileInfo) []guest.Fixed {
	a, ok := info.(attributes)
	logs := strings.HasPrefix("/"+real, "/var/log")
	if !ok || !a.Immutable() && (!a.AppendOnly() || logs) {
		return to
	}
	return append(to, guest.Fixed{Path: path.Join("/", name), Real: path.Join("/", real), Dir: info.IsDir(), Append: !a.Immutable()})
}
