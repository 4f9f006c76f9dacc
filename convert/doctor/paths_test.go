package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/fixtures"
)

// TestPaths: a group on multipath maps, on one path of several, and on a LUN that
// multipathd leaves alone.
func TestPaths(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"class/block/dm-9/dm/uuid": "mpath-3600", "class/block/dm-9/dm/name": "mpatha", "class/block/dm-9/slaves/sdy/size": "8", "class/block/dm-9/slaves/sdz/size": "8",
		"class/block/sdy/device/wwid": "naa.1", "class/block/sdz/device/wwid": "naa.1",
		"devices/host6/session1/sdx/size": "8",
	} {
		path := filepath.Join(root, "sys", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../devices/host6/session1/sdx", root+"/sys/class/block/sdx"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(root+"/run", 0o755), os.WriteFile(root+"/run/multipathd.pid", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	fixtures.Tool(t, "vgs")
	const row = `{"vg_name":"%s","pv_name":"/dev/%s"}`
	rows := fmt.Sprintf(row, "good", "dm-9") + "," + fmt.Sprintf(row, "bad", "sdy") + "," + fmt.Sprintf(row, "alone", "sdx")
	v := &stay{Host: Host{Root: root, Tool: answers{"vgs": `{"report":[{"vg":[` + rows + `]}]}`}}}
	v.paths(t.Context())
	if got, want := found(v.notes), []string{"multipath", "multipath warning", "multipath note"}; !slices.Equal(got, want) {
		t.Fatalf("found %q; want %q\n%+v", got, want, v.notes)
	}
	for i, want := range map[int]string{0: "good: multipath, 2 paths", 1: "bad is on sdy, one path to a disk that is sdz as well", 2: "alone is on sdx without multipath"} {
		if !strings.Contains(v.notes[i].What, want) {
			t.Errorf("%q lacks %q", v.notes[i].What, want)
		}
	}
}
