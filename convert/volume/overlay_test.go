package volume

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/host"
	"esxodus/disk"
	"esxodus/fixtures"
)

// passable is a directory that QEMU's user can pass, which t.TempDir is not.
func passable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "esxodus-host-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOverlays(t *testing.T) {
	fixtures.Tool(t, "qemu-img")
	base := filepath.Join(passable(t), `Büro's "disk" 100%, a=b.raw`)
	if err := os.WriteFile(base, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(base, 1<<20); err != nil {
		t.Fatal(err)
	}
	testOverlay(t, base, 1<<20)
	if b, err := os.ReadFile(base); err != nil || len(b) != 1<<20 || !strings.HasPrefix(string(b), "content\x00") {
		t.Errorf("the base is now %.10q (%d bytes), %v", b, len(b), err)
	}
}

// TestOverlaid: what an overlay holds is what merging it changes in its base: data, and
// zeros over data.
func TestOverlaid(t *testing.T) {
	fixtures.Tool(t, "qemu-img")
	const size, cluster = 4 << 20, 64 << 10
	work := passable(t)
	base, dir := filepath.Join(work, `Büro's "disk" 100%, a=b.raw`), filepath.Join(work, "guest")
	was := bytes.Repeat([]byte("x"), size)
	if err := os.WriteFile(base, was, 0o600); err != nil {
		t.Fatal(err)
	}
	paths, err := Overlays(t.Context(), host.Tool{}, dir, []string{base})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Overlaid(t.Context(), host.Tool{}, dir, 0); err != nil || len(got) > 0 {
		t.Errorf("Overlaid of an empty overlay = %v, %v; want nothing", got, err)
	}
	if _, err := (host.Tool{}).Run(t.Context(), "qemu-io", "-f", "qcow2", "-c", "write -P 1 1M 512", "-c", "write -z 2M 64k", "-c", "write -P 2 3M 1M", paths[0]); err != nil {
		t.Fatal(err)
	}
	want := []disk.Range{{Offset: 1 << 20, Length: cluster}, {Offset: 2 << 20, Length: cluster}, {Offset: 3 << 20, Length: 1 << 20}}
	for _, when := range []string{"before the merge", "after it"} {
		if got, err := Overlaid(t.Context(), host.Tool{}, dir, 0); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s Overlaid = %v, %v; want %v", when, got, err, want)
		}
		if err := MergeOverlays(t.Context(), host.Tool{}, dir); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range want {
		copy(was[r.Offset:r.Offset+r.Length], now[r.Offset:])
	}
	if !bytes.Equal(now, was) {
		t.Error("the merge changed more than that")
	}
	if _, err := Overlaid(t.Context(), host.Tool{}, dir, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Overlaid of no overlay = %v; want %v", err, os.ErrNotExist)
	}
}

// testOverlay makes two overlays over a base and removes them.
func testOverlay(t *testing.T, base string, size int64) {
	t.Helper()
	dir := filepath.Join(passable(t), "proof")
	paths, err := Overlays(t.Context(), host.Tool{}, dir, []string{base, base})
	if err != nil || len(paths) != 2 {
		t.Fatalf("Overlays = %q, %v", paths, err)
	}
	for _, p := range paths {
		out, err := host.Tool{}.Run(t.Context(), "qemu-img", "info", "--output=json", p)
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Size    int64  `json:"virtual-size"`
			Format  string `json:"format"`
			Base    string `json:"full-backing-filename"`
			BaseFmt string `json:"backing-filename-format"`
		}
		if err := json.Unmarshal(out, &info); err != nil {
			t.Fatal(err)
		}
		if info.Size != size || info.Format != "qcow2" || info.Base != base || info.BaseFmt != "raw" {
			t.Errorf("overlay = %+v, want %d bytes over %q", info, size, base)
		}
	}
	if _, err := Overlays(t.Context(), host.Tool{}, dir, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("Overlays in a directory that is there = %v", err)
	}
	if err := os.WriteFile(OverlayNVRAM(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := RemoveOverlays(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after RemoveOverlays: %v", dir, err)
	}
}

func TestOverlaysFail(t *testing.T) {
	fixtures.Tool(t, "qemu-img")
	dir := passable(t)
	base := filepath.Join(dir, "base.raw")
	if err := os.WriteFile(base, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir string
		bases     []string
		err       string
	}{
		{"no base", dir + "/p", []string{base, dir + "/none"}, "overlay over " + dir + "/none: qemu-img: exit status 1: "},
		{"relative base", dir + "/p", []string{"base.raw"}, "want an absolute path"},
		{"json as a base", dir + "/p", []string{`json:{"driver":"file"}`}, "want an absolute path"},
		{"long base", dir + "/p", []string{"/" + strings.Repeat("x", 1023)}, "at most 1023 bytes"},
		{"no parent", dir + "/none/p", []string{base}, "directory for overlays: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Overlays(t.Context(), host.Tool{}, tt.dir, tt.bases); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Overlays = %v, want %q", err, tt.err)
			}
			if _, err := os.Stat(tt.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", tt.dir, err)
			}
		})
	}
	if err := CheckOverlays(closed + "/p"); err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed) {
		t.Errorf("CheckOverlays below a directory that is closed = %v, want chmod o+x", err)
	}
	other := filepath.Join(closed, "precious")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveOverlays(closed); err == nil {
		t.Error("RemoveOverlays removed a directory that holds another's file")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
