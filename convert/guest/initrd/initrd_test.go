package initrd

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/guest"

	"esxodus/fixtures"
)

// run runs a tool; where it isn't installed the test is skipped, in CI it
// fails.
func run(tb testing.TB, stdin []byte, argv ...string) string {
	tb.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%v: %v: %s", argv, err, stderr.String())
	}
	return string(out)
}

func unzip(tb testing.TB, b []byte) []byte {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(bytes.TrimLeft(b, "\x00")))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// guestTree is the tree of a small guest.
func guestTree() fstest.MapFS {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o640} }
	link := func(s string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(s), Mode: fs.ModeSymlink | 0o777}
	}
	return fstest.MapFS{
		"lib":                                 link("usr/lib"),
		"sbin":                                link("/usr/sbin"),
		"usr/sbin/tool":                       text("#!/bin/sh\n"),
		"usr/sbin/insmod":                     link("/bin/kmod"),
		"bin":                                 link("../../usr/bin"),
		"usr/bin/kmod":                        text("kmod"),
		"etc/lvm/lvm.conf":                    text("config"),
		"usr/lib/round":                       link("round"),
		"usr/lib/dir/file":                    text(""),
		"usr/lib/modules/6.1/modules.dep":     text("kernel/md/dm-mod.ko: kernel/dax.ko kernel/base.ko\nkernel/dax.ko: kernel/base.ko\nkernel/base.ko:\nkernel/small.ko.xz:\nkernel/bad.ko: ../../evil\nkernel/gone.ko:\n"),
		"usr/lib/modules/6.1/modules.builtin": text("kernel/virtio_pci.ko\n"),
		"usr/lib/modules/6.2/modules.builtin": text("kernel/virtio_pci.ko\n"),
		"usr/lib/modules/6.1/kernel/md/dm-mod.ko": text("dm"),
		"usr/lib/modules/6.1/kernel/dax.ko":       text("dax"),
		"usr/lib/modules/6.1/kernel/base.ko":      text("base"),
		"usr/lib/modules/6.1/kernel/small.ko.xz":  text("xz"),
		"usr/lib/x86_64-linux-gnu/liblzma.so.5":   text("lzma"),
		"usr/lib/modules/6.1/kernel/bad.ko":       text("bad"),
		"boot/initrd.img-6.1":                     text("\x1f\x8b of gzip"),
	}
}

