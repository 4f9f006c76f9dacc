package part

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

// sfdiskTable is what sfdisk --json prints, in sectors.
type sfdiskTable struct {
	PartitionTable struct {
		Label, ID  string
		SectorSize int64
		Partitions []struct {
			Node, Type, UUID, Name, Attrs string
			Start, Size                   int64
			Bootable                      bool
		}
	}
}

// sfdiskEntries is what the oracle says of a disk.
func sfdiskEntries(t *testing.T, path string) (kind, id string, es []Entry) {
	t.Helper()
	var s sfdiskTable
	if err := json.Unmarshal([]byte(run(t, "", "sfdisk", "--json", path)), &s); err != nil {
		t.Fatal(err)
	}
	pt := s.PartitionTable
	kind, id = KindGPT, pt.ID
	if pt.Label == "dos" {
		kind, id = KindMBR, strings.TrimPrefix(pt.ID, "0x")
	}
	for _, p := range pt.Partitions {
		n, err := strconv.Atoi(strings.TrimPrefix(p.Node, path))
		if err != nil {
			t.Fatal(err)
		}
		typ := p.Type
		if len(typ) == 1 {
			typ = "0" + typ
		}
		es = append(es, Entry{
			Number: n, Offset: p.Start * 512, Length: p.Size * 512, Type: typ, GUID: p.UUID, Name: p.Name,
			Active: p.Bootable || strings.Contains(p.Attrs, "LegacyBIOSBootable"),
		})
	}
	return kind, id, es
}

// plain drops what sfdisk doesn't say.
func plain(es []Entry) []Entry {
	out := []Entry(nil)
	for _, e := range es {
		e.TypeName, e.Logical, e.Container, e.Flags = "", false, false, 0
		out = append(out, e)
	}
	return out
}

func TestReadAgainstSfdisk(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		size         int64
	}{
		{"mbr primary", "label: dos\nlabel-id: 0x1234abcd\n2048,8M,83,*\n,4M,82\n", 64 * mib},
		{"mbr four primary, out of order", "label: dos\n1: start=2048,size=2048,type=83\n2: start=20480,size=2048,type=8e\n3: start=10240,size=2048,type=7\n4: start=40960,size=2048,type=42\n", 64 * mib},
		{"mbr logical", "label: dos\n,8M,83,*\n,,5\n,4M,83\n,4M,82\n,8M,8e\n", 64 * mib},
		{"mbr logical, LBA container in the middle", "label: dos\n1: start=2048,size=8192,type=83\n3: start=16384,size=65536,type=f\n4: start=90112,size=4096,type=83\n5: start=18432,size=4096,type=8e\n6: start=24576,size=8192,type=83\n", 64 * mib},
		{"mbr empty container", "label: dos\n,8M,83\n,,5\n", 64 * mib},
		{"gpt", "label: gpt\n,1M,21686148-6449-6E6F-744E-656564454649\n,8M,U\nsize=8M,type=L,name=\"root ä 𝄞\",attrs=LegacyBIOSBootable\n,,V\n", 64 * mib},
		{"gpt with gaps in the numbers", "label: gpt\n3: size=4M,type=L\n7: size=4M,type=S\n128: size=4M,type=L\n", 64 * mib},
		{"gpt of 6 TiB", "label: gpt\n,3T,L\n,,L\n", 6 << 40},
		{"mbr of 2 TiB", "label: dos\n2048,4294965247,83\n", 2 << 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := blank(t, tt.size)
			run(t, tt.script, "sfdisk", "--quiet", path)
			kind, id, want := sfdiskEntries(t, path)
			got, err := Read(open(t, path))
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != kind || got.ID != id || got.SectorSize != 512 {
				t.Errorf("Read = %s %s of %d; want %s %s of 512", got.Kind, got.ID, got.SectorSize, kind, id)
			}
			if diff := cmp.Diff(want, plain(got.Entries)); diff != "" {
				t.Errorf("entries (-sfdisk +Read):\n%s", diff)
			}
			for _, e := range got.Entries {
				if e.TypeName == "" {
					t.Errorf("%v has no type name", e)
				}
				if want := kind == KindMBR && e.Number > 4; e.Logical != want {
					t.Errorf("%v: logical = %v; want %v", e, e.Logical, want)
				}
			}
		})
	}
}

