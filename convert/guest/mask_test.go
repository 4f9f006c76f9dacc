package guest

import (
	"slices"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	const text = "//nas/a /a cifs username=u,password=p=1%,uid=0 0 0\n" +
		"//nas/b /b cifs pass=two,Password2=3 0 0\npassword = \"quoted one\"\n# passwd=old\nnopass=x compass=y credentials=/etc/password\npassword=,x\n"
	const want = "//nas/a /a cifs username=u,password=(hidden:1),uid=0 0 0\n" +
		"//nas/b /b cifs pass=(hidden:2),Password2=(hidden:3) 0 0\npassword = \"(hidden:4) one\"\n# passwd=(hidden:5)\nnopass=x compass=y credentials=/etc/password\npassword=,x\n"
	got, passwords := Mask(text)
	if hidden := []string{"p=1%", "two", "3", "quoted", "old"}; got != want || !slices.Equal(passwords, hidden) {
		t.Errorf("Mask = %q, %q; want %q, %q", got, passwords, want, hidden)
	}
	if again, _ := Mask(got); again != got {
		t.Errorf("Mask of a masked text = %q, want it as it is", again)
	}
	if back, err := Unmask(got, passwords); back != text || err != nil {
		t.Errorf("Unmask = %q, %v; want the text", back, err)
	}
	lines := strings.SplitAfter(got, "\n")
	if back, err := Unmask(lines[1]+"x\n", passwords); back != "//nas/b /b cifs pass=two,Password2=3 0 0\nx\n" || err != nil {
		t.Errorf("Unmask of an edited text = %q, %v", back, err)
	}
	if _, err := Unmask("password=(hidden:6)", passwords); err == nil {
		t.Error("Unmask of a password that isn't there = nil, want an error")
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a password=x,passwd=\xff b\npass=(hidden:7)")
	f.Fuzz(func(t *testing.T, text string) {
		masked, passwords := Mask(text)
		if back, err := Unmask(masked, passwords); back != text || err != nil {
			t.Errorf("Unmask(Mask(%q)) = %q, %v", text, back, err)
		}
		if again, _ := Mask(masked); again != masked {
			t.Errorf("Mask(%q) = %q", masked, again)
		}
	})
}
