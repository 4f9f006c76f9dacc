package inspect

import (
	"bytes"
	"os"
	"testing"

	"esxodus/convert/guest"

	"github.com/google/go-cmp/cmp"
)

// xfsDisk is lvmDisk with a root on XFS.
func xfsDisk(t *testing.T, argv ...string) string {
	t.Helper()
	for _, name := range []string{"TEST_DIR", "TEST_DEV", "QA_CHECK_FS"} {
		t.Setenv(name, "1") // mkfs.xfs makes one of less than 300 MiB
	}
	return lvmDisk(t, append(append([]string{"mkfs.xfs", "-q", "-f", "-p", "@PROTO"}, argv...), "@FS")...)
}

// TestLookXFS sees in a root on XFS what it sees in the same one on ext4.
func TestLookXFS(t *testing.T) {
	found := func(g guest.Guest) []any {
		return []any{
			g.OS, g.Distro, g.Version, g.PrettyName, g.Hostname, g.Root, g.Kernels, g.Initrds, g.Cmdline, g.Consoles,
			g.SerialLogin, g.Interfaces, g.PinnedNames, g.DiskNames, g.Agent, g.OpenVMTools, g.VMwareTools, g.Notes,
			g.Disks[0].Partitions[0].Mount, g.Volumes[0].Mount, g.Volumes[0].Dirty, g.Volumes[2].Mount,
		}
	}
	want, err := Look(t.Context(), []Source{{"scsi0:0", open(t, lvmDisk(t))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		argv []string
	}{
		{"version 5", nil},
		{"version 5, 1 KiB blocks", []string{"-b", "size=1024"}},
		{"version 4", []string{"-m", "crc=0"}},
		{"version 4, no types in directories", []string{"-m", "crc=0", "-n", "ftype=0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Look(t.Context(), []Source{{"scsi0:0", open(t, xfsDisk(t, tt.argv...))}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(found(want), found(got)); diff != "" || got.Volumes[0].Content != "xfs" {
				t.Errorf("%s (-want ext4 +got xfs):\n%s", got.Volumes[0].Content, diff)
			}
		})
	}
}

func TestLookXFSDirty(t *testing.T) {
	path := xfsDisk(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte{0xfe, 0xed, 0xba, 0xbe}) // the log's only record, an unmount
	b[at+512+9] = 0
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"web-vg/root: the journal of the xfs file system holds changes, so the machine runs or was not shut down; its files may look some seconds old"}
	if diff := cmp.Diff(want, g.Notes); diff != "" || !g.Volumes[0].Dirty || g.Hostname == "" {
		t.Errorf("dirty = %v, host name %q, notes (-want +got):\n%s", g.Volumes[0].Dirty, g.Hostname, diff)
	}
}
