package virt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"esxodus/convert/domain"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// ProofKind says how much was seen of a boot.
type ProofKind string

// The kinds of proof.
const (
	// LoginPrompt: a getty asked for a login on the serial console, answered
	// Enter, and the guest went on running.
	LoginPrompt ProofKind = "login-prompt"
	// Activity: no login prompt, and the guest was at work on its disks from
	// beginning to end, as no boot loader is. It may wait in emergency mode all
	// the same: this proof is for guests that show nothing better.
	Activity ProofKind = "activity"
)

// ProofRequest asks to have a domain boot.
type ProofRequest struct {
	// XML of a transient domain with a name and UUID that no other domain
	// has, all links down or on wires to this process ([domain.Wire]), and every
	// disk that it may write to a qcow2 overlay. Prove refuses any other.
	XML string
	// Expect is what is enough: [LoginPrompt] takes nothing less, [Activity]
	// takes a login prompt, too.
	Expect ProofKind
	// For is how long the login prompt may take, and how long a guest is watched
	// that shows none. It must be longer than any init waits before it gives up.
	For time.Duration
	// Stay is how long a guest must go on after its login prompt before it is
	// asked; 0 for five seconds.
	Stay time.Duration
	// Answer is how long its login prompt may take to answer Enter; 0 for two
	// minutes. A getty takes milliseconds, emulated and on a busy host a second.
	Answer time.Duration
	// Shutdown is how long the guest may take to shut down before it is
	// destroyed; 0 for five seconds. Nothing of it is kept in either case.
	Shutdown time.Duration
	// Network says whether all that must has answered on the guest's network, and
	// all that is tried there; nil where nothing is. Without the first there is no
	// proof.
	Network func() (answered, complete bool)
	// Linger is how long what needn't answer is waited for, once all else is
	// proven.
	Linger time.Duration
	// Line gets each line of the console as it is written, fit for a
	// terminal; nil for none.
	Line func(string)
}

// Proof is what was seen of a boot.
type Proof struct {
	Kind     ProofKind     `json:"kind"`
	Evidence string        `json:"evidence"` // the line of the console, or the activity
	Duration time.Duration `json:"duration"` // nanoseconds from the start to the evidence
	Console  []string      `json:"console"`  // its last lines
}

// ProofError says that a guest did not boot, or is not there on its network.
type ProofError struct {
	Domain  string
	Reason  string   // "the kernel panicked"
	Silent  bool     // it booted, and an address of its network didn't answer
	Line    string   // of the console that says so; may be ""
	Console []string // its last lines
	After   time.Duration
}

// Error gives the reason and the console's last lines.
func (e *ProofError) Error() string {
	const lines = 6
	did := "did not boot"
	if e.Silent {
		did = "booted, but did not answer on its network"
	}
	msg := fmt.Sprintf("%s %s: %s after %v", e.Domain, did, e.Reason, e.After.Round(time.Second/10))
	if e.Line != "" {
		msg += fmt.Sprintf(" (%q)", e.Line)
	}
	return msg + "; " + quote(e.Console[max(0, len(e.Console)-lines):])
}

// How often a proof looks at its guest.
const (
	pollEvery  = 200 * time.Millisecond
	countEvery = time.Second
	settle     = time.Second // between a failure's line and the end, for what it says next
)

