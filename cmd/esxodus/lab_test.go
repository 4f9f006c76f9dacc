package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/virt"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// lab is an ESXi host of its own, a directory for disks and one for states:
// what a test needs that runs the program as a process.
type lab struct {
	t    *testing.T
	dir  string
	vm   string // a small guest on the host; no other test has one of that name
	host *esxi.Host
	opts esxi.Options
}

// newLab starts a host with one small guest beside what the options ask for.
// The test is skipped where no libvirt is.
func newLab(t *testing.T, o esxi.Options) *lab {
	t.Helper()
	if !fixtures.Libvirt(t) {
		t.Skip("no libvirtd")
	}
	l := newLabWithout(t, o)
	t.Cleanup(func() { l.forget(l.vm) })
	return l
}

// newLabWithout is newLab for tests that need no libvirt.
func newLabWithout(t *testing.T, o esxi.Options) *lab {
	t.Helper()
	l := &lab{t: t, dir: fixtures.OpenDir(t), vm: uniqueName("e"), opts: o}
	if o.Dir == "" {
		l.opts.Dir = filepath.Join(l.dir, "guests")
		if err := fixtures.SmallGuest(filepath.Join(l.opts.Dir, l.vm), l.vm); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(l.storage(), 0o755); err != nil {
		t.Fatal(err)
	}
	l.startHost()
	if err := os.WriteFile(l.passwordFile(), []byte(l.host.Password()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.host.Close() })
	return l
}

// uniqueName is a name that no test, of this run or another, has.
func uniqueName(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:8]) }

// ports are those that the hosts of this process have had: one that is away for
// a while finds its own free again.
var ports sync.Map

// startHost starts the host, or starts it again on the port that it had. That
// is below those that the kernel gives to connections: while the host was away
// one of them could take it.
func (l *lab) startHost() {
	l.t.Helper()
	again := l.host != nil
	for try := 0; ; try++ {
		if !again {
			port := 12000 + mathrand.IntN(20000)
			if _, had := ports.LoadOrStore(port, true); had {
				continue
			}
			l.opts.Addr = fmt.Sprintf("127.0.0.1:%d", port)
		}
		h, err := esxi.Start(context.Background(), l.opts)
		if err == nil {
			l.host = h
			return
		}
		const most = 20
		if again || try >= most || !errors.Is(err, syscall.EADDRINUSE) {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) storage() string      { return filepath.Join(l.dir, "disks") }
func (l *lab) state() string        { return filepath.Join(l.dir, "state") }
func (l *lab) passwordFile() string { return filepath.Join(l.dir, "password") }
func (l *lab) journal() string      { return filepath.Join(l.state(), "vms", l.vm, "journal") }
func (l *lab) disk() string         { return filepath.Join(l.storage(), l.vm+"_scsi0-0") }

// flat is the datastore path of the small guest's data.
func (l *lab) flat() string { return "[datastore1] " + l.vm + "/small-flat.vmdk" }

// served is how many bytes of the small guest's disk the host has sent.
func (l *lab) served() int64 { return l.host.Stats().FileBytes[l.flat()] }

// hold keeps a copy of a small guest in mid-way: of the last of its blocks next
// to nothing comes, for twenty minutes, or five with [shortStall]. Once the faults
// are cleared it goes on within the program's --stall.
func (l *lab) hold(vm string) {
	const block = 4 << 20
	// Each try brings just enough for the program not to give up. The disk's end
	// is left alone: a plan looks for tables there.
	l.host.Faults().Add(esxi.Fault{
		Kind: esxi.Stall, Path: "[datastore1] " + vm + "/small-flat.vmdk",
		After: 64 << 10, From: fixtures.SmallDisk - block, To: fixtures.SmallDisk - block/4,
	})
}

// shortStall are the flags with which a copy that was held goes on soon.
func shortStall() []string { return []string{"--stall", "5s"} }

// login are the flags that lead to the host.
func (l *lab) login() []string {
	return []string{
		"--esxi", strings.Replace(l.host.URL(), "https://", "https://root@", 1),
		"--password-file", l.passwordFile(), "--thumbprint", l.host.Thumbprint(),
	}
}

// plan are the flags of `plan` and, with --yes, of `convert`.
func (l *lab) plan(args ...string) []string {
	return slices.Concat([]string{"plan", "--storage", "dir:" + l.storage(), "--virt-type", fixtures.VirtType(), "--uplink", "eth0"}, l.login(), args)
}

func (l *lab) convert(args ...string) []string {
	out := l.plan(slices.Concat([]string{"--yes", l.vm}, args)...)
	out[0] = "convert"
	return out
}

// again are the arguments of a command on the run that is on record.
func (l *lab) again(command string) []string {
	return []string{command, l.vm, "--password-file", l.passwordFile()}
}

// command is the program with its arguments, on this lab's state.
func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command("esxodus", args...)
	cmd.Dir = l.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GOVC_") || strings.HasPrefix(v, "ESXODUS_STATE")
	}), "ESXODUS_STATE="+l.state())
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// result is how a process ended.
type result struct {
	code     int // -1 when a signal killed it
	signal   syscall.Signal
	out, err string
}

