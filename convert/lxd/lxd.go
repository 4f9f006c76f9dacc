// Package lxd removes bridges of the LXD of this machine, and brings them back.
//
// It asks by LXD's own tool, lxc, of Debian's package or the snap. That one's
// configuration may name another machine or project as the default: both are always
// given. Words are LXD's: an instance is a container or a virtual machine, a profile
// has devices for instances, and a project has profiles and instances. Bridges are in
// the project default, whichever projects use them.
package lxd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"esxodus/convert/host"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// Client is who asks LXD.
type Client struct {
	Tool host.Runner
	// There reports whether this host has a link: a removal that fails midway leaves
	// LXD with the record of a bridge that isn't there.
	There func(link string) bool
}

const (
	// answer is how long LXD may take, which starts when it is first asked.
	answer = 90 * time.Second
	// maxConfig bounds what is given to lxc as an argument, in bytes; Linux's limit is 128 KiB.
	maxConfig = 96 << 10
	// standard is the project that LXD begins with.
	standard = "default"
)

var errNoAnswer = errors.New("LXD does not answer: is its daemon stuck? (systemctl status lxd, or snap.lxd.daemon)")

// record is what LXD says of a network (its REST API, "/1.0/networks/{name}").
type record struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
	Managed     *bool             `json:"managed,omitempty"`
	UsedBy      []string          `json:"used_by,omitempty"`
}

// Virtual finds a bridge that LXD manages, and the profiles that have it.
func (c Client) Virtual(ctx context.Context, name string) (out network.Virtual, found bool, err error) {
	r, found, err := c.record(ctx, name)
	if err != nil || !found {
		return out, false, err
	}
	if err := c.fits(ctx, &r); err != nil {
		return out, false, err
	}
	devices, err := c.devices(ctx, name)
	if err != nil {
		return out, false, err
	}
	return network.Virtual{
		Name: name, Bridge: name, Active: true, Persistent: true, AutoStart: true,
		LXD: &network.LXD{Description: r.Description, Config: r.Config, Devices: devices},
	}, true, nil
}

// record asks for a network of that name. The list comes first: by it, and not by
// some error, it is known that there is none.
func (c Client) record(ctx context.Context, name string) (r record, found bool, err error) {
	var all []string
	if err := c.ask(ctx, &all, "/1.0/networks", standard); err != nil {
		return r, false, err
	}
	there := slices.ContainsFunc(all, func(of string) bool {
		u, ok := parseUser(of)
		return ok && u.kind == "networks" && u.name == name
	})
	if !there {
		return r, false, nil
	}
	if err := c.ask(ctx, &r, "/1.0/networks/"+url.PathEscape(name), standard); err != nil {
		return r, false, err
	}
	if r.Name != name || r.Managed == nil {
		return r, false, fmt.Errorf("LXD's answer of its network %s is of %q, or doesn't say who manages that", name, r.Name)
	}
	if r.Config = kept(r.Config); r.Config == nil {
		r.Config = map[string]string{}
	}
	return r, true, nil
}

// fits refuses what can't be removed, or not be brought back.
func (c Client) fits(ctx context.Context, r *record) error {
	if !*r.Managed {
		return fmt.Errorf("LXD doesn't manage %s, it only sees it: whoever made it must remove it", r.Name)
	}
	if r.Type != "bridge" {
		return fmt.Errorf("LXD's network %s is no bridge but of the type %q: remove it with lxc network delete", r.Name, r.Type)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Config)) {
		if strings.Contains(key, "password") {
			return fmt.Errorf("LXD's network %s has a secret (%s), which no journal is to keep: remove it with lxc network delete, or that key first", r.Name, key)
		}
	}
	if _, err := creation(r.Name, &network.LXD{Description: r.Description, Config: r.Config}); err != nil {
		return err
	}
	var server struct {
		Environment struct {
			Clustered bool `json:"server_clustered"`
		} `json:"environment"`
	}
	if err := c.ask(ctx, &server, "/1.0", standard); err != nil {
		return err
	}
	if server.Environment.Clustered {
		return fmt.Errorf("this host's LXD is one of a cluster, and its network %s is all members': remove it with lxc network delete", r.Name)
	}
	return nil
}

