package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// group is a volume group on the lab's first blank disk.
const group = "vg_lvm"

// newGroup makes the volume group anew, full of bytes that no disk has, and a
// libvirtd. It needs device-mapper, so it runs in the lab alone:
//
//	scripts/lab test ./cmd/esxodus -run TestLVM -v
func newGroup(t *testing.T) {
	t.Helper()
	disk := fixtures.LabDisks(t, 1)[0]
	_ = exec.Command("vgremove", "-f", "-y", group).Run() // of an earlier test
	garbage := bytes.Repeat([]byte(rand.Text()), 1<<16)
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 96 << 20 / len(garbage) {
		if _, err := f.Write(garbage); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	tool(t, "pvcreate", "-ff", "-y", disk)
	tool(t, "vgcreate", group, disk)
	startLibvirtd(t)
}

// tool runs a program and returns its output.
func tool(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// startLibvirtd starts the lab's libvirtd, which has no init system to do so.
func startLibvirtd(t *testing.T) {
	t.Helper()
	if _, ok := virsh("list"); ok {
		return
	}
	tool(t, "virtlogd", "-d")
	tool(t, "libvirtd", "-d")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, ok := virsh("list"); ok {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("libvirtd does not answer in the lab")
}

// volumes lists the group's logical volumes.
func volumes(t *testing.T) []string {
	t.Helper()
	return strings.Fields(tool(t, "lvs", "--noheadings", "-o", "lv_name", group))
}

// onGroup is a lab whose disks go to the volume group.
func onGroup(t *testing.T) (l *lab, device string, convertArgs func(args ...string) []string) {
	t.Helper()
	newGroup(t)
	l = newLab(t, esxi.Options{})
	return l, filepath.Join("/dev", group, l.vm+"_scsi0-0"), func(args ...string) []string {
		all := l.convert(args...)
		all[slices.Index(all, "--storage")+1] = "lvm:" + group
		return all
	}
}

// TestLVM: a whole migration to a logical volume, its boot proof, its rollback
// and its commit.
func TestLVM(t *testing.T) {
	l, device, args := onGroup(t)
	r := l.run(exitDone, args()...)
	if !strings.Contains(r.out, "login prompt") {
		t.Errorf("no proof by a login prompt in:\n%s", r.out)
	}
	l.sameDisk(l.flat(), device)
	if xml, _ := virsh("dumpxml", l.vm); !strings.Contains(xml, "<source dev='"+device+"'/>") {
		t.Errorf("the domain does not use %s:\n%s", device, xml)
	}
	l.run(exitPreflight, args()...) // the domain and the volume exist
	l.run(exitDone, l.again("rollback")...)
	if got := volumes(t); len(got) > 0 || len(l.domains(l.vm)) > 0 {
		t.Fatalf("after the rollback: volumes %q, domains %q", got, l.domains(l.vm))
	}
	l.run(exitDone, args("--no-proof")...)
	l.run(exitDone, "commit", l.vm)
	if tags := tool(t, "lvs", "--noheadings", "-o", "lv_tags", group); tags != "" {
		t.Errorf("tags after the commit = %q, want none", tags)
	}
	l.sameDisk(l.flat(), device)
}

// TestLVMKill: killed in the copy and after each record, then resumed.
func TestLVMKill(t *testing.T) {
	l, device, args := onGroup(t)
	for _, after := range []string{"claim create", "begin copy", "done copy", "begin define"} {
		if err := os.RemoveAll(filepath.Dir(l.journal())); err != nil { // of the round before
			t.Fatal(err)
		}
		inCopy := after == "claim create" || after == "begin copy"
		if inCopy {
			l.hold(l.vm)
		}
		served := l.served()
		p := l.start(args("--no-proof")...)
		p.until(after, func() bool { return slices.Contains(l.events(), after) })
		if after == "begin copy" {
			p.until("some of the copy", func() bool { return l.served() > served+1<<20 })
		}
		p.signal(syscall.SIGKILL)
		if r := p.wait(); r.signal != syscall.SIGKILL {
			// What comes after the copy takes no time.
			if inCopy || r.code != exitDone {
				t.Fatalf("it ended with code %d before it was killed after %q; stderr:\n%s", r.code, after, r.err)
			}
			t.Logf("done before it was killed after %q", after)
		}
		l.host.Faults().Clear()
		l.run(exitDone, l.again("resume")...)
		l.sameDisk(l.flat(), device)
		if s := l.status(); s.Phase != runs.PhaseUnseen {
			t.Errorf("killed after %q, then resumed: %+v", after, s)
		}
		l.run(exitDone, l.again("rollback")...)
		if got := volumes(t); len(got) > 0 {
			t.Fatalf("killed after %q, resumed, rolled back: volumes %q", after, got)
		}
	}
}

// TestLVMRefuses: a name that is taken, a group that is full, a size that is no
// whole number of extents.
func TestLVMRefuses(t *testing.T) {
	l, device, args := onGroup(t)
	tool(t, "lvcreate", "-y", "-Zn", "-Wn", "-L", "4m", "-n", filepath.Base(device), group)
	r := l.run(exitPreflight, args()...)
	if !strings.Contains(r.err, "target.volume") {
		t.Errorf("a name clash says:\n%s", r.err)
	}
	tool(t, "lvremove", "-f", group)

	tool(t, "lvcreate", "-y", "-Zn", "-Wn", "-l", "100%FREE", "-n", "full", group)
	r = l.run(exitPreflight, args()...)
	if !strings.Contains(r.err, "target.space") {
		t.Errorf("a full group says:\n%s", r.err)
	}
	if got := volumes(t); len(got) != 1 || got[0] != "full" {
		t.Errorf("volumes = %q, want the foreign one alone", got)
	}
	tool(t, "lvremove", "-f", group)

	// 24 MiB in extents of 16 MiB are two of them; what is beyond the disk
	// reads as zeros, not as what lay there before.
	disk := tool(t, "vgs", "--noheadings", "-o", "pv_name", group)
	tool(t, "vgremove", group)
	tool(t, "vgcreate", "-s", "16m", group, disk)
	l.run(exitDone, args("--no-proof")...)
	b, err := os.ReadFile(device)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 32<<20 || len(bytes.Trim(b[24<<20:], "\x00")) > 0 {
		t.Errorf("the volume has %d bytes, want %d with zeros from %d on", len(b), 32<<20, 24<<20)
	}
	l.run(exitDone, l.again("rollback")...)
}
