package adapt

import (
	"fmt"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
)

func TestRewriteWhat(t *testing.T) {
	judge := func(spec string) string {
		if spec == "old" {
			return "new"
		}
		return ""
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"spacing", "[Mount]\n What =\told \r\nWhat=old", "[Mount]\n What =\tnew \r\nWhat=new"},
		{"swap", "[Swap]\nWhat=old\n", "[Swap]\nWhat=new\n"},
		{"other sections", "What=old\n[Unit]\nWhat=old\n[Mount]\n[Install]\nWhat=old\n", "What=old\n[Unit]\nWhat=old\n[Mount]\n[Install]\nWhat=old\n"},
		{"comments and other keys", "[Mount]\n#What=old\n; What=old\nWhatever=old\nWhat=\nWhat=older\n", "[Mount]\n#What=old\n; What=old\nWhatever=old\nWhat=\nWhat=older\n"},
	} {
		if got := rewriteWhat(tt.in, judge); got != tt.want {
			t.Errorf("%s: rewriteWhat(%q) = %q; want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// FuzzRewriteWhat holds that nothing changes where nothing is said.
func FuzzRewriteWhat(f *testing.F) {
	f.Add("[Mount]\nWhat=/dev/sda1\nWhere=/srv\n")
	f.Add("[Swap]\n What = = \\\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got := rewriteWhat(text, func(string) string { return "" }); got != text {
			t.Errorf("rewriteWhat(%q) = %q; want no change", text, got)
		}
		same := func(spec string) string { return spec }
		if got := rewriteWhat(text, same); got != text {
			t.Errorf("rewriteWhat(%q) = %q; want the same names in the same places", text, got)
		}
	})
}

func TestUnescapeUnit(t *testing.T) {
	for name, want := range map[string]string{"-": "/", "srv": "/srv", "srv-data": "/srv/data", `srv-a\x2db`: "/srv/a-b", `a\x2`: `/a\x2`, `a\xzz`: `/a\xzz`, `\x41`: "/A"} {
		if got := unescapeUnit(name); got != want {
			t.Errorf("unescapeUnit(%q) = %q; want %q", name, got, want)
		}
	}
}

// TestResume is of all that may set RESUME, and what it becomes.
func TestResume(t *testing.T) {
	const root, swap = "/dev/mapper/vg-root", "/dev/mapper/vg-swap"
	rootMove := layout.Move{Content: "ext4", Mount: "/", UUID: "aaaa", From: "scsi0:0 partition 1", To: "vg/root", Names: []string{"/dev/sda1"}}
	swapMove := layout.Move{Content: "swap", UUID: "bbbb", From: "scsi0:0 partition 2", To: "vg/swap", Names: []string{"/dev/sda2"}}
	for _, tt := range []struct {
		name  string
		files map[string]string
		moves []layout.Move
		want  string            // of the initrds that are there
		edits map[string]string // by file
	}{
		{name: "nothing", moves: []layout.Move{rootMove}},
		{name: "found out by itself", moves: []layout.Move{rootMove, swapMove}, want: swap},
		{name: "auto", files: map[string]string{"initramfs.conf": "RESUME=auto\n"}, moves: []layout.Move{rootMove, swapMove}, want: swap},
		{name: "none", files: map[string]string{"conf.d/resume": "RESUME=none\n"}, moves: []layout.Move{rootMove, swapMove}},
		{name: "in initramfs.conf", files: map[string]string{"initramfs.conf": "A=b\nRESUME=/dev/sda2\n"}, moves: []layout.Move{rootMove, swapMove}, want: swap, edits: map[string]string{"initramfs.conf": "A=b\nRESUME=" + swap + "\n"}},
		{name: "in another file", files: map[string]string{"conf.d/hibernate": "RESUME=UUID=bbbb"}, moves: []layout.Move{rootMove, swapMove}, want: swap, edits: map[string]string{"conf.d/hibernate": "RESUME=" + swap}},
		{name: "the last counts", files: map[string]string{"initramfs.conf": "RESUME=/dev/sda2\n", "conf.d/resume": "RESUME=none\n"}, moves: []layout.Move{rootMove, swapMove}, edits: map[string]string{"initramfs.conf": "RESUME=" + swap + "\n"}},
		{
			name: "a swap file", files: map[string]string{"conf.d/resume": "RESUME='UUID=aaaa' resume_offset=34816\n"}, moves: []layout.Move{rootMove}, want: root,
			edits: map[string]string{"conf.d/resume": "RESUME=" + root + " resume_offset=34816\n"},
		},
		{name: "a swap that is gone", files: map[string]string{"conf.d/resume": "RESUME=UUID=cccc\n"}, moves: []layout.Move{rootMove}, want: "none", edits: map[string]string{"conf.d/resume": "RESUME=none\n"}},
		{
			name: "one of two swaps", files: map[string]string{"conf.d/resume": "RESUME=/dev/sda2\n"}, want: swap, edits: map[string]string{"conf.d/resume": "RESUME=" + swap + "\n"},
			moves: []layout.Move{rootMove, swapMove, {Content: "swap", UUID: "dddd", From: "scsi0:0 partition 3", To: "vg/more"}},
		},
		{name: "in place", files: map[string]string{"conf.d/resume": "RESUME=" + swap + "\n"}, moves: []layout.Move{rootMove, {Content: "swap", UUID: "bbbb", From: "vg/swap", To: "vg/swap"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &builder{c: guest.Config{Files: map[string]guest.File{}}, places: newPlaces(Input{Layout: layout.Layout{Moves: tt.moves}})}
			for name, text := range tt.files {
				b.c.Files["/etc/initramfs-tools/"+name] = guest.File{Path: "/etc/initramfs-tools/" + name, Text: text}
			}
			initramfsTools{}.resume(b)
			if b.newResume != tt.want {
				t.Errorf("initrds get RESUME=%s; want %s", b.newResume, tt.want)
			}
			got := map[string]string{}
			for _, e := range b.out.Edits {
				got[e.Path] = e.New
			}
			if len(got) != len(tt.edits) {
				t.Errorf("%d edits %q; want %d", len(got), got, len(tt.edits))
			}
			for name, want := range tt.edits {
				if got["/etc/initramfs-tools/"+name] != want {
					t.Errorf("%s becomes %q; want %q", name, got["/etc/initramfs-tools/"+name], want)
				}
			}
		})
	}
}

// TestManyUnits: of 200 units whose file systems aren't certain one concern tells.
func TestManyUnits(t *testing.T) {
	a := archive(t, "debian-mbr.txtar")
	for i := range 200 {
		add(a, fmt.Sprintf("tree/etc/systemd/system/srv-x%03d.mount", i), fmt.Sprintf("[Mount]\nWhat=/dev/sdz%d\nWhere=/srv/x%03d\n", i, i))
		add(a, fmt.Sprintf("tree/etc/systemd/system/dev-sdy%03d.swap", i), fmt.Sprintf("[Swap]\nWhat=/dev/sdy%d\n", i))
	}
	_, _, concerns := New(input(t, a))
	var got []string
	for _, c := range concerns {
		if c.ID == ConcernTable {
			got = append(got, c.Subject+": "+c.Evidence)
		}
	}
	if len(got) != 2 || !strings.Contains(got[1], "/srv/x009, and 190 more: /etc/systemd/system/srv-x000.mount names /dev/sdz0, but it isn't certain which file system that is; ") || !strings.Contains(got[0], "and 197 more") {
		t.Errorf("concerns:\n%s\nwant one about mounts and one about swap, with counts", strings.Join(got, "\n"))
	}
}