// run runs the program to its end and wants an exit code of it.
func (l *lab) run(code int, args ...string) result {
	l.t.Helper()
	return l.start(args...).want(code)
}

// process is the program at work.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err buffer
	done     chan struct{}
}

func (l *lab) start(args ...string) *process {
	l.t.Helper()
	p := &process{t: l.t, cmd: l.command(args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState tells
	}()
	l.t.Cleanup(func() { p.signal(syscall.SIGKILL); <-p.done })
	return p
}

func (p *process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// wait waits for the process's end.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(20 * time.Minute): // an emulated guest on a busy machine
		p.t.Fatalf("%q does not end; its stderr:\n%s", p.cmd.Args, p.err.String())
	}
	r := result{code: p.cmd.ProcessState.ExitCode(), out: p.out.String(), err: p.err.String()}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.signal = ws.Signal()
	}
	return r
}

func (p *process) want(code int) result {
	p.t.Helper()
	r := p.wait()
	if r.code != code {
		p.t.Fatalf("%q: exit code %d (%v), want %d; stdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], r.code, r.signal, code, r.out, r.err)
	}
	return r
}

// kill kills the process, which must not have ended by itself.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	if r := p.wait(); r.signal != syscall.SIGKILL {
		p.t.Fatalf("%q ended with code %d before it was killed; stderr:\n%s", p.cmd.Args[1:], r.code, r.err)
	}
}

// until waits until ok holds; the process must live on till then.
func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(15 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		select {
		case <-p.done:
			if !ok() {
				p.t.Fatalf("%q ended before: %s; stderr:\n%s", p.cmd.Args[1:], what, p.err.String())
			}
			return
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%q has not come to: %s; stderr:\n%s", p.cmd.Args[1:], what, p.err.String())
		}
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// records reads the journal of a VM's run, as far as it has come.
func (l *lab) records(vm string) (out []journal.Record) {
	f, err := os.Open(filepath.Join(l.state(), "vms", vm, "journal"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return out
		}
		var rec journal.Record
		if err := json.Unmarshal(line, &rec); err != nil {
			l.t.Errorf("journal line %d: %v", len(out)+1, err)
			return out
		}
		out = append(out, rec)
	}
}

// events are the journal's records in short: "plan", "begin copy".
func (l *lab) events() (out []string) {
	var steps []plan.Step
	for _, rec := range l.records(l.vm) {
		text := string(rec.Event)
		if rec.Plan != nil {
			var job plan.VMJob
			if err := json.Unmarshal(rec.Plan, &job); err != nil {
				l.t.Error(err)
			}
			steps = job.VM.Steps
		}
		if rec.Step != nil {
			text += " " + string(steps[*rec.Step].Kind)
		}
		out = append(out, text)
	}
	return out
}

// lines counts the journal's lines, cheaply: it is asked thousands of times.
func (l *lab) lines() int {
	b, err := os.ReadFile(l.journal())
	if err != nil {
		return 0
	}
	return bytes.Count(b, []byte("\n"))
}

// virsh runs virsh and returns its output; ok is false where it failed.
func virsh(args ...string) (out string, ok bool) {
	b, err := exec.Command("virsh", slices.Concat([]string{"-q", "-c", "qemu:///system"}, args)...).Output()
	return string(b), err == nil
}

// libvirtd is a connection that all tests share: hundreds of times they ask which
// domains there are, and virsh takes a process for each answer.
var libvirtd = sync.OnceValues(func() (*virt.Conn, error) {
	return virt.Connect(context.Background(), virt.SystemURI)
})

// domains lists the domains, running or not, whose name begins with prefix.
func (l *lab) domains(prefix string) []string {
	l.t.Helper()
	conn, err := libvirtd()
	l.check(err)
	all, err := conn.Domains(context.Background())
	l.check(err)
	var names []string
	for _, d := range all {
		if strings.HasPrefix(d.Name, prefix) {
			names = append(names, d.Name)
		}
	}
	return names
}

// forget removes a domain of this test's that may be left.
func (l *lab) forget(name string) {
	for _, left := range l.domains(name) {
		switch {
		case left == name:
			_, _ = virsh("undefine", "--nvram", name)
		case strings.HasPrefix(left, name+"-proof-"):
			_, _ = virsh("destroy", left)
		}
	}
}

// status reads how the VM's run stands.
func (l *lab) status() runs.State {
	l.t.Helper()
	s, err := runs.StateDir(l.state()).State(l.vm)
	l.check(err)
	return s
}

// statusCommand has the program tell it.
func (l *lab) statusCommand() runs.State {
	l.t.Helper()
	r := l.run(exitDone, "status", l.vm, "--output", "json")
	var s runs.State
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		l.t.Fatalf("status: %v in %s", err, r.out)
	}
	return s
}

