package guestfiles

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/lilo/conf"
	"esxodus/fixtures"
)

func TestFile(t *testing.T) {
	for _, name := range []string{"lilo.8.gz", "postinst.d/zz-runlilo", "postrm.d/zz-runlilo", "post-update.d/runlilo", "install.d/95-lilo.install", "hooks/lilo.init", "units/lilo.service", "units/lilo-watch.service"} {
		if b, err := File(name); err != nil || len(b) < 300 {
			t.Errorf("File(%q) = %d bytes, %v", name, len(b), err)
		}
	}
	for _, pair := range [][2]string{
		{"postinst.d/zz-runlilo", "hooks/zz-runlilo"},
		{"postrm.d/zz-runlilo", "hooks/zz-runlilo"},
		{"post-update.d/runlilo", "hooks/runlilo"},
		{"install.d/95-lilo.install", "hooks/95-lilo.install"},
	} {
		a, errA := File(pair[0])
		b, errB := File(pair[1])
		if errA != nil || errB != nil || !bytes.Equal(a, b) || !bytes.HasPrefix(a, []byte("#!/bin/sh\n")) {
			t.Errorf("File(%q) and File(%q): %v, %v, or not the same script", pair[0], pair[1], errA, errB)
		}
	}
	if _, err := File("../guestfiles.go"); !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file outside: %v", err)
	}
}

func TestCompressed(t *testing.T) {
	plain, err := File("lilo.8")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := File("lilo.8.gz")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := File("lilo.8.gz")
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, plain) || !bytes.Equal(packed, again) {
		t.Errorf("lilo.8.gz doesn't hold lilo.8, or differs from time to time: %v", err)
	}
}

// TestManual has mandoc check the manual page, and holds its lists of keywords
// against what the parser does with each.
func TestManual(t *testing.T) {
	page, err := File("lilo.8")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ from, to, want string }{
		{"Ignored, since they make no difference:", "Ignored with a warning:", ""},
		{"Ignored with a warning:", "An error, since", "warning"},
		{"An error, since something else", "and every word", "error"},
	} {
		_, text, _ := strings.Cut(string(page), part.from)
		text, _, ok := strings.Cut(text, part.to)
		words := 0
		for line := range strings.Lines(text) {
			names, isList := strings.CutPrefix(line, ".Cm ")
			for _, word := range strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune(" ,;.\n", r) }) {
				if isList {
					words++
					if got := fate(word); got != part.want {
						t.Errorf("the manual has %s under %q, the parser says %q", word, part.from, got)
					}
				}
			}
		}
		if !ok || words < 10 {
			t.Errorf("under %q there are %d keywords", part.from, words)
		}
	}
	out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, "mandoc"), "-Tlint", "files/lilo.8").Output()
	if len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// fate tells what the parser makes of a keyword.
func fate(word string) string {
	got := "error"
	for _, text := range []string{word + "\nimage=/a", word + "=1\nimage=/a", "image=/a\n" + word, "image=/a\n" + word + "=1"} {
		c, err := conf.Parse("lilo.conf", []byte(text))
		switch {
		case err != nil:
			if strings.Contains(err.Error(), "unknown") {
				return "unknown"
			}
		case len(c.Warnings) > 0:
			got = "warning"
		default:
			got = ""
		}
	}
	return got
}

