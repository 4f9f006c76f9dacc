package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/network"
)

// TestOutcome: what was predicted stands beside what was measured, all artefacts are as
// planned, and one that isn't any more is named.
func TestOutcome(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*converttest.World)
		want   string
	}{
		"as planned":  {func(*converttest.World) {}, ""},
		"redefined":   {func(w *converttest.World) { w.Made = " " }, "was changed since it was defined"},
		"less memory": {func(w *converttest.World) { w.Differs = []string{"memory 1, want 2"} }, "memory 1, want 2"},
		"no volume": {func(w *converttest.World) {
			if err := os.Remove(filepath.Join(w.Storage(), "web_scsi0-0")); err != nil {
				t.Fatal(err)
			}
		}, "it isn't there"},
		"a short volume": {func(w *converttest.World) {
			if err := os.Truncate(filepath.Join(w.Storage(), "web_scsi0-1"), 512); err != nil {
				t.Fatal(err)
			}
		}, "it has 512 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := converttest.New(t)
			if err, _ := apply(t.Context(), w, w.Create()); err != nil {
				t.Fatal(err)
			}
			tt.change(w)
			s := state(t, w)
			o, err := OutcomeOf(t.Context(), &s, effects(w))
			if err != nil {
				t.Fatal(err)
			}
			var differs []string
			for _, a := range o.Artefacts {
				differs = append(differs, a.Differs...)
				if a.Unknown != "" {
					t.Errorf("%s: not known: %s", a.What, a.Unknown)
				}
			}
			if got := strings.Join(differs, "; "); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || o.Differs() != (tt.want != "") {
				t.Errorf("differs %q; want %q", got, tt.want)
			}
			if len(o.Artefacts) != 3 || len(o.Figures) != 3 {
				t.Fatalf("%d artefacts, %d figures: %+v", len(o.Artefacts), len(o.Figures), o)
			}
			read := o.Figures[0]
			if v := s.Job.VM.Sizes; read.Predicted != float64(v.Read()) || read.Actual <= 0 || read.Actual > float64(v.Provisioned) {
				t.Errorf("read: %+v; want what was planned, and no more than all", read)
			}
		})
	}
}

func TestUnitsMade(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "/etc/systemd/network")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a.network": "a", "b.network": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := UnitsMade(root, []network.Unit{{Name: "a.network", Text: "a"}, {Name: "b.network", Text: "b"}, {Name: "c.network"}})
	if len(made) != 3 || len(made[0].Differs)+len(made[0].Unknown) > 0 || len(made[1].Differs) != 1 || made[2].Unknown == "" {
		t.Errorf("%+v", made)
	}
}
