package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/plan"
	"esxodus/convert/survey"
	"esxodus/disk"
	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory"
	"esxodus/inventory/esxi"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sourceOf is a host that runs as long as the test, as a source.
func sourceOf(t *testing.T, o fixture.Options) (*fixture.Host, *ESXi) {
	t.Helper()
	host, err := fixture.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	u, _, err := esxi.ParseURL(host.User() + "@" + strings.TrimPrefix(host.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	s := &ESXi{Config: func() (esxi.Config, error) {
		return esxi.Config{URL: u, Password: esxi.Secret(host.Password()), Thumbprint: host.Thumbprint()}, nil
	}}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return host, s
}

// hostAndCopy is a host with the built-in VMs, its inventory, and a copy of its datastores.
func hostAndCopy(t *testing.T) (*ESXi, *inventory.Host, string) {
	t.Helper()
	host, s := sourceOf(t, fixture.Options{Builtin: true})
	h, err := s.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.VMs {
		if h.VMs[i].Power != inventory.PoweredOff && h.VMs[i].ConnectionState == "connected" {
			host.SetPower(h.VMs[i].Name, false)
		}
	}
	dir := t.TempDir()
	if err := host.Export(dir); err != nil {
		t.Fatal(err)
	}
	return s, h, dir
}

// TestCopyAgrees: the inventory of a copy of a host's datastores is the host's, in all
// that files can tell, and each disk has the same bytes, chains of snapshots too.
func TestCopyAgrees(t *testing.T) {
	t.Parallel()
	s, h, dir := hostAndCopy(t)
	files := &Dir{Path: dir}
	got, err := files.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string]string{} // name to UUID
	for _, d := range h.Datastores {
		stores[d.Name] = strings.TrimSuffix(strings.TrimPrefix(d.URL, "ds:///vmfs/volumes/"), "/")
	}
	s.Datastores = map[string]string{} // mounted, too
	for name, uuid := range stores {
		s.Datastores[name] = filepath.Join(dir, uuid)
	}
	seen, chains := 0, 0
	for i := range h.VMs {
		api := &h.VMs[i]
		want := fromAPI(t, api, stores)
		at := slices.IndexFunc(got.VMs, func(vm inventory.VM) bool { return vm.ID == want.ID })
		if at < 0 {
			if api.ConnectionState == "connected" {
				t.Errorf("%s isn't in the copy", api.Path)
			}
			continue
		}
		seen++
		t.Run(api.Name, func(t *testing.T) {
			if diff := cmp.Diff(want, fromFiles(got.VMs[at]), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("host and files differ (-host +files):\n%s", diff)
			}
			for k, d := range got.VMs[at].Disks {
				if d.Format == inventory.FormatRDM || d.Format == inventory.FormatRawPhysical {
					continue
				}
				if len(d.Parents) > 0 {
					chains++
				}
				sameDisk(t, s, files, api.Disks[k].Path, d.Path)
				sameDisk(t, s, s, api.Disks[k].Path, api.Disks[k].Path)
			}
		})
	}
	if seen < 12 || chains == 0 {
		t.Errorf("%d VMs were compared, %d chains of snapshots; want at least 12, and some", seen, chains)
	}
}

// fromAPI is what files can tell of a VM that the API shows.
func fromAPI(t *testing.T, api *inventory.VM, stores map[string]string) (vm inventory.VM) {
	t.Helper()
	b, err := json.Marshal(api)
	if err != nil {
		t.Fatal(err)
	}
	for name, uuid := range stores {
		b = bytes.ReplaceAll(b, []byte(`"[`+name+`] `), []byte(`"`+uuid+`/`))
	}
	if err := json.Unmarshal(b, &vm); err != nil {
		t.Fatal(err)
	}
	vm.ID, vm.ChangeVersion, vm.Power, vm.ConnectionState = vm.Path, "", "", ""
	vm.GuestFullName, vm.Template, vm.Tools, vm.AutoStart, vm.Snapshots, vm.ConsolidationNeeded = "", false, inventory.Tools{}, nil, nil, false
	vm.USBDevices, vm.BootOrder = nil, nil // the fixture's .vmx leaves them out
	for i := range vm.Passthrough {        // the API adds the device's name
		vm.Passthrough[i], _, _ = strings.Cut(vm.Passthrough[i], " ")
	}
	vm.CDROMs = nil
	for i := range vm.Disks {
		d := &vm.Disks[i]
		d.Label, d.EagerZeroed, d.Files, d.RDM = "", false, nil, ""
	}
	for i := range vm.NICs {
		vm.NICs[i].Label, vm.NICs[i].Connected = "", false
	}
	return vm
}

func fromFiles(vm inventory.VM) inventory.VM {
	vm.ChangeVersion, vm.Power, vm.Locks, vm.CDROMs, vm.BootOrder = "", "", nil, nil, nil
	return vm
}

// sameDisk compares a disk's bytes, as they come over HTTPS and from files.
func sameDisk(t *testing.T, a *ESXi, b survey.Host, onHost, inDir string) {
	t.Helper()
	x, closeX, err := a.OpenDisk(t.Context(), plan.Origin{Path: onHost, Way: plan.WayHTTPS})
	if err != nil {
		_, _, other := b.OpenDisk(t.Context(), plan.Origin{Path: inDir, Way: plan.WayFile})
		if other == nil {
			t.Errorf("%s can't be read on the host (%v), but in the copy", onHost, err)
		}
		return
	}
	defer func() { _ = closeX() }()
	y, closeY, err := b.OpenDisk(t.Context(), plan.Origin{Path: inDir, Way: plan.WayFile})
	if err != nil {
		t.Errorf("%s: %v", inDir, err)
		return
	}
	defer func() { _ = closeY() }()
	if _, ok := y.(interface{ Versions() []string }); !ok || x.Size() != y.Size() {
		t.Fatalf("%s: %d bytes, %d on the host; and does it tell its version?", inDir, y.Size(), x.Size())
	}
	if x.Size() > 64<<20 {
		return
	}
	same(t, x, y)
}

func same(t *testing.T, x, y disk.Image) {
	t.Helper()
	const step = 1 << 20
	p, q := make([]byte, step), make([]byte, step)
	for off := int64(0); off < x.Size(); off += step {
		n := min(step, x.Size()-off)
		if _, err := x.ReadAt(p[:n], off); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if _, err := y.ReadAt(q[:n], off); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if string(p[:n]) != string(q[:n]) {
			t.Fatalf("the disks differ in the MiB at %d", off)
		}
	}
}

const smallVMX = "config.version = \"8\"\ndisplayName = \"web\"\nmemSize = \"64\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"%DISK%\"\n"

// written writes files below a directory.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func withDisk(name string) string { return strings.ReplaceAll(smallVMX, "%DISK%", name) }

// TestHostileDir: nothing outside of the directory is read, whatever the files in it
// say, and what is wrong with one VM is told of that one.
func TestHostileDir(t *testing.T) {
	t.Parallel()
	const text = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW 2048 VMFS \"d-flat.vmdk\"\n"
	outside := written(t, map[string]string{"d.vmdk": text, "d-flat.vmdk": strings.Repeat("secret!!", 128<<10), "x.vmx": withDisk("d.vmdk")})
	dir := written(t, map[string]string{
		"abs/a.vmx": withDisk(outside + "/d.vmdk"), "up/a.vmx": withDisk("../../" + filepath.Base(outside) + "/d.vmdk"), "link/a.vmx": withDisk("d.vmdk"),
		"broken/a.vmx": "\x00", "good/a.vmx": withDisk("d.vmdk"), "good/d.vmdk": text, "good/d-flat.vmdk": strings.Repeat("x", 1<<20),
		"store/a.vmx": withDisk("/vmfs/volumes/good/d.vmdk"), "away/a.vmx": withDisk("/vmfs/volumes/4242/d.vmdk"), "climb/a.vmx": withDisk("/vmfs/volumes/good/../../d.vmdk"),
		"flat/a.vmx": withDisk("d.vmdk"), "flat/d.vmdk": text, ".snapshot/good/a.vmx": withDisk("d.vmdk"),
	})
	for from, to := range map[string]string{"link/d.vmdk": outside + "/d.vmdk", "tree": outside, "flat/d-flat.vmdk": outside + "/d-flat.vmdk", "again": dir} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	s := &Dir{Path: dir}
	h, err := s.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // a VM's problem
		"abs/a.vmx": "not in this directory", "up/a.vmx": "not in this directory", "link/a.vmx": "escapes", "broken/a.vmx": "can't be read", "good/a.vmx": "",
		"store/a.vmx": "", "away/a.vmx": "under the name 4242", "climb/a.vmx": "not in this directory", "flat/a.vmx": "",
	}
	got := map[string]string{}
	for _, vm := range h.VMs {
		got[vm.ID] = strings.Join(vm.Problems, "\n")
	}
	for id, problem := range want {
		is, ok := got[id]
		if !ok || (problem == "") != (is == "") || !strings.Contains(is, problem) {
			t.Errorf("%s: found %v, its problems %q; want %q", id, ok, is, problem)
		}
	}
	if len(got) != len(want) {
		t.Errorf("VMs: %q; want %d of them", got, len(want))
	}
	for _, p := range []string{"flat/d.vmdk", "link/d.vmdk", "../" + filepath.Base(outside) + "/d.vmdk", outside + "/d.vmdk"} {
		if img, end, err := s.OpenDisk(t.Context(), plan.Origin{Path: p}); err == nil {
			_ = end()
			t.Errorf("%s was opened: %d bytes", p, img.Size())
		}
	}
}

