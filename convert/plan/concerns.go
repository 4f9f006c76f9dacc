package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/network"
)

// The ids of the concerns that this package finds; package domain and package
// network have their own.
const (
	ConcernPower        = "power.on"            // the VM runs
	ConcernPowerOff     = "power.cut"           // its power may be cut
	ConcernSuspended    = "power.suspended"     // its memory is on disk
	ConcernFormat       = "disk.format"         // a disk that this esxodus can't read
	ConcernTwice        = "disk.twice"          // another VM has the disk as well
	ConcernUnread       = "disk.unreadable"     // a disk that can't be opened
	ConcernWay          = "disk.way"            // it can't come as was asked for
	ConcernNoDisk       = "disk.none"           // nothing to copy
	ConcernVolume       = "target.volume"       // a volume of that name exists
	ConcernDomain       = "target.domain"       // a domain of that name or UUID exists
	ConcernTargetMAC    = "target.mac"          // a domain with that MAC exists
	ConcernSpace        = "target.space"        // the target is too small
	ConcernOvercommit   = "target.overcommit"   // a thin pool has promised more than it has
	ConcernBoot         = "target.boot"         // this host's start doesn't activate its volumes
	ConcernMemory       = "target.memory"       // the directory's file system is in memory
	ConcernOnePath      = "target.one-path"     // the volume group uses one path to a disk of several
	ConcernLayout       = "disk.layout"         // it can't have the layout that was asked for
	ConcernLeft         = "guest.left"          // it should be changed, and can't be
	ConcernHighBoot     = "disk.high-boot"      // /boot may lie where a BIOS doesn't read the disk
	ConcernFirmware     = "target.firmware"     // the target lacks UEFI, Secure Boot or a TPM
	ConcernPath         = "target.path"         // QEMU can't reach the directory
	ConcernShared       = "target.shared"       // other hosts may see the volume group
	ConcernWriter       = "target.writer"       // one of them has unfinished runs there
	ConcernFleeting     = "network.fleeting"    // a device won't be there after the next boot
	ConcernLink         = "network.device"      // the host has no such interface
	ConcernTarget       = "target.unknown"      // libvirt could not be asked
	ConcernVirtType     = "target.virt-type"    // the target can't do what was asked
	ConcernEmulated     = "cpu.emulated"        // the domains run without KVM
	ConcernLevel        = "cpu.level"           // the guest is built for newer processors
	ConcernClashName    = "batch.name"          // two VMs come to one domain name
	ConcernClashUUID    = "batch.uuid"          // two VMs have one SMBIOS UUID
	ConcernClashMAC     = "batch.mac"           // two NICs have one MAC
	ConcernClashHost    = "batch.hostname"      // two guests have one host name
	ConcernClashMachine = "batch.machineID"     // two guests are copies of one
	ConcernInaccessible = "source.inaccessible" // the host can't read the VM itself
	ConcernFiles        = "source.files"        // VMs are read from files alone
	ConcernSourceUnread = "source.unread"       // a part of the source
	ConcernConfig       = "source.config"       // none, or one that no domain can have
	ConcernUnplanned    = "vm.unplanned"        // no plan could be made of it
)

