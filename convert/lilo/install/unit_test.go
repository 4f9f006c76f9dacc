package install

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
	"esxodus/fixtures"
)

// fakeSys makes a sysfs of devices; files maps a path below /sys/devices to
// its content, and each directory with a file "dev" gets its link.
func fakeSys(t *testing.T, files map[string]string) *System {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/dev/block", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, "devices", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) == "dev" {
			if err := os.Symlink("../../devices/"+filepath.Dir(name), dir+"/dev/block/"+content); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &System{Sys: root}
}

const vda = "pci0000:00/0000:00:04.0/virtio1/block/vda"

func guest() map[string]string {
	return map[string]string{
		vda + "/dev": "254:0", vda + "/size": "100000", vda + "/queue/logical_block_size": "512", vda + "/uevent": "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk",
		vda + "/vda1/dev": "254:1", vda + "/vda1/partition": "1", vda + "/vda1/start": "2048", vda + "/vda1/size": "4096",
		"pci0000:00/0000:00:05.0/virtio2/host2/target2:0:0/2:0:0:0/block/sda/dev": "8:0", "pci0000:00/0000:00:05.0/virtio2/host2/target2:0:0/2:0:0:0/block/sda/size": "8589934592",
		"pci0000:00/0000:00:05.0/virtio2/host2/target2:0:0/2:0:0:0/block/sda/queue/logical_block_size": "4096",
		"virtual/block/dm-0/dev": "253:0", "virtual/block/dm-0/dm/name": "vg--a-boot", "virtual/block/dm-0/dm/uuid": "LVM-abc",
		"virtual/block/dm-1/dev": "253:1", "virtual/block/dm-1/dm/name": "crypt", "virtual/block/dm-1/dm/uuid": "CRYPT-LUKS2-x",
		"virtual/block/dm-2/dev": "253:2", "virtual/block/dm-2/dm/name": "vg--a-loop", "virtual/block/dm-2/dm/uuid": "LVM-loop",
		"virtual/block/md0/dev": "9:0", "virtual/block/md0/md/level": "raid1",
		"virtual/block/zram0/dev": "251:0", "virtual/block/loop0/dev": "7:0", "virtual/block/loop0/size": "64", "virtual/block/loop0/queue/logical_block_size": "512",
	}
}

func testMapper(t *testing.T) *mapper {
	t.Helper()
	m := newMapper(fakeSys(t, guest()), Unknown)
	m.tables = func(d device) ([]target, error) {
		return map[device][]target{
			{253, 0}: {{0, 1000, "linear", "254:0 2048"}, {1000, 500, "linear", "254:0 90000"}},
			{253, 1}: {{0, 1000, "crypt", "aes"}},
			{253, 2}: {{0, 1000, "linear", "253:2 0"}},
		}[d], nil
	}
	return m
}

