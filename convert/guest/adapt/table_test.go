package adapt

import (
	"strings"
	"testing"

	"esxodus/convert/layout"
	"esxodus/convert/lilo/conf"
)

func TestRewrite(t *testing.T) {
	judge := func(f []string) verdict {
		switch f[0] {
		case "old":
			return verdict{spec: "new"}
		case "gone":
			return verdict{drop: "why\nnot"}
		}
		return verdict{}
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"spacing", " old \t x  \n\n\t# old\n#old\nolder old\nold", " new \t x  \n\n\t# old\n#old\nolder old\nnew"},
		{"carriage returns", "old x\r\nold\r\n", "new x\r\nnew\r\n"},
		{"dropped", "a\n gone\tx\nb\n", "a\n# esxodus: why not\n# gone\tx\nb\n"},
		{"dropped at the end", "gone", "# esxodus: why not\n#gone"},
		{"bytes that are no text", "old \xff\x00\n\xfe old\n", "new \xff\x00\n\xfe old\n"},
	} {
		if got := rewrite(tt.in, 0, judge); got != tt.want {
			t.Errorf("%s: rewrite(%q) = %q; want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// FuzzRewrite holds that lines that nothing is said about stay as they are,
// and that in others only the spec changes.
func FuzzRewrite(f *testing.F) {
	f.Add("/dev/sda1 / ext4 defaults 0 1\nUUID=x none swap\n", 0)
	f.Add(" tmp /dev/sda1 /dev/urandom swap\r\n# c\n\n/dev/sda1", 1)
	f.Add("\x00\xff /dev/sda1\\040 \\\n/dev/sda1", 1)
	f.Fuzz(func(t *testing.T, text string, field int) {
		if field < 0 || field > 3 {
			return
		}
		if got := rewrite(text, field, func([]string) verdict { return verdict{} }); got != text {
			t.Errorf("rewrite(%q) = %q; want no change", text, got)
		}
		// A spec that is replaced by one of the same length, and back.
		there := func(f []string) verdict {
			if f[field] == "/dev/sda1" {
				return verdict{spec: "/dev/vdb7"}
			}
			return verdict{}
		}
		back := func(f []string) verdict {
			if f[field] == "/dev/vdb7" {
				return verdict{spec: "/dev/sda1"}
			}
			return verdict{}
		}
		if !strings.Contains(text, "/dev/vdb7") {
			if got := rewrite(rewrite(text, field, there), field, back); got != text {
				t.Errorf("there and back %q becomes %q", text, got)
			}
		}
		dropped := rewrite(text, field, func([]string) verdict { return verdict{drop: "x"} })
		again := rewrite(dropped, field, func(f []string) verdict {
			t.Errorf("%q: a line is left: %q", dropped, f)
			return verdict{}
		})
		restored := strings.ReplaceAll(again, "# esxodus: x\n#", "")
		if !strings.Contains(text, "# esxodus") && restored != text {
			t.Errorf("dropped lines of %q don't come back: %q", text, restored)
		}
	})
}

// FuzzQuote holds that LILO's own parser reads what is quoted for it.
func FuzzQuote(f *testing.F) {
	f.Add(`quiet dyndbg="file foo.c +p" a\b`)
	f.Add("x\ny \x7f\x01 \"")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1500 {
			return
		}
		text := "image=/vmlinuz\n\tlabel=x\n\tappend=" + quote(s) + "\n"
		c, err := conf.Parse("lilo.conf", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := c.Images[0].Append; got != oneLine(s) {
			t.Errorf("quote(%q) is read as %q; want %q", s, got, oneLine(s))
		}
	})
}

func TestPlaces(t *testing.T) {
	p := places{moves: []layout.Move{
		{UUID: "AAAA-1", Label: "root", From: "scsi0:0 partition 1", To: "g-x/r-y", Names: []string{"/dev/sda1", "PARTUUID=CAFE-01", "PARTLABEL=EFI System"}},
		{UUID: "twice", Label: "l", From: "a", To: "b"},
		{UUID: "twice", From: "c", To: "d"},
	}}
	for _, tt := range []struct {
		spec     string
		found    bool
		vanishes bool
	}{
		{"/dev/sda1", true, true},
		{"/dev/sda11", false, false},
		{"PARTUUID=cafe-01", true, true},
		{"partuuid=CAFE-01", true, true},
		{"/dev/disk/by-partuuid/cafe-01", true, true},
		{"PARTLABEL=EFI System", true, true},
		{"PARTLABEL=efi system", false, false},
		{"UUID=aaaa-1", true, false},
		{`UUID="AAAA-1"`, true, false},
		{"/dev/disk/by-uuid/AAAA-1", true, false},
		{"LABEL=root", true, false},
		{"LABEL=Root", false, false},
		{"UUID=twice", false, false},
		{"/dev/mapper/g--x-r--y", true, false},
		{"/dev/g-x/r-y", true, false},
		{"", false, false},
		{"/dev/", false, false},
	} {
		m, vanishes := p.find(tt.spec)
		if (m != nil) != tt.found || vanishes != tt.vanishes {
			t.Errorf("find(%q) = %v, %v; want %v, %v", tt.spec, m, vanishes, tt.found, tt.vanishes)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for v, want := range map[string]bool{"22.7": true, "1:24.2-5": true, "22.6.9": false, "22": false, "23": true, "": false, "x": false, "1:22.10~rc1-1": true, "99999999999999999999.1": false} {
		if got := atLeast(v, 22, 7); got != want {
			t.Errorf("atLeast(%q) = %v; want %v", v, got, want)
		}
	}
}
