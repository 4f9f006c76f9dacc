package esxi

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// store is what a datastore is called in its two forms of path.
type store struct {
	name string // in "[name] dir/file"
	dir  string // "/vmfs/volumes/<uuid>", of absolute paths in descriptors
}

// dsPath is a datastore path in its two parts.
type dsPath struct {
	store string
	file  string // slash-separated, no leading slash, cleaned
}

// String returns the path as vSphere writes it.
func (p dsPath) String() string { return "[" + p.store + "] " + p.file }

// parsePath takes a datastore path apart. A datastore's name may hold "] ", so
// the longest known name that fits is the datastore.
func parsePath(s string, stores []store) (dsPath, error) {
	if !strings.HasPrefix(s, "[") {
		return dsPath{}, fmt.Errorf("%q is not a datastore path: want \"[datastore] directory/file\"", s)
	}
	name, file, ok := "", "", false
	for _, d := range stores { // longest first
		if file, ok = strings.CutPrefix(s, "["+d.name+"]"); ok {
			name = d.name
			break
		}
	}
	if !ok {
		if name, file, ok = strings.Cut(s[1:], "]"); !ok || name == "" {
			return dsPath{}, fmt.Errorf("%q is not a datastore path: want \"[datastore] directory/file\"", s)
		}
	}
	file, err := cleanFile(strings.TrimPrefix(file, " "))
	if err != nil {
		return dsPath{}, fmt.Errorf("%q: %w", s, err)
	}
	return dsPath{name, file}, nil
}

// cleanFile checks the part of a path below the datastore.
func cleanFile(file string) (string, error) {
	if strings.ContainsRune(file, 0) {
		return "", fmt.Errorf("%w: zero byte in a file name", ErrOutside)
	}
	if slices.Contains(strings.Split(file, "/"), "..") {
		return "", fmt.Errorf("%w: %q", ErrOutside, "..")
	}
	clean := strings.TrimPrefix(path.Clean("/"+file), "/")
	if clean == "" {
		return "", fmt.Errorf("%w: no file named", ErrOutside)
	}
	return clean, nil
}

// escape encodes all but RFC 3986's unreserved characters: hostd takes "+" for
// a space and refuses raw reserved ones.
func escape(s string, keep string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; strings.IndexByte(plain, c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// url returns the address under which the host serves p.
func (p dsPath) url(host string) string {
	return "https://" + host + "/folder/" + escape(p.file, "/") + "?dcPath=ha-datacenter&dsName=" + escape(p.store, "")
}

// unescapeName undoes what the API does to the three characters that it does
// not allow in the name of an object.
func unescapeName(s string) string {
	return strings.NewReplacer("%25", "%", "%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`).Replace(s)
}

// datastores returns what the host mounts, longest name first.
func (c *Client) datastores(ctx context.Context) ([]store, error) {
	c.mu.Lock()
	known := c.stores
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found := []store{}
	err := c.retrieve(ctx, c.under(map[string][]string{"Datastore": {"summary"}}), func(o object) {
		found = append(found, storeOf(datastoreOf(o)))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: list datastores: %w", c.cfg.URL.Host, err)
	}
	return c.remember(found), nil
}

// remember keeps the list of datastores for later paths.
func (c *Client) remember(found []store) []store {
	slices.SortFunc(found, func(a, b store) int {
		return cmp.Or(len(b.name)-len(a.name), strings.Compare(a.name, b.name))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stores = found
	return found
}

func (c *Client) parse(ctx context.Context, s string) (dsPath, error) {
	stores, err := c.datastores(ctx)
	if err != nil {
		return dsPath{}, err
	}
	return parsePath(s, stores)
}

// absolute turns /vmfs/volumes/<uuid or name>/dir/file, as descriptors and
// .vmx files of disks elsewhere have it, into a datastore path.
func absolute(name string, stores []store) (dsPath, error) {
	for _, d := range stores {
		for _, dir := range []string{d.dir, "/vmfs/volumes/" + d.name} {
			rest, ok := strings.CutPrefix(name, dir+"/")
			if !ok || dir == "" {
				continue
			}
			file, err := cleanFile(rest)
			return dsPath{d.name, file}, err
		}
	}
	return dsPath{}, fmt.Errorf("%w: %q is not on a datastore that this host mounts", ErrOutside, name)
}

// ShellPath is where a datastore path's file is on the host's own file system.
func (c *Client) ShellPath(ctx context.Context, path string) (string, error) {
	p, err := c.parse(ctx, path)
	if err != nil {
		return "", err
	}
	stores, err := c.datastores(ctx)
	if err != nil {
		return "", err
	}
	return p.shell(stores), nil
}

// shell is the path below /vmfs/volumes: by the datastore's own directory where that is
// known, as its name may be any.
func (p dsPath) shell(stores []store) string {
	dir := "/vmfs/volumes/" + p.store
	for _, s := range stores {
		if s.name == p.store && strings.HasPrefix(s.dir, "/vmfs/volumes/") {
			dir = s.dir
		}
	}
	return strings.TrimSuffix(dir, "/") + "/" + p.file
}
