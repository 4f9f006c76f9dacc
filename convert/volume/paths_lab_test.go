package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/host"
	"esxodus/fixtures"

	"github.com/google/go-cmp/cmp"
)

// twoPaths makes a disk that two SCSI hosts reach, and returns the names of both paths.
func twoPaths(t *testing.T) []string {
	t.Helper()
	fixtures.Lab(t, true, "SCSI disks")
	fixtures.Run(t, "modprobe", "scsi_debug", "dev_size_mb=64", "add_host=2", "vpd_use_hostno=0")
	t.Cleanup(func() {
		for _, argv := range [][]string{{"vgchange", "--activate", "n", "paths"}, {"multipath", "-F"}, {"rmmod", "scsi_debug"}} {
			_, _ = fixtures.Try(t, argv...)
		}
	})
	fixtures.Run(t, "udevadm", "settle")
	found, err := filepath.Glob("/sys/class/block/sd?")
	if err != nil || len(found) != 2 {
		t.Fatalf("SCSI disks = %q, %v; want 2", found, err)
	}
	return []string{filepath.Base(found[0]), filepath.Base(found[1])}
}

// onlyLVM has LVM see a device alone, whatever it thinks of multipath.
func onlyLVM(t *testing.T, device string) {
	t.Helper()
	conf := `devices { multipath_component_detection=0 global_filter=["a|^` + device + `$|","r|.*|"] }`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LVM_SYSTEM_DIR", dir)
}

// TestLVMPaths: a group on one of a LUN's two paths, before multipath maps them and
// after, and on the map.
func TestLVMPaths(t *testing.T) {
	names := twoPaths(t)
	l := LVM{VG: "paths", Tool: host.Tool{}}
	is := func(what string, want Paths) {
		t.Helper()
		f, err := l.Check(t.Context(), nil)
		if diff := cmp.Diff(f.Paths, want); diff != "" || err != nil {
			t.Errorf("%s: %v, (-got +want)\n%s", what, err, diff)
		}
	}
	onlyLVM(t, "/dev/"+names[0])
	fixtures.Run(t, "vgcreate", "--yes", "paths", "/dev/"+names[0])
	is("without multipath", Paths{Singles: []Single{{Disk: names[0], Others: names[1:]}}})

	conf := "defaults {\n user_friendly_names yes\n find_multipaths no\n}\n"
	if err := os.WriteFile("/etc/multipath.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	fixtures.Run(t, "modprobe", "dm-multipath")
	fixtures.Run(t, "multipath", "-v2", "/dev/"+names[0])
	name := strings.Fields(fixtures.Run(t, "dmsetup", "ls", "--target", "multipath"))[0]
	onlyLVM(t, "/dev/mapper/"+name)
	is("on the map", Paths{Maps: []Map{{Name: name, Paths: 2}}})
	v := lvmVolume(t, l, "web", 8<<20)
	if err := l.Create(t.Context(), v, "r1", noClaim); err != nil {
		t.Error(err)
	}
	if err := l.Remove(t.Context(), v, "r1", Identity{}); err != nil {
		t.Error(err)
	}
	onlyLVM(t, "/dev/"+names[1])
	is("on a path of the map", Paths{Singles: []Single{{Disk: names[1], Map: name, Others: names[:1]}}})
}
