package act

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
)

// fake is a Machine whose guest is a tree in memory. It notes what changes the
// guest.
type fake struct {
	tree    fstest.MapFS
	log     []string
	free    int64
	inodes  int64
	fsck    map[string]appliance.Finding
	command func(f *fake, argv []string) (string, error)
	covered []string
	mounted []string
}

func (f *fake) did(format string, args ...any) { f.log = append(f.log, fmt.Sprintf(format, args...)) }

func (f *fake) FSCheck(_ context.Context, device, content string) (appliance.Finding, error) {
	if len(f.mounted) > 0 {
		return appliance.Finding{}, fmt.Errorf("%s is mounted", device)
	}
	return f.fsck[device], nil
}

func (f *fake) Mount(_ context.Context, device, at string) error {
	f.mounted = append(f.mounted, device+" "+at)
	return nil
}

func (f *fake) Unmount(context.Context) error {
	f.mounted = nil
	return nil
}

func (f *fake) Free(context.Context, string) (bytes, inodes int64, err error) {
	return f.free, f.inodes, nil
}

// RealPath resolves links as a chroot does.
func (f *fake) RealPath(_ context.Context, name string) (string, error) {
	for range 10 {
		changed := false
		for n, file := range f.tree {
			if file.Mode&fs.ModeSymlink == 0 || "/"+n != name && !strings.HasPrefix(name, "/"+n+"/") {
				continue
			}
			to := string(file.Data)
			if !path.IsAbs(to) {
				to = path.Join("/", path.Dir(n), to)
			}
			name, changed = path.Join(to, strings.TrimPrefix(name, "/"+n)), true
			break
		}
		if !changed {
			_, err := f.tree.Lstat(rel(name))
			return name, err
		}
	}
	return "", errors.New("too many links")
}

func (f *fake) WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode) (string, error) {
	real, err := f.RealPath(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		dir, err := f.RealPath(ctx, path.Dir(name))
		if err != nil {
			return "", err
		}
		real = path.Join(dir, path.Base(name))
	}
	if old, ok := f.tree[rel(real)]; ok {
		mode = old.Mode
	}
	f.did("write %s %q %o", real, content, mode)
	f.tree[rel(real)] = &fstest.MapFile{Data: content, Mode: mode}
	return real, nil
}

func (f *fake) Append(_ context.Context, name string, content []byte) error {
	f.did("append %s %q", name, content)
	return nil
}

func (f *fake) Symlink(_ context.Context, target, name string) error {
	f.did("link %s %s", name, target)
	f.tree[rel(name)] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	return nil
}

func (f *fake) Remove(_ context.Context, name string) error {
	f.did("remove %s", name)
	if _, ok := f.tree[rel(name)]; !ok {
		return fs.ErrNotExist
	}
	delete(f.tree, rel(name))
	return nil
}