func TestShellcheck(t *testing.T) {
	for _, name := range []string{"zz-runlilo", "runlilo", "95-lilo.install", "lilo.init"} {
		if out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, "shellcheck"), "files/hooks/"+name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestDebianHooks runs the hooks in a tree of their own, with a lilo that
// succeeds, fails or is missing.
func TestDebianHooks(t *testing.T) {
	busybox := fixtures.Tool(t, "busybox")
	if os.Geteuid() != 0 {
		fixtures.Missing(t, "root, for chroot,")
	}
	for _, tt := range []struct {
		name, hook, lilo string
		env              []string
		ran              bool
		says             string
	}{
		{"kernel installed", "zz-runlilo", "exit 0", []string{"DEB_MAINT_PARAMS='configure' '6.1.0-1'"}, true, ""},
		{"kernel installed, no dpkg", "zz-runlilo", "exit 0", nil, true, ""},
		{"kernel removed", "zz-runlilo", "exit 0", []string{"DEB_MAINT_PARAMS='remove'"}, true, ""},
		{"kernel's package replaced", "zz-runlilo", "exit 0", []string{"DEB_MAINT_PARAMS='upgrade' '6.1.0-2'"}, false, ""},
		{"lilo fails", "zz-runlilo", "echo Fatal: no; exit 1", []string{"DEB_MAINT_PARAMS='configure' ''"}, true, "lilo FAILED"},
		{"no lilo", "zz-runlilo", "", nil, false, ""},
		{"initrd", "runlilo", "exit 0", nil, true, ""},
		{"initrd of a kernel's package", "runlilo", "exit 0", []string{"DPKG_MAINTSCRIPT_PACKAGE=linux-image-6.1.0-1-amd64"}, false, ""},
		{"initrd of another package", "runlilo", "exit 0", []string{"DPKG_MAINTSCRIPT_PACKAGE=lvm2"}, true, ""},
		{"initrd, lilo fails", "runlilo", "exit 1", nil, true, "lilo FAILED"},
		{"initrd, no lilo", "runlilo", "", nil, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root+"/bin/sh", read(t, busybox), 0o755)
			if err := os.Symlink("sh", root+"/bin/cat"); err != nil {
				t.Fatal(err)
			}
			put(t, root+"/dev/null", nil, 0o666)
			put(t, root+"/etc/lilo.conf", nil, 0o644)
			put(t, root+"/etc/kernel/postinst.d/zz-runlilo", []byte("#!/bin/sh\n"), 0o755)
			put(t, root+"/hook", read(t, "files/hooks/"+tt.hook), 0o755)
			if tt.lilo != "" {
				put(t, root+"/usr/sbin/lilo", []byte("#!/bin/sh\necho ran >/ran\n"+tt.lilo+"\n"), 0o755)
			}
			cmd := exec.CommandContext(t.Context(), "/hook", "6.1.0-1", "/boot/vmlinuz-6.1.0-1")
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
			cmd.Env = append([]string{"PATH=/bin"}, tt.env...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Errorf("the hook failed: %v\n%s", err, &stderr)
			}
			if stdout.Len() > 0 {
				t.Errorf("on stdout, which is debconf's: %q", &stdout)
			}
			_, err := os.Stat(root + "/ran")
			if ran := err == nil; ran != tt.ran {
				t.Errorf("lilo ran: %v, want %v", ran, tt.ran)
			}
			if !strings.Contains(stderr.String(), tt.says) || tt.says == "" && stderr.Len() > 0 {
				t.Errorf("stderr %q; want %q", &stderr, tt.says)
			}
		})
	}
}

// TestUnits has systemd read the units, in a tree where what they start is there.
func TestUnits(t *testing.T) {
	root := t.TempDir()
	put(t, root+"/usr/sbin/lilo", []byte("#!/bin/sh\n"), 0o755)
	put(t, root+"/bin/sleep", []byte("#!/bin/sh\n"), 0o755)
	var units []string
	for _, name := range []string{"lilo.service", "lilo-watch.path", "lilo-watch.service"} {
		units = append(units, "/etc/systemd/system/"+name)
		put(t, root+units[len(units)-1], read(t, "files/units/"+name), 0o644)
	}
	// What the others name, but for their being there.
	for _, name := range []string{"sysinit.target", "local-fs.target", "multi-user.target", "basic.target", "paths.target", "shutdown.target", "umount.target", "system.slice"} {
		put(t, root+"/usr/lib/systemd/system/"+name, []byte("[Unit]\nDefaultDependencies=no\n"), 0o644)
	}
	args := append([]string{"verify", "--man=no", "--root=" + root}, units...)
	if out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, "systemd-analyze"), args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}

// TestInitScript runs the script of systems without systemd.
func TestInitScript(t *testing.T) {
	busybox := fixtures.Tool(t, "busybox")
	if os.Geteuid() != 0 {
		fixtures.Missing(t, "root, for chroot,")
	}
	for _, tt := range []struct{ arg, want string }{
		{"start", "--booted"}, {"stop", "--if-changed"}, {"restart", "--if-changed"}, {"status", "-q"},
	} {
		root := t.TempDir()
		put(t, root+"/bin/sh", read(t, busybox), 0o755)
		if err := os.Symlink("sh", root+"/bin/rm"); err != nil {
			t.Fatal(err)
		}
		put(t, root+"/dev/null", nil, 0o666)
		put(t, root+"/etc/lilo.conf", nil, 0o644)
		put(t, root+"/var/lock/subsys/other", nil, 0o644)
		put(t, root+"/init", read(t, "files/hooks/lilo.init"), 0o755)
		put(t, root+"/usr/sbin/lilo", []byte("#!/bin/sh\necho \"$*\" >/new && mv /new /ran\n"), 0o755)
		if err := os.Symlink("sh", root+"/bin/mv"); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "/init", tt.arg)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tt.arg, err, out)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // start doesn't wait for it
			b, err := os.ReadFile(root + "/ran")
			if got := strings.TrimSpace(string(b)); err == nil && got != tt.want {
				t.Errorf("%s runs lilo %s, want %s", tt.arg, got, tt.want)
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: lilo didn't run", tt.arg)
			}
		}
		if _, err := os.Stat(root + "/var/lock/subsys/lilo"); (err == nil) != (tt.arg == "start") {
			t.Errorf("%s: the lock by which Red Hat knows that it runs: %v", tt.arg, err)
		}
	}
}

