package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/disk/disktest"

	"github.com/google/go-cmp/cmp"
)

// smallXFS has mkfs.xfs make file systems of less than 300 MiB.
func smallXFS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"TEST_DIR", "TEST_DEV", "QA_CHECK_FS"} {
		t.Setenv(name, "1")
	}
}

// xfsDisk is lvmDisk with a root on XFS.
func xfsDisk(t *testing.T, argv ...string) string {
	t.Helper()
	smallXFS(t)
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
	want := []string{"web-vg/root: the journal of the xfs file system holds changes, so the machine is running or was not shut down; its files may be some seconds old"}
	if diff := cmp.Diff(want, g.Notes); diff != "" || !g.Volumes[0].Dirty || g.Hostname == "" {
		t.Errorf("dirty = %v, host name %q, notes (-want +got):\n%s", g.Volumes[0].Dirty, g.Hostname, diff)
	}
}

// TestLookXFSFixed finds what is immutable and append-only on XFS, also beyond
// links.
func TestLookXFSFixed(t *testing.T) {
	smallXFS(t)
	path := filepath.Join(t.TempDir(), "disk")
	blank(t, path, 128*mib)
	dir := unpack(t, "debian.txtar", map[string]string{"etc/crypttab": "-", "etc/crypttab.LINK": "/srv/table", "srv/table": "# none\n"})
	run(t, "", "mkfs.xfs", "-q", "-f", "-p", disktest.XFSProto(t, dir), path)
	for name, field := range map[string]string{"etc/fstab": "immutable", "srv/table": "immutable", "boot/grub": "append", "srv": "immutable"} {
		number := run(t, "", "xfs_db", "-r", "-c", "path /"+name, "-c", "print v3.inumber", path)
		run(t, "", "xfs_db", "-x", "-c", "inode "+strings.TrimPrefix(strings.TrimSpace(number), "v3.inumber = "), "-c", "write core."+field+" 1", path)
	}
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []guest.Fixed{
		{Path: "/boot/grub", Real: "/boot/grub", Dir: true, Append: true},
		{Path: "/etc/fstab", Real: "/etc/fstab"},
		{Path: "/srv", Real: "/srv", Dir: true},
		{Path: "/srv/table", Real: "/srv/table"},
	}
	if diff := cmp.Diff(want, g.Config.Fixed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLookFaults: what is damaged at the source is found by the look, with its
// place; what can't be said before the log is replayed isn't.
func TestLookFaults(t *testing.T) {
	path := xfsDisk(t)
	fs := filepath.Join(t.TempDir(), "root")

	damage := func(commands ...string) {
		run(t, "", "dd", "if="+path, "of="+fs, "bs=1M", "skip=35", "count=160", "status=none")
		argv := []string{"xfs_db", "-x"}
		for _, c := range commands {
			argv = append(argv, "-c", c)
		}
		run(t, "", append(argv, fs)...)
		run(t, "", "dd", "if="+fs, "of="+path, "bs=1M", "seek=35", "conv=notrunc", "status=none")
	}
	looked := func() []guest.Fault {
		g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
		if err != nil {
			t.Fatal(err)
		}
		return g.Faults
	}
	if got := looked(); len(got) > 0 {
		t.Errorf("Faults of a sound disk = %+v", got)
	}
	damage("sb 0", "write -d ifree 7")
	want := []guest.Fault{{Volume: "web-vg/root", Content: "xfs", Mount: "/"}}
	got := looked()
	if len(got) != 1 || !strings.HasPrefix(got[0].What, "it counts 7 free inodes, but its allocation groups count ") {
		t.Fatalf("Faults = %+v", got)
	}
	want[0].What = got[0].What
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range 4 {
		damage("agi "+string(rune('0'+n)), "write -d seqno 9")
	}
	if got := looked(); len(got) != 1 || !got[0].Refused || !strings.Contains(got[0].What, "; and 1 more") {
		t.Errorf("Faults = %+v", got)
	}
}
