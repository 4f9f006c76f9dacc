package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"esxodus/convert/lilo/install"
)

func TestParseArgs(t *testing.T) {
	for _, tt := range []struct {
		args string
		want options
	}{
		{"", options{delay: -1}},
		{"-t -v -v", options{test: true, verbose: 2, delay: -1}},
		{"-tvv", options{test: true, verbose: 2, delay: -1}},
		{"-v3", options{verbose: 3, delay: -1}},
		{"-v 3 -t", options{verbose: 3, test: true, delay: -1}},
		{"-tv 0", options{test: true, delay: -1}},
		{"-v -v 2 -v", options{verbose: 3, delay: -1}},
		{"-w", options{quiet: true, delay: -1}},
		{"-w+", options{loud: true, delay: -1}},
		{"-w -tw+", options{loud: true, test: true, delay: -1}},
		{"-w+ -w", options{quiet: true, delay: -1}},
		{"-s /old", options{backup: "/old", delay: -1}},
		{"-S/old", options{backup: "/old", force: true, delay: -1}},
		{"-S /old -s /new", options{backup: "/new", delay: -1}},
		{"-C /x -m /y -r /z -b /dev/vda -D a -d 30", options{config: "/x", mapPath: "/y", root: "/z", boot: "/dev/vda", deflt: "a", delay: 30}},
		{"-C/x -m/y -r/z -b/dev/vda -Da -d30", options{config: "/x", mapPath: "/y", root: "/z", boot: "/dev/vda", deflt: "a", delay: 30}},
		{"-q", options{action: doQuery, delay: -1}},
		{"-qv", options{action: doQuery, verbose: 1, delay: -1}},
		{"-R", options{action: doOneShot, delay: -1}},
		{"-w -R Linux -v single x=y", options{action: doOneShot, quiet: true, line: "Linux -v single x=y", delay: -1}},
		{"-I Linux", options{action: doIdentify, label: "Linux", delay: -1}},
		{"-I Linux i", options{action: doIdentify, label: "Linux", detail: "i", delay: -1}},
		{"-I Linux ir -C /x", options{action: doIdentify, label: "Linux", detail: "ir", config: "/x", delay: -1}},
		{"-ILinux -v", options{action: doIdentify, label: "Linux", verbose: 1, delay: -1}},
		{"-P fix -P ignore -L -c", options{delay: -1}},
		{"--bus scsi", options{bus: install.SCSI, delay: -1}},
		{"--bus=virtio -V", options{bus: install.Virtio, action: doVersion, delay: -1}},
		{"-h", options{action: doHelp, delay: -1}},
		{"--if-changed -v", options{ifChanged: true, verbose: 1, delay: -1}},
		{"--booted", options{ifChanged: true, booted: true, delay: -1}},
		{"--booted --if-changed", options{ifChanged: true, booted: true, delay: -1}},
	} {
		got, err := parseArgs(strings.Fields(tt.args))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(options{})); err != nil || diff != "" {
			t.Errorf("parseArgs(%q): %v\n%s", tt.args, err, diff)
		}
	}
}

func TestBadArgs(t *testing.T) {
	for args, want := range map[string]string{
		"linux":       `unexpected argument "linux"`,
		"-":           `unexpected argument "-"`,
		"-C":          "-C needs an argument",
		"-d x":        "-d x: want tenths of a second",
		"-d -1":       "-d -1: want tenths of a second",
		"-P maybe":    "-P maybe: want fix or ignore",
		"-u":          "-u: the previous boot sector belonged to a disk with a partition table",
		"-U":          "-U: the previous boot sector",
		"-A":          "-A: there is no partition table",
		"-T help":     "-T: this option of the old LILO",
		"-Y":          "unknown option -Y",
		"-I":          "-I needs an argument",
		"-I a b c":    `unexpected argument "c"`,
		"-I a k":      "-I a k: want letters of i (kernel), r (initrd), R (root), a (append) and D (default label); there is no keyboard table, k",
		"-I a iq":     "-I a iq: want letters of i (kernel)",
		"-v 3x":       "-v 3x: want a number",
		"-w+t":        "unknown option -+",
		"-s":          "-s needs an argument",
		"--bus":       "--bus needs an argument",
		"--bus usb":   `bus "usb": want virtio, scsi, ata or nvme`,
		"--verbose":   "unknown option --verbose",
		"--booted=x":  "--booted takes no argument",
		"-tY":         "unknown option -Y",
		"-q -- extra": "unknown option --",
	} {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &stderr); code != exitError || !strings.HasPrefix(stderr.String(), "Fatal: "+want) || out.Len() > 0 {
			t.Errorf("lilo %s: exit status %d, %q, %q; want 1 and %q", args, code, &out, &stderr, want)
		}
	}
}

// TestIdentify needs no devices.
func TestIdentify(t *testing.T) {
	conf := configure(t, t.TempDir(), "default=b\nroot=/dev/mapper/vg-root", "image=/a\nlabel=a\ninitrd=/i\nimage=/b\nlabel=b\nalias=x\nappend=q")
	for args, want := range map[string]string{
		"a": "/a\n", "A i": "/a\n", "a r": "/i\n", "x R": "/dev/mapper/vg-root\n", "b a": "q\n", "a D": "b\n",
		"nix D": "b\n", "a Rir": "/a\n/i\n/dev/mapper/vg-root\n", "b r": "No initial ramdisk specified\n",
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"-C", conf, "-I"}, strings.Fields(args)...), &out, &stderr)
		if code != exitOK || out.String() != want {
			t.Errorf("lilo -I %s: exit status %d, %q, %q; want %q", args, code, &out, &stderr, want)
		}
	}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-C", conf, "-I", "nix"}, &out, &stderr); code != exitError {
		t.Errorf("lilo -I nix: exit status %d, %q", code, &out)
	}
}

// TestNoFile has a configuration that is no file, and would be waited for.
func TestNoFile(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fifo: fifo + ": it is not a regular file: p", "/dev/null": "/dev/null: it is not a regular file: Dc"} {
		var out, stderr bytes.Buffer
		ended := make(chan int, 1)
		go func() { ended <- run(t.Context(), []string{"-C", name, "-I", "x"}, &out, &stderr) }()
		select {
		case code := <-ended:
			if code != exitError || !strings.HasPrefix(stderr.String(), "Fatal: "+want) {
				t.Errorf("lilo -C %s: exit status %d, %q; want %q", name, code, &stderr, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("lilo -C %s waits", name)
		}
	}
}

func TestHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &out, &stderr); code != exitOK || !strings.HasPrefix(out.String(), "Usage: lilo") {
		t.Errorf("lilo -h: exit status %d, %q", code, &out)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 {
			t.Errorf("a line of %d characters: %q", len(line), line)
		}
	}
}