// TestMayRun: ESXi's swap and lock files beside a .vmx are what tells of a VM that runs.
func TestMayRun(t *testing.T) {
	t.Parallel()
	dir := written(t, map[string]string{
		"off/a.vmx": withDisk(""), "off/a.nvram": "", "off/b.vmx.lck": "", "swap/a.vmx": withDisk(""), "swap/a-4c3b2a10.vswp": "", "nfs/a.vmx": withDisk(""), "nfs/.lck-3f00000000000000": "",
		"lck/a.vmx": withDisk(""), "lck/A.vmx.lck": "", "suspended/a.vmx": withDisk("") + "checkpoint.vmState = \"a.vmss\"\n", "resumed/a.vmx": withDisk("") + "checkpoint.vmState = \"\"\n",
		"elsewhere/a.vmx": withDisk("../disks/d.vmdk"), "disks/.lck-4f00000000000000": "", "disks/d.vmdk": "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW 2048 VMFS \"d-flat.vmdk\"\n", "disks/other-1.vswp": "",
	})
	h, err := (&Dir{Path: dir}).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	src := plan.Source{From: dir}
	want := map[string]string{"off/a.vmx": "", "swap/a.vmx": "a-4c3b2a10.vswp", "nfs/a.vmx": ".lck-3f", "lck/a.vmx": "A.vmx.lck", "suspended/a.vmx": "suspended", "resumed/a.vmx": "", "elsewhere/a.vmx": "disks/.lck-4f"}
	for i := range h.VMs {
		vm := &h.VMs[i]
		is := src.MayRun(vm, false)
		if text, ok := want[vm.ID]; !ok || (is == "") != (text == "") || !strings.Contains(is, text) {
			t.Errorf("%s: may run: %q; want %q", vm.ID, is, text)
		}
		if told := src.MayRun(vm, true); (told != "") != (vm.ID == "suspended/a.vmx") {
			t.Errorf("%s, said to be off: %q", vm.ID, told)
		}
		delete(want, vm.ID)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}
