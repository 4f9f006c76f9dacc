package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestTinyGuest migrates a real guest, a kernel with an initrd and an ext4
// root, and sees it come up.
func TestTinyGuest(t *testing.T) {
	t.Parallel()
	migrateGuest(t, "tiny")
}

// TestDebianGuest migrates Debian 12 as ESXi hosts have it.
func TestDebianGuest(t *testing.T) {
	t.Parallel()
	migrateGuest(t, "debian")
}

// migrateGuest takes a guest that the scripts built through the whole
// migration, its disk kept as it is: planned, converted, seen to come up,
// committed.
func migrateGuest(t *testing.T, guest string) {
	t.Helper()
	built, dir, vm := fixtures.Guest(t, guest), fixtures.OpenDir(t), uniqueName(guest)
	renamed(t, built, filepath.Join(dir, vm), vm)
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = vm
	t.Cleanup(func() { l.forget(vm) })

	plan := l.run(exitDone, l.plan("--layout", "keep", "--no-edits", vm)...)
	for _, want := range []string{"boot a copy of " + vm, "see its login prompt on the serial console", "ext", "mounted at /"} {
		if !strings.Contains(unwrapped(plan.out), want) {
			t.Errorf("the plan does not say %q:\n%s", want, plan.out)
		}
	}
	begin := time.Now()
	r := l.run(exitDone, l.convert("--layout", "keep", "--no-edits")...)
	t.Logf("%v; %s", time.Since(begin).Round(time.Second), unwrapped(r.out))
	s := l.statusCommand()
	if !strings.HasPrefix(s.Proof, "login prompt on the serial console") || !strings.Contains(s.Proof, "login:") {
		t.Errorf("proof = %q, want the login prompt", s.Proof)
	}
	if got := l.domains(vm); len(got) != 1 {
		t.Errorf("domains = %q", got)
	}
	// The proof has changed nothing on the disk.
	l.sameDisk("[datastore1] "+vm+"/"+guest+"-flat.vmdk", l.disk())
	l.noOverlays()
	l.untouched()
	l.run(exitDone, "commit", vm)
	if out, ok := virsh("dominfo", vm); !ok || !strings.Contains(unwrapped(out), "State: shut off") || !strings.Contains(unwrapped(out), "Persistent: yes") {
		t.Errorf("dominfo: %s", out)
	}
}

// renamed makes a guest's directory with another name for the VM: several
// tests, of several runs, migrate the same guest.
func renamed(t *testing.T, built, dir, vm string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(built)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "vm.json" {
			continue
		}
		if err := os.Symlink(filepath.Join(built, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	spec := make(map[string]any)
	b, err := os.ReadFile(filepath.Join(built, "vm.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	spec["name"] = vm
	if b, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vm.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
