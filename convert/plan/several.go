package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"esxodus/inventory"
)

// Divide returns, for each of several hosts, what is asked for of its VMs. What names a
// VM must name one of one host.
func (o Options) Divide(hosts []*inventory.Host) ([]Options, error) {
	if len(hosts) == 1 {
		return []Options{o}, nil
	}
	out := make([]Options, len(hosts))
	for i := range out {
		out[i] = o
		out[i].VMs, out[i].Off = nil, nil
		out[i].Via, out[i].Addresses = maps.Clone(o.Via), maps.Clone(o.Addresses)
	}
	for _, name := range o.VMs {
		at, err := hostOf(hosts, name)
		if err != nil {
			return nil, err
		}
		out[at].VMs = append(out[at].VMs, name)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(o.Via)), slices.Collect(maps.Keys(o.Addresses))) {
		if name == "" { // of all
			continue
		}
		at, err := hostOf(hosts, name)
		if err != nil {
			return nil, err
		}
		for i := range out {
			if i != at {
				delete(out[i].Via, name)
				delete(out[i].Addresses, name)
			}
		}
	}
	return out, nil
}

// hostOf is the number of the host that has the VM of a name or id.
func hostOf(hosts []*inventory.Host, name string) (int, error) {
	var found []string
	at := -1
	for i, h := range hosts {
		if slices.ContainsFunc(h.VMs, func(vm inventory.VM) bool { return vm.Name == name || vm.ID == name }) {
			at = i
			found = append(found, h.Name)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("no VM of these hosts has the name or id %q", name)
	case 1:
		return at, nil
	}
	return 0, fmt.Errorf("%q is the name or id of VMs on %s: say which by its name, or plan those hosts apart", name, strings.Join(found, " and "))
}
