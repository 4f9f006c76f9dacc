package vmdk

import (
	"path/filepath"
	"slices"
	"testing"

	"esxodus/fixtures"
)

// A grain that isn't there is the parent's; one that says it is zeros isn't.
func TestPresence(t *testing.T) {
	const grain = 64 << 10
	path := filepath.Join(t.TempDir(), "x.vmdk")
	fixtures.Run(t, fixtures.Tool(t, "qemu-img"), "create", "-f", "vmdk", "-o", "zeroed_grain=on", path, "64M")
	fixtures.Run(t, fixtures.Tool(t, "qemu-io"), "-f", "vmdk", "-c", "write -P 1 64k 64k", "-c", "write -P 1 128k 64k", "-c", "write -z 128k 64k", path)
	m, err := Open(DirOpener(filepath.Dir(path)), "x.vmdk")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var got []run
	for r, err := range m.parts[0].data.runs(0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	want := []run{
		{0, grain, absent},
		{grain, 2 * grain, data},
		{2 * grain, 3 * grain, zero},
		{3 * grain, 32 << 20, absent}, // the first grain table's end
		{32 << 20, 64 << 20, absent},
	}
	if !slices.Equal(got, want) {
		t.Errorf("runs = %+v; want %+v", got, want)
	}
}
