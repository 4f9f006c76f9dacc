package adapt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/lilo/conf"
)

func TestRewrite(t *testing.T) {
	judge := func(f []string) verdict {
		switch f[0] {
		case "old":
			return verdict{spec: "new"}
		case "gone":
			return verdict{drop: "why\nnot"}
		}
		return verdict{}
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"spacing", " old \t x  \n\n\t# old\n#old\nolder old\nold", " new \t x  \n\n\t# old\n#old\nolder old\nnew"},
		{"carriage returns", "old x\r\nold\r\n", "new x\r\nnew\r\n"},
		{"dropped", "a\n gone\tx\nb\n", "a\n# esxodus: why not\n# gone\tx\nb\n"},
		{"dropped at the end", "gone", "# esxodus: why not\n#gone"},
		{"bytes that are no text", "old \xff\x00\n\xfe old\n", "new \xff\x00\n\xfe old\n"},
	} {
		if got := rewrite(tt.in, 0, judge); got != tt.want {
			t.Errorf("%s: rewrite(%q) = %q; want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// FuzzRewrite holds that lines that nothing is said about stay as they are,
// and that in others only the spec changes.
func FuzzRewrite(f *testing.F) {
	f.Add("/dev/sda1 / ext4 defaults 0 1\nUUID=x none swap\n", 0)
	f.Add(" tmp /dev/sda1 /dev/urandom swap\r\n# c\n\n/dev/sda1", 1)
	f.Add("\x00\xff /dev/sda1\\040 \\\n/dev/sda1", 1)
	f.Fuzz(func(t *testing.T, text string, field int) {
		if field < 0 || field > 3 {
			return
		}
		if got := rewrite(text, field, func([]string) verdict { return verdict{} }); got != text {
			t.Errorf("rewrite(%q) = %q; want no change", text, got)
		}
		// A spec that is replaced by one of the same length, and back.
		there := func(f []string) verdict {
			if f[field] == "/dev/sda1" {
				return verdict{spec: "/dev/vdb7"}
			}
			return verdict{}
		}
		back := func(f []string) verdict {
			if f[field] == "/dev/vdb7" {
				return verdict{spec: "/dev/sda1"}
			}
			return verdict{}
		}
		if !strings.Contains(text, "/dev/vdb7") {
			if got := rewrite(rewrite(text, field, there), field, back); got != text {
				t.Errorf("there and back %q becomes %q", text, got)
			}
		}
		dropped := rewrite(text, field, func([]string) verdict { return verdict{drop: "x"} })
		again := rewrite(dropped, field, func(f []string) verdict {
			t.Errorf("%q: a line is left: %q", dropped, f)
			return verdict{}
		})
		restored := strings.ReplaceAll(again, "# esxodus: x\n#", "")
		if !strings.Contains(text, "# esxodus") && restored != text {
			t.Errorf("dropped lines of %q don't come back: %q", text, restored)
		}
	})
}

// FuzzQuote holds that LILO's own parser reads what is quoted for it.
func FuzzQuote(f *testing.F) {
	f.Add(`quiet dyndbg="file foo.c +p" a\b`)
	f.Add("x\ny \x7f\x01 \"")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1500 {
			return
		}
		text := "image=/vmlinuz\n\tlabel=x\n\tappend=" + quote(s) + "\n"
		c, err := conf.Parse("lilo.conf", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := c.Images[0].Append; got != oneLine(s) {
			t.Errorf("quote(%q) is read as %q; want %q", s, got, oneLine(s))
		}
	})
}

func TestPlaces(t *testing.T) {
	disk := func(number int) guest.DiskLayout {
		return guest.DiskLayout{TableID: "c10e", Partitions: []guest.Partition{{Number: 1}, {Number: number}}}
	}
	p := newPlaces(Input{Guest: guest.Guest{
		Disks:   []guest.DiskLayout{disk(2), disk(3)}, // the second a clone, kept as it is
		Volumes: []guest.Volume{{Group: "vg", Name: "var", ID: "LVM-Ab"}},
	}, Layout: layout.Layout{Moves: []layout.Move{
		{UUID: "AAAA-1", Label: "root", From: "scsi0:0 partition 1", To: "g-x/r-y", Names: []string{"/dev/sda1", "PARTUUID=CAFE-01", "PARTLABEL=EFI System"}},
		{UUID: "twice", Label: "l", From: "a", To: "b"},
		{UUID: "twice", From: "c", To: "d"},
		{UUID: "c1", From: "scsi0:0 partition 1", To: "vg/a", Names: []string{"/dev/sdb1", "PARTUUID=c10e-01", "PARTLABEL=both"}},
		{UUID: "c2", From: "scsi0:0 partition 2", To: "vg/b", Names: []string{"/dev/sdb2", "PARTUUID=c10e-02", "PARTLABEL=both"}},
		{UUID: "v", From: "vg/var", To: "vg/var"},
	}}})
	for _, tt := range []struct {
		spec     string
		found    bool
		vanishes bool
	}{
		{"/dev/sda1", true, true},
		{"/dev/sda11", false, false},
		{"PARTUUID=cafe-01", true, true},
		{"partuuid=CAFE-01", true, true},
		{"/dev/disk/by-partuuid/cafe-01", true, true},
		{"PARTLABEL=EFI System", true, true},
		{"PARTLABEL=efi system", false, false},
		{"UUID=aaaa-1", true, false},
		{`UUID="AAAA-1"`, true, false},
		{"/dev/disk/by-uuid/AAAA-1", true, false},
		{"LABEL=root", true, false},
		{"LABEL=Root", false, false},
		{"UUID=twice", false, false},
		{"PARTUUID=c10e-01", false, true}, // another disk has it, too
		{"PARTUUID=c10e-02", true, true},
		{"PARTUUID=c10e-03", false, false},
		{"PARTLABEL=both", false, true},
		{"/dev/disk/by-partlabel/both", false, true},
		{"/dev/sdb1", true, true},
		{"/dev/disk/by-id/dm-uuid-LVM-Ab", true, false},
		{"/dev/disk/by-id/dm-name-vg-var", true, false},
		{`/dev/disk/by-partlabel/EFI\x20System`, true, true},
		{"/dev/mapper/g--x-r--y", true, false},
		{"/dev/g-x/r-y", true, false},
		{"", false, false},
		{"/dev/", false, false},
	} {
		m, vanishes := p.find(tt.spec)
		if (m != nil) != tt.found || vanishes != tt.vanishes {
			t.Errorf("find(%q) = %v, %v; want %v, %v", tt.spec, m, vanishes, tt.found, tt.vanishes)
		}
	}
}

// TestTwoClasses has a guest with disks of two classes, whose fstab names the
// second disk's file system by the kernel's name.
func TestTwoClasses(t *testing.T) {
	for _, tt := range []struct{ second, spec, mount, want, concern string }{
		{"nvme0:0", "/dev/nvme0n1p2", "/srv", "/dev/mapper/web--vg2-srv /srv xfs", ""},
		{"nvme0:0", "/dev/nvme1n1p2", "/srv", "/dev/nvme1n1p2 /srv xfs", "blocker: /etc/fstab names /dev/nvme1n1p2, but it isn't certain which file system that is"},
		{"scsi0:1", "/dev/sdb2", "/srv", "/dev/mapper/web--vg2-srv /srv xfs", ""},
		{"sata0:0", "/dev/sdb2", "/srv", "/dev/sdb2 /srv xfs", "blocker: /etc/fstab names /dev/sdb2, but it isn't certain which file system that is"},
		{"sata0:0", "/dev/sdb2", "/var", "/dev/sdb2 /var xfs", "blocker: /etc/fstab names /dev/sdb2, but it isn't certain which file system that is"},
	} {
		const mib = 1 << 20
		g := guest.Guest{
			OS: "linux", Distro: "debian", Hostname: "web", Root: "scsi0:0 partition 1", Kernels: []string{"6.1"},
			Disks: []guest.DiskLayout{
				{Address: "scsi0:0", Size: 64 * mib, Table: "gpt", Partitions: []guest.Partition{
					{Number: 1, Offset: mib, Length: mib, Content: "ext4", UUID: "a", Mount: "/"}, {Number: 2, Offset: 2 * mib, Length: mib, Content: "ext4", UUID: "b"},
				}},
				{Address: tt.second, Size: 64 * mib, Table: "gpt", Partitions: []guest.Partition{{Number: 2, Offset: mib, Length: mib, Content: "xfs", UUID: "c"}}},
			},
			Config: guest.Config{
				Files:    map[string]guest.File{"/etc/fstab": {Path: "/etc/fstab", Text: "UUID=a / ext4\n" + tt.spec + " " + tt.mount + " xfs\n"}},
				Packages: []guest.Package{{Name: "initramfs-tools"}, {Name: "lvm2"}},
			},
		}
		if tt.concern == "" {
			g.Disks[1].Partitions[0].Mount = tt.mount // as a look finds it
		}
		l := layout.New(layout.Request{Guest: g})
		if l.Kind != layout.LVM {
			t.Fatalf("layout %s because %q", l.Kind, l.Reasons)
		}
		c, _, concerns := New(Input{Guest: g, Layout: l})
		text := g.Config.Files["/etc/fstab"].Text
		for _, e := range c.Edits {
			if e.Path == "/etc/fstab" {
				text = e.New
			}
		}
		if !strings.HasSuffix(text, "\n"+tt.want+"\n") {
			t.Errorf("%s of %s: fstab becomes %q; want it to end in %q", tt.spec, tt.second, text, tt.want)
		}
		told := ""
		for _, e := range concerns {
			if e.ID == ConcernTable {
				told += string(e.Severity) + ": " + e.Evidence
			}
		}
		if told != tt.concern {
			t.Errorf("%s of %s: concern %q; want %q", tt.spec, tt.second, told, tt.concern)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for v, want := range map[string]bool{"22.7": true, "1:24.2-5": true, "22.6.9": false, "22": false, "23": true, "": false, "x": false, "1:22.10~rc1-1": true, "99999999999999999999.1": false} {
		if got := atLeast(v, 22, 7); got != want {
			t.Errorf("atLeast(%q) = %v; want %v", v, got, want)
		}
	}
}

// TestMounts is of which file systems are mounted in the appliance, and which
// are only checked there.
func TestMounts(t *testing.T) {
	move := func(name, content, mount string) layout.Move {
		return layout.Move{Content: content, Mount: mount, UUID: name, From: "scsi0:0 partition " + name, To: "vg/" + name}
	}
	stays := func(name, content, mount string) layout.Move {
		return layout.Move{Content: content, Mount: mount, UUID: name, From: "vg/" + name, To: "vg/" + name}
	}
	tests := []struct {
		name   string
		fstab  string
		moves  []layout.Move
		config func(c *guest.Config)
		mounts string // besides the root
		checks string
	}{
		{"the root alone", "", nil, nil, "", ""},
		{"system directories", "UUID=b /boot ext2\nUUID=c /var/log xfs noauto\nUUID=d /usr ext4", []layout.Move{move("b", "ext2", "/boot"), stays("c", "xfs", "/var/log"), move("d", "ext4", "/usr")}, nil, "/dev/vg/b /boot, /dev/vg/d /usr, /dev/vg/c /var/log", ""},
		{"data", "UUID=b /srv ext4\nUUID=c /var/lib/mysql btrfs\nUUID=d /opt exfat\nUUID=e /home xfs", []layout.Move{move("b", "ext4", "/srv"), stays("c", "btrfs", "/var/lib/mysql"), move("d", "exfat", "/opt"), stays("e", "xfs", "/home")}, nil, "", "/dev/vg/b /srv ext4, /dev/vg/c /var/lib/mysql btrfs, /dev/vg/d /opt exfat, /dev/vg/e /home xfs"},
		{"swap", "UUID=b none swap sw\nUUID=c none swap sw", []layout.Move{move("b", "swap", "swap"), stays("c", "swap", "swap")}, nil, "", "/dev/vg/b swap swap, /dev/vg/c swap swap"},
		{"a place that is no text", "UUID=b /d\xe9 ext4", []layout.Move{move("b", "ext4", "/d\xe9")}, nil, "", "/dev/vg/b /d\ufffd ext4"},
		{"in no table", "", []layout.Move{move("b", "ext4", ""), stays("c", "ext4", ""), {Content: "ext4", UUID: "d", From: "scsi0:1 partition 1", To: "scsi0:1 partition 1"}, {Content: "vfat", From: "scsi0:0 partition 9", Reason: "left out"}}, nil, "", "/dev/vg/b  ext4"},
		{"not mounted by itself", "UUID=b /mnt ext4 noauto\nUUID=c /srv ext4 ro,noauto", []layout.Move{stays("b", "ext4", ""), move("c", "ext4", "/srv")}, nil, "", "/dev/vg/c /srv ext4"},
		{"twice", "UUID=b /boot ext4\nUUID=b /srv ext4", []layout.Move{move("b", "ext4", "/boot")}, nil, "/dev/vg/b /boot", ""},
		{"an edit lies there", "UUID=b /srv ext4\nUUID=c /srv2 ext4", []layout.Move{move("b", "ext4", "/srv"), move("c", "ext4", "/srv2")}, func(c *guest.Config) {
			c.Files["/etc/crypttab"] = guest.File{Path: "/srv/etc/crypttab", Text: "swap /dev/sda9 /dev/urandom swap\n"}
		}, "/dev/vg/b /srv", "/dev/vg/c /srv2 ext4"},
		{"a removed package's files lie there", "UUID=b /opt ext4\nUUID=c /opt/other ext4", []layout.Move{move("b", "ext4", "/opt"), move("c", "ext4", "/opt/other")}, func(c *guest.Config) {
			c.Packages = append(c.Packages, guest.Package{Name: "open-vm-tools"})
			c.Owned = map[string]string{"open-vm-tools": "/opt\n/opt/vm/a\n"}
		}, "/dev/vg/b /opt", "/dev/vg/c /opt/other ext4"},
		{"a link leads there", "UUID=b /home ext4\nUUID=c /data ext4", []layout.Move{move("b", "ext4", "/home"), move("c", "ext4", "/data")}, func(c *guest.Config) {
			c.Dirs = map[string]string{"/var": "/home/var", "/var/lib": "/home/var/lib"}
		}, "/dev/vg/b /home", "/dev/vg/c /data ext4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := guest.Config{
				Files:    map[string]guest.File{"/etc/fstab": {Path: "/etc/fstab", Text: "UUID=a / ext4\n" + tt.fstab + "\n"}},
				Packages: []guest.Package{{Name: "initramfs-tools"}, {Name: "lvm2"}},
			}
			if tt.name == "an edit lies there" {
				tt.moves = append(tt.moves, layout.Move{Content: "swap", From: "scsi0:0 partition 9", Names: []string{"/dev/sda9"}, Reason: "gone"})
			}
			if tt.config != nil {
				tt.config(&c)
			}
			l := layout.Layout{Kind: layout.LVM, Boot: &layout.Boot{PV: "x"}, Moves: append([]layout.Move{move("a", "ext4", "/")}, tt.moves...)}
			got, _, _ := New(Input{Guest: guest.Guest{Config: c}, Layout: l})
			var mounts, checks []string
			for _, m := range got.Mounts {
				mounts = append(mounts, m.Device+" "+m.At)
			}
			for _, m := range got.Checks {
				checks = append(checks, m.Device+" "+m.At+" "+m.Content)
			}
			want := strings.TrimSuffix("/dev/vg/a /, "+tt.mounts, ", ")
			if diff := cmp.Diff(want, strings.Join(mounts, ", ")); diff != "" {
				t.Errorf("mounts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.checks, strings.Join(checks, ", ")); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKept: what the conversion needs of a disk that is kept is mounted from
// there, and what it can't find stops it.
func TestKept(t *testing.T) {
	fstab := "UUID=aa / ext4 defaults 0 1\nUUID=bb /var ext4 defaults 0 2\nUUID=cc /srv ext4 defaults 0 2\ntmpfs /tmp tmpfs defaults 0 0\n"
	moves := []layout.Move{
		{Content: "ext4", Mount: "/", UUID: "aa", From: "scsi0:0 partition 1", To: "vg/root"},
		{Content: "ext4", Mount: "/var", UUID: "bb", From: "scsi0:1 partition 2", To: "scsi0:1 partition 2"},
		{Content: "ext4", Mount: "/srv", UUID: "cc", From: "scsi0:1 partition 3", To: "scsi0:1 partition 3"},
	}
	disks := []guest.DiskLayout{
		{Address: "scsi0:0", Partitions: []guest.Partition{{Number: 1, UUID: "aa", Mount: "/"}}},
		{Address: "scsi0:1", Partitions: []guest.Partition{{Number: 2, UUID: "bb", Mount: "/var"}, {Number: 3, UUID: "cc", Mount: "/srv"}}},
	}
	in := Input{
		Guest:  guest.Guest{Root: "scsi0:0 partition 1", Disks: disks, Config: guest.Config{Files: map[string]guest.File{"/etc/fstab": {Text: fstab}}}},
		Layout: layout.Layout{Kind: layout.LVM, Moves: moves},
	}
	b := &builder{in: in, g: in.Guest, c: in.Guest.Config, places: newPlaces(in)}
	b.mounts()
	want := []guest.Mount{{Device: "/dev/vg/root", At: "/", Content: "ext4"}, {Device: "disk:scsi0:1#2", At: "/var", Content: "ext4"}}
	if diff := cmp.Diff(want, b.out.Mounts); diff != "" || len(b.out.Checks) > 0 || len(b.concerns) > 0 {
		t.Errorf("mounts (-want +got):\n%s\nchecks %v, concerns %v; want none", diff, b.out.Checks, b.concerns)
	}
	in.Layout.Moves = moves[:1]
	b = &builder{in: in, g: in.Guest, c: in.Guest.Config, places: newPlaces(in)}
	b.mounts()
	if len(b.concerns) != 1 || b.concerns[0].Severity != ledger.Blocker || b.concerns[0].Subject != "/var" {
		t.Errorf("without a place for /var: %+v; want a blocker about it alone", b.concerns)
	}
}

// TestTwins: a name isn't replaced by a UUID that a clone has as well.
func TestTwins(t *testing.T) {
	for uuids, want := range map[[2]string]string{{"Aa", "bb"}: "UUID=Aa", {"Aa", "aA"}: ""} {
		disks := make([]guest.DiskLayout, 2)
		for i, uuid := range uuids {
			disks[i] = guest.DiskLayout{Table: "none", Partitions: []guest.Partition{{Content: "ext4", UUID: uuid, Mount: fmt.Sprint("/", i)}}}
		}
		p := newPlaces(Input{Guest: guest.Guest{Disks: disks}})
		if got := p.stable(&layout.Move{UUID: uuids[0], To: "scsi0:0", From: "scsi0:0"}); got != want {
			t.Errorf("stable beside %s = %q, want %q", uuids[1], got, want)
		}
		if got := p.foretold("/0"); got != want {
			t.Errorf("foretold beside %s = %q, want %q", uuids[1], got, want)
		}
	}
}
