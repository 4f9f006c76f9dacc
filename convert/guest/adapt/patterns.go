package adapt

import (
	"path"
	"slices"
	"strings"
)

// crowd is how many files of a package in one directory, or of one stem in it,
// are shown as one pattern.
const crowd = 3

// shorten makes patterns of a package's list of files. Directories that are
// its own, by their names, are taken whole; files that are of it by the start
// of their names are taken together; so are translations.
func shorten(pkg string, files []string) []string {
	stem, _, _ := strings.Cut(pkg, "-")
	stem = strings.TrimRight(stem, "0123456789")
	dirs := map[string]bool{} // that are in the list because something is in them
	count := map[string]int{}
	for _, f := range files {
		dirs[path.Dir(f)] = true
		count[path.Dir(f)]++
		if p := stemPattern(f, stem); p != "" {
			count[p]++
		}
	}
	var out []string
	for _, f := range files {
		dir := path.Dir(f)
		switch {
		case dirs[f] && strings.Contains(path.Base(f), stem):
			out = append(out, literal(f)) // its own: it goes when it is empty
		case dirs[f] || !path.IsAbs(f) || path.Clean(f) != f:
		case strings.HasPrefix(f, "/usr/share/locale/") && strings.Count(f, "/") == 6:
			out = append(out, "/usr/share/locale/*/LC_MESSAGES/"+literal(path.Base(f)))
		case count[dir] > crowd && strings.Contains(dir, "/"+stem):
			out = append(out, literal(dir)+"/")
		case count[stemPattern(f, stem)] > crowd:
			out = append(out, stemPattern(f, stem))
		default:
			out = append(out, literal(f))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// above lists the directories that a file may be the first in, and that are
// made for it then.
func above(file string) []string {
	var dirs []string
	for dir := path.Dir(file); strings.Count(dir, "/") > 1; dir = path.Dir(dir) {
		if path.Dir(dir) != "/usr" {
			dirs = append(dirs, literal(dir))
		}
	}
	return dirs
}

// stemPattern is the pattern of a file and those beside it that begin with the
// same stem, "" for one that doesn't.
func stemPattern(file, stem string) string {
	if stem == "" || !strings.HasPrefix(path.Base(file), stem+"-") {
		return ""
	}
	return literal(path.Dir(file)) + "/" + literal(stem) + "-*"
}

// literal is a pattern that matches only the path itself.
func literal(p string) string {
	if !strings.ContainsAny(p, `\*?[`) { // nearly all, of many
		return p
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}
