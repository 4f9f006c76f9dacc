package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// mountedLab is a lab whose host's datastore is mounted on this machine, too.
func mountedLab(t *testing.T) (l *lab, mount string) {
	t.Helper()
	l = newLab(t, esxi.Options{})
	mount = filepath.Join(l.dir, "mnt")
	l.check(l.host.ExportStore("datastore1", mount))
	return l, mount
}

// TestMounted migrates a VM whose host tells all but its disk's bytes: those come from
// where the datastore is mounted, once they are seen to be the host's.
func TestMounted(t *testing.T) {
	t.Parallel()
	l, mount := mountedLab(t)
	store := []string{"--datastore", "datastore1=" + mount, "--no-proof"}
	before, file := prints(t, mount), filepath.Join(mount, l.vm, "small.vmdk")
	r := l.run(exitDone, l.plan(append(slices.Clone(store), l.vm)...)...)
	for _, want := range []string{"via file: " + file, "from the file " + file} {
		if !strings.Contains(unwrapped(r.out), want) {
			t.Errorf("the plan does not say %q:\n%s", want, r.out)
		}
	}
	l.run(exitDone, l.convert(store...)...)
	l.sameDisk(l.flat(), l.disk())
	l.verifiedSource(fixtures.SmallDisk)
	if n := l.served(); n > fixtures.SmallDisk/8 {
		t.Errorf("%d bytes of the disk came from the host: want no more than it takes to compare", n)
	}
	if after := prints(t, mount); after != before {
		t.Errorf("the files have changed: were\n%s\nare\n%s", before, after)
	}
	l.untouched()
	l.run(exitDone, l.again("rollback")...)

	was := l.served()
	l.run(exitDone, l.convert(append(slices.Clone(store), "--via", l.vm+"=https")...)...)
	if n := l.served() - was; n < fixtures.SmallDisk/4 {
		t.Errorf("with --via https %d bytes came from the host", n)
	}
	l.run(exitDone, l.again("rollback")...)
}

// TestNotMounted: what isn't the host's file is never read in its place, neither by a
// plan nor where it comes to differ later.
func TestNotMounted(t *testing.T) {
	t.Parallel()
	l, mount := mountedLab(t)
	store := []string{"--datastore", "datastore1=" + mount, "--no-proof"}
	l.run(exitDone, l.plan(append(slices.Clone(store), "-o", "plan.yaml", l.vm)...)...)
	flat, descriptor := filepath.Join(mount, l.vm, "small-flat.vmdk"), filepath.Join(mount, l.vm, "small.vmdk")
	data, err := os.ReadFile(flat)
	l.check(err)
	text, err := os.ReadFile(descriptor)
	l.check(err)
	tests := []struct{ name, file, content, want string }{
		{"another size", flat, string(data) + strings.Repeat("\x00", 1<<20), "bytes, the host's"},
		{"other bytes", flat, "other" + string(data[5:]), "its bytes from 0 on are others"},
		{"another end", flat, string(data[:len(data)-1]) + "x", "are others"},
		{"another content id", descriptor, strings.Replace(string(text), "CID=fffffffe", "CID=fffffffd", 1), "its bytes from 0 on are others"},
		{"nothing there", flat, "", "no such file"},
	}
	for _, tt := range tests {
		l.check(os.WriteFile(tt.file, []byte(tt.content), 0o644))
		if tt.content == "" {
			l.check(os.Remove(tt.file))
		}
		r := l.run(exitDone, l.plan(append(slices.Clone(store), l.vm)...)...)
		if !strings.Contains(unwrapped(r.out), tt.want) || !strings.Contains(r.out, "blocked") {
			t.Errorf("%s: the plan says\n%s", tt.name, r.out)
		}
		if r = l.run(exitSome, l.batch()...); !strings.Contains(unwrapped(r.out), tt.want) {
			t.Errorf("%s: batch says\n%s", tt.name, r.out)
		}
		l.check(os.WriteFile(flat, data, 0o644))
		l.check(os.WriteFile(descriptor, text, 0o644))
	}
	l.noDisks()
	r := l.run(exitPreflight, l.convert("--via", "file")...)
	if !strings.Contains(unwrapped(r.err), "asked for by --via file") {
		t.Errorf("--via file without a mount: %s", r.err)
	}
	l.run(exitFailed, l.plan("--datastore", "nowhere="+mount)...)
	l.run(exitUsage, l.plan("--via", "carrier-pigeon")...)
	l.run(exitUsage, l.plan("--datastore", "datastore1")...)
	l.run(exitUsage, replaced(l.plan(store...), "--storage", "dir:"+mount)...)
	l.run(exitDone, l.batch()...)
}