// concerns finds what stands in the way of one VM on this target.
func concerns(vm *inventory.VM, v *VMPlan, f Facts, o Options) []ledger.Concern {
	out := powerConcerns(vm, f, o)
	out = append(out, stateConcerns(vm)...)
	if len(vm.Disks) == 0 {
		out = append(out, ledger.Concern{
			ID: ConcernNoDisk, Severity: ledger.Warning, Evidence: "the VM has no disk",
			Advice: "the domain is defined without one; nothing is copied and nothing can boot from disk",
		})
	}
	out = append(out, FormatConcerns(vm)...)
	out = append(out, levelConcerns(&v.Guest, virtType(o.VirtType, f.Target), f.Target)...)
	if u := f.Unread[vm.ID]; u != nil {
		out = append(out, ledger.Concern{
			ID: ConcernUnread, Severity: ledger.Blocker, Subject: u.Address, Evidence: "the disk can't be opened: " + u.Err.Error(),
			Advice: unreadAdvice(v, u),
		})
	}
	out = append(out, v.wayConcerns(f.Host.License)...)
	if way := f.Detours[vm.ID]; way.Way != "" {
		out = append(out, way.concern())
	}
	for _, d := range v.Disks {
		facts := f.volume(d.Volume)
		if facts.Unfit != "" {
			out = append(out, ledger.Concern{
				ID: ConcernVolume, Severity: ledger.Blocker, Subject: d.Address, Evidence: fmt.Sprintf("%s can't be made: %s", d.Volume, facts.Unfit),
				Advice: "choose another --storage for this VM, or fix what is named here",
			})
		}
		if there := facts.Exists; there != "" {
			out = append(out, ledger.Concern{
				ID: ConcernVolume, Severity: ledger.Blocker, Subject: d.Address, Evidence: fmt.Sprintf("%s exists: %s", d.Volume, there),
				Advice: "esxodus overwrites nothing. If it is from an earlier run, `esxodus status` lists it: resume that or roll it back; else rename or remove it, or choose another --storage",
			})
		}
	}
	out = append(out, firmwareConcerns(vm, v, f.Target)...)
	return append(out, targetConcerns(vm, v, f)...)
}

// unreadAdvice says what to do about a disk that can't be opened.
func unreadAdvice(v *VMPlan, u *UnreadError) string {
	if errors.Is(u.Err, vmdk.ErrObject) {
		return "a lease streams it, where the licence is a paid one and the VM is off: give --scratch DIR, a directory of this machine with room for what is in use of the disk; " +
			"else clone it to a VMFS or NFS datastore with `vmkfstools -i` on ESXi"
	}
	if d, ok := v.Disk(u.Address); ok && d.Origin().Way == WayFile {
		return "see that all files of the disk are there, readable and whole, and plan again; from a host, --via 'VM=https' takes them over HTTPS"
	}
	if _, here := errors.AsType[*fs.PathError](u.Err); here {
		return "that is on this machine: --scratch DIR must be writable and have room for what is in use of the disk, on a file system that holds a file of its size (ext4: 16 TiB)"
	}
	fix := "fix on ESXi what is named here (its log is in the VM's directory), and plan again"
	if v.Via == "" {
		fix += "; where a host serves no disks by HTTPS they come by SSH, if that lets us in: `esxodus doctor` says whether it does"
	}
	return fix
}

// stateConcerns is what the host says of a VM that it can't read.
func stateConcerns(vm *inventory.VM) []ledger.Concern {
	if s := vm.ConnectionState; s != "" && s != "connected" {
		return []ledger.Concern{{
			ID: ConcernInaccessible, Severity: ledger.Blocker, Evidence: "ESXi says the VM is " + s,
			Advice: "fix or unregister it on ESXi: its files can't be read",
		}}
	}
	return nil
}

func powerConcerns(vm *inventory.VM, f Facts, o Options) []ledger.Concern {
	if cs := fileConcerns(vm, f.Source, o); len(cs) > 0 {
		return cs
	}
	switch {
	case vm.Power == inventory.Suspended:
		return []ledger.Concern{{
			ID: ConcernSuspended, Severity: ledger.Blocker, Evidence: "the VM is suspended: part of its state is in memory",
			Advice: "resume it on ESXi and shut its guest down",
		}}
	case vm.Power == inventory.PoweredOn && o.Shutdown == ShutdownNever:
		return []ledger.Concern{{
			ID: ConcernPower, Severity: ledger.Blocker, Evidence: "the VM is powered on: its disks change and are locked",
			Advice: powerAdvice(vm, f.Host.License),
		}}
	case vm.Power == inventory.PoweredOn && f.Host.License.ReadOnly && o.Shutdown.Via(f.Host.License) == inventory.ViaAPI:
		return []ledger.Concern{{
			ID: ConcernPower, Severity: ledger.Blocker, Evidence: "the VM is powered on, and this host's licence forbids a shutdown through the API",
			Advice: "use SSH, which every licence allows: --shutdown ssh",
		}}
	case vm.Power == inventory.PoweredOn && o.PowerOff > 0:
		return []ledger.Concern{{
			ID: ConcernPowerOff, Severity: ledger.Warning, Evidence: cutEvidence(vm, o.PowerOff),
			Advice: "its file systems are then as after a power cut: journals are replayed, databases recover, what wasn't written is lost; see that its Tools run, or shut it down by hand",
		}}
	case vm.Power == inventory.PoweredOn:
		return []ledger.Concern{{
			ID: ConcernPower, Severity: ledger.Note, Evidence: "the VM is powered on",
			Advice: "the plan shuts it down first; a rollback powers it on again",
		}}
	}
	return nil
}

