package appliance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
)

// TestCheckScript runs checks with programs that only have a status, as FSCheck
// does.
func TestCheckScript(t *testing.T) {
	const replay = `case $1 in -p) exit %d;; *) exit %d;; esac`
	tests := []struct {
		name, content string
		programs      map[string]string
		code          int
	}{
		{"no journal", "ext4", map[string]string{"e2fsck": fmt.Sprintf(replay, 8, 0)}, 0},
		{"no journal, damaged", "ext2", map[string]string{"e2fsck": fmt.Sprintf(replay, 8, 4)}, 4},
		{"replayed", "ext3", map[string]string{"dumpe2fs": "echo needs_recovery", "e2fsck": fmt.Sprintf(replay, 1, 0)}, 0},
		{"replayed, damaged", "ext4", map[string]string{"dumpe2fs": "echo needs_recovery", "e2fsck": fmt.Sprintf(replay, 0, 4)}, 4},
		{"not replayed", "ext4", map[string]string{"dumpe2fs": "echo needs_recovery", "e2fsck": fmt.Sprintf(replay, 8, 0)}, 8},
		{"replay killed", "ext4", map[string]string{"dumpe2fs": "echo needs_recovery", "e2fsck": "kill -9 $$"}, 137},
		{"no program", "ext4", nil, 127},
		{"not mounted, sound", "xfs", map[string]string{"mkdir": "", "mount": "exit 32", "xfs_repair": ""}, 0},
		{"not mounted, damaged", "xfs", map[string]string{"mkdir": "", "mount": "exit 32", "xfs_repair": "exit 1"}, 1},
		{"still mounted", "xfs", map[string]string{"mkdir": "", "mount": "", "umount": "exit 1", "xfs_repair": "exit 1"}, 32},
		{"damaged", "xfs", map[string]string{"mkdir": "", "mount": "", "umount": "", "xfs_repair": "exit 1"}, 1},
		{"damaged", "vfat", map[string]string{"fsck.vfat": "exit 1"}, 1},
		{"too long", "vfat", map[string]string{"fsck.vfat": "exec sleep 1000"}, 124},
		{"swap", "swap", map[string]string{"blkid": "echo swap"}, 0},
		{"no swap", "swap", map[string]string{"blkid": "echo ext4"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.content+" "+tt.name, func(t *testing.T) {
			dir := t.TempDir()
			programs := map[string]string{"dumpe2fs": ""}
			maps.Copy(programs, tt.programs)
			for _, name := range []string{"sh", "timeout", "grep", "head", "cat", "sleep"} {
				programs[name] = "exec " + tool(t, name) + ` "$@"`
			}
			for name, script := range programs {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			limit := time.Hour
			if tt.name == "too long" {
				limit = time.Second
			}
			script := strings.ReplaceAll(limited(checkScript("/dev/it's", tt.content), limit), "/tmp/check.status", filepath.Join(dir, "status"))
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "("+script+"\n)") // as inside runs it
			cmd.Env = []string{"PATH=" + dir}
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("status %d, %v, %q; want %d", got, err, out, tt.code)
			}
		})
	}
	if got := checkScript("/dev/x", "btrfs"); got != "" {
		t.Errorf("checkScript of btrfs = %q; want none", got)
	}
}

// tool is the path of a program.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	fixtures.Missing(t, name)
	return ""
}

// TestCheckScriptOutput: of a check that says much the beginning is kept, and its
// status.
func TestCheckScriptOutput(t *testing.T) {
	script := limited("head -c 3000000 /dev/zero | tr '\\0' x; exit 4", time.Hour)
	script = strings.ReplaceAll(script, "/tmp/check.status", filepath.Join(t.TempDir(), "status"))
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script).Output()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if len(out) != fsckOut || !ok || exit.ExitCode() != 4 {
		t.Errorf("%d bytes, %v; want %d, status 4", len(out), err, fsckOut)
	}
}