func TestBuild(t *testing.T) {
	o := guest.Overlay{
		Initrd: "/boot/initrd.img-6.1", Kernel: "6.1", Files: []string{"/sbin/tool", "/etc/lvm/lvm.conf"}, Also: []string{"/etc/lvm/absent"},
		Modules: []string{"dm_mod", "virtio-pci", "dax", "small"},
		Texts:   []guest.Edit{{Path: "/conf/conf.d/zzz", New: "RESUME=none\n", Mode: 0o644}, {Path: "/usr/lib/systemd/network/10.link", New: "x", Mode: 0o600}},
	}
	got, err := Build(guestTree(), o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Build(guestTree(), o)
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("a second Build differs: %v", err)
	}
	dir := t.TempDir()
	// As in an initrd of initramfs-tools.
	for _, d := range []string{"lib", "sbin", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	if zeros := len(got) - len(bytes.TrimLeft(got, "\x00")); zeros != 512-len("\x1f\x8b of gzip") {
		t.Errorf("%d zeros come first; want as many as fill the initrd up to 512 bytes", zeros)
	}
	archive := unzip(t, got)
	list := run(t, archive, "cpio", "-tv", "--quiet")
	var modes []string
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		modes = append(modes, f[0]+" "+f[len(f)-1])
	}
	want := []string{
		"drwxr-xr-x conf", "drwxr-xr-x conf/conf.d", "-rw-r--r-- conf/conf.d/zzy-esxodus-modules", "-rw-r--r-- conf/conf.d/zzz",
		"drwxr-xr-x etc", "drwxr-xr-x etc/lvm", "-rw-r----- etc/lvm/lvm.conf",
		"drwxr-xr-x lib/modules", "drwxr-xr-x lib/modules/6.1", "drwxr-xr-x lib/modules/6.1/kernel", "-rw-r----- lib/modules/6.1/kernel/base.ko", "-rw-r----- lib/modules/6.1/kernel/dax.ko",
		"drwxr-xr-x lib/modules/6.1/kernel/md", "-rw-r----- lib/modules/6.1/kernel/md/dm-mod.ko",
		"-rw-r----- lib/modules/6.1/kernel/small.ko.xz",
		"drwxr-xr-x lib/systemd", "drwxr-xr-x lib/systemd/network", "-rw------- lib/systemd/network/10.link",
		"drwxr-xr-x lib/x86_64-linux-gnu", "-rw-r----- lib/x86_64-linux-gnu/liblzma.so.5",
		"-rw-r----- sbin/insmod", "-rw-r----- sbin/tool",
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("cpio lists (-want +got):\n%s", diff)
	}
	run(t, archive, "cpio", "-i", "--quiet", "-D", dir)
	for name, want := range map[string]string{
		"usr/sbin/tool": "#!/bin/sh\n", "usr/sbin/insmod": "kmod", "usr/lib/modules/6.1/kernel/dax.ko": "dax", "conf/conf.d/zzz": "RESUME=none\n",
		"conf/conf.d/zzy-esxodus-modules": "# esxodus: drivers for a disk on virtio, and for LVM.\n" +
			"/sbin/insmod '/lib/modules/6.1/kernel/base.ko' 2>/dev/null || :\n" +
			"/sbin/insmod '/lib/modules/6.1/kernel/dax.ko' 2>/dev/null || :\n" +
			"/sbin/insmod '/lib/modules/6.1/kernel/md/dm-mod.ko' 2>/dev/null || :\n" +
			"/sbin/insmod '/lib/modules/6.1/kernel/small.ko.xz' 2>/dev/null || :\n",
	} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s = %q, %v; want %q", name, b, err, want)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	large := guestTree()
	large["large"] = &fstest.MapFile{Data: make([]byte, maxFile+1)}
	for _, tt := range []struct {
		name string
		root fs.ReadLinkFS
		o    guest.Overlay
		want string
	}{
		{name: "a file that isn't there", o: guest.Overlay{Files: []string{"/sbin/lvm"}}, want: "addition to i: lstat usr/sbin/lvm: file does not exist"},
		{name: "a directory", o: guest.Overlay{Files: []string{"/lib/dir"}}, want: "addition to i: /lib/dir is not a regular file but d---------"},
		{name: "a link to itself", o: guest.Overlay{Files: []string{"/lib/round"}}, want: "addition to i: /lib/round: more than 40 symbolic links"},
		{name: "a link to itself that may be absent", o: guest.Overlay{Also: []string{"/lib/round"}}, want: "addition to i: /lib/round: more than 40 symbolic links"},
		{name: "large", root: large, o: guest.Overlay{Files: []string{"/large"}}, want: "addition to i: /large: 67108865 bytes; the limit for a file in an initrd is 67108864"},
		{name: "no such module", o: guest.Overlay{Kernel: "6.1", Modules: []string{"virtio_blk"}}, want: "addition to i: /lib/modules/6.1 has no module virtio_blk"},
		{name: "a module's file that is gone", o: guest.Overlay{Kernel: "6.1", Modules: []string{"gone"}}, want: "addition to i: lstat usr/lib/modules/6.1/kernel/gone.ko: file does not exist"},
		{name: "a module out of the tree", o: guest.Overlay{Kernel: "6.1", Modules: []string{"bad"}}, want: `addition to i: /lib/modules/6.1/modules.dep names "../../evil"`},
		{name: "no modules", o: guest.Overlay{Kernel: "6.0", Modules: []string{"dm_mod"}}, want: "addition to i: lstat usr/lib/modules/6.0: file does not exist"},
		{name: "no module built in", o: guest.Overlay{Kernel: "6.2", Modules: []string{"virtio_pci", "dm_mod"}}, want: "addition to i: /lib/modules/6.2 has no module dm_mod"},
		{name: "an odd kernel", o: guest.Overlay{Kernel: "6'1", Modules: []string{"bad"}}, want: `addition to i: "6'1" can't be the version of a kernel`},
		{name: "no initrd", want: "addition to i: lstat i: file does not exist"},
		{name: "a name with a zero", o: guest.Overlay{Texts: []guest.Edit{{Path: "/a\x00b"}}}, want: `addition to i: "a\x00b" can't be the name of a file in an initrd`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Initrd = "i"
			if tt.root == nil {
				tt.root = guestTree()
			}
			if _, err := Build(tt.root, tt.o); err == nil || err.Error() != tt.want {
				t.Errorf("Build: %v; want %s", err, tt.want)
			}
		})
	}
}

