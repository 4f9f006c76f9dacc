package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/domain"
	"esxodus/convert/plan"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	"esxodus/inventory"
)

// TestSickHost plans a host of which ESXi can't read one VM, and on which
// another's name, note and datastore directory hold characters that YAML
// forbids. All are planned and listed, the file reads back equal, and only the
// sick one has blockers.
func TestSickHost(t *testing.T) {
	t.Parallel()
	dir := fixtures.OpenDir(t)
	const odd = "w\u0092e\u0085b\u2028"
	for _, name := range []string{"sick", "well", odd} {
		if err := fixtures.SmallGuest(filepath.Join(dir, name), name); err != nil {
			t.Fatal(err)
		}
	}
	note := "first \u0092\nsecond\ufffd " + odd
	respecify(t, filepath.Join(dir, odd), "annotation", note)
	respecify(t, filepath.Join(dir, odd), "extra", map[string]string{"machine.id": "root:EXAMPLE", "guestinfo.userdata": "EXAMPLE"})
	respecify(t, filepath.Join(dir, "sick"), "connectionState", "invalid")
	l := newLabWithout(t, esxi.Options{Dir: dir})
	var h inventory.Host
	r := l.run(exitDone, append([]string{"inventory", "--output", "json"}, l.login()...)...)
	if err := json.Unmarshal([]byte(r.out), &h); err != nil || len(h.VMs) != 3 {
		t.Fatalf("inventory: %d VMs, %v; want 3", len(h.VMs), err)
	}
	args := []string{"--libvirt", "test:///default", "--virt-type", "qemu"}
	r = l.run(exitDone, l.plan(slices.Concat(args, []string{"--full", "-o", "plan.yaml"})...)...)
	for _, want := range []string{"/sick.vmx (id", "== well", "source.config", "vim-cmd vmsvc/reload", "1 of 3 VMs can't be converted"} {
		if !strings.Contains(strings.Join(strings.Fields(r.out), " "), want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	file, err := os.ReadFile(filepath.Join(l.dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.out+r.err+string(file), "EXAMPLE") || !strings.Contains(r.out, "extra[machine.id] (12 bytes)") {
		t.Errorf("a secret is shown, or its key isn't:\n%s", r.out)
	}
	saved, err := loadPlan(t.Context(), filepath.Join(l.dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r = l.run(exitDone, l.plan(slices.Concat(args, []string{"--output", "json"})...)...)
	var shown plan.Plan
	if err := json.Unmarshal([]byte(r.out), &shown); err != nil {
		t.Fatal(err)
	}
	x, errX := json.Marshal(saved)
	y, errY := json.Marshal(shown)
	if errX != nil || errY != nil || string(x) != string(y) {
		t.Errorf("the saved plan is another than the one shown:\n%s\n%s", x, y)
	}
	sickID := ""
	for i := range saved.VMs {
		v := &saved.VMs[i]
		if v.Source.ConnectionState == "invalid" {
			sickID = v.Source.ID
		}
		if got, want := len(saved.Blockers(i)) > 0, v.Source.ConnectionState == "invalid"; got != want {
			t.Errorf("%q: blockers %+v", v.Source.Name, saved.Blockers(i))
		}
		if v.Name == domain.Name(odd) && (v.Source.Name != odd || v.Source.Annotation != note) {
			t.Errorf("name %q, note %q; want them as on the host", v.Source.Name, v.Source.Annotation)
		}
	}
	r = l.run(exitPreflight, append([]string{"convert", sickID, "--yes", "--uplink", "eth0", "--storage", "dir:" + l.storage()}, append(args, l.login()...)...)...)
	if !strings.Contains(r.err, "source.config") || !strings.Contains(r.err, "hint: ") {
		t.Errorf("convert sick: %s", r.err)
	}
}

// respecify sets one field of a guest's vm.json.
func respecify(t *testing.T, dir, key string, value any) {
	t.Helper()
	file := filepath.Join(dir, "vm.json")
	spec := make(map[string]any)
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	spec[key] = value
	if err == nil {
		b, err = json.Marshal(spec)
	}
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
