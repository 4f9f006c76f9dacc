package lxd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"esxodus/network"

	"github.com/google/go-cmp/cmp"
)

type devices = map[string]map[string]string

// fake is an LXD as lxc shows it.
type fake struct {
	nets     map[string]record
	profiles map[string]devices // by path with the project, as in used_by
	answers  map[string]string  // what is said of a path in place of the truth
	links    map[string]bool
	stuck    bool     // it fails at its firewall once the bridge is gone
	fails    string   // a part of a command that fails after it has done its work
	changed  []string // commands that change something
}

// usedBy is what LXD says of lxdbr0, for which each profile with a device on it counts.
func (f *fake) usedBy(r record) []string {
	out := slices.Clone(r.UsedBy)
	for _, p := range slices.Sorted(maps.Keys(f.profiles)) {
		for _, keys := range f.profiles[p] {
			if attached(keys, r.Name, owned(p)) {
				out = append(out, strings.ReplaceAll(p, "%", "%25")) // as LXD 5.0.2 does
			}
		}
	}
	return out
}

// owned reports whether a profile is of the project that has networks of its own.
func owned(path string) bool { return strings.HasSuffix(path, "=own") }

// Run plays lxc.
func (f *fake) Run(_ context.Context, argv ...string) ([]byte, error) {
	out, err := f.play(argv[1:])
	line := strings.Join(argv[1:], " ")
	if err == nil && !strings.HasPrefix(line, "query local:") {
		f.changed = append(f.changed, line)
	}
	if f.fails != "" && strings.Contains(line, f.fails) {
		return nil, errors.New("lxc: exit status 1: Error: cut off")
	}
	return out, err
}

func (f *fake) play(args []string) ([]byte, error) {
	if len(args) == 7 && slices.Equal(args[:3], []string{"profile", "device", "remove"}) && args[4] == "--" {
		project, _ := strings.CutPrefix(args[3], "--project=")
		name, _ := strings.CutPrefix(args[5], "local:")
		delete(f.profiles[profilePath(project, name)], args[6])
		return nil, nil
	}
	last := args[len(args)-1]
	path, ok := strings.CutPrefix(last, "local:")
	if args[0] != "query" || !ok || !strings.Contains(path, "project=") {
		return nil, fmt.Errorf("lxc is told %q", args)
	}
	switch path = strings.TrimSuffix(path, "?project=default"); {
	case len(args) == 2:
		return f.show(path)
	case slices.Equal(args[1:4], []string{"--wait", "-X", "DELETE"}):
		name := strings.TrimPrefix(path, "/1.0/networks/")
		if used := f.usedBy(f.nets[name]); len(used) > 0 {
			return nil, errors.New("lxc: exit status 1: Error: The network is currently in use")
		}
		if f.stuck && f.links[name] {
			delete(f.links, name)
			return nil, errors.New("lxc: exit status 1: Error: Failed deleting firewall: exit status 4")
		}
		delete(f.links, name)
		delete(f.nets, name)
		return nil, nil
	case slices.Equal(args[1:5], []string{"--wait", "-X", "POST", "-d"}) && path == "/1.0/networks":
		var r record
		if strings.Contains(args[5], "volatile.") || f.nets[path].Name != "" {
			return nil, errors.New("lxc: exit status 1: Error: Invalid option")
		}
		if err := json.Unmarshal([]byte(args[5]), &r); err != nil || r.Type != "bridge" {
			return nil, fmt.Errorf("lxc gets %s: %w", args[5], err)
		}
		r.Managed = new(true)
		f.nets[r.Name], f.links[r.Name] = r, true
		return nil, nil
	case slices.Equal(args[1:5], []string{"--wait", "-X", "PATCH", "-d"}) && f.profiles[path] != nil:
		var more struct{ Devices devices }
		err := json.Unmarshal([]byte(args[5]), &more)
		maps.Copy(f.profiles[path], more.Devices)
		return nil, err
	}
	return nil, fmt.Errorf("lxc is told %q", args)
}