func TestReadGPTBackup(t *testing.T) {
	path := blank(t, 64*mib)
	run(t, "", "sgdisk", "-n1:2048:+8M", "-t1:8300", "-c1:root", "-n2:0:0", "-t2:8200", path)
	img := open(t, path)
	want, err := Read(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		off  int64
	}{{"signature", 512}, {"checksum", 512 + 16}, {"an entry", 1024 + 60}} {
		t.Run(tt.name, func(t *testing.T) {
			old := make([]byte, 1)
			if _, err := img.ReadAt(old, tt.off); err != nil {
				t.Fatal(err)
			}
			if _, err := img.WriteAt([]byte{^old[0]}, tt.off); err != nil {
				t.Fatal(err)
			}
			got, err := Read(img)
			if err != nil || !got.Backup || len(got.Notes) != 1 {
				t.Fatalf("Read = %+v, %v; want the backup and a note", got, err)
			}
			if diff := cmp.Diff(want.Entries, got.Entries); diff != "" {
				t.Errorf("entries (-primary +backup):\n%s", diff)
			}
			if _, err := img.WriteAt(old, tt.off); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("both broken", func(t *testing.T) {
		for _, off := range []int64{512, img.size - 512} {
			if _, err := img.WriteAt([]byte("broken"), off); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Read(img)
		want := "neither GPT header can be used: primary: malformed gpt header at sector 1: no signature EFI PART; " +
			"backup: malformed gpt header at sector 131071: no signature EFI PART"
		if err == nil || err.Error() != want || !errors.Is(err, ErrFormat) {
			t.Errorf("Read: %v; want %s", err, want)
		}
	})
}

func TestReadHybrid(t *testing.T) {
	path := blank(t, 64*mib)
	run(t, "", "sgdisk", "-n1:2048:+8M", "-t1:8300", "-n2:0:0", "-h1", path)
	got, err := Read(open(t, path))
	if err != nil || got.Kind != KindGPT || !got.Hybrid || len(got.Entries) != 2 {
		t.Errorf("Read = %+v, %v; want a hybrid gpt of 2 entries", got, err)
	}
}

func TestReadGPT4K(t *testing.T) {
	// No tool writes 4096-byte sectors to a file; losetup -b needs root.
	path := blank(t, 64*mib)
	if os.Getuid() != 0 {
		t.Skip("needs root for losetup")
	}
	loop := strings.TrimSpace(run(t, "", "losetup", "--show", "-f", "-b", "4096", path))
	defer run(t, "", "losetup", "-d", loop)
	run(t, "label: gpt\n,8M,L\n,,S\n", "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", loop)
	got, err := Read(open(t, path))
	if err != nil || got.SectorSize != 4096 || len(got.Entries) != 2 || got.Entries[0].Length != 8*mib {
		t.Errorf("Read = %+v, %v; want 2 entries in sectors of 4096", got, err)
	}
}

// mbrBytes builds a master boot record of slots {active, type, start, count}.
func mbrBytes(slots ...[4]uint32) []byte {
	b := make([]byte, 512)
	for i, s := range slots {
		e := b[446+16*i:]
		e[0], e[4] = byte(s[0]), byte(s[1])
		for j := range 4 {
			e[8+j], e[12+j] = byte(s[2]>>(8*j)), byte(s[3]>>(8*j))
		}
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestReadHostile(t *testing.T) {
	at := func(size int, sectors map[int][]byte) memory {
		b := make([]byte, size)
		for s, data := range sectors {
			copy(b[s*512:], data)
		}
		return newMemory(b)
	}
	ebr := func(next uint32) []byte { return mbrBytes([4]uint32{0, 0x83, 1, 1}, [4]uint32{0, 5, next, 10}) }
	for _, tt := range []struct {
		name string
		img  memory
		err  string
	}{
		{
			"past the end", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 0x83, 2047, 2})}),
			"malformed partition table: partition 1 (type 83, bytes 1048064 to 1049088) goes beyond the disk of 1048576 bytes",
		},
		{
			"overlap", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 0x83, 100, 10}, [4]uint32{0, 0x82, 109, 10})}),
			"malformed partition table: partition 2 (type 82, bytes 55808 to 60928) overlaps partition 1 (type 83, bytes 51200 to 56320)",
		},
		{
			"chain to itself", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: ebr(10), 110: ebr(10)}),
			"malformed extended partition: the chain of logical partitions returns to sector 110",
		},
		{
			"chain back to the start", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: ebr(10), 110: ebr(0)}),
			"malformed extended partition: the chain of logical partitions returns to sector 100",
		},
		{
			"chain out of the container", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: ebr(500)}),
			"malformed extended partition: the record at sector 100 points to sector 600 outside of it",
		},
		{
			"container behind the end", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 5000, 100})}),
			"malformed extended partition: its boot record at sector 5000 is beyond the end of the disk",
		},
		{
			"container without record", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100})}),
			"malformed extended partition: no boot record at sector 100",
		},
		{
			"logical out of its container", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 0x83, 10, 200})}),
			"malformed extended partition: logical partition 5 (type 83, bytes 56320 to 158720) goes beyond its container, sectors 100 to 200",
		},
		{
			"two links", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 5, 10, 10}, [4]uint32{}, [4]uint32{0, 5, 20, 10}), 110: mbrBytes()}),
			"malformed extended partition: the record at sector 100 links to two others, at sectors 110 and 120",
		},
		{
			"no type, past the end", at(mib, map[int][]byte{0: mbrBytes([4]uint32{0, 0x83, 100, 10}, [4]uint32{0, 0, 2000, 100})}),
			"malformed partition table: partition 2 (type 00, bytes 1024000 to 1075200) goes beyond the disk of 1048576 bytes",
		},
		{"logical overlap", at(mib, map[int][]byte{
			0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 0x83, 1, 50}, [4]uint32{0, 5, 10, 50}), 110: mbrBytes([4]uint32{0, 0x83, 1, 5}),
		}), "malformed partition table: partition 6 (type 83, bytes 56832 to 59392) overlaps partition 5 (type 83, bytes 51712 to 77312)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(tt.img)
			if err == nil || err.Error() != tt.err || !errors.Is(err, ErrFormat) {
				t.Errorf("Read: %v\nwant: %s", err, tt.err)
			}
		})
	}
	t.Run("long chain", func(t *testing.T) {
		m := map[int][]byte{0: mbrBytes([4]uint32{0, 5, 1, 2000})}
		for i := range 200 {
			m[1+2*i] = mbrBytes([4]uint32{0, 0x83, 1, 1}, [4]uint32{0, 5, uint32(2 * (i + 1)), 2})
		}
		_, err := Read(at(2*mib, m))
		if want := "malformed extended partition: more than 128 logical partitions"; err == nil || err.Error() != want {
			t.Errorf("Read: %v; want %s", err, want)
		}
	})
}

