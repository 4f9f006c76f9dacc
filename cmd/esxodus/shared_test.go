package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// sharedGroup is a volume group on a LUN that two hosts see.
const sharedGroup = "vg_lun"

// The addresses of the hosts on their cable; the second serves the LUN.
const (
	sanHost   = "10.9.0.2"
	agentPort = "9"
)

// lvmLocal is a host's own part of LVM's configuration.
const lvmLocal = "/etc/lvm/lvmlocal.conf"

// sharer is one of two hosts that see the LUN. It has an ESXi host of its own to
// convert from.
type sharer struct {
	*lab
	lun string // the LUN's device
}

// TestShared is one of two hosts, each in a lab of its own, with a cable between
// them. The second has the LUN, and does what the first asks.
func TestShared(t *testing.T) {
	n := os.Getenv("ESXODUS_HOST")
	fixtures.Lab(t, n != "", "two hosts on a cable (ESXODUS_HOST)")
	joinSAN(t, n)
	startLibvirtd(t)
	h := sharer{newLab(t, esxi.Options{}), "/dev/" + lunDisk(t)}
	t.Logf("host %s has %s", n, h.lun)
	if n == "2" {
		h.serve()
		return
	}
	there := h.reach()
	_ = t.Run("tags", func(t *testing.T) { h.on(t).byTags(there.on(t)) }) &&
		t.Run("locks", func(t *testing.T) { h.on(t).byLocks(there.on(t)) })
	there.ask(order{Verb: "end"})
}

// on is the host in a subtest.
func (h sharer) on(t *testing.T) sharer {
	t.Helper()
	l := *h.lab
	l.t = t
	return sharer{&l, h.lun}
}

