package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/batch"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
	"esxodus/inventory"
)

// TestWidth: what is wide takes two columns, what combines none.
func TestWidth(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"web": 3, "Büro": 4, "Bu\u0308ro": 4, "データ": 6, "🖥 x": 3, "…": 1, "": 0} {
		if got := Width(s); got != want {
			t.Errorf("Width(%q) = %d; want %d", s, got, want)
		}
	}
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{{"web", 3, "web"}, {"webserver", 4, "web…"}, {"データベース", 6, "デー…"}, {"データ", 6, "データ"}, {"Bu\u0308ro-x", 4, "Bu\u0308r…"}} {
		if got := Fit(tt.in, tt.n); got != tt.want {
			t.Errorf("Fit(%q, %d) = %q; want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

// TestWrap breaks lines at spaces, but no word and no command.
func TestWrap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ label, text, want string }{
		{"a: ", "", "a:\n"},
		{"a: ", "one two three four", "a: one two\n   three\n   four\n"},
		{"a: ", "データ ベース", "a: データ\n   ベース\n"},
		{"", "x a-word-that-is-wider y", "x\na-word-that-is-wider\ny\n"},
		{"", "use `esxodus resume web` or `esxodus rollback web`.", "use\n`esxodus resume web`\nor\n`esxodus rollback web`.\n"},
		{"", "a lone ` in it is none", "a lone ` in\nit is none\n"},
		{"", "line\nbreak \x1b[2J", "line\\nbreak\n\\u001b[2J\n"},
	} {
		if got := Wrap(tt.label, tt.text, 11); got != tt.want {
			t.Errorf("Wrap(%q, %q) = %q; want %q", tt.label, tt.text, got, tt.want)
		}
	}
}

// host is one with names of all kinds.
func host() *inventory.Host {
	h := &inventory.Host{Name: "esx1", Version: "6.5.0", Build: "1", Datastores: []inventory.Datastore{{Name: strings.Repeat("データストア", 12), Type: "VMFS", Capacity: 1 << 40, Free: 1 << 39}}}
	for i, name := range []string{"web", strings.Repeat("データベース", 13), "🖥 " + strings.Repeat("x", 77), "Bu\u0308ro", strings.Repeat("v", 80)} {
		h.VMs = append(h.VMs, inventory.VM{
			ID: fmt.Sprint(i), Name: name, Power: "poweredOff", Firmware: "bios", GuestID: "windows2019srvNext_64Guest", CPU: inventory.CPU{Count: 128},
			Memory: inventory.Memory{SizeMiB: 1536}, Disks: []inventory.Disk{{Capacity: 2047 << 29}}, Problems: []string{"two devices at scsi0:0, and that is one too many"},
		})
	}
	h.Network.VSwitches = []inventory.VSwitch{{Name: "vSwitch0", Uplinks: []string{"vmnic0", "vmnic1"}}}
	h.Network.PortGroups = []inventory.PortGroup{{Name: strings.Repeat("網", 40), VSwitch: "vSwitch0", VLAN: 4095}}
	return h
}

// TestColumns: everything fits, however wide names are, but for what is copied
// from a file or to be pasted.
func TestColumns(t *testing.T) {
	t.Parallel()
	states := []runs.State{{Name: "web", Progress: journal.Progress{Phase: runs.PhaseReady, Done: 7, Steps: 7}, Proof: "login prompt on the serial console after 1m34.8s: web login:", Notes: []string{"open-vm-tools stays: remove it in the guest"}}}
	results := []batch.Result{{Name: "web", Error: "the volume group vg0 has no room for 10 GiB", Advice: "make room, or choose another one by --storage"}}
	for _, columns := range []int{0, 20, 40, 53, 80, 132, 300} {
		f := Form{Columns: columns}
		limit := max(columns, 40)
		if columns == 0 {
			limit = 80
		}
		var b bytes.Buffer
		for _, err := range []error{
			Inventory(&b, f, host()), Plan(&b, f, ViewOf(several(), Ask{Next: true})), Plan(&b, f, ViewOf(several(), Ask{Full: true})),
			States(&b, f, states), Results(&b, f, results),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for l := range strings.Lines(b.String()) {
			l = strings.TrimSuffix(l, "\n")
			loose := strings.HasPrefix(l, "    | ") || strings.Contains(l, "esxodus ") || strings.Contains(l, "virsh ")
			longest := slices.MaxFunc(append(strings.Fields(l), ""), func(a, b string) int { return Width(a) - Width(b) })
			const label = 12
			if Width(l) > limit && Width(longest) < limit-label && !loose {
				t.Errorf("%d columns: %d in %q", columns, Width(l), l)
			}
		}
		if columns == 40 {
			golden(t, "columns-40.txt", b.String())
		}
	}
}

// TestTableCuts: a size or a number is never cut, only names are.
func TestTableCuts(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{40, 60, 72, 76, 80, 100, 200} {
		var b bytes.Buffer
		if err := Inventory(&b, Form{Columns: columns}, host()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(strings.Join(strings.Fields(b.String()), " "), "1023.5 GiB"); got != 5 {
			t.Errorf("%d columns: %d VMs of 1023.5 GiB; want 5", columns, got)
		}
		if whole := strings.Contains(b.String(), "\n"+strings.Repeat("v", 80)); whole != (columns < 76 || columns == 200) {
			t.Errorf("%d columns: the name of 80 letters is whole: %v in\n%s", columns, whole, &b)
		}
	}
}