// cutEvidence says when a VM that runs loses its power.
func cutEvidence(vm *inventory.VM, after time.Duration) string {
	if vm.Tools.Status == "guestToolsNotRunning" {
		return "the VM is powered on, and VMware Tools don't run in it: nobody can ask it to shut down, and its power is cut at once"
	}
	return fmt.Sprintf("the VM is powered on, and its power is cut if it isn't off %v after it was asked to shut down", after)
}

// powerAdvice names the three ways on for a VM that runs.
func powerAdvice(vm *inventory.VM, l inventory.License) string {
	how := "--shutdown api"
	if l.ReadOnly {
		how = "--shutdown ssh (this host's licence forbids it through the API)"
	}
	return fmt.Sprintf("one of: shut it down by hand (on ESXi's shell: `vim-cmd vmsvc/power.shutdown %s`); "+
		"let esxodus do it with %s; or wait for warm migration, which a later esxodus will have", vm.ID, how)
}

// FormatConcerns refuses the disks whose bytes no file of the host's has.
func FormatConcerns(vm *inventory.VM) []ledger.Concern {
	var out []ledger.Concern
	for _, d := range vm.Disks {
		if slices.Contains([]inventory.DiskFormat{inventory.FormatFlat, inventory.FormatSparse, inventory.FormatSESparse}, d.Format) {
			continue
		}
		out = append(out, ledger.Concern{
			ID: ConcernFormat, Severity: ledger.Blocker, Subject: d.Address(), Evidence: fmt.Sprintf("the disk's backing is %q: %s", d.Format, d.Path),
			Advice: "its data are on a LUN, not in a file: clone it into one with vmkfstools -i on ESXi, or present the LUN to the target host",
		})
	}
	return out
}

// firmwareConcerns compares what the VM needs of the target's packages with
// what is installed there.
func firmwareConcerns(vm *inventory.VM, v *VMPlan, t TargetFacts) []ledger.Concern {
	if t.Missing != "" {
		return nil
	}
	var out []ledger.Concern
	lacks := func(what, install string) {
		out = append(out, ledger.Concern{
			ID: ConcernFirmware, Severity: ledger.Blocker, Evidence: "libvirt on the target has no " + what, Advice: "install " + install,
		})
	}
	switch {
	case v.Layout.Boot != nil: // starts by BIOS
	case vm.Firmware == inventory.EFI && !t.EFI:
		lacks("UEFI firmware", "the package ovmf")
	case vm.SecureBoot && !t.SecureBoot:
		lacks("UEFI firmware with Secure Boot", "the package ovmf, with its secboot build")
	}
	if vm.TPM && !t.TPM {
		lacks("emulated TPM", "the packages swtpm and swtpm-tools")
	}
	return out
}