// awaited tries a program until it succeeds.
func awaited(t *testing.T, argv ...string) string {
	t.Helper()
	for {
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		if err == nil {
			return string(out)
		}
		if t.Context().Err() != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// joinSAN gives the host a name, an id, an address on the cable and the LUN.
func joinSAN(t *testing.T, n string) {
	t.Helper()
	nics, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil || len(nics) != 1 {
		t.Fatalf("the lab has the NICs %q, %v", nics, err)
	}
	nic := filepath.Base(filepath.Dir(nics[0]))
	tool(t, "ip", "address", "add", "10.9.0."+n+"/24", "dev", nic)
	tool(t, "ip", "link", "set", nic, "up")
	tool(t, "hostname", "kvm"+n)
	for path, text := range map[string]string{
		"/etc/machine-id":                fmt.Sprintf("%032s\n", n),
		"/etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.2026-01.lab:kvm" + n + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n == "2" {
		serveLUN(t)
	}
	tool(t, "modprobe", "iscsi_tcp")
	tool(t, "iscsid")
	awaited(t, "iscsiadm", "--mode", "discovery", "--type", "sendtargets", "--portal", sanHost)
	awaited(t, "iscsiadm", "--mode", "node", "--login")
	tool(t, "udevadm", "settle")
}

// serveLUN makes the first blank disk a LUN. This host's LVM sees it by the network
// alone.
func serveLUN(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(lvmLocal, []byte(`devices { global_filter = [ "r|^/dev/vd|" ] }`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/tgtd", 0o755); err != nil {
		t.Fatal(err)
	}
	tool(t, "tgtd")
	admin := func(args ...string) []string {
		return append([]string{"tgtadm", "--lld", "iscsi", "--tid", "1"}, args...)
	}
	awaited(t, admin("--mode", "target", "--op", "new", "--targetname", "iqn.2026-01.lab:san")...)
	tool(t, admin("--mode", "logicalunit", "--op", "new", "--lun", "1", "--backing-store", fixtures.LabDisks(t, 1)[0])...)
	tool(t, admin("--mode", "logicalunit", "--op", "update", "--lun", "1", "--params", "scsi_id=L0001")...)
	tool(t, admin("--mode", "target", "--op", "bind", "--initiator-address", "ALL")...)
}

// lunDisk waits for the LUN, and returns its device's name.
func lunDisk(t *testing.T) string {
	t.Helper()
	for t.Context().Err() == nil {
		for line := range strings.Lines(tool(t, "lsblk", "--nodeps", "--noheadings", "--output", "NAME,TRAN")) {
			if name, tran, _ := strings.Cut(strings.TrimSpace(line), " "); strings.TrimSpace(tran) == "iscsi" {
				return name
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the LUN doesn't come")
	return ""
}

// order is what the other host is asked to do.
type order struct {
	Verb string // run a program; esxodus, with its own ESXi host; end
	Args []string
}

// answer is what came of it.
type answer struct {
	Code int
	Out  string // of both streams
}

// does carries out an order.
func (h sharer) does(o order) answer {
	h.t.Helper()
	cmd := exec.Command("true")
	switch o.Verb {
	case "run":
		cmd = exec.Command(o.Args[0], o.Args[1:]...)
	case "esxodus":
		cmd = h.command(h.esxodus(o.Args...)...)
	}
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return answer{-1, err.Error()}
	}
	return answer{cmd.ProcessState.ExitCode(), string(out)}
}

// esxodus are the arguments of a command for the small guest and the group.
func (h sharer) esxodus(args ...string) []string {
	var all []string
	switch args[0] {
	case "plan":
		all = h.plan(append([]string{h.vm}, args[1:]...)...)
	case "convert":
		all = h.convert(args[1:]...)
	case "batch":
		return append(args, "--yes", "--password-file", h.passwordFile())
	case "commit", "doctor":
		return map[string][]string{"commit": {"commit", h.vm}, "doctor": {"doctor", "--storage", "lvm:" + sharedGroup}}[args[0]]
	default:
		return append(h.again(args[0]), args[1:]...)
	}
	all[slices.Index(all, "--storage")+1] = "lvm:" + sharedGroup
	return all
}

// serve carries out what the first host asks, until it is done.
func (h sharer) serve() {
	h.t.Helper()
	l, err := net.Listen("tcp", sanHost+":"+agentPort)
	h.check(err)
	c, err := l.Accept()
	h.check(err)
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			h.t.Fatalf("the first host has gone: %v", err)
		}
		a := h.does(o)
		h.t.Logf("%s %q: %d: %s", o.Verb, o.Args, a.Code, a.Out)
		h.check(out.Encode(a))
		if o.Verb == "end" {
			return
		}
	}
}

// other is the second host, as the first sees it.
type other struct {
	t   *testing.T
	in  *json.Decoder
	out *json.Encoder
}

// reach waits for the second host.
func (h sharer) reach() other {
	h.t.Helper()
	for {
		c, err := net.DialTimeout("tcp", sanHost+":"+agentPort, 3*time.Second)
		if err == nil {
			h.t.Cleanup(func() { _ = c.Close() })
			return other{h.t, json.NewDecoder(c), json.NewEncoder(c)}
		}
		if h.t.Context().Err() != nil {
			h.t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (o other) on(t *testing.T) other {
	t.Helper()
	o.t = t
	return o
}

func (o other) ask(what order) (a answer) {
	o.t.Helper()
	if err := errors.Join(o.out.Encode(what), o.in.Decode(&a)); err != nil {
		o.t.Fatalf("%+v: %v", what, err)
	}
	return a
}

// run runs a program there.
func (o other) run(argv ...string) string {
	o.t.Helper()
	a := o.ask(order{"run", argv})
	if a.Code != 0 {
		o.t.Fatalf("on the other host %q: %d: %s", argv, a.Code, a.Out)
	}
	return strings.TrimSpace(a.Out)
}

// esxodus runs the program there, and wants an exit code and words of it.
func (o other) esxodus(code int, says string, args ...string) string {
	o.t.Helper()
	a := o.ask(order{"esxodus", args})
	a.Out = unwrapped(a.Out)
	if a.Code != code || !strings.Contains(a.Out, says) {
		o.t.Fatalf("on the other host esxodus %q: exit code %d, want %d and %q; it says:\n%s", args, a.Code, code, says, a.Out)
	}
	return a.Out
}

// state is the group as LVM has it: its tags, its volumes and theirs.
func (h sharer) state() string {
	h.t.Helper()
	return tool(h.t, "vgs", "--noheadings", "-o", "vg_tags", sharedGroup) + "; " +
		strings.Join(strings.Fields(tool(h.t, "lvs", "--noheadings", "-o", "lv_name", sharedGroup)), " ")
}

// device is the small guest's disk.
func (h sharer) device() string { return filepath.Join("/dev", sharedGroup, h.vm+"_scsi0-0") }

// killed starts a conversion and kills it at an instant. All that it has started has
// ended then.
func (h sharer) killed(p *process, what string, at func(p *process) bool) {
	h.t.Helper()
	p.until(what, func() bool { return at(p) })
	p.signal(syscall.SIGSTOP) // it starts nothing more
	left := childrenOf(p.cmd.Process.Pid)
	p.kill()
	for _, pid := range left {
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	h.host.Faults().Clear()
}

// childrenOf lists the processes that a process has started.
func childrenOf(parent int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent)) // none: it has ended
	for _, path := range lists {
		text, _ := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(text)) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// watched has each lvcreate that makes a volume leave a file behind as it begins.
func (h sharer) watched() (begun string) {
	h.t.Helper()
	dir := h.t.TempDir()
	begun = filepath.Join(dir, "begun")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != --yes ] || : >%s\nexec /usr/sbin/lvcreate \"$@\"\n", begun)
	h.check(os.WriteFile(filepath.Join(dir, "lvcreate"), []byte(script), 0o755))
	h.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return begun
}

// crashes has a conversion killed in mid-create and in mid-copy, and then done.
// Each time, dead looks at what is there.
func (h sharer) crashes(dead func()) {
	h.t.Helper()
	h.check(os.RemoveAll(filepath.Dir(h.journal()))) // of the round before
	h.hold(h.vm)
	begun := h.watched()
	h.killed(h.start(h.esxodus("convert", "--no-proof")...), "lvcreate", func(*process) bool {
		_, err := os.Stat(begun)
		return err == nil
	})
	dead()
	h.hold(h.vm)
	served := h.served()
	h.killed(h.start(h.again("resume")...), "some of the copy", func(*process) bool { return h.served() > served+1<<20 })
	dead()
	h.run(exitDone, h.again("resume")...)
	h.sameDisk(h.flat(), h.device())
}

// sum is the digest of the small guest's disk on the other host, which opens it for
// that alone.
func (o other) sum(device, mode string) string {
	o.t.Helper()
	name := strings.TrimPrefix(device, "/dev/")
	o.run("lvchange", "--activate", mode, name)
	sum, _, _ := strings.Cut(o.run("sha256sum", device), " ")
	o.run("lvchange", "--activate", "n", name)
	return sum
}

// sum is the same here.
func (h sharer) sum(device string) string {
	h.t.Helper()
	sum, _, _ := strings.Cut(tool(h.t, "sha256sum", device), " ")
	return sum
}

// byTags: without lvmlockd one host writes at a time.
func (h sharer) byTags(there other) {
	h.t.Helper()
	tool(h.t, "vgcreate", "--yes", sharedGroup, h.lun)
	there.esxodus(exitDone, "target.shared", "plan", "--no-proof", "-o", "plan.yaml")
	there.esxodus(exitDone, "where other hosts may see it", "doctor")
	refused := func() {
		h.t.Helper()
		before := h.state()
		if !strings.Contains(before, "esxodus_writer_kvm1_") {
			h.t.Errorf("the group's state is %q, without a writer", before)
		}
		there.esxodus(exitPreflight, "target.writer", "convert", "--no-proof")
		there.esxodus(exitSome, `its writer is the host "kvm1"`, "batch", "plan.yaml") // planned when there was none
		if after := h.state(); after != before {
			h.t.Errorf("the refused host has made %q of %q", after, before)
		}
	}
	h.crashes(refused)
	refused()
	there.run("vgchange", "--activate", "ay", sharedGroup) // as its boot does
	if got := there.run("lvs", "--noheadings", "-o", "lv_active", sharedGroup); got != "" {
		h.t.Errorf("the other host's boot makes the volume %q", got)
	}
	if a, b := h.sum(h.device()), there.sum(h.device(), "y"); a != b {
		h.t.Errorf("the other host sees %s, this one %s", b, a)
	}
	h.run(exitDone, h.again("rollback")...)
	if got := h.state(); got != "; " {
		h.t.Errorf("after the rollback the group's state is %q", got)
	}

	there.esxodus(exitDone, "", "convert", "--no-proof")
	if r := h.run(exitPreflight, h.esxodus("convert", "--no-proof")...); !strings.Contains(r.err, "target.writer") {
		h.t.Errorf("convert beside the other host says:\n%s", r.err)
	}
	there.esxodus(exitDone, "", "commit")
	theirs := "/dev/" + sharedGroup + "/" + tool(h.t, "lvs", "--noheadings", "-o", "lv_name", sharedGroup)
	there.run("lvchange", "--activate", "n", theirs)
	sum := there.sum(theirs, "y")
	h.takenOver(there)
	if now := there.sum(theirs, "y"); now != sum {
		h.t.Errorf("the other host's volume was %s, and is %s", sum, now)
	}
	tool(h.t, "vgchange", "--activate", "n", sharedGroup)
	there.run("vgremove", "--yes", sharedGroup)
	h.forget(h.vm)
	there.run("virsh", "undefine", strings.TrimSuffix(filepath.Base(theirs), "_scsi0-0"))
}

// takenOver: this host dies in mid-copy, the other takes the group over, and this
// one comes back.
func (h sharer) takenOver(there other) {
	h.t.Helper()
	h.check(os.RemoveAll(filepath.Dir(h.journal())))
	h.hold(h.vm)
	served := h.served()
	h.killed(h.start(h.esxodus("convert", "--no-proof")...), "some of the copy", func(*process) bool { return h.served() > served+1<<20 })
	says := there.esxodus(exitPreflight, "target.writer", "convert", "--no-proof")
	command := regexp.MustCompile("`(vgchange --deltag [^`]*)`").FindStringSubmatch(says)
	if command == nil {
		h.t.Fatalf("it names no command: %s", says)
	}
	there.run("sh", "-c", command[1])
	before := h.state()
	tool(h.t, "vgchange", "--addtag", "esxodus_writer_kvm2_00000000", sharedGroup) // as if it were at work
	r := h.start(h.again("rollback")...).wait()
	if r.code == exitDone || !strings.Contains(r.err, `its writer is the host "kvm2"`) {
		h.t.Errorf("a rollback beside the new writer: %+v", r)
	}
	tool(h.t, "vgchange", "--deltag", "esxodus_writer_kvm2_00000000", sharedGroup)
	if after := h.state(); after != before {
		h.t.Errorf("the rollback has made %q of %q", after, before)
	}
	h.run(exitDone, h.again("rollback")...)
	h.run(exitDone, h.esxodus("convert", "--no-proof")...)
	h.run(exitDone, "commit", h.vm)
	h.sameDisk(h.flat(), h.device())
	if got := h.state(); strings.Contains(got, "writer") || !strings.Contains(got, h.vm) {
		h.t.Errorf("after the commit the group's state is %q", got)
	}
}

// lockd makes a host's LVM use lvmlockd. The lab is too slow to be sure of its
// watchdog: sanlock does without, as Debian has it (-w 0).
func lockd(n string, run func(argv ...string) string) {
	run("sh", "-c", "echo 'global { use_lvmlockd = 1 } local { host_id = "+n+" }' >>"+lvmLocal)
	run("mkdir", "-p", "/run/sanlock", "/run/lvm")
	run("sanlock", "daemon", "-w", "0")
	run("lvmlockd")
}

// byLocks: with lvmlockd hosts may write at the same time, and a volume is one
// host's.
func (h sharer) byLocks(there other) {
	h.t.Helper()
	here := func(argv ...string) string { return tool(h.t, argv...) }
	lockd("1", here)
	lockd("2", there.run)
	here("vgcreate", "--yes", "--shared", sharedGroup, h.lun)
	there.esxodus(exitPreflight, "`vgchange --lockstart "+sharedGroup+"`", "convert", "--no-proof")
	there.run("vgchange", "--lockstart", sharedGroup)
	there.esxodus(exitDone, "with locks by sanlock", "plan")

	name := strings.TrimPrefix(h.device(), "/dev/")
	h.crashes(func() {
		if got := h.state(); strings.Contains(got, "writer") {
			h.t.Errorf("the group's state is %q, with a writer", got)
		}
		if _, err := os.Stat(h.device()); err == nil {
			h.lockedOut(there, name, "ey")
		}
	})
	h.lockedOut(there, name, "sy")
	here("lvchange", "--activate", "sy", name) // as a live migration begins
	if a, b := h.sum(h.device()), there.sum(h.device(), "sy"); a != b {
		h.t.Errorf("the other host sees %s, this one %s", b, a)
	}
	here("lvchange", "--activate", "ey", name)
	h.run(exitDone, h.again("rollback")...)
	if locks := here("lvmlockctl", "--info"); strings.Contains(locks, "LK LV ex") {
		h.t.Errorf("after the rollback lvmlockd holds a volume's lock:\n%s", locks)
	}

	together := make(chan answer)
	go func() { together <- there.ask(order{"esxodus", []string{"convert", "--no-proof"}}) }()
	h.run(exitDone, h.esxodus("convert", "--no-proof")...)
	if a := <-together; a.Code != exitDone {
		h.t.Fatalf("the other host's conversion at the same time: %+v", a)
	}
	h.sameDisk(h.flat(), h.device())
	there.esxodus(exitDone, "", "verify")
	there.esxodus(exitDone, "", "rollback")

	here("pkill", "-KILL", "-x", "lvmlockd") // a term it ignores while it has locks
	if r := h.start(h.again("rollback")...).wait(); r.code == exitDone || !strings.Contains(unwrapped(r.err), "lvmlockd isn't running here") {
		h.t.Errorf("a rollback without lvmlockd: %+v", r)
	}
}

// lockedOut wants that the other host can't activate a volume.
func (h sharer) lockedOut(there other, name, mode string) {
	h.t.Helper()
	if a := there.ask(order{"run", []string{"lvchange", "--activate", mode, name}}); a.Code == 0 || !strings.Contains(a.Out, "locked by other host") {
		h.t.Errorf("the other host activates (%s) the volume that this one has: %+v", mode, a)
	}
}
