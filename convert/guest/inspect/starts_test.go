package inspect

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	"esxodus/disk/part"
)

// files is a file system in memory.
type files struct{ fstest.MapFS }

func (files) NeedsRecovery() bool { return false }

func (files) Faults() (faults, refused []string, err error) { return nil, nil, nil }

// rooted is a look that has found its root on the first partition of the first
// disk, beside swap, data and what can't be read.
func rooted(text map[string]string, addresses ...string) *look {
	root, data := fstest.MapFS{"etc/fstab": {}, "etc/os-release": {}, "sbin/init": {}}, fstest.MapFS{"photos/1": {}}
	for name, s := range text {
		root[name] = &fstest.MapFile{Data: []byte(s)}
	}
	l := &look{tree: tree{mounts: map[string]fs.ReadLinkFS{".": root}}}
	l.guest.Disks = make([]guest.DiskLayout, len(addresses))
	for i, a := range addresses {
		l.guest.Disks[i] = guest.DiskLayout{Address: a, TableID: fmt.Sprintf("cafe000%d", i)}
		for n, c := range []part.Content{{Type: "ext4", UUID: "root", Label: "root"}, {Type: "swap", UUID: "swap"}, {Type: "ext4", UUID: "data", Label: "data"}, {Type: "luks", UUID: "luks"}} {
			if i > 0 {
				c.UUID, c.Label = fmt.Sprint(c.UUID, i), ""
			}
			v := &volume{where: fmt.Sprintf("%s partition %d", a, n+1), content: c, disk: i, partition: n + 1, part: &guest.Partition{Number: n + 1}}
			switch {
			case n == 0 && i == 0:
				v.files, l.root = files{root}, v
				v.setMount("/")
			case n == 0 || n == 2:
				v.files = files{data}
			}
			l.volumes = append(l.volumes, v)
		}
	}
	lv := guest.Volume{Group: "vg", Name: "old-root", ID: "LVM-1"}
	l.volumes = append(l.volumes, &volume{where: "vg/old-root", content: part.Content{Type: "ext4", UUID: "lv"}, files: files{data}, lv: &lv})
	l.guest.Root = l.root.where
	l.index()
	return l
}

// TestClaims has what guests write for their root, and whether it is the one
// that was found.
func TestClaims(t *testing.T) {
	const one, two, mixed = "scsi0:0", "scsi0:0 scsi0:1", "sata0:0 scsi0:0"
	for _, tt := range []struct {
		spec, disks string
		want        string // the volume, "?" where none is certain, "" where it is the root
	}{
		{"", one, ""},
		{"UUID=root", one, ""},
		{"UUID=ROOT", one, ""},
		{"LABEL=root", one, ""},
		{"PARTUUID=cafe0000-01", one, ""},
		{"/dev/disk/by-uuid/root", one, ""},
		{"/dev/sda1", one, ""},
		{"/dev/sda1", two, ""},
		{"/dev/sda1", mixed, ""}, // sdb1 is no root
		{"/dev/sdb1", one, ""},   // there is no other partition 1
		{"/dev/vda1", one, ""},
		{"/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1", one, ""},
		{"$rootspec", one, ""},
		{"UUID=${uuid}", one, ""},
		{"/dev/root", one, ""},
		{"overlay", one, ""},

		{"UUID=data", one, "scsi0:0 partition 3"},
		{"UUID=luks", one, "scsi0:0 partition 4"},
		{"UUID=gone", one, "?"},
		{"LABEL=gone", one, "?"},
		{"PARTUUID=cafe0000-03", one, "scsi0:0 partition 3"},
		{"PARTUUID=00000000-01", one, "?"},
		{"/dev/mapper/vg-root", one, "?"},
		{"/dev/vg/root", one, "?"},
		{"/dev/mapper/vg-old--root", one, "vg/old-root"},
		{"/dev/disk/by-id/dm-uuid-LVM-1", one, "vg/old-root"},
		{"/dev/disk/by-id/dm-uuid-LVM-2", one, "?"},
		{"/dev/md0", one, "?"},
		{"/dev/nfs", one, "?"},
		{"ZFS=rpool/ROOT/debian", one, "?"},
		{"/dev/sda3", one, "scsi0:0 partition 3"},
		{"/dev/sda4", one, "scsi0:0 partition 4"},
		{"/dev/sda9", one, "?"},
		{"/dev/sdb1", two, "scsi0:1 partition 1"},
		{"/dev/sdb4", mixed, "?"}, // LUKS on both
		{"/dev/nvme0n1p4", one, "scsi0:0 partition 4"},
	} {
		t.Run(tt.spec+" of "+tt.disks, func(t *testing.T) {
			for _, by := range []string{ByLoader, ByFstab} {
				l := rooted(map[string]string{"etc/fstab": tt.spec + " / ext4 defaults 0 1\n"}, strings.Fields(tt.disks)...)
				if by == ByFstab {
					l.fstab()
				} else {
					l.guest.Config.Cmdline = "BOOT_IMAGE=/vmlinuz root=/dev/x root=" + tt.spec + " ro"
				}
				l.starts()
				got := ""
				for _, c := range l.guest.Claims {
					if got += c.Volume; c.Volume == "" {
						got += "?"
					}
					if c.By != by || c.Spec != tt.spec {
						t.Errorf("claim = %+v; want one of the %s to %s", c, by, tt.spec)
					}
				}
				if got != tt.want {
					t.Errorf("by its %s the root is on %q; want %q", by, got, tt.want)
				}
			}
		})
	}
}

