package inspect

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// toolsRecord is the installer's record; see [parseTools].
const toolsRecord = "etc/vmware-tools/locations"

// vmwares matches paths that are VMware's by their names. The installer also
// records files that it only replaced, X's configuration among them.
var vmwares = regexp.MustCompile(`(?i)vmware|vmtools|vmhgfs|vmblock|vmguestlib|/vm-support`)

// tools finds which of VMware's own tools can go. What the installer didn't
// record, or what was edited since, can't.
func (l *look) tools() guest.Tools {
	b, err := l.tree.readFile(toolsRecord, maxFile)
	if err != nil {
		return guest.Tools{}
	}
	t, goes := conf.ParseTools(b), map[string]bool{}
	var out guest.Tools
	for name, when := range t.Files {
		switch real, info := l.recorded(name); {
		case info == nil || info.IsDir() || strings.HasPrefix(real, "/lib/modules/") || strings.HasPrefix(real, "/usr/lib/modules/"):
		case !vmwares.MatchString(real) || info.Mode().IsRegular() && when != 0 && info.ModTime().Unix() != when:
			out.Stays = append(out.Stays, conf.Clean(real))
		default:
			goes[real] = true
		}
	}
	for _, name := range l.toolsLinks() {
		goes["/"+name] = true
	}
	whole := l.emptied(t.Dirs, goes)
	for name := range goes {
		if !goes[path.Dir(name)] {
			out.Goes = append(out.Goes, name+whole[name])
		}
	}
	slices.Sort(out.Goes)
	slices.Sort(out.Stays)
	return out
}

// recorded returns where a path of the record really is, and what is there: nil
// for nothing. A link is itself.
func (l *look) recorded(name string) (string, fs.FileInfo) {
	dir, _, err := l.tree.resolve(path.Dir(name)[1:])
	if err != nil {
		return "", nil
	}
	real := path.Join(dir, path.Base(name))
	info, err := l.tree.lstat(real)
	if err != nil {
		return "", nil
	}
	return "/" + real, info
}

// emptied adds to what goes those of the directories that nothing would be left
// in, and returns "/" for each of them.
func (l *look) emptied(dirs, goes map[string]bool) map[string]string {
	var made []string
	whole := map[string]string{}
	for name := range dirs {
		if real, info := l.recorded(name); info != nil && info.IsDir() && vmwares.MatchString(real) {
			made = append(made, real)
		}
	}
	slices.SortFunc(made, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for _, dir := range made {
		names := l.tree.list(dir[1:])
		left := func(n string) bool { return !goes[path.Join(dir, n)] }
		if names != nil && !slices.ContainsFunc(names, left) {
			goes[dir], whole[dir] = true, "/"
		}
	}
	return whole
}

// toolsLinks lists what starts the tools and isn't in the record, as the
// system's own programs made it.
func (l *look) toolsLinks() []string {
	out := l.tree.glob("etc/systemd/system", "vmware-tools*.service")
	for _, dir := range l.tree.glob("etc/systemd/system", "*.wants") {
		out = append(out, l.tree.glob(dir, "vmware-tools*.service")...)
	}
	for _, parent := range []string{"etc", "etc/rc.d"} {
		for _, dir := range l.tree.glob(parent, "rc?.d") {
			out = append(out, l.tree.glob(dir, "[SK][0-9][0-9]vmware-tools*")...)
		}
	}
	return out
}