// TestVerdict: what e2fsck(8), xfs_repair(8) and fsck.fat(8) say of their
// statuses.
func TestVerdict(t *testing.T) {
	tests := []struct {
		content string
		code    int
		out     string
		want    Verdict
	}{
		{"ext4", 0, "", Sound},
		{"ext4", 1, "", Sound}, // errors were corrected
		{"ext4", 3, "", Sound},
		{"ext2", 4, "", Damaged},
		{"ext3", 12, "", Damaged},     // and it gave up
		{"ext4", 8, "", NotChecked},   // operational error
		{"ext4", 16, "", NotChecked},  // usage
		{"ext4", 32, "", NotChecked},  // canceled
		{"ext4", 124, "", NotChecked}, // took too long
		{"ext4", 127, "", NotChecked}, // isn't there
		{"ext4", 132, "", NotChecked}, // was killed
		{"ext4", 137, "", NotChecked},
		{"xfs", 0, "", Sound},
		{"xfs", 1, "agf_freeblks 3741, counted 3742 in ag 1", Damaged},
		{"xfs", 1, "Found unsupported filesystem features.  Exiting now.", NotChecked},
		{"xfs", 1, "ALERT: The filesystem has valuable metadata changes in a log which is being\nignored", NotChecked},
		{"xfs", 2, "", NotChecked}, // a log to replay
		{"xfs", 32, "", NotChecked},
		{"xfs", 137, "", NotChecked},
		{"vfat", 1, "Dirty bit is set.", Damaged},
		{"vfat", 2, "", NotChecked},
		{"swap", 0, "", Sound},
		{"swap", 1, "", Absent},
		{"swap", 127, "", NotChecked},
	}
	for _, tt := range tests {
		if got := verdict(tt.content, tt.code, tt.out); got != tt.want {
			t.Errorf("verdict(%s, %d, %q) = %d; want %d", tt.content, tt.code, tt.out, got, tt.want)
		}
	}
}

func TestOther(t *testing.T) {
	tests := []struct {
		content string
		code    int
		out     string
		want    bool
	}{
		{"ext3", 0, "ext4\n", false}, {"ext4", 0, "xfs\n", true}, {"xfs", 2, "", true}, {"xfs", 8, "", false}, {"xfs", 127, "", false}, {"vfat", 0, "vfat\n", false},
	}
	for _, tt := range tests {
		if got := other(tt.content, tt.code, tt.out); got != tt.want {
			t.Errorf("other(%s, %d, %q) = %v", tt.content, tt.code, tt.out, got)
		}
	}
}

