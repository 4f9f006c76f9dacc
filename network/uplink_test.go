package network

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

func mustPlan(t *testing.T, host *inventory.Network, o Options, portGroups ...string) Plan {
	t.Helper()
	plan, err := New(host, portGroups, o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func names(units []Unit) []string {
	all := []string{}
	for _, u := range units {
		all = append(all, u.Name)
	}
	return all
}

func findConcern(p Plan, id string) (ledger.Concern, bool) {
	i := slices.IndexFunc(p.Concerns, func(c ledger.Concern) bool { return c.ID == id })
	if i < 0 {
		return ledger.Concern{}, false
	}
	return p.Concerns[i], true
}

// TestUplinkUnits says which files touch an uplink, and in which list.
func TestUplinkUnits(t *testing.T) {
	const macvtap = "10-esxodus-macvtap.network"
	macvlan := func(file string) []string {
		return []string{"30-esxodus-host-eno1.netdev", "30-esxodus-host-eno1.network", file + ".d/esxodus-host-eno1.conf"}
	}
	tests := []struct {
		name       string
		portGroups []string
		o          Options
		units      []string
		optional   []string
		concerns   []string // of those about units
	}{
		{
			name: "no VLAN", portGroups: []string{"VM Network"}, o: Options{Uplinks: map[string]string{"": "eno1"}},
			units: []string{macvtap}, optional: macvlan("zz-esxodus-eno1.network"), concerns: []string{ConcernUp},
		},
		{
			name: "no VLAN, file known", portGroups: []string{"VM Network"}, o: Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1": "lan.network"}},
			units: []string{macvtap}, optional: macvlan("lan.network"),
		},
		{
			name: "VLAN, file known", portGroups: []string{"DMZ"}, o: Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1": "lan.network"}},
			units:    []string{macvtap, "20-esxodus-eno1.42.netdev", "20-esxodus-eno1.42.network", "lan.network.d/esxodus-eno1.42.conf"},
			optional: []string{},
		},
		{
			name: "VLAN, no file known", portGroups: []string{"DMZ"}, o: Options{Uplinks: map[string]string{"": "eno1"}},
			units:    []string{macvtap, "20-esxodus-eno1.42.netdev", "20-esxodus-eno1.42.network", "zz-esxodus-eno1.network.d/esxodus-eno1.42.conf"},
			optional: []string{"zz-esxodus-eno1.network"}, concerns: []string{ConcernFile},
		},
		{
			name: "the host's own VLAN device", portGroups: []string{"DMZ"}, o: Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1.42": "mgmt.network"}},
			units: []string{macvtap}, optional: []string{},
		},
		{
			name: "a VLAN device as an uplink", portGroups: []string{"DMZ"}, o: Options{Uplinks: map[string]string{"": "eno1", "vmnic9": "eno1.42"}},
			units: []string{macvtap}, optional: []string{},
		},
		{
			name: "the host's own macvlan", portGroups: []string{"VM Network"}, o: Options{Uplinks: map[string]string{"": "eno1", "vmnic9": "host-eno1"}},
			units: []string{macvtap}, optional: []string{}, concerns: []string{ConcernUp},
		},
		{
			name: "jumbo frames", portGroups: []string{"storage = fast"}, o: Options{Uplinks: map[string]string{"": "eno1"}, Files: map[string]string{"eno1": "lan.network"}},
			units:    []string{macvtap, "20-esxodus-eno1.7.netdev", "20-esxodus-eno1.7.network", "lan.network.d/esxodus-eno1.7.conf"},
			optional: []string{"20-esxodus-eno1.7.network.d/esxodus-mtu-09000.conf", "lan.network.d/esxodus-mtu-09000.conf"}, concerns: []string{ConcernMTU},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := mustPlan(t, esx(), tt.o, tt.portGroups...)
			if diff := cmp.Diff(tt.units, names(plan.Units)); diff != "" {
				t.Errorf("units (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.optional, names(plan.Optional)); diff != "" {
				t.Errorf("optional units (-want +got):\n%s", diff)
			}
			for _, u := range plan.Units {
				if strings.Contains(u.Text, "Name=eno1\n") || strings.Contains(u.Text, "MTUBytes") {
					t.Errorf("%s configures an uplink:\n%s", u.Name, u.Text)
				}
			}
			for _, u := range plan.Optional {
				where := "copy it to /etc/systemd/network"
				if strings.Contains(u.Name, "/") && !strings.Contains(u.Text, "\n# "+path.Dir(u.Name)+" as here") || !strings.Contains(u.Text, where) {
					t.Errorf("%s doesn't say where to copy it:\n%s", u.Name, u.Text)
				}
			}
			for _, id := range []string{ConcernFile, ConcernUp, ConcernMTU} {
				if _, got := findConcern(plan, id); got != slices.Contains(tt.concerns, id) {
					t.Errorf("concern %s = %v; want %v", id, got, !got)
				}
			}
		})
	}
}

// TestJumbo plans port groups of a plain and of a jumbo vSwitch on one uplink.
func TestJumbo(t *testing.T) {
	o := Options{Uplinks: map[string]string{"": "eno1"}}
	if c, ok := findConcern(mustPlan(t, esx(), o, "DMZ", "VM Network"), ConcernMTU); ok {
		t.Errorf("concern %+v; want none, all planned port groups have 1500", c)
	}
	plan := mustPlan(t, esx(), o, "DMZ", "storage = fast")
	c, _ := findConcern(plan, ConcernMTU)
	if c.Severity != ledger.Warning || !strings.Contains(c.Advice, "resets the link") {
		t.Errorf("concern %+v; want a warning that the link is reset", c)
	}
	host := esx()
	host.VSwitches[0].MTU = 4000
	plan = mustPlan(t, host, o, "DMZ")
	if got, want := names(plan.Optional), "zz-esxodus-eno1.network.d/esxodus-mtu-04000.conf"; !slices.Contains(got, want) {
		t.Errorf("optional units %q; want %s, of the planned port group alone", got, want)
	}
}

// TestSmallMTU gives a VLAN device less than 1500 only if nobody on it has more.
func TestSmallMTU(t *testing.T) {
	for name, tt := range map[string]struct {
		second int // MTU of the other vSwitch on VLAN 42
		want   bool
	}{
		"all small": {1400, true}, "one plain": {1500, false}, "one unset": {0, false}, "one jumbo": {9000, false},
	} {
		t.Run(name, func(t *testing.T) {
			host := esx()
			host.VSwitches[0].MTU, host.VSwitches[1].MTU = 1400, tt.second
			host.PortGroups[4].VLAN = 42
			plan := mustPlan(t, host, Options{Uplinks: map[string]string{"": "eno1"}}, "DMZ")
			i := slices.IndexFunc(plan.Units, func(u Unit) bool { return u.Name == "20-esxodus-eno1.42.network" })
			if got := strings.Contains(plan.Units[i].Text, "MTUBytes=1400\n"); got != tt.want {
				t.Errorf("MTUBytes=1400 = %v; want %v:\n%s", got, tt.want, plan.Units[i].Text)
			}
		})
	}
}

// TestLedgerMTU says what a NIC really gets.
func TestLedgerMTU(t *testing.T) {
	host := esx()
	host.VSwitches[0].MTU = 1400
	o := Options{Uplinks: map[string]string{"": "eno1"}, Map: map[string]string{"trunk": "macvtap:eno9", "evil": "bridge:br0"}}
	plan := mustPlan(t, host, o, "DMZ", "VM Network", "storage = fast", "trunk")
	got := map[string]string{}
	for _, e := range plan.Ledger {
		if name, ok := strings.CutSuffix(e.Property, "].mtu"); ok {
			got[strings.TrimPrefix(name, "portGroups[")] = e.Source + ": " + string(e.Fate) + ", " + e.Target
		}
	}
	want := map[string]string{
		"DMZ": "1400: mapped, 1400", "VM Network": "1400: changed, that of eno1",
		"storage = fast": "9000: changed, that of eno1.7", "trunk": "1400: changed, that of eno9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

// TestDummiesApart has two vSwitches whose devices' names could meet.
func TestDummiesApart(t *testing.T) {
	a := dummyDevice(inventory.PortGroup{VSwitch: "lab.5"})
	b := dummyDevice(inventory.PortGroup{VSwitch: "lab", VLAN: 5})
	if a == b {
		t.Errorf("lab.5, and VLAN 5 of lab, are both %s", a)
	}
}

func TestAdviceQuotes(t *testing.T) {
	host := esx()
	host.VSwitches[1].Name, host.PortGroups[4].VSwitch = "v Switch 1", "v Switch 1"
	c, _ := findConcern(mustPlan(t, host, Options{Uplinks: map[string]string{"vmnic1": "eno1"}}, "storage = fast"), ConcernTeaming)
	if want := `--uplink 'v Switch 1=BOND'`; !strings.Contains(c.Advice, want) {
		t.Errorf("advice %q; want %s in it", c.Advice, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"eno1=lan.network", "eno1=/run/systemd/network/10-netplan-eno1.network", "eno1=a\n.network", "a b=c.network", "=", "eno1=../x.network", "VM Network=bridge:br0", "a=b=none", "vmnic0=eno1", "eno1=\xff.network", "eno1=.network"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		uplinks, _ := ParseUplinks([]string{s})
		ports, _ := ParseMap([]string{s})
		files, _ := ParseFiles([]string{s})
		o := Options{Uplinks: uplinks, Map: ports, Files: files}
		if err := o.check(); err != nil {
			t.Fatalf("what %q was read as is refused: %v", s, err)
		}
		o.Uplinks = map[string]string{"": "eno1"}
		for dev := range files {
			o.Uplinks[""] = dev
		}
		plan, err := New(esx(), allNames(esx()), o)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for _, u := range slices.Concat(plan.Units, plan.Optional) {
			checkLines(t, u)
			if path.Clean(u.Name) != u.Name || strings.HasPrefix(u.Name, "../") || strings.Count(u.Name, "/") > 1 {
				t.Errorf("%q: unit %q", s, u.Name)
			}
		}
	})
}
