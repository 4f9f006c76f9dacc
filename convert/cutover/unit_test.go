package cutover

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/inventory"
)

// TestUnit: systemd takes the unit, whatever the VM is called, and does what it says: the
// domain that is off is started, one that runs isn't, and the next one waits.
func TestUnit(t *testing.T) {
	t.Parallel()
	fixtures.Tool(t, "systemd-analyze")
	for name, tt := range map[string]struct {
		vm    string
		a     inventory.AutoStart
		waits string
	}{
		"web":   {"web", inventory.AutoStart{}, ""},
		"a+b":   {"a b\n[Service]\nExecStart=/bin/evil 100%", inventory.AutoStart{StartDelay: 5}, "/bin/sleep 5"},
		"db-1.": {"データベース", inventory.AutoStart{StartDelay: 7, WaitForHeartbeat: true}, "timeout 7"},
	} {
		u := unit(name, tt.vm, tt.a, []string{"dns", "x+y"})
		if err := u.check(name); err != nil {
			t.Error(err)
		}
		if err := u.check("other"); err == nil {
			t.Errorf("%s is taken for another's", u.Name)
		}
		path := filepath.Join(t.TempDir(), u.Name)
		if err := os.WriteFile(path, []byte(u.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
		if text := string(out); err != nil || strings.Contains(text, u.Name+":") {
			t.Errorf("%s: %v: %s\n%s", name, err, text, u.Text)
		}
		if strings.Count(u.Text, "[Service]") != 1+strings.Count(tt.vm, "[Service]") || strings.Contains(u.Text, "\nExecStart=/bin/evil") || !strings.Contains(u.Text, tt.waits) {
			t.Errorf("the unit of %q:\n%s", tt.vm, u.Text)
		}
	}
}

// TestUnitRuns has the unit's commands run, on a virsh of the test's.
func TestUnitRuns(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{"running": false, "paused": false, "in shutdown": false, "shut off": true, "crashed": true} {
		dir := t.TempDir()
		fake := filepath.Join(dir, "virsh")
		script := "#!/bin/sh\ncase \"$*\" in *domstate*) echo '" + state + "';; *) echo \"$*\" >>" + dir + "/log;; esac\n"
		if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		u := unit("web", "web", inventory.AutoStart{}, nil)
		_, line, _ := strings.Cut(u.Text, "ExecStart=/bin/sh -c '")
		line, _, _ = strings.Cut(line, "'\n")
		if out, err := exec.Command("/bin/sh", "-c", strings.ReplaceAll(line, "/usr/bin/virsh", fake)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", state, err, out)
		}
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		if started := strings.Contains(string(log), "start web"); started != want {
			t.Errorf("a domain that is %s: %q", state, log)
		}
	}
}
