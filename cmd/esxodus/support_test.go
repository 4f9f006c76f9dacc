package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures/esxi"
)

// TestSupport plants secrets wherever a run may have them, and looks for them in all of
// the archive.
func TestSupport(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.run(exitDone, l.convert("--no-proof")...)
	journal, err := os.ReadFile(l.journal())
	if err != nil {
		t.Fatal(err)
	}
	planted := false
	for _, devices := range []string{"<devices>", `\u003cdevices\u003e`} {
		if bytes.Contains(journal, []byte(devices)) {
			planted = true
			journal = bytes.ReplaceAll(journal, []byte(devices), []byte(devices+"<graphics type='vnc' passwd='swordfish'/>"))
		}
	}
	if !planted {
		t.Fatal("the journal has no domain")
	}
	for path, text := range map[string]string{
		l.journal(): string(journal) + `{"error":"https://root:swordfish@h` + "\n",
		filepath.Join(filepath.Dir(l.journal()), "console.log"): "Password: sword fish swordfish\r\nlogin: " + l.host.Password() + "\r\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := l.run(exitDone, "support", "-o", "a.tar.gz", "--password-file", l.passwordFile(), l.vm)
	for _, want := range []string{"a.tar.gz holds", "vms/" + l.vm + "/journal", "its journal", "doctor.json", "look before you hand it on"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("stdout has no %q:\n%s", want, r.out)
		}
	}
	exists := l.run(exitUsage, "support", "-o", "a.tar.gz", l.vm)
	if !strings.Contains(exists.err, "a.tar.gz exists") {
		t.Errorf("stderr = %s", exists.err)
	}
	all := l.run(exitDone, "support", "-o", "b.tar.gz", "--output", "json", "--password-file", l.passwordFile())
	var made madeSupport
	if err := json.Unmarshal([]byte(all.out), &made); err != nil || made.File != "b.tar.gz" || len(made.Members) < 10 {
		t.Errorf("%v in %s", err, all.out)
	}
	for _, archive := range []string{"a.tar.gz", "b.tar.gz"} {
		into := t.TempDir()
		path := filepath.Join(l.dir, archive)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v; want mode 0600", info, err)
		}
		if out, err := exec.CommandContext(t.Context(), "tar", "-xzf", path, "-C", into).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		for _, secret := range []string{"swordfish", "sword fish", l.host.Password()} {
			out, err := exec.CommandContext(t.Context(), "grep", "-rF", secret, into).CombinedOutput()
			if err == nil || len(out) > 0 {
				t.Errorf("%s has %q:\n%.300s", archive, secret, out)
			}
		}
		domain, err := os.ReadFile(filepath.Join(into, "esxodus-support", "vms", l.vm, "journal"))
		if err != nil || !strings.Contains(string(domain), "passwd='***'") {
			t.Errorf("the journal isn't there: %v: %.200s", err, domain)
		}
	}
}