// TestNew compares two checks of one file system.
func TestNew(t *testing.T) {
	tests := []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", "", "", nil},
		{"same, with other numbers", "Free blocks count wrong (5, counted=7).\nFix? no\n", "Free blocks count wrong (2, counted=4).\nFix? no\n", nil},
		{"a longer list", "Block bitmap differences:  -12\n", "Block bitmap differences:  -12 -(14--17) +3\n", nil},
		{"addresses", "Metadata corruption detected at 0x5610c0640548, xfs_agf block 0x10001/0x200\n", "Metadata corruption detected at 0x561aab, xfs_agf block 0xa/0xff\n", nil},
		{"how far it is", "Phase 1 - x\n        - agno = 0\n", "Phase 1 - x\n        - 07:12:34: scanning\n", nil},
		{"fewer", "bad agbno 4 in agfl\nsb_fdblocks 1, counted 2\n", "sb_fdblocks 5, counted 9\n", nil},
		{"of another kind", "sb_fdblocks 1, counted 2\n", "sb_fdblocks 1, counted 2\nbad nblocks 7 for inode 131\n", []string{"bad nblocks 7 for inode 131"}},
		{"one more of a kind", "Inode 5, i_blocks is 8, should be 16.\n", "Inode 5, i_blocks is 8, should be 16.\nInode 9, i_blocks is 8, should be 24.\n", []string{"Inode 9, i_blocks is 8, should be 24."}},
	}
	for _, tt := range tests {
		if got := (Finding{Out: tt.after}).New(Finding{Out: tt.before}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestSays(t *testing.T) {
	for _, tt := range []struct {
		f    Finding
		want string
	}{
		{Finding{}, ""},
		{Finding{Out: "esxodus has no check for it"}, "esxodus has no check for it"},
		{Finding{Code: 4, Out: "Pass 1: Checking\nbad \x1b[31m\nFix? no\n"}, "(status 4) bad \ufffd[31m"},
		{Finding{Code: 1, Out: strings.Repeat("x", 600)}, "(status 1) " + strings.Repeat("x", 500) + " …"},
	} {
		if got := tt.f.Says(); got != tt.want {
			t.Errorf("Says of %+v = %q; want %q", tt.f, got, tt.want)
		}
	}
}

// TestCheckTools has the real programs look at real file systems, sound ones and
// damaged ones.
func TestCheckTools(t *testing.T) {
	for _, name := range []string{"TEST_DIR", "TEST_DEV", "QA_CHECK_FS"} { // small ones, for mkfs.xfs
		t.Setenv(name, "1")
	}
	xfs, ext, fat := []string{"mkfs.xfs", "-q", "-f", "-d", "agcount=2"}, []string{"mkfs.ext4", "-q", "-F"}, []string{"mkfs.vfat"}
	db := func(commands ...string) []string {
		argv := []string{"xfs_db", "-x"}
		for _, c := range commands {
			argv = append(argv, "-c", c)
		}
		return argv
	}
	tests := []struct {
		name    string
		content string
		mkfs    []string
		damage  []string
		want    Verdict
		says    string
	}{
		{"sound", "xfs", xfs, nil, Sound, ""},
		{"free blocks", "xfs", xfs, db("agf 1", "write -d freeblks 3"), Damaged, "agf_freeblks 3, counted "},
		{"spare blocks", "xfs", xfs, db("agf 0", "write -d fllast 5"), Damaged, "bad agbno 4294967295 in agfl"},
		{"features of later", "xfs", xfs, db("sb 0", "write -d features_incompat 0x80000003"), NotChecked, "Found unsupported filesystem features"},
		{"sound", "ext4", ext, nil, Sound, ""},
		{"free blocks", "ext4", ext, []string{"debugfs", "-w", "-R", "set_bg 1 free_blocks_count 5"}, Damaged, "Free blocks count wrong for group #1 "},
		{"no superblock", "ext4", ext, []string{"dd", "if=/dev/zero", "bs=4k", "count=1", "conv=notrunc", "status=none"}, Damaged, ""},
		{"sound", "vfat", fat, nil, Sound, ""},
		{"not unmounted", "vfat", fat, []string{"dd", "if=/dev/stdin", "bs=1", "seek=37", "conv=notrunc", "status=none"}, Damaged, "Dirty bit is set"},
	}
	check := map[string][]string{"xfs": {"xfs_repair", "-n"}, "ext4": {"e2fsck", "-fn"}, "vfat": {"fsck.vfat", "-n"}}
	for _, tt := range tests {
		t.Run(tt.content+" "+tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "img")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 64<<20)); err != nil {
				t.Fatal(err)
			}
			run := func(argv ...string) (string, int) {
				cmd := exec.CommandContext(t.Context(), tool(t, argv[0]), argv[1:]...)
				cmd.Stdin = strings.NewReader("\x01")
				out, _ := cmd.CombinedOutput()
				return string(out), cmd.ProcessState.ExitCode()
			}
			if out, code := run(append(slices.Clone(tt.mkfs), path)...); code != 0 {
				t.Fatal(out)
			}
			if len(tt.damage) > 0 {
				last := path
				if tt.damage[0] == "dd" {
					last = "of=" + path
				}
				if out, code := run(append(slices.Clone(tt.damage), last)...); code != 0 {
					t.Fatal(out)
				}
			}
			out, code := run(append(slices.Clone(check[tt.content]), path)...)
			f := Finding{verdict(tt.content, code, out), code, out}
			if f.Verdict != tt.want || !strings.Contains(f.Says(), tt.says) {
				t.Errorf("verdict %d, %q; want %d, %q", f.Verdict, f.Says(), tt.want, tt.says)
			}
			if again := f.New(f); len(again) > 0 {
				t.Errorf("new since: %q", again)
			}
		})
	}
}
