package inspect

import (
	"fmt"
	"strings"
	"testing"
)

// TestHostileNICs: of a directory full of configuration a part is read.
func TestHostileNICs(t *testing.T) {
	for _, form := range [][2]string{
		{"etc/netplan/%d.yaml", "network: {ethernets: {eth%d: {}}}"},
		{"etc/systemd/network/%d.network", "[Match]\nName=eth%d\n"},
		{"etc/sysconfig/network-scripts/ifcfg-%d", "DEVICE=eth%d\n"},
	} {
		files := map[string]string{}
		for i := range maxFew + 50 {
			files[fmt.Sprintf(form[0], i)] = fmt.Sprintf(form[1], i)
		}
		l := lookAt(files)
		if l.nics(); len(l.guest.Interfaces) != maxFew {
			t.Errorf("%s: %d files are read, want %d", form[0], len(l.guest.Interfaces), maxFew)
		}
	}
	l := lookAt(map[string]string{"etc/network/interfaces": strings.Repeat("source /x/*\n", maxFew) + "source /y\n", "y": "auto eth1\n"})
	if got := l.interfaces(); len(got.Names) > 0 {
		t.Errorf("interfaces = %q, want the pattern after %d others left out", got.Names, maxFew)
	}
}