func (f *fake) show(path string) ([]byte, error) {
	if text, ok := f.answers[path]; ok {
		return []byte(text), nil
	}
	name, isNet := strings.CutPrefix(path, "/1.0/networks/")
	switch p, isProfile := f.profiles[path]; {
	case isProfile:
		return json.Marshal(map[string]any{"name": "x", "devices": p, "used_by": []string{}})
	case path == "/1.0":
		return []byte(`{"api_extensions":["network_forward"],"environment":{"server_clustered":false}}`), nil
	case path == "/1.0/projects?recursion=1&project=default":
		return []byte(`[{"name":"default","config":{"features.networks":"true","features.profiles":"true"}},{"name":"sh op","config":{"features.profiles":"true"}},` +
			`{"name":"own","config":{"features.networks":"true","features.profiles":"true"}},{"name":"thin","config":{"features.profiles":"false"}},{"name":"shop","config":{"features.profiles":"true"}}]`), nil
	case strings.HasPrefix(path, "/1.0/profiles?recursion=1&"):
		return f.list(strings.TrimPrefix(path, "/1.0/profiles?recursion=1&project="))
	case path == "/1.0/networks":
		all := []string{}
		for n := range f.nets {
			all = append(all, "/1.0/networks/"+n)
		}
		return json.Marshal(all)
	case strings.HasSuffix(path, "/forwards"):
		return []byte("[]"), nil
	case isNet && f.nets[name].Name != "":
		r := f.nets[name]
		r.UsedBy = f.usedBy(r)
		return json.Marshal(r)
	}
	return nil, errors.New("lxc: exit status 1: Error: not found: " + path)
}

// list has the profiles of a project.
func (f *fake) list(project string) ([]byte, error) {
	all := []any{}
	for _, path := range slices.Sorted(maps.Keys(f.profiles)) {
		u, err := url.Parse(path)
		if err != nil {
			return nil, err
		}
		if of := u.Query().Get("project"); of == "" && project == standard || of != "" && url.QueryEscape(of) == project {
			all = append(all, map[string]any{"name": strings.TrimPrefix(u.Path, "/1.0/profiles/"), "devices": f.profiles[path]})
		}
	}
	return json.Marshal(all)
}

func profilePath(project, name string) string {
	path := "/1.0/profiles/" + url.PathEscape(name)
	if project != standard {
		path += "?project=" + url.QueryEscape(project)
	}
	return path
}

func nic(keys ...string) map[string]string {
	m := map[string]string{"type": "nic"}
	for i := 0; i < len(keys); i += 2 {
		m[keys[i]] = keys[i+1]
	}
	return m
}

// newFake is an LXD after `lxd init`, with profiles of other names and projects.
func newFake() *fake {
	return &fake{
		nets: map[string]record{
			"lxdbr0": {Name: "lxdbr0", Type: "bridge", Description: "the first", Managed: new(true), Config: map[string]string{"ipv4.address": "10.1.2.1/24", "ipv4.nat": "true"}},
			"eno1":   {Name: "eno1", Type: "physical", Managed: new(false)},
			"up0":    {Name: "up0", Type: "physical", Managed: new(true)},
		},
		profiles: map[string]devices{
			profilePath("default", "default"):  {"eth0": nic("network", "lxdbr0", "name", "eth0"), "root": {"type": "disk", "path": "/", "pool": "default"}},
			profilePath("sh op", "a b%c/ü'\""): {"eth 1": nic("nictype", "bridged", "parent", "lxdbr0"), "eth0": nic("network", "lxdbr1")},
			profilePath("own", "default"):      {"eth0": nic("network", "lxdbr0"), "eth1": nic("network", "lxdbr1")},
			profilePath("shop", "other"):       {"eth0": nic("network", "lxdbr1")},
		},
		answers: map[string]string{},
		links:   map[string]bool{"lxdbr0": true},
	}
}

func (f *fake) client() Client {
	return Client{Tool: f, There: func(link string) bool { return f.links[link] }}
}