// targetConcerns compares the VM with the domains that exist.
func targetConcerns(vm *inventory.VM, v *VMPlan, f Facts) []ledger.Concern {
	var out []ledger.Concern
	for _, k := range f.Target.Domains {
		if k.Name == v.Name || strings.EqualFold(k.UUID, v.Domain.UUID) {
			other := "rename that domain"
			if strings.EqualFold(k.UUID, v.Domain.UUID) {
				other = "undefine that domain, if nobody needs it (another name doesn't help: its UUID stays)"
			}
			out = append(out, ledger.Concern{
				ID: ConcernDomain, Severity: ledger.Blocker, Evidence: fmt.Sprintf("domain %s (UUID %s) exists on the target", k.Name, k.UUID),
				Advice: "if `esxodus status` lists it, an earlier run made it: roll that back, or go on with it (if it is committed, this VM is migrated); otherwise " + other,
			})
		}
		for _, n := range vm.NICs {
			if n.MAC != "" && slices.ContainsFunc(k.MACs, func(m string) bool { return strings.EqualFold(m, n.MAC) }) {
				out = append(out, ledger.Concern{
					ID: ConcernTargetMAC, Severity: ledger.Warning, Subject: fmt.Sprintf("ethernet%d", n.Index),
					Evidence: fmt.Sprintf("domain %s also has the MAC %s", k.Name, n.MAC),
					Advice:   "two guests with the same MAC on one network lose traffic: change one before they run together",
				})
			}
		}
	}
	return out
}

// addClashes tells each VM of the plan what it shares with another one of it.
func addClashes(p *Plan) {
	addDuplicates(p, ledger.Concern{
		ID: ConcernClashName, Severity: ledger.Blocker, Evidence: "would become the same domain",
		Advice: "rename one of them on ESXi, or migrate them from different plans",
	}, func(v *VMPlan) []string { return []string{v.Name} })
	addDuplicates(p, ledger.Concern{
		ID: ConcernClashUUID, Severity: ledger.Blocker, Evidence: "have the same SMBIOS UUID",
		Advice: "libvirt refuses two domains with the same UUID: if one is a clone, give it its own uuid.bios on ESXi",
	}, func(v *VMPlan) []string { return []string{v.Domain.UUID} })
	addDuplicates(p, ledger.Concern{
		ID: ConcernClashMAC, Severity: ledger.Warning, Evidence: "have the same MAC",
		Advice: "two guests with the same MAC on one network lose traffic: change one",
	}, func(v *VMPlan) []string {
		macs := make([]string, len(v.Source.NICs))
		for i, n := range v.Source.NICs {
			macs[i] = n.MAC
		}
		return macs
	})
	addDuplicates(p, ledger.Concern{
		ID: ConcernClashHost, Severity: ledger.Note, Evidence: "have the same host name",
		Advice: "what goes by it (DNS, DHCP, backups, monitoring) takes one for the other, there as here; if one is a clone, give it another: hostnamectl hostname NAME",
	}, func(v *VMPlan) []string {
		name, _, _ := strings.Cut(strings.ToLower(v.Guest.Hostname), ".")
		if name == "localhost" {
			return nil
		}
		return []string{name}
	})
	addDuplicates(p, ledger.Concern{
		ID: ConcernClashMachine, Severity: ledger.Note, Evidence: "have the same /etc/machine-id, whose digest is",
		Advice: "they are copies of one guest: systemd-networkd shows a DHCP server the same client, and the SSH host keys may be the same; in one of them: rm /etc/machine-id && systemd-machine-id-setup, and make new keys",
	}, func(v *VMPlan) []string { return []string{v.Guest.Config.MachineID} })
}

// addShared refuses a disk that another VM of the host has as well, in this plan or
// not: of two copies each would go its own way. A disk beneath two VMs' snapshots
// isn't one: nobody writes to it.
func addShared(p *Plan, h *inventory.Host) {
	owners := make(map[string][]*inventory.VM)
	for i := range h.VMs {
		for _, d := range h.VMs[i].Disks {
			if d.Path != "" {
				owners[d.Path] = append(owners[d.Path], &h.VMs[i])
			}
		}
	}
	for i := range p.VMs {
		v := &p.VMs[i]
		for _, d := range v.Source.Disks {
			var others []string
			for _, o := range owners[d.Path] {
				if o.ID != v.Source.ID {
					others = append(others, fmt.Sprintf("%q", o.Name))
				}
			}
			switch n := len(owners[d.Path]); {
			case n < 2:
				continue
			case len(others) == 0:
				others = []string{"the same VM at another address"}
			}
			v.Concerns = append(v.Concerns, ledger.Concern{
				ID: ConcernTwice, Severity: ledger.Blocker, Subject: d.Address(),
				Evidence: fmt.Sprintf("%s is a disk of %s, too", d.Path, strings.Join(others, " and ")),
				Advice:   "if all but one of them are left over, remove those from the inventory (with --from, their .vmx files); else detach it from all VMs, convert those, copy the disk by itself with `esxodus copy SRC DST`, and attach that to their domains (<shareable/>, cache='none')",
			})
		}
	}
}