// TestReadOdd has tables that no tool makes and Linux reads: what it calls a
// partition is one here, too (block/partitions/msdos.c).
func TestReadOdd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sectors map[int][]byte
		want    []string // number, first sector, length in sectors, type
	}{
		{"no type", map[int][]byte{0: mbrBytes([4]uint32{0, 0x83, 100, 10}, [4]uint32{0, 0, 200, 10}, [4]uint32{0, 0x83, 300, 0})}, []string{"1 100+10 83", "2 200+10 00"}},
		{"no types at all", map[int][]byte{0: mbrBytes([4]uint32{}, [4]uint32{0, 0, 200, 10})}, []string{"2 200+10 00"}},
		{"logical without type", map[int][]byte{0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 0, 10, 20})}, []string{"1 100+100 05", "5 110+20 00"}},
		{"four in a record", map[int][]byte{
			0:   mbrBytes([4]uint32{0, 5, 100, 100}),
			100: mbrBytes([4]uint32{0, 0x83, 10, 10}, [4]uint32{0, 5, 50, 50}, [4]uint32{0, 0x82, 20, 10}, [4]uint32{0, 0x83, 30, 10}),
			150: mbrBytes([4]uint32{0, 0x83, 1, 40}, [4]uint32{}, [4]uint32{0, 0x83, 41, 10}, [4]uint32{0, 0x83, 41, 9}),
		}, []string{"1 100+100 05", "5 110+10 83", "6 120+10 82", "7 130+10 83", "8 151+40 83", "9 191+9 83"}},
		{"garbage in slot 3", map[int][]byte{
			0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 0x83, 10, 10}, [4]uint32{}, [4]uint32{0, 0x20, 0x6f727245, 0x65746f67}),
		}, []string{"1 100+100 05", "5 110+10 83"}},
		{"the link first", map[int][]byte{
			0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{0, 5, 50, 50}), 150: mbrBytes([4]uint32{0, 0x83, 1, 10}),
		}, []string{"1 100+100 05", "5 151+10 83"}},
		{"a link in slot 4", map[int][]byte{
			0: mbrBytes([4]uint32{0, 5, 100, 100}), 100: mbrBytes([4]uint32{}, [4]uint32{}, [4]uint32{}, [4]uint32{0, 15, 50, 50}), 150: mbrBytes([4]uint32{0, 0x83, 1, 10}),
		}, []string{"1 100+100 05", "5 151+10 83"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := make([]byte, mib)
			for s, data := range tt.sectors {
				copy(b[s*512:], data)
			}
			table, err := Read(newMemory(b))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range table.Entries {
				got = append(got, fmt.Sprintf("%d %d+%d %s", e.Number, e.Offset/512, e.Length/512, e.Type))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("partitions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadNoTable(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want Table
	}{
		{"empty image", nil, Table{Kind: KindNone, SectorSize: 512}},
		{"zeros", make([]byte, mib), Table{Kind: KindNone, SectorSize: 512}},
		{"noise with 55 AA", append([]byte(strings.Repeat("x", 510)+"\x55\xaa"), make([]byte, mib)...), Table{Kind: KindNone, SectorSize: 512, BootCode: true}},
		{"empty mbr", append(mbrBytes(), make([]byte, mib)...), Table{Kind: KindMBR, SectorSize: 512, ID: "00000000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read(newMemory(tt.b))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("Read: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestReadWholeDiskFileSystems(t *testing.T) {
	for _, argv := range [][]string{
		{"mkfs.vfat", "-F32"}, {"mkfs.vfat", "-F16"}, {"mkfs.vfat", "--mbr=y", "-F32"}, {"mkfs.ntfs", "-q", "-F"}, {"mkfs.ext4", "-q"}, {"mkswap"},
	} {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			path := blank(t, 64*mib)
			run(t, "", append(argv, path)...)
			got, err := Read(open(t, path))
			if err != nil || got.Kind != KindNone || len(got.Entries) != 0 {
				t.Errorf("Read = %+v, %v; want no table", got, err)
			}
		})
	}
}

func TestReadFailure(t *testing.T) {
	_, err := Read(broken{size: mib})
	if !errors.Is(err, errBroken) || errors.Is(err, ErrFormat) {
		t.Errorf("Read: %v; want the cause and no ErrFormat", err)
	}
}

func FuzzReadMBR(f *testing.F) {
	f.Add(mbrBytes([4]uint32{0x80, 0x83, 1, 2}, [4]uint32{0, 5, 4, 8}), mbrBytes([4]uint32{0, 0x83, 1, 1}, [4]uint32{0, 5, 4, 4}))
	f.Add(mbrBytes([4]uint32{0, 0xee, 1, 100}), []byte("EFI PART"))
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		b := make([]byte, 64*512)
		copy(b, head)
		for i := 4; i < 64; i += 4 {
			copy(b[i*512:], rest)
		}
		m := newMemory(b)
		table, err := Read(m)
		if err == nil {
			checkTable(t, table, m.Size())
		}
		if len(*m.reads) > 2000 {
			t.Errorf("%d reads", len(*m.reads))
		}
	})
}

// checkTable holds what a Table without an error promises.
func checkTable(t *testing.T, table Table, size int64) {
	t.Helper()
	for _, e := range table.Entries {
		if e.Offset < 0 || e.Length <= 0 || e.Offset+e.Length > size || e.Number < 1 {
			t.Errorf("%v on a disk of %d bytes", e, size)
		}
	}
}

// gptBytes is a disk of 1 MiB with a protective MBR, the given header in
// sector 1 and entries in sector 2, all checksums made right, so that the
// fuzzer gets past them.
func gptBytes(header, entries []byte) []byte {
	b := make([]byte, mib)
	copy(b, mbrBytes([4]uint32{0, 0xee, 1, mib/512 - 1}))
	h := b[512:1024]
	copy(h, header)
	copy(b[1024:], entries)
	le := binary.LittleEndian
	le.PutUint64(h[24:], 1)
	le.PutUint64(h[72:], 2)
	if n := int64(le.Uint32(h[80:])) * int64(le.Uint32(h[84:])); n >= 0 && n <= int64(len(b)-1024) {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(b[1024:1024+n]))
	}
	if n := le.Uint32(h[12:]); n >= 20 && n <= 512 {
		clear(h[16:20])
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:n]))
	}
	return b
}

func FuzzReadGPT(f *testing.F) {
	header := make([]byte, 92)
	copy(header, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
	header[80], header[84] = 4, 128
	entries := make([]byte, 512)
	for i, se := range [][2]byte{{40, 50}, {51, 60}} {
		copy(entries[128*i:], "some type's GUIDits own GUID....")
		entries[128*i+32], entries[128*i+40], entries[128*i+56] = se[0], se[1], 'n'
	}
	f.Add(header, entries)
	f.Fuzz(func(t *testing.T, header, entries []byte) {
		m := newMemory(gptBytes(header, entries))
		table, err := Read(m)
		if err == nil {
			checkTable(t, table, m.Size())
		}
		if len(*m.reads) > 20 {
			t.Errorf("%d reads", len(*m.reads))
		}
	})
}
