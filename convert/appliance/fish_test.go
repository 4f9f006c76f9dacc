package appliance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{"/etc/fstab", `"/etc/fstab"`},
		{`a "b" \c`, `"a \"b\" \\c"`},
		{"new\nline\ttab\x7f", `"new\x0aline\x09tab\x7f"`},
		{"Büro 100% $x `y` | !z", "\"Büro 100% $x `y` | !z\""},
		{"\xff", "\"\xff\""},
	}
	for _, tt := range tests {
		got, err := quote(tt.in)
		if got != tt.want || err != nil {
			t.Errorf("quote(%q) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := quote("a\x00b"); err == nil {
		t.Error("quote takes a NUL byte")
	}
}

func TestCommandLine(t *testing.T) {
	got, err := commandLine("mount", []string{"/dev/vg/a b", "/"})
	if want := `-mount "/dev/vg/a b" "/"`; got != want || err != nil {
		t.Errorf("commandLine = %s, %v; want %s", got, err, want)
	}
	_, err = commandLine("sh", []string{strings.Repeat("x", maxLine)})
	if want := "sh: a command of 8006 bytes is longer than the 8000 that guestfish reads"; err == nil || err.Error() != want {
		t.Errorf("commandLine = %v; want %s", err, want)
	}
}

// FuzzQuote holds that a command is one line, and that all its quotes are
// where guestfish ends a word.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a\nb", `\`, `"`, `\"`, "\x00", "\xff\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := quote(s)
		if (err != nil) != strings.Contains(s, "\x00") {
			t.Fatalf("quote(%q) = %v", s, err)
		}
		if err != nil {
			return
		}
		if strings.ContainsAny(q, "\n\r\x00") {
			t.Errorf("quote(%q) = %q: more than a line", s, q)
		}
		var back []byte
		for in := q[1 : len(q)-1]; in != ""; in = in[1:] {
			switch {
			case in[0] == '"':
				t.Fatalf("quote(%q) = %s: ends early", s, q)
			case strings.HasPrefix(in, `\x`):
				var n byte
				for _, c := range in[2:4] {
					n = n<<4 | byte(strings.IndexRune("0123456789abcdef", c))
				}
				back, in = append(back, n), in[3:]
			case in[0] == '\\':
				back, in = append(back, in[1]), in[1:]
			default:
				back = append(back, in[0])
			}
		}
		if string(back) != s {
			t.Errorf("quote(%q) = %s: reads as %q", s, q, back)
		}
	})
}

func TestComplaint(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"error", "*stdin*:11: libguestfs: error: mount: mount_stub: /dev/x: No such file or directory\n", "mount: mount_stub: /dev/x: No such file or directory"},
		{"older", "libguestfs: error: mount: no\n", "mount: no"},
		{"warning", "libguestfs: warning: something\n", ""},
		{"parser", "guestfish: unterminated double quote\n", "guestfish: unterminated double quote"},
		{"advice is left out", "libguestfs: error: appliance closed the connection unexpectedly.\nThis usually means the libguestfs appliance crashed.\nDo:\n  export LIBGUESTFS_DEBUG=1\n", "appliance closed the connection unexpectedly.; This usually means the libguestfs appliance crashed."},
		{"terminal", "libguestfs: error: sh: \x1b[31mred\xff\n", "sh: \uFFFD[31mred\uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaint(tt.in); got != tt.want {
				t.Errorf("complaint = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	gone := &Error{Call: "lstatns", Text: "lstatns: /x: No such file or directory"}
	if !errors.Is(gone, fs.ErrNotExist) || errors.Is(gone, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrNotExist, or more than that", gone)
	}
	other := &Error{Call: "lstatns", Text: "lstatns: /No such file or directory/x: Permission denied"}
	if errors.Is(other, fs.ErrNotExist) {
		t.Errorf("%v is fs.ErrNotExist", other)
	}
}

func TestSplitStatus(t *testing.T) {
	tests := []struct {
		name, in, out string
		code          int
		err           bool
	}{
		{"silent", "\n" + status + "0", "", 0, false},
		{"silent, first line lost", status + "7", "", 7, false},
		{"output", "a\nb\n\n" + status + "3\n", "a\nb", 3, false},
		{"no final line feed", "a\n" + status + "0", "a", 0, false},
		{"imitated", "x\n" + status + "0\n\n" + status + "9", "x\n" + status + "0", 9, false},
		{"none", "killed", "", 0, true},
		{"no number", "\n" + status + "x", "", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code, err := splitStatus(tt.in)
			if (err != nil) != tt.err || err == nil && (out != tt.out || code != tt.code) {
				t.Errorf("splitStatus = %q, %d, %v; want %q, %d", out, code, err, tt.out, tt.code)
			}
		})
	}
}

func TestFields(t *testing.T) {
	got, err := fields("st_mode: 33188\nst_size: 191\nst_mode_x: y\n", "st_mode", "st_size")
	if err != nil || got["st_mode"] != 33188 || got["st_size"] != 191 {
		t.Errorf("fields = %v, %v", got, err)
	}
	if _, err := fields("st_mode: 1\n", "st_size"); err == nil {
		t.Error("fields misses nothing")
	}
}

