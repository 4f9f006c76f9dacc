package inspect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest/conf"
)

// TestHostileNICs: of a directory full of configuration a part is read, and that
// is told.
func TestHostileNICs(t *testing.T) {
	for _, form := range [][2]string{
		{"etc/netplan/%05d.yaml", "network: {ethernets: {eth%d: {}}}"},
		{"etc/systemd/network/%05d.network", "[Match]\nName=eth%d\n"},
		{"etc/sysconfig/network-scripts/ifcfg-%05d", "DEVICE=eth%d\n"},
	} {
		files := map[string]string{}
		for i := range maxFew + 50 {
			files[fmt.Sprintf(form[0], i)] = fmt.Sprintf(form[1], i)
		}
		l := lookAt(files)
		want := []string{fmt.Sprintf("there are %d files like /%s, of which only the first %d are read", maxFew+50, fmt.Sprintf(form[0], maxFew), maxFew)}
		if l.network(); len(conf.Set(l.guest.Interfaces)) != maxFew || !slices.Equal(l.cut, want) {
			t.Errorf("%s: %d files are read, want %d; told is %q, want %q", form[0], len(conf.Set(l.guest.Interfaces)), maxFew, l.cut, want)
		}
	}
	for _, many := range []map[string]string{
		{"etc/network/interfaces": strings.Repeat("source /x/*\n", maxIncludes) + "source /y\n", "y": "auto eth1\n"},
		{"etc/network/interfaces": "source /x/*\n", "x/last": "auto eth1\n"},
	} {
		for i := range maxIncludes {
			many[fmt.Sprintf("x/%d", i)] = ""
		}
		l := lookAt(many)
		if got := l.ifupdown(); len(got.Links) > 0 || len(l.cut) != 1 || !strings.Contains(l.cut[0], "sources more than") {
			t.Errorf("interfaces = %+v, want what comes after %d others left out; told is %q", got.Links, maxIncludes, l.cut)
		}
	}
}
