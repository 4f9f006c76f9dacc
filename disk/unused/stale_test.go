package unused

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
)

// put writes bytes at an offset of a disk.
func put(t *testing.T, path string, at int64, b string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(b), at); err != nil {
		t.Fatal(err)
	}
}

// mbrSlot is one of the four descriptions in an MBR, in sectors.
func mbrSlot(kind byte, start, count uint32) string {
	b := make([]byte, 16)
	b[4] = kind
	binary.LittleEndian.PutUint32(b[8:], start)
	binary.LittleEndian.PutUint32(b[12:], count)
	return string(b)
}

// TestFindForeignTable: where another table than the disk's own says what lies where, all
// counts as used.
func TestFindForeignTable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		table string // four slots from byte 446 on
		why   string
	}{
		// boot1 of FreeBSD, on a disk that is "dangerously dedicated": whatever its size, the
		// table has one slice of 50,000 sectors that begins at sector 0.
		"FreeBSD's, dedicated": {strings.Repeat("\x00", 48) + mbrSlot(0xa5, 0, 50000), "begins at the disk's first sector"},
		"one from sector 0":    {mbrSlot(0x83, 0, 20480), "begins at the disk's first sector"},
		// The bounds of OpenBSD's part of the disk are in its own label (disklabel -E, b).
		"OpenBSD's": {mbrSlot(0xa6, 64, 20480), "a label of its own"},
		"NetBSD's":  {mbrSlot(0x83, 2048, 2048) + mbrSlot(0xa9, 8192, 20480), "a label of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := blank(t, 60*mib)
			zero(t, path, 0, 4096)
			put(t, path, 446, tt.table)
			put(t, path, 510, "\x55\xaa")
			found := find(t, path)
			if n := found.Masks[0].Unused(); n != 0 || len(found.Spaces) != 1 || !strings.Contains(found.Spaces[0].Why, tt.why) {
				t.Errorf("%d bytes unused, %+v; want none: %q", n, found.Spaces, tt.why)
			}
		})
	}
}
