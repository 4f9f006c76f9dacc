package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
)

// TestNoPasswordShown gives addresses with passwords where they don't belong, or
// in forms that nobody understands: no error shows a password.
func TestNoPasswordShown(t *testing.T) {
	t.Parallel()
	const pw = "swordfish"
	dir := t.TempDir()
	esxi := func(url string) []string { return []string{"inventory", "--esxi", url, "--stall", "1s"} }
	tests := []struct {
		name string
		env  string
		args []string
		want string // on stderr
	}{
		{name: "http", args: []string{"copy", "http://root:swordfish@h/x.vmdk", "y"}, want: "http://root:***@h/x.vmdk"},
		{name: "ftp", args: []string{"copy", "ftp://root:swordfish@h/x.vmdk", "y"}, want: `scheme "ftp"`},
		{name: "upper case", args: []string{"copy", "HTTPS://root:swordfish@h/x.vmdk", "y"}, want: "root:***@h"},
		{name: "no scheme", args: []string{"copy", "root:swordfish@h/x.vmdk", "y"}, want: "***"},
		{name: "one slash", args: []string{"copy", "http:/root:swordfish@h/x.vmdk", "y"}, want: "***"},
		{name: "slashes and blanks", args: []string{"copy", "http://root:/sword fish/swordfish/@h/x.vmdk", "y"}, want: "***"},
		{name: "no datastore", args: []string{"copy", "https://root:swordfish@h/x.vmdk", "y"}, want: "https://root:***@h"},
		{name: "bad port", args: []string{"copy", "https://root:swordfish@h:x/folder/x.vmdk?dsName=d", "y"}, want: "not a URL"},
		{name: "in the query", args: []string{"copy", "https://h/x.vmdk?password=swordfish", "y"}, want: "password=***"},
		{name: "as a target", args: []string{"copy", "nosuch.vmdk", "http://root:swordfish@h/y"}, want: "nosuch.vmdk"},
		{name: "as a command", args: []string{"https://root:swordfish@h"}, want: "unknown command or topic"},
		{name: "as a VM", args: []string{"rollback", "https://root:swordfish@h"}, want: "https://root:***@h"},
		{name: "esxi, another scheme", args: esxi("http://root:swordfish@127.0.0.1"), want: "scheme"},
		{name: "esxi, no host", args: esxi("https://root:swordfish@"), want: "has no host"},
		{name: "esxi, a path", args: esxi("https://root:swordfish@127.0.0.1/x"), want: "path"},
		{name: "esxi, refused", args: esxi("https://root:swordfish@127.0.0.1:1"), want: "127.0.0.1:1"},
		{name: "esxi, no @", args: esxi("root:swordfish"), want: "address"},
		{name: "GOVC_URL", env: "GOVC_URL=ftp://root:swordfish@127.0.0.1", args: []string{"inventory"}, want: "GOVC_URL"},
		{name: "GOVC_URL, no @", env: "GOVC_URL=https://root:swordfish", args: []string{"inventory"}, want: "GOVC_URL"},
		{name: "proxy", env: "https_proxy=http://u:swordfish@127.0.0.1:2", args: esxi("https://root:swordfish@127.0.0.1:1"), want: "127.0.0.1:1"},
		{name: "libvirt", args: []string{"plan", "--esxi", "https://root:swordfish@127.0.0.1:1", "--storage", "dir:" + dir, "--libvirt", "qemu+tcp://root:swordfish@h/system"}, want: "--libvirt qemu+tcp://root:***@h/system"},
		{name: "storage", args: []string{"plan", "--esxi", "https://root@127.0.0.1:1", "--storage", "http://root:swordfish@h/"}, want: "***"},
		{name: "unknown flag", args: []string{"copy", "--source=http://root:swordfish@h/x.vmdk"}, want: "flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("esxodus", append(tt.args, "--verbose")...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "ESXODUS_STATE="+filepath.Join(dir, "state"), "GOVC_PASSWORD=", "GOVC_URL=", tt.env)
			out, err := cmd.CombinedOutput()
			if err == nil || fixtures.ExitCode(err) == 2 {
				t.Errorf("exit: %v", err)
			}
			if strings.Contains(string(out), pw) || !strings.Contains(string(out), tt.want) {
				t.Errorf("%s\nwant %q in it, and no password", out, tt.want)
			}
		})
	}
}
