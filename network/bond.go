package network

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"esxodus/inventory"
	"esxodus/network/networkd"
)

// bond is what does a port group's teaming here, where an interface of this host is
// named for each of its uplinks; false where that isn't so. What ESXi's policies do
// without the switch knowing, a bond does with one leg in use: a macvtap's address on
// two ports of a switch would flap between them.
func (p *planner) bond(pg inventory.PortGroup) (networkd.Bond, bool) {
	if p.o.Uplinks[pg.VSwitch] != "" {
		return networkd.Bond{}, false
	}
	b := networkd.Bond{Name: bondDevice(pg.VSwitch), For: []string{pg.Name}, Mode: networkd.ActiveBackup}
	for _, v := range p.vmnics(pg) {
		leg := p.o.Uplinks[v]
		if leg == "" || slices.Contains(b.Legs, leg) {
			return networkd.Bond{}, false
		}
		b.Legs = append(b.Legs, leg)
	}
	switch pg.Policy.Teaming {
	case "failover_explicit":
		b.Primary, b.Return = b.Legs[0], pg.Policy.Failback
	case "loadbalance_ip":
		b.Mode = networkd.BalanceXOR
	case "lacp":
		b.Mode = networkd.LACP
	}
	if have, ok := p.bonds[b.Name]; ok {
		if have.Mode != b.Mode || have.Primary != b.Primary || !slices.Equal(have.Legs, b.Legs) {
			return networkd.Bond{}, false // an order of its own: one bond can't have both
		}
		b.For = append(have.For, pg.Name)
	}
	return b, true
}

// bondDevice names the bond of a vSwitch.
func bondDevice(vSwitch string) string {
	name := "bond-" + vSwitch
	if networkd.CheckName(name) == nil {
		return name
	}
	return fmt.Sprintf("bond-%x", sha256.Sum256([]byte(vSwitch)))[:networkd.MaxName]
}
