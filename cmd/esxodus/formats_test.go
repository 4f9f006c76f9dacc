package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"esxodus/disk/disktest"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// odd is a disk of another format than flat: the files that it is made of, and what its
// VM sees.
type odd struct {
	file  string // the descriptor that the VM names
	write func(t *testing.T, dir string) []byte
}

// odds are a disk of each format that lies on VMFS.
func odds() []odd {
	hosted := func(subformat string) func(*testing.T, string) []byte {
		return func(t *testing.T, dir string) []byte {
			t.Helper()
			want := disktest.Content(5<<20, uint64(len(subformat)))
			raw := filepath.Join(t.TempDir(), "raw")
			if err := os.WriteFile(raw, want, 0o600); err != nil {
				t.Fatal(err)
			}
			fixtures.Run(t, fixtures.Tool(t, "qemu-img"), "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat="+subformat, raw, filepath.Join(dir, subformat+".vmdk"))
			return want
		}
	}
	return []odd{
		{"twoGbMaxExtentSparse.vmdk", hosted("twoGbMaxExtentSparse")},
		{"twoGbMaxExtentFlat.vmdk", hosted("twoGbMaxExtentFlat")},
		{"monolithicSparse.vmdk", hosted("monolithicSparse")},
		{"cowd-000002.vmdk", func(t *testing.T, dir string) []byte {
			t.Helper()
			return snapshots(t, dir, "cowd", "vmfsSparse", "VMFSSPARSE", "delta", 512, func(d disktest.Delta) []byte { return disktest.COWD(d, 512) })
		}},
		{"se-000002.vmdk", func(t *testing.T, dir string) []byte {
			t.Helper()
			return snapshots(t, dir, "se", "seSparse", "SESPARSE", "sesparse", 4096, disktest.SeSparse)
		}},
	}
}

// snapshots makes a disk with two snapshots, and returns what its VM sees.
func snapshots(t *testing.T, dir, name, createType, kind, suffix string, grain int64, write func(disktest.Delta) []byte) []byte {
	t.Helper()
	content := disktest.Content(5<<20, uint64(grain))
	put := func(file string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(len(content))
	put(name+"-flat.vmdk", content)
	put(name+".vmdk", []byte(disktest.Descriptor("vmfs", "VMFS", name+"-flat.vmdk", size, 1, 0xffffffff, "")))
	below := name
	for i := range 2 {
		content = bytes.Clone(content)
		d := disktest.Delta{Size: size, Read: func(g int64) []byte { return content[g*grain:][:grain] }}
		for _, g := range []int64{7, 3, 500, 501, int64(900 + i)} {
			copy(content[g*grain:][:grain], fmt.Sprint("snapshot ", i, " of grain ", g))
			d.Grains = append(d.Grains, g)
		}
		own := fmt.Sprintf("%s-%06d", name, i+1)
		put(own+"-"+suffix+".vmdk", write(d))
		put(own+".vmdk", []byte(disktest.Descriptor(createType, kind, own+"-"+suffix+".vmdk", size, uint32(i+2), uint32(i+1), below+".vmdk")))
		below = own
	}
	return content
}

// TestFormats converts a VM with a disk of each format, and two of one base name in two
// directories.
func TestFormats(t *testing.T) {
	t.Parallel()
	const vm = "formats"
	dir := fixtures.OpenDir(t)
	name := uniqueName(vm)
	home, beside := filepath.Join(dir, name), filepath.Join(dir, name, "beside")
	if err := fixtures.SmallGuest(home, name); err != nil {
		t.Fatal(err)
	}
	if err := fixtures.SmallGuest(beside, name+"-beside"); err != nil {
		t.Fatal(err)
	}
	disks := []map[string]string{{"at": "scsi0:0", "file": "small.vmdk"}, {"at": "scsi0:1", "file": "[datastore1] " + name + "/beside/small.vmdk"}}
	want := map[string][]byte{}
	for i, o := range odds() {
		at := fmt.Sprintf("scsi1:%d", i)
		want[at] = o.write(t, home)
		disks = append(disks, map[string]string{"at": at, "file": o.file})
	}
	if err := os.Remove(filepath.Join(beside, "vm.json")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"name": name, "memoryMiB": 64, "guestId": "debian12_64Guest", "tools": map[string]any{}, "disks": disks})
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "vm.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, esxi.Options{Dir: dir})
	l.vm = name
	t.Cleanup(func() { l.forget(name) })
	l.run(exitDone, l.convert("--no-proof")...)
	l.sameDisk("[datastore1] "+name+"/small-flat.vmdk", filepath.Join(l.storage(), name+"_scsi0-0"))
	l.sameDisk("[datastore1] "+name+"/beside/small-flat.vmdk", filepath.Join(l.storage(), name+"_scsi0-1"))
	for at, b := range want {
		target := filepath.Join(l.storage(), name+"_"+at[:5]+"-"+at[6:])
		if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: its %d bytes are not the %d that the VM sees: %v", at, len(got), len(b), err)
		}
	}
	l.untouched()
}
