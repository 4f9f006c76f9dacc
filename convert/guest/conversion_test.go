package guest

import (
	"encoding/json"
	"testing"
)

func TestTouchMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"/boot/map", []string{"/boot/map"}, []string{"/boot/map~", "/boot", "/x/boot/map"}},
		{"/usr/sbin/lv*", []string{"/usr/sbin/lvm"}, []string{"/usr/sbin/lv/m", "/usr/sbin/vgs", "/sbin/lvm"}},
		{"/boot/grub/", []string{"/boot/grub", "/boot/grub/a", "/boot/grub/a/b"}, []string{"/boot/grub2", "/boot/grub2/a", "/boot"}},
		{"/usr/share/doc/lib*/", []string{"/usr/share/doc/libx", "/usr/share/doc/libx/a/b"}, []string{"/usr/share/doc", "/usr/share/doc/x/lib"}},
		{`/etc/\[odd]\*`, []string{"/etc/[odd]*"}, []string{"/etc/oxx", "/etc/[odd]x"}},
		{"/etc/[", nil, []string{"/etc/[", "/etc/x"}},
		{"/", []string{"/a", "/a/b", "/"}, nil},
	} {
		for _, name := range tt.yes {
			if !(Touch{Pattern: tt.pattern}).Match(name) {
				t.Errorf("%s doesn't match %s; want a match", tt.pattern, name)
			}
		}
		for _, name := range tt.no {
			if (Touch{Pattern: tt.pattern}).Match(name) {
				t.Errorf("%s matches %s; want no match", tt.pattern, name)
			}
		}
	}
}

func TestEditJSON(t *testing.T) {
	for _, e := range []Edit{
		{Path: "/etc/fstab", Reason: "why", Old: "a\n", New: "b\n"},
		{Path: "/etc/fstab", Old: "# caf\xe9\n", New: "# caf\xe9 \u2028 <&>\n"},
		{Path: "/etc/fstab", Old: "\xff", Make: true, Mode: 0o644},
	} {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Edit
		if err := json.Unmarshal(b, &got); err != nil || got != e {
			t.Errorf("%s reads as %+v, %v; want %+v", b, got, err, e)
		}
	}
	b, err := json.Marshal(Conversion{Edits: []Edit{{Path: "/etc/fstab", Old: "a", New: "b"}}})
	if want := `{"mounts":null,"edits":[{"path":"/etc/fstab","reason":"","old":"a","new":"b"}]}`; err != nil || string(b) != want {
		t.Errorf("Marshal = %s, %v; want %s", b, err, want)
	}
}

func TestEditDiff(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    Edit
		want string
	}{
		{"changed", Edit{Path: "/etc/fstab", Reason: "why", Old: "1\n2\n3\n", New: "1\nzwei\n3\n"}, "edit /etc/fstab (why)\n--- /etc/fstab\n+++ /etc/fstab\n@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3\n"},
		{"without a line end", Edit{Path: "/f", Reason: "why", Old: "a", New: "b"}, "edit /f (why)\n--- /f\n+++ /f\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"},
		{"made", Edit{Path: "/f", Reason: "why", Make: true, New: "x\n"}, "edit /f (why)\n--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+x\n"},
		{"removed", Edit{Path: "/f", Reason: "why", Remove: true, Old: "x\n"}, "edit /f (why)\n--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n"},
		{"link", Edit{Path: "/f", Reason: "why", Link: true, Make: true, New: "x"}, "link /f -> x (why)\n"},
		{"link changed", Edit{Path: "/f", Reason: "why", Link: true, Old: "o\x1b", New: "x"}, "link /f -> x, was -> o\\u001b (why)\n"},
		{"for a terminal", Edit{Path: "/f\n", Reason: "why", Make: true, New: "\x1b[2J\xe9\u202eé\t\ufffd\n"}, "edit /f\\n (why)\n--- /dev/null\n+++ /f\\n\n@@ -0,0 +1,1 @@\n+\\u001b[2J\\xe9\\u202eé\t\ufffd\n"},
	} {
		if got := tt.e.Diff(); got != tt.want {
			t.Errorf("%s: Diff = %q; want %q", tt.name, got, tt.want)
		}
	}
}
