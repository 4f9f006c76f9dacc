package domain

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"
)

// TestDefine has libvirt's QEMU driver take each domain, embedded in virsh so
// that no daemon is needed, and libvirt's test driver as well.
func TestDefine(t *testing.T) {
	if testing.Short() {
		t.Skip("asks QEMU for its capabilities")
	}
	virsh, dir := tool(t, "virsh"), openDir(t) // one, for QEMU's capabilities are kept there
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			if _, err := os.Stat("/dev/kvm"); err != nil {
				set := c.opts
				c.opts = func(o *Options) {
					if set != nil {
						set(o)
					}
					o.VirtType = "qemu"
				}
			}
			r := c.result(t)
			file := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			real := file("real.xml", r.XML)
			fake := file("test.xml", strings.Replace(r.XML, `<domain type="`+r.Domain.Type, `<domain type="test`, 1))
			for _, argv := range [][]string{
				{"-c", "qemu:///embed?root=" + dir, "define --validate " + real + "; dumpxml " + r.Domain.Name + "; undefine --nvram " + r.Domain.Name},
				{"-c", "test:///default", "define --validate " + fake + "; dumpxml " + r.Domain.Name},
			} {
				out, err := exec.Command(virsh, argv...).CombinedOutput()
				if err != nil {
					t.Fatalf("virsh %v: %v: %s", argv, err, out)
				}
				sameAddresses(t, r.Domain, string(out))
			}
		})
	}
}

// sameAddresses wants what libvirt made of the domain to have the disks and
// interfaces where we put them.
func sameAddresses(t *testing.T, want *libvirtxml.Domain, dump string) {
	t.Helper()
	i := strings.Index(dump, "<domain")
	if i < 0 {
		t.Fatalf("no XML in %s", dump)
	}
	var got libvirtxml.Domain
	if err := got.Unmarshal(dump[i : strings.Index(dump, "</domain>")+len("</domain>")]); err != nil {
		t.Fatal(err)
	}
	describe := func(d *libvirtxml.Domain) []string {
		all := []string{d.UUID, d.Title, d.Description}
		for _, x := range d.Devices.Disks {
			all = append(all, x.Target.Dev+" "+x.Target.Bus)
		}
		for _, x := range d.Devices.Interfaces {
			all = append(all, x.MAC.Address+" "+showPCI(x.Address))
		}
		slices.Sort(all)
		return all
	}
	if diff := cmp.Diff(describe(want), describe(&got)); diff != "" {
		t.Errorf("libvirt's (-ours +libvirt's):\n%s", diff)
	}
}