// checkDone wants a migration that is whole: the same bytes, exactly one
// domain, nothing left of the proof, and the source untouched.
func (l *lab) checkDone() {
	l.t.Helper()
	l.sameDisk(l.flat(), l.disk())
	if got := l.domains(l.vm); len(got) != 1 || got[0] != l.vm {
		l.t.Errorf("domains = %q, want %q alone", got, l.vm)
	}
	want := runs.PhaseUnseen
	s := l.status()
	if s.Seen == plan.SawLogin && strings.HasPrefix(s.Proof, "login prompt on the serial console") {
		want = runs.PhaseReady
	}
	if s.Phase != want || s.Running {
		l.t.Errorf("status = %+v, want phase %s", s, want)
	}
	l.noOverlays()
	l.untouched()
}

// checkGone wants nothing left of a migration that was rolled back.
func (l *lab) checkGone() {
	l.t.Helper()
	l.noDisks()
	if got := l.domains(l.vm); len(got) > 0 {
		l.t.Errorf("domains = %q, want none", got)
	}
	if s := l.status(); s.Phase != journal.PhaseRolledBack || s.Running {
		l.t.Errorf("status = %+v, want phase %s", s, journal.PhaseRolledBack)
	}
	l.noOverlays()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(l.journal()), "*.digests")); len(left) > 0 {
		l.t.Errorf("digests are left: %q", left)
	}
	l.untouched()
}

func (l *lab) noDisks() {
	l.t.Helper()
	entries, err := os.ReadDir(l.storage())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			l.t.Errorf("%s is left in the storage directory", e.Name())
		}
	}
}

func (l *lab) noOverlays() {
	l.t.Helper()
	if _, err := os.Stat(filepath.Join(filepath.Dir(l.journal()), "proof")); err == nil {
		l.t.Error("the proof's overlays are left")
	}
}

// untouched wants that nobody asked the host to change anything.
func (l *lab) untouched() {
	l.t.Helper()
	s := l.host.Stats()
	s.SSHCommands = slices.DeleteFunc(s.SSHCommands, func(c string) bool { return strings.HasPrefix(c, "dd 'if=") || strings.HasPrefix(c, "stat -c ") })
	if len(s.Refused)+len(s.Changes)+s.WriteAttempts+len(s.SSHCommands) > 0 {
		l.t.Errorf("the source was to be changed: %v %v, %d writes, %q", s.Refused, s.Changes, s.WriteAttempts, s.SSHCommands)
	}
}

// sameDisk compares a file with the truth on the datastore.
func (l *lab) sameDisk(source, target string) {
	l.t.Helper()
	truth, err := l.host.Open(source)
	if strings.HasSuffix(source, ".vmdk") && !strings.HasSuffix(source, "-flat.vmdk") {
		truth, err = l.host.Disk(source)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = truth.Close() }()
	f, err := os.Open(target)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	sum := func(r io.Reader) string {
		h := sha256.New()
		n, err := io.Copy(h, r)
		if err != nil {
			l.t.Errorf("%s: %v", target, err)
		}
		return fmt.Sprintf("%d bytes, %x", n, h.Sum(nil)[:8])
	}
	if got, want := sum(f), sum(io.NewSectionReader(truth, 0, truth.Size())); got != want {
		l.t.Errorf("%s has %s; %s has %s", target, got, source, want)
	}
}
