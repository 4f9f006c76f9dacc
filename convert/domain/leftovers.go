package domain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// leftovers accounts for what no domain has: the VM's place on its host, its
// snapshots, and the keys of the .vmx that this program knows nothing of.
func (b *builder) leftovers() {
	vm, all := b.vm, b.of("")
	all.mapped("id", vm.ID, "metadata")
	all.mapped("path", vm.Path, "metadata")
	all.dropped("changeVersion", vm.ChangeVersion, "the plan checks it before it is applied")
	all.dropped("instanceUUID", vm.InstanceUUID, "vCenter's number of the VM; no guest sees it")
	all.changed("guestID", vm.GuestID, b.sys.describe(), "libvirt has no such field; devices are chosen by it and by what is on the disk")
	all.dropped("guestFullName", vm.GuestFullName, "the guest id in words")
	all.dropped("power", vm.Power, "the state of the moment")
	all.dropped("connectionState", vm.ConnectionState, "the state of the moment")
	all.dropped("diskEnableUUID", b.vm.DiskEnableUUID && !b.serials(), "the disks' bus shows no serial numbers of that length")
	all.mapped("diskEnableUUID", b.vm.DiskEnableUUID && b.serials(), "serial numbers on virtio-scsi")
	all.dropped("changeTracking", vm.ChangeTracking, "a service of ESXi for backups; set the domain's backup up anew")
	b.tools()
	b.state()
	for _, s := range vm.Snapshots {
		of, reason := b.of("snapshots[%s].", s.ID), "the domain starts from the VM's current state, without snapshots"
		of.dropped("id", s.ID, reason)
		of.dropped("parent", s.Parent, reason)
		of.dropped("name", s.Name, reason)
		of.dropped("description", s.Description, reason)
		of.dropped("created", s.Created, reason)
		of.dropped("power", s.Power, reason)
		of.dropped("current", s.Current, reason)
	}
	if n := len(vm.Snapshots); n > 0 {
		b.concern(ConcernSnapshots, ledger.Warning, "", fmt.Sprintf("%d snapshots", n), "the VM's current state is copied, the snapshots are not: keep the VM until nobody wants to go back to one")
	}
	for i, d := range vm.Other {
		all.dropped(fmt.Sprintf("other[%d]", i), d, "a device of a kind that this program doesn't know")
		b.concern(ConcernOther, ledger.Note, d, "a device of a kind that this program doesn't know", "see whether the guest needs it")
	}
	b.extra()
}

// tools accounts for what VMware Tools reported.
func (b *builder) tools() {
	t, of := b.vm.Tools, b.of("tools.")
	of.dropped("status", t.Status, "VMware Tools find no VMware here; qemu-guest-agent does their work")
	of.dropped("version", t.Version, "VMware Tools find no VMware here; qemu-guest-agent does their work")
	of.dropped("hostname", t.Hostname, "the guest's own; not the domain's to say")
	of.dropped("ips", t.IPs, "the guest's own; not the domain's to say")
}

// state is what keeps a VM from being copied as it is.
func (b *builder) state() {
	vm, all := b.vm, b.of("")
	switch strings.ToLower(vm.ConnectionState) {
	case "orphaned", "inaccessible", "invalid", "disconnected":
		b.concern(ConcernState, ledger.Blocker, "", "the host says that the VM is "+vm.ConnectionState, "its files are missing or unreadable: repair or register it again on the host")
	}
	all.dropped("problems", vm.Problems, "can't be")
	for _, p := range vm.Problems {
		b.concern(ConcernProblem, ledger.Blocker, "", p, "look at the VM's settings on the host; what can't be isn't copied")
	}
	all.dropped("template", vm.Template, "libvirt has no templates")
	if vm.Template {
		b.concern(ConcernTemplate, ledger.Note, "", "the VM is a template", "the domain is an ordinary one: don't start it if it's meant for cloning")
	}
	all.dropped("encrypted", vm.Encrypted, "its key is with vCenter's key provider")
	if vm.Encrypted {
		b.concern(ConcernEncrypted, ledger.Blocker, "", "the VM is encrypted", "its files are unreadable without vCenter's key: decrypt it there first")
	}
	all.dropped("consolidationNeeded", vm.ConsolidationNeeded, "a state of the snapshot chain")
	if vm.ConsolidationNeeded {
		b.concern(ConcernConsolidation, ledger.Blocker, "", "the disks need consolidation: their chain isn't what the host believes", "consolidate on the host (Snapshots, Consolidate), or with vim-cmd vmsvc/snapshot.removeall")
	}
	all.dropped("faultTolerance", vm.FaultTolerance, "KVM has none")
	if vm.FaultTolerance {
		b.concern(ConcernFaultTolerance, ledger.Warning, "", "fault tolerance is on: a second VM shadows this one", "turn it off on the source; the domain has no shadow")
	}
}

