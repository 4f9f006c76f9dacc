package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// filesLab is a lab whose host is gone: a copy of its datastore is left.
func filesLab(t *testing.T, dir string) (l *lab, from string) {
	t.Helper()
	l = newLab(t, esxi.Options{Dir: dir})
	from = filepath.Join(l.dir, "datastore1")
	if err := l.host.ExportStore("datastore1", from); err != nil {
		t.Fatal(err)
	}
	return l, from
}

// smallFiles is a files lab with small guests of these names.
func smallFiles(t *testing.T, names ...string) (l *lab, from string) {
	t.Helper()
	dir := fixtures.OpenDir(t)
	for _, name := range names {
		if err := fixtures.SmallGuest(filepath.Join(dir, name), name); err != nil {
			t.Fatal(err)
		}
	}
	l, from = filesLab(t, dir)
	for _, name := range names {
		t.Cleanup(func() { l.forget(name) })
	}
	l.vm = names[0]
	return l, from
}

// onFiles are the arguments of a command that plans from files.
func (l *lab) onFiles(command, from string, args ...string) []string {
	return slices.Concat([]string{command, "--from", from, "--storage", "dir:" + l.storage(), "--virt-type", fixtures.VirtType(), "--network", "VM Network=none"}, args)
}

// prints are the names, times and contents of all files below a directory.
func prints(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&out, path, info.Mode(), info.Size(), info.ModTime())
		if !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%x\n", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestFromDirectory migrates a real guest from a copy of its datastore, and sees it
// come up: no host is asked, and nothing is written to the copy.
func TestFromDirectory(t *testing.T) {
	fixtures.Rung(t, "boot") // make test has small guests from files, which needn't boot
	t.Parallel()
	built, dir, vm := fixtures.Guest(t, "tiny"), fixtures.OpenDir(t), uniqueName("tiny")
	renamed(t, built, filepath.Join(dir, vm), vm)
	l, from := filesLab(t, dir)
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	before := prints(t, from)

	r := l.run(exitDone, "inventory", "--from", from)
	if !strings.Contains(r.out, vm) || !strings.Contains(r.out, "unknown") {
		t.Errorf("inventory:\n%s", r.out)
	}
	file := filepath.Join(from, vm, "tiny.vmdk")
	r = l.run(exitDone, l.onFiles("plan", from, "--layout", "keep", "--no-edits", vm)...)
	for _, want := range []string{"from the files in " + from, "via file: " + file, "from the file " + file, "source.files", "see its login prompt"} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("the plan does not say %q:\n%s", want, r.out)
		}
	}
	l.run(exitDone, l.onFiles("convert", from, "--layout", "keep", "--no-edits", "--yes", vm)...)
	s := l.statusCommand()
	if !strings.HasPrefix(s.Proof, "login prompt on the serial console") {
		t.Errorf("proof = %q, want the login prompt", s.Proof)
	}
	l.sameDisk("[datastore1] "+vm+"/tiny-flat.vmdk", l.disk())
	l.run(exitDone, "commit", vm)
	if after := prints(t, from); after != before {
		t.Errorf("the files have changed: were\n%s\nare\n%s", before, after)
	}
	if n := l.served(); n > 0 {
		t.Errorf("the host was asked for %d bytes", n)
	}
}

// TestFilesResumed: a batch from files that was killed goes on where it was, without
// any host; files that change meanwhile stop it; it can be rolled back.
func TestFilesResumed(t *testing.T) {
	t.Parallel()
	l, from := smallFiles(t, uniqueName("f1"), uniqueName("f2"))
	if err := l.host.Close(); err != nil {
		t.Fatal(err)
	}
	l.run(exitDone, l.onFiles("plan", from, "--no-proof", "-o", "plan.yaml")...)
	p := l.start("batch", "plan.yaml", "--yes", "--parallel", "1", "--rate", "2M") // a checkpoint comes while it is copied, not at its end
	p.until("a checkpoint", func() bool {
		if s := l.states(); len(s) == 1 {
			l.vm = s[0].Name
		}
		return l.checkpointed() > 0
	})
	p.kill()
	p.wait()
	flat := filepath.Join(from, l.vm, "small-flat.vmdk")
	was, err := os.Stat(flat)
	l.check(err)

	l.check(os.Chtimes(flat, was.ModTime(), was.ModTime().Add(1)))
	if r := l.run(exitStopped, "resume", l.vm); !strings.Contains(r.err, "has changed since this run began") {
		t.Errorf("resume with a file that changed: %s", r.err)
	}
	l.check(os.Chtimes(flat, was.ModTime(), was.ModTime()))
	for vm, res := range results(t, l.run(exitDone, "batch", "plan.yaml", "--yes", "--output", "json")) {
		want := batch.DidConvert
		if vm == l.vm {
			want = batch.DidResume
		}
		if res.Did != want || res.Error != "" {
			t.Errorf("%+v, want %s", res, want)
		}
		got, err := os.ReadFile(filepath.Join(l.storage(), vm+"_scsi0-0"))
		l.check(err)
		if want, err := os.ReadFile(filepath.Join(from, vm, "small-flat.vmdk")); err != nil || string(got) != string(want) {
			t.Errorf("%s differs from its source (%v)", vm, err)
		}
	}
	l.verifiedSource(fixtures.SmallDisk)
	for _, s := range l.states() {
		l.run(exitDone, "rollback", s.Name)
	}
	l.noDisks()
}