// TestPlugin follows what kernel-install's plug-in does over a kernel's life.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	boot, modules := dir+"/boot", dir+"/modules"
	put(t, boot+"/vmlinuz-0-rescue-1234", []byte("r"), 0o755)
	put(t, boot+"/initramfs-0-rescue-1234.img", []byte("r"), 0o600)
	put(t, dir+"/lilo.conf", nil, 0o600)
	put(t, dir+"/bin/lilo", []byte("#!/bin/sh\necho lilo ran\nexit ${FAIL:-0}\n"), 0o755)
	put(t, dir+"/bin/dracut", []byte("#!/bin/sh\necho \"$2\" >\"$2\"\n"), 0o755)
	kernel := func(version string, whole bool) {
		put(t, modules+"/"+version+"/vmlinuz", []byte("k "+version), 0o755)
		if whole {
			put(t, boot+"/vmlinuz-"+version, []byte("k "+version), 0o755)
			put(t, boot+"/initramfs-"+version+".img", []byte("i"), 0o600)
		}
	}
	run := func(want string, env []string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "files/hooks/95-lilo.install", args...)
		cmd.Env = append(cmd.Environ(), "PATH="+dir+"/bin:"+os.Getenv("PATH"), "LILO_BOOT="+boot, "LILO_MODULES="+modules,
			"LILO="+dir+"/bin/lilo", "LILO_CONF="+dir+"/lilo.conf")
		cmd.Env = append(cmd.Env, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		if diff := cmp.Diff(want, links(t, boot)); diff != "" {
			t.Errorf("links after %q (-want +got):\n%s", args, diff)
		}
		return string(out)
	}
	kernel("5.14.0-70.el9", true)
	run("vmlinuz 5.14.0-70.el9", nil, "add", "5.14.0-70.el9", "/boot/x", modules+"/5.14.0-70.el9/vmlinuz")
	kernel("5.14.0-162.el9", false) // neither GRUB's plug-in nor dracut's was there
	run("vmlinuz 5.14.0-162.el9, vmlinuz.old 5.14.0-70.el9", nil, "add", "5.14.0-162.el9", "/boot/x")
	run("vmlinuz 5.14.0-162.el9, vmlinuz.old 5.14.0-70.el9", nil, "add", "5.14.0-162.el9", "/boot/x")
	kernel("5.14.0-284.el9", true)
	out := run("vmlinuz 5.14.0-284.el9, vmlinuz.old 5.14.0-162.el9", []string{"FAIL=1"}, "add", "5.14.0-284.el9", "/boot/x", "")
	if !strings.Contains(out, "lilo FAILED") {
		t.Errorf("lilo failed, and the plug-in said %q", out)
	}
	run("vmlinuz 5.14.0-284.el9, vmlinuz.old 5.14.0-162.el9", nil, "add", "0-rescue-1234", "/boot/x")
	run("vmlinuz 5.14.0-284.el9, vmlinuz.old 5.14.0-70.el9", nil, "remove", "5.14.0-162.el9", "/boot/x")
	for _, name := range []string{"/vmlinuz-5.14.0-284.el9", "/vmlinuz-5.14.0-162.el9"} {
		if err := os.Remove(boot + name); err != nil {
			t.Fatal(err)
		}
	}
	run("vmlinuz 5.14.0-70.el9", nil, "remove", "5.14.0-284.el9", "/boot/x")
	out = run("vmlinuz 5.14.0-70.el9", nil, "remove", "5.14.0-70.el9", "/boot/x")
	if !strings.Contains(out, "the last kernel") {
		t.Errorf("the last kernel was removed, and the plug-in said %q", out)
	}
	run("vmlinuz 5.14.0-70.el9", nil, "add", "7.0", "/boot/x", "/nowhere")
}

// links prints what the links lead to, "vmlinuz 6.1, vmlinuz.old 5.9", and fails
// if those of the initramfs are of other versions.
func links(t *testing.T, boot string) string {
	t.Helper()
	var all []string
	for _, suffix := range []string{"", ".old"} {
		kernel, err1 := os.Readlink(boot + "/vmlinuz" + suffix)
		initrd, err2 := os.Readlink(boot + "/initramfs.img" + suffix)
		if (err1 == nil) != (err2 == nil) {
			t.Errorf("links with %q: %v, %v", suffix, err1, err2)
		}
		if err1 != nil {
			continue
		}
		version := strings.TrimPrefix(kernel, "vmlinuz-")
		if initrd != "initramfs-"+version+".img" {
			t.Errorf("vmlinuz%s leads to %s, initramfs.img%s to %s", suffix, kernel, suffix, initrd)
		}
		all = append(all, "vmlinuz"+suffix+" "+version)
	}
	return strings.Join(all, ", ")
}

func put(t *testing.T, path string, b []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