func TestVolume(t *testing.T) {
	m := testMapper(t)
	for _, tt := range []struct {
		name  string
		dev   device
		want  string // name, group, pieces
		wrong string
	}{
		{"disk", device{254, 0}, "/dev/vda [] 0+100000 at 0 of /dev/vda", ""},
		{"partition", device{254, 1}, "/dev/vda1 [] 0+4096 at 2048 of /dev/vda", ""},
		{"logical volume", device{253, 0}, "/dev/mapper/vg--a-boot [vg-a] 0+1000 at 2048 of /dev/vda 1000+500 at 90000 of /dev/vda", ""},
		{"encrypted", device{253, 1}, "", `/dev/mapper/crypt: sectors 0 to 999 are mapped by "crypt"`},
		{"upon itself", device{253, 2}, "", "more than 8 devices on top of each other"},
		{"RAID", device{9, 0}, "", "md0 is a RAID array of md"},
		{"RAM", device{251, 0}, "", "/dev/zram0 is not a disk that a BIOS could boot from"},
		{"loop device", device{7, 0}, "/dev/loop0 [] 0+64 at 0 of /dev/loop0", ""},
		{"none", device{8, 99}, "", "block device 8:99 in /sys/dev/block"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := m.volume(tt.dev)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("volume = %v, %v; want error %q", v, err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s [%s]", v.name, v.group)
			for _, p := range v.pieces {
				got += fmt.Sprintf(" %d+%d at %d of %s", p.start, p.count, p.lba, p.disk)
			}
			if got != tt.want {
				t.Errorf("volume = %s; want %s", got, tt.want)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	m := testMapper(t)
	sda, err := m.volume(device{8, 0})
	if err != nil {
		t.Fatal(err)
	}
	disk := *sda.pieces[0].disk
	if disk.bus != SCSI || disk.block != 4096 {
		t.Fatalf("sda is %+v; want SCSI with sectors of 4096 bytes", disk)
	}
	err = m.reachable(&mapped{disk: &disk})
	if err == nil || !strings.Contains(err.Error(), "logical sectors of 4096 bytes") {
		t.Errorf("a 4Kn disk: %v", err)
	}
	disk.block = 512
	for _, tt := range []struct {
		run  run
		bus  Bus
		want bool
	}{
		{run{1<<32 - 8, 8}, Unknown, true},
		{run{1<<32 - 7, 8}, Unknown, false},
		{run{1 << 33, 8}, Unknown, false},
		{run{1 << 33, 8}, SCSI, false},
		{run{1 << 33, 8}, Virtio, true},
		{run{1 << 33, 8}, ATA, true},
		{run{1 << 33, 8}, NVMe, true},
	} {
		m.bus = tt.bus
		if err := m.reachable(&mapped{disk: &disk, runs: []run{tt.run}}); (err == nil) != tt.want {
			t.Errorf("sectors %v of a SCSI disk, to be booted by %q: %v; want ok: %v", tt.run, tt.bus, err, tt.want)
		}
	}
}

func TestBusOf(t *testing.T) {
	for dir, want := range map[string]Bus{
		"devices/" + vda: Virtio,
		"devices/pci0000:00/0000:00:05.0/virtio2/host2/target2:0:0/2:0:0:0/block/sda": SCSI,
		"devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda":    ATA,
		"devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1":                          NVMe,
		"devices/pci0000:00/0000:03:00.0/host0/target0:0:0/0:0:0:0/block/sda":         SCSI,
		"devices/virtual/block/loop0":                                                 Unknown,
	} {
		if got := busOf(dir); got != want {
			t.Errorf("busOf(%s) = %q; want %q", dir, got, want)
		}
	}
}

func TestGroupOf(t *testing.T) {
	for name, want := range map[string]string{"vg-lv": "vg", "gB--vg-boot": "gB-vg", "a----b-c--d": "a--b", "vg": "vg", "x-": "x", "vg--": "vg-"} {
		if got := groupOf(name); got != want {
			t.Errorf("groupOf(%q) = %q; want %q", name, got, want)
		}
	}
}

func TestSectorRuns(t *testing.T) {
	ext := func(logical, physical, length uint64, flags uint32) extent {
		return extent{logical, physical, length, flags}
	}
	for _, tt := range []struct {
		name    string
		extents []extent
		size    int64
		want    string
	}{
		{"one", []extent{ext(0, 4096, 8192, extentLast)}, 8192, "[{8 16}]"},
		{"less than its block", []extent{ext(0, 4096, 4096, 0)}, 513, "[{8 2}]"},
		{"merged", []extent{ext(0, 4096, 1024, 0), ext(1024, 5120, 1024, 0)}, 2048, "[{8 4}]"},
		{"in pieces", []extent{ext(0, 4096, 1024, 0), ext(1024, 9216, 1024, 0)}, 2000, "[{8 2} {18 2}]"},
		{"reserved behind the end", []extent{ext(0, 4096, 1024, 0), ext(1024, 5120, 4096, extentUnwritten)}, 1024, "[{8 2}]"},
		{"hole at the start", []extent{ext(1024, 4096, 1024, 0)}, 2048, "[zeros 2, {8 2}]"},
		{"hole", []extent{ext(0, 4096, 1024, 0), ext(2048, 9216, 1024, 0)}, 3072, "[{8 2} zeros 2, {18 2}]"},
		{"hole at the end", []extent{ext(0, 4096, 1024, 0)}, 1025, "[{8 2} zeros 1,]"},
		{"hole behind one that was reserved", []extent{ext(0, 4096, 1024, extentUnwritten)}, 2048, "[zeros 4,]"},
		{"no extents", nil, 1, "[zeros 1,]"},
		{"out of order", []extent{ext(0, 4096, 1024, 0), ext(512, 9216, 1024, 0)}, 3072, "its blocks overlap at byte 512"},
		{"inline", []extent{ext(0, 0, 60, extentInline|extentUnaligned|extentLast)}, 60, "kept in its inode"},
		{"unwritten", []extent{ext(0, 4096, 4096, extentUnwritten)}, 4096, "[zeros 8,]"},
		{"delayed", []extent{ext(0, 0, 4096, extentDelalloc|extentUnknown)}, 4096, "no place on the disk yet"},
		{"compressed", []extent{ext(0, 4096, 4096, extentEncoded)}, 4096, "compressed"},
		{"encrypted", []extent{ext(0, 4096, 4096, extentEncrypted|extentEncoded)}, 4096, "encrypted"},
		{"tail", []extent{ext(0, 4096, 4096, extentTail)}, 4096, "shares a block"},
		{"unknown", []extent{ext(0, 4096, 4096, extentUnknown)}, 4096, "no known place"},
		{"not in sectors", []extent{ext(0, 4100, 4096, 0)}, 4096, "not in whole sectors"},
		{"empty extent", []extent{ext(0, 4096, 0, 0)}, 4096, "not in whole sectors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runs, err := sectorRuns(tt.extents, tt.size)
			got := strings.NewReplacer(fmt.Sprintf("{%d ", uint64(hole)), "zeros ").Replace(fmt.Sprint(runs))
			got = regexp.MustCompile(`zeros (\d+)}`).ReplaceAllString(got, "zeros $1,")
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("sectorRuns = %s; want %s", got, tt.want)
			}
		})
	}
}

func TestOnDisk(t *testing.T) {
	m := testMapper(t)
	v, err := m.volume(device{253, 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in   []run
		want string
	}{
		{[]run{{0, 10}}, "[{2048 10}]"},
		{[]run{{990, 20}}, "[{3038 10} {90000 10}]"},
		{[]run{{990, 10}, {1000, 5}}, "[{3038 10} {90000 5}]"},
		{[]run{{1490, 20}}, "sector 1500 of /dev/mapper/vg--a-boot is not on a disk"},
	} {
		runs, disk, err := v.onDisk(tt.in)
		got := fmt.Sprint(runs)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || err == nil && disk.String() != "/dev/vda" {
			t.Errorf("onDisk(%v) = %s on %v; want %s", tt.in, got, disk, tt.want)
		}
	}
	other := &Disk{node: "vdb"}
	v.pieces = append(v.pieces, piece{start: 1500, count: 100, disk: other})
	if _, _, err := v.onDisk([]run{{1490, 20}}); err == nil || !strings.Contains(err.Error(), "partly on /dev/vda and partly on /dev/vdb") {
		t.Errorf("a file on two disks: %v", err)
	}
}

// tableAnswer is device-mapper's answer with a table.
func tableAnswer(table []target) []byte {
	b := make([]byte, dmHeader)
	binary.NativeEndian.PutUint32(b[dmDataStart:], dmHeader)
	binary.NativeEndian.PutUint32(b[dmTargetCount:], uint32(len(table)))
	for _, t := range table {
		spec := make([]byte, dmTarget)
		binary.NativeEndian.PutUint64(spec, t.start)
		binary.NativeEndian.PutUint64(spec[8:], t.count)
		copy(spec[24:], t.kind)
		spec = append(spec, t.params...)
		spec = append(spec, make([]byte, 8-len(spec)%8)...)
		binary.NativeEndian.PutUint32(spec[20:], uint32(len(b)-dmHeader+len(spec)))
		b = append(b, spec...)
	}
	return b
}

func TestParseTable(t *testing.T) {
	want := []target{{0, 999424, "linear", "8:0 7342080"}, {999424, 614400, "linear", "254:0 11487232"}}
	got, err := parseTable(tableAnswer(want))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); err != nil || diff != "" {
		t.Errorf("parseTable: %v\n%s", err, diff)
	}
	if _, err := parseTable(tableAnswer(nil)); err == nil || !strings.Contains(err.Error(), "not active") {
		t.Errorf("an empty table: %v", err)
	}
	for _, bad := range []string{"", "8", "8:0", "8:x 1", "8:0 x"} {
		if d, n, err := (target{params: bad}).linear(); err == nil {
			t.Errorf("linear(%q) = %v, %d", bad, d, n)
		}
	}
}

// FuzzParseTable holds that no answer makes the parser fail but with an error.
func FuzzParseTable(f *testing.F) {
	f.Add(tableAnswer([]target{{0, 1, "linear", "8:0 1"}, {1, 1, "striped", "2 8"}}))
	f.Add(tableAnswer(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := parseTable(b)
		if err == nil && len(table) > len(b) {
			t.Errorf("%d targets in %d bytes", len(table), len(b))
		}
	})
}

// label makes sector 0 to 7 of a physical volume.
func label(sector int, dataAt, metaAt uint64) []byte {
	b := make([]byte, lowSectors*512)
	l := b[sector*512:]
	copy(l, "LABELONE")
	binary.LittleEndian.PutUint32(l[20:], 32)
	copy(l[24:], "LVM2 001")
	copy(l[32:], "Dy7HwEGPyETaJLPyWGGlaU8v0ShKWAGO")
	for i, v := range []uint64{1 << 30, dataAt, 0, 0, 0, metaAt, 1044480, 0, 0} {
		binary.LittleEndian.PutUint64(l[64+8*i:], v)
	}
	return b
}

func TestExamine(t *testing.T) {
	disk, lv := &Disk{dev: device{8, 0}, node: "sda"}, &volume{name: "/dev/mapper/vg-boot", dev: device{253, 0}, group: "vg"}
	bare := &volume{name: "/dev/sda", dev: device{8, 0}}
	ext := make([]byte, lowSectors*512)
	binary.LittleEndian.PutUint16(ext[extMagicAt:], magicExt)
	with := func(b []byte, at int, more ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], more)
		return b
	}
	const uuid = "Dy7HwE-GPyE-TaJL-PyWG-GlaU-8v0S-hKWAGO"
	for _, tt := range []struct {
		name string
		head []byte
		vol  *volume
		want layout
		err  string
	}{
		{"physical volume", label(1, 1<<20, 4096), lv, layout{pv: uuid, low: true}, ""},
		{"label in sector 2", label(2, 1<<20, 4096), lv, layout{pv: uuid}, ""},
		{"data early", label(1, 2048, 0), lv, layout{pv: uuid}, ""},
		{"metadata early", label(1, 1<<20, 2048), lv, layout{pv: uuid}, ""},
		{"label in sector 0", label(0, 1<<20, 4096), lv, layout{}, "LVM's label in sector 0"},
		{"volume of something else", label(1, 1<<20, 4096), bare, layout{}, "/dev/sda is not a logical volume on it"},
		{"header outside", with(label(1, 1<<20, 4096), 512+20, 0xff, 1, 0, 0), lv, layout{}, "its header is at byte 511"},
		{"header before", with(label(1, 1<<20, 4096), 512+20, 8, 0, 0, 0), lv, layout{}, "its header is at byte 8"},
		{"UUID is not text", with(label(1, 1<<20, 4096), 512+32, 0), lv, layout{}, "its UUID is not text"},
		{"partition", with(with(label(1, 1<<20, 4096), 450, 0x83), 510, 0x55, 0xaa), lv, layout{}, "has a partition table"},
		{"GPT", with(with(ext, 450, 0xee), 510, 0x55, 0xaa), bare, layout{}, "has a partition table"},
		{"boot sector without partitions", with(label(1, 1<<20, 4096), 510, 0x55, 0xaa), lv, layout{pv: uuid, low: true}, ""},
		{"ext4", ext, bare, layout{plain: true}, ""},
		{"ext4 of something else", ext, lv, layout{}, "is not the one on /dev/mapper/vg-boot"},
		{"XFS", with(ext, 0, 'X', 'F', 'S', 'B'), bare, layout{}, "XFS"},
		{"nothing", make([]byte, lowSectors*512), lv, layout{}, "neither a physical volume"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := examine(disk, tt.head, tt.vol)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("examine = %+v, %v; want error %q", got, err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("examine = %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// FuzzExamine holds that no start of a disk makes it fail but with an error.
func FuzzExamine(f *testing.F) {
	f.Add(label(1, 1<<20, 4096))
	f.Add(label(3, 0, 0))
	f.Fuzz(func(_ *testing.T, head []byte) {
		full := make([]byte, lowSectors*512)
		copy(full, head)
		_, _ = examine(&Disk{node: "sda"}, full, &volume{group: "vg"})
	})
}

func TestMapHeader(t *testing.T) {
	lbas := []uint64{9999, 2, 3, 4, 5, 6, 7, 8}
	boot, err := lilo.BootSector(append([]byte("LILOMAP2"), make([]byte, 8*512-8)...), lbas, true)
	if err != nil {
		t.Fatal(err)
	}
	if lba, ok := lilo.MapHeader(boot[:]); !ok || lba != 9999 {
		t.Errorf("MapHeader = %d, %v; want 9999", lba, ok)
	}
	for _, b := range [][]byte{nil, boot[:511], make([]byte, 512)} {
		if lba, ok := lilo.MapHeader(b); ok {
			t.Errorf("MapHeader of %d bytes of something else = %d", len(b), lba)
		}
	}
}

// TestBackup is of where an old boot sector is kept, and when.
func TestBackup(t *testing.T) {
	old := bytes.Repeat([]byte("old boot"), 64)
	ours, err := lilo.BootSector(append([]byte("LILOMAP2"), make([]byte, 8*512-8)...), []uint64{9999, 2, 3, 4, 5, 6, 7, 8}, true)
	if err != nil {
		t.Fatal(err)
	}
	const kept, there = "The old boot sector is kept in DIR/", " exists: no copy of the old boot sector is made"
	tests := []struct {
		name   string
		sector []byte
		backup string
		force  bool
		file   string // that gets the sector, "" for none
		said   string
		err    string
	}{
		{"beside the map", old, "", false, "boot/boot.FD10", kept + "boot/boot.FD10", ""},
		{"a new file", old, "new", false, "new", kept + "new", ""},
		{"a directory", old, "dir", false, "dir/boot.FD10", kept + "dir/boot.FD10", ""},
		{"a directory by a link", old, "link", false, "dir/boot.FD10", kept + "link/boot.FD10", ""},
		{"a file that is there", old, "file", false, "", "DIR/file" + there, ""},
		{"in a directory, there", old, "full", false, "", "DIR/full/boot.FD10" + there, ""},
		{"forced", old, "file", true, "file", kept + "file", ""},
		{"forced in a directory", old, "full", true, "full/boot.FD10", kept + "full/boot.FD10", ""},
		{"forced, new", old, "new", true, "new", kept + "new", ""},
		{"a device", old, "null", false, "", "DIR/null" + there, ""},
		{"forced to a device", old, "null", true, "", kept + "null", ""},
		{"a directory of that name", old, "odd", false, "", "", "a copy of the old boot sector: DIR/odd/boot.FD10 is not a file but d---------: give backup= another path"},
		{"no such directory", old, "none/file", false, "", "", "a copy of the old boot sector: open DIR/none/file: no such file or directory"},
		{"LILO's own", ours[:], "file", true, "", "", ""},
		{"nothing", make([]byte, 512), "new", false, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"boot", "dir", "full", "odd/boot.FD10"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			files := map[string]string{"disk": string(tt.sector), "file": "longer than a sector" + strings.Repeat(".", 600), "full/boot.FD10": "before"}
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, to := range map[string]string{"link": "dir", "null": "/dev/null"} {
				if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			disk, err := os.Open(filepath.Join(dir, "disk"))
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			var said []string
			in := &installer{
				disk: &Disk{node: "vda", dev: device{253, 16}}, cfg: &conf.Config{Map: filepath.Join(dir, "boot/map"), ForceBackup: tt.force},
				o: Options{Log: Log{Note: func(_ int, format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}},
			}
			in.direct = &direct{disk: in.disk, file: disk, buf: make([]byte, directSize)}
			if tt.backup != "" {
				in.cfg.Backup = filepath.Join(dir, tt.backup)
			}
			err = in.backup()
			if text := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"); text != tt.err && (err != nil || tt.err != "") {
				t.Errorf("backup = %s; want %q", text, tt.err)
			}
			if got := strings.ReplaceAll(strings.Join(said, "\n"), dir, "DIR"); got != tt.said {
				t.Errorf("said %q; want %q", got, tt.said)
			}
			if tt.file != "" {
				files[tt.file] = string(old)
			}
			for _, name := range []string{"boot/boot.FD10", "new", "dir/boot.FD10", "file", "full/boot.FD10"} {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if want, ok := files[name]; string(got) != want || ok != (err == nil) {
					t.Errorf("%s = %.20q, %v; want %.20q", name, got, err, want)
				}
			}
		})
	}
}

// TestMessage has messages that can't be shown: the menu is made without.
func TestMessage(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"text": 5, "longest": lilo.MaxMessage, "longer": lilo.MaxMessage + 1} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		want int // bytes
		said string
	}{
		{"text", 5, ""},
		{"longest", lilo.MaxMessage, ""},
		{"longer", 0, "message=: DIR/longer is longer than the 65535 bytes that the loader takes"},
		{"fifo", 0, "message=: DIR/fifo: it is not a regular file: p---------"},
		{".", 0, "message=: DIR: it is not a regular file: d---------"},
		{"none", 0, "message=: open DIR/none: no such file or directory"},
	} {
		var said string
		in := &installer{cfg: &conf.Config{Message: filepath.Join(dir, tt.name)}, o: Options{Log: Log{Warn: func(format string, args ...any) { said += fmt.Sprintf(format, args...) }}}}
		got := make(chan []byte, 1)
		go func() { got <- in.message() }()
		select {
		case text := <-got:
			if len(text) != tt.want || strings.ReplaceAll(said, dir, "DIR") != tt.said {
				t.Errorf("%s: a message of %d bytes, and %q; want %d and %q", tt.name, len(text), said, tt.want, tt.said)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", tt.name)
		}
	}
}

func TestLockingDir(t *testing.T) {
	for in, want := range map[string]string{
		"global {\n\tlocking_dir = \"/run/lock/lvm\"\n}": "/run/lock/lvm",
		"# locking_dir = \"/x\"\n":                       "",
		"locking_dir=\"/var/lock/lvm\" # old":            "/var/lock/lvm",
		"locking_dir = relative":                         "",
		"":                                               "",
	} {
		if got := lockingDir([]byte(in)); got != want {
			t.Errorf("lockingDir(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestSettled(t *testing.T) {
	debian := map[string]string{"/var/lock": "/run/lock", "/var/run": "/run"}
	fedora := map[string]string{"/var/lock": "../run/lock", "/var/run": "../run"}
	for _, tt := range []struct {
		links     map[string]string
		dir, want string
	}{
		{debian, "/var/lock/lvm", "/run/lock/lvm"},
		{debian, "/var/lock/lvm/", "/run/lock/lvm"},
		{debian, "/var/lock", "/run/lock"},
		{debian, "/var/run/lvm", "/run/lvm"},
		{fedora, "/var/lock/lvm", "/run/lock/lvm"},
		{fedora, "/var/run/lvm", "/run/lvm"},
		{map[string]string{"/var/lock": "/var/run/lock", "/var/run": "/run"}, "/var/lock/lvm", "/run/lock/lvm"},
		{map[string]string{"/var/lock": "/srv/lock"}, "/var/lock/lvm", "/srv/lock/lvm"},
		{nil, "/var/lock/lvm", "/var/lock/lvm"},
		{debian, "/run/lock/lvm", "/run/lock/lvm"},
		{debian, "/var/locks/lvm", "/var/locks/lvm"},
		{debian, "/etc/lvm/../lock", "/etc/lock"},
	} {
		got := settled(tt.dir, func(name string) (string, error) {
			if to, ok := tt.links[name]; ok {
				return to, nil
			}
			return "", os.ErrInvalid
		})
		if got != tt.want {
			t.Errorf("settled(%s) with the links %v = %s; want %s", tt.dir, tt.links, got, tt.want)
		}
	}
}

// TestLockPlace has the configuration name Debian's absolute link, in which
// nothing could be made.
func TestLockPlace(t *testing.T) {
	if _, err := os.Readlink("/var/lock"); err != nil {
		fixtures.Missing(t, "a link /var/lock, as Debian has it")
	}
	dir := t.TempDir()
	runRoot, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer runRoot.Close()
	l, below, err := (&System{Run: runRoot}).lockPlace([]byte("global {\n\tlocking_dir = \"/var/lock/lvm\"\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.mkdir(below); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/lock/lvm"); err != nil {
		t.Error(err)
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	runRoot, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer runRoot.Close()
	proc, err := os.OpenRoot("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	sys := &System{Run: runRoot, Proc: proc}
	if _, err := os.Stat(lvmConfig); err == nil {
		if text, _ := os.ReadFile(lvmConfig); lockingDir(text) != "" {
			t.Skip("this machine's lvm.conf has its locks elsewhere")
		}
	}

	var said []string
	ctx, cancel := context.WithCancelCause(t.Context())
	say := func(s string) {
		said = append(said, s)
		cancel(errors.New("time is up"))
	}
	l, err := sys.lockGroup(t.Context(), "vg", say)
	if err != nil {
		t.Fatal(err)
	}
	name := dir + "/lock/lvm/V_vg"
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("LVM could take the lock as well")
	}
	if _, err := os.Stat(name + ":aux"); err == nil {
		t.Error("the file :aux was left behind")
	}

	if _, err := sys.lockGroup(ctx, "vg", say); err == nil || !strings.Contains(err.Error(), "time is up") {
		t.Errorf("a second lock: %v", err)
	}
	want := fmt.Sprintf("waiting for LVM's lock of vg, held by process %d (", os.Getpid())
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("said %q; want %q once", said, want)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestLockRemoved has the one before remove the lock's file, as LVM does.
func TestLockRemoved(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w := waiter{sys: &System{}, root: root}
	first, err := w.exclusive(t.Context(), "V_vg")
	if err != nil {
		t.Fatal(err)
	}
	got, waits := make(chan *os.File), make(chan struct{})
	go func() {
		f, _ := (&waiter{sys: &System{}, root: root, waiting: func(string) { close(waits) }}).exclusive(t.Context(), "V_vg")
		got <- f
	}()
	<-waits // it has the file open, which now goes away
	dropLock(root, "V_vg", first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := <-got
	if second == nil || !sameFile(root, "V_vg", second) {
		t.Fatal("what is locked is not the file that has the name")
	}
	second.Close()
}
