package domain

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory"
	"esxodus/inventory/fit"
)

// leftovers accounts for what no domain has: the VM's place on its host, its
// snapshots, and the keys of the .vmx that this program knows nothing of.
func (b *builder) leftovers() {
	vm, all := b.vm, b.of("")
	all.mapped("id", vm.ID, "metadata")
	all.mapped("path", vm.Path, "metadata")
	all.dropped("changeVersion", vm.ChangeVersion, "the plan checks it before it is applied")
	all.dropped("instanceUUID", vm.InstanceUUID, "vCenter's number of the VM; no guest sees it")
	all.changed("guestID", vm.GuestID, b.sys.describe(), "libvirt has no such field; it decides on devices, together with what is on the disk")
	all.dropped("guestFullName", vm.GuestFullName, "the guest id in words")
	all.dropped("power", vm.Power, "the state of the moment")
	all.dropped("locks", vm.Locks, "the state of the moment")
	all.dropped("connectionState", vm.ConnectionState, "the state of the moment")
	all.dropped("diskEnableUUID", b.vm.DiskEnableUUID && !b.serials(), "no disk has a UUID to make a serial number from")
	if disks := b.dom.Devices.Disks; b.serials() && disks[0].Target.Bus == busSCSI {
		all.mapped("diskEnableUUID", true, "serial numbers on virtio-scsi")
	} else if b.serials() {
		all.changed("diskEnableUUID", true, "serial numbers on "+disks[0].Target.Bus, fmt.Sprintf("of %d characters", maxSerial))
	}
	all.dropped("changeTracking", vm.ChangeTracking, "an ESXi service for backups; set up a new backup for the domain")
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
		b.concern(ConcernSnapshots, ledger.Warning, "", fit.Count(n, "snapshot"), "only the VM's current state is moved: clone the VM on ESXi first if you may need an older one")
	}
	for i, d := range vm.Other {
		all.dropped(fmt.Sprintf("other[%d]", i), d, "a device of a kind that esxodus doesn't know")
		b.concern(ConcernOther, ledger.Note, d, "a device of a kind that esxodus doesn't know", "check whether the guest needs it")
	}
	all.dropped("notes", vm.Notes, "how the source was read")
	for _, n := range vm.Notes {
		b.concern(ConcernRead, ledger.Warning, "", n, "compare names and notes in the plan with those on the host")
	}
	b.extra()
}

// tools accounts for what VMware Tools reported.
func (b *builder) tools() {
	t, of := b.vm.Tools, b.of("tools.")
	of.dropped("status", t.Status, "VMware Tools find no VMware here; qemu-guest-agent does their work")
	of.dropped("version", t.Version, "VMware Tools find no VMware here; qemu-guest-agent does their work")
	of.dropped("hostname", t.Hostname, "the guest's own setting")
	of.dropped("ips", t.IPs, "the guest's own setting")
}

// state is what keeps a VM from being copied as it is.
func (b *builder) state() {
	vm, all := b.vm, b.of("")
	switch strings.ToLower(vm.ConnectionState) {
	case "orphaned", "inaccessible", "invalid", "disconnected":
		b.concern(ConcernState, ledger.Blocker, "", "the host says that the VM is "+vm.ConnectionState, "its files are missing or unreadable: repair or register it again on the host")
	}
	all.dropped("problems", vm.Problems, "no VM can have them")
	for _, p := range vm.Problems {
		b.concern(ConcernProblem, ledger.Blocker, "", p, "correct the VM's settings on the host")
	}
	all.dropped("template", vm.Template, "libvirt has no templates")
	if vm.Template {
		b.concern(ConcernTemplate, ledger.Note, "", "the VM is a template", "the domain is an ordinary one: don't start it if it is meant for cloning")
	}
	all.dropped("encrypted", vm.Encrypted, "its key is with vCenter's key provider")
	if vm.Encrypted {
		b.concern(ConcernEncrypted, ledger.Blocker, "", "the VM is encrypted", "its files are unreadable without vCenter's key: decrypt it there first")
	}
	all.dropped("consolidationNeeded", vm.ConsolidationNeeded, "a state of the snapshot chain")
	if vm.ConsolidationNeeded {
		b.concern(ConcernConsolidation, ledger.Note, "", "the disks need consolidation: links of a snapshot that was deleted are left in their chain", "nothing: the chain is read as it is, each link's content id checked, and the domain gets one disk without it")
	}
	all.dropped("faultTolerance", vm.FaultTolerance, "KVM has none")
	if vm.FaultTolerance {
		b.concern(ConcernFaultTolerance, ledger.Warning, "", "fault tolerance is on: a second VM shadows this one", "turn it off on ESXi; the domain has no shadow")
	}
}

// hidden is what an inventory shows of a secret.
var hidden = regexp.MustCompile(`^\([0-9]+ bytes\)$`)

// extra accounts for the rest of the .vmx, by the meaning of the key's prefix.
func (b *builder) extra() {
	for _, key := range slices.Sorted(maps.Keys(b.vm.Extra)) {
		value := b.vm.Extra[key]
		if value == "" {
			value = `""`
		}
		if inventory.Secret(key) && !hidden.MatchString(value) {
			value = inventory.Hidden(value) // of a plan that an older inventory made
		}
		b.ledger = append(b.ledger, ledger.Entry{Property: "extra[" + key + "]", Source: value, Fate: ledger.Dropped, Reason: extraReason(key)})
	}
	if _, ok := b.vm.Extra["guestinfo.userdata"]; ok && b.o.Guest.Root == "" { // else its own files tell
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
		{"machine.id", "a message box between ESXi and VMware Tools"},
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
		{"log.", "a log of ESXi"},
		{"uuid.action", "what ESXi answers when the VM's files were moved or copied; the domain keeps the VM's UUID, as after a move"},
		{"uuid.", "ESXi's note of where the VM's files are"},
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
	note := "libvirt starts its domains all at once and in no order: a cutover makes systemd units that do; kept in the domain's metadata"
	of.changed("order", given.Order, "metadata", note)
	of.add("startDelay", seconds(given.StartDelay, a.StartDelay), "metadata", ledger.Changed, note)
	of.add("stopDelay", seconds(given.StopDelay, a.StopDelay), "metadata", ledger.Changed, "see SHUTDOWN_TIMEOUT of libvirt-guests; kept in the domain's metadata")
	of.changed("stopAction", given.StopAction, "metadata", "see ON_SHUTDOWN of libvirt-guests, which is for all domains; kept in the domain's metadata")
	of.changed("waitForHeartbeat", given.WaitForHeartbeat, "qemu-guest-agent", "libvirt doesn't wait for a guest; the systemd unit that a cutover makes waits for its agent")
	if !b.start {
		return
	}
	b.concern(ConcernAutoStart, ledger.Warning, "", "the ESXi host starts this VM when it boots",
		"`esxodus cutover` takes it out of the autostart there, and has this host start the domain when it boots. Without it, turn that off there yourself before the commit, which has this host start the domain: "+
			"or a restart of either host runs VM and domain at the same time")
	if a.Order > 0 || a.StartDelay > 0 {
		b.concern(ConcernStartOrder, ledger.Note, "", fmt.Sprintf("starts as number %d, %d s before the next", a.Order, a.StartDelay), "libvirt starts all domains at once: `esxodus cutover` makes a systemd unit for each, which keeps order and delays")
	}
}

// seconds shows a delay, of which -1 is the host's default.
func seconds(given, effective int) string {
	if given < 0 {
		return fmt.Sprintf("%d s (the host's default)", effective)
	}
	return fmt.Sprintf("%d s", given)
}
