package netrun

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/convert/ledger"
	"esxodus/fixtures"
	"esxodus/inventory"
	"esxodus/network"
	"esxodus/network/hostnet"

	"github.com/godbus/dbus/v5"
)

// scenes are what happens on the stage.
func scenes() map[string]func(t *testing.T) {
	return map[string]func(t *testing.T){
		"apply and rollback": applyAndRollback,
		"control":            control,
		"kept":               kept,
		"after a reboot":     afterReboot,
		"crashes":            crashes,
		"changed meanwhile":  changedMeanwhile,
		"a loss is undone":   lossUndone,
		"a session":          session,
		"a bond":             bond,
		"a link set up":      linkSetUp,
		"a rule":             foreignRule,
		"a rule, control":    foreignRuleControl,
		"the host's device":  hostsDevice,
	}
}

// TestReal plays each scene on a stage of its own.
func TestReal(t *testing.T) {
	const on = "ESXODUS_ON_STAGE"
	for name, scene := range scenes() {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(on) != "" {
				scene(t)
				return
			}
			t.Parallel()
			cmd := fixtures.Stage(t, on)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// ip runs iproute2's program.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// foreignGone lists what of the things that networkd didn't make is no longer there.
func foreignGone(t *testing.T) []string {
	t.Helper()
	var gone []string
	all := ip(t, "address") + ip(t, "route")
	for _, want := range []string{"inet 198.51.100.5/24", "203.0.113.0/24 via 198.51.100.1 dev eno1 proto bird", "inet 10.9.9.9/24"} {
		if !strings.Contains(all, want) {
			gone = append(gone, want)
		}
	}
	return gone
}

// read reads the host once networkd has configured what it has to.
func read(t *testing.T) network.Host {
	t.Helper()
	for {
		h, err := hostnet.Machine{}.Read(t.Context())
		l, _ := h.Link("eno1")
		local := func(a network.Address) bool { return a.Scope == "link" } // which networkd takes away
		if err == nil && l.Networkd.State == "configured" && !slices.ContainsFunc(l.Addresses, local) {
			return h
		}
		if t.Context().Err() != nil {
			t.Fatalf("networkd doesn't configure eno1: %v, %+v", err, h.Networkd)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// wanted is a plan with a device on eno1: a VLAN device in the lab, whose kernel has
// those; else a macvlan, with which networkd deals alike.
func wanted(t *testing.T) network.Plan {
	t.Helper()
	if os.Getenv("ESXODUS_LAB") != "" {
		return vlans(t)
	}
	return network.Plan{
		Attachments: []network.Attachment{{PortGroup: "DMZ", Mode: network.Macvtap, Device: "eno1.42", Uplink: "eno1"}},
		Devices:     []network.Device{{Name: "eno1.42", Kind: network.KindMacvlan, Parent: "eno1"}},
		Units: []network.Unit{
			{Name: "20-esxodus-eno1.42.netdev", Text: "[NetDev]\nName=eno1.42\nKind=macvlan\n[MACVLAN]\nMode=bridge\n"},
			{Name: "20-esxodus-eno1.42.network", Text: "[Match]\nName=eno1.42\n[Link]\nRequiredForOnline=no\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n"},
			{Name: "lan.network.d/esxodus-eno1.42.conf", Text: "[Network]\nMACVLAN=eno1.42\n"},
		},
	}
}

// vlans is what a port group with a VLAN needs.
func vlans(t *testing.T) network.Plan {
	t.Helper()
	esx := &inventory.Network{
		VSwitches:  []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}},
		PortGroups: []inventory.PortGroup{{Name: "DMZ", VSwitch: "vSwitch0", VLAN: 42}},
	}
	p, err := network.New(esx, []string{"DMZ"}, network.Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1": "lan.network"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// changes are those of the wanted plan, none of them blocked.
func changes(t *testing.T, h network.Host) network.Changes {
	t.Helper()
	c, err := h.Changes(wanted(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.Concerns {
		if k.Severity == "blocker" {
			t.Fatalf("blocked: %+v", k)
		}
	}
	return c
}

// begin starts a run of changes.
func begin(t *testing.T, dir Dir, h network.Host, c network.Changes) *Journal {
	t.Helper()
	j, err := dir.Create(&Job{Host: h.Name, Changes: c, Before: See(&h, &c)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// tree is all of /etc/systemd, with its times.
func tree(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	err := filepath.Walk("/etc/systemd", func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			b.WriteString(path + "\n")
			return err
		}
		text, err := os.ReadFile(path)
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n" + string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func effects() Effects { return Effects{Machine: hostnet.Machine{}} }

// configured waits until networkd says so of a link.
func configured(t *testing.T, link string) {
	t.Helper()
	for {
		h, err := hostnet.Machine{}.Read(t.Context())
		if l, _ := h.Link(link); err == nil && l.Networkd.State == "configured" {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("networkd doesn't configure %s", link)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// applyAndRollback: nothing of the uplink's is lost, and all is as it was after.
func applyAndRollback(t *testing.T) {
	t.Helper()
	read(t)
	dir, before := Dir(t.TempDir()), tree(t)
	for range 2 { // networkd has the first round's files in mind when the second begins
		h := read(t)
		c := changes(t, h)
		j := begin(t, dir, h, c)
		if err := Apply(t.Context(), j, effects()); err != nil {
			t.Fatal(err)
		}
		configured(t, "eno1.42")
		for _, file := range []string{"network/lan.network.d/esxodus-eno1.42.conf", "network/lan.network.d/esxodus-keep.conf"} {
			if _, err := os.Stat(filepath.Join("/etc/systemd", file)); err != nil {
				t.Error(err)
			}
		}
		if gone := foreignGone(t); gone != nil {
			t.Errorf("apply took %q away", gone)
		}
		again := changes(t, read(t))
		if !again.Empty() {
			t.Errorf("a second apply would do %+v", again.Steps)
		}
		if err := Rollback(t.Context(), j, effects()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // networkd would make it again, if it did
		if links := ip(t, "link"); strings.Contains(links, "eno1.42") {
			t.Errorf("after the rollback there is\n%s", links)
		}
		if after := tree(t); after != before {
			t.Errorf("/etc/systemd was\n%s\nand is\n%s", before, after)
		}
		if gone := foreignGone(t); gone != nil {
			t.Errorf("rollback took %q away", gone)
		}
	}
}

// put writes a file of networkd's by hand.
func put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(network.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reload is what apply never does with a drop-in.
func reload(t *testing.T) {
	t.Helper()
	if err := (hostnet.Machine{}).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	configured(t, "eno1.42")
	configured(t, "eno1")
}

// control shows that the other tests mean something: what one would write by heart
// takes what is foreign away.
func control(t *testing.T) {
	t.Helper()
	read(t)
	for _, u := range wanted(t).Units {
		put(t, u.Name, u.Text)
	}
	reload(t)
	if gone := foreignGone(t); !slices.Contains(gone, "inet 198.51.100.5/24") {
		t.Errorf("a drop-in and a reload took only %q away", gone)
	}
}

// hostsDevice: a device of the host's that has the plan's name stays the host's; the
// plan's file, which is what the control writes, takes its address away.
func hostsDevice(t *testing.T) {
	t.Helper()
	d := wanted(t).Devices[0]
	add := []string{"link", "add", "link", d.Parent, "name", d.Name, "type", d.Kind}
	if d.VLAN != 0 {
		add = append(add, "id", fmt.Sprint(d.VLAN))
	}
	ip(t, add...)
	ip(t, "address", "add", "198.51.101.6/24", "dev", d.Name)
	ip(t, "link", "set", d.Name, "up")
	h := read(t)
	c, err := h.Changes(wanted(t))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(c.Concerns, func(k ledger.Concern) bool {
		return k.ID == network.ConcernOwn && k.Severity == ledger.Blocker
	}) {
		t.Errorf("nothing is said of the address of %s: %+v", d.Name, c.Concerns)
	}
	for _, u := range wanted(t).Units {
		if !strings.Contains(u.Name, "/") {
			put(t, u.Name, u.Text)
		}
	}
	if err := (hostnet.Machine{}).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	configured(t, d.Name)
	if has := ip(t, "address", "show", d.Name); strings.Contains(has, "198.51.101.6") {
		t.Errorf("the plan's file left\n%s", has)
	}
}

// kept: somebody reloads networkd after an apply.
func kept(t *testing.T) {
	t.Helper()
	h := read(t)
	if err := Apply(t.Context(), begin(t, Dir(t.TempDir()), h, changes(t, h)), effects()); err != nil {
		t.Fatal(err)
	}
	reload(t)
	time.Sleep(time.Second)
	if gone := foreignGone(t); gone != nil {
		t.Errorf("the reload took %q away", gone)
	}
}

// restart ends networkd, and starts it again.
func restart(t *testing.T) {
	t.Helper()
	pid, err := os.ReadFile("/run/networkd.pid")
	if err != nil {
		t.Fatal(err)
	}
	kill := exec.Command("kill", strings.TrimSpace(string(pid)))
	if out, err := kill.CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
	for running(t) {
		time.Sleep(50 * time.Millisecond)
	}
	log, err := os.OpenFile("/run/networkd.log", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("/usr/lib/systemd/systemd-networkd")
	daemon.Stdout, daemon.Stderr, daemon.Env = log, log, append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = daemon.Process.Kill(), daemon.Wait() })
	if err := os.WriteFile("/run/networkd.pid", fmt.Append(nil, daemon.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	for !running(t) {
		time.Sleep(50 * time.Millisecond)
	}
}

// running reports whether networkd is on the bus.
func running(t *testing.T) bool {
	t.Helper()
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bus.Close() }()
	var has bool
	if err := bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.network1").Store(&has); err != nil {
		t.Fatal(err)
	}
	return has
}

// afterReboot: after a boot, where no link is but the uplink, networkd makes the
// device, and a rollback takes it away.
func afterReboot(t *testing.T) {
	t.Helper()
	h, before := read(t), tree(t)
	j := begin(t, Dir(t.TempDir()), h, changes(t, h))
	if err := Apply(t.Context(), j, effects()); err != nil {
		t.Fatal(err)
	}
	boot(t)
	configured(t, "eno1.42")
	if c := changes(t, read(t)); !c.Empty() {
		t.Errorf("after a boot there is to do: %+v", c.Steps)
	}
	if err := Rollback(t.Context(), j, effects()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if links := ip(t, "link"); strings.Contains(links, "eno1.42") || tree(t) != before {
		t.Errorf("after the rollback there is\n%s%s", links, tree(t))
	}
	if gone := foreignGone(t); gone != nil {
		t.Errorf("rollback took %q away", gone)
	}
}

// changedMeanwhile: the uplink's file was touched, so a reload would configure the
// uplink anew; the device is made all the same.
func changedMeanwhile(t *testing.T) {
	t.Helper()
	read(t)
	time.Sleep(50 * time.Millisecond)
	put(t, "lan.network", "[Match]\nName=eno1\n[Network]\nAddress=10.9.9.9/24\nLinkLocalAddressing=no\n# touched\n")
	h := read(t)
	c := changes(t, h)
	if slices.ContainsFunc(c.Steps, func(s network.Step) bool { return s.Kind == network.StepReload }) {
		t.Error("networkd would be reloaded")
	}
	if err := Apply(t.Context(), begin(t, Dir(t.TempDir()), h, c), effects()); err != nil {
		t.Fatal(err)
	}
	if l := ip(t, "link", "show", "eno1.42"); !strings.Contains(l, "UP") {
		t.Errorf("eno1.42 isn't up: %s", l)
	}
	if gone := foreignGone(t); gone != nil {
		t.Errorf("apply took %q away", gone)
	}
	put(t, "all.network", "[Match]\nName=en*\n[Network]\nDHCP=yes\n")
	ip(t, "link", "delete", "eno1.42")
	if err := os.Remove(filepath.Join(network.Dir, "20-esxodus-eno1.42.network")); err != nil {
		t.Fatal(err)
	}
	h = read(t)
	c, err := h.Changes(wanted(t))
	if err != nil || !slices.ContainsFunc(c.Concerns, func(k ledger.Concern) bool { return k.ID == network.ConcernReload && k.Severity == "blocker" }) {
		t.Errorf("with a file for all links the changes are not blocked: %v, %+v", err, c.Concerns)
	}
}

// linkSetUp: a link that was set up goes down again, unless somebody uses it by
// then.
func linkSetUp(t *testing.T) {
	t.Helper()
	ip(t, "link", "add", "eno2", "type", "veth", "peer", "name", "peer2")
	up := func() bool { return strings.Contains(ip(t, "link", "show", "eno2"), ",UP") }
	for _, tt := range []struct {
		name string
		use  []string
		want bool
	}{
		{"nobody uses it", []string{"link", "set", "lo", "up"}, false},
		{"a domain does", []string{"link", "add", "link", "eno2", "name", "macvtap7", "type", "macvtap"}, true},
		{"it is gone", []string{"link", "delete", "macvtap7"}, false},
		{"it has an address", []string{"address", "add", "192.0.2.77/24", "dev", "eno2"}, true},
	} {
		var m hostnet.Machine
		if err := m.Up("eno2"); err != nil || !up() {
			t.Fatalf("%s: Up = %v", tt.name, err)
		}
		ip(t, tt.use...)
		if err := m.Down("eno2"); err != nil || up() != tt.want {
			t.Errorf("%s: Down = %v; it is up: %v", tt.name, err, up())
		}
	}
}

// rule adds a rule that networkd didn't make.
func rule(t *testing.T) (there func() bool) {
	t.Helper()
	ip(t, "rule", "add", "from", "198.51.100.5", "table", "77")
	return func() bool { return strings.Contains(ip(t, "rule"), "from 198.51.100.5 lookup 77") }
}

// foreignRule: a rule outlasts an apply, and from the next start of networkd on
// whatever that configures.
func foreignRule(t *testing.T) {
	t.Helper()
	read(t)
	there := rule(t)
	h := read(t)
	if err := Apply(t.Context(), begin(t, Dir(t.TempDir()), h, changes(t, h)), effects()); err != nil {
		t.Fatal(err)
	}
	if gone := foreignGone(t); gone != nil || !there() {
		t.Errorf("apply took %q away, or the rule: %s", gone, ip(t, "rule"))
	}
	ip(t, "link", "delete", "eno1.42")
	restart(t)
	configured(t, "eno1.42")
	time.Sleep(time.Second)
	if !there() {
		t.Errorf("the start took the rule away: %s", ip(t, "rule"))
	}
}

// foreignRuleControl: networkd that is told of the device's files takes the rule
// away, whether the device is there before that or not.
func foreignRuleControl(t *testing.T) {
	t.Helper()
	read(t)
	there := rule(t)
	if err := (hostnet.Machine{}).Make(wanted(t).Devices[0]); err != nil {
		t.Fatal(err)
	}
	for _, u := range wanted(t).Units {
		if strings.HasPrefix(u.Name, "20-") {
			put(t, u.Name, u.Text)
		}
	}
	reload(t)
	time.Sleep(time.Second)
	if there() {
		t.Error("the rule stays")
	}
	if gone := foreignGone(t); gone != nil {
		t.Errorf("%q are gone too", gone)
	}
}

// careless is a machine that loses an address on the way.
type careless struct{ hostnet.Machine }

func (m careless) Make(d network.Device) error {
	err := exec.Command("ip", "address", "delete", "198.51.100.5/24", "dev", "eno1").Run()
	if err != nil {
		return err
	}
	return m.Machine.Make(d)
}

// lossUndone: what is lost is seen, and all is put back.
func lossUndone(t *testing.T) {
	t.Helper()
	h, before := read(t), tree(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := Apply(ctx, begin(t, Dir(t.TempDir()), h, changes(t, h)), Effects{Machine: careless{}})
	if err == nil || !strings.Contains(err.Error(), "eno1 has lost the address 198.51.100.5/24") || !strings.Contains(err.Error(), ErrUndone.Error()) {
		t.Errorf("Apply = %v", err)
	}
	if links := ip(t, "link"); strings.Contains(links, "eno1.42") || tree(t) != before {
		t.Errorf("there is\n%s%s", links, tree(t))
	}
}
