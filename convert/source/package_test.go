package source

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
)

const ovaDisk = 4 << 20

// webOVF describes a VM with one disk.
const webOVF = `<Envelope xmlns:ovf="o" xmlns:rasd="r"><References><File ovf:id="f" ovf:href="web-disk1.vmdk"/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="4" ovf:capacityAllocationUnits="byte * 2^20"/></DiskSection>
<VirtualSystem ovf:id="web"><Name>web</Name><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:VirtualQuantity>64</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType><rasd:ResourceSubType>lsilogic</rasd:ResourceSubType></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:Parent>3</rasd:Parent><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d</rasd:HostResource></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>`

// exported are the files of a package as ESXi's export makes them, and the disk's
// content.
func exported(tb testing.TB) (files map[string][]byte, want []byte) {
	tb.Helper()
	want = disktest.Content(ovaDisk, 7)
	var vmdk bytes.Buffer
	if err := disktest.StreamOptimized(&vmdk, bytes.NewReader(want), ovaDisk, "web-disk1.vmdk", 1); err != nil {
		tb.Fatal(err)
	}
	files = map[string][]byte{"web.ovf": []byte(webOVF), "web-disk1.vmdk": vmdk.Bytes()}
	files["web.mf"] = fmt.Appendf(nil, "SHA256(web.ovf)= %x\nSHA256(web-disk1.vmdk)= %x\n", sha256.Sum256(files["web.ovf"]), sha256.Sum256(files["web-disk1.vmdk"]))
	return files, want
}

