package appliance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"esxodus/convert/host"
	"esxodus/convert/volume"
	"esxodus/fixtures"
)

// overlay is the path of an overlay over the Debian guest's disk, of which
// nothing changes, in a directory with a name that needs quoting.
func overlay(t *testing.T) string {
	t.Helper()
	for _, env := range fixtures.Appliance(t) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	fixtures.Tool(t, "qemu-img")
	base := filepath.Join(fixtures.Guest(t, "debian"), "debian-flat.vmdk")
	dir := filepath.Join(fixtures.OpenDir(t), `ov "1", a=b Büro's 100%`)
	overlays, err := volume.Overlays(t.Context(), host.Tool{}, dir, []string{base})
	if err != nil {
		t.Fatal(err)
	}
	return overlays[0]
}

// launched launches an appliance over the Debian guest.
func launched(t *testing.T, temp string) (*Appliance, string) {
	t.Helper()
	disk := overlay(t)
	second := filepath.Join(filepath.Dir(filepath.Dir(disk)), "second, raw.img")
	if err := os.WriteFile(second, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(second, 1<<30); err != nil {
		t.Fatal(err)
	}
	disks := []Disk{{Name: "scsi0:0", Path: disk, Format: "qcow2"}, {Name: "scsi0:1", Path: second, Format: "raw"}}
	a, err := Start(t.Context(), host.Tool{}, disks, Options{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.WithoutCancel(t.Context())) })
	return a, disk
}

// gone checks that no process has a file of the appliance, and that its
// directories are removed.
func gone(t *testing.T, disk, temp, sock string) {
	t.Helper()
	for _, p := range users(disk) {
		t.Errorf("a process is left: %.300q", p)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if _, err := os.Stat(sock); sock != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", sock, err)
	}
}

// users are the command lines of the processes that were given files of the
// directory that a disk's is in.
func users(disk string) (all []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(filepath.Base(filepath.Dir(filepath.Dir(disk))))) {
			all = append(all, name+" "+string(b))
		}
	}
	return all
}

// TestAppliance does everything in one appliance, as its launch takes long.
func TestAppliance(t *testing.T) {
	temp := t.TempDir()
	a, disk := launched(t, temp)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	if a.sock == "" {
		t.Error("the directory of sockets is not known")
	}
	t.Run("fsck", func(t *testing.T) { testFSCheck(t, a) })
	if err := a.Mount(t.Context(), "disk:scsi0:0#1", "/"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		test func(*testing.T, *Appliance)
	}{
		{"read", testRead},
		{"hostile names", testNames},
		{"write", testWrite},
		{"links", testLinks},
		{"special files", testSpecial},
		{"commands", testCommands},
		{"cover", testCover},
		{"append", testAppend},
		{"many backups", testManyBackups},
		{"refused", testRefused},
		{"volumes", testVolumes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, a) })
	}
	if t.Failed() {
		return
	}
	// The last is one that doesn't come back.
	_, err := a.call(t.Context(), time.Second, "debug", "sh", "sleep 1000")
	if err == nil || !strings.Contains(err.Error(), "debug: no answer from the appliance within 1s") {
		t.Errorf("a call that hangs = %v; want the limit", err)
	}
	gone(t, disk, temp, a.sock)
	if _, err := a.Command(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "the appliance was stopped: debug: no answer") {
		t.Errorf("a call after that = %v; want why it can't be", err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("Close of an appliance that was killed = %v", err)
	}
}

func testFSCheck(t *testing.T, a *Appliance) {
	t.Helper()
	tests := []struct {
		device, content string
		want            Verdict
		says            string
	}{
		{"disk:scsi0:0#1", "ext4", Sound, ""},
		{"disk:scsi0:0#2", "swap", Sound, ""},
		{"disk:scsi0:0#1", "swap", Absent, "(status 1)"},
		{"disk:scsi0:0#2", "ext4", Absent, "(status 8) "},
		{"disk:scsi0:0#1", "btrfs", NotChecked, "esxodus has no check for it"},
		{"/dev/vg/it's", "ext4", Absent, "(status 8) "},
	}
	for _, tt := range tests {
		f, err := a.FSCheck(t.Context(), tt.device, tt.content)
		if err != nil || f.Verdict != tt.want || !strings.Contains(f.Says(), tt.says) {
			t.Errorf("FSCheck(%s, %s) = %d, %q, %v; want %d, %q", tt.device, tt.content, f.Verdict, f.Says(), err, tt.want, tt.says)
		}
	}
}

