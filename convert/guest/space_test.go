package guest

import (
	"strings"
	"testing"
)

func TestRoom(t *testing.T) {
	c := Conversion{
		Mounts:   []Mount{{At: "/"}, {At: "/boot"}},
		Edits:    []Edit{{Path: "/etc/fstab", New: "x"}, {Path: "/boots/x", New: "y"}},
		Programs: []Program{{Path: "/usr/sbin/lilo", Source: "lilo"}},
		Commands: [][]string{{"rm", "-rf", "/boot/grub"}, {"dracut"}},
		Overlays: []Overlay{{Initrd: "/boot/initrd.img-2", Modules: []string{"dm_mod"}}, {Initrd: "/boot/initrd.img-1", Files: []string{"/sbin/lvm"}}},
	}
	const mib = 1 << 20
	boot := int64(Driven + Overlaid + 2*page + 40*mib + Margin) // the larger initrd twice, for a moment
	root := int64(5*mib + 4*mib + 3*page + 2 + Margin)
	const files = 3*packageFiles + 3 + MarginFiles
	for _, tt := range []struct {
		name string
		free map[string]Space
		err  string
	}{
		{"enough", map[string]Space{"/": {root, files}, "/boot": {boot, 102}}, ""},
		{"not known", nil, ""},
		{"root", map[string]Space{"/": {root - 1, files}, "/boot": {boot, 102}}, "/ of the guest has 17 MiB free, but 18 MiB are needed: make room in the guest"},
		{"boot", map[string]Space{"/": {root, files}, "/boot": {boot - 1, 102}}, "/boot of the guest has 66 MiB free, but 67 MiB are needed: make room in the guest"},
		{"files of the root", map[string]Space{"/": {root, files - 1}, "/boot": {boot, 102}}, "/ of the guest has room for 402 more files (df -i), but 403 are needed: make room in the guest"},
		{"files of boot", map[string]Space{"/": {root, files}, "/boot": {boot, 3}}, "/boot of the guest has room for 3 more files (df -i), but 102 are needed: make room in the guest"},
		{"files without limit", map[string]Space{"/": {root, -1}, "/boot": {boot, -1}}, ""},
	} {
		g := Guest{Config: Config{Free: tt.free, Initrds: map[string]int64{"/boot/initrd.img-1": 30 * mib, "/boot/initrd.img-2": 40 * mib}}}
		err := g.Room(&c, 3, 5*mib)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: Room = %v, want %q", tt.name, err, tt.err)
		}
	}
}

// TestRoomTexts: a NIC's name needs next to nothing of a small /boot, but that there
// is a second copy of the initrd for a moment.
func TestRoomTexts(t *testing.T) {
	const mib = 1 << 20
	c := Conversion{
		Mounts:   []Mount{{At: "/"}, {At: "/boot"}},
		Overlays: []Overlay{{Initrd: "/boot/initrd.img-1", Texts: []Edit{{Path: "/x.link", New: "[Match]"}}}},
	}
	g := Guest{Config: Config{Free: map[string]Space{"/boot": {31*mib + Margin, -1}}, Initrds: map[string]int64{"/boot/initrd.img-1": 30 * mib}}}
	if err := g.Room(&c, 0, 0); err != nil {
		t.Errorf("Room = %v, want enough", err)
	}
	c.Overlays[0].Modules = []string{"virtio_blk"}
	if err := g.Room(&c, 0, 0); err == nil {
		t.Error("room for modules in 1 MiB")
	}
}

// TestRoomDracut: dracut makes each initrd anew, and larger, of a tree in /var/tmp.
func TestRoomDracut(t *testing.T) {
	const mib = 1 << 20
	c := Conversion{
		Mounts: []Mount{{At: "/"}, {At: "/boot"}, {At: "/var"}},
		Commands: [][]string{
			{"dracut", "--force", "--no-hostonly", "--include", "/etc/x", "/etc/x", "/boot/initramfs-1.img", "1"},
			{"dracut", "--force", "--no-hostonly", "/boot/initramfs-2.img", "2"},
			{"setfiles", "-F", "/etc/selinux/x", "/boot/initramfs-2.img"},
		},
	}
	const boot, tmp = int64(40*mib + 2*Anew + Margin), int64(Unpacked + Margin)
	for _, tt := range []struct {
		name      string
		boot, tmp Space
		err       string
	}{
		{"enough", Space{boot, 102}, Space{tmp, unpackedFiles + MarginFiles}, ""},
		{"boot", Space{boot - 1, 102}, Space{tmp, -1}, "/boot of the guest has 175 MiB free, but 176 MiB are needed"},
		{"tmp", Space{boot, 102}, Space{tmp - 1, -1}, "/var of the guest has 263 MiB free, but 264 MiB are needed"},
		{"files", Space{boot, 102}, Space{tmp, 4000}, "/var of the guest has room for 4000 more files (df -i), but 4100 are needed"},
	} {
		g := Guest{Config: Config{
			Free:    map[string]Space{"/": {}, "/boot": tt.boot, "/var": tt.tmp},
			Initrds: map[string]int64{"/boot/initramfs-1.img": 30 * mib, "/boot/initramfs-2.img": 40 * mib},
		}}
		if err := g.Room(&c, 0, 0); (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Room = %v, want %q", tt.name, err, tt.err)
		}
	}
}

// TestRoomPackages: packages need room wherever their files may lie.
func TestRoomPackages(t *testing.T) {
	c := Conversion{Mounts: []Mount{{At: "/"}, {At: "/boot"}, {At: "/usr"}, {At: "/var"}}}
	const bytes, files = 5<<20 + Margin, 2*packageFiles + MarginFiles
	for _, at := range []string{"", "/", "/usr", "/var"} {
		free := map[string]Space{"/": {bytes, files}, "/boot": {}, "/usr": {bytes, files}, "/var": {bytes, files}}
		want := ""
		if at != "" {
			free[at] = Space{bytes, files - 1}
			want = at + " of the guest has room for 299 more files (df -i), but 300 are needed"
		}
		g := Guest{Config: Config{Free: free}}
		if err := g.Room(&c, 2, 5<<20); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("Room = %v; want %q", err, want)
		}
	}
}
