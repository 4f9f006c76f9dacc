package xfs

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"esxodus/disk/disktest"
)

// faults opens an image and returns what Faults says of it.
func faults(tb testing.TB, path string) (found, refused []string) {
	tb.Helper()
	fsys, _, _ := openImage(tb, path)
	found, refused, err := fsys.Faults()
	if err != nil {
		tb.Fatal(err)
	}
	return found, refused
}

// repairSays has xfs_repair -n look at an image, and reports whether it complains.
func repairSays(tb testing.TB, path string) bool {
	tb.Helper()
	cmd := exec.Command(tool(tb, "xfs_repair"), "-n", path)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 1 {
		tb.Fatalf("xfs_repair -n: status %d, %v: %s", code, err, out)
	}
	return err != nil
}

// db changes fields of an image. Their checksums are made right.
func db(tb testing.TB, path string, commands ...string) {
	tb.Helper()
	argv := []string{"xfs_db", "-x"}
	for _, c := range commands {
		argv = append(argv, "-c", c)
	}
	run(tb, append(argv, path)...)
}

// field reads a number.
func field(tb testing.TB, path, where, name string) (n int64) {
	tb.Helper()
	text := run(tb, "xfs_db", "-r", "-c", where, "-c", "print "+name, path)
	if _, err := fmt.Sscanf(text, name+" = %d", &n); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return n
}

// TestFaults damages what mkfs.xfs made with xfs_db. What is found, xfs_repair
// complains of too.
func TestFaults(t *testing.T) {
	plus := func(where, name string, n int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db(t, path, where, fmt.Sprintf("write -d %s %d", name, field(t, path, where, name)+n))
		}
	}
	tests := []struct {
		name   string
		v4     bool // too
		damage func(t *testing.T, path string)
		found  string // what one of them begins with, of version 5
		refuse string
	}{
		{"none", true, func(*testing.T, string) {}, "", ""},
		{"one block too many", true, plus("agf 1", "freeblks", 1), "allocation group 1: it counts ", ""},
		{"one block too many, as the superblock has it", true, func(t *testing.T, path string) {
			t.Helper()
			plus("agf 1", "freeblks", 1)(t, path)
			plus("sb 0", "fdblocks", 1)(t, path)
		}, "allocation group 1: it counts ", ""},
		{"no tree of free space", true, func(t *testing.T, path string) {
			t.Helper()
			db(t, path, "agf 0", "addr bnoroot", "write -d level 3")
		}, "allocation group 0: block 1 of its tree of free space makes no sense", ""},
		{"fewer than its longest run", true, plus("agf 1", "freeblks", -1), "", "allocation group 1: it counts "},
		{"inodes of a group", true, plus("agi 0", "count", 64), "it counts 128 inodes, but its allocation groups count 192", ""},
		{"free inodes in all", true, plus("sb 0", "ifree", -1), "it counts 64 free inodes, but its allocation groups count 65", ""},
		{"spare blocks of an old kernel", false, oldSpares, "allocation group 0: it counts 4 spare blocks (AGFL), but lists 5, as kernels before 4.5 did", ""},
		{"spare blocks that are none", true, func(t *testing.T, path string) {
			t.Helper()
			db(t, path, "agfl 1", "write -d bno[2] 4294967295")
		}, "allocation group 1: its spare blocks (AGFL) include block 4294967295 of ", ""},
		{"spare blocks beyond the end", true, plus("agf 1", "fllast", 1000), "allocation group 1: its 4 spare blocks (AGFL) are in slots 1 to 1004 of ", ""},
		{"no header", true, plus("agf 1", "magicnum", 1), "", "allocation group 1: the header of its free space (AGF) makes no sense: its signature is wrong"},
		{"header of another group", true, plus("agi 1", "seqno", 1), "", "allocation group 1: the header of its inodes (AGI) makes no sense: it belongs to group 2"},
		{"length of a group", true, plus("agf 0", "length", -1), "", "allocation group 0: the header of its free space (AGF) makes no sense: "},
		{"more free than there is", true, plus("agf 0", "freeblks", 1<<20), "", "allocation group 0: it counts "},
		{"checksum", false, func(t *testing.T, path string) {
			t.Helper()
			db(t, path, "agi 1", "write -c newino 5")
		}, "", "allocation group 1: the header of its inodes (AGI) makes no sense: malformed xfs file system: the checksum "},
	}
	for _, tt := range tests {
		for _, version := range []string{"crc=1", "crc=0"} {
			if version == "crc=0" && !tt.v4 {
				continue
			}
			t.Run(tt.name+" "+version, func(t *testing.T) {
				path := mkfs(t, 64*mib, "-m", version, "-d", "agcount=2", "-p", disktest.XFSProto(t, plainTree(t, 1)))
				tt.damage(t, path)
				found, refused := faults(t, path)
				for _, c := range []struct {
					what string
					got  []string
					want string
				}{{"faults", found, tt.found}, {"refused", refused, tt.refuse}} {
					if len(c.got) > 0 != (c.want != "") || len(c.got) > 0 && !strings.HasPrefix(c.got[0], c.want) {
						t.Errorf("%s: %q; want %q", c.what, c.got, c.want)
					}
				}
				if says := repairSays(t, path); says != (tt.found+tt.refuse != "") {
					t.Errorf("xfs_repair complains: %v", says)
				}
			})
		}
	}
}

