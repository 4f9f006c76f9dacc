package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"esxodus/fixtures/esxi"
)

// TestPipes: a pipe where a file should be is refused at once; one that may be
// there on purpose is waited for, until Ctrl-C.
func TestPipes(t *testing.T) {
	t.Parallel()
	l := newLabWithout(t, esxi.Options{})
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(l.dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"vmfs\"\n"
	write("extent.vmdk", head+"RW 2048 VMFS \"pipe\"\n")
	write("child.vmdk", strings.ReplaceAll(head, "ffffffff", "00000001")+"parentFileNameHint=\"pipe\"\nRW 2048 VMFSSPARSE \"x\"\n")
	write("disk.vmx", "config.version = \"8\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"pipe\"\n"+
		"scsi0:1.present = \"TRUE\"\nscsi0:1.fileName = \"child.vmdk\"\n")
	for _, args := range [][]string{
		{"inventory", "--vmx", "pipe"}, {"copy", "pipe", "out"}, {"copy", "extent.vmdk", "out"}, {"copy", "pipe/x.vmdk", "out"}, {"copy", "extent.vmdk", "pipe"},
	} {
		if r := l.run(exitFailed, args...); !strings.Contains(r.err, "pipe") {
			t.Errorf("%v: %s; want the pipe named", args, r.err)
		}
	}
	r := l.run(exitDone, "inventory", "--vmx", "disk.vmx", "--output", "json")
	if n := strings.Count(r.out, "not a regular file"); n != 2 {
		t.Errorf("%d disks told to be no files, want 2: %s", n, r.out)
	}
	r = l.run(exitSome, "inventory", "--vmx", "pipe", "--vmx", "disk.vmx")
	if !strings.Contains(r.err, "not a regular file") || !strings.Contains(r.out, "disk") {
		t.Errorf("a pipe and a file: %s%s; want the file's VM, and the pipe named", r.out, r.err)
	}
	for _, args := range [][]string{
		{"inventory", "--esxi", l.host.URL(), "--thumbprint", l.host.Thumbprint(), "--password-file", "pipe"}, {"batch", "pipe", "--yes"},
	} {
		p := l.start(args...)
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns once the program has it open
		if err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		p.want(exitInterrupted)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p := l.start("inventory", "--esxi", strings.Replace(l.host.URL(), "//", "//root@", 1), "--thumbprint", l.host.Thumbprint(), "--password-file", "pipe")
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(l.host.Password() + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p.want(exitDone)
}