func (f *fake) MkdirAll(_ context.Context, name string) error {
	if _, err := f.tree.Stat(rel(name)); err != nil {
		f.did("mkdir %s", name)
		f.tree[rel(name)] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	return nil
}

func (f *fake) Upload(_ context.Context, local, to string) error {
	f.did("upload %s %s", local, to)
	return nil
}

func (f *fake) Command(_ context.Context, argv ...string) (string, error) {
	f.did("run %s", strings.Join(argv, " "))
	if f.command == nil {
		return "", nil
	}
	return f.command(f, argv)
}

func (f *fake) Cover(_ context.Context, name, _ string) error {
	f.covered = append(f.covered, name)
	return nil
}

func (f *fake) Uncover(_ context.Context, name string) error {
	if len(f.covered) == 0 || f.covered[len(f.covered)-1] != name {
		return fmt.Errorf("%s is not on top", name)
	}
	f.covered = f.covered[:len(f.covered)-1]
	return nil
}

// newFake is a Debian guest with plenty of room.
func newFake() *fake {
	return &fake{free: 1 << 30, inodes: 100000, tree: fstest.MapFS{
		"run":                        {Mode: fs.ModeDir | 0o755},
		"boot":                       {Mode: fs.ModeDir | 0o755},
		"boot/initrd.img-6.1":        {Data: []byte("initrd"), Mode: 0o600},
		"etc/fstab":                  {Data: []byte("old fstab\n"), Mode: 0o644},
		"etc/alias":                  {Data: []byte("/srv/real"), Mode: fs.ModeSymlink | 0o777},
		"etc/dangling":               {Data: []byte("/srv/nothing"), Mode: fs.ModeSymlink | 0o777},
		"srv/real":                   {Data: []byte("through a link"), Mode: 0o640},
		"usr/sbin/update-initramfs":  {Data: []byte("slow"), Mode: 0o755},
		"var/lib/dpkg/status":        {Data: []byte("Package: x\nStatus: install ok installed\n"), Mode: 0o644},
		"etc/initramfs-tools/resume": {Data: []byte("RESUME=/dev/sda5\n"), Mode: 0o644},
		"dev/tty":                    {Mode: fs.ModeDevice | fs.ModeCharDevice},
	}}
}

// whole is a conversion with something of everything.
func whole() guest.Conversion {
	return guest.Conversion{
		Mounts: []guest.Mount{
			{Device: "/dev/vg/root", At: "/", Content: "ext4"},
			{Device: "/dev/vg/boot", At: "/boot", Content: "ext2"},
		},
		Install: []string{"lvm2"},
		Remove:  []string{"grub-pc", "grub-common"},
		Edits: []guest.Edit{
			{Path: "/etc/fstab", Old: "old fstab\n", New: "new fstab\n"},
			{Path: "/etc/lilo.conf", Make: true, New: "lba32\n", Mode: 0o600},
			{Path: "/vmlinuz", Make: true, Link: true, New: "boot/vmlinuz-6.1"},
			{Path: "/etc/initramfs-tools/resume", Old: "RESUME=/dev/sda5\n", Remove: true},
			{Path: "/etc/alias", Old: "through a link", New: "changed"},
			{Path: "/etc/fstab", Old: "new fstab\n", New: "newer fstab\n"},
		},
		Programs: []guest.Program{{Path: "/usr/sbin/lilo", Source: "lilo", Mode: 0o755}},
		Overlays: []guest.Overlay{{Initrd: "/boot/initrd.img-6.1", Kernel: "6.1"}},
		Commands: [][]string{{"restorecon", "-v", "/etc/lilo.conf"}},
		Loader:   []string{"/usr/sbin/lilo", "-v"},
	}
}

func wholeInput() Input {
	return Input{
		Packages: []string{"/tmp/a.deb", "/tmp/lvm2.deb"}, Unpacked: 8 << 20,
		Programs: map[string][]byte{"lilo": []byte("\x7fELF")},
		Overlay: func(_ fs.ReadLinkFS, o guest.Overlay) ([]byte, error) {
			return []byte("cpio of " + o.Kernel), nil
		},
	}
}

func TestApply(t *testing.T) {
	f := newFake()
	f.command = func(_ *fake, argv []string) (string, error) {
		if argv[0] == "/usr/sbin/lilo" {
			return "Added Linux *", nil
		}
		return "", nil
	}
	got, err := Apply(t.Context(), f, f.tree, whole(), wholeInput())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mkdir /run/lock",
		`write /usr/sbin/policy-rc.d "#!/bin/sh\nexit 101\n" 755`,
		"upload /tmp/a.deb /run/0.deb",
		"upload /tmp/lvm2.deb /run/1.deb",
		"run dpkg --force-confold --force-confdef --force-unsafe-io -i /run/0.deb /run/1.deb",
		"run dpkg --force-confold --force-confdef --force-unsafe-io --purge grub-pc grub-common",
		`write /etc/fstab "new fstab\n" 644`,
		`write /etc/lilo.conf "lba32\n" 600`,
		"link /vmlinuz boot/vmlinuz-6.1",
		"remove /etc/initramfs-tools/resume",
		`write /srv/real "changed" 640`,
		`write /etc/fstab "newer fstab\n" 644`,
		`write /usr/sbin/lilo "\x7fELF" 755`,
		`append /boot/initrd.img-6.1 "cpio of 6.1"`,
		"run restorecon -v /etc/lilo.conf",
		"run /usr/sbin/lilo -v",
		"remove /usr/sbin/policy-rc.d",
	}
	if diff := cmp.Diff(want, f.log); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
	if got.Loader != "Added Linux *" {
		t.Errorf("Loader = %q; want its output", got.Loader)
	}
	notes := []string{"/etc/alias is a symbolic link to /srv/real: that file is changed"}
	if diff := cmp.Diff(notes, got.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if len(f.covered)+len(f.mounted) > 0 {
		t.Errorf("left: covered %q, mounted %q", f.covered, f.mounted)
	}
}

// TestApplyMasked: the guest's passwords are in the file that is edited, and not
// in the plan.
func TestApplyMasked(t *testing.T) {
	f, c := newFake(), whole()
	text := "//nas/a /a cifs pass=one 0 0\n/dev/sda1 / ext4 defaults 0 1\n//nas/b /b cifs password=two,ro 0 0\n"
	f.tree["etc/fstab"].Data = []byte(text)
	old, _ := guest.Mask(text)
	changed := strings.Replace(old, "/dev/sda1", "/dev/vg/root", 1)
	c.Edits = []guest.Edit{{Path: "/etc/fstab", Old: old, New: changed}, {Path: "/etc/fstab", Old: changed, New: "# new\n" + changed}}
	if _, err := Apply(t.Context(), f, f.tree, c, wholeInput()); err != nil {
		t.Fatal(err)
	}
	want := "# new\n" + strings.Replace(text, "/dev/sda1", "/dev/vg/root", 1)
	if got := string(f.tree["etc/fstab"].Data); got != want || strings.Contains(changed, "one") {
		t.Errorf("fstab = %q, want %q", got, want)
	}
	f.tree["etc/fstab"].Data = []byte(strings.Replace(text, "one", "", 1))
	if _, err := Apply(t.Context(), f, f.tree, c, wholeInput()); err == nil || !strings.Contains(err.Error(), "changed since the plan was made") {
		t.Errorf("Apply to a file with a password less = %v, want a refusal", err)
	}
}

// TestApplyRefuses holds what is found out before the first change.
func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fake, *guest.Conversion, *Input)
		err    string
	}{
		{"no root", func(_ *fake, c *guest.Conversion, _ *Input) { c.Mounts = c.Mounts[1:] }, "guest: checking the plan: the plan's first mount is not the root"},
		{"no program", func(_ *fake, _ *guest.Conversion, in *Input) { in.Programs = nil }, `guest: checking the plan: this esxodus has no program "lilo", for /usr/sbin/lilo`},
		{"no packages", func(_ *fake, _ *guest.Conversion, in *Input) { in.Packages = nil }, "guest: checking the plan: the plan installs the packages lvm2, but has none"},
		{"dots", func(_ *fake, c *guest.Conversion, _ *Input) { c.Edits[0].Path = "/etc/../x" }, `guest: checking the plan: path "/etc/../x" of the plan: want an absolute one without . or .. in it`},
		{"relative", func(_ *fake, c *guest.Conversion, _ *Input) { c.Programs[0].Path = "x" }, `guest: checking the plan: path "x" of the plan: want an absolute one without . or .. in it`},
		{"not there", func(f *fake, _ *guest.Conversion, _ *Input) {
			f.fsck = map[string]appliance.Finding{"/dev/vg/boot": {Verdict: appliance.Absent, Code: 8, Out: "Bad magic number"}}
		}, "guest: checking file systems: the plan has ext2 on /dev/vg/boot, but it isn't there: (status 8) Bad magic number"},
		{"nothing is there", func(f *fake, _ *guest.Conversion, _ *Input) {
			f.fsck = map[string]appliance.Finding{"/dev/vg/boot": {Verdict: appliance.Absent}}
		}, "guest: checking file systems: the plan has ext2 on /dev/vg/boot, but it isn't there: another type"},
		{"changed", func(f *fake, _ *guest.Conversion, _ *Input) {
			f.tree["etc/fstab"].Data = []byte("old fstab\nmore\n")
		}, "guest: comparing with the plan: /etc/fstab: changed since the plan was made: plan again"},
		{"gone", func(f *fake, _ *guest.Conversion, _ *Input) { delete(f.tree, "etc/fstab") }, "guest: comparing with the plan: /etc/fstab is no longer there: changed since the plan was made: plan again"},
		{"made meanwhile", func(f *fake, _ *guest.Conversion, _ *Input) {
			f.tree["etc/lilo.conf"] = &fstest.MapFile{}
		}, "guest: comparing with the plan: /etc/lilo.conf exists, but the plan creates it: changed since the plan was made: plan again"},
		{"link made meanwhile", func(f *fake, _ *guest.Conversion, _ *Input) {
			f.tree["vmlinuz"] = &fstest.MapFile{Data: []byte("x"), Mode: fs.ModeSymlink}
		}, "guest: comparing with the plan: /vmlinuz exists, but the plan creates it: changed since the plan was made: plan again"},
		{"dangling", func(_ *fake, c *guest.Conversion, _ *Input) {
			c.Edits[0].Path = "/etc/dangling"
		}, "guest: comparing with the plan: /etc/dangling is a symbolic link to /srv/nothing, which is not there: changed since the plan was made: plan again"},
		{"a device", func(_ *fake, c *guest.Conversion, _ *Input) { c.Edits[0].Path = "/dev/tty" }, "guest: comparing with the plan: /dev/tty is not a regular file but Dc---------"},
		{"another link", func(_ *fake, c *guest.Conversion, _ *Input) {
			c.Edits[0] = guest.Edit{Path: "/etc/alias", Link: true, Old: "/srv/other", New: "/x"}
		}, "guest: comparing with the plan: /etc/alias is no longer a symbolic link to /srv/other: changed since the plan was made: plan again"},
		{"second edit doesn't follow", func(_ *fake, c *guest.Conversion, _ *Input) {
			c.Edits[5].Old = "old fstab\n"
		}, "guest: comparing with the plan: /etc/fstab: changed since the plan was made: plan again"},
		{"no initrd", func(f *fake, _ *guest.Conversion, _ *Input) { delete(f.tree, "boot/initrd.img-6.1") }, "guest: checking free space: lstat boot/initrd.img-6.1: file does not exist"},
		{"no space", func(f *fake, _ *guest.Conversion, _ *Input) { f.free = 16<<20 + 8191 }, "guest: checking free space: / of the guest has 16 MiB free, but 17 MiB are needed: make room in the guest, then plan again"},
		{"no inodes", func(f *fake, _ *guest.Conversion, _ *Input) { f.inodes = 3 }, "guest: checking free space: / of the guest has room for 3 more files (df -i), but 307 are needed: make room in the guest, then plan again"},
		{"no /run", func(f *fake, _ *guest.Conversion, _ *Input) { delete(f.tree, "run") }, "guest: preparing: the guest has no directory /run or /tmp"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, c, in := newFake(), whole(), wholeInput()
			tt.change(f, &c, &in)
			_, err := Apply(t.Context(), f, f.tree, c, in)
			if err == nil || err.Error() != tt.err {
				t.Errorf("Apply = %v; want %s", err, tt.err)
			}
			if len(f.log) > 0 {
				t.Errorf("done before that: %q", f.log)
			}
		})
	}
}

