package domain

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"esxodus/inventory"
)

func TestName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"web-1", "web-1"},
		{"Web_1.example+x", "Web_1.example+x"},
		{"web 1", "web-1"},
		{"web  (old)", "web-old"},
		{"100% \"sure\" 'now'", "100-sure-now"},
		{"Büro Straße Ærø Łódź", "Buro-Strasse-AEro-Lodz"},
		{"a/b\\c\nd\x00e", "a-b-c-d-e"},
		{"../../etc/passwd", "etc-passwd"},
		{"-rf", "rf"},
		{".hidden", "hidden"},
		{"…", "vm-b49358"},
		{"", "vm-e3b0c4"},
		{"日本語", "vm-77710a"},
		{"日本語 1", "1-"},
		{"snapshot", "vm-snapshot"},
		{"pvmove0", "vm-pvmove0"},
		{"db_mlog", "db-mlog"},
		{"x_rimage_rmeta", "x-rimage-rmeta"},
		{strings.Repeat("a", 40), strings.Repeat("a", 40)},
		{strings.Repeat("a", 41), strings.Repeat("a", 33) + "-"},
		{"\xff\xfe", "vm-"},
	}
	for _, tt := range tests {
		got := Name(tt.in)
		if got != tt.want && (!strings.HasSuffix(tt.want, "-") || !strings.HasPrefix(got, tt.want) || len(got) != len(tt.want)+hashChars) {
			t.Errorf("Name(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
	if a, b := Name("日本"), Name("中国"); a == b {
		t.Errorf("two names of Chinese characters both become %s", a)
	}
}

func checkName(t *testing.T, in, got string) {
	t.Helper()
	ok := got != "" && len(got) <= maxName && !strings.ContainsAny(got[:1], "-.") && utf8.ValidString(got)
	for _, r := range got {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r))
	}
	if !ok {
		t.Errorf("Name(%q) = %q", in, got)
	}
	if again := Name(got); again != got {
		t.Errorf("Name(Name(%q)) = %q; want %q", in, again, got)
	}
	if v := VolumeName(got, 0, inventory.Disk{Class: "scsi", Bus: 3, Unit: 15}); len(v) > 60 || unreserve(v) != v {
		t.Errorf("VolumeName(%q) = %q", got, v)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"web-1", "snapshot", strings.Repeat("snapshot", 6), "_mlog_mlog", "a" + strings.Repeat("-", 60), "日本", "\xff", "é\u0301", strings.Repeat("ß", 30), "x_ml\u0301og", "pvmove" + strings.Repeat("é", 40), "﷽"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { checkName(t, in, Name(in)) })
}

// TestNamesOfLVM asks LVM itself, which checks a name before it looks for the
// volume group.
func TestNamesOfLVM(t *testing.T) {
	lvrename := tool(t, "lvrename")
	try := func(name string) string {
		cmd := exec.Command(lvrename, "--test", "esxodus_no_such_group", "old", name)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	const taken = `"esxodus_no_such_group" not found`
	for _, in := range []string{"web 1", "snapshot", "pvmove0", "a_rimage_mlog_tdata", "-x", "日本", strings.Repeat("a-", 200)} {
		name := VolumeName(Name(in), 0, inventory.Disk{Class: "scsi"})
		if out := try(name); !strings.Contains(out, taken) {
			t.Errorf("lvrename to %s (for %q): %s", name, in, out)
		}
	}
	for p := range strings.FieldsSeq(reservedParts) {
		if out := try("a" + p); strings.Contains(out, taken) {
			t.Errorf("LVM takes a%s, which is thought to be reserved: %s", p, out)
		}
	}
	for p := range strings.FieldsSeq(reservedPrefixes) {
		if out := try(p + "0"); strings.Contains(out, taken) {
			t.Errorf("LVM takes %s0, which is thought to be reserved: %s", p, out)
		}
	}
}
