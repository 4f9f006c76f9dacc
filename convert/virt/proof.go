package virt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// ProofKind says how much was seen of a boot.
type ProofKind string

// The kinds of proof.
const (
	// LoginPrompt: the serial console asked for a login.
	LoginPrompt ProofKind = "login-prompt"
	// Activity: the serial console stayed silent, and the guest wrote to its
	// disks as no boot loader does.
	Activity ProofKind = "activity"
)

// ProofRequest asks to have a domain boot.
type ProofRequest struct {
	// XML of a transient domain with a name and UUID that no other domain
	// has, all links down, and every disk that it may write to a qcow2
	// overlay. Prove refuses any other.
	XML string
	// Timeout for the login prompt; 0 for three minutes, ten under qemu
	// without kvm.
	Timeout time.Duration
	// Quiet is how long the console must be silent before activity counts;
	// 0 for half of Timeout.
	Quiet time.Duration
	// Shutdown is how long the guest may take to shut down before it is
	// destroyed; 0 for five seconds. Nothing of it is kept in either case.
	Shutdown time.Duration
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

// ProofError says that a guest did not boot.
type ProofError struct {
	Domain  string
	Reason  string   // "the kernel panicked"
	Line    string   // of the console that says so; may be ""
	Console []string // its last lines
	After   time.Duration
}

// Error gives the reason and the console's last lines.
func (e *ProofError) Error() string {
	const lines = 6
	msg := fmt.Sprintf("%s did not boot: %s after %v", e.Domain, e.Reason, e.After.Round(time.Second/10))
	if e.Line != "" {
		msg += fmt.Sprintf(" (%q)", e.Line)
	}
	return msg + "; " + quote(e.Console[max(0, len(e.Console)-lines):])
}

// How often a proof looks at its guest, and what it takes for activity. A
// boot loader only reads; GRUB's environment block is one write or two.
const (
	pollEvery   = 200 * time.Millisecond
	settle      = time.Second // between a failure's line and the end, for what it says next
	leastWrites = 8           // requests
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
	p = p.withDefaults(want.Type)
	// Paused, so that its console is open before it writes there: QEMU drops
	// what nobody listens to.
	dom, err := c.lv.DomainCreateXML(p.XML, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY|libvirt.DOMAIN_START_VALIDATE)
	if err != nil {
		return Proof{}, explain("starting "+want.Name+" for the boot proof", err)
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

func (p ProofRequest) withDefaults(virtType string) ProofRequest {
	timeout := 10 * time.Minute
	if virtType == "kvm" {
		timeout = 3 * time.Minute
	}
	p.Timeout = cmp.Or(p.Timeout, timeout)
	p.Quiet = cmp.Or(p.Quiet, p.Timeout/2)
	p.Shutdown = cmp.Or(p.Shutdown, 5*time.Second)
	return p
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
			return fmt.Errorf("boot proof of %s: disk %d (%s) is neither read-only nor a qcow2 overlay", d.Name, i, sourcePath(disk.Source))
		}
	}
	for i, n := range nics(d) {
		if n.Link == nil || n.Link.State != "down" {
			return fmt.Errorf("boot proof of %s: NIC %d does not have its link down", d.Name, i)
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
		return fmt.Errorf("domain %s is no boot proof of run %s: it is left alone", name, run)
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
		_ = w.serial.Close() // nothing was written to it
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
			return // no more for now, or the guest has ended: ended tells
		}
	}
}

// ended says whether the guest is no longer there.
func (w *watch) ended() (bool, error) {
	state, _, err := w.dom.GetState()
	switch {
	case is(err, libvirt.ERR_NO_DOMAIN):
		return true, nil
	case err != nil:
		return false, explain("state of "+w.name, err)
	}
	return state == libvirt.DOMAIN_SHUTOFF || state == libvirt.DOMAIN_CRASHED, nil
}

// boot watches until something is certain.
func (w *watch) boot(ctx context.Context, p ProofRequest) (Proof, error) {
	start := time.Now()
	var seen int64
	spoke := start // when the console last said something
	for {
		ended, err := w.ended()
		if err != nil {
			return Proof{}, err
		}
		w.drain()
		now := time.Now()
		if w.console.seen != seen {
			seen, spoke = w.console.seen, now
		}
		switch o := w.console.outcome; {
		case o.kind == up:
			return w.proof(LoginPrompt, o.line, start), nil
		case o.kind == failed:
			w.listen(ctx, settle)
			return Proof{}, w.failure(o.reason, w.console.outcome.line, start)
		case ended:
			return Proof{}, w.failure("it powered off, or reset and was not let start again", "", start)
		case now.Sub(spoke) >= p.Quiet:
			evidence, err := w.activity()
			if err != nil {
				return Proof{}, err
			}
			if evidence != "" {
				return w.proof(Activity, evidence, start), nil
			}
		}
		if now.Sub(start) >= p.Timeout {
			return Proof{}, w.failure("no login prompt, and no sign that it mounted its disks,", "", start)
		}
		if err := pause(ctx); err != nil {
			return Proof{}, fmt.Errorf("boot proof of %s: %w", w.name, err)
		}
	}
}

func (w *watch) proof(kind ProofKind, evidence string, start time.Time) Proof {
	return Proof{Kind: kind, Evidence: evidence, Duration: time.Since(start), Console: w.console.last(maxTail)}
}

func (w *watch) failure(reason, line string, start time.Time) error {
	return &ProofError{Domain: w.name, Reason: reason, Line: line, Console: w.console.last(maxTail), After: time.Since(start)}
}

// listen reads on for a while.
func (w *watch) listen(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if ended, err := w.ended(); ended || err != nil || pause(ctx) != nil {
			break
		}
		w.drain()
	}
	w.drain()
}

// activity says what the guest has done with its disks and CPUs, "" if it
// may still be in its boot loader.
func (w *watch) activity() (string, error) {
	var read, written, writes int64
	for _, d := range w.disks {
		s, err := w.dom.BlockStats(d)
		if err != nil {
			return "", explain("activity of "+w.name, err)
		}
		read, written, writes = read+s.RdBytes, written+s.WrBytes, writes+s.WrReq
	}
	if writes < leastWrites {
		return "", nil
	}
	info, err := w.dom.GetInfo()
	if err != nil {
		return "", explain("activity of "+w.name, err)
	}
	cpu := time.Duration(info.CpuTime) //nolint:gosec // nanoseconds of one boot
	return fmt.Sprintf("silent serial console; read %d KiB, wrote %d KiB in %d requests, used %v of CPU", read>>10, written>>10, writes, cpu.Round(time.Second/10)), nil
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