// newAdvice ends the error of damage that the source doesn't have.
const newAdvice = ": nothing was written to the volumes; roll back, or try again with resume"

// TestApplyFails holds what goes wrong on the way.
func TestApplyFails(t *testing.T) {
	tests := []struct {
		name    string
		command func(f *fake, argv []string) (string, error)
		err     string
	}{
		{"dpkg fails", func(_ *fake, argv []string) (string, error) {
			if slices.Contains(argv, "-i") {
				return "", errors.New("dpkg in the guest: exit status 1: no")
			}
			return "", nil
		}, "guest: installing packages: dpkg in the guest: exit status 1: no"},
		{"bad state", func(f *fake, argv []string) (string, error) {
			if slices.Contains(argv, "-i") {
				f.tree[dpkgStatus].Data = []byte("Package: a\nStatus: install ok installed\n\nPackage: initramfs-tools\nStatus: install ok triggers-pending\nTriggers-Pending: update-initramfs\n")
			}
			return "", nil
		}, "guest: checking packages: packages are left in a bad state: initramfs-tools (install ok triggers-pending)"},
		{"a package changes what is edited", func(f *fake, argv []string) (string, error) {
			if slices.Contains(argv, "--purge") {
				f.tree["etc/fstab"].Data = []byte("purged")
			}
			return "", nil
		}, "guest: editing files: after packages were installed and removed: /etc/fstab: changed since the plan was made: plan again"},
		{"a command undoes an edit", func(f *fake, argv []string) (string, error) {
			if argv[0] == "restorecon" {
				f.tree["etc/fstab"].Data = []byte("old fstab\n")
			}
			return "", nil
		}, "guest: reading back: /etc/fstab differs from the plan: something that ran in the guest changed it"},
		{"a command brings a removed file back", func(f *fake, argv []string) (string, error) {
			if argv[0] == "restorecon" {
				f.tree["etc/initramfs-tools/resume"] = &fstest.MapFile{Data: []byte("RESUME=/dev/sda5\n")}
			}
			return "", nil
		}, "guest: reading back: /etc/initramfs-tools/resume differs from the plan: something that ran in the guest changed it"},
		{"a command changes a program", func(f *fake, argv []string) (string, error) {
			if argv[0] == "restorecon" {
				f.tree["usr/sbin/lilo"].Data = []byte("evil")
			}
			return "", nil
		}, "guest: reading back: /usr/sbin/lilo differs from what was written"},
		{"loader", func(_ *fake, argv []string) (string, error) {
			if argv[0] == "/usr/sbin/lilo" {
				return "half", errors.New("lilo: no")
			}
			return "", nil
		}, "guest: writing the boot map: lilo: no"},
		{"damaged afterwards", func(f *fake, argv []string) (string, error) {
			if argv[0] == "restorecon" {
				f.fsck = map[string]appliance.Finding{"/dev/vg/root": {Verdict: appliance.Damaged, Code: 4, Out: "bad"}}
			}
			return "", nil
		}, "guest: checking file systems again: ext4 on /dev/vg/root has new damage after the conversion: (status 4) bad" + newAdvice},
		{"gone afterwards", func(f *fake, argv []string) (string, error) {
			if argv[0] == "restorecon" {
				f.fsck = map[string]appliance.Finding{"/dev/vg/root": {Verdict: appliance.Absent}}
			}
			return "", nil
		}, "guest: checking file systems again: the plan has ext4 on /dev/vg/root, but it isn't there: another type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.command = tt.command
			_, err := Apply(t.Context(), f, f.tree, whole(), wholeInput())
			if err == nil || err.Error() != tt.err {
				t.Errorf("Apply = %v; want %s", err, tt.err)
			}
		})
	}
}

