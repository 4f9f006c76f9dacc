package lilo

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
)

// TestLoaderIsItsSource assembles the loader again.
func TestLoaderIsItsSource(t *testing.T) {
	fixtures.Tool(t, "nasm")
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "../../scripts/loader.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("loader.sh: %v\n%s", err, out)
	}
	for name, committed := range map[string]string{"stage1.bin": stage1, "stage2.bin": stage2} {
		made, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(made) != committed {
			t.Errorf("loader/%s isn't what its source gives: run scripts/loader.sh", name)
		}
	}
}

// TestLoaderFits checks what the encoder relies on.
func TestLoaderFits(t *testing.T) {
	if len(stage1) != SectorSize || stage1[510:] != "\x55\xaa" {
		t.Errorf("stage 1 has %d bytes; want a boot sector", len(stage1))
	}
	if rest := stage1[bootCodeEnd:510]; rest != string(make([]byte, len(rest))) {
		t.Errorf("bytes %d to 509 of stage 1 are % x; want zeros", bootCodeEnd, rest)
	}
	if n := len(overlay()); n == 0 || n > maxOverlay || n%SectorSize != 0 {
		t.Errorf("overlay of %d bytes; want whole sectors, at most %d bytes", n, maxOverlay)
	}
}

// TestBootSector checks that the partition table is empty whatever the map.
func TestBootSector(t *testing.T) {
	d := newTestDisk(4096)
	mapFile, lbas := d.install(t, testMenu(t, d), true)
	for i := range lbas {
		lbas[i] |= 0xffffff << 24
	}
	b, err := BootSector(mapFile, lbas, true)
	if err != nil || !bytes.Equal(b[bootCodeEnd:510], make([]byte, 510-bootCodeEnd)) {
		t.Errorf("BootSector = % x, %v; want zeros from %d on", b[bootCodeEnd:], err, bootCodeEnd)
	}
	for _, tt := range []struct {
		mapFile []byte
		lbas    []uint64
	}{{nil, nil}, {mapFile, lbas[1:]}, {mapFile[512:], lbas[1:]}, {mapFile[:512], lbas[:1]}} {
		if _, err := BootSector(tt.mapFile, tt.lbas, false); err == nil {
			t.Errorf("BootSector of %d bytes in %d sectors: no error", len(tt.mapFile), len(tt.lbas))
		}
	}
}

func TestSetOneShot(t *testing.T) {
	d := newTestDisk(4096)
	m := testMenu(t, d)
	b, _ := d.install(t, m, true)
	for _, line := range []string{"", "LinuxOLD", string(bytes.Repeat([]byte("x"), MaxLine))} {
		sector, err := SetOneShot(b[:SectorSize], line)
		if err != nil {
			t.Fatal(err)
		}
		copy(b[OneShotIndex*SectorSize:], sector[:])
		got, err := Decode(b)
		if err != nil || got.OneShot != line || got.OneShotTyped {
			t.Errorf("after SetOneShot(%q): %v, %v", line, got, err)
		}
	}
	for _, line := range []string{"Linux\n", "Línux", string(bytes.Repeat([]byte("x"), MaxLine+1))} {
		if _, err := SetOneShot(b[:SectorSize], line); err == nil {
			t.Errorf("SetOneShot(%q): no error", line)
		}
	}
	older := bytes.Clone(b[:SectorSize])
	older[len(headerMagic)-1]--
	if _, err := SetOneShot(older, "Linux"); !errors.Is(err, ErrMap) || !strings.Contains(err.Error(), "another version of the loader") {
		t.Errorf("SetOneShot of an older map: %v", err)
	}
	b[200]++
	if _, err := SetOneShot(b[:SectorSize], "Linux"); err == nil {
		t.Errorf("SetOneShot of a damaged map: no error")
	}
}