// oldSpares moves the spare blocks of group 0 to where a kernel before 4.5 would
// have them, whose ring has one slot less, once it goes beyond the end.
func oldSpares(t *testing.T, path string) {
	t.Helper()
	const slots = 118
	commands := []string{"agfl 0"}
	first := field(t, path, "agf 0", "flfirst")
	for i := range int64(4) {
		b := field(t, path, "agfl 0", fmt.Sprintf("bno[%d]", first+i))
		commands = append(commands, fmt.Sprintf("write -d bno[%d] %d", (slots-2+i)%slots, b))
	}
	commands = append(commands, "write -d bno[118] 4294967295", "agf 0", fmt.Sprintf("write -d flfirst %d", slots-2), "write -d fllast 1")
	db(t, path, commands...)
}

// TestFaultsStored: what kernels of either version have unmounted is sound, and
// nothing in the headers of a group makes Faults read much.
func TestFaultsStored(t *testing.T) {
	for _, version := range []string{"v4", "v4-small-blocks", "v5"} {
		m := &memory{b: storedImage(t, version)}
		fsys, err := Open(m, int64(len(m.b)))
		if err != nil {
			t.Fatal(err)
		}
		at, most := fsys.sectorSize, maxTree*fsys.blockSize+maxGroups*3*fsys.sectorSize
		look := func() bool {
			before := m.bytes
			found, refused, err := fsys.Faults()
			if err != nil || m.bytes-before > most {
				t.Fatalf("%s: %v; %d bytes were read", version, err, m.bytes-before)
			}
			return len(found)+len(refused) > 0
		}
		if look() {
			t.Errorf("%s: faults; want none", version)
		}
		sound := slices.Clone(m.b[:4*at])
		seen := map[bool]int{}
		for i := at; i < 4*at; i++ {
			for _, value := range []byte{0, 0x80, 0xff} {
				if m.b[i] = value; fsys.version == 5 {
					for n, sum := range map[int64]int{1: spaceSum, 2: inodeSum, 3: spareSum} {
						seal(m.b[n*at:(n+1)*at], sum)
					}
				}
				seen[look()]++
				copy(m.b, sound)
			}
		}
		if seen[true] == 0 || seen[false] == 0 {
			t.Errorf("%s: changes that have faults: %v", version, seen)
		}
	}
}

// TestFaultsBefore: with a log that is to be replayed only the superblock says
// something.
func TestFaultsBefore(t *testing.T) {
	b := storedImage(t, "v5")
	b[219] |= incompatNeedsRepair
	seal(b[:512], 224)
	clear(b[512 : 4*512])
	fsys, err := Open(&memory{b: b}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	fsys.dirty = true
	found, refused, err := fsys.Faults()
	if err != nil || len(found) > 0 || !slices.Equal(refused, []string{"it is marked as needing xfs_repair"}) {
		t.Errorf("Faults = %q, %q, %v; want the mark", found, refused, err)
	}
}
