package guest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
			got := parseFstab([]byte(tt.in))
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
		if got := unstableName(in); got != want {
			t.Errorf("unstableName(%q) = %q; want %q", in, got, want)
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
		var disks []DiskLayout
		for a := range strings.FieldsSeq(tt.disks) {
			disks = append(disks, DiskLayout{Address: a})
		}
		var got []string
		for _, names := range DiskNames(disks) {
			var all []string
			for _, n := range names {
				all = append(all, PartitionName(n, 0), PartitionName(n, 2))
				if unstableName(PartitionName(n, 2)) == "" || partitionNumber(PartitionName(n, 2)) != 2 || partitionNumber(n) != 0 {
					t.Errorf("%s isn't known by its form", PartitionName(n, 2))
				}
			}
			got = append(got, strings.Join(all, " "))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("the disks %s are %q; want %q", tt.disks, s, tt.want)
		}
	}
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 27: "ab", 26 + 26*26: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("letters(%d) = %s; want %s", n, got, want)
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
		if got := Canonical(in); got != want {
			t.Errorf("Canonical(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestNICs(t *testing.T) {
	netplan := func(s string) nics {
		n, err := parseNetplan([]byte(s))
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for _, tt := range []struct {
		name          string
		got           nics
		names, pinned []string
	}{
		{"interfaces", parseInterfaces([]byte("auto lo ens192\niface ens192 inet dhcp\niface ens192:1 inet static\nauto /en*\nallow-hotplug=x\n")), []string{"ens192"}, nil},
		{"interfaces, bond and VLAN of odd names", parseInterfaces([]byte("iface uplink inet manual\n  bond_slaves eth0 \\\n eth1\niface mgmt inet static\n vlan-raw-device uplink0\niface eth0.5 inet dhcp\n")), []string{"eth0", "eth1", "uplink0"}, nil},
		{"interfaces, bridge", parseInterfaces([]byte("iface lan inet dhcp\n bridge_ports regex eth.* noregex eth3\n")), []string{"eth3"}, nil},
		{"netplan", netplan("network:\n  version: 2\n  ethernets:\n    ens160: {dhcp4: true}\n    id0: {match: {macaddress: '00:50:56:00:00:01'}, set-name: lan0}\n    id1: {match: {name: 'en*'}}\n    id2: {match: {name: ens256}}\n  bonds: {bond0: {interfaces: [ens160]}}\n"), []string{"ens160", "ens256", "lan0"}, []string{"lan0"}},
		{"netplan, null", netplan("network:\n  ethernets:\n    ens33:\n"), []string{"ens33"}, nil},
		{"netplan, list of names", netplan("network: {ethernets: {a: {match: {name: [x, y]}}}}"), nil, nil},
		{"networkd", parseNetworkd([]byte("[Match]\nName=ens192 ens2* !eth0\n[Network]\nDHCP=yes\n")), []string{"ens192"}, nil},
		{"link", parseNetworkd([]byte("[Match]\nMACAddress=00:50:56:00:00:01\n[Link]\nName=wan\n")), []string{"wan"}, []string{"wan"}},
		{"keyfile", parseKeyfile([]byte("[connection]\nid=x\ntype=ethernet\ninterface-name=ens224\n[wifi-security]\npsk=secret\n")), []string{"ens224"}, nil},
		{"keyfile, VLAN", parseKeyfile([]byte("[connection]\ntype=vlan\ninterface-name=v30\n[vlan]\nparent=ens224\n")), []string{"ens224"}, nil},
		{"ifcfg", parseIfcfg("x/ifcfg-eth0", []byte("DEVICE=\"eth0\"\nHWADDR=00:50:56:00:00:01\nTYPE=Ethernet\n")), []string{"eth0"}, []string{"eth0"}},
		{"ifcfg, name of the file", parseIfcfg("x/ifcfg-ens32", []byte("BOOTPROTO=static\n")), []string{"ens32"}, nil},
		{"ifcfg, SUSE bond", parseIfcfg("x/ifcfg-bond7", []byte("BONDING_MASTER=yes\nBONDING_SLAVE0=eth1\nBONDING_SLAVE_1='eth2'\n")), []string{"eth1", "eth2"}, nil},
		{"ifcfg, VLAN", parseIfcfg("x/ifcfg-eth0.5", []byte("DEVICE=eth0.5\nVLAN=yes\n")), []string{"eth0"}, nil},
		{"ifcfg, loopback", parseIfcfg("x/ifcfg-lo", []byte("DEVICE=lo\n")), nil, nil},
		{"udev", parseUdevRules([]byte("# c\nSUBSYSTEM==\"net\", ATTR{address}==\"00:0c:29:aa:bb:cc\", KERNEL==\"eth*\", NAME=\"eth1\"\nSUBSYSTEM==\"net\", NAME=\"no\"\n")), []string{"eth1"}, []string{"eth1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if names := set(tt.got.names); !slices.Equal(names, tt.names) {
				t.Errorf("names = %q; want %q", names, tt.names)
			}
			if pinned := set(tt.got.pinned); !slices.Equal(pinned, tt.pinned) {
				t.Errorf("pinned = %q; want %q", pinned, tt.pinned)
			}
		})
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
			entries, def := parseGrubCfg([]byte(tt.cfg))
			if tt.def != "" {
				def = tt.def
			}
			got, _ := defaultEntry(entries, def, tt.env)
			if got.cmdline != tt.want {
				t.Errorf("cmdline = %q; want %q (entries %+v, default %q)", got.cmdline, tt.want, entries, def)
			}
		})
	}
	var others []string
	for _, e := range readGrubCfg([]byte(grub2)).others {
		others = append(others, e.title+": "+e.other)
	}
	if want := []string{"Windows: chainloader +1"}; !slices.Equal(others, want) {
		t.Errorf("other systems: %q; want %q", others, want)
	}
	e := parseBLS("id", []byte("title Fedora (6.1)\nversion 6.1\nlinux /vmlinuz-6.1\noptions $kernelopts quiet\n"), map[string]string{"kernelopts": "root=/dev/mapper/x ro"})
	if want := (bootEntry{id: "id", title: "Fedora (6.1)", image: "/vmlinuz-6.1", cmdline: "root=/dev/mapper/x ro quiet"}); e != want {
		t.Errorf("parseBLS = %+v; want %+v", e, want)
	}
	env := grubenv([]byte("# GRUB Environment Block\nsaved_entry=0a1b-6.1\nkernelopts=root=UUID=1 ro crashkernel=auto\n####"))
	if want := map[string]string{"saved_entry": "0a1b-6.1", "kernelopts": "root=UUID=1 ro crashkernel=auto"}; !cmp.Equal(env, want) {
		t.Errorf("grubenv = %q; want %q", env, want)
	}
}