// Prove starts a transient domain and watches it boot. Nothing is left of the
// domain afterwards, not even if this process is killed: libvirt destroys it
// when the connection ends. A guest that doesn't get there is a [*ProofError].
func (c *Conn) Prove(ctx context.Context, p ProofRequest) (proof Proof, err error) {
	want, err := parse(p.XML)
	if err != nil {
		return Proof{}, err
	}
	if err := harmless(want); err != nil {
		return Proof{}, err
	}
	if err := c.unknown(ctx, want); err != nil {
		return Proof{}, err
	}
	if p, err = p.withDefaults(); err != nil {
		return Proof{}, fmt.Errorf("boot proof of %s: %w", want.Name, err)
	}
	// Paused, so that its console is open before it writes there: QEMU drops
	// what nobody listens to.
	c.schema.Lock()
	dom, err := c.lv.DomainCreateXML(p.XML, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY|libvirt.DOMAIN_START_VALIDATE)
	c.schema.Unlock()
	if err != nil {
		return Proof{}, portTaken(want, explain("starting "+want.Name+" for the boot proof", err))
	}
	w := &watch{dom: dom, name: want.Name, console: newConsole(p.Line)}
	defer func() { err = errors.Join(err, w.destroy()) }()
	for _, d := range disks(want) {
		if d.Target != nil && d.Driver != nil && d.Driver.Type == overlayFormat {
			w.disks = append(w.disks, d.Target.Dev)
		}
	}
	if err := w.open(ctx, want); err != nil {
		return Proof{}, err
	}
	defer w.close()
	if err := dom.Resume(); err != nil {
		return Proof{}, explain("starting "+want.Name+" for the boot proof", err)
	}
	proof, err = w.boot(ctx, p)
	if err == nil {
		w.shutdown(ctx, p.Shutdown)
	}
	return proof, err
}

func (p ProofRequest) withDefaults() (ProofRequest, error) {
	if p.Expect != LoginPrompt && p.Expect != Activity {
		return p, fmt.Errorf("expected evidence %q: want %s or %s", p.Expect, LoginPrompt, Activity)
	}
	if p.For <= 0 {
		return p, fmt.Errorf("time limit %v: want more", p.For)
	}
	p.Stay = cmp.Or(p.Stay, 5*time.Second)
	p.Answer = cmp.Or(p.Answer, 2*time.Minute)
	p.Shutdown = cmp.Or(p.Shutdown, 5*time.Second)
	return p, nil
}

func (p ProofRequest) awaited() awaited {
	if p.Network == nil {
		return nothing
	}
	switch answered, complete := p.Network(); {
	case !answered:
		return addresses
	case !complete:
		return extras
	}
	return nothing
}

// PortTakenError says that somebody has a UDP port which a NIC was to have.
type PortTakenError struct{ err error }

func (e *PortTakenError) Error() string { return e.err.Error() }

func (e *PortTakenError) Unwrap() error { return e.err }

// PortTaken is true.
func (*PortTakenError) PortTaken() bool { return true }

// portTaken tells the error of a domain that couldn't bind its wires from others.
// libvirt gives QEMU's own words.
func portTaken(d *libvirtxml.Domain, err error) error {
	wired := slices.ContainsFunc(nics(d), func(n libvirtxml.DomainInterface) bool { return n.Source != nil && n.Source.UDP != nil })
	if wired && err != nil && strings.Contains(strings.ToLower(err.Error()), unix.EADDRINUSE.Error()) {
		return &PortTakenError{err}
	}
	return err
}

// overlayFormat is that of every disk that a proof may write to.
const overlayFormat = "qcow2"

// harmless refuses a domain that could change a disk or reach a network.
func harmless(d *libvirtxml.Domain) error {
	for i, disk := range disks(d) {
		if disk.ReadOnly != nil || disk.Device == "cdrom" || disk.Source == nil {
			continue
		}
		if disk.Driver == nil || disk.Driver.Type != overlayFormat || disk.Source.File == nil {
			return fmt.Errorf("boot proof of %s: disk %d (%s) is neither read-only nor a qcow2 overlay", d.Name, i, domain.SourcePath(disk.Source))
		}
	}
	for i, n := range nics(d) {
		if !domain.Harmless(n) {
			return fmt.Errorf("boot proof of %s: NIC %d neither has its link down nor is on a wire on 127.0.0.1", d.Name, i)
		}
	}
	if d.UUID == "" || d.Name == "" {
		return fmt.Errorf("boot proof of %q: its XML lacks a name or a UUID", d.Name)
	}
	return nil
}

