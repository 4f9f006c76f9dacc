package doctor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"esxodus/convert/host"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// Host is this host, as a target.
type Host struct {
	Tool host.Runner
	// Facts are what libvirt says of itself.
	Facts   func(ctx context.Context) (plan.TargetFacts, error)
	Network func(ctx context.Context) (network.Host, error)
	Storage volume.Storage // nil: none was named
	Root    string         // of its files; "" for /
	UID     int            // who looks; what 0 alone can see isn't judged by others
}

// OfHost looks at this host.
func OfHost(ctx context.Context, h Host) []Finding {
	v := &stay{Host: h}
	looks := []func(context.Context){v.user, v.kvm, v.libvirt, v.programs, v.storage, v.groups, v.paths, v.networking}
	if v.UID != 0 {
		looks = []func(context.Context){v.user, v.programs}
	}
	for _, look := range looks {
		look(ctx)
	}
	return v.notes
}

// stay is a look at this host.
type stay struct {
	Host
	notes
}

func (v *stay) user(context.Context) {
	if v.UID != 0 {
		v.add("root", ledger.Blocker, "esxodus doesn't run as root here: KVM, libvirt, storage and network weren't looked at", "volumes, devices and domains need it: use sudo")
		return
	}
	v.ok("root", "esxodus runs as root")
}

// kvm looks whether guests can be run by the processor itself.
func (v *stay) kvm(context.Context) {
	f, err := os.OpenFile(v.Root+"/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		_ = f.Close()
		v.ok("kvm", "KVM is there (/dev/kvm)")
		return
	}
	advice := "load it: `modprobe kvm_intel` or `modprobe kvm_amd`"
	if !v.virtualizes() {
		advice = "switch VT-x or AMD-V on in the firmware's settings; in a VM, nested virtualization"
	}
	v.add("kvm", ledger.Warning, fmt.Sprintf("no KVM: %v: domains would be emulated, at a tenth of the speed", err), advice)
}

// virtualizes reports whether the processor says that it can.
func (v *stay) virtualizes() bool {
	f, err := os.Open(v.Root + "/proc/cpuinfo")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) > 0 && words[0] == "flags" {
			return slices.Contains(words, "vmx") || slices.Contains(words, "svm")
		}
	}
	return false
}

func (v *stay) libvirt(ctx context.Context) {
	facts, err := v.Facts(ctx)
	if err != nil {
		v.add("libvirt", ledger.Blocker, err.Error(), v.install("libvirt"))
		return
	}
	v.ok("libvirt", fmt.Sprintf("libvirt answers: domains of type %s, %d there already", strings.Join(facts.VirtTypes, " and "), len(facts.Domains)))
	for _, f := range []struct {
		has  bool
		what string
		id   string
	}{{facts.EFI, "UEFI firmware", "efi"}, {facts.SecureBoot, "UEFI firmware with Secure Boot", "efi"}, {facts.TPM, "emulated TPM", "tpm"}} {
		if !f.has {
			v.add(f.id, ledger.Note, "there is no "+f.what+": VMs that have it are refused", v.install(f.id))
		}
	}
}

// programs looks for what esxodus runs.
func (v *stay) programs(context.Context) {
	var lacks, packages []string
	for _, p := range [][2]string{{"qemu-img", "qemu-img"}, {"lvs", "lvm"}, {"guestfish", "guestfs"}} {
		if !host.Has(p[0]) {
			lacks, packages = append(lacks, p[0]), append(packages, p[1])
		}
	}
	if len(lacks) > 0 {
		v.add("programs", ledger.Warning, strings.Join(lacks, ", ")+": not installed", v.install(packages...))
		return
	}
	v.ok("programs", "the programs that esxodus runs are installed")
}

// storage looks at the storage that was named.
func (v *stay) storage(ctx context.Context) {
	if v.Storage == nil {
		return
	}
	facts, err := v.Storage.Check(ctx, nil)
	switch {
	case err != nil:
		v.add("storage", ledger.Blocker, fmt.Sprintf("%s: %v", v.Storage, err), "")
	case facts.Unpassable != "":
		v.add("storage", ledger.Warning, fmt.Sprintf("%s: other users, and so QEMU, can't pass %s", v.Storage, facts.Unpassable), "`chmod o+x "+facts.Unpassable+"`")
	case facts.Pool != nil:
		v.pool(facts)
	default:
		v.ok("storage", fmt.Sprintf("%s: %s free", v.Storage, fit.Bytes(facts.Free)))
	}
}