// TestOtherSystems has boot menus, and the entries that start another system.
func TestOtherSystems(t *testing.T) {
	const own = `menuentry 'Debian' { linux /vmlinuz-2 root=UUID=root ro ; }
submenu 'Advanced' {
	menuentry 'Debian, 1' { linux /vmlinuz-1 root=/dev/sda1 ro ; }
	menuentry 'Debian, 1 (recovery mode)' { linux /vmlinuz-1 root=LABEL=root ro single ; }
}
`
	for _, tt := range []struct{ name, file, text, want string }{
		{"its own", "boot/grub/grub.cfg", own, ""},
		{"tools", "boot/grub/grub.cfg", own + "menuentry 'Memory test' { linux16 /memtest86+.bin console=ttyS0,115200 ; }\nmenuentry 'Memory test (UEFI)' { chainloader /boot/memtest86+x64.efi ; }\n" +
			"menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {\n\tfwsetup\n}\nmenuentry 'iPXE' {\nlinux16 /boot/ipxe.lkrn\n}\nmenuentry 'Network' {\nchainloader /boot/ipxe.efi\n}\n" +
			"menuentry 'rescue' {\nloopback loop /rescue.iso\nlinux (loop)/vmlinuz boot=live\n}\n", ""},
		{"Windows", "boot/grub2/grub.cfg", own + "menuentry 'Windows 10 (on /dev/sda2)' --class windows {\n\tinsmod ntfs\n\tset root='hd0,msdos2'\n\tdrivemap -s (hd0) ${root}\n\tchainloader +1\n}\n", "Windows 10 (on /dev/sda2)"},
		{"another distribution", "boot/grub/grub.cfg", own + "menuentry 'Arch (on /dev/sda3)' {\nlinux /boot/vmlinuz root=UUID=data rw\n}\nsubmenu 'more of Arch' {\nmenuentry 'Arch (on /dev/sda3)' {\nlinux /boot/vmlinuz root=UUID=data rw\n}\nmenuentry 'Arch 2' {\nlinux /vmlinuz root=/dev/mapper/arch-root\n}\n}\n", "Arch (on /dev/sda3), Arch 2"},
		{"Xen", "boot/grub/grub.cfg", own + "menuentry 'with Xen' {\nmultiboot2 /boot/xen.gz\nmodule2 /boot/vmlinuz root=UUID=root ro\n}\n", "with Xen"},
		{"GRUB 0.9x", "boot/grub/menu.lst", "default 0\ntitle Debian\nkernel /boot/vmlinuz root=/dev/sda1 ro\ntitle memtest86+\nkernel /boot/memtest86+.bin\ntitle Other operating systems:\nroot\ntitle Windows\nrootnoverify (hd0,1)\nchainloader +1\n", "Windows"},
		{"LILO", "etc/lilo.conf", "boot=/dev/sda\nroot=/dev/sda1\nimage=/vmlinuz\n\tlabel=Linux\nimage=/vmlinuz.old\n\tlabel=Old\n\troot=/dev/sda1\nother=/dev/sda2\n\tlabel=\"DOS\"\nimage=/mnt/vmlinuz\n\tlabel=Arch\n\troot=/dev/sda3\n", "DOS, Arch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := rooted(map[string]string{tt.file: tt.text}, "scsi0:0")
			l.bootLoader()
			l.config()
			l.starts()
			if got := strings.Join(l.guest.OtherSystems, ", "); got != tt.want || len(l.guest.Claims) > 0 {
				t.Errorf("other systems: %q, claims %+v; want %q and none", got, l.guest.Claims, tt.want)
			}
		})
	}
}