// unknown refuses the name or UUID of a domain that there is: libvirt would
// start that one.
func (c *Conn) unknown(ctx context.Context, d *libvirtxml.Domain) error {
	byName, ok, err := c.Lookup(ctx, d.Name)
	if err != nil {
		return err
	}
	if ok {
		return fmt.Errorf("boot proof: a domain %s exists already (UUID %s)", d.Name, byName.UUID)
	}
	byUUID, ok, err := c.LookupUUID(ctx, d.UUID)
	if err != nil {
		return err
	}
	if ok {
		return fmt.Errorf("boot proof of %s: the domain %s has its UUID %s", d.Name, byUUID.Name, d.UUID)
	}
	return nil
}

// CleanProof destroys the transient domain of that name which a proof left
// that could not end it. One that is persistent, or not of that run, stays
// and is an error. It is none if there is nothing.
func (c *Conn) CleanProof(ctx context.Context, name, run string) error {
	info, ok, err := c.Lookup(ctx, name)
	if err != nil || !ok {
		return err
	}
	if info.Persistent || info.Run != run {
		return fmt.Errorf("domain %s is not a boot proof of run %s: it is left alone", name, run)
	}
	dom, err := c.lv.LookupDomainByUUIDString(info.UUID)
	if is(err, libvirt.ERR_NO_DOMAIN) {
		return nil
	}
	if err != nil {
		return explain("domain "+name, err)
	}
	w := watch{dom: dom, name: name}
	return w.destroy()
}

// watch is a guest that is being watched.
type watch struct {
	dom     *libvirt.Domain
	name    string
	disks   []string // target names of those it may write to
	serial  net.Conn // its console; nil for none
	console console
}

// open connects to the serial console, which must be a listening Unix socket.
// A domain without one is watched by its activity alone.
//
// libvirt's own console streams are not used: a guest that ends while one is
// open can deadlock libvirtd (seen with 9.0: virStreamAbort and the monitor's
// EOF handler each wait for the other's lock), and with it the whole host.
func (w *watch) open(ctx context.Context, d *libvirtxml.Domain) error {
	path := consoleSocket(d)
	if path == "" {
		return nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("console of %s: %w", w.name, err)
	}
	w.serial = conn
	return nil
}

// consoleSocket is the path of the socket that the first serial port listens
// on.
func consoleSocket(d *libvirtxml.Domain) string {
	if d.Devices == nil || len(d.Devices.Serials) == 0 {
		return ""
	}
	if s := d.Devices.Serials[0].Source; s != nil && s.UNIX != nil && s.UNIX.Mode == "bind" {
		return s.UNIX.Path
	}
	return ""
}

// close hangs up.
func (w *watch) close() {
	if w.serial != nil {
		_ = w.serial.Close() // what was written to it doesn't matter any more
	}
}

// drain reads what the guest wrote since, at most as much as one round may
// take.
func (w *watch) drain() {
	const rounds, patience = 16, 2 * time.Millisecond
	if w.serial == nil {
		return
	}
	buf := make([]byte, 64<<10)
	for range rounds {
		if err := w.serial.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return
		}
		n, err := w.serial.Read(buf)
		w.console.feed(buf[:n])
		if err != nil {
			return // no more for now, or the guest has ended: state tells
		}
	}
}

// enter sends Enter to the guest. One whose port takes no more doesn't answer.
func (w *watch) enter() {
	w.console.ask()
	if w.serial.SetWriteDeadline(time.Now().Add(pollEvery)) == nil {
		_, _ = w.serial.Write([]byte{'\r'})
	}
}

// state asks libvirt how the guest is.
func (w *watch) state() (state, error) {
	s, _, err := w.dom.GetState()
	switch {
	case is(err, libvirt.ERR_NO_DOMAIN):
		return gone, nil
	case err != nil:
		return gone, explain("state of "+w.name, err)
	}
	switch s {
	case libvirt.DOMAIN_SHUTOFF, libvirt.DOMAIN_SHUTDOWN, libvirt.DOMAIN_CRASHED:
		return gone, nil
	case libvirt.DOMAIN_PAUSED, libvirt.DOMAIN_PMSUSPENDED:
		return stopped, nil
	case libvirt.DOMAIN_RUNNING, libvirt.DOMAIN_BLOCKED, libvirt.DOMAIN_NOSTATE:
	}
	return running, nil
}

