package conf

import (
	"os"
	"slices"
	"testing"

	"esxodus/convert/guest"

	"github.com/google/go-cmp/cmp"
)

// dpkgStatus is a guest's /var/lib/dpkg/status.
func dpkgStatus(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("../inspect/testdata/dpkg-status")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParseDpkg(t *testing.T) {
	got, arch, err := ParseDpkg(dpkgStatus(t), OfInterest)
	want := []guest.Package{
		{Name: "grub-pc", Version: "2.06-13", Needs: [][]string{{"grub2-common"}}},
		{Name: "grub2-common", Version: "2.06-13"},
		{Name: "other", Version: "1:2", Needs: [][]string{{"grub-pc"}, {"grub2-common"}}, Protected: true},
	}
	if diff := cmp.Diff(want, got); diff != "" || arch != "amd64" || err != nil {
		t.Errorf("parseDpkg: architecture %q, %v, packages (-want +got):\n%s", arch, err, diff)
	}
}

func FuzzParseDpkg(f *testing.F) {
	f.Add(dpkgStatus(f))
	f.Add([]byte("Package: a\nStatus: x y installed\nDepends: grub-pc,,|,(,:\n\n\n\nPackage: grub-pc\nStatus: x y installed\nProvides: a, |\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pkgs, _, _ := ParseDpkg(b, OfInterest)
		for _, p := range pkgs {
			if !OfInterest(p.Name) && len(p.Needs) == 0 {
				t.Errorf("%q is of no interest", p.Name)
			}
			if slices.ContainsFunc(p.Needs, func(by []string) bool { return len(by) == 0 }) {
				t.Errorf("%q needs nothing", p.Name)
			}
		}
	})
}
