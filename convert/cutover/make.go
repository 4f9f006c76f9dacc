package cutover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/plan"
	"esxodus/inventory"

	"libvirt.org/go/libvirtxml"
)

// How long a guest may take to answer, as the boot proof has it: an init may wait for
// a device or a network for minutes. Without KVM all takes some ten times as long.
const (
	answerWithin   = 10 * time.Minute
	emulatedAnswer = 20 * time.Minute
	mostAnswer     = 24 * time.Hour
)

// Facts is what a cutover is made from.
type Facts struct {
	Job *plan.VMJob
	Run string // that made the domain
	// Host is the source's as it is now; nil where the VMs are read from files.
	Host *inventory.Host
	// ShutDown is how the migration shut the VM down, "" where it was off already.
	ShutDown inventory.Via
	// Via is how the host is asked for what changes something there, "" for the way
	// that its licence allows.
	Via   inventory.Via
	Ports []uint16
	// Systemd says that it runs on this host.
	Systemd bool
	// Within is how long the guest may take to answer, 0 for the default.
	Within time.Duration
}

// New makes the cutover of one VM.
func New(f Facts) (*Job, error) {
	v := &f.Job.VM
	j := &Job{Name: v.Name, VM: v.Source.Name, ID: v.Source.ID, Host: f.Job.Source.Host, Migration: f.Run}
	source := Step{Kind: StepSource, Via: f.ShutDown, Text: fmt.Sprintf("check that %q is off and unchanged since it was copied, and that nobody has its addresses", j.VM)}
	if source.Via != "" {
		source.Text += fmt.Sprintf(" (undone by powering it on through %s, as the migration shut it down: what was copied is old then)", upper(source.Via))
	}
	j.Acts = append(j.Acts, source)
	auto, err := f.autoStart()
	if err != nil {
		return nil, err
	}
	j.Acts = append(j.Acts, auto...)
	j.Acts = append(j.Acts, Step{Kind: StepStart, Text: fmt.Sprintf("start the domain %s (undone by stopping it)", j.Name)})
	expect, err := f.expect()
	if err != nil {
		return nil, err
	}
	j.Acts = append(j.Acts, Step{Kind: StepAnswer, Expect: expect, Text: expect.text()})
	j.Acts = append(j.Acts, f.boots()...)
	return j, nil
}

func upper(v inventory.Via) string { return strings.ToUpper(string(v)) }

// autoStart is the step that takes the VM out of its host's autostart, if it is in it.
func (f *Facts) autoStart() ([]Step, error) {
	if f.Host == nil {
		return nil, nil
	}
	vm, err := f.Host.Find(f.Job.VM.Source.ID)
	if err != nil {
		return nil, err
	}
	if vm.AutoStart == nil || !strings.EqualFold(vm.AutoStart.StartAction, "powerOn") {
		return nil, nil
	}
	via := f.Via
	if via == "" {
		via = plan.ShutdownAuto.Via(f.Host.License)
	}
	return []Step{{Kind: StepAutoStart, Via: via, Text: fmt.Sprintf(
		"take %q out of the autostart of %s through %s, so that the host's next boot doesn't start it beside the domain (undone by putting it back)", vm.Name, f.Host.Name, upper(via))}}, nil
}

// expect is what must answer.
func (f *Facts) expect() (*Expect, error) {
	v := &f.Job.VM
	within := f.Within
	if within == 0 && f.Job.Target.VirtType == "kvm" {
		within = answerWithin
	} else if within == 0 {
		within = emulatedAnswer
	}
	e := &Expect{Seconds: int(within.Seconds()), Ports: f.Ports, Agent: v.Guest.Agent}
	if e.Ports == nil {
		e.Ports = proofPorts(v)
	}
	var d libvirtxml.Domain
	if err := d.Unmarshal(v.Domain.XML); err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", err)
	}
	if d.Devices == nil {
		return e, nil
	}
	for _, i := range d.Devices.Interfaces {
		if i.MAC == nil {
			continue
		}
		n, why := nicOf(v, &i)
		if why == "" {
			e.NICs = append(e.NICs, n)
		} else {
			e.Untried = append(e.Untried, fmt.Sprintf("%s (%s)", n.label(), why))
		}
	}
	return e, nil
}

// proofPorts are those that the network proof tried.
func proofPorts(v *plan.VMPlan) []uint16 {
	for _, s := range v.Steps {
		if s.Expect != nil && s.Expect.Network != nil {
			return s.Expect.Network.Ports
		}
	}
	return nil
}

// nicOf is a NIC of the domain, and why it can't be asked: "" where it can.
func nicOf(v *plan.VMPlan, i *libvirtxml.DomainInterface) (n NIC, why string) {
	n = NIC{Index: -1, MAC: strings.ToLower(i.MAC.Address)}
	for _, s := range v.Source.NICs {
		if strings.EqualFold(s.MAC, n.MAC) {
			n.Index = s.Index
		}
	}
	if k := slices.IndexFunc(v.NICs, func(g guest.NIC) bool { return g.Index == n.Index }); k >= 0 {
		n.Name = v.NICs[k].Name
		for _, a := range v.NICs[k].Addresses {
			if askable(a.Prefix) {
				n.Addresses = append(n.Addresses, a)
			}
		}
	}
	switch src := i.Source; {
	case i.Link != nil && i.Link.State == "down":
		return n, "its link is down"
	case src == nil:
		return n, "it is attached to nothing"
	case src.Direct != nil && (src.Direct.Mode == "private" || src.Direct.Mode == "passthrough"):
		return n, fmt.Sprintf("its macvtap on %s is %s, which keeps this host from asking it", src.Direct.Dev, src.Direct.Mode)
	case src.Direct != nil:
		n.Device, n.Mode = src.Direct.Dev, src.Direct.Mode
	case src.Bridge != nil:
		n.Device = src.Bridge.Bridge
	default:
		return n, "it is no macvtap, and on no bridge"
	}
	return n, ""
}

func (n *NIC) label() string {
	if n.Name != "" {
		return n.Name
	}
	if n.Index >= 0 {
		return fmt.Sprintf("ethernet%d", n.Index)
	}
	return n.MAC
}

// Label is how people know the NIC.
func (n *NIC) Label() string { return n.label() }

// Asks reports whether there is anything that must answer.
func (e *Expect) Asks() bool { return len(e.NICs) > 0 || e.Agent }

func (e *Expect) text() string {
	var must []string
	for _, n := range e.NICs {
		if len(n.Addresses) == 0 {
			must = append(must, fmt.Sprintf("%s is heard on %s", n.label(), n.Device))
			continue
		}
		var as []string
		for _, a := range n.Addresses {
			as = append(as, a.Prefix.Addr().String())
		}
		must = append(must, fmt.Sprintf("%s answers on %s for %s", n.label(), n.Device, strings.Join(as, " and ")))
	}
	if e.Agent {
		must = append(must, "its agent answers")
	}
	text := fmt.Sprintf("see within %v that %s; else take all of this back", e.Within(), strings.Join(must, ", and "))
	if !e.Asks() {
		text = fmt.Sprintf("see that it still runs after %v: nothing of it can be asked", watchFor)
	}
	if len(e.Ports) > 0 {
		text += fmt.Sprintf("; TCP %s must take a connection, where this host reaches the guest", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(e.Ports)), ", "), "[]"))
	}
	if len(e.Untried) > 0 {
		text += "; not asked: " + strings.Join(e.Untried, ", ")
	}
	return text
}

// watchFor is how long a guest is watched of which nothing can be asked.
const watchFor = time.Minute

// Watch is that.
func (e *Expect) Watch() time.Duration { return watchFor }
