package adapt

import (
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// TestLVMFilter is of lvm.conf's filters and what they make of whole disks.
func TestLVMFilter(t *testing.T) {
	tests := []struct {
		name, text string
		want       ledger.Severity // "" is none
	}{
		{"empty", "", ""},
		{"comments only", "devices {\n\t# filter = [ \"r|.*|\" ]\n}\n", ""},
		{"accept all", `devices { filter = [ "a|.*|" ] }`, ""},
		{"another's", "devices {\n\tfilter = [ \"r|/dev/drbd.*|\", \"a/.*/\" ]\n}", ""},
		{"the old partition only", `devices { filter=["a|^/dev/sda5$|","r|.*|"] }`, ledger.Blocker},
		{"in two lines, with a comment", "devices {\n filter = [ \"a|/dev/sd[a-z][0-9]|\", # ] parts\n \"r/.*/\" ]\n}", ledger.Blocker},
		{"a string", `devices/global_filter = "r|.*|"`, ledger.Blocker},
		{"old bus only", `devices { global_filter = [ "a{/dev/sd.*}", "r{.*}" ] }`, ledger.Warning},
		{"the last counts", "devices { filter = [ \"r|.*|\" ]\n filter = [ \"a|.*|\" ] }", ""},
		{"by-id of VMware", `devices { filter = [ "a|/dev/disk/by-id/scsi-36000c29.*|", "r|.*|" ] }`, ledger.Blocker},
		{"not understood", `devices { filter = [ "a|[|" ] }`, ledger.Blocker},
		{"no end", `devices { filter = [ "r|.*|"`, ledger.Blocker},
		{"a quote without an end", `devices { filter = [ "r|.*| ] }`, ledger.Blocker},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &builder{in: Input{Layout: layout.Layout{Kind: layout.LVM}}, c: guest.Config{Files: map[string]guest.File{lvmConf: {Path: lvmConf, Text: tt.text}}}}
			b.lvmFilter()
			var got ledger.Severity
			for _, c := range b.concerns {
				got = c.Severity
				if !strings.Contains(c.Evidence, "filter of "+lvmConf) {
					t.Errorf("evidence = %q", c.Evidence)
				}
			}
			if got != tt.want {
				t.Errorf("%s: %q, want %q: %+v", tt.text, got, tt.want, b.concerns)
			}
			b.in.Layout.Kind, b.concerns = layout.Plain, nil
			if b.lvmFilter(); len(b.concerns) > 0 {
				t.Errorf("without LVM: %+v", b.concerns)
			}
		})
	}
}
