package part

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// blkidName turns blkid's names of types into ours where they differ.
func blkidName(s string) string {
	switch s {
	case "LVM2_member":
		return "lvm2"
	case "linux_raid_member":
		return "md"
	case "crypto_LUKS":
		return "luks"
	case "swsuspend":
		return "swap"
	}
	return s
}

// blkid is what the oracle says: type, label, UUID.
func blkid(t *testing.T, path string) (c Content) {
	t.Helper()
	for line := range strings.Lines(run(t, "", "blkid", "-p", "-o", "export", path)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		v = strings.NewReplacer(`\ `, " ", `\\`, `\`).Replace(v)
		switch k {
		case "TYPE":
			c.Type = blkidName(v)
		case "LABEL":
			c.Label = v
		case "UUID":
			c.UUID = v
		}
	}
	return c
}

func TestProbeAgainstBlkid(t *testing.T) {
	for _, tt := range []struct {
		argv []string
		size int64 // MiB
		want Content
	}{
		{[]string{"mkfs.ext2", "-q", "-L", "a label", "-b", "1024"}, 16, Content{Type: "ext2", BlockSize: 1024, Size: 16 * mib}},
		{[]string{"mkfs.ext3", "-q", "-b", "2048"}, 16, Content{Type: "ext3", BlockSize: 2048, Size: 16 * mib}},
		{[]string{"mkfs.ext4", "-q", "-L", "root", "-b", "4096"}, 64, Content{Type: "ext4", BlockSize: 4096, Size: 64 * mib}},
		{[]string{"mkfs.ext4", "-q", "-b", "1024", "-O", "^metadata_csum,^64bit,^extents"}, 16, Content{Type: "ext4", BlockSize: 1024, Size: 16 * mib}},
		{[]string{"mkfs.xfs", "-q", "-L", "data"}, 320, Content{Type: "xfs", Version: "5", BlockSize: 4096, Size: 320 * mib}},
		{[]string{"mkfs.xfs", "-q", "-m", "crc=0"}, 320, Content{Type: "xfs", Version: "4", BlockSize: 4096, Size: 320 * mib}},
		{[]string{"mkfs.btrfs", "-q", "-L", "sub vol"}, 128, Content{Type: "btrfs", BlockSize: 4096, Size: 128 * mib, Members: 1}},
		{[]string{"mkswap", "-L", "swap0"}, 8, Content{Type: "swap", Version: "1", BlockSize: 4096, Size: 8 * mib}},
		{[]string{"mkfs.vfat", "-F", "12", "-n", "TWELVE"}, 2, Content{Type: "vfat", Version: "FAT12", BlockSize: 2048, Size: 2 * mib}},
		{[]string{"mkfs.vfat", "-F", "16"}, 32, Content{Type: "vfat", Version: "FAT16", BlockSize: 2048, Size: 32 * mib}},
		{[]string{"mkfs.vfat", "-F", "32", "-n", "ESP"}, 64, Content{Type: "vfat", Version: "FAT32", BlockSize: 512, Size: 64 * mib}},
		{[]string{"mkfs.ntfs", "-q", "-F", "-L", "System C"}, 32, Content{Type: "ntfs", Version: "3.1", BlockSize: 4096, Size: 32*mib - 512}},
		{[]string{"cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000"}, 32, Content{Type: "luks", Version: "1"}},
		{[]string{"cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", "crypt"}, 32, Content{Type: "luks", Version: "2"}},
	} {
		t.Run(strings.Join(tt.argv[:min(len(tt.argv), 4)], " "), func(t *testing.T) {
			path := blank(t, tt.size*mib)
			run(t, "password", append(tt.argv, path)...)
			got, err := Probe(open(t, path), tt.size*mib)
			if err != nil {
				t.Fatal(err)
			}
			oracle := blkid(t, path)
			tt.want.UUID, tt.want.Label = oracle.UUID, oracle.Label
			if oracle.Type != tt.want.Type {
				t.Fatalf("blkid says %s; the test %s", oracle.Type, tt.want.Type)
			}
			got.Features = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProbeSquashFSAndISO(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		argv []string
	}{
		{"squashfs", []string{"mksquashfs", dir, "OUT", "-quiet", "-no-progress"}},
		{"iso9660", []string{"genisoimage", "-quiet", "-V", "CD of things", "-o", "OUT", dir}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			tt.argv[len(tt.argv)-1] = strings.Replace(tt.argv[len(tt.argv)-1], "OUT", path, 1)
			for i := range tt.argv {
				tt.argv[i] = strings.Replace(tt.argv[i], "OUT", path, 1)
			}
			run(t, "", tt.argv...)
			img := open(t, path)
			got, err := Probe(img, img.size)
			want := blkid(t, path)
			if err != nil || got.Type != tt.name || got.Type != want.Type || got.Label != want.Label {
				t.Errorf("Probe = %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestProbeMD(t *testing.T) {
	// mdadm makes arrays through the kernel, which has no md here, so the
	// superblocks are built by hand; blkid is asked what they are.
	for _, tt := range []struct {
		name, version string
		build         func(b []byte)
	}{
		{"1.0", "1.0", func(b []byte) { md1(b, (len(b)/512-16)&^7*512) }},
		{"1.1", "1.1", func(b []byte) { md1(b, 0) }},
		{"1.2", "1.2", func(b []byte) { md1(b, 4096) }},
		{"0.90", "0.90", func(b []byte) { md090(b) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := blank(t, 16*mib)
			run(t, "", "mkfs.ext4", "-q", path) // a mirror shows what is inside
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.build(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Probe(open(t, path), int64(len(b)))
			if err != nil || got.Type != "md" || got.Version != tt.version || got.Detail != "raid1" || got.Members != 2 {
				t.Errorf("Probe = %+v, %v", got, err)
			}
			if want := blkid(t, path); want.Type != "md" || want.UUID != got.UUID {
				t.Errorf("blkid = %+v; Probe = %+v", want, got)
			}
		})
	}
}

func TestProbeByHand(t *testing.T) {
	with := func(size int, parts ...any) []byte {
		b := make([]byte, size)
		for i := 0; i < len(parts); i += 2 {
			copy(b[parts[i].(int):], parts[i+1].(string))
		}
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want Content
	}{
		{"nothing", make([]byte, 128<<10), Content{}},
		{"empty", nil, Content{}},
		{"short", []byte("x"), Content{}},
		{"bitlocker", with(64<<10, 3, "-FVE-FS-", 510, "\x55\xaa"), Content{Type: "bitlocker"}},
		{"refs", with(64<<10, 3, "ReFS"), Content{Type: "refs"}},
		{"hibernated swap", with(64<<10, 1024, "\x01\x00\x00\x00\x0f", 4086, "S1SUSPEND"), Content{Type: "swap", Version: "1", BlockSize: 4096, Size: 64 << 10, Suspended: true}},
		{"ufs2", with(128<<10, 65536+1372, "\x19\x01\x54\x19"), Content{Type: "ufs", Version: "2"}},
		{"oracleasm over ext4", with(64<<10, 32, "ORCLDISK", 1024+56, "\x53\xef"), Content{Type: "oracleasm"}},
		{"bluestore", with(64<<10, 0, "bluestore block device\n"), Content{Type: "ceph_bluestore"}},
		{"bcache", with(64<<10, 4096+24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"), Content{Type: "bcache"}},
		{"vdo", with(64<<10, 0, "dmvdo001"), Content{Type: "vdo"}},
		{"stratis", with(64<<10, 516, "!Stra0tis\x86\xff\x02^\x41rh"), Content{Type: "stratis"}},
		{"bcachefs", with(64<<10, 4096+24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"), Content{Type: "bcachefs"}},
		{"jfs over swap", with(64<<10, 4086, "SWAPSPACE2", 32<<10, "JFS1"), Content{Type: "jfs"}},
		{"reiserfs", with(128<<10, 64<<10+52, "ReIsEr2Fs"), Content{Type: "reiserfs"}},
		{"reiser4", with(128<<10, 64<<10, "ReIsEr4"), Content{Type: "reiser4"}},
		{"gfs2", with(128<<10, 64<<10, "\x01\x16\x19\x70"), Content{Type: "gfs2"}},
		{"ocfs2 of 512", with(64<<10, 1<<10, "OCFSV2"), Content{Type: "ocfs2"}},
		{"ocfs2 of 1024", with(64<<10, 2<<10, "OCFSV2"), Content{Type: "ocfs2"}},
		{"ocfs2 of 2048", with(64<<10, 4<<10, "OCFSV2"), Content{Type: "ocfs2"}},
		{"ocfs2 of 4096", with(64<<10, 8<<10, "OCFSV2"), Content{Type: "ocfs2"}},
		{"f2fs", with(64<<10, 1<<10, "\x10\x20\xf5\xf2"), Content{Type: "f2fs"}},
		{"vxfs", with(64<<10, 1<<10, "\xf5\xfc\x01\xa5"), Content{Type: "vxfs"}},
		{"vxfs of HP-UX", with(64<<10, 8<<10, "\xa5\x01\xfc\xf5"), Content{Type: "vxfs"}},
		{"hfs+", with(64<<10, 1<<10, "H+\x00\x04"), Content{Type: "hfsplus"}},
		{"apfs", with(64<<10, 32, "NXSB"), Content{Type: "apfs"}},
		{"vmfs", with(2<<20, 1<<20, "\x0d\xd0\x01\xc0"), Content{Type: "VMFS_volume_member"}},
		{"zfs", with(512<<10, 16<<10, "\x01\x01\x00\x00", 16<<10+20, "\x00\x00\x00\x04name\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x04tank", 17<<10, "pool_guid", 18<<10, "txg"), Content{Type: "zfs", Label: "tank"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Probe(newMemory(tt.b), int64(len(tt.b)))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("Probe: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func md1(b []byte, at int) {
	s := b[at : at+256]
	clear(s)
	put := func(off int, v uint32) { le32(s[off:], v) }
	put(0, mdMagic)
	put(4, 1)
	copy(s[16:], "0123456789abcdef")
	copy(s[32:], "host:0")
	put(72, 1)  // level
	put(92, 2)  // disks
	put(80, 32) // size
	put(136, 32)
	put(144, uint32(at/512))
	var sum uint64
	for i := 0; i < 256; i += 4 {
		sum += uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24
	}
	put(216, uint32(sum)+uint32(sum>>32))
}

func md090(b []byte) {
	s := b[len(b)&^65535-65536:]
	put := func(off int, v uint32) { le32(s[off:], v) }
	put(0, mdMagic)
	put(8, 90)
	put(20, 0x00112233)
	put(28, 1)
	put(40, 2)
	put(52, 0x44556677)
	put(56, 0x8899aabb)
	put(60, 0xccddeeff)
	var sum uint64
	for i := 0; i < 4096; i += 4 {
		sum += uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24
	}
	put(152, uint32(sum)+uint32(sum>>32))
}

func le32(b []byte, v uint32) { b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }

func TestProbeDirtyExt(t *testing.T) {
	path := blank(t, 64*mib)
	run(t, "", "mkfs.ext4", "-q", path)
	img := open(t, path)
	if c, err := Probe(img, img.size); err != nil || c.Dirty {
		t.Errorf("fresh: %+v, %v; want clean", c, err)
	}
	run(t, "", "debugfs", "-w", "-R", "ssv state 0", path)
	if c, err := Probe(img, img.size); err != nil || !c.Dirty {
		t.Errorf("state 0: %+v, %v; want dirty", c, err)
	}
	run(t, "", "debugfs", "-w", "-R", "ssv state 1", path)
	run(t, "", "debugfs", "-w", "-R", "feature needs_recovery", path)
	if c, err := Probe(img, img.size); err != nil || !c.Dirty {
		t.Errorf("needs_recovery: %+v, %v; want dirty", c, err)
	}
}

func TestProbeFailure(t *testing.T) {
	if _, err := Probe(broken{size: mib}, mib); !errors.Is(err, errBroken) {
		t.Errorf("Probe: %v; want the cause", err)
	}
}

func FuzzProbe(f *testing.F) {
	for _, s := range []string{"LUKS\xba\xbe\x00\x02", "LABELONE\x00", "\xeb\x58\x90MSWIN4.1", "\xeb\x52\x90NTFS    ", "XFSB\x00\x00\x10\x00", "hsqs"} {
		f.Add([]byte(s), uint16(0), uint32(128<<10))
	}
	f.Add([]byte("SWAPSPACE2"), uint16(4086), uint32(128<<10))
	f.Add([]byte("_BHRfS_M"), uint16(65535), uint32(128<<10))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, size uint32) {
		b := make([]byte, size%(1<<20))
		if int(at) < len(b) {
			copy(b[at:], data)
		}
		c, err := Probe(newMemory(b), int64(len(b)))
		if err != nil {
			t.Errorf("Probe of readable bytes: %v", err)
		}
		if c.Size < 0 || c.BlockSize < 0 {
			t.Errorf("negative sizes: %+v", c)
		}
	})
}

// What was there before and left a signature is told, too.
func TestSignatures(t *testing.T) {
	path := blank(t, 64*mib)
	run(t, "", "mkfs.ext4", "-q", path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	types := func() (names []string) {
		cs, err := Signatures(f, 64*mib)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cs {
			names = append(names, c.Type)
		}
		return names
	}
	if got := types(); !slices.Equal(got, []string{"ext4"}) {
		t.Errorf("Signatures of an ext4 = %q", got)
	}
	for at, magic := range map[int64]string{32: "ORCLDISK", 65536 + 64: "_BHRfS_M"} {
		if _, err := f.WriteAt([]byte(magic), at); err != nil {
			t.Fatal(err)
		}
	}
	if got := types(); !slices.Equal(got, []string{"oracleasm", "ext4", "btrfs"}) {
		t.Errorf("Signatures of an ext4 between others = %q", got)
	}
	if _, err := Signatures(broken{size: mib}, mib); !errors.Is(err, errBroken) {
		t.Errorf("Signatures: %v; want the cause", err)
	}
}