// extra accounts for the rest of the .vmx, by the meaning of the key's prefix.
func (b *builder) extra() {
	for _, key := range slices.Sorted(maps.Keys(b.vm.Extra)) {
		value := b.vm.Extra[key]
		if value == "" {
			value = `""`
		}
		b.ledger = append(b.ledger, ledger.Entry{Property: "extra[" + key + "]", Source: value, Fate: ledger.Dropped, Reason: extraReason(key)})
	}
	if _, ok := b.vm.Extra["guestinfo.userdata"]; ok {
		b.concern(ConcernCloudInit, ledger.Warning, "", "cloud-init's user data comes through guestinfo, which KVM doesn't have",
			"cloud-init may run again at the first start and reset SSH keys or the network: touch /etc/cloud/cloud-init.disabled in the guest")
	}
	if truth(b.vm.Extra["smbios.reflecthost"]) {
		b.concern(ConcernReflectHost, ledger.Warning, "", "smbios.reflectHost: the guest sees the ESXi host's maker and model", "an OEM-licensed Windows needs another licence here, or <smbios mode='host'/>")
	}
}

func truth(s string) bool {
	return strings.EqualFold(s, "true") || strings.EqualFold(s, "yes") || s == "1"
}

func extraReason(key string) string {
	for _, p := range [][2]string{
		{"guestinfo.", "a message box between ESXi and VMware Tools"},
		{"isolation.", "hardens an interface that the domain doesn't have"},
		{"tools.", "a setting of VMware Tools"},
		{"toolscripts", "a setting of VMware Tools"},
		{"vmci", "VMware's socket between VMs"},
		{"svga.", "a setting of VMware's display adapter"},
		{"mks.", "a setting of VMware's console"},
		{"remotedisplay.", "a setting of VMware's console"},
		{"numa.", "the host places the domain's memory itself"},
		{"sched.", "a setting of ESXi's scheduler"},
		{"monitor_control.", "a setting of VMware's hypervisor"},
		{"pcibridge", "the domain's PCI buses are QEMU's"},
		{"log.", "a log of ESXi's"},
		{"migrate.", "a setting of vMotion"},
		{"snapshot.", "a setting of ESXi's snapshots"},
		{"ctk", "changed block tracking"},
	} {
		if strings.HasPrefix(key, p[0]) {
			return p[1]
		}
	}
	return "no field of a domain is known for it"
}

// serials reports whether the disks show serial numbers.
func (b *builder) serials() bool {
	for _, d := range b.dom.Devices.Disks {
		if d.Serial != "" {
			return true
		}
	}
	return false
}

// describe is the guest in a few words, for the ledger.
func (s system) describe() string {
	name := s.family
	if name == "" {
		name = "unknown"
	}
	return name + " by " + s.from
}

// autostart keeps the flag, which is all that libvirt has.
func (b *builder) autostart() {
	if b.vm.AutoStart == nil {
		return
	}
	a, _ := b.effectiveAutoStart()
	given, of := b.vm.AutoStart, b.of("autoStart.")
	starts := strings.EqualFold(a.StartAction, "powerOn")
	b.start = starts && (b.host.AutoStart.Enabled || b.host.Name == "")
	if starts && !b.start {
		of.changed("startAction", given.StartAction, "no autostart", "autostart is off for the whole ESXi host")
	} else {
		of.mapped("startAction", given.StartAction, "autostart "+strconv.FormatBool(b.start))
	}
	note := "libvirt starts its domains in no order and at once; kept in the domain's metadata"
	of.changed("order", given.Order, "metadata", note)
	of.add("startDelay", seconds(given.StartDelay, a.StartDelay), "metadata", ledger.Changed, note)
	of.add("stopDelay", seconds(given.StopDelay, a.StopDelay), "metadata", ledger.Changed, "see SHUTDOWN_TIMEOUT of libvirt-guests; kept in the domain's metadata")
	of.changed("stopAction", given.StopAction, "metadata", "see ON_SHUTDOWN of libvirt-guests, which is for all domains; kept in the domain's metadata")
	of.dropped("waitForHeartbeat", given.WaitForHeartbeat, "libvirt doesn't wait for a guest")
	if !b.start {
		return
	}
	b.concern(ConcernAutoStart, ledger.Warning, "", "the ESXi host starts this VM with itself", "at cutover its autostart must be off there, or a restart of that host runs VM and domain at once")
	if a.Order > 0 || a.StartDelay > 0 {
		b.concern(ConcernStartOrder, ledger.Note, "", fmt.Sprintf("starts as number %d, %d s before the next", a.Order, a.StartDelay), "libvirt starts all at once: if others must wait for this domain, order them with systemd units")
	}
}

// seconds shows a delay, of which -1 is the host's default.
func seconds(given, effective int) string {
	if given < 0 {
		return fmt.Sprintf("%d s (the host's default)", effective)
	}
	return fmt.Sprintf("%d s", given)
}

