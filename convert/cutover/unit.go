package cutover

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/domain"
	"esxodus/inventory"
)

// Unit is a systemd unit that starts a domain when this host boots, after those that
// its VM's host started before it. libvirt starts all at once.
type Unit struct {
	Name string `json:"name"` // esxodus-start-web.service
	Text string `json:"text"`
}

// UnitDir is where an administrator's units are.
const UnitDir = "/etc/systemd/system"

// unitMark begins each of our units, so that no other is ever replaced.
const unitMark = "# Made by esxodus at the cutover of "

// unitName is that of a domain's unit. Of the characters of a domain's name systemd takes
// all but the plus (systemd.unit(5)).
func unitName(name string) string {
	return "esxodus-start-" + strings.ReplaceAll(name, "+", `\x2b`) + ".service"
}

// virsh reaches the libvirt that has units.
const virsh = "/usr/bin/virsh -q -c " + systemURI

const systemURI = "qemu:///system"

// unit is what starts a VM's domain, after those whose VMs come before it.
func unit(name, vm string, a inventory.AutoStart, before []string) Unit {
	after := []string{"network-online.target", "libvirtd.service", "virtqemud.service"}
	for _, b := range before {
		after = append(after, unitName(b))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%q. It may be edited; esxodus rewrites only what it made itself.\n", unitMark, vm)
	fmt.Fprintf(&b, "[Unit]\nDescription=Start the domain %s in its VM's order\nWants=network-online.target\nAfter=%s\n\n", name, strings.Join(after, " "))
	b.WriteString("[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=LC_ALL=C\nTimeoutStartSec=infinity\n")
	fmt.Fprintf(&b, "ExecStart=/bin/sh -c '%s domstate %s | grep -qxE \"running|idle|paused|in shutdown|pmsuspended\" || exec %s start %s'\n", virsh, name, virsh, name)
	switch delay := max(a.StartDelay, 0); {
	case delay == 0:
	case a.WaitForHeartbeat:
		b.WriteString("# The next one begins when its agent answers, or after the delay.\n")
		fmt.Fprintf(&b, "ExecStartPost=-/usr/bin/timeout %d /bin/sh -c 'until %s qemu-agent-command %s \"{\\\"execute\\\":\\\"guest-ping\\\"}\" >/dev/null 2>&1; do sleep 1; done'\n", delay, virsh, name)
	default:
		fmt.Fprintf(&b, "# The next one begins after the delay.\nExecStartPost=/bin/sleep %d\n", delay)
	}
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return Unit{Name: unitName(name), Text: b.String()}
}

// boots is the step that has this host start the domain when it boots, if the VM's host
// did so.
func (f *Facts) boots() []Step {
	v := &f.Job.VM
	if !v.Domain.AutoStart {
		return nil
	}
	s := Step{Kind: StepBoot, Text: fmt.Sprintf("have libvirt start %s when this host boots (undone by taking that back)", v.Name)}
	before, delay := f.before()
	if f.Systemd && f.Job.Target.Libvirt == systemURI && (len(before) > 0 || delay.StartDelay > 0) {
		u := unit(v.Name, v.Source.Name, delay, before)
		s.Unit, s.Text = &u, fmt.Sprintf("have systemd start %s when this host boots, by %s/%s", v.Name, UnitDir, u.Name)
		if len(before) > 0 {
			s.Text += ", after " + strings.Join(before, ", ")
		}
		s.Text += " (undone by removing it)"
	}
	return []Step{s}
}

// before lists the domains of the VMs that the source's host starts before this one, in
// their order, and returns this one's delay. Where they haven't been migrated, nothing
// waits for them.
func (f *Facts) before() (names []string, own inventory.AutoStart) {
	if f.Host == nil {
		return nil, own
	}
	me, err := f.Host.Find(f.Job.VM.Source.ID)
	if err != nil || me.AutoStart == nil {
		return nil, own
	}
	own = *me.AutoStart
	if own.StartDelay < 0 {
		own.StartDelay = f.Host.AutoStart.StartDelay
	}
	var earlier []*inventory.VM
	for i := range f.Host.VMs {
		vm := &f.Host.VMs[i]
		if a := vm.AutoStart; vm.ID != me.ID && a != nil && a.Order > 0 && strings.EqualFold(a.StartAction, "powerOn") && (own.Order <= 0 || a.Order < own.Order) {
			earlier = append(earlier, vm)
		}
	}
	slices.SortStableFunc(earlier, func(a, b *inventory.VM) int { return a.AutoStart.Order - b.AutoStart.Order })
	for _, vm := range earlier {
		names = append(names, domain.Name(vm.Name))
	}
	return names, own
}

// check wants a unit of ours, that only ever starts the domain.
func (u *Unit) check(name string) error {
	if u.Name != unitName(name) || !Ours([]byte(u.Text)) {
		return fmt.Errorf("unit %q: not one that starts %s", u.Name, name)
	}
	return nil
}

// Ours reports whether a unit's text is one that esxodus made.
func Ours(text []byte) bool { return strings.HasPrefix(string(text), unitMark) }
