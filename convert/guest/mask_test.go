package guest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	const ceph, cephMasked = "10.0.0.1:/ /c ceph name=admin,secret=AQAT==,secretfile=/x 0 0\n//nas/c /c cifs password=ab#cd,uid=0 0 0\n" +
		"curlftpfs#me:p@w,1@host /f fuse ro 0 0\nftp://me:two@host:21/a@b http://host:80/x@y sshfs#me@host:/x # see #1: a@b\ncurlftpfs#ftp://:3@host\n",
		"10.0.0.1:/ /c ceph name=admin,secret=(hidden:6),secretfile=/x 0 0\n//nas/c /c cifs password=(hidden:7),uid=0 0 0\n" +
			"curlftpfs#me:(hidden:8)@host /f fuse ro 0 0\nftp://me:(hidden:9)@host:21/a@b http://host:80/x@y sshfs#me@host:/x # see #1: a@b\ncurlftpfs#ftp://:(hidden:10)@host\n"
	const text = "//nas/a /a cifs username=u,password=p=1%,uid=0 0 0\n" +
		"//nas/b /b cifs pass=two,Password2=3 0 0\npassword = \"quoted one\"\n# passwd=old\nnopass=x compass=y credentials=/etc/password\npassword=,x\n" + ceph
	const want = "//nas/a /a cifs username=u,password=(hidden:1),uid=0 0 0\n" +
		"//nas/b /b cifs pass=(hidden:2),Password2=(hidden:3) 0 0\npassword = \"(hidden:4) one\"\n# passwd=(hidden:5)\nnopass=x compass=y credentials=/etc/password\npassword=,x\n" + cephMasked
	got, passwords := Mask(text)
	if hidden := []string{"p=1%", "two", "3", "quoted", "old", "AQAT==", "ab#cd", "p@w,1", "two", "3"}; got != want || !slices.Equal(passwords, hidden) {
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
	if _, err := Unmask("password=(hidden:11)", passwords); err == nil {
		t.Error("Unmask of a password that isn't there = nil, want an error")
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a password=x,passwd=\xff b\npass=(hidden:7)")
	f.Add("a#pass=b,c:d@e secret=\"x#y:z@w f://u:(hidden:9)@v a#b:pass=x@y a#b:(hidden:3)")
	f.Add("# a\n\npassword\n = \n x\n\nSecret=\"y\nlast @ one\n paſſ=z\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		masked, passwords := Mask(text)
		n := 0
		whole := password.ReplaceAllStringFunc(text, func(s string) string {
			n++
			m := password.FindStringSubmatch(s)
			return fmt.Sprintf("%s(hidden:%d)%s", m[1]+m[3], n, m[5])
		})
		if masked != whole || len(passwords) != n {
			t.Errorf("Mask(%q) = %q, %q; as a whole it is %q", text, masked, passwords, whole)
		}
		if back, err := Unmask(masked, passwords); back != text || err != nil {
			t.Errorf("Unmask(Mask(%q)) = %q, %v", text, back, err)
		}
		if again, _ := Mask(masked); again != masked {
			t.Errorf("Mask(%q) = %q", masked, again)
		}
	})
}
