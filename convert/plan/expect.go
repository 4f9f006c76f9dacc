package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sight is how much is seen of a guest that boots.
type Sight string

// The sights.
const (
	SawLogin    Sight = "login"    // its login prompt on the serial console
	SawActivity Sight = "activity" // nothing of it but that it works on its disks
	SawNothing  Sight = "nothing"  // no boot proof was made
)

// Expect is what a boot proof must see.
type Expect struct {
	See Sight `json:"see"` // login, or activity, of which a login is more
	// Seconds is how long the login prompt may take, and how long a guest is
	// watched that shows none.
	Seconds int `json:"seconds"`
	// Network is what must answer in the same time; nil where nothing is tried, and
	// the links stay down.
	Network *Network `json:"network,omitempty"`
	// Untried are the NICs that aren't tried on a network, and why, for people.
	Untried []string `json:"untried,omitempty"`
}

// Proof is what a boot proof saw: the result of its step in the journal.
type Proof struct {
	Saw  Sight  `json:"saw"`
	Text string `json:"text"` // for people
	// Network is how the NICs answered, where they were tried; Untried are those that
	// weren't, and why.
	Network []AnsweredNIC `json:"network,omitempty"`
	Untried []string      `json:"untried,omitempty"`
}

// UnmarshalJSON also reads what older journals have, which is the text.
func (p *Proof) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte{'"'}) {
		type fields Proof
		return json.Unmarshal(b, (*fields)(p))
	}
	p.Saw = SawActivity
	if err := json.Unmarshal(b, &p.Text); err != nil {
		return err
	}
	if strings.HasPrefix(p.Text, "login prompt") {
		p.Saw = SawLogin
	}
	return nil
}

// ProofLeftOut is the proof of a run without one.
const ProofLeftOut = "none: the boot proof was left out (--no-proof)"

// serialConsole is the port that a boot proof watches.
const serialConsole = "ttyS0"

// How long a boot proof takes. A guest is watched for longer than any init waits
// by default for what doesn't come: what happens then, a reset above all, must
// still be seen, and a login prompt that comes after it. These wait:
//   - initramfs-tools 30 s for the root (rootdelay=, initramfs-tools(7)), dracut
//     180 s (rd.retry=, dracut.cmdline(7)),
//   - systemd 90 s for a device of fstab and for most services
//     (DefaultDeviceTimeoutSec= and DefaultTimeoutStartSec=,
//     systemd-system.conf(5)), 2 min for a network (systemd-networkd-wait-online(8)),
//   - ifupdown's networking.service 5 min (its TimeoutStartSec=), for DHCP on
//     links that are down, as these are; the login prompt comes after it.
//
// A Windows that can't start resets, which ends the proof at once; its repair
// begins after two such starts. Without KVM all that lies between the waits takes
// some ten times as long.
const (
	loginWithin    = 10 * time.Minute
	activityFor    = 7 * time.Minute
	emulatedLogin  = 20 * time.Minute
	emulatedWatch  = 15 * time.Minute
	mostProof      = 24 * time.Hour
	knownLoginText = "the guest runs a login on its serial console"
)

// expectation is what a guest's boot proof must see. Where a login is known to
// run on its serial console, nothing less than its prompt will do.
func expectation(logins []string, virtType string) Expect {
	kvm := virtType == "kvm"
	pick := func(fast, slow time.Duration) int {
		if kvm {
			return int(fast.Seconds())
		}
		return int(slow.Seconds())
	}
	if slices.Contains(logins, serialConsole) {
		return Expect{See: SawLogin, Seconds: pick(loginWithin, emulatedLogin)}
	}
	return Expect{See: SawActivity, Seconds: pick(activityFor, emulatedWatch)}
}

// text is the dry run's line of a boot proof.
func (e Expect) text(name string) string {
	took := fmt.Sprintf("%d minutes", e.Seconds/60)
	boot := fmt.Sprintf("boot a copy of %s with its links %s and its disks unchanged, and ", name, e.Network.links())
	if e.See == SawLogin {
		return boot + fmt.Sprintf("see its login prompt on the serial console within %s, and have it answer Enter: %s, and nothing less is a proof", took, knownLoginText) + e.Network.text() + e.untried()
	}
	return boot + fmt.Sprintf("watch it for %s: no login is known to run on its serial console; unless its prompt shows there, "+
		"all that can be seen is that it works on its disks, which doesn't show that it came up", took) + e.Network.text() + e.untried()
}

// untried says what a proof leaves out.
func (e Expect) untried() string {
	if len(e.Untried) == 0 {
		return ""
	}
	return "; not tried on a network: " + strings.Join(e.Untried, ", ")
}

// Leaves adds to a proof what it leaves out: a boot proof alone shows nothing of the
// guest's network.
func (p *Proof) Leaves(e Expect) {
	p.Untried = e.Untried
	p.Text += e.untried()
}

// proofStep is the boot proof, unless it is left out.
func (v *VMPlan) proofStep(virtType string, o Options) []Step {
	if o.NoProof {
		return nil
	}
	e := expectation(v.Guest.SerialLogin, virtType)
	e.Network, e.Untried = v.network(o), v.untried(o)
	return []Step{{Kind: StepProve, Expect: &e, Text: e.text(v.Name)}}
}

// Expect is what a step of the job must see, and the step in words. A plan from
// before there was an expectation gets the strict one.
func (j *VMJob) Expect(s Step) (Expect, string) {
	if s.Expect != nil {
		return *s.Expect, s.Text
	}
	e := expectation([]string{serialConsole}, j.Target.VirtType)
	return e, s.Text + " (an older esxodus made the plan, which doesn't say what must be seen: a login prompt on the serial console, and nothing less)"
}

// checkExpect compares what a plan's boot proofs must see with what it knows of
// the guest.
func (v *VMPlan) checkExpect(virtType string) error {
	for i, s := range v.Steps {
		e := s.Expect
		if e == nil && s.Kind == StepProve && v.network(Options{BootOnly: v.BootOnly}) != nil {
			return fmt.Errorf("steps[%d].expect: missing, but addresses of the guest's NICs are known (bootOnly leaves the network proof out)", i)
		}
		if e == nil {
			continue
		}
		least, from := expectation(v.Guest.SerialLogin, virtType), 1
		if e.See == SawActivity {
			from = least.Seconds
		}
		switch most := int(mostProof.Seconds()); {
		case s.Kind != StepProve:
			return fmt.Errorf("steps[%d].expect: only a step of kind %s has one", i, StepProve)
		case e.See != SawLogin && e.See != SawActivity:
			return fmt.Errorf("steps[%d].expect.see %q: want %s or %s", i, e.See, SawLogin, SawActivity)
		case e.See == SawActivity && least.See == SawLogin:
			return fmt.Errorf("steps[%d].expect.see %q: %s: nothing less than its prompt is a proof", i, e.See, knownLoginText)
		case e.Seconds < from || e.Seconds > most:
			return fmt.Errorf("steps[%d].expect.seconds %d: want %d to %d", i, e.Seconds, from, most)
		}
		if err := v.checkNetwork(e.Network); err != nil {
			return fmt.Errorf("steps[%d].expect.network: %w", i, err)
		}
		if want := v.untried(Options{BootOnly: v.BootOnly}); v.Sums != (Sums{}) && !slices.Equal(want, e.Untried) {
			return fmt.Errorf("steps[%d].expect.untried: %q, want %q", i, e.Untried, want)
		}
	}
	return nil
}
