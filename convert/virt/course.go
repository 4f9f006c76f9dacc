package virt

import (
	"fmt"
	"regexp"
	"time"
)

// course decides what a boot came to, from what was seen of it. It has no clock
// and asks nothing of libvirt.
type course struct {
	want     ProofRequest
	start    time.Time
	prompted time.Time // when the login prompt was seen; zero before
	prompt   string    // its line
	loose    bool      // it is one only if it comes again as an answer
	asked    time.Time // when Enter was last sent to it; zero before
	asks     string    // the unfinished line that stood there at the last sight since
	answered bool      // it has answered Enter
	proven   time.Time // when all that must be seen was; zero before
	counts   counts
	wrote    time.Time // when the guest last wrote to its disks; zero for never
}

// counts is what a guest has done so far.
type counts struct {
	read, written, writes int64 // bytes, bytes, requests
	cpu                   time.Duration
}

// sight is one look at a guest.
type sight struct {
	now     time.Time
	state   state
	console outcome
	said    string // its console's last line
	asks    string // its console's unfinished line
	again   bool   // its console showed a login prompt since Enter was last sent
	awaits  awaited
}

// awaited is what is still awaited of a guest's network.
type awaited int

const (
	nothing   awaited = iota // all has answered, or nothing is tried
	extras                   // only what needn't answer: ping and ports
	addresses                // an address that must
)

// state is what libvirt says of a guest.
type state int

const (
	running state = iota
	gone          // it powered off, or reset
	stopped       // it is there, and its processors aren't running
)

// end is how a boot ended: a proof of a kind, or the reason why there is none.
type end struct {
	kind           ProofKind
	evidence       string
	reason, line   string
	silent         bool // it booted, and its network didn't answer
	tellsMoreLater bool // the console may say more about the reason
}

// stands is how long a getty's prompt stands before others may write into its
// line whatever they like: what only looks like one goes on at once.
const stands = time.Second

// A boot loader, or a kernel that hangs right after, can leave a perfect prompt
// behind. So Enter is sent to it when it has stood for long enough, which a getty
// that is still alive answers with a prompt, and is sent again for one that wasn't
// listening yet.
const askAgain = 5 * time.Second

// ask reports whether Enter is to be sent now.
func (c *course) ask(s sight) bool {
	if c.prompted.IsZero() || c.answered || s.now.Sub(c.prompted) < max(stands, c.want.Stay) || s.now.Sub(c.asked) < askAgain {
		return false
	}
	c.asked, c.asks = s.now, ""
	return true
}

// hear looks for the answer: the prompt again, or another line that stands there
// unfinished. What the kernel and services write ends with its line, but for one
// that hangs in it and for systemd's "[ *** ] A start job is running".
func (c *course) hear(s sight) {
	if c.asked.IsZero() || c.answered {
		return
	}
	stood := s.asks != "" && s.asks == c.asks && !log.MatchString(s.asks)
	if c.loose {
		c.answered = stood && s.asks == c.prompt
	} else {
		c.answered = stood || s.again
	}
	c.asks = s.asks
}

// log is how lines of the kernel and of systemd begin.
var log = regexp.MustCompile(`^(\[[ *]*\]|\[ *\d+\.\d+\]|<\d+>|\[ *(OK|FAILED|DEPEND|WARN) *\])`)

// count takes in what the guest has done by now.
func (c *course) count(now time.Time, n counts) {
	if n.writes > c.counts.writes {
		c.wrote = now
	}
	c.counts = n
}

// judge says what the boot came to, if that is certain by now.
func (c *course) judge(s sight) (end, bool) {
	c.hear(s)
	switch {
	case s.console.kind == up && (c.prompted.IsZero() || c.loose && !s.console.loose):
		c.prompted, c.prompt, c.loose = s.now, s.console.line, s.console.loose
	case s.console.kind == undecided && s.now.Sub(c.prompted) < stands: // its line went on: it was none
		c.prompted = time.Time{}
	}
	prompted := !c.prompted.IsZero()
	switch {
	case s.console.kind == failed:
		return end{reason: s.console.reason, line: s.console.line, tellsMoreLater: true}, true
	case s.state == gone && prompted:
		return end{reason: "it powered off, or reset, right after its login prompt,", line: c.prompt}, true
	case s.state == gone:
		return end{reason: "it powered off, or reset (and was kept from starting again)"}, true
	case s.state == stopped:
		return end{reason: "it was stopped, for instance by a disk error,"}, true
	case prompted && c.answered && s.awaits != addresses:
		if c.proven.IsZero() {
			c.proven = s.now
		}
		return end{kind: LoginPrompt, evidence: c.prompt}, s.awaits == nothing || s.now.Sub(c.proven) >= c.want.Linger
	case prompted && !c.answered && !c.loose && s.now.Sub(c.prompted) >= c.want.Answer:
		return end{reason: "its login prompt does not answer Enter", line: c.prompt}, true
	case prompted && !c.answered && !c.loose || s.now.Sub(c.start) < c.want.For:
		return end{}, false
	case prompted && c.answered:
		return end{reason: "not all of its addresses answered", silent: true}, true
	case c.want.Expect == Activity:
		return c.activity(s), true
	}
	return end{reason: "no login prompt on its serial console,"}, true
}

// leastWrites is what it takes for activity, in requests: a boot loader only
// reads, and GRUB's environment block is one write or two.
const leastWrites = 8

// activity judges a guest that was watched to the end and showed no login prompt.
// One that waits in emergency mode has written before; one that runs still does.
func (c *course) activity(s sight) end {
	last, all := c.wrote.Sub(c.start).Round(time.Second/10), s.now.Sub(c.start).Round(time.Second/10)
	switch {
	case c.counts.writes < leastWrites:
		return end{reason: "no login prompt, and no sign that it mounted its disks,"}
	case last < all/2:
		return end{reason: fmt.Sprintf("no login prompt, and it last wrote to its disks after %v,", last)}
	}
	if s.awaits == addresses {
		return end{reason: "not all of its addresses answered", silent: true}
	}
	console := "silent serial console"
	if s.said != "" {
		console = fmt.Sprintf("no login prompt on its serial console, whose last line is %q", s.said)
	}
	return end{kind: Activity, evidence: fmt.Sprintf("%s; read %d KiB, wrote %d KiB in %d requests, the last after %v; used %v of CPU",
		console, c.counts.read>>10, c.counts.written>>10, c.counts.writes, last, c.counts.cpu.Round(time.Second/10))}
}