// TestFilesOff: a VM that may run is refused until the admin says that it is off; what
// is said holds for the marks that were there, and no others.
func TestFilesOff(t *testing.T) {
	t.Parallel()
	l, from := smallFiles(t, uniqueName("f"))
	mark := func(name string) { l.check(os.WriteFile(filepath.Join(from, l.vm, name), nil, 0o644)) }
	mark(l.vm + "-1a2b3c4d.vswp")
	l.check(os.MkdirAll(filepath.Join(from, "broken"), 0o755))
	l.check(os.WriteFile(filepath.Join(from, "broken", "broken.vmx"), []byte("\x00"), 0o644))

	r := l.run(exitPreflight, l.onFiles("convert", from, "--no-proof", "--yes", l.vm)...)
	if !strings.Contains(unwrapped(r.err), "the VM may be running: "+l.vm+"-1a2b3c4d.vswp is beside its .vmx or its disks") || !strings.Contains(r.err, "--off") {
		t.Errorf("stderr:\n%s", r.err)
	}
	r = l.run(exitDone, l.onFiles("plan", from)...)
	if !strings.Contains(r.out, "broken ") || !strings.Contains(r.out, "its .vmx can't be read") {
		t.Errorf("a broken .vmx among others:\n%s", r.out)
	}
	l.run(exitFailed, l.onFiles("plan", from, "--off", "nobody")...)
	r = l.run(exitDone, replaced(l.onFiles("plan", from), "--network", "")...)
	if !strings.Contains(unwrapped(r.out), `files don't say on which uplinks and VLAN the port group VM Network is`) || !strings.Contains(r.out, "macvtap:DEVICE") {
		t.Errorf("a port group of which nothing is known:\n%s", r.out)
	}
	if r = l.run(exitFailed, l.onFiles("plan", filepath.Join(from, l.vm, "small.vmdk"))...); !strings.Contains(unwrapped(r.err), "esxodus copy") {
		t.Errorf("a VMDK alone: %s", r.err)
	}
	l.withExample(from)
	l.run(exitUsage, l.onFiles("plan", from, "--shutdown", "ssh")...)
	l.run(exitUsage, l.onFiles("plan", from, "--esxi", "https://root@esx1")...)
	inside := l.onFiles("plan", from)
	l.run(exitUsage, replaced(inside, "--storage", "dir:"+filepath.Join(from, "disks"))...)

	off := l.onFiles("plan", from, "--no-proof", "--off", l.vm, "-o", "plan.yaml", l.vm)
	l.run(exitDone, off...)
	mark(l.vm + ".vmx.lck")
	for _, res := range results(t, l.run(exitSome, "batch", "plan.yaml", "--yes", "--output", "json")) {
		if !strings.Contains(res.Error, l.vm+".vmx.lck") {
			t.Errorf("a VM that was started since: %+v", res)
		}
	}
	l.check(os.Remove(filepath.Join(from, l.vm, l.vm+".vmx.lck")))
	l.run(exitDone, "batch", "plan.yaml", "--yes")
}

// withExample sees that the .vmx of the manual's makes a VM of a bare VMDK.
func (l *lab) withExample(from string) {
	l.t.Helper()
	text, err := topicFiles.ReadFile("topics/sources.md")
	l.check(err)
	var vmx strings.Builder
	for line := range strings.Lines(string(text)) {
		if example, ok := strings.CutPrefix(line, "    "); ok {
			vmx.WriteString(example)
		}
	}
	dir := l.t.TempDir()
	for _, name := range []string{"small.vmdk", "small-flat.vmdk"} {
		l.check(os.Link(filepath.Join(from, l.vm, name), filepath.Join(dir, name)))
	}
	l.check(os.WriteFile(filepath.Join(dir, "web.vmx"), []byte(strings.ReplaceAll(vmx.String(), "web.vmdk", "small.vmdk")), 0o600))
	r := l.run(exitDone, l.onFiles("plan", dir)...)
	for _, want := range []string{"small.vmdk", "define the persistent domain web", "attached to nothing"} {
		if !strings.Contains(unwrapped(r.out), want) {
			l.t.Errorf("a plan of a VMDK with the manual's .vmx does not say %q:\n%s", want, r.out)
		}
	}
}