// sight is all that LXD has.
func (f *fake) sight(t *testing.T) string {
	t.Helper()
	b, err := json.MarshalIndent(map[string]any{"nets": f.nets, "profiles": f.profiles, "links": f.links}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func look(t *testing.T, c Client) network.Virtual {
	t.Helper()
	v, found, err := c.Virtual(t.Context(), "lxdbr0")
	if err != nil || !found {
		t.Fatalf("Virtual = %+v, %v, %v", v, found, err)
	}
	return v
}

func TestVirtual(t *testing.T) {
	f := newFake()
	config := maps.Clone(f.nets["lxdbr0"].Config)
	f.nets["lxdbr0"].Config["volatile.bridge.hwaddr"] = "00:16:3e:00:00:01"
	want := network.Virtual{Name: "lxdbr0", Bridge: "lxdbr0", Active: true, Persistent: true, AutoStart: true, LXD: &network.LXD{
		Description: "the first", Config: config,
		Devices: []network.LXDDevice{
			{Project: "default", Profile: "default", Name: "eth0", Keys: nic("network", "lxdbr0", "name", "eth0")},
			{Project: "sh op", Profile: "a b%c/ü'\"", Name: "eth 1", Keys: nic("nictype", "bridged", "parent", "lxdbr0")},
		},
	}}
	if diff := cmp.Diff(want, look(t, f.client())); diff != "" {
		t.Errorf("Virtual (-want +got):\n%s", diff)
	}
	// In a journal it is the same again.
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var read network.Virtual
	if err := json.Unmarshal(b, &read); err != nil || !read.Same(look(t, f.client())) {
		t.Errorf("after the journal it is %+v, %v", read, err)
	}
	for _, name := range []string{"lxdbr9", "../lxdbr0", "lxdbr0?project=x", "a b"} {
		if v, found, err := f.client().Virtual(t.Context(), name); found || err != nil {
			t.Errorf("Virtual(%q) = %+v, %v, %v; want none", name, v, found, err)
		}
	}
	if len(f.changed) > 0 {
		t.Errorf("a look has changed something: %q", f.changed)
	}
}

// TestRefused: what LXD doesn't manage, can't be brought back, or says in no shape that
// is known.
func TestRefused(t *testing.T) {
	const at = "/1.0/networks/lxdbr0"
	with := func(config string) string {
		return `{"name":"lxdbr0","type":"bridge","managed":true,"config":` + config + `}`
	}
	for _, tt := range []struct{ name, of, path, answer, want string }{
		{name: "the host's own NIC", of: "eno1", want: "LXD doesn't manage eno1"},
		{name: "no bridge", of: "up0", want: `of the type "physical"`},
		{name: "a password", path: at, answer: with(`{"bgp.peers.x.password":"hush"}`), want: "has a secret (bgp.peers.x.password)"},
		{name: "huge", path: at, answer: with(`{"raw.dnsmasq":"` + strings.Repeat("x", maxConfig) + `"}`), want: "no more than 98304 can be given back"},
		{name: "a cluster", path: "/1.0", answer: `{"environment":{"server_clustered":true}}`, want: "one of a cluster"},
		{name: "another network", path: at, answer: `{"name":"lxdbr1","type":"bridge","managed":true}`, want: `is of "lxdbr1"`},
		{name: "nobody's", path: at, answer: `{"name":"lxdbr0","type":"bridge"}`, want: "doesn't say who manages"},
		{name: "null", path: at, answer: `null`, want: `is of ""`},
		{name: "a list of something", path: "/1.0/networks", answer: `{"lxdbr0":1}`, want: "LXD's answer of /1.0/networks"},
		{name: "no answer", path: "/1.0/networks", answer: ``, want: "LXD's answer of /1.0/networks"},
		{name: "a configuration of another type", path: at, answer: with(`["x"]`), want: "cannot unmarshal"},
		{name: "half an answer", path: at, answer: `{"name":"lxdbr0",`, want: "unexpected end"},
		{name: "a profile of another type", path: "/1.0/profiles?recursion=1&project=default", answer: `[{"devices":[]}]`, want: "LXD's answer of /1.0/profiles"},
	} {
		f := newFake()
		if tt.path != "" {
			f.answers[tt.path] = tt.answer
		}
		if tt.of == "" {
			tt.of = "lxdbr0"
		}
		if _, found, err := f.client().Virtual(t.Context(), tt.of); found || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, %v; want %q", tt.name, found, err, tt.want)
		}
	}
}

func TestUsers(t *testing.T) {
	f := newFake()
	r := f.nets["lxdbr0"]
	r.UsedBy = []string{"/1.0/instances/c1", "/1.0/instances/c1", "/1.0/containers/old?project=sh+op", "/1.0/networks/ovn1", "/1.0/x/y/z", "\x1b[2J", "/1.0/instances/", "https://[::1"}
	f.nets["lxdbr0"] = r
	f.answers["/1.0/networks/lxdbr0/forwards"] = `["/1.0/networks/lxdbr0/forwards/192.0.2.7"]`
	got, err := f.client().Users(t.Context(), "lxdbr0")
	want := []string{"$'\\x1b\\x5b2J'", "/1.0/instances/", "/1.0/x/y/z", "'https://[::1'", "the instance c1", "the instance old (project 'sh op')", "the network ovn1", "the forward of 192.0.2.7"}
	slices.Sort(want[:7])
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Users: %v (-want +got):\n%s", err, diff)
	}
	if got, err := newFake().client().Users(t.Context(), "lxdbr0"); err != nil || len(got) > 0 {
		t.Errorf("Users with nothing but profiles = %q, %v", got, err)
	}
	// An LXD from before forwards isn't asked for them.
	f = newFake()
	f.answers["/1.0"], f.answers["/1.0/networks/lxdbr0/forwards"] = `{"api_extensions":["network"]}`, "gone"
	if got, err := f.client().Users(t.Context(), "lxdbr0"); err != nil || len(got) > 0 {
		t.Errorf("Users of an old LXD = %q, %v", got, err)
	}
}

