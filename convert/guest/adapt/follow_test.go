package adapt

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// TestFollows: every family's guest gets what follows a kernel or an initrd that is
// rewritten, with systemd and without it.
func TestFollows(t *testing.T) {
	for _, tt := range []struct {
		file    string
		systemd bool
		bring   []string
		run     []string
	}{
		{"debian-mbr.txtar", true, []string{"lilo.service", "lilo-watch.path", "lilo-watch.service"}, []string{"systemctl", "enable", "lilo.service", "lilo-watch.path"}},
		{"debian-dracut.txtar", true, []string{"lilo.service", "lilo-watch.path", "lilo-watch.service"}, []string{"systemctl", "enable", "lilo.service", "lilo-watch.path"}},
		{"rhel.txtar", true, []string{"lilo.service", "lilo-watch.path", "lilo-watch.service"}, []string{"systemctl", "enable", "lilo.service", "lilo-watch.path"}},
		{"debian-dracut.txtar", false, []string{"/etc/init.d/lilo"}, []string{"update-rc.d", "lilo", "defaults"}},
		{"rhel.txtar", false, []string{"/etc/init.d/lilo"}, []string{"chkconfig", "--add", "lilo"}},
	} {
		in := input(t, archive(t, tt.file))
		in.Guest.Config.Systemd = tt.systemd
		c, _, _ := New(in)
		for _, name := range tt.bring {
			if !slices.ContainsFunc(c.Programs, func(p guest.Program) bool { return strings.HasSuffix(p.Path, "/"+strings.TrimPrefix(name, "/")) }) {
				t.Errorf("%s, systemd %v: %s doesn't come: %v", tt.file, tt.systemd, name, c.Programs)
			}
		}
		if !slices.ContainsFunc(c.Commands, func(argv []string) bool { return slices.Equal(argv, tt.run) }) {
			t.Errorf("%s, systemd %v: %q isn't run: %q", tt.file, tt.systemd, tt.run, c.Commands)
		}
		i := slices.IndexFunc(c.Edits, func(e guest.Edit) bool { return e.Path == liloConf })
		if want := "image=/boot/lilo/vmlinuz\n\tlabel=LastResort\n\tinitrd=/boot/lilo/initrd.img\n\tlast-resort\n"; !strings.HasSuffix(c.Edits[i].New, want) {
			t.Errorf("%s: lilo.conf ends otherwise than in %q:\n%s", tt.file, want, c.Edits[i].New)
		}
	}
}

// TestRoomForCopies: the plan counts what the copies take, and says where it isn't
// there; that is no reason not to convert.
func TestRoomForCopies(t *testing.T) {
	in := input(t, archive(t, "debian-dracut.txtar"))
	const initrd = 40 << 20
	in.Guest.Config.Initrds = map[string]int64{"/boot/initrd.img-6.1": initrd}
	c, _, _ := New(in)
	need, err := c.Needs(in.Guest.Estimate(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	copies := int64(guest.KernelSize + initrd + guest.Overlaid)
	enough := need["/"].Bytes + guest.Margin + 2*copies
	for _, tt := range []struct {
		name string
		free map[string]guest.Space
		want bool
	}{
		{"enough", map[string]guest.Space{"/": {Bytes: enough}}, false},
		{"not enough", map[string]guest.Space{"/": {Bytes: enough - 1}}, true},
		{"not known", nil, false},
	} {
		in.Guest.Config.Free = tt.free
		_, _, concerns := New(in)
		i := slices.IndexFunc(concerns, func(c ledger.Concern) bool { return c.ID == ConcernRoom })
		if (i >= 0) != tt.want {
			t.Errorf("%s: %+v", tt.name, concerns)
		}
		if i >= 0 && (concerns[i].Severity != ledger.Warning || !strings.Contains(concerns[i].Evidence, "/ of the guest has 139 MiB left after the conversion, and 70 are wanted")) {
			t.Errorf("%s: %+v", tt.name, concerns[i])
		}
	}
}

// TestImagesOfRPM: SUSE's packages move their own pair of links; the hook that moves
// Red Hat's is never called there.
func TestImagesOfRPM(t *testing.T) {
	to := func(target string) guest.Link { return guest.Link{Target: target} }
	for _, tt := range []struct {
		name  string
		links map[string]guest.Link
		want  string
	}{
		{"Red Hat", nil, "/boot/initramfs.img"},
		{"SUSE", map[string]guest.Link{"/boot/vmlinuz": to("vmlinuz-5.14-default"), "/boot/initrd": to("initrd-5.14-default")}, "/boot/initrd"},
		{"a link that leads nowhere", map[string]guest.Link{"/boot/vmlinuz": to("vmlinuz-5.14-default"), "/boot/initrd": {Target: "x", Missing: true}}, "/boot/initramfs.img"},
	} {
		b := &builder{c: guest.Config{Links: tt.links}}
		if got := (rpm{}).images(b); got.kernel != "/boot/vmlinuz" || got.initrd != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
}
