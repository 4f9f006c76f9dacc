package adapt

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// TestLVMFilter is of lvm.conf's filters and what they make of whole disks.
func TestLVMFilter(t *testing.T) {
	tests := []struct {
		name, text string
		want       ledger.Severity // "" is none
		only       string          // the names that are taken, where not any are
	}{
		{"empty", "", "", ""},
		{"comments only", "devices {\n\t# filter = [ \"r|.*|\" ]\n}\n", "", ""},
		{"accept all", `devices { filter = [ "a|.*|" ] }`, "", ""},
		{"another's", "devices {\n\tfilter = [ \"r|/dev/drbd.*|\", \"a/.*/\" ]\n}", "", ""},
		{"the old partition only", `devices { filter=["a|^/dev/sda5$|","r|.*|"] }`, ledger.Blocker, ""},
		{"in two lines, with a comment", "devices {\n filter = [ \"a|/dev/sd[a-z][0-9]|\", # ] parts\n \"r/.*/\" ]\n}", ledger.Blocker, ""},
		{"a string", `devices/global_filter = "r|.*|"`, ledger.Blocker, ""},
		{"old bus only", `devices { global_filter = [ "a{/dev/sd.*}", "r{.*}" ] }`, ledger.Note, "sd"},
		{"new bus only", `devices { filter = [ "a|^/dev/vd|", "r|.*|" ] }`, "", "vd"},
		{"a bus for each filter", `devices { filter = [ "r|^/dev/sd|" ] global_filter = [ "r|^/dev/vd|" ] }`, ledger.Blocker, ""},
		{"the last counts", "devices { filter = [ \"r|.*|\" ]\n filter = [ \"a|.*|\" ] }", "", ""},
		{"by-id of VMware", `devices { filter = [ "a|/dev/disk/by-id/scsi-36000c29.*|", "r|.*|" ] }`, ledger.Blocker, ""},
		{"not understood", `devices { filter = [ "a|[|" ] }`, ledger.Blocker, ""},
		{"no end", `devices { filter = [ "r|.*|"`, ledger.Blocker, ""},
		{"a quote without an end", `devices { filter = [ "r|.*| ] }`, ledger.Blocker, ""},
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
			if only := b.out.OnlyDisks; only.Prefix != tt.only || (only.Reason != "") != (tt.only != "") {
				t.Errorf("%s: only disks %+v, want %q", tt.text, only, tt.only)
			}
			b.in.Layout.Kind, b.concerns = layout.Plain, nil
			if b.lvmFilter(); len(b.concerns) > 0 {
				t.Errorf("without LVM: %+v", b.concerns)
			}
		})
	}
}

// TestHostileLVM: 1 MiB of quotes is read at once.
func TestHostileLVM(t *testing.T) {
	start := time.Now()
	const half = 1 << 19
	for _, text := range []string{`"` + strings.Repeat(`\"`, half), `"` + strings.Repeat(`\"`, half) + `\`, `"` + strings.Repeat("\\\"\\\n", half/2)} {
		if got := lvmAssigned(text + " filter = 1"); len(got) > 0 {
			t.Errorf("%q, want nothing in a string without an end", got)
		}
	}
	if got := lvmAssigned(`a = "x\"y" b = 'z' filter = 'r|.*|`)["filter"]; !slices.Equal(got, []string{"r|.*|"}) {
		t.Errorf("filter = %q, want what is after other strings", got)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestLVMFilterLooked: the filter is found by a look, in the file that decides.
func TestLVMFilterLooked(t *testing.T) {
	const accept, hide = `devices { filter = [ "a|.*|" ] }`, `devices { filter = [ "r|^/dev/[sv]d[a-z]$|" ] }`
	tests := []struct{ name, conf, local, file string }{
		{"lvm.conf", hide, "", lvmConf},
		{"lvmlocal.conf alone", "", hide, lvmLocalConf},
		{"lvmlocal.conf hides", accept, hide, lvmLocalConf},
		{"lvmlocal.conf accepts", hide, accept, ""},
		{"lvmlocal.conf has another setting", hide, `global { use_lvmetad = 0 }`, lvmConf},
		{"one filter in each", `devices { filter = [ "r|.*|" ] }`, `devices { global_filter = [ "a|.*|" ] }`, lvmConf},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := txtar.ParseFile("testdata/debian-lvm.txtar")
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{lvmConf: tt.conf, lvmLocalConf: tt.local} {
				if text != "" {
					a.Files = append(a.Files, txtar.File{Name: "tree" + name, Data: []byte(text + "\n")})
				}
			}
			_, _, concerns := New(input(t, a))
			got := ""
			for _, c := range concerns {
				if c.ID == ConcernLVM && c.Severity == ledger.Blocker && strings.Contains(c.Evidence, "filter of "+c.Subject+" is") {
					got += c.Subject
				}
			}
			if got != tt.file {
				t.Errorf("the blocker is about %q, want %q: %+v", got, tt.file, concerns)
			}
		})
	}
}

// TestOnlyDisks is of guests that stay as they are: their physical volumes are
// still in partitions.
func TestOnlyDisks(t *testing.T) {
	on := func(disk string, number int) []guest.Group {
		return []guest.Group{{Name: "vg", PVs: []guest.GroupPV{{Disk: disk, Partition: number}}}}
	}
	tests := []struct {
		name, conf, local string
		groups            []guest.Group
		want              string
	}{
		{"no filter", "", "", on("scsi0:0", 5), ""},
		{"the partition", `devices { filter = [ "a|^/dev/sda5$|", "r|.*|" ] }`, "", on("scsi0:0", 5), "sd"},
		{"in lvmlocal.conf", "", `devices { filter = [ "a|^/dev/sda5$|", "r|.*|" ] }`, on("scsi0:0", 5), "sd"},
		{"overridden", `devices { filter = [ "a|^/dev/sda5$|", "r|.*|" ] }`, `devices { filter = [ "a|.*|" ] }`, on("scsi0:0", 5), ""},
		{"a whole disk", `devices { filter = [ "a|^/dev/sdb$|", "r|.*|" ] }`, "", on("scsi0:1", 0), "sd"},
		{"both kinds", `devices { filter = [ "a|^/dev/[sv]da|", "r|.*|" ] }`, "", on("scsi0:0", 5), ""},
		{"neither", `devices { filter = [ "a|^/dev/disk/by-id/|", "r|.*|" ] }`, "", on("scsi0:0", 5), "disk/"},
		{"no LVM", `devices { filter = [ "a|^/dev/sd|", "r|.*|" ] }`, "", nil, ""},
		{"no disk of the VM", `devices { filter = [ "a|^/dev/sd|", "r|.*|" ] }`, "", on("", 0), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := OnlyDisks(guest.Guest{
				Disks: []guest.DiskLayout{{Address: "scsi0:0"}, {Address: "scsi0:1"}}, Groups: tt.groups,
				Config: guest.Config{Files: map[string]guest.File{lvmConf: {Text: tt.conf}, lvmLocalConf: {Text: tt.local}}},
			})
			if got.Prefix != tt.want || (got.Reason != "") != (tt.want != "") {
				t.Errorf("OnlyDisks = %+v, want %q", got, tt.want)
			}
		})
	}
}
