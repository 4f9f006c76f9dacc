package redact

import (
	"bytes"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"open http://root:swordfish@h/x.vmdk: no such file", "open http://root:***@h/x.vmdk: no such file"},
		{"openat http:/root:swordfish@h: no such file", "openat http:/root:***@h: no such file"},
		{`Get "ftp://root:swordfish@h/x"`, `Get "ftp://root:***@h/x"`},
		{"https://root:sword/fish@h/x", "https://root:***@h/x"},
		{"https://root:sword@fish@h/x", "https://root:***@h/x"},
		{"root:swordfish@h/x.vmdk: no such file", "root:***@h/x.vmdk: no such file"},
		{"qemu+ssh://root:swordfish@h/system", "qemu+ssh://root:***@h/system"},
		{"https://h/folder/x?dsName=ds&password=swordfish&a=b", "https://h/folder/x?dsName=ds&password=***&a=b"},
		{"https://h/x?X-Auth-Token=swordfish", "https://h/x?X-Auth-Token=***"},
		{"http://user:swordfish@[::1]:3128", "http://user:***@[::1]:3128"},
		{"proxy=u:swordfish@proxy:3128", "proxy=u:***@proxy:3128"},
		// None of these has a password.
		{"https://root@esx1/folder/a:b@c.vmdk", "https://root@esx1/folder/a:b@c.vmdk"},
		{"https://esx1:443/folder/x@y.vmdk", "https://esx1:443/folder/x@y.vmdk"},
		{"[datastore1] a/b.vmdk, bytes 0 to 511", "[datastore1] a/b.vmdk, bytes 0 to 511"},
		{"00:50:56:aa:bb:cc on scsi0:0 at 10:15", "00:50:56:aa:bb:cc on scsi0:0 at 10:15"},
	}
	for _, tt := range tests {
		if got := Text(tt.in); got != tt.want {
			t.Errorf("Text(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		`http://root:Pa55 @:/'"%ü@h/x.vmdk`, "root:sword fish@h/x.vmdk", "https://root:sw//ord/../fish@h", "https://h/?pw=swordfish",
	} {
		known := Known(address)
		var out bytes.Buffer
		w := Writer(&out, known...)
		for _, pw := range passwords(address) {
			for _, form := range []string{pw, strings.ReplaceAll(pw, `"`, `\"`)} {
				out.Reset()
				if _, err := w.Write([]byte("openat " + form + ": no such file\n")); err != nil {
					t.Fatal(err)
				}
				if got := out.String(); got != "openat ***: no such file\n" {
					t.Errorf("of %q: %q", address, got)
				}
			}
		}
		if len(known) == 0 {
			t.Errorf("Known(%q) finds no password", address)
		}
	}
	for _, address := range []string{"", "web1.vmdk", "https://root@esx1", "esx1:443", "[datastore1] a/b.vmdk", "https://esx1:443/folder/x@y.vmdk", "VM Network=macvtap:eno1"} {
		if known := Known(address); len(known) > 0 {
			t.Errorf("Known(%q) = %q; want none", address, known)
		}
	}
}