// addDuplicates adds the concern c to all VMs that share a value, which
// becomes its subject; c.Evidence is the verb between the VMs and the value.
func addDuplicates(p *Plan, c ledger.Concern, values func(*VMPlan) []string) {
	owners := make(map[string][]int)
	for i := range p.VMs {
		for _, v := range values(&p.VMs[i]) {
			if v != "" {
				owners[v] = append(owners[v], i)
			}
		}
	}
	for value, is := range owners {
		if len(is) < 2 {
			continue
		}
		const most = 5 // each of them has the list: of a thousand it would be a million names
		var names []string
		for _, i := range is[:min(len(is), most)] {
			names = append(names, p.called(i))
		}
		if more := len(is) - most; more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		found := c
		found.Subject = value
		found.Evidence = fmt.Sprintf("%s %s %s", strings.Join(names, " and "), c.Evidence, value)
		for _, i := range slices.Compact(is) {
			p.VMs[i].Concerns = append(p.VMs[i].Concerns, found)
		}
	}
}

// called is VM i's name in quotes, with its host in a plan of several.
func (p *Plan) called(i int) string {
	name := fmt.Sprintf("%q", p.VMs[i].Source.Name)
	if len(p.More) > 0 {
		name += " on " + p.SourceOf(i).Label()
	}
	return name
}

// addNetwork gives each VM the concerns of the port groups that its NICs use,
// and the plan the rest.
func addNetwork(p *Plan) {
	for _, c := range p.Network.Concerns {
		used := false
		for i := range p.VMs {
			v := &p.VMs[i]
			if c.Subject != "" && slices.ContainsFunc(v.Source.NICs, func(n inventory.NIC) bool { return network.Label(n.Network()) == c.Subject }) {
				v.Concerns = append(v.Concerns, c)
				used = true
			}
		}
		if !used {
			p.Concerns = append(p.Concerns, c)
		}
	}
	p.Network.Concerns = nil
}

// placeConcerns compares the whole plan with the target's room and abilities.
func placeConcerns(p *Plan, f Facts) []ledger.Concern {
	out := spaceConcerns(p, &f.Storage)
	if why := f.Storage.Paths.Why(); why != "" {
		out = append(out, ledger.Concern{
			ID: ConcernOnePath, Severity: ledger.Blocker, Subject: p.Target.Storage,
			Evidence: "the volume group is on " + why, Advice: volume.PathAdvice,
		})
	}
	if dir := f.Storage.Unpassable; dir != "" {
		out = append(out, ledger.Concern{
			ID: ConcernPath, Severity: ledger.Warning, Subject: dir,
			Evidence: "other users can't enter the directory " + dir,
			Advice:   "QEMU runs as its own user: chmod o+x the directory, or choose one such as /var/lib/libvirt/images",
		})
	}
	if kind := f.Storage.FSType; kind == "tmpfs" || kind == "ramfs" {
		out = append(out, ledger.Concern{
			ID: ConcernMemory, Severity: ledger.Warning, Subject: p.Target.Storage, Evidence: "the directory is in this host's memory (" + kind + "): the disks are gone with its next start",
			Advice: "choose a directory on a disk: on some systems /tmp is in memory, and /run and /dev/shm are on all",
		})
	}
	if vg := f.Storage.Sharing.Name; f.Storage.Activation.NotAtBoot {
		out = append(out, ledger.Concern{
			ID: ConcernBoot, Severity: ledger.Warning, Subject: p.Target.Storage, Evidence: volume.NotAtBoot(vg), Advice: volume.BootAdvice(vg),
		})
	}
	out = append(out, sharingConcerns(p.Target.Storage, f.Storage.Sharing)...)
	out = append(out, linkConcerns(p, f.Target.Links)...)
	out = append(out, fleetingConcerns(p, f.Network)...)
	if p.Target.VirtType == "qemu" {
		out = append(out, ledger.Concern{
			ID: ConcernEmulated, Severity: ledger.Warning, Evidence: "the domains are of type qemu: their CPUs are emulated",
			Advice: "expect a tenth of the speed; on a host with KVM use --virt-type kvm",
		})
	}
	switch {
	case f.Target.Missing != "":
		out = append(out, ledger.Concern{
			ID: ConcernTarget, Severity: ledger.Warning, Subject: p.Target.Libvirt, Evidence: f.Target.Missing,
			Advice: "the plan could not be compared with the target's domains; before you convert, plan where libvirt answers",
		})
	case !slices.Contains(f.Target.VirtTypes, p.Target.VirtType):
		out = append(out, ledger.Concern{
			ID: ConcernVirtType, Severity: ledger.Blocker, Subject: p.Target.VirtType,
			Evidence: fmt.Sprintf("libvirt on the target offers %s", strings.Join(f.Target.VirtTypes, " and ")),
			Advice:   "enable virtualisation in the host's firmware, or plan with --virt-type qemu (slow)",
		})
	}
	return out
}

