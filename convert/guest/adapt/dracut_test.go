package adapt

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// replaced is an archive with something else in one of its files.
func replaced(tb testing.TB, a *txtar.Archive, name, old, text string) {
	tb.Helper()
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 || !bytes.Contains(a.Files[i].Data, []byte(old)) {
		tb.Fatalf("%s has no %q", name, old)
	}
	a.Files[i].Data = bytes.ReplaceAll(a.Files[i].Data, []byte(old), []byte(text))
}

// TestKeptVolumes: SUSE's command line doesn't name the volumes that the initrd
// activates, for one made for this machine knows them. Made anew for any machine it
// must be told.
func TestKeptVolumes(t *testing.T) {
	for _, tt := range []struct {
		cmdline string
		told    bool
	}{
		{"root=UUID=00000000-1111-4222-8333-444444444444 splash=silent resume=/dev/rl/swap quiet", true},
		{"rd.lvm.lv=rl/root rd.lvm.lv=rl/swap", false},
		{"rd.lvm.vg=rl", false},
		{"rd.auto=1", false},
	} {
		a := archive(t, "keep-rhel.txtar")
		replaced(t, a, "tree/boot/loader/entries/0123-5.14.0-362.8.1.el9_3.x86_64.conf",
			"rd.lvm.lv=rl/root rd.lvm.lv=rl/swap rd.lvm=0", tt.cmdline)
		c, _, _ := New(input(t, a))
		i := slices.IndexFunc(c.Commands, func(argv []string) bool { return argv[0] == "dracut" })
		if i < 0 {
			t.Fatalf("%s: %q", tt.cmdline, c.Commands)
		}
		got := strings.Contains(strings.Join(c.Commands[i], " "), "--kernel-cmdline rd.lvm.lv=rl/root rd.lvm.lv=rl/swap --include")
		if got != tt.told || slices.Contains(c.Commands[i], "--kernel-cmdline") != tt.told {
			t.Errorf("%s: %q; want it to be told of the volumes: %v", tt.cmdline, c.Commands[i], tt.told)
		}
	}
}