// A file that the purge of its package took is not missed when the plan
// removes it; dpkg's complaints from before are none of ours.
func TestApplyTolerates(t *testing.T) {
	f := newFake()
	f.tree[dpkgStatus].Data = []byte("Package: old\nStatus: install reinstreq half-installed\n")
	f.command = func(f *fake, argv []string) (string, error) {
		if slices.Contains(argv, "--purge") {
			delete(f.tree, "etc/initramfs-tools/resume")
		}
		return "", nil
	}
	if _, err := Apply(t.Context(), f, f.tree, whole(), wholeInput()); err != nil {
		t.Errorf("Apply = %v; want success", err)
	}
}

// On a guest of the RPM family packages go by rpm. What it refuses to remove
// stays; dpkg's refusal, and an rpm that was killed, end the conversion.
func TestApplyRPM(t *testing.T) {
	tests := []struct {
		name string
		dpkg bool
		err  error
		note string
		want string
	}{
		{"removed", false, nil, "", ""},
		{
			"needed", false, &appliance.CommandError{Argv: []string{"rpm", "-e", "open-vm-tools"}, Code: 1, Out: "error: Failed dependencies"},
			"open-vm-tools could not be removed; remove them in the guest: rpm -e open-vm-tools in the guest: exit status 1: error: Failed dependencies", "",
		},
		{"killed", false, &appliance.CommandError{Argv: []string{"rpm"}, Code: 137, Out: "Killed"}, "", "guest: removing packages: rpm in the guest: exit status 137: Killed"},
		{"appliance gone", false, errors.New("no answer"), "", "guest: removing packages: no answer"},
		{"dpkg", true, &appliance.CommandError{Argv: []string{"dpkg"}, Code: 1, Out: "no"}, "", "guest: removing packages: dpkg in the guest: exit status 1: no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			if !tt.dpkg {
				delete(f.tree, dpkgStatus)
			}
			f.command = func(*fake, []string) (string, error) { return "", tt.err }
			got, err := Apply(t.Context(), f, f.tree, guest.Conversion{Mounts: whole().Mounts, Remove: []string{"open-vm-tools"}}, Input{})
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("Apply = %v; want %s", err, tt.want)
			}
			if slices.Contains(f.log, "run rpm -e open-vm-tools") == tt.dpkg {
				t.Errorf("done: %q; want rpm -e: %v", f.log, !tt.dpkg)
			}
			if notes := strings.Join(got.Notes, "\n"); notes != tt.note {
				t.Errorf("notes %q; want %q", notes, tt.note)
			}
		})
	}
}

