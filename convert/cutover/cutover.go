// Package cutover plans how a domain takes the place of its VM: pure data, made when
// the migration is done and shown before anything happens. It asks nothing and
// changes nothing; package run carries it out.
//
// A [Job] is a journal's job of its own, beside that of the migration: it can be
// undone without undoing that.
package cutover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"time"

	"esxodus/convert/domain"
	"esxodus/convert/guest"
	"esxodus/convert/journal"
	"esxodus/inventory"
	"esxodus/network/networkd"
)

// Kind is what a step of a cutover does.
type Kind string

// The kinds of step, in the order in which they are done.
const (
	StepSource    Kind = "source"    // the VM is off, and as it was when it was copied
	StepAutoStart Kind = "autostart" // its host doesn't start it any more
	StepStart     Kind = "start"     // the domain starts
	StepAnswer    Kind = "answer"    // its guest answers on its real network
	StepBoot      Kind = "boot"      // this host starts it when it boots, as its VM's did
)

// Step is one act of a cutover.
type Step struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"` // for people
	// Via is how the source's host is asked for what changes something there: of
	// autostart, and of source, whose undoing powers on a VM that the migration shut
	// down; "" where it stays off.
	Via    inventory.Via `json:"via,omitempty"`
	Expect *Expect       `json:"expect,omitempty"` // of answer
	Unit   *Unit         `json:"unit,omitempty"`   // of boot; nil where libvirt's own autostart does
}

// Expect is what must answer once the domain runs.
type Expect struct {
	Seconds int   `json:"seconds"` // how long that may take
	NICs    []NIC `json:"nics,omitempty"`
	// Ports of TCP are tried at each address, from where this host reaches it.
	Ports []uint16 `json:"ports,omitempty"`
	Agent bool     `json:"agent,omitempty"` // qemu-guest-agent must answer
	// Untried are the NICs that can't be asked from this host, and why, for people.
	Untried []string `json:"untried,omitempty"`
}

// Within is how long the answers may take.
func (e *Expect) Within() time.Duration { return time.Duration(e.Seconds) * time.Second }

// NIC is a NIC of the domain that is asked on the network that it is attached to.
type NIC struct {
	Index  int    `json:"index"` // of the VM's ethernetN
	Name   string `json:"name,omitempty"`
	MAC    string `json:"mac"`
	Device string `json:"device"` // of this host
	// Mode is that of a macvtap; "" where the device is a bridge.
	Mode string `json:"mode,omitempty"`
	// Addresses must answer ARP or neighbour discovery. Where none is known something
	// must be heard of the NIC.
	Addresses []guest.Address `json:"addresses,omitempty"`
}

// Job is the cutover of one VM, as a journal's job.
type Job struct {
	Name      string `json:"name"` // the domain's
	VM        string `json:"vm"`   // the source's name
	ID        string `json:"id"`   // there
	Host      string `json:"host"`
	Migration string `json:"migration"` // the run that made the domain
	Acts      []Step `json:"steps"`
}

// Steps are the acts.
func (j *Job) Steps() []journal.Step {
	out := make([]journal.Step, len(j.Acts))
	for i, s := range j.Acts {
		out[i] = journal.Step{Kind: string(s.Kind), Text: s.Text}
	}
	return out
}

// Step returns the first step of a kind, -1 where there is none.
func (j *Job) Step(k Kind) (int, *Step) {
	for i := range j.Acts {
		if j.Acts[i].Kind == k {
			return i, &j.Acts[i]
		}
	}
	return -1, nil
}

var vmID = regexp.MustCompile(`^[A-Za-z0-9._:/ -]{0,200}$`)

// CheckRecorded wants that a journal, whoever wrote it, touches nothing but the domain
// and the VM that it names, through devices that can be ones.
func (j *Job) CheckRecorded(run, name string) error {
	switch {
	case run == "" || j.Migration == "":
		return errors.New("it names no run")
	case j.Name == "" || domain.Name(j.Name) != j.Name:
		return fmt.Errorf("name %q: not a domain's", j.Name)
	case !vmID.MatchString(j.ID):
		return fmt.Errorf("id %q: not a VM's", j.ID)
	}
	last := -1
	for i, s := range j.Acts {
		at := rank(s.Kind)
		if at <= last {
			return fmt.Errorf("steps[%d]: %q: not a step that comes here", i, s.Kind)
		}
		last = at
		if s.Via != "" && s.Via != inventory.ViaAPI && s.Via != inventory.ViaSSH {
			return fmt.Errorf("steps[%d]: unknown way %q: want api or ssh", i, s.Via)
		}
		if err := s.check(j.Name); err != nil {
			return fmt.Errorf("steps[%d]: %w", i, err)
		}
	}
	return nil
}

func rank(k Kind) int {
	for i, known := range []Kind{StepSource, StepAutoStart, StepStart, StepAnswer, StepBoot} {
		if k == known {
			return i
		}
	}
	return -1
}

func (s *Step) check(name string) error {
	if s.Unit != nil && s.Kind != StepBoot {
		return fmt.Errorf("unit: only a step of kind %s has one", StepBoot)
	}
	if s.Unit != nil {
		return s.Unit.check(name)
	}
	if (s.Kind == StepAnswer) != (s.Expect != nil) {
		return fmt.Errorf("expect: only a step of kind %s has one, and it must", StepAnswer)
	}
	if s.Expect == nil {
		return nil
	}
	if most := int(mostAnswer.Seconds()); s.Expect.Seconds < 1 || s.Expect.Seconds > most {
		return fmt.Errorf("expect.seconds %d: want 1 to %d", s.Expect.Seconds, most)
	}
	for i, n := range s.Expect.NICs {
		if err := n.check(); err != nil {
			return fmt.Errorf("expect.nics[%d]: %w", i, err)
		}
	}
	return nil
}

func (n *NIC) check() error {
	if mac, err := net.ParseMAC(n.MAC); err != nil || len(mac) != 6 {
		return fmt.Errorf("mac %q: not one", n.MAC)
	}
	for _, a := range n.Addresses {
		if !askable(a.Prefix) {
			return fmt.Errorf("%s: not an address that can be asked for", a.Prefix)
		}
	}
	return networkd.CheckName(n.Device)
}

func askable(p netip.Prefix) bool { return p.IsValid() && p.Addr().IsGlobalUnicast() }

// CheckStep wants that what a step left in the journal can be read.
func (j *Job) CheckStep(i int, _ *journal.StepState, r *journal.Record) error {
	return checkRecord(j.Acts[i].Kind, r)
}

// About names the VM and the domain.
func (j *Job) About() string {
	return fmt.Sprintf("%q on %s, whose place the domain %s takes", j.VM, j.Host, j.Name)
}

// Leavings are the domain, that runs, and the host's autostart.
func (j *Job) Leavings() string {
	return fmt.Sprintf("the domain %s running, and the VM out of the autostart of %s", j.Name, j.Host)
}

// Rollback undoes the cutover alone.
func (*Job) Rollback(name string) string { return "esxodus cutover --back " + name }

// Yourself is what a cutover changes.
func (*Job) Yourself() string {
	return "whether the domain runs, the source's power state and its host's autostart"
}
