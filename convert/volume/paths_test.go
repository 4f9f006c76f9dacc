package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sysfs makes a tree of files, links being those that end in "@", to what they hold.
func sysfs(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "sys", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		link, isLink := strings.CutSuffix(path, "@")
		var err error
		if isLink {
			err = os.Symlink(text, link)
		} else {
			err = os.WriteFile(path, []byte(text+"\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPathsOf(t *testing.T) {
	// sda and sdb are one LUN, mapped, with a partition; sdc and sdd another, not mapped;
	// sde has the WWID of sdf, which is of another size; sdg has none; dm-3 is a crypt
	// device over the map's partition; md0 is over sdc and sdg.
	root := sysfs(t, map[string]string{
		"class/block/sda/device/wwid": "naa.1", "class/block/sda/size": "8", "class/block/sda/holders/dm-0@": "../../dm-0",
		"class/block/sdb/device/wwid": "naa.1", "class/block/sdb/size": "8", "class/block/sdb/holders/dm-0@": "../../dm-0",
		"class/block/sdc/device/wwid": "naa.2", "class/block/sdc/size": "8",
		"class/block/sdd/device/wwid": "naa.2", "class/block/sdd/size": "8",
		"class/block/sde/device/wwid": "t10.x", "class/block/sde/size": "8",
		"class/block/sdf/device/wwid": "t10.x", "class/block/sdf/size": "9",
		"class/block/sdg/size": "8", "class/block/sdh/size": "8",
		"class/block/dm-0/dm/uuid": "mpath-3600", "class/block/dm-0/dm/name": "mpatha",
		"class/block/dm-0/slaves/sda@": "../../sda", "class/block/dm-0/slaves/sdb@": "../../sdb",
		"class/block/dm-1/dm/uuid": "part1-mpath-3600", "class/block/dm-1/dm/name": "mpatha-part1", "class/block/dm-1/slaves/dm-0@": "../../dm-0",
		"class/block/dm-3/dm/uuid": "CRYPT-LUKS2-x", "class/block/dm-3/slaves/dm-1@": "../../dm-1",
		"class/block/md0/slaves/sdc@": "../../sdc", "class/block/md0/slaves/sdg@": "../../sdg",
		"class/block/loop1/slaves/loop1@":             "../../loop1",
		"devices/host6/session1/target6:0:0/sdi/size": "8", "class/block/sdi@": "../../devices/host6/session1/target6:0:0/sdi",
		"devices/sdc/sdc1/partition": "1", "class/block/sdc1@": "../../devices/sdc/sdc1",
	})
	mapped := Paths{Maps: []Map{{"mpatha", 2}}}
	twin := Paths{Singles: []Single{{Disk: "sdc", Others: []string{"sdd"}}}}
	for device, want := range map[string]Paths{
		"/dev/dm-0": mapped, "/dev/dm-1": mapped, "/dev/dm-3": mapped,
		"/dev/sda": {Singles: []Single{{Disk: "sda", Map: "mpatha", Others: []string{"sdb"}}}},
		"/dev/sdc": twin, "/dev/sdc1": twin, "/dev/md0": twin,
		"/dev/sdi": {Remote: []string{"sdi"}},
		"/dev/sde": {}, "/dev/sdg": {}, "/dev/sdz": {}, "/dev/loop1": {}, "[unknown]": {},
	} {
		if diff := cmp.Diff(PathsOf(root, device), want); diff != "" {
			t.Errorf("PathsOf(%s) (-got +want):\n%s", device, diff)
		}
	}
	all := mapped
	all.Join(twin)
	all.Join(Paths{Maps: []Map{{"mpathb", 1}}})
	if got, want := all.String(), "multipath, 1 path"; got != want {
		t.Errorf("all = %q; want the fewest: %q", got, want)
	}
	if got, want := mapped.String()+twin.String(), "multipath, 2 paths"; got != want {
		t.Errorf("mapped = %q; want %q", got, want)
	}
}
