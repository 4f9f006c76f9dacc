package adapt

import (
	"fmt"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// TestFixed: what nobody can change, as chattr left it, stops a conversion that
// changes it, before anything is copied. All else may be so.
func TestFixed(t *testing.T) {
	const immutable, appendOnly = 0x80010, 0x80020 // with extents
	for _, tt := range []struct {
		name  string
		flags uint32
		want  string // chattr's arguments in the advice, "" for no blocker
	}{
		{"/etc/fstab", immutable, "-i /etc/fstab"},
		{"/etc/fstab", appendOnly, "-a /etc/fstab"},
		{"/etc/default/grub", immutable, "-i /etc/default/grub"},
		{"/etc/lilo.conf", immutable, "-i /etc/lilo.conf"},
		{"/etc/resolv.conf", immutable, ""},
		{"/etc/passwd", immutable, ""},
		{"/boot/grub/grub.cfg", immutable, "-i /boot/grub/grub.cfg"},
		{"/boot/grub/i386-pc/normal.mod", immutable, "-i /boot/grub/i386-pc/normal.mod"},
		{"/boot/grub/i386-pc", immutable, "-i /boot/grub/i386-pc"},
		{"/boot/initrd.img-6.1.0-18-amd64", immutable, "-i /boot/initrd.img-6.1.0-18-amd64"},
		{"/boot/vmlinuz-6.1.0-18-amd64", immutable, ""},
		{"/boot/map", immutable, "-i /boot/map"},
		{"/etc", immutable, "-i /etc"},
		{"/etc", appendOnly, "-a /etc"},
		{"/boot", immutable, "-i /boot"},
		{"/", immutable, "-i /"},
		{"/usr/sbin", immutable, "-i /usr/sbin"},
		{"/usr/lib/grub/i386-pc/a.mod", immutable, "-i /usr/lib/grub/i386-pc/a.mod"},
		{"/etc/kernel/postinst.d", immutable, "-i /etc/kernel/postinst.d"},
		{"/var/lib/dpkg/status", immutable, "-i /var/lib/dpkg/status"},
		{"/var/lib/dpkg/info", immutable, "-i /var/lib/dpkg/info"},
		{"/var/log/dpkg.log", immutable, "-i /var/log/dpkg.log"},
		{"/var/log/dpkg.log", appendOnly, ""},
		{"/srv", immutable, ""},
	} {
		t.Run(fmt.Sprintf("%s %#x", tt.name, tt.flags), func(t *testing.T) {
			a := archive(t, "debian-mbr.txtar")
			for _, name := range []string{
				"boot/grub/i386-pc/normal.mod", "boot/map", "etc/default/grub", "etc/kernel/postinst.d/x", "etc/lilo.conf", "etc/passwd", "etc/resolv.conf",
				"srv/x", "usr/lib/grub/i386-pc/a.mod", "var/lib/dpkg/info/x.list", "var/log/dpkg.log",
			} {
				add(a, "tree/"+name, "# x\n")
			}
			request := fmt.Sprintf("set_inode_field %s flags %#x", tt.name, tt.flags)
			_, _, concerns := New(input(t, a, request))
			var advice []string
			for _, c := range concerns {
				if c.Severity == ledger.Blocker {
					advice = append(advice, c.Advice)
					if c.ID != ConcernFixed || c.Subject != tt.name {
						t.Errorf("blocked by %+v", c)
					}
				}
			}
			got := strings.Join(advice, "\n")
			if (got == "") != (tt.want == "") || tt.want != "" && !strings.Contains(got, "chattr "+tt.want+";") {
				t.Errorf("advice %q; want chattr %s", got, tt.want)
			}
		})
	}
}

// TestFixedMany: of many such files the first are named, and the rest counted.
func TestFixedMany(t *testing.T) {
	b := &builder{}
	for i := range fixedShown + 3 {
		name := fmt.Sprintf("/boot/grub/%02d", i)
		b.c.Fixed = append(b.c.Fixed, guest.Fixed{Path: name, Real: name})
	}
	b.touch("GRUB is gone", "/boot/grub/")
	b.fixed()
	if len(b.concerns) != 1 || !strings.Contains(b.concerns[0].Evidence, "/boot/grub/19 and 3 more (lsattr shows them)") {
		t.Errorf("concerns %+v; want one with a count", b.concerns)
	}
}