// linkConcerns names the interfaces that the attachments stand on and that the
// host doesn't have.
func linkConcerns(p *Plan, links []string) []ledger.Concern {
	var out []ledger.Concern
	seen := make(map[string]bool)
	for _, a := range p.Network.Attachments {
		link := a.Uplink
		if link == "" {
			link = a.Device
		}
		made := func(u network.Unit) bool { return strings.Contains(u.Text, "Name="+link+"\nKind=") }
		if links == nil || link == "" || seen[link] || slices.Contains(links, link) || slices.ContainsFunc(p.Network.Units, made) {
			continue
		}
		seen[link] = true
		out = append(out, ledger.Concern{
			ID: ConcernLink, Severity: ledger.Warning, Subject: link,
			Evidence: fmt.Sprintf("this host has no interface %s; it has %s", link, strings.Join(links, ", ")),
			Advice:   "the domain can't start without it: name another with --uplink or --network, or create it before the start",
		})
	}
	return out
}

// fleetingConcerns names the devices that must be made before a domain may have
// them, and those without which it doesn't start. That is seen again when a VM is converted: a plan may be saved before.
func fleetingConcerns(p *Plan, here *network.Host) []ledger.Concern {
	if here == nil {
		return nil
	}
	var out []ledger.Concern
	for _, dev := range here.Unmade(&p.Network) {
		out = append(out, ledger.Concern{
			ID: network.ConcernFlap, Severity: ledger.Warning, Subject: dev, Evidence: dev + " has no virtual functions yet",
			Advice: "a domain with one starts once there are some: `esxodus network apply` makes them, or where it leaves that to the next boot, that",
		})
	}
	for _, dev := range here.Fleeting(&p.Network) {
		out = append(out, ledger.Concern{
			ID: ConcernFleeting, Severity: ledger.Warning, Subject: dev,
			Evidence: "nothing makes " + dev + " when this host boots, so that its domains wouldn't start",
			Advice:   "make it with `esxodus network apply`, or have convert do that first with --apply-network: no VM on it is converted before that",
		})
	}
	return out
}

// Blockers returns what keeps VM i of the plan from being converted: its own
// blockers, and those of the plan that concern every VM.
func (p *Plan) Blockers(i int) []ledger.Concern {
	var out []ledger.Concern
	for _, c := range slices.Concat(p.VMs[i].Concerns, p.Concerns) {
		if c.Severity == ledger.Blocker {
			out = append(out, c)
		}
	}
	return out
}

// BlockedError means that a plan's blockers keep a VM from being converted.
type BlockedError struct {
	VM       string
	Concerns []ledger.Concern // at least one
}

func (e *BlockedError) Error() string {
	lines := make([]string, len(e.Concerns))
	for i, c := range e.Concerns {
		lines[i] = c.ID + ": " + c.Evidence
	}
	return e.VM + " can't be converted as it is: " + strings.Join(lines, "; ")
}