// boot watches until something is certain.
func (w *watch) boot(ctx context.Context, p ProofRequest) (Proof, error) {
	c := course{want: p, start: time.Now()}
	counted := c.start
	for {
		state, err := w.state()
		if err != nil {
			return Proof{}, err
		}
		w.drain()
		now := time.Now()
		if over := now.Sub(c.start) >= p.For; p.Expect == Activity && state == running && (over || now.Sub(counted) >= countEvery) {
			n, err := w.counts(ctx)
			if err != nil {
				return Proof{}, err
			}
			counted = now
			c.count(now, n)
		}
		s := sight{now, state, w.console.outcome, strings.Join(w.console.last(1), ""), w.console.unfinished(), w.console.again, p.awaited()}
		if e, certain := c.judge(s); certain {
			return w.end(ctx, e, &c, now)
		}
		if c.ask(s) {
			w.enter()
		}
		if err := pause(ctx); err != nil {
			return Proof{}, fmt.Errorf("boot proof of %s: %w", w.name, err)
		}
	}
}

// end makes a proof, or the error, of what a boot came to.
func (w *watch) end(ctx context.Context, e end, c *course, now time.Time) (Proof, error) {
	after := now.Sub(c.start)
	if e.kind == LoginPrompt {
		after = c.prompted.Sub(c.start)
	}
	if e.kind != "" {
		return Proof{Kind: e.kind, Evidence: e.evidence, Duration: after, Console: w.console.last(maxTail)}, nil
	}
	if e.tellsMoreLater {
		w.listen(ctx, settle)
		e.line = w.console.outcome.line
	}
	return Proof{}, &ProofError{Domain: w.name, Reason: e.reason, Silent: e.silent, Line: e.line, Console: w.console.last(maxTail), After: after}
}

// listen reads on for a while.
func (w *watch) listen(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if s, err := w.state(); s == gone || err != nil || pause(ctx) != nil {
			break
		}
		w.drain()
	}
	w.drain()
}

// counts asks libvirt what the guest has done with its disks and CPUs. A guest
// that ends meanwhile has done nothing.
func (w *watch) counts(ctx context.Context) (counts, error) {
	var n counts
	for _, d := range w.disks {
		s, err := w.dom.BlockStats(d)
		switch {
		case is(err, libvirt.ERR_NO_DOMAIN) || is(err, libvirt.ERR_OPERATION_INVALID):
			return counts{}, nil
		case err != nil && w.ending(ctx):
			return counts{}, nil
		case err != nil:
			return counts{}, explain("activity of "+w.name, err)
		}
		n.read, n.written, n.writes = n.read+s.RdBytes, n.written+s.WrBytes, n.writes+s.WrReq
	}
	info, err := w.dom.GetInfo()
	switch {
	case is(err, libvirt.ERR_NO_DOMAIN), err != nil && w.ending(ctx):
		return counts{}, nil
	case err != nil:
		return counts{}, explain("activity of "+w.name, err)
	}
	n.cpu = time.Duration(info.CpuTime) // nanoseconds of one boot
	return n, nil
}

// ending reports whether the guest is gone, or soon is: QEMU hangs up in the midst of
// a question, before libvirt knows.
func (w *watch) ending(ctx context.Context) bool {
	for end := time.Now().Add(settle); ; {
		if s, err := w.state(); s == gone && err == nil {
			return true
		}
		if time.Now().After(end) || pause(ctx) != nil {
			return false
		}
	}
}

// shutdown lets the guest shut down by itself, for a while.
func (w *watch) shutdown(ctx context.Context, d time.Duration) {
	if w.dom.ShutdownFlags(libvirt.DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == nil {
		w.listen(ctx, d)
	}
}

// destroy ends the guest, whatever has become of it, and lets go of it.
func (w *watch) destroy() error {
	err := w.dom.Destroy()
	if is(err, libvirt.ERR_NO_DOMAIN) || is(err, libvirt.ERR_OPERATION_INVALID) { // not running
		err = nil
	}
	return errors.Join(explain("ending the boot proof "+w.name, err), w.dom.Free())
}

// pause waits for the next look.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pollEvery):
		return nil
	}
}
