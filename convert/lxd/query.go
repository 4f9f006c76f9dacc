package lxd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"esxodus/convert/host"
	"esxodus/inventory/fit"
)

// snap is where the snap's tool is, often in nobody's PATH.
const snap = "/snap/bin/lxc"

// program is LXD's tool.
func program() string {
	if !host.Has("lxc") && host.Has(snap) {
		return snap
	}
	return "lxc"
}

func (c Client) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answer, errNoAnswer)
	defer cancel()
	return c.Tool.Run(ctx, append([]string{program()}, args...)...)
}

// ask reads what is at a path of LXD's REST API.
func (c Client) ask(ctx context.Context, to any, path, project string) error {
	out, err := c.run(ctx, "query", address(path, project))
	if err != nil {
		return fmt.Errorf("asking LXD for %s: %w", path, err)
	}
	if err := json.Unmarshal(out, to); err != nil {
		return fmt.Errorf("LXD's answer of %s: %w", path, err)
	}
	return nil
}

// change has LXD change what is at a path, and waits until it has.
func (c Client) change(ctx context.Context, verb, path, project string, body []byte) error {
	args := []string{"query", "--wait", "-X", verb}
	if body != nil {
		args = append(args, "-d", string(body))
	}
	if _, err := c.run(ctx, append(args, address(path, project))...); err != nil {
		return fmt.Errorf("LXD, %s of %s: %w", verb, path, err)
	}
	return nil
}

// address is a path of this machine's LXD, whichever is the tool's default. The path
// may have a query.
func address(path, project string) string {
	sep := "?"
	if strings.Contains(path, sep) {
		sep = "&"
	}
	return "local:" + path + sep + "project=" + url.QueryEscape(project)
}

// user is who uses a network.
type user struct{ text, kind, name, project string }

// parseUser reads who that is: "/1.0/instances/web?project=shop". false if it is no such path.
func parseUser(text string) (user, bool) {
	out := user{text: text, project: standard}
	u, err := url.Parse(text)
	if err != nil {
		return out, false
	}
	kind, name, ok := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/1.0/"), "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return out, false
	}
	if name, err = url.PathUnescape(name); err != nil {
		return out, false
	}
	out.kind, out.name = kind, name
	if p := u.Query().Get("project"); p != "" {
		out.project = p
	}
	return out, true
}

// String names the user as a person knows it.
func (u user) String() string {
	what := map[string]string{"instances": "the instance", "containers": "the instance", "virtual-machines": "the instance", "networks": "the network"}[u.kind]
	if what == "" {
		return fit.Paste(u.text)
	}
	text := what + " " + fit.Paste(u.name)
	if u.project != standard {
		text += " (project " + fit.Paste(u.project) + ")"
	}
	return text
}