func TestInitrdReadiness(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  verdict
		want Readiness
	}{
		{"most", initramfsReady("most", "f", nil), Yes},
		{"dep", initramfsReady("dep", "f", nil), No},
		{"dep with modules", initramfsReady("dep", "f", []byte("# x\nvirtio-blk\nvirtio_pci opt=1\n")), Yes},
		{"dep with half of them", initramfsReady("dep", "f", []byte("virtio_blk\n")), No},
		{"initramfs silent", initramfsReady("", "", nil), Unknown},
		{"hostonly", dracutReady(map[string]string{"hostonly": "yes"}, "f"), No},
		{"not hostonly", dracutReady(map[string]string{"hostonly": "no"}, "f"), Yes},
		{"hostonly with drivers", dracutReady(map[string]string{"hostonly": "yes", "add_drivers": " vfat virtio_blk "}, "f"), Yes},
		{"dracut silent", dracutReady(nil, ""), Unknown},
		{"arch", mkinitcpioReady([]byte("HOOKS=(base udev autodetect block)\n")), No},
		{"arch with modules", mkinitcpioReady([]byte("MODULES=(virtio_blk)\nHOOKS=(autodetect)\n")), Yes},
		{"arch without autodetect", mkinitcpioReady([]byte("# autodetect\nHOOKS=(base block)\n")), Yes},
		{"alpine", mkinitfsReady([]byte(`features="ata base virtio"`)), Yes},
		{"alpine without", mkinitfsReady([]byte(`features="ata base"`)), No},
	} {
		if tt.got.ready != tt.want || tt.got.evidence == "" {
			t.Errorf("%s: %+v; want %s with evidence", tt.name, tt.got, tt.want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	in := []string{"6.1.0-18-amd64", "5.10", "6.1.0-9-amd64", "6.1.0-9", "6.1.0-009-x", "2.6.32-754.el6"}
	slices.SortFunc(in, compareVersions)
	want := []string{"2.6.32-754.el6", "5.10", "6.1.0-9", "6.1.0-9-amd64", "6.1.0-009-x", "6.1.0-18-amd64"}
	if !slices.Equal(in, want) {
		t.Errorf("sorted: %q; want %q", in, want)
	}
}

func TestAssignments(t *testing.T) {
	got := assignments([]byte("A=1 # c\nexport B='x $y'\nC=\"a \\\"q\\\"\"\nD+=\" more\"\nA+=2\nE = spaced\nnot an assignment\nF=a\\\nb\nG=x;H=y\n"))
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
	start := time.Now()
	if got := lines(bytes.Repeat([]byte("\\\n"), maxFile/2)); len(got) > 0 {
		t.Errorf("%d lines of blanks", len(got))
	}
	if got := lines([]byte("a\\\nb\nc\\\n")); !slices.Equal(got, []string{"a b", "c"}) {
		t.Errorf("lines = %q, want them joined", got)
	}
	if got := assignments(bytes.Repeat([]byte("A+=xxxx\n"), maxFile/8))["A"]; len(got) != maxFile/2 {
		t.Errorf("A has %d bytes, want %d", len(got), maxFile/2)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestHostileNICs: of a directory full of configuration a part is read.
func TestHostileNICs(t *testing.T) {
	for _, form := range [][2]string{
		{"etc/netplan/%d.yaml", "network: {ethernets: {eth%d: {}}}"},
		{"etc/systemd/network/%d.network", "[Match]\nName=eth%d\n"},
		{"etc/sysconfig/network-scripts/ifcfg-%d", "DEVICE=eth%d\n"},
	} {
		files := map[string]string{}
		for i := range maxFew + 50 {
			files[fmt.Sprintf(form[0], i)] = fmt.Sprintf(form[1], i)
		}
		l := lookAt(files)
		if l.nics(); len(l.guest.Interfaces) != maxFew {
			t.Errorf("%s: %d files are read, want %d", form[0], len(l.guest.Interfaces), maxFew)
		}
	}
	l := lookAt(map[string]string{"etc/network/interfaces": strings.Repeat("source /x/*\n", maxFew) + "source /y\n", "y": "auto eth1\n"})
	if got := l.interfaces(); len(got.names) > 0 {
		t.Errorf("interfaces = %q, want the pattern after %d others left out", got.names, maxFew)
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
		for _, m := range parseFstab(b) {
			small(t, b, m.spec, m.mount)
			if m.mount != "swap" && m.mount[0] != '/' {
				t.Errorf("mount %q is not absolute", m.mount)
			}
			unstableName(m.spec)
		}
	})
}

func FuzzInterfaces(f *testing.F) {
	f.Add([]byte("auto eth0\niface eth0 inet static\n bridge_ports a b\nsource x/*\n"))
	f.Add([]byte("[Match]\nName=a\n[Link]\nName=b\n"))
	f.Add([]byte("network: {ethernets: {a: {match: {name: b}}}}"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := parseInterfaces(b)
		n.add(parseNetworkd(b))
		n.add(parseKeyfile(b))
		n.add(parseIfcfg("ifcfg-x", b))
		n.add(parseUdevRules(b))
		if more, err := parseNetplan(b); err == nil {
			n.add(more)
		}
		for _, name := range n.names {
			if name == "" || len(name) > 15 || strings.ContainsAny(name, " */") {
				t.Errorf("name %q", name)
			}
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add([]byte("set default=0\nsubmenu x {\nmenuentry 'a' {\nlinux /v root=/dev/sda1\n}\n}\n"))
	f.Add([]byte("default=1\ntitle a\nkernel /v x\n"))
	f.Add(bytes.Repeat([]byte("submenu x {\n"), 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, def := parseGrubCfg(b)
		more, def2 := parseGrubLegacy(b)
		env := grubenv(b)
		for _, d := range []string{def, def2, "saved", ""} {
			if e, ok := defaultEntry(append(es, more...), d, env); ok {
				consoles(e.cmdline)
			}
		}
		for _, e := range slices.Concat(readGrubCfg(b).others, parseLilo(b)) {
			small(t, b, e.title, e.other, rootSpec(e.cmdline))
		}
		parseBLS("x", b, env)
		assignments(b)
		initramfsReady("dep", "f", b)
		mkinitfsReady(b)
	})
}
