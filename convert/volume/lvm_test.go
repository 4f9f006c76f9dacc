package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/host"
	"esxodus/fixtures"
)

// script is a Runner that knows the answers and notes what it is asked.
type script struct {
	answers map[string]string // by program
	fail    map[string]error
	argv    []string // joined by spaces
}

func (s *script) Run(_ context.Context, argv ...string) ([]byte, error) {
	s.argv = append(s.argv, strings.Join(argv, " "))
	return []byte(s.answers[argv[0]]), s.fail[argv[0]]
}

const (
	vgJSON = `{"report":[{"vg":[{"vg_name":"vg0","vg_extent_size":"4194304","vg_extent_count":"1000","max_lv":"4","lv_count":"2","pv_allocatable":"allocatable","pv_pe_count":"1000","pv_pe_alloc_count":"995","vg_permissions":"writeable","vg_exported":"","vg_partial":"","vg_clustered":"","vg_uuid":"u","vg_free":"20971520","vg_seqno":"1","vg_tags":"","vg_lock_type":"","vg_systemid":"","pv_name":"/dev/sda"}]}]}`
	lvJSON = `{"report":[{"lv":[{"lv_name":"old","lv_size":"8388608","lv_tags":""},{"lv_name":"mine","lv_size":"4194304","lv_tags":"x,esxodus_r1,y"}]}]}`
)

func lvmVolume(t *testing.T, l LVM, name string, size int64) Volume {
	t.Helper()
	v, err := l.Volume(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLogicalCheck(t *testing.T) {
	l := LVM{VG: "vg0", Tool: &script{answers: map[string]string{"vgs": vgJSON, "lvs": lvJSON}}}
	vols := []Volume{lvmVolume(t, l, "new", 1), lvmVolume(t, l, "new2", 4<<20), lvmVolume(t, l, "old", 4<<20+512)}
	got, err := l.Check(t.Context(), vols)
	want := Facts{
		Free: 20 << 20, Unit: 4 << 20, Sharing: Sharing{Name: "vg0"},
		Volumes: []Found{{Volume: vols[0], Size: 4 << 20}, {Volume: vols[1], Size: 4 << 20}, {Volume: vols[2], Size: 8 << 20, Exists: "a logical volume of 8388608 bytes"}},
	}
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Errorf("Check = (-got +want) %s, %v", diff, err)
	}
}

// TestLogicalUnfit: a group that may have two volumes more, one of whose disks isn't to be
// used, and names that are too long for device-mapper though not for LVM.
func TestLogicalUnfit(t *testing.T) {
	second := strings.NewReplacer(`{"report":[{"vg":[`, "", `]}]}`, "", `"995"`, `"0"`, `"allocatable"`, `""`).Replace(vgJSON)
	two := strings.NewReplacer(`"1000","max_lv"`, `"2000","max_lv"`, `]}]}`, ","+second+`]}]}`).Replace(vgJSON)
	l := LVM{VG: "vg0", Tool: &script{answers: map[string]string{"vgs": two, "lvs": lvJSON}}}
	facts, err := l.Check(t.Context(), []Volume{lvmVolume(t, l, "a", 1), lvmVolume(t, l, "old", 1), lvmVolume(t, l, "b", 1), lvmVolume(t, l, "c", 1)})
	if err != nil || facts.Free != 20<<20 {
		t.Fatalf("Check = %d free, %v; want 20 MiB, those of the disk that isn't allocatable don't count", facts.Free, err)
	}
	for i, want := range []string{"", "", "", "may have 4 logical volumes: vgchange --maxlogicalvolumes 0 vg0"} {
		if got := facts.Volumes[i].Unfit; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s is unfit as %q; want %q", facts.Volumes[i].Volume, got, want)
		}
	}
	for vg, fits := range map[string]bool{strings.Repeat("g", 121): true, strings.Repeat("g", 122): false, strings.Repeat("g-", 40): true, strings.Repeat("g-", 41): false} {
		l := LVM{VG: vg, Tool: &script{answers: map[string]string{"vgs": strings.ReplaceAll(vgJSON, "vg0", vg), "lvs": lvJSON}}}
		facts, err := l.Check(t.Context(), []Volume{lvmVolume(t, l, "web", 1)})
		if err != nil || (facts.Volumes[0].Unfit == "") != fits {
			t.Errorf("%s: Check = %q, %v; want that it fits: %v", vg, facts.Volumes[0].Unfit, err, fits)
		}
	}
}

