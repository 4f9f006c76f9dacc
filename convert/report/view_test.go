package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
	"esxodus/convert/layout"
	"esxodus/convert/packages"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
	"esxodus/disk/part"
	"esxodus/inventory/fit"
)

var update = flag.Bool("update", false, "write what is as what is wanted")

const (
	mib = 1 << 20
	gib = 1 << 30
)

// evil is what no name may write to a terminal.
const evil = "\x1b[2J\u202e\u009b1m\r"

// debian is a guest on two disks that qualifies: a root, a swap that is no
// whole number of extents, GRUB's space; and a group on a disk of its own.
func debian() guest.Guest {
	return guest.Guest{
		OS: "linux", Distro: "debian", Version: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)", Hostname: "web", Root: "scsi0:0 partition 2",
		Kernels: []string{"6.1.0-17-amd64", "6.1.0-18-amd64"},
		Disks: []guest.DiskLayout{
			{Address: "scsi0:0", Size: 10 * gib, Table: "gpt", Partitions: []guest.Partition{
				{Number: 1, Offset: mib, Length: mib, Type: part.TypeBIOSBoot, TypeName: "BIOS boot"},
				{Number: 2, Offset: 2 * mib, Length: 9 * gib, Content: "ext4", UUID: "deb1a512-0000-4000-8000-000000000001", Mount: "/"},
				{Number: 3, Offset: 9*gib + 2*mib, Length: gib - 3*mib, Content: "swap", UUID: "deb1a512-0000-4000-8000-000000000002", Mount: "swap"},
			}},
			{Address: "scsi0:1", Size: 2 * gib, Table: "mbr", TableID: "cafe0001", Partitions: []guest.Partition{
				{Number: 1, Offset: mib, Length: gib, Type: "83", Content: "xfs", UUID: "deb1a512-0000-4000-8000-000000000003", Mount: "/srv" + evil},
			}},
			{Address: "scsi0:2", Size: gib, Table: "none", Partitions: []guest.Partition{{Length: gib, Content: "ext4", UUID: "deb1a512-0000-4000-8000-000000000004", Mount: "/data"}}},
		},
		Config: guest.Config{
			Systemd: true,
			Files: map[string]guest.File{
				"/etc/fstab": {Path: "/etc/fstab", Text: "# a comment " + evil + "\n/dev/sda2 / ext4 errors=remount-ro 0 1\n/dev/sda3 none swap sw 0 0\n" +
					"/dev/sdb1 /srv" + evil + " xfs nofail 0 0\n/dev/sdc /data ext4 nofail 0 0\n"},
			},
			Links: map[string]guest.Link{
				"/vmlinuz": {Target: "boot/vmlinuz-6.1.0-18-amd64"}, "/initrd.img": {Target: "boot/initrd.img-6.1.0-18-amd64"},
				"/vmlinuz.old": {Target: "boot/vmlinuz-6.1.0-17-amd64"}, "/initrd.img.old": {Target: "boot/initrd.img-6.1.0-17-amd64"},
			},
			Boot:    []string{"vmlinuz-6.1.0-17-amd64", "initrd.img-6.1.0-17-amd64", "vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"},
			Has:     map[string]bool{"/boot/grub": true, "/boot/grub/grub.cfg": true},
			Cmdline: "BOOT_IMAGE=/boot/vmlinuz-6.1.0-18-amd64 root=/dev/sda2 ro quiet console=ttyS0,115200",
			Packages: []guest.Package{
				{Name: "grub-pc", Version: "2.06-13"}, {Name: "initramfs-tools", Version: "0.142"}, {Name: "open-vm-tools", Version: "2:12.2.0-1"},
			},
			Owned: map[string]string{"grub-pc": "/usr/sbin/grub-install\n"},
		},
	}
}

// locked is a guest that doesn't qualify.
func locked() guest.Guest {
	g := debian()
	g.Disks = g.Disks[:1]
	g.Disks[0].Partitions[2].Content = "luks"
	g.OtherRoots = []string{"scsi0:9 partition 1" + evil}
	return g
}