func testRead(t *testing.T, a *Appliance) {
	t.Helper()
	view := a.FS(t.Context())
	b, err := view.ReadFile("etc/debian_version")
	if err != nil || !strings.HasPrefix(string(b), "12.") {
		t.Errorf("etc/debian_version = %q, %v", b, err)
	}
	if _, err := view.ReadFile("etc/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that isn't there = %v; want fs.ErrNotExist", err)
	}
	if to, err := view.ReadLink("bin"); to != "usr/bin" || err != nil {
		t.Errorf("bin -> %q, %v; want usr/bin", to, err)
	}
	sub, err := fs.Sub(view, "etc/initramfs-tools/scripts")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "init-top", "local-top"); err != nil {
		t.Error(err)
	}
	free, inodes, err := a.Free(t.Context(), "/")
	if err != nil || free < 1<<20 || free > 3<<30 || inodes < 1000 {
		t.Errorf("Free = %d bytes, %d inodes, %v", free, inodes, err)
	}
}

// testNames writes files whose names act on shells, on guestfish, on terminals.
func testNames(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	names := []string{
		`it's "quoted" \n`, "new\nline", "-dash", "~root", " blanks ", "Büro 100%", "$(reboot)`id`|cat;&", "\xff\xfe", "win:x", "{1..3}", "<<END", "#1", "!ls",
	}
	if err := a.MkdirAll(ctx, "/srv/hostile"); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		content := []byte("content of \x00 " + name)
		written, err := a.WriteFile(ctx, "/srv/hostile/"+name, content, 0o640)
		if err != nil || written != "/srv/hostile/"+name {
			t.Errorf("WriteFile(%q) = %q, %v", name, written, err)
			continue
		}
		got, err := a.FS(ctx).ReadFile("srv/hostile/" + strings.ToValidUTF8(name, "?"))
		if strings.Contains(name, "\xff") { // no name for io/fs
			continue
		}
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("ReadFile(%q) = %q, %v; want %q", name, got, err, content)
		}
		if i > 2 {
			continue // it takes long
		}
		out, err := a.Command(ctx, "cat", "/srv/hostile/"+name)
		if want := strings.ReplaceAll(string(content), "\x00", ""); err != nil || out != want {
			t.Errorf("cat %q = %q, %v; want %q", name, out, err, want)
		}
	}
	entries, err := a.FS(ctx).ReadDir("srv/hostile")
	if err != nil || len(entries) != len(names) {
		t.Fatalf("ReadDir = %v, %v; want %d names", entries, err, len(names))
	}
	found := map[string]bool{}
	for _, e := range entries {
		found[e.Name()] = e.Type().IsRegular()
	}
	for _, name := range names {
		if !found[name] {
			t.Errorf("ReadDir lacks the file %q", name)
		}
	}
}

func testWrite(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	must := func(_ string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.WriteFile(ctx, "/srv/kept", []byte("old"), 0o600))
	must(a.Command(ctx, "chown", "12:34", "/srv/kept"))
	must(a.Command(ctx, "chmod", "4751", "/srv/kept"))
	must(a.call(ctx, quick, "setxattr", "user.note", "kept", "4", "/srv/kept"))
	must(a.WriteFile(ctx, "/srv/kept", []byte("new"), 0o600))
	info, err := a.FS(ctx).Lstat("srv/kept")
	if err != nil {
		t.Fatal(err)
	}
	st := info.(Info) // it is one
	if st.UID != 12 || st.GID != 34 || st.Mode() != fs.ModeSetuid|0o751 || st.Size() != 3 {
		t.Errorf("after a write: owner %d:%d, mode %v, %d bytes; want 12:34, -rwsr-x--x, 3", st.UID, st.GID, st.Mode(), st.Size())
	}
	if out, err := a.call(ctx, quick, "lgetxattrs", "/srv/kept"); err != nil || !strings.Contains(out, "user.note") {
		t.Errorf("attributes after a write: %q, %v; want user.note", out, err)
	}
	if info, err := a.FS(ctx).Lstat("srv/hostile/-dash"); err != nil || info.Mode() != 0o640 {
		t.Errorf("a new file: %v, %v; want mode 0640", info, err)
	}
	if err := a.Remove(ctx, "/srv/kept"); err != nil {
		t.Error(err)
	}
	if err := a.Remove(ctx, "/srv/kept"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing it again = %v; want fs.ErrNotExist", err)
	}
}