// devices are those of all projects' profiles that have a bridge, in a fixed order. Who
// uses it, LXD says too, but 5.0 gives the names there as no other request takes them.
func (c Client) devices(ctx context.Context, bridge string) ([]network.LXDDevice, error) {
	var projects []struct {
		Name   string            `json:"name"`
		Config map[string]string `json:"config"`
	}
	if err := c.ask(ctx, &projects, "/1.0/projects?recursion=1", standard); err != nil {
		return nil, err
	}
	out := []network.LXDDevice{}
	for _, p := range projects {
		if p.Name != standard && p.Config["features.profiles"] != "true" {
			continue // it has those of the project default
		}
		var profiles []struct {
			Name    string                       `json:"name"`
			Devices map[string]map[string]string `json:"devices"`
		}
		if err := c.ask(ctx, &profiles, "/1.0/profiles?recursion=1", p.Name); err != nil {
			return nil, err
		}
		own := p.Name != standard && p.Config["features.networks"] == "true"
		for _, profile := range profiles {
			for name, keys := range profile.Devices {
				if attached(keys, bridge, own) {
					out = append(out, network.LXDDevice{Project: p.Name, Profile: profile.Name, Name: name, Keys: keys})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b network.LXDDevice) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// attached reports whether a device is on a bridge, as LXD counts that. In a project with
// networks of its own, network names one of those.
func attached(keys map[string]string, bridge string, own bool) bool {
	return keys["type"] == "nic" && (keys["network"] == bridge && !own || keys["parent"] == bridge)
}

// profile reads the devices of one.
func (c Client) profile(ctx context.Context, project, name string) (map[string]map[string]string, error) {
	var p struct {
		Devices map[string]map[string]string `json:"devices"`
	}
	err := c.ask(ctx, &p, "/1.0/profiles/"+url.PathEscape(name), project)
	return p.Devices, err
}

// Users names what needs a bridge, running or not: instances, and whatever else LXD
// says but the profiles.
func (c Client) Users(ctx context.Context, name string) ([]string, error) {
	r, found, err := c.record(ctx, name)
	if err != nil || !found {
		return nil, err
	}
	var out []string
	for _, of := range r.UsedBy {
		if u, ok := parseUser(of); !ok || u.kind != "profiles" {
			out = append(out, u.String())
		}
	}
	forwards, err := c.forwards(ctx, name)
	slices.Sort(out)
	return append(slices.Compact(out), forwards...), err
}

// forwards are the addresses that LXD forwards into a network, none where it is too
// old to do that.
func (c Client) forwards(ctx context.Context, name string) ([]string, error) {
	var server struct {
		Extensions []string `json:"api_extensions"`
	}
	if err := c.ask(ctx, &server, "/1.0", standard); err != nil || !slices.Contains(server.Extensions, "network_forward") {
		return nil, err
	}
	var all []string
	if err := c.ask(ctx, &all, "/1.0/networks/"+url.PathEscape(name)+"/forwards", standard); err != nil {
		return nil, err
	}
	var out []string
	for _, f := range all {
		_, address, _ := strings.Cut(f, "/forwards/")
		out = append(out, "the forward of "+fit.Paste(address))
	}
	return out, nil
}

// RemoveVirtual takes a bridge out of the profiles, and deletes it. It can be
// repeated. It refuses while an instance has it, which would lose its NIC with the
// profile's.
func (c Client) RemoveVirtual(ctx context.Context, was network.Virtual) error {
	r, found, err := c.record(ctx, was.Name)
	if err != nil || !found {
		return err
	}
	if err := same(&r, was); err != nil {
		return err
	}
	users, err := c.Users(ctx, was.Name)
	if err == nil && len(users) > 0 {
		err = fmt.Errorf("LXD's network %s is used by %s by now", was.Name, strings.Join(users, ", "))
	}
	if err != nil {
		return err
	}
	for _, d := range was.LXD.Devices {
		has, err := c.has(ctx, d)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		if _, err := c.run(ctx, "profile", "device", "remove", "--project="+d.Project, "--", "local:"+d.Profile, d.Name); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return c.remove(ctx, was.Name)
}

// remove deletes a network. LXD 5.0 on iptables' shim for nftables takes the bridge
// away, fails at the rules, and is done when it is told again.
func (c Client) remove(ctx context.Context, name string) error {
	path := "/1.0/networks/" + url.PathEscape(name)
	err := c.change(ctx, "DELETE", path, standard, nil)
	if err == nil || c.There(name) {
		return err
	}
	return c.change(ctx, "DELETE", path, standard, nil)
}

// has reports whether a profile has such a device; another of its name is an error.
func (c Client) has(ctx context.Context, d network.LXDDevice) (bool, error) {
	all, err := c.profile(ctx, d.Project, d.Profile)
	if err != nil {
		return false, fmt.Errorf("%s: %w", d, err)
	}
	is, there := all[d.Name]
	if there && !maps.Equal(is, d.Keys) {
		return false, fmt.Errorf("%s isn't what it was: by now it has %s", d, strings.Join(pairs(is), " "))
	}
	return there, nil
}

// pairs is a device or a configuration as one would type it.
func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fit.Paste(k+"="+m[k]))
	}
	return out
}

// RestoreVirtual has a bridge be as it was, and the profiles have it. It can be
// repeated.
func (c Client) RestoreVirtual(ctx context.Context, was network.Virtual) error {
	r, found, err := c.record(ctx, was.Name)
	if err != nil {
		return err
	}
	if found {
		err = same(&r, was)
		if err == nil && !c.There(was.Name) {
			found, err = false, c.remove(ctx, was.Name)
		}
	}
	if err == nil && !found {
		err = c.create(ctx, was)
	}
	if err != nil {
		return err
	}
	// One profile that is gone by now keeps no other from its device.
	var errs []error
	for _, d := range was.LXD.Devices {
		errs = append(errs, c.attach(ctx, d))
	}
	return errors.Join(errs...)
}

func (c Client) create(ctx context.Context, was network.Virtual) error {
	body, err := creation(was.Name, was.LXD)
	if err != nil {
		return err
	}
	return c.change(ctx, "POST", "/1.0/networks", standard, body)
}

func (c Client) attach(ctx context.Context, d network.LXDDevice) error {
	has, err := c.has(ctx, d)
	if has || err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"devices": map[string]any{d.Name: d.Keys}})
	if err != nil {
		return err
	}
	return c.change(ctx, "PATCH", "/1.0/profiles/"+url.PathEscape(d.Profile), d.Project, body)
}

// same refuses a bridge that isn't the one that is meant. What LXD notes for itself
// doesn't count.
func same(r *record, was network.Virtual) error {
	if !*r.Managed || r.Type != "bridge" || r.Description != was.LXD.Description || !maps.Equal(r.Config, was.LXD.Config) {
		return fmt.Errorf("LXD has another network %s by now (%s): rename that one, then go on", was.Name, strings.Join(pairs(r.Config), " "))
	}
	return nil
}

// kept is a configuration without what LXD notes for itself, and takes from nobody.
func kept(config map[string]string) map[string]string {
	config = maps.Clone(config)
	maps.DeleteFunc(config, func(k, _ string) bool { return strings.HasPrefix(k, "volatile.") })
	return config
}

// creation is what LXD is told to make a bridge again.
func creation(name string, l *network.LXD) ([]byte, error) {
	b, err := json.Marshal(record{Name: name, Type: "bridge", Description: l.Description, Config: l.Config})
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("LXD's network %s has a configuration of %d bytes, of which no more than %d can be given back: remove it with lxc network delete", name, len(b), maxConfig)
	}
	return b, err
}
