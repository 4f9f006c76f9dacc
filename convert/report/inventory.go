package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"esxodus/inventory/fit"

	"esxodus/inventory"
)

// Inventory prints a host as tables: the host, its VMs, its networks.
func Inventory(w io.Writer, f Form, h *inventory.Host) error {
	p := f.page(w)
	if h.Version != "" {
		p.wrapped("", fmt.Sprintf("%s: ESXi %s build %s, %s", h.Name, h.Version, h.Build, license(h.License)))
	}
	if h.Thumbprint != "" {
		p.wrapped("thumbprint ", h.Thumbprint)
	}
	p.line("")
	var rows [][]string
	for i := range h.VMs {
		rows = append(rows, vmRow(&h.VMs[i]))
	}
	p.table([]column{
		{head: "VM", cut: true},
		{head: "ID"},
		{head: "POWER"},
		{head: "FW"},
		{head: "CPU"},
		{head: "MEM"},
		{head: "DISKS"},
		{head: "SIZE"},
		{head: "NIC"},
		{head: "GUEST", cut: true},
	}, rows)
	for i := range h.VMs {
		odd(p, &h.VMs[i])
	}
	for _, text := range h.Problems {
		p.wrapped("PROBLEM ", text)
	}
	networks(p, h)
	return p.err
}

// odd prints what contradicts itself in a VM, and what was assumed.
func odd(p *page, vm *inventory.VM) {
	for _, text := range vm.Problems {
		p.wrapped("PROBLEM ", vm.Name+": "+text)
	}
	for _, text := range vm.Notes {
		p.wrapped("NOTE    ", vm.Name+": "+text)
	}
}

func license(l inventory.License) string {
	if l.ReadOnly {
		return "licence " + l.Edition + ": read-only API"
	}
	return "licence " + l.Edition
}

func vmRow(vm *inventory.VM) []string {
	var size int64
	for _, d := range vm.Disks {
		size += d.Capacity
	}
	guest := strings.TrimSuffix(vm.GuestID, "Guest")
	return []string{
		vm.Name, vm.ID, power(vm), string(vm.Firmware), strconv.Itoa(vm.CPU.Count), fit.Bytes(vm.Memory.SizeMiB << 20),
		strconv.Itoa(len(vm.Disks)), fit.Bytes(size), strconv.Itoa(len(vm.NICs)), guest,
	}
}

func power(vm *inventory.VM) string {
	switch {
	case vm.ConnectionState != "" && vm.ConnectionState != "connected":
		return vm.ConnectionState
	case vm.Template:
		return "template"
	}
	return strings.ToLower(strings.TrimPrefix(string(vm.Power), "powered"))
}

func networks(p *page, h *inventory.Host) {
	if len(h.Datastores) > 0 {
		p.line("")
		var rows [][]string
		for _, d := range h.Datastores {
			rows = append(rows, []string{d.Name, d.Type, fit.Bytes(d.Capacity), fit.Bytes(d.Free)})
		}
		p.table([]column{{head: "DATASTORE", cut: true}, {head: "TYPE"}, {head: "SIZE"}, {head: "FREE"}}, rows)
	}
	if len(h.Network.PortGroups) > 0 {
		p.line("")
		var rows [][]string
		for _, g := range h.Network.PortGroups {
			s, _ := h.Network.VSwitch(g.VSwitch)
			rows = append(rows, []string{g.Name, strconv.Itoa(g.VLAN), g.VSwitch, strings.Join(s.Uplinks, " ")})
		}
		p.table([]column{{head: "PORT GROUP", cut: true}, {head: "VLAN"}, {head: "VSWITCH", cut: true}, {head: "UPLINKS", cut: true}}, rows)
	}
}
