package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/fixtures"
)

func TestWriterTag(t *testing.T) {
	known := regexp.MustCompile(`^[A-Za-z0-9_+.\-/=!:&#]+$`) // lvm(8)
	for _, name := range []string{"", "kvm1", "kvm1.example.org", "a_b", "a=b", "=41", "=", "=4", "Käse \"%s\"", strings.Repeat("\xff", 64)} {
		w := newWriter(name, "1234")
		if !known.MatchString(w.Tag) || len(w.Tag) > 1024 {
			t.Errorf("%q has the tag %q, which LVM refuses", name, w.Tag)
		}
		if got, ok := parseWriter(w.Tag); !ok || got != w {
			t.Errorf("parseWriter(%q) = %+v, %t, want %+v", w.Tag, got, ok, w)
		}
		if newWriter(name, "5678").Tag == w.Tag || newWriter(name+"x", "1234").Tag == w.Tag {
			t.Errorf("the tag %q isn't this host's alone", w.Tag)
		}
	}
	for _, tag := range []string{"", "esxodus_r1", "writer_a_b"} {
		if w, ok := parseWriter(tag); ok {
			t.Errorf("parseWriter(%q) = %+v", tag, w)
		}
	}
	for _, tag := range []string{writerPrefix, writerPrefix + "=", writerPrefix + "=4", writerPrefix + "=zz_", writerPrefix + "_"} {
		if w, ok := parseWriter(tag); !ok || w.Tag != tag { // anybody may have put it there
			t.Errorf("parseWriter(%q) = %+v, %t", tag, w, ok)
		}
	}
	if w, err := thisWriter(); err != nil || w.Host == "" {
		t.Errorf("thisWriter = %+v, %v", w, err)
	}
}

func TestAutoactivates(t *testing.T) {
	for version, want := range map[string]bool{
		"  LVM version:     2.03.16(2) (2022-05-18)\n  Library version: 1.02.185\n": true,
		"  LVM version:     2.03.12(2)":                                             true, "  LVM version:     2.03.11(2)": false, "  LVM version:     3.0.0": true, "": false,
	} {
		if got := autoactivates(version); got != want {
			t.Errorf("autoactivates(%q) = %t", version, got)
		}
	}
}

// lun is a volume group on a loop device that is reached as an iSCSI disk is, with
// a place for the node of one volume, which is faked.
type lun struct {
	t        *testing.T
	loop, vg string
}

func newLUN(t *testing.T) lun {
	t.Helper()
	if os.Getuid() != 0 {
		fixtures.Missing(t, "not root")
	}
	loop, vg := loopGroup(t)
	if err := os.Mkdir("/dev/"+vg, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll("/dev/" + vg); os.Remove("/run/esxodus-vg-" + vg + ".lock") })
	return lun{t, loop, vg}
}

// host is the group as one of the hosts has it.
func (n lun) host(name string) LVM {
	return LVM{VG: n.vg, Tool: noMapper{t: n.t, tran: "iscsi disk sdb\n"}, writer: newWriter(name, name), settle: 1}
}

// volume names a volume, and makes its node.
func (n lun) volume(l LVM, name string) Volume {
	n.t.Helper()
	v := lvmVolume(n.t, l, name, 4<<20)
	if err := os.Symlink(n.loop, v.Path); err != nil {
		n.t.Fatal(err)
	}
	return v
}

// lvm runs one of LVM's commands as an admin does.
func (n lun) lvm(argv ...string) string {
	n.t.Helper()
	out, err := noMapper{t: n.t}.Run(n.t.Context(), argv...)
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// tags are those of the group and of its volumes.
func (n lun) tags() string {
	n.t.Helper()
	return strings.Join(append([]string{n.lvm("vgs", "--noheadings", "-o", "vg_tags", n.vg)},
		strings.Fields(n.lvm("lvs", "--noheadings", "-o", "lv_name,lv_tags", n.vg))...), " ")
}

// refused wants an error with each of the texts, and the group as it was.
func (n lun) refused(what string, do func() error, want ...string) error {
	n.t.Helper()
	before := n.tags()
	err := do()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			n.t.Errorf("%s = %v, want %q", what, err, w)
		}
	}
	if diff := cmp.Diff(n.tags(), before); diff != "" {
		n.t.Errorf("%s has changed the group (-after +before):\n%s", what, diff)
	}
	return err
}

