package inspect

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest/nics"
	"esxodus/inventory"
)

var update = flag.Bool("update", false, "write what comes out into testdata")

// TestNICs: what each style of each release says of names and addresses, and what
// keeps the names. An archive's comment has the VM's NICs, its file want the result.
func TestNICs(t *testing.T) {
	paths, err := filepath.Glob("testdata/nics/*.txtar")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d archives, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files, want := map[string]string{}, ""
			for _, f := range a.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files[f.Name] = string(f.Data)
			}
			l := lookAt(files)
			l.guest.OS = "linux"
			if files["OS"] != "" {
				l.guest.OS = strings.TrimSpace(files["OS"])
			}
			l.release()
			l.network()
			l.finish()
			found, doubts := nics.Of(l.guest, vmNICs(t, string(a.Comment)))
			var got strings.Builder
			for _, n := range found {
				fmt.Fprintf(&got, "ethernet%d %s: %s; kept by: %s\n", n.Index, n.Name, n.Why, n.Kept)
				for _, a := range n.Addresses {
					fmt.Fprintf(&got, "  %s on %s", a.Prefix, a.On)
					if a.Tag > 0 {
						fmt.Fprintf(&got, ", tag %d", a.Tag)
					}
					fmt.Fprintln(&got)
				}
				if s := fmt.Sprint(n.Gateways, n.DNS); s != "[] []" {
					fmt.Fprintf(&got, "  gateways %v, DNS %v\n", n.Gateways, n.DNS)
				}
				if n.DHCP4 || n.DHCP6 || n.RA {
					fmt.Fprintf(&got, "  DHCP %v, DHCPv6 %v, RA %v", n.DHCP4, n.DHCP6, n.RA)
					if n.LeasedOn != "" {
						fmt.Fprintf(&got, ", on %s", n.LeasedOn)
					}
					fmt.Fprintln(&got)
				}
			}
			for _, n := range found {
				if n.OtherMAC != "" {
					fmt.Fprintf(&got, "ethernet%d sends from %s\n", n.Index, n.OtherMAC)
				}
			}
			for _, d := range doubts {
				fmt.Fprintf(&got, "doubt %d: %s\n", d.NIC, d.Text)
			}
			if *update {
				a.Files = append(slices.Clip(a.Files), txtar.File{Name: "want", Data: []byte(got.String())})
				if want != "" {
					a.Files = append(a.Files[:len(a.Files)-2], a.Files[len(a.Files)-1])
				}
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("NICs (-want +got):\n%s", diff)
			}
		})
	}
}

// vmNICs reads lines like "nic 0 00:0c:29:aa:00:01 192 vmxnet3".
func vmNICs(t *testing.T, comment string) []inventory.NIC {
	t.Helper()
	var out []inventory.NIC
	for line := range strings.Lines(comment) {
		var n inventory.NIC
		if strings.HasPrefix(line, "nic ") {
			if _, err := fmt.Sscanf(line, "nic %d %s %d %s", &n.Index, &n.MAC, &n.PCISlot, &n.Model); err != nil {
				t.Fatal(err)
			}
			n.Key = int32(4000 + n.Index)
			out = append(out, n)
		}
	}
	return out
}

// TestDropInsBounded: drop-ins of any number of files, which may be links to the same,
// are read up to a bound.
func TestDropInsBounded(t *testing.T) {
	files, big := map[string]string{}, strings.Repeat("#\n", maxFile/2)
	for i := range 5 {
		name := fmt.Sprintf("etc/systemd/network/%d.network", i)
		files[name] = "[Match]\nName=a\n"
		for k := range 12 {
			files[fmt.Sprintf("%s.d/%d.conf", name, k)] = big
		}
	}
	l := lookAt(files)
	size := 0
	for _, f := range l.systemdFiles("*.network") {
		size += len(f.Text)
	}
	if size > 2*maxKind || len(l.cut) == 0 {
		t.Errorf("%d bytes were read, and %q isn't; want at most %d", size, l.cut, 2*maxKind)
	}
}