func TestFileMode(t *testing.T) {
	tests := map[int64]fs.FileMode{
		0o100644: 0o644,
		0o104755: fs.ModeSetuid | 0o755,
		0o041777: fs.ModeDir | fs.ModeSticky | 0o777,
		0o120777: fs.ModeSymlink | 0o777,
		0o010600: fs.ModeNamedPipe | 0o600,
		0o140600: fs.ModeSocket | 0o600,
		0o020620: fs.ModeDevice | fs.ModeCharDevice | 0o620,
		0o060660: fs.ModeDevice | 0o660,
		0:        fs.ModeIrregular,
	}
	for in, want := range tests {
		if got := fileMode(in); got != want {
			t.Errorf("fileMode(%o) = %v; want %v", in, got, want)
		}
	}
}

func TestDevice(t *testing.T) {
	a := &Appliance{disks: []Disk{{Name: "scsi0:0"}, {Name: "scsi0:1"}}}
	tests := []struct{ in, want, err string }{
		{"/dev/vg/root", "/dev/vg/root", ""},
		{"disk:scsi0:1", "/dev/disk/guestfs/diskb", ""},
		{"disk:scsi0:0#2", "/dev/disk/guestfs/diska2", ""},
		{"disk:scsi0:0#x", "", `device "disk:scsi0:0#x": partition "x" is not a number`},
		{"disk:ide0:0", "", `device "disk:ide0:0": the appliance has no such disk`},
	}
	for _, tt := range tests {
		got, err := a.Device(tt.in)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("Device(%q) = %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestCheckDisks(t *testing.T) {
	tests := []struct {
		name  string
		disks []Disk
		err   string
	}{
		{"none", nil, "appliance: 0 disks: want 1 to 25"},
		{"most", slices.Repeat([]Disk{{Path: "/x", Format: "raw"}}, MaxDisks), ""},
		{"too many", make([]Disk, MaxDisks+1), "appliance: 26 disks: want 1 to 25"},
		{"relative", []Disk{{Path: "x", Format: "raw"}}, `appliance: disk "x": want an absolute path`},
		{"probed", []Disk{{Path: "/x"}}, `appliance: disk /x: format "": want qcow2 or raw`},
		{"fine", []Disk{{Path: "/x", Format: "raw"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := checkDisks(tt.disks)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("checkDisks = %v; want %s", err, tt.err)
			}
		})
	}
}

// hostTree makes files below a new directory and returns it.
func hostTree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHostCheck(t *testing.T) {
	tests := []struct {
		name   string
		files  []string
		types  []string
		kernel string
		fixed  bool
		err    string
	}{
		{"nothing", nil, nil, "", false, "guestfish is not installed on this host: install the packages guestfish and libguestfs-xfs (Debian, Ubuntu) or guestfs-tools and libguestfs-xfs (Fedora, RHEL)"},
		{"no kernel", []string{"bin/guestfish"}, nil, "", false, "no kernel in DIR/boot, which libguestfs's appliance needs: install the package linux-image-amd64 (Debian) or linux-image-generic (Ubuntu)"},
		{"fine", []string{"bin/guestfish", "boot/vmlinuz-6.1"}, []string{"ext4"}, "", false, ""},
		{"kernel elsewhere", []string{"bin/guestfish", "k"}, nil, "k", false, ""},
		{"kernel nowhere", []string{"bin/guestfish", "boot/vmlinuz-6.1"}, nil, "k", false, "kernel of libguestfs's appliance (SUPERMIN_KERNEL): open DIR/k: no such file or directory"},
		{"ready-made", []string{"bin/guestfish", "fixed/kernel", "fixed/root", "fixed/initrd"}, nil, "", true, ""},
		{"no XFS", []string{"bin/guestfish", "boot/vmlinuz-6.1", "supermin/packages"}, []string{"ext4", "xfs"}, "", false, "libguestfs on this host has no XFS: install the package libguestfs-xfs"},
		{"XFS", []string{"bin/guestfish", "boot/vmlinuz-6.1", "supermin/packages", "supermin/packages-xfs"}, []string{"xfs"}, "", false, ""},
		{"one package holds all", []string{"bin/guestfish", "boot/vmlinuz-6.1"}, []string{"xfs"}, "", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := hostTree(t, tt.files...)
			h := Host{Path: []string{filepath.Join(dir, "bin")}, Boot: filepath.Join(dir, "boot"), Supermin: []string{filepath.Join(dir, "supermin")}}
			if tt.kernel != "" {
				h.Kernel = filepath.Join(dir, tt.kernel)
			}
			if tt.fixed {
				h.Fixed = filepath.Join(dir, "fixed")
			}
			err := h.Check(tt.types)
			want := strings.ReplaceAll(tt.err, "DIR", dir)
			if (err == nil) != (want == "") || err != nil && err.Error() != want {
				t.Errorf("Check = %v; want %s", err, want)
			}
		})
	}
}