// Without packages nothing of their managers is asked or covered.
func TestApplyPlain(t *testing.T) {
	f := newFake()
	c := guest.Conversion{Mounts: whole().Mounts, Edits: whole().Edits[:1], Loader: []string{"lilo"}}
	if _, err := Apply(t.Context(), f, f.tree, c, Input{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir /run/lock", `write /etc/fstab "new fstab\n" 644`, "run lilo"}
	if diff := cmp.Diff(want, f.log); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}

// File systems that don't matter for the conversion don't hinder it.
func TestApplyOtherMounts(t *testing.T) {
	f := newFake()
	f.fsck = map[string]appliance.Finding{"/dev/vg/data": {Verdict: appliance.NotChecked, Out: "esxodus has no check for it"}}
	c := guest.Conversion{Mounts: append(whole().Mounts,
		guest.Mount{Device: "/dev/vg/data", At: "/srv", Content: "btrfs"},
		guest.Mount{Device: "/dev/vg/gone", At: "/data", Content: "ext4"})}
	var mounted []string
	c.Commands = [][]string{{"true"}}
	f.command = func(f *fake, _ []string) (string, error) {
		mounted = slices.Clone(f.mounted)
		return "", nil
	}
	got, err := Apply(t.Context(), f, f.tree, c, Input{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/dev/vg/root /", "/dev/vg/boot /boot", "/dev/vg/data /srv"}; !slices.Equal(mounted, want) {
		t.Errorf("mounted %q; want %q", mounted, want)
	}
	want := []string{"/dev/vg/gone is not mounted: the guest has no directory /data"}
	if !slices.Equal(got.Notes, want) {
		t.Errorf("notes %q; want %q", got.Notes, want)
	}
}

// TestApplyChecks: file systems that nothing is done to are checked before and
// after, and never mounted, whatever their names and places are. What was wrong
// before, and what can't be checked, ends no conversion; what is wrong since does.
func TestApplyChecks(t *testing.T) {
	type findings map[string]appliance.Finding
	damaged := func(out string) appliance.Finding {
		return appliance.Finding{Verdict: appliance.Damaged, Code: 1, Out: out}
	}
	data := guest.Mount{Device: "/dev/vg/data", At: "/srv", Content: "xfs"}
	const counted = "agf_freeblks 3741, counted 3742 in ag 1\n"
	not := appliance.Finding{Verdict: appliance.NotChecked, Code: 124, Out: "killed"}
	tests := []struct {
		name          string
		checks        []guest.Mount
		before, after findings
		want          []guest.Checked // that aren't sound
		err           string
	}{
		{"fine", []guest.Mount{data, {Device: "/dev/vg/swap", At: "swap", Content: "swap"}}, nil, nil, nil, ""},
		{"a place that is no text, or a link", []guest.Mount{{Device: "/dev/vg/a", At: "/d\xe9", Content: "ext4"}, {Device: "/dev/vg/b", At: "/etc/alias", Content: "ext4"}}, nil, nil, nil, ""},
		{
			"no check is known",
			[]guest.Mount{{Device: "/dev/vg/more", Content: "exfat"}},
			findings{"/dev/vg/more": not},
			findings{"/dev/vg/more": damaged("new")},
			[]guest.Checked{{Mount: guest.Mount{Device: "/dev/vg/more", Content: "exfat"}, Verdict: guest.NotChecked, Said: "(status 124) killed"}},
			"",
		},
		{
			"damaged at the source",
			[]guest.Mount{data},
			findings{"/dev/vg/data": damaged(counted)},
			findings{"/dev/vg/data": damaged("agf_freeblks 2973, counted 2974 in ag 1\n")},
			[]guest.Checked{{Mount: data, Verdict: guest.CheckedDamaged, Said: "(status 1) agf_freeblks 3741, counted 3742 in ag 1"}},
			"",
		},
		{
			"a root that is damaged at the source", nil,
			findings{"/dev/vg/root": damaged(counted)},
			findings{"/dev/vg/root": damaged(counted)},
			[]guest.Checked{{Mount: whole().Mounts[0], Verdict: guest.CheckedDamaged, Said: "(status 1) agf_freeblks 3741, counted 3742 in ag 1"}},
			"",
		},
		{
			"damaged, and more so since",
			[]guest.Mount{data},
			findings{"/dev/vg/data": damaged(counted)},
			findings{"/dev/vg/data": damaged(counted + "bad nblocks 7 for inode 131\n")},
			nil,
			"guest: checking file systems again: xfs on /dev/vg/data has new damage after the conversion: (status 1) bad nblocks 7 for inode 131" + newAdvice,
		},
		{"mended by its kernel", []guest.Mount{data}, findings{"/dev/vg/data": damaged(counted)}, findings{}, nil, ""},
		{
			"damaged since",
			[]guest.Mount{data},
			nil,
			findings{"/dev/vg/data": damaged(counted)},
			nil,
			"guest: checking file systems again: xfs on /dev/vg/data has new damage after the conversion: (status 1) " + strings.TrimSpace(counted) + newAdvice,
		},
		{
			"not checked again",
			[]guest.Mount{data},
			nil,
			findings{"/dev/vg/data": not},
			[]guest.Checked{{Mount: data, Verdict: guest.CheckedBefore, Said: "(status 124) killed"}},
			"",
		},
		{
			"damaged, and not checked again",
			[]guest.Mount{data},
			findings{"/dev/vg/data": damaged(counted)},
			findings{"/dev/vg/data": not},
			[]guest.Checked{{Mount: data, Verdict: guest.CheckedDamaged, Said: "(status 1) " + strings.TrimSpace(counted)}},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.fsck = tt.before
			var mounted []string
			f.command = func(f *fake, _ []string) (string, error) {
				mounted = slices.Clone(f.mounted)
				f.fsck = tt.after
				return "", nil
			}
			c := guest.Conversion{Mounts: whole().Mounts, Checks: tt.checks, Commands: [][]string{{"true"}}}
			got, err := Apply(t.Context(), f, f.tree, c, Input{})
			if err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("Apply = %v; want %q", err, tt.err)
			}
			if want := []string{"/dev/vg/root /", "/dev/vg/boot /boot"}; !slices.Equal(mounted, want) {
				t.Errorf("mounted %q; want %q", mounted, want)
			}
			if len(got.Checks) != 2+len(tt.checks) {
				t.Errorf("%d file systems are told of; want %d", len(got.Checks), 2+len(tt.checks))
			}
			unsound := slices.DeleteFunc(got.Checks, func(c guest.Checked) bool { return c.Verdict == guest.CheckedSound })
			if diff := cmp.Diff(tt.want, unsound, cmpopts.EquateEmpty()); diff != "" && tt.err == "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnsettled(t *testing.T) {
	tests := []struct {
		name, status string
		want         []string
	}{
		{"nothing", "", nil},
		{"fine", "Package: a\nStatus: install ok installed\nDescription: x\n Status: fake\n\nPackage: b\nStatus: deinstall ok config-files\n", nil},
		{"held", "Package: a\nStatus: hold ok installed\n", nil},
		{"unpacked", "Package: a\nStatus: install ok unpacked\n", []string{"a (install ok unpacked)"}},
		{"reinstall", "Package: a\nStatus: install reinstreq installed\n", []string{"a (install reinstreq installed)"}},
		{"waits", "Package: a\nStatus: install ok installed\nTriggers-Awaited: b\n", []string{"a (install ok installed)"}},
		{"no state", "Package: a\n", []string{"a ()"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := unsettled([]byte(tt.status)); !slices.Equal(got, tt.want) {
				t.Errorf("unsettled = %q; want %q", got, tt.want)
			}
		})
	}
}

// counted counts what a tree is asked.
type counted struct {
	fstest.MapFS
	asked []string
}

func (c *counted) Lstat(name string) (fs.FileInfo, error) {
	c.asked = append(c.asked, name)
	return c.MapFS.Lstat(name)
}

func (c *counted) ReadLink(name string) (string, error) {
	c.asked = append(c.asked, "-> "+name)
	return c.MapFS.ReadLink(name)
}

func TestMemo(t *testing.T) {
	tree := &counted{MapFS: newFake().tree}
	m := newMemo(tree)
	for range 3 {
		if info, err := m.Lstat("etc/alias"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("Lstat = %v, %v; want a link", info, err)
		}
		if to, err := m.ReadLink("etc/alias"); to != "/srv/real" || err != nil {
			t.Errorf("ReadLink = %q, %v; want /srv/real", to, err)
		}
		if _, err := m.Lstat("nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lstat = %v; want fs.ErrNotExist", err)
		}
		if b, err := fs.ReadFile(m, "etc/fstab"); string(b) != "old fstab\n" || err != nil {
			t.Errorf("ReadFile = %q, %v", b, err)
		}
	}
	if want := []string{"etc/alias", "-> etc/alias", "nothing"}; !slices.Equal(tree.asked, want) {
		t.Errorf("asked %q; want %q", tree.asked, want)
	}
}

// linked is a tree whose files all have two names.
type linked struct{ fstest.MapFS }

type linkedInfo struct{ fs.FileInfo }

func (linkedInfo) Names() int64 { return 2 }

func (l linked) Lstat(name string) (fs.FileInfo, error) {
	info, err := l.MapFS.Lstat(name)
	return linkedInfo{info}, err
}

func TestApplyHardLinks(t *testing.T) {
	f := newFake()
	c := guest.Conversion{Mounts: whole().Mounts, Edits: whole().Edits[:1]}
	got, err := Apply(t.Context(), f, linked{f.tree}, c, Input{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/fstab has 2 names (hard links): the others keep the old content"}; !slices.Equal(got.Notes, want) {
		t.Errorf("notes %q; want %q", got.Notes, want)
	}
}

// TestUnlink: a link that goes is removed itself, not what it leads to, and
// only if it leads where the plan found it.
func TestUnlink(t *testing.T) {
	for _, old := range []string{"boot/vmlinuz-5.9", "boot/vmlinuz-5.8"} {
		f := newFake()
		f.tree["vmlinuz.old"] = &fstest.MapFile{Data: []byte("boot/vmlinuz-5.9"), Mode: fs.ModeSymlink | 0o777}
		f.tree["boot/vmlinuz-5.9"] = &fstest.MapFile{Data: []byte("kernel")}
		c := guest.Conversion{Mounts: whole().Mounts, Edits: []guest.Edit{{Path: "/vmlinuz.old", Link: true, Remove: true, Old: old}}}
		_, err := Apply(t.Context(), f, f.tree, c, Input{})
		_, there := f.tree["vmlinuz.old"]
		_, kernel := f.tree["boot/vmlinuz-5.9"]
		if changed := old == "boot/vmlinuz-5.8"; changed != errors.Is(err, errChanged) || !changed && err != nil || there != changed || !kernel {
			t.Errorf("a link that was to %s: %v; link there %v, kernel there %v", old, err, there, kernel)
		}
	}
}