// TestCutOff has the removal and the return of a bridge fail at each of their commands:
// done again, each comes to its end, and LXD has in the end what it had.
func TestCutOff(t *testing.T) {
	cuts := []string{"", "--project=default", "--project=sh op", "-X DELETE", "-X POST", "profiles/default", "a%20b%25c"}
	for _, cut := range cuts {
		f := newFake()
		c, before := f.client(), f.sight(t)
		v := look(t, c)
		f.fails = cut
		if err := c.RemoveVirtual(t.Context(), v); cut == "" && err != nil {
			t.Errorf("RemoveVirtual = %v", err)
		}
		f.fails = ""
		if err := c.RemoveVirtual(t.Context(), v); err != nil {
			t.Errorf("cut off at %q, RemoveVirtual again = %v", cut, err)
		}
		if _, there := f.nets["lxdbr0"]; there || len(f.profiles[profilePath("default", "default")]) != 1 || len(f.profiles[profilePath("sh op", "a b%c/ü'\"")]) != 1 {
			t.Errorf("cut off at %q, LXD still has %s", cut, f.sight(t))
		}
		f.fails = cut
		if err := c.RestoreVirtual(t.Context(), v); cut == "" && err != nil {
			t.Errorf("RestoreVirtual = %v", err)
		}
		f.fails = ""
		for range 2 {
			if err := c.RestoreVirtual(t.Context(), v); err != nil {
				t.Errorf("cut off at %q, RestoreVirtual again = %v", cut, err)
			}
		}
		if diff := cmp.Diff(before, f.sight(t)); diff != "" {
			t.Errorf("cut off at %q, LXD (-had +has):\n%s", cut, diff)
		}
		hit := func(line string) bool { return strings.Contains(line, cut) }
		if !slices.ContainsFunc(f.changed, hit) {
			t.Errorf("no command has %q: %q", cut, f.changed)
		}
	}
}