// TestFromOVA migrates a real guest from an OVA, and sees it come up. A batch from one
// that was changed since the plan stops.
func TestFromOVA(t *testing.T) {
	t.Parallel()
	vm := uniqueName("tiny")
	l := newLab(t, esxi.Options{})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })
	ova := filepath.Join(l.dir, vm+".ova")
	raw := writeOVA(t, ova, vm)
	before := prints(t, ova)

	r := l.run(exitDone, "inventory", "--from", ova)
	if !strings.Contains(r.out, vm) {
		t.Errorf("inventory:\n%s", r.out)
	}
	r = l.run(exitDone, l.onFiles("plan", ova, "--layout", "keep", "--no-edits", "-o", "plan.yaml", vm)...)
	for _, want := range []string{"from the files in " + ova, "via file: " + ova + "/tiny.vmdk", "see its login prompt"} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("the plan does not say %q:\n%s", want, r.out)
		}
	}
	l.run(exitDone, "batch", "plan.yaml", "--yes")
	s := l.statusCommand()
	if !strings.HasPrefix(s.Proof, "login prompt on the serial console") {
		t.Errorf("proof = %q, want the login prompt", s.Proof)
	}
	got, err := os.ReadFile(l.disk())
	l.check(err)
	if sha256.Sum256(got) != raw {
		t.Error("the volume isn't the disk that was exported")
	}
	l.verifiedSource(int64(len(got)))
	if after := prints(t, ova); after != before {
		t.Errorf("the OVA has changed: was %s, is %s", before, after)
	}
	l.run(exitDone, "rollback", vm)

	f, err := os.OpenFile(ova, os.O_RDWR, 0)
	l.check(err)
	info, err := f.Stat()
	l.check(err)
	_, err = f.WriteAt([]byte("changed"), info.Size()/2)
	l.check(errors.Join(err, f.Close()))
	if res := results(t, l.run(exitSome, "batch", "plan.yaml", "--yes", "--output", "json"))[vm]; !strings.Contains(res.Error, "isn't what the manifest says") {
		t.Errorf("a changed OVA: %+v", res)
	}
	l.noDisks()
}

// writeOVA exports the tiny guest as an OVA, as ESXi does, and returns the digest of its
// disk.
func writeOVA(t *testing.T, ova, vm string) [sha256.Size]byte {
	t.Helper()
	built := fixtures.Guest(t, "tiny")
	raw, err := os.ReadFile(filepath.Join(built, "tiny-flat.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	var vmdk bytes.Buffer
	if err := disktest.StreamOptimized(&vmdk, bytes.NewReader(raw), int64(len(raw)), "tiny.vmdk", 1); err != nil {
		t.Fatal(err)
	}
	item := func(id, kind int, rest string) string {
		return fmt.Sprintf("<Item><InstanceID>%d</InstanceID><ResourceType>%d</ResourceType>%s</Item>\n", id, kind, rest)
	}
	descriptor := fmt.Sprintf(`<Envelope><References><File id="f" href="tiny.vmdk"/></References>
<DiskSection><Disk diskId="d" fileRef="f" capacity="%d"/></DiskSection>
<VirtualSystem id="%s"><Name>%[2]s</Name><OperatingSystemSection id="96" osType="debian12_64Guest"/><VirtualHardwareSection>`, len(raw), vm) +
		item(1, 3, "<VirtualQuantity>1</VirtualQuantity>") + item(2, 4, "<AllocationUnits>byte * 2^20</AllocationUnits><VirtualQuantity>256</VirtualQuantity>") +
		item(3, 6, "<ResourceSubType>VirtualSCSI</ResourceSubType>") + item(4, 17, "<Parent>3</Parent><AddressOnParent>0</AddressOnParent><HostResource>ovf:/disk/d</HostResource>") +
		item(5, 10, "<ResourceSubType>VmxNet3</ResourceSubType><Connection>VM Network</Connection>") +
		"</VirtualHardwareSection></VirtualSystem></Envelope>"
	manifest := fmt.Sprintf("SHA1(%s.ovf)= %x\nSHA1(tiny.vmdk)= %x\n", vm, sha1.Sum([]byte(descriptor)), sha1.Sum(vmdk.Bytes()))
	f, err := os.Create(ova)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, m := range []struct{ name, content string }{{vm + ".ovf", descriptor}, {vm + ".mf", manifest}, {"tiny.vmdk", vmdk.String()}} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: 0o644}))
		_, wrong := w.Write([]byte(m.content))
		err = errors.Join(err, wrong)
	}
	if err := errors.Join(err, w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(raw)
}
