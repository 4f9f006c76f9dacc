package adapt

import (
	"strings"
	"testing"

	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// TestUnknownSpec: a line that the guest doesn't come up without is a blocker,
// and the advice is none that the line follows already.
func TestUnknownSpec(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line   tableLine
		want   ledger.Severity
		nofail bool // in the advice
	}{
		{tableLine{table: "fstab", mount: "/srv", kind: "ext4", options: "defaults"}, ledger.Blocker, true},
		{tableLine{table: "fstab", mount: "/srv", kind: "ext4"}, ledger.Blocker, true},
		{tableLine{table: "fstab", mount: "/srv", kind: "ext4", options: "rw,nofail"}, ledger.Warning, false},
		{tableLine{table: "fstab", mount: "/mnt", kind: "ext4", options: "noauto"}, ledger.Note, false}, // case G9
		{tableLine{table: "fstab", mount: "/srv", kind: "ext4", options: "x-systemd.automount"}, ledger.Warning, true},
		{tableLine{table: "fstab", mount: "swap", kind: "swap", options: "sw"}, ledger.Warning, true},
		{tableLine{table: "crypttab"}, ledger.Warning, true},
		{tableLine{table: "systemd/system/usr.mount", mount: "/usr"}, ledger.Blocker, true},
		{tableLine{table: "systemd/system/srv.mount", mount: "/srv"}, ledger.Warning, true},
	} {
		var b builder
		tt.line.spec = "/dev/sdb2"
		b.unknownSpec(tt.line)
		if c := b.concerns[0]; c.Severity != tt.want || strings.Contains(c.Advice, "nofail") != tt.nofail {
			t.Errorf("%+v: %s, do: %s; want %s, nofail in the advice: %v", tt.line, c.Severity, c.Advice, tt.want, tt.nofail)
		}
	}
}

// TestWithoutInitrd: no kernel finds a root on LVM by itself.
func TestWithoutInitrd(t *testing.T) {
	t.Parallel()
	for kind, want := range map[layout.Kind]ledger.Severity{layout.LVM: ledger.Blocker, layout.Plain: ledger.Warning} {
		b := builder{in: Input{Layout: layout.Layout{Kind: kind}}}
		b.noInitrd()
		if c := b.concerns[0]; c.Severity != want {
			t.Errorf("%s: %+v; want %s", kind, c, want)
		}
	}
}
