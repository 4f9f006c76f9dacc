package target

import (
	"net"
	"os"
	"strings"
	"testing"
)

// TestOtherMachine: which libvirt URIs lead to this machine. 192.0.2.1 is an
// address of documentation (RFC 5737), and .invalid names nothing (RFC 2606).
func TestOtherMachine(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"": "", "qemu:///system": "", "qemu:///session": "", "test:///default": "", "test:///path/to.xml": "",
		"qemu+unix:///system?socket=/run/libvirt/libvirt-sock": "", "qemu+ssh:///system": "",
		"qemu+ssh://root@localhost/system": "", "qemu+tcp://127.0.0.1:16509/system": "", "qemu+tls://[::1]/system": "", "qemu://" + own + "/system": "",
		"qemu+ssh://other.invalid/system": "other.invalid", "qemu+ssh://root@192.0.2.1:2222/system": "192.0.2.1", "qemu+tcp://192.0.2.1/system": "192.0.2.1",
		"qemu+tls://other.invalid/system": "other.invalid", "qemu://other.invalid/system": "other.invalid", "qemu+libssh2://other.invalid/system": "other.invalid",
		"qemu+tcp://[2001:db8::1]/system": "2001:db8::1", "test+tcp://other.invalid/default": "other.invalid",
		"other": "an alias", "qemu+ext:///system?command=/bin/x": "a custom command", "qemu+ssh://%zz/system": "not a URI",
	} {
		got, err := OtherMachine(t.Context(), uri)
		if err != nil {
			got = err.Error()
		}
		if got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("OtherMachine(%q) = %q; want %q", uri, got, want)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.IsLinkLocalUnicast() {
			continue
		}
		uri := "qemu+ssh://" + net.JoinHostPort(ip.String(), "22") + "/system"
		if got, err := OtherMachine(t.Context(), uri); got != "" || err != nil {
			t.Errorf("OtherMachine(%q) = %q, %v; want this machine", uri, got, err)
		}
	}
}