// TestBuildBuiltin: a kernel without modules, but with a list of what is built
// into it, needs none.
func TestBuildBuiltin(t *testing.T) {
	with, err := Build(guestTree(), guest.Overlay{Initrd: "/boot/initrd.img-6.1", Kernel: "6.2", Modules: []string{"virtio_pci"}})
	if err != nil {
		t.Fatal(err)
	}
	without, err := Build(guestTree(), guest.Overlay{Initrd: "/boot/initrd.img-6.1", Kernel: "6.2"})
	if err != nil || !bytes.Equal(with, without) {
		t.Errorf("Build with a module that is built in: %d bytes; want %d, %v", len(with), len(without), err)
	}
}

// TestLibraries takes a program of this machine, as large as LVM's, into an
// archive, and has the dynamic loader of the archive find all that it needs
// there and nowhere else.
func TestLibraries(t *testing.T) {
	program := ""
	for _, p := range []string{"/sbin/lvm", "/usr/bin/udevadm", "/bin/bash"} {
		if _, err := os.Stat(p); err == nil {
			program = p
			break
		}
	}
	root, ok := os.DirFS("/").(fs.ReadLinkFS)
	if program == "" || !ok {
		fixtures.Missing(t, "a program to try it with")
	}
	b, err := Build(root, guest.Overlay{Initrd: program, Files: []string{program}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, unzipMkdirs(t, dir, b), "cpio", "-i", "--quiet", "-D", dir)
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	interp := ""
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			interp = strings.TrimRight(string(b), "\x00")
		}
	}
	list := run(t, nil, filepath.Join(dir, interp), "--inhibit-cache", "--library-path", filepath.Join(dir, "lib/x86_64-linux-gnu"), "--list", filepath.Join(dir, program))
	for line := range strings.Lines(list) {
		_, file, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if file, _, _ = strings.Cut(file, " "); ok && !strings.HasPrefix(file, dir) {
			t.Errorf("%s: %s is not of the archive", program, strings.TrimSpace(line))
		}
	}
	if strings.Count(list, "=>") < 2 {
		t.Errorf("%s needs %s; want some libraries", program, list)
	}
	t.Logf("%s: %d bytes", program, len(b))
}

// unzipMkdirs returns an archive unpacked, and makes the directories that it
// has no entries for.
func unzipMkdirs(tb testing.TB, dir string, b []byte) []byte {
	tb.Helper()
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	return unzip(tb, b)
}

// TestNeeded compares what is read of segments with Go's reader of sections.
func TestNeeded(t *testing.T) {
	for _, name := range []string{"/bin/bash", "/sbin/lvm", "/bin/kmod", "/usr/bin/udevadm", "/lib64/ld-linux-x86-64.so.2"} {
		f, err := elf.Open(name)
		if err != nil {
			continue
		}
		want, err := f.ImportedLibraries()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := needed(b)
		if err != nil || !slices.Equal(got.libs, want) {
			t.Errorf("needed(%s) = %v, %v; want %v", name, got.libs, err, want)
		}
	}
}

// TestNeededBomb is an ELF file with section names that inflate to 256 MiB: they
// aren't looked at.
func TestNeededBomb(t *testing.T) {
	const size = 1 << 28
	var names, file bytes.Buffer
	binary.Write(&names, binary.LittleEndian, elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: size, Addralign: 1})
	z := zlib.NewWriter(&names)
	for range size >> 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}, Version: uint32(elf.EV_CURRENT),
		Shoff: 64, Shentsize: 64, Shnum: 2, Shstrndx: 1,
	}
	binary.Write(&file, binary.LittleEndian, head)
	binary.Write(&file, binary.LittleEndian, []elf.Section64{{}, {
		Type: uint32(elf.SHT_STRTAB), Flags: uint64(elf.SHF_COMPRESSED), Off: 64 + 2*64, Size: uint64(names.Len()),
	}})
	file.Write(names.Bytes())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := needed(file.Bytes())
	runtime.ReadMemStats(&after)
	if err != nil || len(n.libs) > 0 {
		t.Errorf("needed = %+v, %v; want nothing", n, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func FuzzNeeded(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"))
	f.Add(append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 100)...))
	f.Add(append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 100)...))
	for _, name := range []string{"/bin/true", "/lib64/ld-linux-x86-64.so.2"} {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b[:min(len(b), 64<<10)])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := needed(b)
		if err == nil && len(n.libs) > maxLibs {
			t.Errorf("%d libraries", len(n.libs))
		}
	})
}

func FuzzModulesDep(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko:\n")
	f.Add(":\n\nx\n a.ko.xz : ")
	f.Fuzz(func(t *testing.T, text string) {
		for name, files := range parseModulesDep(text) {
			if len(files) == 0 || moduleName(files[len(files)-1]) != name {
				t.Errorf("%q: %q; want its own file last", name, files)
			}
		}
	})
}