// groups tells of volume groups on storage that other hosts may see as well.
func (v *stay) groups(ctx context.Context) {
	if !host.Has("vgs") {
		return
	}
	groups, err := volume.Groups(ctx, v.Tool)
	if err != nil {
		v.add("lvm", ledger.Warning, err.Error(), "")
		return
	}
	network, sanlock := false, false
	for i := range groups {
		g := &groups[i]
		v.group(g)
		network, sanlock = network || g.Over != "", sanlock || g.Locks == "sanlock" && !g.Shut
	}
	v.asleep(ctx, groups)
	if sanlock {
		v.watchdog(ctx)
	}
	v.scanning(ctx, network)
}

func (v *stay) group(g *volume.Group) {
	what := fmt.Sprintf("volume group %s: %s free", g.Name, fit.Bytes(g.Free))
	if text := g.Text(); text != "" {
		what += ", " + text
	}
	switch {
	case g.Shut && g.Owner != "":
		v.add("group", ledger.Note, what+", which isn't this one", "no volume can be made there from here: `man lvmsystemid` says how a group is handed over")
	case g.Shut:
		v.add("group", ledger.Warning, what+", which this host doesn't use", "set use_lvmlockd=1 in lvm.conf, start lvmlockd and its lock manager, and then the locks: `vgchange --lockstart "+g.Name+"` (`man lvmlockd`)")
	case g.Stopped:
		v.add("group", ledger.Warning, what+", which aren't started here", "`vgchange --lockstart "+g.Name+"` (lvmlocks.service does it at boot)")
	case len(g.Others) > 0:
		v.add("group", ledger.Warning, fmt.Sprintf("%s, and now it is the host %q, which has runs there that aren't ended", what, g.Others[0].Host), "commit or roll them back there (`esxodus status`) before you convert to this group here")
	case g.Locks != "" || g.Text() == "":
		v.ok("group", what)
	case g.Owner != "":
		v.add("group", ledger.Note, what, "no domain on it can move to another host while it runs; a group with locks (lvmlockd) lets them")
	default:
		v.add("group", ledger.Warning, what, "esxodus keeps to that by a tag, other programs don't: two hosts that change the group at the same time destroy it. lvmlockd (`man lvmlockd`) guards against that, or an owner (`man lvmsystemid`)")
	}
}

// networking looks at who configures this host's network.
func (v *stay) networking(ctx context.Context) {
	n, err := v.Network(ctx)
	if err != nil {
		v.add("network", ledger.Warning, "this host's network can't be read: "+err.Error(), "without it no device is made for domains: `esxodus network plan` must work first")
		return
	}
	configured := slices.ContainsFunc(n.Links, func(l network.Link) bool { return l.Networkd.File != "" })
	switch version := strings.TrimSuffix(fmt.Sprintf("systemd-networkd %d", n.Networkd.Version), " 0"); {
	case n.Networkd.Unknown != "":
		v.add("network", ledger.Warning, "it can't be known what systemd-networkd does here: "+n.Networkd.Unknown, "run this as root, on a host where D-Bus answers")
	case !n.Networkd.Running:
		v.add("network", ledger.Warning, "systemd-networkd doesn't run", "VLAN devices for domains are its files: `esxodus help network` says how a host is prepared")
	case !configured:
		v.ok("network", version+" runs, and configures no interface of this host")
	default:
		v.ok("network", version+" configures this host")
	}
	for _, m := range n.Managers {
		links := strings.Join(m.Links, ", ")
		switch {
		case links == "":
		case m.Name == network.Netplan:
			v.add("network", ledger.Note, "Netplan writes networkd's files for "+links, "esxodus adds to those. netplan apply configures these interfaces anew: don't run it while sessions hang on them")
		default:
			v.add("network", ledger.Warning, fmt.Sprintf("%s configures %s", m.Name, links), "`esxodus network plan` says how to hand the link over, if domains are to use it")
		}
	}
}

// install is the command that installs what is missing.
func (v *stay) install(what ...string) string {
	debian := map[string]string{"libvirt": "libvirt-daemon-system", "efi": "ovmf", "tpm": "swtpm swtpm-tools", "qemu-img": "qemu-utils", "lvm": "lvm2", "guestfs": "libguestfs-tools"}
	fedora := map[string]string{"libvirt": "libvirt-daemon-kvm", "efi": "edk2-ovmf", "tpm": "swtpm swtpm-tools", "qemu-img": "qemu-img", "lvm": "lvm2", "guestfs": "guestfs-tools"}
	command, names := "apt-get install", debian
	if _, err := os.Stat(v.Root + "/etc/redhat-release"); err == nil {
		command, names = "dnf install", fedora
	}
	for _, w := range what {
		command += " " + names[w]
	}
	return "`" + command + "`"
}
