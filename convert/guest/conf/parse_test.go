package conf

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/convert/guest"

	"github.com/google/go-cmp/cmp"
)

func TestParseFstab(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []mountLine
	}{
		{"usual", "# c\nUUID=abc / ext4 defaults 0 1\n", []mountLine{{"UUID=abc", "/", "ext4", "defaults"}}},
		{"quotes, escapes, CRLF", "LABEL=\"root\"\t/\r\nUUID=\"q\" /a\\040b/ xfs\r\n", []mountLine{{"LABEL=root", "/", "", ""}, {"UUID=q", "/a b", "xfs", ""}}},
		{"swap", "/dev/sda2 none swap sw 0 0\n", []mountLine{{"/dev/sda2", "swap", "swap", "sw"}}},
		{"short and odd", "x\n\n   \n/dev/x ../../y\n", []mountLine{{"/dev/x", "/y", "", ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ParseFstab([]byte(tt.in))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(mountLine{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnstableName(t *testing.T) {
	for in, want := range map[string]string{
		"/dev/sda1": "/dev/sda1", "/dev/nvme0n1p2": "/dev/nvme0n1p2", "/dev/xvdb": "/dev/xvdb", "/dev/sdaa10": "/dev/sdaa10",
		"/dev/mapper/vg-root": "", "/dev/vg/root": "", "UUID=1": "", "/dev/disk/by-uuid/1": "", "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1": "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1",
		"/dev/disk/by-id/wwn-0x6000c29": "/dev/disk/by-id/wwn-0x6000c29", "/dev/disk/by-id/lvm-pv-uuid-x": "", "/dev/sr0": "", "/dev/sd": "", "/dev/sda1,discard": "/dev/sda1", "sda1": "", "/dev/sda99999999999999999999": "",
	} {
		if got := UnstableName(in); got != want {
			t.Errorf("UnstableName(%q) = %q; want %q", in, got, want)
		}
	}
}

// TestDiskNames has VMs' disks in the VM's order, with the names that Linux
// gives them, and their second partitions.
func TestDiskNames(t *testing.T) {
	for _, tt := range []struct{ disks, want string }{
		{"scsi0:0", "/dev/sda /dev/sda2"},
		{"scsi0:0 scsi0:3 scsi1:0", "/dev/sda /dev/sda2, /dev/sdb /dev/sdb2, /dev/sdc /dev/sdc2"},
		{"sata0:0 sata0:1", "/dev/sda /dev/sda2, /dev/sdb /dev/sdb2"},
		{"ide0:0 ide1:0", "/dev/sda /dev/sda2 /dev/hda /dev/hda2, /dev/sdb /dev/sdb2 /dev/hdc /dev/hdc2"},
		{"nvme0:0", "/dev/nvme0n1 /dev/nvme0n1p2"},
		{"scsi0:0 nvme0:0", "/dev/sda /dev/sda2, /dev/nvme0n1 /dev/nvme0n1p2"},
		{"nvme0:0 nvme0:1 nvme1:0", "/dev/nvme0n1 /dev/nvme0n1p2, /dev/nvme0n2 /dev/nvme0n2p2, /dev/nvme1n1 /dev/nvme1n1p2"},
		{"nvme0:0 nvme0:2", "/dev/nvme0n1 /dev/nvme0n1p2, "},
		{"nvme1:0", ""},
		{"sata0:0 scsi0:0 nvme0:0", ", , /dev/nvme0n1 /dev/nvme0n1p2"},
		{"ide0:1 scsi0:0", "/dev/hdb /dev/hdb2, "},
	} {
		var disks []guest.DiskLayout
		for a := range strings.FieldsSeq(tt.disks) {
			disks = append(disks, guest.DiskLayout{Address: a})
		}
		var got []string
		for _, names := range guest.DiskNames(disks) {
			var all []string
			for _, n := range names {
				all = append(all, guest.PartitionName(n, 0), guest.PartitionName(n, 2))
				if UnstableName(guest.PartitionName(n, 2)) == "" || guest.PartitionNumber(guest.PartitionName(n, 2)) != 2 || guest.PartitionNumber(n) != 0 {
					t.Errorf("%s isn't known by its form", guest.PartitionName(n, 2))
				}
			}
			got = append(got, strings.Join(all, " "))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("the disks %s are %q; want %q", tt.disks, s, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"/dev/disk/by-uuid/AB-1": "UUID=ab-1", `uuid="AB-1"`: "UUID=ab-1", "LABEL=Root": "LABEL=Root",
		`/dev/disk/by-label/my\x20data\x2f`: "LABEL=my data/", "PARTLABEL=EFI System": "PARTLABEL=EFI System", `/dev/disk/by-partlabel/EFI\x20System`: "PARTLABEL=EFI System",
		"/dev/disk/by-partuuid/CAFE-01": "PARTUUID=cafe-01", "/dev/vg-0/a-b": "/dev/mapper/vg--0-a--b", "/dev/mapper/vg--0-a--b": "/dev/mapper/vg--0-a--b",
		"/dev/disk/by-id/dm-name-vg-root": "/dev/mapper/vg-root", "/dev/disk/by-id/dm-uuid-LVM-Ab": "/dev/disk/by-id/dm-uuid-LVM-Ab",
		"/dev/sda1": "/dev/sda1", "": "", "/dev/": "/dev/", "host:/x=y": "host:/x=y",
	} {
		if got := guest.Canonical(in); got != want {
			t.Errorf("Canonical(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestDefaultEntry(t *testing.T) {
	grub2 := `
set default="${saved_entry}"
menuentry 'A' --id a { linux /vmlinuz-a arg=a ; }
menuentry 'B (1)' $menuentry_id_option 'b' {
  if true ; then
    insmod ext2
  fi
  linux16 /vmlinuz-b arg=b "quoted arg" dyndbg="file foo.c +p" 'x=a b' "a b=c" d=\"e f\"
}
submenu "More" {
  menuentry 'C' --id=c {
    linuxefi /vmlinuz-c arg=c
  }
  menuentry 'D' {
    linux /vmlinuz-d arg=d
  }
}
menuentry 'Memtest' {
  linux16 /memtest86+.bin
}
menuentry 'Windows' {
  chainloader +1
}
`
	bQuoted := `arg=b "quoted arg" dyndbg="file foo.c +p" x="a b" "a b=c" d="e f"`
	for _, tt := range []struct {
		name, cfg, def string
		env            map[string]string
		want           string
	}{
		{"saved title", grub2, "", map[string]string{"saved_entry": "B (1)"}, bQuoted},
		{"saved id below a menu", grub2, "", map[string]string{"saved_entry": "more>c"}, "arg=c"},
		{"number", grub2, "2>1", nil, "arg=d"},
		{"nothing saved", grub2, "", nil, "arg=a"},
		{"unknown", grub2, "zzz", nil, "arg=a"},
		{"empty", "", "0", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entries, def := ParseGrubCfg([]byte(tt.cfg))
			if tt.def != "" {
				def = tt.def
			}
			got, _ := DefaultEntry(entries, def, tt.env)
			if got.Cmdline != tt.want {
				t.Errorf("cmdline = %q; want %q (entries %+v, default %q)", got.Cmdline, tt.want, entries, def)
			}
		})
	}
	var others []string
	for _, e := range ReadGrubCfg([]byte(grub2)).Others {
		others = append(others, e.Title+": "+e.Other)
	}
	if want := []string{"Windows: chainloader +1"}; !slices.Equal(others, want) {
		t.Errorf("other systems: %q; want %q", others, want)
	}
	e := ParseBLS("id", []byte("title Fedora (6.1)\nversion 6.1\nlinux /vmlinuz-6.1\noptions $kernelopts quiet\n"), map[string]string{"kernelopts": "root=/dev/mapper/x ro"})
	if want := (BootEntry{id: "id", Title: "Fedora (6.1)", Image: "/vmlinuz-6.1", Cmdline: "root=/dev/mapper/x ro quiet"}); e != want {
		t.Errorf("parseBLS = %+v; want %+v", e, want)
	}
	env := Grubenv([]byte("# GRUB Environment Block\nsaved_entry=0a1b-6.1\nkernelopts=root=UUID=1 ro crashkernel=auto\n####"))
	if want := map[string]string{"saved_entry": "0a1b-6.1", "kernelopts": "root=UUID=1 ro crashkernel=auto"}; !cmp.Equal(env, want) {
		t.Errorf("grubenv = %q; want %q", env, want)
	}
}

func TestInitrdReadiness(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  Verdict
		want guest.Readiness
	}{
		{"most", InitramfsReady("most", "f", nil), guest.Yes},
		{"dep", InitramfsReady("dep", "f", nil), guest.No},
		{"dep with modules", InitramfsReady("dep", "f", []byte("# x\nvirtio-blk\nvirtio_pci opt=1\n")), guest.Yes},
		{"dep with half of them", InitramfsReady("dep", "f", []byte("virtio_blk\n")), guest.No},
		{"initramfs silent", InitramfsReady("", "", nil), guest.Unknown},
		{"hostonly", DracutReady(map[string]string{"hostonly": "yes"}, "f"), guest.No},
		{"not hostonly", DracutReady(map[string]string{"hostonly": "no"}, "f"), guest.Yes},
		{"hostonly with drivers", DracutReady(map[string]string{"hostonly": "yes", "add_drivers": " vfat virtio_blk "}, "f"), guest.Yes},
		{"dracut silent", DracutReady(nil, ""), guest.Unknown},
		{"arch", MkinitcpioReady([]byte("HOOKS=(base udev autodetect block)\n")), guest.No},
		{"arch with modules", MkinitcpioReady([]byte("MODULES=(virtio_blk)\nHOOKS=(autodetect)\n")), guest.Yes},
		{"arch without autodetect", MkinitcpioReady([]byte("# autodetect\nHOOKS=(base block)\n")), guest.Yes},
		{"alpine", MkinitfsReady([]byte(`features="ata base virtio"`)), guest.Yes},
		{"alpine without", MkinitfsReady([]byte(`features="ata base"`)), guest.No},
	} {
		if tt.got.Ready != tt.want || tt.got.Evidence == "" {
			t.Errorf("%s: %+v; want %s with evidence", tt.name, tt.got, tt.want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	in := []string{"6.1.0-18-amd64", "5.10", "6.1.0-9-amd64", "6.1.0-9", "6.1.0-009-x", "2.6.32-754.el6"}
	slices.SortFunc(in, CompareVersions)
	want := []string{"2.6.32-754.el6", "5.10", "6.1.0-9", "6.1.0-9-amd64", "6.1.0-009-x", "6.1.0-18-amd64"}
	if !slices.Equal(in, want) {
		t.Errorf("sorted: %q; want %q", in, want)
	}
}

func TestAssignments(t *testing.T) {
	got := Assignments([]byte("A=1 # c\nexport B='x $y'\nC=\"a \\\"q\\\"\"\nD+=\" more\"\nA+=2\nE = spaced\nnot an assignment\nF=a\\\nb\nG=x;H=y\n"))
	want := map[string]string{"A": "12", "B": "x $y", "C": `a "q"`, "D": " more", "E": "spaced", "F": "a", "G": "x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInittab(t *testing.T) {
	for in, want := range map[string]string{
		"T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100": "ttyS0", "s1:2345:respawn:/sbin/agetty 115200 /dev/ttyS1": "ttyS1",
		"1:2345:respawn:/sbin/getty 38400 tty1": "", "x": "",
	} {
		if got := inittabSerial(in); got != want {
			t.Errorf("inittabSerial(%q) = %q; want %q", in, got, want)
		}
	}
}

// TestHostileLines: what a guest may write in 1 MiB is read at once.
func TestHostileLines(t *testing.T) {
	const size = 1 << 20
	start := time.Now()
	if got := Lines(bytes.Repeat([]byte("\\\n"), size/2)); len(got) > 0 {
		t.Errorf("%d lines of blanks", len(got))
	}
	if got := Lines([]byte("a\\\nb\nc\\\n")); !slices.Equal(got, []string{"a b", "c"}) {
		t.Errorf("lines = %q, want them joined", got)
	}
	if got := Assignments(bytes.Repeat([]byte("A+=xxxx\n"), size/8))["A"]; len(got) != size/2 {
		t.Errorf("A has %d bytes, want %d", len(got), size/2)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// small is what a parser may at most make of its input.
func small(t *testing.T, in []byte, got ...string) {
	t.Helper()
	if n := len(strings.Join(got, "")); n > 8*len(in)+1024 {
		t.Errorf("%d bytes out of %d", n, len(in))
	}
}

func FuzzFstab(f *testing.F) {
	f.Add([]byte("UUID=1 / ext4 defaults 0 1\n/dev/sda\\0401 /x\\777 swap\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range ParseFstab(b) {
			small(t, b, m.Spec, m.Mount)
			if m.Mount != "swap" && m.Mount[0] != '/' {
				t.Errorf("mount %q is not absolute", m.Mount)
			}
			UnstableName(m.Spec)
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add([]byte("set default=0\nsubmenu x {\nmenuentry 'a' {\nlinux /v root=/dev/sda1\n}\n}\n"))
	f.Add([]byte("default=1\ntitle a\nkernel /v x\n"))
	f.Add(bytes.Repeat([]byte("submenu x {\n"), 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, def := ParseGrubCfg(b)
		more, def2 := ParseGrubLegacy(b)
		env := Grubenv(b)
		for _, d := range []string{def, def2, "saved", ""} {
			if e, ok := DefaultEntry(append(es, more...), d, env); ok {
				Consoles(e.Cmdline)
			}
		}
		for _, e := range slices.Concat(ReadGrubCfg(b).Others, ParseLilo(b)) {
			small(t, b, e.Title, e.Other, RootSpec(e.Cmdline))
		}
		ParseBLS("x", b, env)
		Assignments(b)
		InitramfsReady("dep", "f", b)
		MkinitfsReady(b)
	})
}
