package guest

import (
	"fmt"
	"path"
	"strings"
)

// Resolve follows all links of a path, absolute ones too, without leaving the
// guest's tree. link returns the target of what is a symbolic link, "" of
// anything else. Names are as in io/fs.
func Resolve(name string, link func(name string) (target string, err error)) (string, error) {
	todo := strings.Split(path.Clean("/" + name)[1:], "/")
	at, links := ".", 0
	for len(todo) > 0 {
		elem := todo[0]
		todo = todo[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, elem)
		target, err := link(next)
		if err != nil {
			return "", err
		}
		if target == "" {
			at = next
			continue
		}
		if links++; links > maxLinks || strings.Count(target, "/")+len(todo) > 1000 {
			return "", fmt.Errorf("/%s: more than %d symbolic links", strings.TrimPrefix(name, "/"), maxLinks)
		}
		if path.IsAbs(target) {
			at = "."
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at, nil
}

// maxLinks is how many symbolic links a name may lead through, as with Linux.
const maxLinks = 40