// TestLogicalActivation: a group of which lvm.conf has this host activate nothing, or
// nothing by itself.
func TestLogicalActivation(t *testing.T) {
	if os.Getuid() != 0 {
		fixtures.Missing(t, "not root")
	}
	_, vg := loopGroup(t)
	l := LVM{VG: vg, Tool: noMapper{t: t}}
	conf := os.Getenv("LVM_SYSTEM_DIR") + "/lvm.conf"
	plain, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]struct {
		boot bool
		err  string
	}{
		"":                                       {},
		`volume_list=["x"]`:                      {err: "volume_list in lvm.conf lacks it"},
		`volume_list=["x", "` + vg + `"]`:        {},
		`auto_activation_volume_list=[]`:         {boot: true},
		`auto_activation_volume_list=["x","@y"]`: {},
	} {
		if err := os.WriteFile(conf, []byte(strings.Replace(string(plain), "activation {", "activation { "+setting, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		facts, err := l.Check(t.Context(), nil)
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) || facts.Activation.NotAtBoot != want.boot {
			t.Errorf("%s: Check = %+v, %v; want %+v", setting, facts.Activation, err, want)
		}
	}
}

func TestLogicalArgv(t *testing.T) {
	s := &script{answers: map[string]string{"vgs": vgJSON, "lvs": lvJSON}}
	l := LVM{VG: "vg0", Tool: s}
	if err := l.Remove(t.Context(), lvmVolume(t, l, "mine", 1), "r1", Identity{}); err == nil || !strings.Contains(err.Error(), "it is still there") {
		t.Errorf("Remove = %v; the report still has it", err)
	}
	for _, name := range []string{"old", "none"} {
		if err := l.Remove(t.Context(), lvmVolume(t, l, name, 1), "r1", Identity{}); err != nil {
			t.Errorf("Remove of %s = %v", name, err)
		}
	}
	if err := l.Release(t.Context(), lvmVolume(t, l, "mine", 1), "r1", Identity{}); err != nil {
		t.Error(err)
	}
	const as = " --config " + reportConfig + " --reportformat json --units b --nosuffix --options "
	const look = "vgs" + as + groupFields + " --nohints --foreign --shared vg0"
	const disks = "lsblk --inverse --noheadings --output TRAN,TYPE,KNAME /dev/sda"
	const list = "lvs" + as + "lv_name,lv_size,lv_tags vg0"
	want := []string{
		list, look, disks, "lvremove --yes --quiet --force --select lv_tags={esxodus_r1} vg0/mine", list,
		list, look, disks, list, look, disks,
		list, look, disks, "lvchange --quiet --deltag esxodus_r1 vg0/mine",
	}
	if diff := cmp.Diff(s.argv, want); diff != "" {
		t.Errorf("argv (-got +want):\n%s", diff)
	}
}

func TestLogicalCreateRefuses(t *testing.T) {
	full := strings.Replace(vgJSON, `"995"`, `"999"`, 1)
	tests := []struct {
		name, vg, lv string
		fail         map[string]error
		err          string
	}{
		{name: "clash", vg: vgJSON, lv: "old", err: "logical volume vg0/old exists already, and stays as it is"},
		{name: "full", vg: full, lv: "new", err: "volume group vg0 has 4194304 bytes free, but vg0/new needs 8388608 (2 extents of 4194304): extend the group or remove something"},
		{name: "exported", vg: strings.Replace(vgJSON, `"vg_exported":""`, `"vg_exported":"exported"`, 1), lv: "new", err: "vgimport vg0"},
		{name: "partial", vg: strings.Replace(vgJSON, `"vg_partial":""`, `"vg_partial":"partial"`, 1), lv: "new", err: "volume group vg0 lacks a physical volume"},
		{name: "clustered", vg: strings.Replace(vgJSON, `"vg_clustered":""`, `"vg_clustered":"clustered"`, 1), lv: "new", err: "volume group vg0 is clustered"},
		{name: "read-only", vg: strings.Replace(vgJSON, "writeable", "read-only", 1), lv: "new", err: "volume group vg0 is read-only here"},
		{name: "none", fail: map[string]error{"vgs": &host.ExitError{Argv: []string{"vgs"}, Code: 5, Stderr: `Volume group "vg0" not found; Cannot process volume group vg0`}}, lv: "new", err: "this host has no volume group vg0: vgs lists those it has"},
		{name: "two", vg: strings.Replace(vgJSON, `"vg":[{`, `"vg":[{"vg_name":"vg0","vg_uuid":"v","vg_free":"0","vg_seqno":"1"},{`, 1), lv: "new", err: "vgs reports 2 groups of that name"},
		{name: "no JSON", vg: "x", lv: "new", err: "vgs: report: "},
		{name: "no report", vg: "{}", lv: "new", err: "vgs: empty report"},
		{name: "no number", vg: strings.Replace(vgJSON, `"4194304"`, `"4.00m"`, 1), lv: "new", err: `vg_extent_size is "4.00m", want a number`},
		{name: "extents of 0", vg: strings.Replace(vgJSON, `"4194304"`, `"0"`, 1), lv: "new", err: "1000 extents of 0 bytes"},
		{name: "too many extents", vg: strings.Replace(vgJSON, `"1000"`, `"9223372036854775807"`, 1), lv: "new", err: "9223372036854775807 extents"},
		{name: "more allocated than there is", vg: strings.Replace(vgJSON, `"995"`, `"1001"`, 1), lv: "new", err: "1001 of 1000 extents allocated"},
		{name: "a larger disk than the group", vg: strings.Replace(vgJSON, `"pv_pe_count":"1000"`, `"pv_pe_count":"9000"`, 1), lv: "new", err: "995 of 9000 extents allocated, in a group of 1000"},
		{name: "not allocatable", vg: strings.Replace(vgJSON, `"allocatable"`, `""`, 1), lv: "new", err: "volume group vg0 has 0 bytes free"},
		{name: "no more volumes", vg: strings.Replace(vgJSON, `"max_lv":"4"`, `"max_lv":"2"`, 1), lv: "new", err: "the volume group vg0 may have 2 logical volumes: vgchange --maxlogicalvolumes 0 vg0 allows more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: map[string]string{"vgs": tt.vg, "lvs": lvJSON}, fail: tt.fail}
			l := LVM{VG: "vg0", Tool: s}
			err := l.Create(t.Context(), lvmVolume(t, l, tt.lv, 4<<20+1), "r1", func(Identity) error { t.Error("claimed"); return nil })
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Create = %v, want %q", err, tt.err)
			}
			for _, argv := range s.argv {
				if !strings.HasPrefix(argv, "vgs ") && !strings.HasPrefix(argv, "lvs ") && !strings.HasPrefix(argv, "lsblk ") {
					t.Errorf("ran %s", argv)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	l := LVM{VG: "vg0"}
	for name, ok := range map[string]bool{
		"web-1": true, "a+b.c_d": true, "": false, "-x": false, ".": false, "..": false, "a b": false, "a/b": false, "$(id)": false,
		"snapshot1": false, "pvmove0": false, "x_tdata": false, "x_mlog": false, strings.Repeat("x", 100): true, strings.Repeat("x", 101): false, "ü": false,
	} {
		if _, err := l.Volume(name, 1); (err == nil) != ok {
			t.Errorf("LVM.Volume(%q) = %v", name, err)
		}
	}
	for name, ok := range map[string]bool{"a b.raw": true, "ü.raw": true, "": false, ".x": false, "..": false, "a/b": false, "a\nb": false, "a\x00b": false, "a\xffb": false} {
		if _, err := (Dir{Path: "/x"}).Volume(name, 1); (err == nil) != ok {
			t.Errorf("Dir.Volume(%q) = %v", name, err)
		}
	}
	for _, s := range []string{"dir:/a", "lvm:vg0", "lvm:vg0/thin-1"} {
		if got, err := ParseStorage(s, host.Tool{}); err != nil || got.String() != s {
			t.Errorf("ParseStorage(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "dir:", "dir:a", "lvm:", "lvm:-x", "lvm:a/", "lvm:/b", "lvm:a/b/c", "lvm:a/x_tdata", "nbd:x", "/a", "lvm:$(id)"} {
		if got, err := ParseStorage(s, host.Tool{}); err == nil {
			t.Errorf("ParseStorage(%q) = %v", s, got)
		}
	}
}

// noMapper runs LVM's tools without device-mapper, on one loop device and
// with a configuration of their own.
type noMapper struct {
	t    *testing.T
	tran string // how lsblk says that the device is reached
}

func (n noMapper) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if argv[0] == "lsblk" {
		return []byte(n.tran), nil
	}
	for i := range argv[1:] {
		if slices.Contains([]string{"--activate", "--zero", "--wipesignatures"}, argv[i]) {
			argv[i+1] = "n"
		}
	}
	n.t.Logf("%q", argv)
	return host.Tool{}.Run(ctx, append([]string{argv[0], "--driverloaded", "n"}, argv[1:]...)...)
}

// TestLogicalLoop has real LVM keep the metadata, and fakes the device nodes.
func TestLogicalLoop(t *testing.T) {
	if os.Getuid() != 0 {
		fixtures.Missing(t, "not root")
	}
	loop, vg := loopGroup(t)
	l := LVM{VG: vg, Tool: noMapper{t: t}}
	ctx := t.Context()
	v := lvmVolume(t, l, "web-1.disk", 10<<20+512)
	nodeOf(t, v, loop)
	wantState(t, l, v, "r1", Identity{}, Absent)
	empty, err := l.Check(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := l.Create(ctx, v, "r1", func(i Identity) error { id = i; return nil }); err != nil {
		t.Fatal(err)
	}
	if g, err := l.look(ctx); err != nil || g.tags[0] != "" || g.Text() != "" {
		t.Errorf("look = %+v, %v; want no word of other hosts for a disk of our own", g, err)
	}
	wantState(t, l, v, "r1", id, Ours)
	wantState(t, l, v, "r10", id, Foreign)
	wantState(t, l, v, "r", id, Foreign)
	facts, err := l.Check(ctx, []Volume{v})
	if err != nil || facts.Volumes[0].Size != 12<<20 || facts.Volumes[0].Exists != "a logical volume of 12582912 bytes" || facts.Free != empty.Free-12<<20 {
		t.Errorf("Check = %+v, %v", facts, err)
	}
	if err := l.Create(ctx, v, "r2", noClaim); !errors.Is(err, ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
	if err := l.Create(ctx, lvmVolume(t, l, "big", facts.Free+1), "r1", noClaim); err == nil || !strings.Contains(err.Error(), "extend the group") {
		t.Errorf("Create = %v, want that the group is full", err)
	}
	if err := l.Remove(ctx, v, "r2", id); err != nil {
		t.Error(err)
	}
	wantState(t, l, v, "r1", id, Ours)
	for range 2 {
		if err := l.Remove(ctx, v, "r1", id); err != nil {
			t.Error(err)
		}
		wantState(t, l, v, "r1", id, Absent)
	}
	if err := l.Create(ctx, v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(ctx, v, "r1", id); err != nil {
		t.Error(err)
	}
	wantState(t, l, v, "r1", id, Foreign)
	if _, err := l.Tool.Run(ctx, "vgchange", "--activate", "n", vg); err != nil {
		t.Error(err)
	}
	if _, err := l.Tool.Run(ctx, "vgexport", vg); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Check(ctx, nil); err == nil || !strings.Contains(err.Error(), "is exported: vgimport") {
		t.Errorf("Check of an exported group = %v", err)
	}
	l.VG += "x"
	if _, err := l.Check(ctx, nil); err == nil || !strings.Contains(err.Error(), "this host has no volume group "+l.VG) {
		t.Errorf("Check of no group = %v", err)
	}
}

// nodeOf gives a volume a device for a node.
func nodeOf(t *testing.T, v Volume, device string) {
	t.Helper()
	if err := os.Mkdir("/dev/"+v.VG, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll("/dev/" + v.VG) })
	if err := os.Symlink(device, v.Path); err != nil {
		t.Fatal(err)
	}
}

// TestLogicalReports: what lvm.conf makes of reports changes nothing of what is read
// from them: the group, whose volume it is, and who writes.
func TestLogicalReports(t *testing.T) {
	if os.Getuid() != 0 {
		fixtures.Missing(t, "not root")
	}
	loop, vg := loopGroup(t)
	l := LVM{VG: vg, Tool: noMapper{t: t, tran: "iscsi disk sda"}, writer: newWriter("kvm2", ""), settle: 1}
	v := lvmVolume(t, l, "web", 4<<20)
	nodeOf(t, v, loop)
	conf := os.Getenv("LVM_SYSTEM_DIR") + "/lvm.conf"
	plain, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	other := newWriter("kvm1", "")
	for _, setting := range []string{
		"report { binary_values_as_numeric=1 }", `report { list_item_separator=";" }`, "report { compact_output=1 }", "report { prefixes=1 quoted=0 columns_as_rows=1 headings=0 buffered=0 }",
		`log { command_names=1 prefix="lvm: " }`,
	} {
		t.Run(setting, func(t *testing.T) {
			if err := os.WriteFile(conf, append(plain, setting+"\n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := l.Create(t.Context(), v, "r1", noClaim); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Tool.Run(t.Context(), "vgchange", "--addtag", other.Tag, vg); err != nil {
				t.Fatal(err)
			}
			if facts, err := l.Check(t.Context(), nil); err != nil || len(facts.Sharing.Others) != 1 || facts.Sharing.Others[0] != other {
				t.Errorf("Check = %+v, %v; want %s as the other writer", facts, err, other.Host)
			}
			if _, err := l.Tool.Run(t.Context(), "vgchange", "--deltag", other.Tag, vg); err != nil {
				t.Fatal(err)
			}
			wantState(t, l, v, "r1", Identity{}, Ours)
			if err := l.Remove(t.Context(), v, "r1", Identity{}); err != nil {
				t.Error(err)
			}
			wantState(t, l, v, "r1", Identity{}, Absent)
		})
	}
}

// loopGroup makes a volume group on a loop device.
func loopGroup(t *testing.T) (loop, vg string) {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "pv")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 100<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		fixtures.Missing(t, fmt.Sprintf("losetup: %v", err))
	}
	loop = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", loop).Run() })
	fixtures.LVM(t, dir, filepath.Join(dir, "lock"), loop)
	t.Setenv("LVM_SYSTEM_DIR", dir)
	vg = fmt.Sprintf("esxodus-test%d", os.Getpid())
	for _, argv := range [][]string{{"pvcreate", "--yes", loop}, {"vgcreate", vg, loop}} {
		if _, err := (noMapper{t: t}).Run(t.Context(), argv...); err != nil {
			fixtures.Missing(t, fmt.Sprintf("%v", err))
		}
	}
	return loop, vg
}