// planOf makes a VM's part of a plan by the packages that decide about it.
func planOf(name, qualifies string, g guest.Guest) plan.VMPlan {
	v := plan.VMPlan{Name: qualifies, Guest: g, Layout: layout.New(layout.Request{Name: qualifies, Seed: "seed", Guest: g})}
	v.Source.Name, v.Source.ID = name, "7"
	for i, d := range g.Disks {
		v.Disks = append(v.Disks, plan.Disk{
			Address: d.Address, Path: "[datastore1] " + name + "/" + name + ".vmdk", Size: d.Size,
			Volume: volume.Volume{Kind: "dir", Path: "/var/lib/libvirt/images/" + qualifies + "-" + d.Address + ".raw", Size: v.Layout.Disks[i].Size},
		})
	}
	conv, entries, concerns := adapt.New(adapt.Input{Guest: g, Layout: v.Layout})
	v.Ledger, v.Concerns = entries, concerns
	if len(conv.Mounts) > 0 {
		v.Conversion = &conv
		v.Packages = packages.Set{Packages: []packages.Package{{Name: "lvm2", Version: "2.03.16-2", Size: 1200 << 10, From: "/packages/lvm2" + evil + ".deb"}, {Name: "dmsetup", Version: "2:1.02.185-2", Old: "2:1.02.175-2" + evil, Size: 80 << 10, From: "http://m/dmsetup.deb"}}}
	}
	return v
}

// TestLayout holds what a dry run shows of a guest that gets a new layout, and
// of one that doesn't qualify.
func TestLayout(t *testing.T) {
	var got bytes.Buffer
	p := Form{}.page(&got)
	for _, v := range []plan.VMPlan{planOf("web "+evil, "web", debian()), planOf("db", "db", locked())} {
		p.line("== %s", fit.TerminalLine(v.Source.Name))
		disks(p, &VMView{Disks: diskViews(&v), Moves: moves(&v), LayoutNotes: slices.Concat(v.Layout.Reasons, v.Layout.Notes)})
		if c := conversion(&v, true); c != nil {
			changes(p, c)
		}
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	golden(t, "layout.txt", got.String())
	if c := regexp.MustCompile(`[^\P{C}\n]`).FindString(got.String()); c != "" {
		t.Errorf("a control character, %q, is in the text", c)
	}
}

// TestLayoutShows names what must be in that text, whatever its golden file is
// updated to.
func TestLayoutShows(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "layout.txt"))
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{
		"layout gpt, 3 partitions -> lvm: the whole disk is a physical volume of web-vg, extents of 4 MiB from 1 MiB on",
		"layout mbr, 1 partition -> lvm: the whole disk is a physical volume of web-vg2",
		"layout the whole disk is ext4 -> keep: as it is",
		"layout gpt, 3 partitions -> keep: as it is",
		"web-scsi0:0.raw, larger by ",
		"move BIOS boot, 1 MiB: scsi0:0 partition 1 at 1048576 -> left out: it is GRUB's own space",
		"move ext4 /, 9 GiB: scsi0:0 partition 2 at 2097152 -> web-vg/root at 1048576; no longer /dev/sda2",
		`move xfs /srv\u001b[2J\u202e\u009b1m\u000d, 1 GiB: scsi0:1 partition 1 at 1048576 -> web-vg2/`,
		"| -/dev/sda2 / ext4 errors=remount-ro 0 1 | -/dev/sda3 none swap sw 0 0",
		"| +/dev/mapper/web--vg-root / ext4 errors=remount-ro 0 1",
		"edit /etc/lilo.conf",
		"remove grub-pc, open-vm-tools",
		`install lvm2 2.03.16-2, 1.2 MiB (/packages/lvm2\u001b[2J\u202e\u009b1m\u000d.deb)`,
		`install dmsetup 2:1.02.185-2 in place of 2:1.02.175-2\u001b[2J\u202e\u009b1m\u000d, 80 KiB (http://m/dmsetup.deb)`,
		`layout several volumes look like a root, scsi0:0 partition 2 and scsi0:9 partition 1\u001b[2J`,
		"layout scsi0:0 partition 3 is encrypted with LUKS: what it holds can't be seen from outside",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("the text has no %q", want)
		}
	}
}
