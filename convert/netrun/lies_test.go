package netrun

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/journal"
)

// TestLies: a journal that is damaged, or that says what no run can have written, is
// refused by all that read it, which say where and what to do; nothing is touched by
// it, and nothing is lost.
func TestLies(t *testing.T) {
	const huge = "99999999999999999999"
	whole := newDesk(t)
	j := whole.begin()
	whole.check(Apply(t.Context(), j, whole.effects()))
	run := j.Run()
	text, err := os.ReadFile(j.Path(journal.FileName))
	whole.check(err)
	for _, tt := range []struct {
		name, old, lie string
		line           int
		want           string
	}{
		{"another's path", `lan.network.d/esxodus-eno1.42.conf","state"`, `lan.network.d/../../esxodus-x","state"`, 1, "is not a file that esxodus writes"},
		{"beside networkd's directory", `"/etc/systemd/network/20-`, `"/etc/systemd/network-x/20-`, 1, "is not a file that esxodus writes"},
		{"networkd.conf itself", `"/etc/systemd/network/20-esxodus-eno1.42.network"`, `"/etc/systemd/networkd-esxodus-"`, 1, "is not a file that esxodus writes"},
		{"a path of lines", `"/etc/systemd/network/20-`, `"/etc/systemd/network/20\n-`, 1, "is not a file that esxodus writes"},
		{"no file", `"state":"changed"`, `"state":"same"`, 1, "no file to write"},
		{"a device of no name", `"name":"eno1.42"`, `"name":"../x"`, 1, "isn't allowed"},
		{"a device of no kind", `"kind":"vlan"`, `"kind":""`, 1, "it has no device"},
		{"a huge VLAN", `"vlan":42`, `"vlan":70000`, 1, "has the VLAN 70000"},
		{"a number that is none", `"vlan":42`, `"vlan":` + huge, 1, "cannot unmarshal number"},
		{"a parent of no name", `"parent":"eno1"`, `"parent":"a/b"`, 1, "isn't allowed"},
		{"a kind of no step", `"kind":"reload"`, `"kind":"run"`, 1, "is no kind of step"},
		{"a network of a program", `"uri":""`, `"uri":"qemu+ext:///system?command=/x"`, 1, "is no libvirt of this machine"},
		{"a network elsewhere", `"uri":""`, `"uri":"qemu://other/system"`, 1, "is no libvirt of this machine"},
		{"a network of no name", `"old":{"name":"lan"`, `"old":{"name":""`, 1, "it has no network"},
		{"a bridge of no name", `"old":{"name":"lxdbr0"`, `"old":{"name":"../x"`, 1, "isn't allowed"},
		{"a device of no profile", `"profile":"web"`, `"profile":""`, 1, "of LXD's has no name"},
		{"a bridge that is made", `"new":{"name":"esxodus-vf-eno1"`, `"new":{"lxd":{},"name":"esxodus-vf-eno1"`, 1, "it has no network"},
		{"another bridge before", `"data":{"name":"lxdbr0","bridge":"lxdbr0","active":true,"persistent":true,"autoStart":true,"lxd":{"description":"","config":{"ipv4.address":"10.1`, `"data":{"name":"lxdbr0","bridge":"lxdbr0","active":true,"persistent":true,"autoStart":true,"lxd":{"description":"","config":{"ipv4.address":"10.9`, 18, "isn't LXD's network lxdbr0 as it was planned with"},
		{"a wait without end", `"within":3600000000000`, `"within":9223372036854775807`, 1, "it waits for a confirmation"},
		{"a wait of less than nothing", `"within":3600000000000`, `"within":-1`, 1, "it waits for a confirmation"},
		{"steps of another type", `"steps":[`, `"steps":7,"x":[`, 1, "cannot unmarshal number"},
		{"no plan", `"plan":{"host"`, `"plan":null,"x":{"host"`, 1, "its plan is null"},
		{"half a line", `"event":"begin","step":0`, `"event":`, 2, "not a record"},
		{"a step of none", `"event":"begin","step":0`, `"event":"begin","step":` + "-1", 2, "names none of the plan's"},
		{"a huge step", `"event":"begin","step":0`, `"event":"begin","step":` + huge, 2, "cannot unmarshal number"},
		{"nothing before", `"data":{"file":{"text":"old\n"`, `"x":{"file":{"text":"old\n"`, 2, "doesn't say what was there before"},
		{"no file before", `"data":{"file":{"text"`, `"data":{"x":{"text"`, 2, "doesn't fit"},
		{"another file before", `"data":{"file":{"text":"old\n"`, `"data":{"file":{"text":"root::0:0\n"`, 2, "isn't /etc/systemd/network/20-esxodus-eno1.42.network as it was planned with"},
		{"a mode of no file", `"mode":416`, `"mode":2147484141`, 2, "as it was planned with"},
		{"another type before", `"data":{"file":{"text":"old\n"`, `"data":{"file":{"text":7`, 2, "cannot unmarshal number"},
		{"a directory elsewhere", `"dirs":["/etc/systemd/network/lan.network.d"]`, `"dirs":["VICTIM"]`, 14, "is no directory of"},
		{"a directory above", `"dirs":["/etc/systemd/network/lan.network.d"]`, `"dirs":["/etc/systemd/network/lan.network.d/.."]`, 14, "is no directory of"},
		{"the root", `"dirs":["/etc/systemd/network/lan.network.d"]`, `"dirs":["/"]`, 14, "is no directory of"},
		{"directories of another type", `"dirs":["/etc/systemd/network/lan.network.d"]`, `"dirs":{"x":1}`, 14, "cannot unmarshal object"},
		{"another network before", `"data":{"name":"lan"`, `"data":{"name":"other"`, 16, "isn't libvirt's network lan as it was planned with"},
		{"what it saw", `"event":"done","step":0`, `"event":"failed","step":0`, 3, "doesn't say what it saw when it failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			victim := filepath.Join(t.TempDir(), "victim")
			d.check(os.Mkdir(victim, 0o755))
			path := filepath.Join(d.dir.path(run), journal.FileName)
			d.check(os.MkdirAll(filepath.Dir(path), 0o700))
			lied := strings.Replace(string(text), tt.old, strings.ReplaceAll(tt.lie, "VICTIM", victim), 1)
			if lied == string(text) {
				t.Fatalf("no %s in\n%s", tt.old, text)
			}
			d.check(os.WriteFile(path, []byte(lied), 0o600))
			before := d.sight()
			_, listed := d.dir.List()
			_, _, last := d.dir.Last()
			j, opened := d.dir.Open(run)
			if opened == nil {
				d.check(j.Close())
			}
			guarded := d.dir.Guard(t.Context(), run, nil, d.effects())
			for what, err := range map[string]error{"List": listed, "Last": last, "Open": opened, "Guard": guarded} {
				bad, ok := errors.AsType[*journal.DamagedError](err)
				if !ok || bad.Line != tt.line || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s = %v; want line %d, %q", what, err, tt.line, tt.want)
					continue
				}
				if advice := bad.Advice(); strings.Contains(advice, "volume") || strings.Contains(advice, "domain") || (bad.Line > 1) != strings.Contains(advice, "`esxodus network rollback`") {
					t.Errorf("%s advises %q", what, advice)
				}
			}
			if diff := cmp.Diff(before, d.sight()); diff != "" {
				t.Errorf("what was there (-was +is):\n%s", diff)
			}
			if _, err := os.Stat(victim); err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != lied {
				t.Errorf("the journal was changed: %v", err)
			}
		})
	}
}