// TestHalfRemoved: what a removal that was cut off has done so far is put back.
func TestHalfRemoved(t *testing.T) {
	for _, cut := range []string{"--project=default", "--project=sh op", "-X DELETE"} {
		f := newFake()
		c, before := f.client(), f.sight(t)
		v := look(t, c)
		f.fails = cut
		if err := c.RemoveVirtual(t.Context(), v); err == nil {
			t.Errorf("RemoveVirtual did not fail at %q", cut)
		}
		f.fails = ""
		if err := c.RestoreVirtual(t.Context(), v); err != nil {
			t.Errorf("cut off at %q, RestoreVirtual = %v", cut, err)
		}
		if diff := cmp.Diff(before, f.sight(t)); diff != "" {
			t.Errorf("cut off at %q, LXD (-had +has):\n%s", cut, diff)
		}
	}
}

// TestStuck: an LXD that fails at its firewall rules once the bridge is gone, and is
// asked again; where that wasn't done, its record of the bridge is of nothing.
func TestStuck(t *testing.T) {
	f := newFake()
	c, before := f.client(), f.sight(t)
	v := look(t, c)
	f.stuck = true
	if err := c.RemoveVirtual(t.Context(), v); err != nil || f.nets["lxdbr0"].Name != "" {
		t.Errorf("RemoveVirtual = %v; LXD has %s", err, f.sight(t))
	}
	f = newFake()
	c = f.client()
	delete(f.links, "lxdbr0")
	for path, p := range f.profiles {
		maps.DeleteFunc(p, func(_ string, keys map[string]string) bool { return attached(keys, "lxdbr0", owned(path)) })
	}
	if err := c.RestoreVirtual(t.Context(), v); err != nil {
		t.Errorf("RestoreVirtual = %v", err)
	}
	if diff := cmp.Diff(before, f.sight(t)); diff != "" {
		t.Errorf("LXD (-had +has):\n%s", diff)
	}
}

// TestOthers: what others have made or changed meanwhile stays.
func TestOthers(t *testing.T) {
	other := func(f *fake) {
		r := f.nets["lxdbr0"]
		r.Config = map[string]string{"ipv4.address": "10.9.9.1/24"}
		f.nets["lxdbr0"] = r
	}
	device := func(f *fake) { f.profiles[profilePath("default", "default")]["eth0"] = nic("network", "mine") }
	gone := func(f *fake) { delete(f.profiles, profilePath("default", "default")) }
	instance := func(f *fake) {
		r := f.nets["lxdbr0"]
		r.UsedBy = []string{"/1.0/instances/c1"}
		f.nets["lxdbr0"] = r
	}
	noted := func(f *fake) { f.nets["lxdbr0"].Config["volatile.x"] = "1" }
	remove, restore := Client.RemoveVirtual, Client.RestoreVirtual
	for _, tt := range []struct {
		name    string
		do      func(Client, context.Context, network.Virtual) error
		removed bool // before it
		change  func(f *fake)
		want    string
	}{
		{name: "another bridge is to go", do: remove, change: other, want: "another network lxdbr0 by now (ipv4.address=10.9.9.1/24)"},
		{name: "another bridge is there", do: restore, change: other, want: "another network lxdbr0 by now"},
		{name: "another device is to go", do: remove, change: device, want: "eth0 of the profile default isn't what it was: by now it has network=mine type=nic"},
		{name: "another device is there", do: restore, removed: true, change: device, want: "eth0 of the profile default isn't what it was"},
		{name: "a profile is gone", do: restore, removed: true, change: gone, want: "eth0 of the profile default: asking LXD for /1.0/profiles/default"},
		{name: "an instance has it", do: remove, change: instance, want: "is used by the instance c1 by now"},
		{name: "LXD's own notes", do: remove, change: noted},
	} {
		f := newFake()
		v := look(t, f.client())
		if tt.removed {
			if err := f.client().RemoveVirtual(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		tt.change(f)
		err := tt.do(f.client(), t.Context(), v)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
		if left := f.profiles[profilePath("sh op", "a b%c/ü'\"")]; tt.name == "an instance has it" && len(left) != 2 {
			t.Errorf("%s: the profile has only %v", tt.name, left)
		}
		if tt.removed && len(f.profiles[profilePath("sh op", "a b%c/ü'\"")]) != 2 {
			t.Errorf("%s: the other profile hasn't got its device back", tt.name)
		}
	}
}