func testLinks(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	for name, to := range map[string]string{"/srv/etc": "/etc", "/srv/up": "../../../../../../etc", "/srv/nowhere": "/no/thing", "/srv/loop": "loop"} {
		if err := a.Symlink(ctx, to, name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"/srv/etc/note": "/etc/note", "/srv/up/note2": "/etc/note2"} {
		written, err := a.WriteFile(ctx, name, []byte("x"), 0o644)
		if written != want || err != nil {
			t.Errorf("WriteFile(%s) wrote %q, %v; want %s", name, written, err, want)
		}
	}
	if _, err := os.Stat("/etc/note"); err == nil {
		t.Error("the host has /etc/note now")
	}
	for _, name := range []string{"/srv/nowhere", "/srv/loop", "/srv/nowhere/x"} {
		if written, err := a.WriteFile(ctx, name, []byte("x"), 0o644); err == nil {
			t.Errorf("WriteFile(%s) wrote %s", name, written)
		}
	}
	if err := a.Symlink(ctx, "/usr", "/srv/etc"); err != nil {
		t.Errorf("replacing a link = %v", err)
	}
	if to, err := a.FS(ctx).ReadLink("srv/etc"); to != "/usr" || err != nil {
		t.Errorf("srv/etc -> %q, %v; want /usr", to, err)
	}
	if err := a.Symlink(ctx, "/usr", "/etc/note"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link in place of a file = %v; want fs.ErrExist", err)
	}
	if err := a.Mount(ctx, "disk:scsi0:0#1", "/srv/up"); err == nil || !strings.Contains(err.Error(), "the guest has a symbolic link there, to /etc") {
		t.Errorf("mounting on a link = %v", err)
	}
}

// testSpecial holds that nothing waits for the other end of a pipe.
func testSpecial(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	if _, err := a.Command(ctx, "mkfifo", "/srv/fifo"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.FS(ctx).Open("srv/fifo"); err == nil || !strings.Contains(err.Error(), "not a regular file but p") {
		t.Errorf("opening a pipe = %v", err)
	}
	if _, err := a.WriteFile(ctx, "/srv/fifo", []byte("x"), 0o644); err == nil || !strings.Contains(err.Error(), "/srv/fifo is not a regular file but p") {
		t.Errorf("writing to a pipe = %v", err)
	}
	if _, err := a.Command(ctx, "truncate", "-s", "1T", "/srv/huge"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.FS(ctx).ReadFile("srv/huge"); err == nil || !strings.Contains(err.Error(), "1099511627776 bytes; the limit is") {
		t.Errorf("reading a huge file = %v", err)
	}
	// Of an open one what is asked for is read, and no more.
	f, err := a.FS(ctx).Open("srv/huge")
	if err != nil {
		t.Fatal(err)
	}
	r, ok := f.(io.ReaderAt)
	b := []byte("full")
	if !ok {
		t.Fatalf("%T is read from its start only", f)
	}
	if n, err := r.ReadAt(b, 1<<39); n != 4 || err != nil || string(b) != "\x00\x00\x00\x00" {
		t.Errorf("reading in a huge file = %d, %v, %q; want zeros", n, err, b)
	}
	if n, err := r.ReadAt(b, 1<<40-2); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("reading at the end of a huge file = %d, %v; want 2 bytes and its end", n, err)
	}
}

// testManyBackups works beside five thousand old descriptions of volume groups.
func testManyBackups(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	const make = `mkdir -p /etc/lvm/archive && cd /etc/lvm/archive || exit; for i in $(seq 5000); do echo "# $i"; done | split -l 1 -a 4 - vg_`
	if _, err := a.Command(ctx, "sh", "-c", make); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Command(ctx, "sh", "-c", "ls /etc/lvm/archive | wc -l"); out != "5000" || err != nil {
		t.Fatalf("%q files, %v; want 5000", out, err)
	}
	if written, err := a.WriteFile(ctx, "/etc/lvm/lvm.conf", []byte("# x\n"), 0o644); written != "/etc/lvm/lvm.conf" || err != nil {
		t.Errorf("WriteFile = %q, %v", written, err)
	}
	if entries, err := fs.ReadDir(a.FS(ctx), "etc/lvm/archive"); len(entries) != 5000 || err != nil {
		t.Errorf("%d entries, %v; want 5000", len(entries), err)
	}
	if out, err := a.Command(ctx, "rm", "-rf", "--one-file-system", "--", "/etc/lvm"); out != "" || err != nil {
		t.Errorf("rm = %q, %v", out, err)
	}
}

func testCommands(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	out, err := a.Command(ctx, "sh", "-c", `printf '%s\n' "$1"; echo err >&2; echo $DEBIAN_FRONTEND; id -u; cat; head -c 3 /dev/zero`, "x", `it's "x" \n $HOME`)
	if want := "it's \"x\" \\n $HOME\nerr\nnoninteractive\n0"; out != want || err != nil {
		t.Errorf("Command = %q, %v; want %q", out, err, want)
	}
	_, err = a.Command(ctx, "sh", "-c", "echo the end; exit 42")
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Code != 42 || failed.Out != "the end" {
		t.Errorf("Command = %v; want exit status 42", err)
	}
	if _, err = a.Command(ctx, "frobnicate"); !errors.As(err, &failed) || failed.Code != 127 {
		t.Errorf("Command = %v; want exit status 127", err)
	}
	if _, err := a.Command(ctx, "echo", strings.Repeat("x", 9000)); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a long command = %v; want that it is too long", err)
	}
	// The network is off: there is nothing but lo.
	if out, err := a.Command(ctx, "ls", "/sys/class/net"); out != "lo" || err != nil {
		t.Errorf("network interfaces: %q, %v; want lo alone", out, err)
	}
}

func testCover(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	for _, c := range [][2]string{{"/usr/sbin/update-initramfs", "#!/bin/sh\necho its me\n"}, {"/run", ""}} {
		if err := a.Cover(ctx, c[0], c[1]); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := a.Command(ctx, "update-initramfs", "-u"); out != "its me" || err != nil {
		t.Errorf("what is covered = %q, %v", out, err)
	}
	if _, err := a.Command(ctx, "touch", "/run/trace"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"/run", "/usr/sbin/update-initramfs"} {
		if err := a.Uncover(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.FS(ctx).Lstat("run/trace"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in memory is on the disk: %v", err)
	}
	if b, err := a.FS(ctx).ReadFile("usr/sbin/update-initramfs"); err != nil || bytes.Contains(b, []byte("its me")) {
		t.Errorf("update-initramfs is %.40q, %v; want the guest's own", b, err)
	}
	if err := a.Cover(ctx, "/srv/fifo", ""); err == nil {
		t.Error("a pipe can be covered")
	}
}

func testAppend(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	if _, err := a.WriteFile(ctx, "/srv/initrd", []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Symlink(ctx, "initrd", "/srv/initrd.img"); err != nil {
		t.Fatal(err)
	}
	want := []byte("abc")
	for _, add := range []string{"second", strings.Repeat("third", 200)} {
		if err := a.Append(ctx, "/srv/initrd.img", []byte(add)); err != nil {
			t.Fatal(err)
		}
		want = append(want, add...)
		got, err := a.FS(ctx).ReadFile("srv/initrd")
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after appending %.10q: %d bytes, %v; want %d", add, len(got), err, len(want))
		}
	}
	if info, err := a.FS(ctx).Lstat("srv/initrd"); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode after appending: %v, %v; want 0600", info.Mode(), err)
	}
	if err := a.Append(ctx, "/srv/hostile", []byte("x")); err == nil {
		t.Error("a directory can be appended to")
	}
}

func testRefused(t *testing.T, a *Appliance) {
	t.Helper()
	if err := a.Mount(t.Context(), "/dev/vg/root", "/srv"); err == nil || !strings.HasPrefix(err.Error(), "mounting /dev/vg/root at /srv: mount: ") {
		t.Errorf("mounting what isn't there = %v", err)
	}
	if err := a.Upload(t.Context(), "/etc/passwd", "/etc/passwd"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("uploading over a file = %v; want fs.ErrExist", err)
	}
}

// testVolumes makes logical volumes on the whole of the second disk, and has
// them checked and mounted by their names.
func testVolumes(t *testing.T, a *Appliance) {
	t.Helper()
	ctx := t.Context()
	for _, call := range [][]string{
		{"pvcreate", "/dev/disk/guestfs/diskb"},
		{"vgcreate", "my-vg", "/dev/disk/guestfs/diskb"},
		{"lvcreate", "ext", "my-vg", "64"},
		{"lvcreate", "x.f_s", "my-vg", "400"},
		{"lvcreate", "efi", "my-vg", "40"},
		{"mkfs", "ext3", "/dev/my-vg/ext"},
		{"mkfs", "xfs", "/dev/my-vg/x.f_s"},
		{"mkfs", "vfat", "/dev/my-vg/efi"},
	} {
		if out, err := a.call(ctx, quick, call[0], call[1:]...); err != nil {
			t.Fatalf("%q: %v %s", call, err, out)
		}
	}
	if out, code, err := a.inside(ctx, quick, "debugfs -w -R 'feature needs_recovery' /dev/my-vg/ext"); code != 0 || err != nil {
		t.Fatal(out, code, err)
	}
	for _, v := range [][2]string{{"/dev/my-vg/ext", "ext3"}, {"/dev/my-vg/x.f_s", "xfs"}, {"/dev/my-vg/efi", "vfat"}} {
		if f, err := a.FSCheck(ctx, v[0], v[1]); err != nil || f.Verdict != Sound {
			t.Errorf("%s: %+v, %v; want it sound", v[0], f, err)
		}
	}
	if out, code, err := a.inside(ctx, quick, "dumpe2fs -h /dev/my-vg/ext | grep features"); err != nil || code != 0 || strings.Contains(out, "needs_recovery") {
		t.Errorf("after the check: %s, %d, %v; want no needs_recovery", out, code, err)
	}
	testNewFaults(t, a, "/dev/my-vg/x.f_s")
}

// testNewFaults has an XFS checked that an AGF of is off by one, writes to it, has
// it checked again, and again with more damage.
func testNewFaults(t *testing.T, a *Appliance, device string) {
	t.Helper()
	ctx := t.Context()
	inside := func(script string) {
		t.Helper()
		if out, code, err := a.inside(ctx, quick, script); code != 0 || err != nil {
			t.Fatal(out, code, err)
		}
	}
	check := func() Finding {
		t.Helper()
		f, err := a.FSCheck(ctx, device, "xfs")
		if err != nil || f.Verdict != Damaged {
			t.Fatalf("%+v, %v; want it damaged", f, err)
		}
		return f
	}
	inside("n=$(xfs_db -r -c 'agf 1' -c 'print freeblks' " + device + " | cut -d' ' -f3); xfs_db -x -c 'agf 1' -c \"write -d freeblks $((n+1))\" " + device)
	before := check()
	if !strings.Contains(before.Says(), "agf_freeblks ") {
		t.Errorf("the check says %q", before.Says())
	}
	if err := a.MkdirAll(ctx, "/srv/mnt"); err != nil {
		t.Fatal(err)
	}
	if err := a.Mount(ctx, device, "/srv/mnt"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteFile(ctx, "/srv/mnt/file", bytes.Repeat([]byte("x"), 1<<20), 0o644); err != nil {
		t.Error(err)
	}
	if err := a.Unmount(ctx); err != nil {
		t.Fatal(err)
	}
	if more := check().New(before); len(more) > 0 {
		t.Errorf("new since a file was written: %q", more)
	}
	inside("dd if=/dev/zero of=" + device + " bs=4096 seek=2 count=8 conv=notrunc")
	if more := check().New(before); len(more) == 0 {
		t.Error("nothing is new since blocks were overwritten")
	}
}

// TestCancel ends an appliance while it is launched.
func TestCancel(t *testing.T) {
	disk := overlay(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	temp := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the admin pressed Ctrl-C")
	start := make(chan time.Time, 1)
	go func() {
		for range 3000 { // five minutes
			if slices.ContainsFunc(users(disk), func(p string) bool { return strings.Contains(p, "qemu-system") }) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		start <- time.Now()
		cancel(why)
	}()
	a, err := Start(ctx, host.Tool{}, []Disk{{Name: "scsi0:0", Path: disk, Format: "qcow2"}}, Options{TempDir: temp})
	if a != nil || !errors.Is(err, why) {
		t.Errorf("Start = %v; want %v", err, why)
	}
	if took := time.Since(<-start); took > 3*time.Minute {
		t.Errorf("it took %v to end", took)
	}
	gone(t, disk, temp, "")
}

// TestNotAnImage launches an appliance whose disk QEMU refuses.
func TestNotAnImage(t *testing.T) {
	overlay(t)
	temp := t.TempDir()
	disk := filepath.Join(t.TempDir(), "x.qcow2")
	if err := os.WriteFile(disk, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), host.Tool{}, []Disk{{Name: "scsi0:0", Path: disk, Format: "qcow2"}}, Options{TempDir: temp})
	if err == nil || !strings.HasPrefix(err.Error(), "starting the appliance: ") {
		t.Errorf("Start = %v; want that it can't be launched", err)
	}
	t.Log(err)
	gone(t, disk, temp, "")
}

func TestMissing(t *testing.T) {
	if _, err := exec.LookPath("/usr/sbin/guestfish"); err == nil {
		t.Skip("guestfish is where it is always found")
	}
	t.Setenv("PATH", t.TempDir())
	temp := t.TempDir()
	_, err := Start(t.Context(), host.Tool{}, []Disk{{Path: "/x", Format: "raw"}}, Options{TempDir: temp})
	if !errors.Is(err, errMissing) {
		t.Errorf("Start = %v; want %v", err, errMissing)
	}
	gone(t, filepath.Join(temp, "no-such-directory/a/b"), temp, "")
}