// guestConcerns is what the guest must have, or will miss, as a domain.
func (b *builder) guestConcerns() {
	g := b.o.Guest
	switch b.sys.family {
	case windows:
		b.concern(ConcernWindows, ledger.Warning, "", "Windows starts on SATA and "+b.sys.nicWord()+", slower than virtio", "install virtio-win in the guest, then change disks and NICs to virtio with virsh edit")
	case linux:
		b.linuxConcerns()
	case bsd:
	default:
		b.concern(ConcernUnknownOS, ledger.Warning, "", "the guest's system is unknown: "+b.sys.from, "it gets devices that most systems know (SATA, "+b.sys.nicWord()+"); watch its first start")
	}
	b.storedConcerns()
	if b.sys.family != "" && !g.Agent {
		b.concern(ConcernAgent, ledger.Note, "", "qemu-guest-agent was not seen in the guest", "install it for clean shutdown, consistent backups and the guest's addresses in virsh domifaddr")
	}
	for _, n := range g.Notes {
		b.concern(ConcernLook, ledger.Note, "", "the look inside the guest: "+n, "what wasn't seen wasn't checked")
	}
}

// storedConcerns is what the guest's disks say of how it was left.
func (b *builder) storedConcerns() {
	g := b.o.Guest
	suspended := func(where string) {
		b.concern(ConcernHibernated, ledger.Blocker, where, "the guest is hibernated: its swap holds the memory of a machine with other hardware",
			"start it on ESXi, shut it down for good, and plan anew")
	}
	for _, d := range g.Disks {
		for _, p := range d.Partitions {
			if p.Suspended {
				suspended(d.Address)
			}
		}
	}
	for _, v := range g.Volumes {
		if v.Suspended {
			suspended(v.Group + "/" + v.Name)
		}
	}
	fallback := func(path string) bool { return strings.EqualFold(path, "EFI/BOOT/BOOTX64.EFI") }
	if b.vm.Firmware == inventory.EFI && len(g.EFILoaders) > 0 && !slices.ContainsFunc(g.EFILoaders, fallback) {
		b.concern(ConcernLoader, ledger.Warning, "", "the boot entries stay behind, and there is no EFI/BOOT/BOOTX64.EFI, where firmware without entries looks",
			"before the migration, in the guest: grub-install --removable (or copy "+g.EFILoaders[0]+" there)")
	}
}

// lacksVirtio returns the newest kernel's initrd if it is known not to find a
// disk on virtio.
func (b *builder) lacksVirtio() *guest.Initrd {
	g := b.o.Guest
	if len(g.Kernels) == 0 {
		return nil
	}
	newest := g.Kernels[len(g.Kernels)-1]
	for i, r := range g.Initrds {
		if r.Kernel == newest && r.Virtio == guest.No {
			return &g.Initrds[i]
		}
	}
	return nil
}

func (s system) nicWord() string {
	if s.legacy {
		return "an old NIC"
	}
	return "e1000e"
}

// hostOnlyInitramfs are the systems whose initramfs holds only what the
// machine had that it was made on.
const hostOnlyInitramfs = "rhel centos rocky almalinux ol fedora sles sled opensuse-leap opensuse-tumbleweed photon amzn arch gentoo"

func (b *builder) linuxConcerns() {
	g := b.o.Guest
	if lacking := b.lacksVirtio(); lacking != nil {
		b.concern(ConcernInitramfs, ledger.Warning, "", fmt.Sprintf("kernel %s won't find a disk on virtio: %s", lacking.Kernel, lacking.Evidence),
			"before the migration, in the guest, have the initramfs made for any machine (Debian: MODULES=most in "+
				"/etc/initramfs-tools/initramfs.conf, then update-initramfs -u); the boot proof shows whether it starts")
	} else if g.Distro != "" && slices.Contains(strings.Fields(hostOnlyInitramfs), g.Distro) {
		b.concern(ConcernInitramfs, ledger.Warning, "", g.Distro+" makes its initramfs for the machine that it runs on: virtio may be missing",
			`before the migration, in the guest: dracut -f --regenerate-all --add-drivers "virtio_blk virtio_scsi virtio_net virtio_pci" (or the like); the boot proof shows whether it starts`)
	}
	if g.OS == "" {
		return
	}
	if !slices.ContainsFunc(g.Consoles, func(c string) bool { return strings.HasPrefix(c, "ttyS") }) {
		b.concern(ConcernConsole, ledger.Note, "", "the guest's boot entry has no serial console", "the boot proof can only see disk and CPU at work; add console=tty0 console=ttyS0,115200 to see the login")
	}
	if g.OpenVMTools {
		b.concern(ConcernTools, ledger.Note, "", "open-vm-tools are installed", "they don't start here; remove them when the VM's way back is given up")
	}
}