// TestLiloClaims: where LILO boots, its default image names the root.
func TestLiloClaims(t *testing.T) {
	for conf, want := range map[string]string{
		"root=/dev/sda1\nimage=/a\nlabel=a\n":                                               "",
		"root=current\nimage=/a\nlabel=a\n":                                                 "",
		"default=b\nroot=/dev/sda3\nimage=/a\nlabel=a\nimage=/b\nlabel=b\nroot=/dev/sda1\n": "",
		"root=/dev/sda1\nimage=/a\nlabel=a\nappend=\"quiet root=/dev/mapper/vg-root\"\n":    "/dev/mapper/vg-root",
		"root=/dev/sda3\nimage=/a\nlabel=a\n":                                               "/dev/sda3",
	} {
		l := rooted(map[string]string{"etc/lilo.conf": conf}, "scsi0:0")
		l.starts()
		got := ""
		for _, c := range l.guest.Claims {
			got += c.Spec
		}
		if got != want {
			t.Errorf("%q: claims to %q; want %q", conf, got, want)
		}
	}
}

func TestOtherBoots(t *testing.T) {
	l := rooted(map[string]string{"boot/grub/grub.cfg": ""}, "scsi0:0")
	l.volumes[2].files = files{fstest.MapFS{"grub/grub.cfg": {}}}
	l.starts()
	if diff := cmp.Diff([]string{"scsi0:0 partition 3"}, l.guest.OtherBoots); diff != "" {
		t.Errorf("other boots (-want +got):\n%s", diff)
	}
	l.guest.OtherBoots = nil
	l.volumes[2].setMount("/boot")
	if l.starts(); l.guest.OtherBoots != nil {
		t.Errorf("/boot itself is another one: %q", l.guest.OtherBoots)
	}
}

// TestLookLeftBehind is a root whose system has moved to a volume that can't be
// read, and that shares its /boot.
func TestLookLeftBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	blank(t, path, 160*mib)
	run(t, "label: dos\nlabel-id: 0xcafe0001\n2048,96M,83\n,32M,83,*\n", "sfdisk", "--quiet", path)
	root := unpack(t, "debian.txtar", map[string]string{"etc/fstab": "UUID=" + rootUUID + " / ext4 defaults 0 1\n/dev/sda2 /boot ext2 defaults 0 2\n"})
	boot := unpack(t, "debian.txtar", map[string]string{"boot/grub/grub.cfg": "menuentry 'Debian' {\n\tlinux /vmlinuz-6.1.0-18-amd64 root=/dev/mapper/vg-root ro\n}\n"})
	fill(t, path, mib, 96*mib, "mke2fs", "-q", "-F", "-t", "ext4", "-U", rootUUID, "-d", root, "@FS", "@SIZE")
	fill(t, path, 97*mib, 32*mib, "mke2fs", "-q", "-F", "-t", "ext2", "-d", filepath.Join(boot, "boot"), "@FS", "@SIZE")
	g, err := Look(t.Context(), []Source{{"scsi0:0", open(t, path)}})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{g.Root, g.OtherRoots, g.Disks[0].Partitions[1].Mount, g.Claims, g.OtherBoots}
	want := []any{"scsi0:0 partition 1", []string(nil), "/boot", []guest.Claim{{By: ByLoader, Spec: "/dev/mapper/vg-root"}}, []string(nil)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
