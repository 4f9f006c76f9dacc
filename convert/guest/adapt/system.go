package adapt

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
)

// Named is a NIC whose name in the guest will be what it is on VMware.
type Named struct {
	Name string // ens192
	MAC  string
}

// Names finds the NICs that the guest's configuration calls by the name that
// systemd makes of their slot on VMware, and that can be held to it: that
// name, by their MAC address. Configuration may be left over from a time when
// they were called so: a guest that sees to the names of its NICs itself has
// them here, too, and a .link file of ours would take them away.
func Names(g guest.Guest, nics []inventory.NIC) []Named {
	if !g.Config.Has["/usr/lib/systemd/network/99-default.link"] && !g.Config.Has["/lib/systemd/network/99-default.link"] {
		return nil // no udev that reads such files
	}
	var out []Named
	for _, n := range nics {
		name := n.SlotName()
		hw, err := net.ParseMAC(n.MAC)
		same := func(o inventory.NIC) bool { return strings.EqualFold(o.MAC, n.MAC) && o.Key != n.Key }
		if name == "" || err != nil || len(hw) != 6 || hw[0]&1 != 0 || slices.Max(hw) == 0 || slices.ContainsFunc(nics, same) {
			continue
		}
		if !g.NamesNIC(n.MAC) && slices.Contains(g.Interfaces, name) && !slices.Contains(g.PinnedNames, name) {
			out = append(out, Named{Name: name, MAC: hw.String()})
		}
	}
	return out
}

// networkDir is where .link files of the guest's admin are.
const networkDir = "/etc/systemd/network"

// nicLinks keeps the names of NICs. Path= keeps VLANs and bridges out, which
// have a NIC's address, but no place on a bus.
func (b *builder) nicLinks() {
	names := Names(b.g, b.in.NICs)
	if link := b.c.Links[networkDir]; link.Missing && len(names) > 0 {
		b.concern(ConcernUnread, ledger.Blocker, networkDir, fmt.Sprintf("%s leads to %s, which is not there, and is to hold the names of NICs", networkDir, link.Target), "make it a directory in the guest, or "+b.instead())
	}
	for _, n := range names {
		e := guest.Edit{
			Path: networkDir + "/10-esxodus-" + n.Name + ".link", Make: true, Mode: 0o644,
			Reason: "the NIC keeps the name that the guest's configuration has for it",
			New:    fmt.Sprintf("# Made by esxodus: the name that this NIC had on VMware.\n[Match]\nMACAddress=%s\nPath=*pci-*\n\n[Link]\nName=%s\n", n.MAC, n.Name),
		}
		if b.has(e.Path) {
			continue
		}
		b.nicFiles = append(b.nicFiles, e)
		b.out.Edits = append(b.out.Edits, e)
		b.entry("guest.nic["+n.Name+"]", n.Name, n.Name, "bound to "+n.MAC+", as its place on the bus has changed")
	}
}

// NICDrivers tells of network configuration, of any guest, that takes NICs by a
// driver that they won't have.
func NICDrivers(g guest.Guest) []ledger.Concern {
	var out []ledger.Concern
	for _, m := range g.Config.NICDrivers {
		out = append(out, ledger.Concern{
			ID: ConcernNIC, Severity: ledger.Warning, Subject: fit.Line(m.File),
			Evidence: fit.Line(fmt.Sprintf("%s matches NICs whose driver is %s, which is VMware's; a virtio NIC's driver is virtio_net", m.File, m.Pattern)),
			Advice:   "let it match them by MAC address, or by either driver, in the guest before the migration; otherwise they get no address",
		})
	}
	return ledger.Merge(out, ConcernNIC)
}

const agentUnit = "qemu-guest-agent.service"

// agents has KVM's agent start.
func (b *builder) agents() {
	if !b.g.Agent || !b.has("/usr/bin/systemctl", "/bin/systemctl") || !b.has("/usr/lib/systemd/system/"+agentUnit, "/lib/systemd/system/"+agentUnit) {
		return
	}
	if own, ok := b.c.Links["/etc/systemd/system/"+agentUnit]; ok {
		if own.Target == "/dev/null" {
			b.concern(ConcernAgent, ledger.Note, agentUnit, "KVM's agent is installed, and its service is masked", "it stays masked; to use it: systemctl unmask --now "+agentUnit)
		}
		return
	}
	b.command("systemctl", "enable", agentUnit)
	b.touch("KVM's agent is enabled", "/etc/systemd/system/*.wants", "/etc/systemd/system/*.wants/"+agentUnit)
}

// labels gives what esxodus made the labels of SELinux.
func (b *builder) labels() {
	selinux := conf.Assignments([]byte(b.c.Files["/etc/selinux/config"].Text))
	policy := selinux["SELINUXTYPE"]
	if selinux["SELINUX"] == "" || selinux["SELINUX"] == "disabled" || policy == "" || strings.ContainsAny(policy, "/ ") || !b.has("/usr/sbin/setfiles", "/sbin/setfiles") {
		return
	}
	var files []string
	for _, e := range b.out.Edits {
		if !e.Remove {
			files = append(files, e.Path)
		}
	}
	for _, p := range b.out.Programs {
		files = append(files, p.Path)
	}
	for _, i := range b.g.Initrds {
		files = append(files, i.Path)
	}
	if _, there := b.c.Links[networkDir]; !there && len(b.nicFiles) > 0 {
		files = append(files, networkDir) // it is made
	}
	b.commands([]string{"setfiles", "-F", path.Join("/etc/selinux", policy, "contexts/files/file_contexts")}, files)
}

// records are the files that package managers and the tools of a conversion
// write besides, and the directories that are made.
func (b *builder) records() {
	b.outlive()
	for _, e := range b.out.Edits {
		if e.Make && !e.Link {
			b.touch("directories of files that come", above(e.Path)...)
		}
	}
	for _, p := range b.out.Programs {
		b.touch("directories of files that come", above(p.Path)...)
	}
	if len(b.out.Install)+len(b.out.Remove) > 0 {
		b.family.records(b)
	}
	if b.lvm() {
		b.touch("LVM's backups of its metadata", "/etc/lvm/archive/", "/etc/lvm/backup/", "/etc/lvm/devices/")
	}
	seen := map[string]bool{}
	b.out.Touches = slices.DeleteFunc(b.out.Touches, func(t guest.Touch) bool {
		again := seen[t.Pattern]
		seen[t.Pattern] = true
		return again
	})
	if b.in.Layout.Boot != nil && b.in.Layout.Boot.UEFI {
		b.concern(ConcernEFI, ledger.Note, "", "the guest boots through UEFI, and will boot by BIOS", "no action is needed, but a snapshot or backup of the old disk can't be restored over the new one")
	}
}
