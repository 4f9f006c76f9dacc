package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/netrun"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// netLab is a lab whose commands change the networking of the stage that the test
// runs on.
type netLab struct{ *lab }

// macvtapFile is what an untagged port group needs on the host.
const macvtapFile = "/etc/systemd/network/10-esxodus-macvtap.network"

// network runs `esxodus network` against the lab's host.
func (l netLab) network(args ...string) []string {
	return append(append([]string{"network"}, args...), "--esxi", strings.Replace(l.host.URL(), "https://", "https://root@", 1),
		"--thumbprint", l.host.Thumbprint(), "--password-file", l.passwordFile(), "--uplink", "eno1", l.vm)
}

// state waits until the last run is in a phase.
func (l netLab) wait(phase journal.Phase) {
	l.t.Helper()
	for {
		var states []netrun.State
		r := l.run(exitDone, "network", "status", "--output", "json")
		if err := json.Unmarshal([]byte(r.out), &states); err != nil {
			l.t.Fatalf("%v: %s", err, r.out)
		}
		if n := len(states); n > 0 && states[n-1].Phase == phase {
			return
		}
		if l.t.Context().Err() != nil {
			l.t.Fatalf("the run doesn't become %s: %+v", phase, states)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// written wants that the file is there, or that it isn't.
func (l netLab) written(want bool) {
	l.t.Helper()
	if _, err := os.Stat(macvtapFile); (err == nil) != want {
		l.t.Errorf("%s is there: %v; want %v", macvtapFile, err == nil, want)
	}
}

// TestNetwork plays each scene on a stage of its own, with a real networkd.
func TestNetwork(t *testing.T) {
	const on = "ESXODUS_ON_STAGE"
	for name, scene := range map[string]func(netLab){
		"confirmed":            confirmedNetwork,
		"not confirmed":        unconfirmedNetwork,
		"killed, confirmed":    killedConfirmed,
		"killed":               killedNetwork,
		"hangs":                hangingNetwork,
		"hung up":              hungUp,
		"cut off":              cutOff,
		"no such uplink":       noUplink,
		"fleeting device":      fleetingDevice,
		"network first":        networkFirstOf,
		"default network":      defaultNetwork,
		"nothing to roll back": nothingToUndo,
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(on) != "" {
				scene(netLab{newLabWithout(t, esxi.Options{Builtin: true})})
				return
			}
			t.Parallel()
			if out, err := fixtures.Stage(t, on).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// confirmedNetwork: another session says yes; rollback takes it away all the same.
func confirmedNetwork(l netLab) {
	l.run(exitUsage, l.network("apply")...) // nobody can be asked
	r := l.run(exitDone, l.network("plan", "-o", filepath.Join(l.dir, "files"))...)
	for _, want := range []string{"VM Network", "macvtap on eno1", "+Unmanaged=yes", "networkd reads its files"} {
		if !strings.Contains(r.out, want) {
			l.t.Errorf("the plan lacks %q:\n%s", want, r.out)
		}
	}
	if _, err := os.Stat(filepath.Join(l.dir, "files/network/10-esxodus-macvtap.network")); err != nil {
		l.t.Error(err)
	}
	p := l.start(l.network("apply", "--yes", "--confirm-within", "1m")...)
	l.wait(netrun.PhaseWaiting)
	l.written(true)
	l.run(exitBusy, l.network("apply", "--yes")...)
	l.run(exitBusy, "network", "rollback")
	if r := l.run(exitDone, "network", "confirm", "--output", "json"); !strings.HasPrefix(r.out, "[") {
		l.t.Errorf("confirm prints %q; want the runs", r.out)
	}
	if r := p.want(exitDone); !strings.Contains(r.err, "`esxodus network rollback --state ") {
		l.t.Errorf("apply says\n%s", r.err)
	}
	l.wait(netrun.PhaseApplied)
	if r := l.run(exitDone, l.network("apply")...); !strings.Contains(r.err, "nothing is to be done") {
		l.t.Errorf("a second apply says\n%s", r.err)
	}
	l.run(exitFailed, "network", "confirm")
	l.run(exitDone, "network", "rollback")
	l.written(false)
	l.wait(journal.PhaseRolledBack)
}

func unconfirmedNetwork(l netLab) {
	if r := l.run(exitFailed, l.network("apply", "--yes", "--confirm-within", "1s")...); !strings.Contains(r.err, "nobody confirmed in time") || !strings.Contains(r.err, "everything is as it was") {
		l.t.Errorf("apply says\n%s", r.err)
	}
	l.written(false)
	l.wait(journal.PhaseRolledBack)
	l.run(exitDone, l.network("apply", "--yes", "--confirm-within", "0")...)
	l.written(true)
}

// end ends a run's process with a signal while it waits for a word.
func (l netLab) end(within string, sig syscall.Signal) {
	l.t.Helper()
	p := l.start(l.network("apply", "--yes", "--confirm-within", within)...)
	l.wait(netrun.PhaseWaiting)
	if err := p.cmd.Process.Signal(sig); err != nil {
		l.t.Fatal(err)
	}
}

func killedConfirmed(l netLab) {
	l.end("1m", syscall.SIGKILL)
	l.run(exitDone, "network", "confirm")
	l.wait(netrun.PhaseApplied)
	l.written(true)
}

func killedNetwork(l netLab) {
	l.end("2s", syscall.SIGKILL)
	l.wait(journal.PhaseRolledBack)
	l.written(false)
}

// hungUp: the session dies, and takes the program with it.
func hungUp(l netLab) {
	l.end("2s", syscall.SIGHUP)
	l.wait(journal.PhaseRolledBack)
	l.written(false)
}

// hangingNetwork: the program is stopped, by Ctrl-Z say, and would never put back
// what it did.
func hangingNetwork(l netLab) {
	l.end("1s", syscall.SIGSTOP)
	l.wait(journal.PhaseRolledBack)
	l.written(false)
}

// cutOff: the program and its guard are gone, as after a power cut. It is said what
// to do, and that does it.
func cutOff(l netLab) {
	p := l.start(l.network("apply", "--yes", "--confirm-within", "10m")...)
	l.wait(netrun.PhaseWaiting)
	for _, pid := range l.guards() {
		l.check(syscall.Kill(pid, syscall.SIGKILL))
	}
	p.kill()
	l.wait(netrun.PhaseCutOff)
	l.run(exitFailed, "network", "confirm")
	if r := l.run(exitDone, "network", "status"); !strings.Contains(r.out, "its process is gone: `esxodus network rollback") {
		l.t.Errorf("status says\n%s", r.out)
	}
	l.run(exitUsage, l.network("apply")...) // nobody can be asked, and nothing is undone
	l.written(true)
	l.wait(netrun.PhaseCutOff)
	r := l.run(exitDone, l.network("apply", "--yes", "--confirm-within", "0")...)
	for _, want := range []string{"was cut off after 3 of 5 steps", "is put back first", "undone: ", "done: 5 steps"} {
		if !strings.Contains(r.err, want) {
			l.t.Errorf("apply lacks %q:\n%s", want, r.err)
		}
	}
	l.written(true)
	l.wait(netrun.PhaseApplied)
	l.run(exitDone, "network", "rollback")
	l.written(false)
	if r := l.run(exitDone, "network", "rollback"); !strings.Contains(r.err, "has changed nothing") {
		l.t.Errorf("there was more to roll back:\n%s", r.err)
	}
}

// guards are the processes that watch over this lab's run; there is one.
func (l netLab) guards() []int {
	l.t.Helper()
	var out []int
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	l.check(err)
	for _, f := range files {
		line, _ := os.ReadFile(f) // it may have ended
		if strings.Contains(string(line), "\x00network\x00guard\x00--state\x00"+l.state()) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			l.check(err)
			out = append(out, pid)
		}
	}
	if len(out) != 1 {
		l.t.Fatalf("the guards are %v", out)
	}
	return out
}

// fleetingDevice: no VM is converted onto a device that the next boot doesn't make,
// and the hint's command is the one that makes it.
func fleetingDevice(l netLab) {
	plan := filepath.Join(l.dir, "plan.yaml")
	source := append(l.network("x")[2:len(l.network("x"))-1], "--storage", "dir:"+l.storage(), "--virt-type", "qemu", "--libvirt", "qemu+unix:///system?socket=/nowhere")
	if r := l.run(exitDone, append([]string{"plan", "-o", plan, "web"}, source...)...); !strings.Contains(r.out, "20-esxodus-eno1.42.network") && !strings.Contains(r.out, "eno1.42") {
		l.t.Errorf("plan says\n%s", r.out)
	}
	text, err := os.ReadFile(plan)
	l.check(err)
	if !strings.Contains(string(text), "lan.network.d/esxodus-eno1.42.conf") {
		l.t.Error("the plan doesn't know which file networkd applies to eno1")
	}
	r := l.run(exitPreflight, "batch", "--yes", plan, "--password-file", l.passwordFile())
	if !strings.Contains(r.err, "network.fleeting: nothing makes eno1.42 when this host boots") || !strings.Contains(r.err, "`esxodus network apply --plan "+plan) {
		l.t.Errorf("batch says\n%s", r.err)
	}
	for _, u := range []struct{ name, text string }{
		{"eno1.42.netdev", "[NetDev]\nName=eno1.42\nKind=vlan\n[VLAN]\nId=42\n"},
		{"lan.network.d/vlan.conf", "[Network]\nVLAN=eno1.42\n"},
	} {
		path := filepath.Join("/etc/systemd/network", u.name)
		l.check(os.MkdirAll(filepath.Dir(path), 0o755))
		l.check(os.WriteFile(path, []byte(u.text), 0o644))
	}
	if r := l.run(exitFailed, "batch", "--yes", plan, "--password-file", l.passwordFile()); strings.Contains(r.err, "network.fleeting:") {
		l.t.Errorf("batch says\n%s", r.err)
	}
}

// tagged puts a guest onto the lab's host whose only NIC is in VLAN 42.
func tagged(l netLab) netLab {
	t := l.t
	l = netLab{&lab{t: t, dir: l.dir, vm: uniqueName("n"), opts: esxi.Options{Builtin: true, Dir: filepath.Join(l.dir, "tagged")}}}
	guest := filepath.Join(l.opts.Dir, l.vm)
	l.check(fixtures.SmallGuest(guest, l.vm))
	l.edit(filepath.Join(guest, "vm.json"), `"tools":{}`, `"tools":{},"nics":[{"portGroup":"VLAN 42"}]`)
	l.startHost()
	l.check(os.WriteFile(l.passwordFile(), []byte(l.host.Password()+"\n"), 0o600))
	t.Cleanup(func() { _ = l.host.Close() })
	return l
}

// networkFirstOf: a VM is converted onto a device that is made first, and runs there.
// The device can't be taken away before the domain is.
func networkFirstOf(l netLab) {
	l = tagged(l)
	source := append(l.network("x")[2:len(l.network("x"))-1], "--storage", "dir:"+l.storage(), "--virt-type", "qemu", l.vm)
	convert := func(args ...string) []string {
		return append(append([]string{"convert", "--yes", "--no-proof"}, source...), args...)
	}
	fixtures.Lab(l.t, true, "VLANs in the kernel and a libvirtd on the stage")
	startLibvirtd(l.t)
	r := l.run(exitDone, append([]string{"plan", "--apply-network"}, source...)...)
	if !strings.Contains(r.out, "Before anything else, this host's networking") || !strings.Contains(r.out, "make eno1.42, vlan 42 on eno1") || !strings.Contains(r.out, "+Kind=vlan") {
		l.t.Errorf("plan says\n%s", r.out)
	}
	if r := l.run(exitPreflight, convert()...); !strings.Contains(r.err, "or give --apply-network") {
		l.t.Errorf("convert says\n%s", r.err)
	}
	if r := l.run(exitFailed, convert("--apply-network", "--confirm-within", "1s")...); !strings.Contains(r.err, "nobody confirmed in time") || !strings.Contains(r.err, "no VM was touched") {
		l.t.Errorf("convert without a word says\n%s", r.err)
	}
	if names := l.domains(l.vm); len(names) > 0 {
		l.t.Fatalf("there is a domain: %q", names)
	}
	l.run(exitDone, convert("--apply-network", "--confirm-within", "0")...)
	l.checkDone()
	l.wait(netrun.PhaseApplied)
	fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "start", l.vm)
	if links := fixtures.Run(l.t, "ip", "-d", "link", "show", "type", "macvtap"); !strings.Contains(links, "@eno1.42") {
		l.t.Errorf("the domain's NIC isn't on eno1.42: %s", links)
	}
	if r := l.run(exitFailed, "network", "rollback"); !strings.Contains(r.err, "eno1.42 is used by "+l.vm) {
		l.t.Errorf("the rollback says\n%s", r.err)
	}
	fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "destroy", l.vm)
	if r := l.run(exitFailed, "network", "rollback"); !strings.Contains(r.err, "eno1.42 is used by "+l.vm) {
		l.t.Errorf("with the domain shut off the rollback says\n%s", r.err)
	}
	l.wait(netrun.PhaseApplied)
	l.run(exitDone, l.again("rollback")...)
	l.run(exitDone, "network", "rollback")
	l.wait(journal.PhaseRolledBack)
}

// defaultNetwork: one of libvirt's networks is removed where no domain has it, and
// comes back as it was.
func defaultNetwork(l netLab) {
	if os.Getenv("ESXODUS_LAB") != "" {
		startLibvirtd(l.t)
	} else if !fixtures.Libvirt(l.t) {
		l.t.Skip("no libvirtd")
	}
	virsh := func(args ...string) string {
		return fixtures.Run(l.t, append([]string{"virsh", "-q", "-c", "qemu:///system"}, args...)...)
	}
	name, bridge := uniqueName("esxodus-test"), strings.Replace(uniqueName("x"), "-", "", 1)
	define := func(verb, text string) {
		file := filepath.Join(l.dir, "x.xml")
		l.write(file, text)
		virsh(verb, file)
	}
	// Without DNS and DHCP it needs no dnsmasq.
	define("net-define", "<network><name>"+name+"</name><bridge name='"+bridge+"'/><dns enable='no'/><ip address='192.0.2.137' netmask='255.255.255.248'/></network>")
	l.t.Cleanup(func() {
		_, _ = exec.Command("virsh", "-q", "-c", "qemu:///system", "net-undefine", name).CombinedOutput()
	})
	virsh("net-start", name)
	l.t.Cleanup(func() {
		_, _ = exec.Command("virsh", "-q", "-c", "qemu:///system", "net-destroy", name).CombinedOutput()
	})
	virsh("net-autostart", name)
	sight := func() string { return virsh("net-dumpxml", name) + virsh("net-info", name) }
	before := sight()
	remove := func(args ...string) []string {
		return append([]string{"network", "remove-default", "--yes", "--confirm-within", "0", name}, args...)
	}
	define("define", "<domain type='qemu'><name>"+l.vm+"</name><memory>8192</memory><os><type>hvm</type></os><devices><interface type='network'><source network='"+name+"'/></interface></devices></domain>")
	if r := l.run(exitPreflight, remove()...); !strings.Contains(r.err, "network.in-use") || !strings.Contains(r.err, "is used by "+l.vm) {
		l.t.Errorf("remove-default says\n%s", r.err)
	}
	virsh("undefine", l.vm)
	if now := sight(); now != before {
		l.t.Errorf("a refusal has changed the network: %s", now)
	}
	l.run(exitDone, remove()...)
	if list := virsh("net-list", "--all", "--name"); strings.Contains(list, name) {
		l.t.Errorf("libvirt still has %s", list)
	}
	if r := l.run(exitDone, "network", "status"); !strings.Contains(r.out, "applied: the removal of libvirt's network "+name) {
		l.t.Errorf("status says %s", r.out)
	}
	if r := l.run(exitDone, remove()...); !strings.Contains(r.err, "libvirt has no network "+name) {
		l.t.Errorf("a second removal says %s", r.err)
	}
	l.run(exitDone, "network", "rollback")
	if now := sight(); now != before {
		l.t.Errorf("the network was\n%s\nand is\n%s", before, now)
	}
	l.run(exitUsage, append(remove(), "another")...)
}

// noUplink: what the host hasn't got is said before anything is done.
func noUplink(l netLab) {
	r := l.run(exitPreflight, append(l.network("apply", "--yes"), "--network", "VM Network=macvtap:eno7")...)
	if !strings.Contains(r.err, "network.no-link") || !strings.Contains(r.err, "nothing was changed") {
		l.t.Errorf("apply says\n%s", r.err)
	}
	l.written(false)
}

func nothingToUndo(l netLab) {
	if r := l.run(exitDone, "network", "rollback"); !strings.Contains(r.err, "has changed nothing") {
		l.t.Errorf("rollback says %q", r.err)
	}
	if r := l.run(exitDone, "network", "status"); !strings.Contains(r.out, "has changed nothing") {
		l.t.Errorf("status says %q", r.out)
	}
	for _, command := range []string{"status", "rollback"} {
		if r := l.run(exitDone, "network", command, "--output", "json"); r.out != "[]\n" {
			l.t.Errorf("%s prints %q; want an empty array", command, r.out)
		}
	}
	r := l.run(exitDone, append(l.network("plan", "--output", "json"), "--network", "VM Network=none")...)
	if strings.Contains(r.out, "null") {
		l.t.Errorf("a plan without anything to do prints null for a list:\n%s", r.out)
	}
	l.run(exitUsage, "network")
	l.run(exitUsage, "network", "frob")
}
