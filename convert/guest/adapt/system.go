package adapt

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/ledger"
)

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