// tarred packs files as an OVA has them.
func tarred(tb testing.TB, format tar.Format, files map[string][]byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"._web.ovf", "web.ovf", "._web.mf", "web.mf", "web-disk1.vmdk"} {
		if _, ok := files[name]; !ok {
			continue
		}
		h := &tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644, Format: format}
		if format == tar.FormatPAX {
			h.PAXRecords = map[string]string{"esxodus.comment": strings.Repeat("x", 4000)}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// at writes an OVA, and returns it as a source.
func ovaAt(t *testing.T, b []byte) *Package {
	t.Helper()
	s := &Package{Path: filepath.Join(t.TempDir(), "web.ova")}
	if err := os.WriteFile(s.Path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// opened is the one disk of a package.
func opened(t *testing.T, s Files) (disk.Image, error) {
	t.Helper()
	h, err := s.Inventory(t.Context())
	if err != nil {
		return nil, err
	}
	vm := &h.VMs[0]
	if len(vm.Problems) > 0 || len(h.VMs) != 1 || vm.Name != "web" {
		return nil, fmt.Errorf("%d VMs, %q, problems %q", len(h.VMs), vm.Name, vm.Problems)
	}
	src := plan.Source{From: h.Name}
	img, end, err := s.OpenDisk(t.Context(), src.Origin(&vm.Disks[0], ""))
	if err == nil {
		t.Cleanup(func() { _ = end() })
	}
	return img, err
}

// TestPackage reads the same VM from an OVA in each kind of tar, from real tar's, and
// from its files in a directory.
func TestPackage(t *testing.T) {
	t.Parallel()
	files, want := exported(t)
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources := map[string]Files{}
	for name, format := range map[string]tar.Format{"ustar": tar.FormatUSTAR, "gnu": tar.FormatGNU, "pax": tar.FormatPAX} {
		sources[name] = ovaAt(t, tarred(t, format, files))
	}
	for _, format := range []string{"ustar", "gnu", "posix"} {
		out := filepath.Join(t.TempDir(), "web.ova")
		if b, err := exec.Command(fixtures.Tool(t, "tar"), "-C", dir, "--format="+format, "-cf", out, "./web.ovf", "./web-disk1.vmdk", "./web.mf").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		sources["tar "+format] = &Package{Path: out}
	}
	for name, at := range map[string]string{"an .ovf": filepath.Join(dir, "web.ovf"), "its directory": dir} {
		path, s, err := At(t.Context(), at)
		if err != nil || path != filepath.Join(dir, "web.ovf") {
			t.Fatalf("%s is at %s, %v", name, path, err)
		}
		sources[name] = s
	}
	for name, s := range sources {
		t.Run(name, func(t *testing.T) {
			img, err := opened(t, s)
			if err != nil {
				t.Fatal(err)
			}
			disktest.TestImage(t, img, want)
			if v, ok := img.(interface{ Versions() []string }); !ok || len(v.Versions()) != 1 {
				t.Error("it doesn't tell which state of the file it reads")
			}
		})
	}
}

// TestRepacked: what people pack again by hand has macOS' files beside its own, and a
// manifest of OpenSSL's, which is heeded like another one.
func TestRepacked(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"SHA256", "SHA2-256", "sha256"} {
		files, want := exported(t)
		files["._web.ovf"], files["._web.mf"] = []byte{0, 5, 22, 7}, []byte{0, 5, 22, 7}
		files["web.mf"] = bytes.ReplaceAll(files["web.mf"], []byte("SHA256"), []byte(kind))
		img, err := opened(t, ovaAt(t, tarred(t, tar.FormatUSTAR, files)))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		disktest.TestImage(t, img, want)
		files["web.ovf"] = append(files["web.ovf"], ' ')
		if _, err := opened(t, ovaAt(t, tarred(t, tar.FormatUSTAR, files))); !errors.Is(err, errPackage) || !strings.Contains(err.Error(), "isn't what the manifest says") {
			t.Errorf("%s: changed, %v", kind, err)
		}
	}
}

// TestQEMUImage reads what qemu-img writes, whose tables are at the front.
func TestQEMUImage(t *testing.T) {
	t.Parallel()
	files, want := exported(t)
	dir := t.TempDir()
	raw, out := filepath.Join(dir, "raw"), filepath.Join(dir, "web-disk1.vmdk")
	if err := os.WriteFile(raw, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(fixtures.Tool(t, "qemu-img"), "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	files["web-disk1.vmdk"] = b
	delete(files, "web.mf")
	img, err := opened(t, ovaAt(t, tarred(t, tar.FormatUSTAR, files)))
	if err != nil {
		t.Fatal(err)
	}
	disktest.TestImage(t, img, want)
}

// TestHostilePackage: whatever is in a package, what isn't whole or can be read in two
// ways is an error, and no file outside of it is opened.
func TestHostilePackage(t *testing.T) {
	t.Parallel()
	good, _ := exported(t)
	with := func(change func(map[string][]byte)) []byte {
		files := map[string][]byte{}
		for name, b := range good {
			files[name] = bytes.Clone(b)
		}
		change(files)
		return tarred(t, tar.FormatUSTAR, files)
	}
	whole := tarred(t, tar.FormatUSTAR, good)
	sparse := filepath.Join(t.TempDir(), "sparse.ova")
	holes := t.TempDir()
	for name, b := range good {
		if err := os.WriteFile(filepath.Join(holes, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(holes, "web-disk1.vmdk"), 64<<20); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(fixtures.Tool(t, "tar"), "-C", holes, "--sparse", "-cf", sparse, "web.ovf", "web-disk1.vmdk").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	sparseBytes, err := os.ReadFile(sparse)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		ova        []byte
	}{
		{"empty", "OVA", nil},
		{"no tar", "OVA", []byte(strings.Repeat("x", 4096))},
		{"gzip", "gunzip it", append([]byte("\x1f\x8b\x08\x00"), whole...)},
		{"cut short", "cut short", whole[:len(whole)-(100<<10)]},
		{"cut in a header", "OVA", whole[:700]},
		{"no descriptor", "no .ovf file", with(func(f map[string][]byte) { delete(f, "web.ovf") })},
		{"no disk", "no file", with(func(f map[string][]byte) { delete(f, "web-disk1.vmdk"); delete(f, "web.mf") })},
		{"one name twice", "two members", append(bytes.Clone(whole[:len(whole)-1024]), whole...)},
		{"a sparse member", "--sparse", sparseBytes},
		{"a disk that was changed", "isn't what the manifest says", with(func(f map[string][]byte) { f["web-disk1.vmdk"][70000] ^= 1 })},
		{"a descriptor that was changed", "isn't what the manifest says", with(func(f map[string][]byte) { f["web.ovf"] = bytes.Replace(f["web.ovf"], []byte("64"), []byte("65"), 1) })},
		{"a manifest that is none", "want SHA256(file)= digest", with(func(f map[string][]byte) { f["web.mf"] = []byte("MD5(web.ovf)= 00\n") })},
		{"two digests", "two digests", with(func(f map[string][]byte) { f["web.mf"] = append(f["web.mf"], "SHA1(web.ovf)= 00\n"...) })},
		{"a disk outside", "no file", with(func(f map[string][]byte) {
			f["web.ovf"] = bytes.Replace(f["web.ovf"], []byte("web-disk1.vmdk"), []byte("/etc/passwd"), 1)
			delete(f, "web.mf")
		})},
	}
	for _, tt := range tests {
		if _, err := opened(t, ovaAt(t, tt.ova)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}

// TestHostileOVF: a descriptor in a directory names files in it alone.
func TestHostileOVF(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	files, _ := exported(t)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(outside, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, href := range []string{"../" + filepath.Base(outside) + "/web-disk1.vmdk", filepath.Join(outside, "web-disk1.vmdk"), "..%2F" + filepath.Base(outside) + "%2Fweb-disk1.vmdk", "link.vmdk", "file://" + outside + "/web-disk1.vmdk"} {
		dir := filepath.Join(filepath.Dir(outside), "in"+filepath.Base(href))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "web.ovf"), []byte(strings.Replace(webOVF, "web-disk1.vmdk", href, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join(outside, "web-disk1.vmdk"), filepath.Join(dir, "link.vmdk"))
		if _, err := opened(t, &Package{Path: filepath.Join(dir, "web.ovf")}); err == nil {
			t.Errorf("%s was opened", href)
		}
	}
}

// TestManifestOfAll: each file of a disk is compared with its digest, under the name that
// it has beside the descriptor.
func TestManifestOfAll(t *testing.T) {
	t.Parallel()
	want := disktest.Content(ovaDisk, 7)
	for _, changed := range []string{"", "web disk.vmdk", "web disk-flat.vmdk"} {
		files := map[string][]byte{
			"web.ovf":            []byte(strings.Replace(webOVF, "web-disk1.vmdk", "web%20disk.vmdk", 1)),
			"web disk.vmdk":      []byte(disktest.Descriptor("monolithicFlat", "FLAT", "web disk-flat.vmdk", ovaDisk, 1, 0xffffffff, "")),
			"web disk-flat.vmdk": bytes.Clone(want),
		}
		var manifest []byte
		for name, b := range files {
			manifest = fmt.Appendf(manifest, "SHA256(%s)= %x\n", name, sha256.Sum256(b))
		}
		if changed != "" {
			files[changed][len(files[changed])-1] ^= 1
		}
		files["web.mf"] = manifest
		dir := t.TempDir()
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		img, err := opened(t, &Package{Path: filepath.Join(dir, "web.ovf")})
		if changed == "" {
			if err != nil {
				t.Fatal(err)
			}
			disktest.TestImage(t, img, want)
		} else if err == nil || !strings.Contains(err.Error(), changed+" isn't what the manifest says") && !strings.Contains(err.Error(), "web%20disk.vmdk isn't what the manifest says") {
			t.Errorf("%s was changed: %v", changed, err)
		}
	}
}

// TestManifestOnce: all of a disk's file is read for its digest once, and again when it
// was written to. An interrupt ends that.
func TestManifestOnce(t *testing.T) {
	t.Parallel()
	files, _ := exported(t)
	s := ovaAt(t, tarred(t, tar.FormatUSTAR, files))
	if _, err := opened(t, s); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), info.Size()/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(s.Path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, s); err != nil {
		t.Errorf("a file of the same state is read for its digest again: %v", err)
	}
	if err := os.Chtimes(s.Path, info.ModTime(), info.ModTime().Add(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, s); err == nil {
		t.Error("a file that was written to isn't compared with its digest")
	}
	stopped := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, _, err := s.OpenDisk(ctx, plan.Origin{Path: "web-disk1.vmdk"}); !errors.Is(err, stopped) {
		t.Errorf("an interrupt gives %v", err)
	}
}

// FuzzMembers: no tar makes it panic or read beyond the file.
func FuzzMembers(f *testing.F) {
	files, _ := exported(f)
	files["web-disk1.vmdk"] = files["web-disk1.vmdk"][:1024]
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatGNU, tar.FormatPAX} {
		f.Add(tarred(f, format, files))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := members(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for name, m := range all {
			if m.offset < 512 || m.size < 0 || m.offset+m.size > int64(len(b)) {
				t.Errorf("%q is said to be at %d+%d of %d", name, m.offset, m.size, len(b))
			}
			if _, err := io.ReadAll(io.NewSectionReader(bytes.NewReader(b), m.offset, m.size)); err != nil {
				t.Error(err)
			}
		}
	})
}