// TestOneWriter: of two hosts that see a group, one changes it at a time.
func TestOneWriter(t *testing.T) {
	n := newLUN(t)
	a, b := n.host("kvm 1"), n.host("kvm2")
	ctx := t.Context()
	web, db := n.volume(a, "web"), n.volume(a, "db")
	facts, err := a.Check(ctx, nil)
	if diff := cmp.Diff(facts.Sharing, Sharing{Name: n.vg, Over: "iscsi"}); diff != "" || err != nil {
		t.Errorf("Check = (-got +want) %s, %v", diff, err)
	}
	for run, v := range map[string]Volume{"r1": web, "r2": db} {
		if err := a.Create(ctx, v, run, noClaim); err != nil {
			t.Fatal(err)
		}
	}
	own := a.writer.Tag
	if got, want := n.tags(), own+" db esxodus_r2,"+own+" web esxodus_r1,"+own; got != want {
		t.Errorf("tags = %q, want %q", got, want)
	}
	if got := n.lvm("lvs", "--noheadings", "-o", "lv_autoactivation", n.vg); got != "" {
		t.Errorf("autoactivation = %q, want none", got)
	}
	if facts, err = b.Check(ctx, nil); err != nil || !slices.Equal(facts.Sharing.Others, []Writer{a.writer}) {
		t.Errorf("Check of the other host = %+v, %v", facts, err)
	}
	claimed := func(Identity) error { t.Error("claimed"); return nil }
	n.refused("Create", func() error { return b.Create(ctx, lvmVolume(t, b, "late", 1), "r3", claimed) }, `its writer is the host "kvm 1"`, "`esxodus status`")
	n.refused("Remove", func() error { return b.Remove(ctx, web, "r1", Identity{}) }, `its writer is the host "kvm 1"`)
	n.refused("Release", func() error { return b.Release(ctx, web, "r1", Identity{}) }, `its writer is the host "kvm 1"`)
	if err := b.Remove(ctx, web, "r9", Identity{}); err != nil { // it isn't that run's: nothing is written
		t.Error(err)
	}

	for range 2 { // a crash before the journal has it: again
		if err := a.Release(ctx, web, "r1", Identity{}); err != nil {
			t.Fatal(err)
		}
		if got, want := n.tags(), own+" db esxodus_r2,"+own+" web"; got != want {
			t.Errorf("tags = %q, want %q", got, want)
		}
		if got := n.lvm("lvs", "--noheadings", "-o", "lv_autoactivation", n.vg+"/web"); got != "enabled" {
			t.Errorf("autoactivation after the commit = %q, want it enabled", got)
		}
	}
	for range 2 {
		if err := a.Remove(ctx, db, "r2", Identity{}); err != nil {
			t.Fatal(err)
		}
		if got, want := n.tags(), " web"; got != want {
			t.Errorf("tags = %q, want %q", got, want)
		}
	}
	// A kill between the tag on the group and the volume.
	n.lvm("vgchange", "--addtag", own, n.vg)
	if err := a.Remove(ctx, db, "r2", Identity{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(ctx, db, "r3", noClaim); err != nil {
		t.Fatal(err)
	}
	if got, want := n.tags(), b.writer.Tag+" db esxodus_r3,"+b.writer.Tag+" web"; got != want {
		t.Errorf("tags = %q, want %q", got, want)
	}
}

// TestTakeOver: the command that the error names takes the group over, and the
// host that was thought gone finds that.
func TestTakeOver(t *testing.T) {
	n := newLUN(t)
	a, b := n.host("Käse's"), n.host("kvm2")
	ctx := t.Context()
	web, db := n.volume(a, "web"), n.volume(a, "db")
	if err := a.Create(ctx, web, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	err := n.refused("Create", func() error { return b.Create(ctx, db, "r2", noClaim) }, `"Käse's"`)
	command := regexp.MustCompile("`(vgchange [^`]*)`").FindStringSubmatch(err.Error())
	if command == nil {
		t.Fatalf("%v names no command", err)
	}
	n.lvm(strings.Fields(strings.ReplaceAll(command[1], "'", ""))...)
	if err := b.Create(ctx, db, "r2", noClaim); err != nil {
		t.Fatal(err)
	}
	n.refused("Remove by the host that is back", func() error { return a.Remove(ctx, web, "r1", Identity{}) }, `its writer is the host "kvm2"`)
	if err := b.Remove(ctx, db, "r2", Identity{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove(ctx, web, "r1", Identity{}); err != nil {
		t.Fatal(err)
	}
	if got := n.tags(); got != "" {
		t.Errorf("tags = %q, want none", got)
	}
}

// between runs something just before or after a command of a host's.
type between struct {
	noMapper
	command       string
	before, after func()
}

func (b between) Run(ctx context.Context, argv ...string) ([]byte, error) {
	hit := strings.Contains(strings.Join(argv, " "), b.command)
	if hit && b.before != nil {
		b.before()
	}
	out, err := b.noMapper.Run(ctx, argv...)
	if hit && b.after != nil {
		b.after()
	}
	return out, err
}

// TestWritersRace has another host write at the worst instants.
func TestWritersRace(t *testing.T) {
	n := newLUN(t)
	b := n.host("kvm2")
	var head []byte
	keep := func() { head = n.head(nil) }
	// lose is what a host does that has read the group before the other wrote it.
	lose := func(argv ...string) func() { return func() { n.head(head); n.lvm(argv...) } }
	stranger := []string{"lvcreate", "--yes", "--activate", "n", "--zero", "n", "--extents", "1", "--name", "stranger", n.vg}
	both := []string{"vgchange", "--addtag", b.writer.Tag, n.vg}
	for _, tt := range []struct {
		name string
		between
		want string
	}{
		{"a stranger's volume as we read", between{command: "vg_extent_size", before: func() { n.lvm(stranger...) }}, "something else has changed it"},
		{"the other's tag before ours", between{command: "--addtag esxodus_writer_kvm1", before: func() { n.lvm(both...) }}, `its writer is the host "kvm2"`},
		{"the other's tag over ours", between{command: "--addtag esxodus_writer_kvm1", before: keep, after: lose(both...)}, `its writer is the host "kvm2"`},
		{"both tags", between{command: "--addtag esxodus_writer_kvm1", after: func() { n.lvm(both...) }}, `its writer is the host "kvm2"`},
		{"a stranger's volume over ours", between{command: "--name web", before: keep, after: lose(stranger...)}, "LVM has lost the volume"},
		{"the other's tag as we write", between{command: "--name web", after: func() { n.lvm(both...) }}, `its writer is the host "kvm2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, once := n.host("kvm1"), false
			v := lvmVolume(t, a, "web", 4<<20)
			tt.noMapper = noMapper{t: t, tran: "iscsi"}
			if before := tt.before; before != nil { // what it runs itself is no hit
				tt.before = func() {
					if !once {
						once = true
						before()
					}
				}
			}
			a.Tool = tt.between
			err := a.Create(t.Context(), v, "r1", noClaim)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Create = %v, want %q", err, tt.want)
			}
			if put := strings.Contains(n.tags(), a.writer.Tag); put && strings.Contains(tt.name, "before ours") {
				t.Error("wrote over what it hadn't read")
			}
			for _, c := range [][]string{{"lvremove", "--yes", n.vg}, {"vgchange", "--deltag", a.writer.Tag, "--deltag", b.writer.Tag, n.vg}} {
				n.lvm(c...)
			}
		})
	}
}

// head returns the start of the disk, where the group's metadata is, or puts it
// back.
func (n lun) head(put []byte) []byte {
	n.t.Helper()
	f, err := os.OpenFile(n.loop, os.O_RDWR, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	head := make([]byte, 1<<20)
	if put == nil {
		_, err = f.ReadAt(head, 0)
	} else {
		_, err = f.WriteAt(put, 0)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		n.t.Fatal(err)
	}
	return head
}

// TestOwner: a group with a system id is its owner's, and he needs no tags.
func TestOwner(t *testing.T) {
	n := newLUN(t)
	l := n.host("kvm1")
	ctx := t.Context()
	v := n.volume(l, "web")
	local := filepath.Join(os.Getenv("LVM_SYSTEM_DIR"), "lvmlocal.conf")
	is := func(id string) {
		t.Helper()
		if err := os.WriteFile(local, []byte("global { system_id_source=\"lvmlocal\" }\nlocal { system_id=\""+id+"\" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(filepath.Dir(local), "lvm.conf")
	text, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(conf, []byte(strings.Replace(string(text), `system_id_source="none"`, "", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	is("kvm2")
	n.lvm("vgchange", "--yes", "--systemid", "kvm2", n.vg)
	is("")
	refused := func(want string) error {
		t.Helper()
		for name, do := range map[string]func() error{
			"Check":  func() error { _, err := l.Check(ctx, nil); return err },
			"Create": func() error { return l.Create(ctx, v, "r1", noClaim) },
			"State":  func() error { _, err := l.State(ctx, v, "r1", Identity{}); return err },
			"Remove": func() error { return l.Remove(ctx, v, "r1", Identity{}) },
		} {
			if err = do(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of a foreign group = %v, want %q", name, err, want)
			}
		}
		return err
	}
	refused("the host with the system id kvm2 owns it, and this host has no system id")
	is("kvm1")
	err = refused("the host with the system id kvm2 owns it: there, `vgchange --systemid kvm1 " + n.vg + "` hands it over")
	groups, listed := Groups(ctx, n.host("kvm1").Tool)
	if listed != nil || len(groups) != 1 || !groups[0].Shut || groups[0].Owner != "kvm2" {
		t.Errorf("Groups = %+v, %v; want one of kvm2", groups, listed)
	}
	command := regexp.MustCompile("`(vgchange --config [^`]*)`").FindStringSubmatch(err.Error())
	if command == nil {
		t.Fatalf("%v doesn't say how to take it", err)
	}
	n.lvm(append(strings.Fields(strings.ReplaceAll(command[1], "'", "")), "--yes")...)
	facts, err := l.Check(ctx, nil)
	if diff := cmp.Diff(facts.Sharing, Sharing{Name: n.vg, Over: "iscsi", Owner: "kvm1"}); diff != "" || err != nil {
		t.Errorf("Check of our own group = (-got +want) %s, %v", diff, err)
	}
	if err := l.Create(ctx, v, "r1", noClaim); err != nil {
		t.Fatal(err)
	}
	if got, want := n.tags(), " web esxodus_r1"; got != want {
		t.Errorf("tags = %q, want %q", got, want)
	}
}

// TestReached looks at disks as lsblk shows them.
func TestReached(t *testing.T) {
	for out, want := range map[string]string{
		"iscsi  disk sda\n": "iscsi", "sata   disk sda\n": "", "       loop loop0\n": "", "       mpath dm-0\nfc     disk  sda\nfc     disk  sdb\n": "fc",
		"       mpath dm-0\nsas    disk  sda\n": "multipath", "       part nbd0p1\n       disk nbd0\n": "nbd", "       disk rbd12\n": "rbd", "       lvm dm-3\n": "",
	} {
		if got, err := reached(t.Context(), &script{answers: map[string]string{"lsblk": out}}, []string{"/dev/x"}); got != want || err != nil {
			t.Errorf("reached of %q = %q, %v, want %q", out, got, err, want)
		}
	}
}
