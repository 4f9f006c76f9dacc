package extfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFaults damages what mke2fs made with debugfs. What a kernel would refuse
// e2fsck complains of, too.
func TestFaults(t *testing.T) {
	noted := "a kernel that had it mounted found errors in it"
	tests := []struct {
		name, features  string
		damage          []string
		faults, refused string
	}{
		{"none", "", nil, "", ""},
		{"none, 32 bits", "^64bit", nil, "", ""},
		{"none, a seed of its own", "metadata_csum_seed", []string{"ssv uuid random"}, "", ""},
		{"none, only of descriptors", "^metadata_csum,uninit_bg", nil, "", ""},
		{"none, no checksums", "^metadata_csum,^uninit_bg", nil, "", ""},
		{"none, meta block groups", "meta_bg,^resize_inode", nil, "", ""},
		{"noted by the kernel", "", []string{"ssv state 3"}, noted, ""},
		{"noted and counted", "", []string{"ssv state 3", "ssv error_count 4"}, noted + " (4 times)", ""},
		{"descriptor", "", []string{"set_bg 1 free_blocks_count 5"}, "", "the checksum of the descriptor of group 1 is wrong"},
		{"descriptor, 32 bits", "^64bit", []string{"set_bg 2 flags 4"}, "", "the checksum of the descriptor of group 2 is wrong"},
		{"descriptor, only of those", "^metadata_csum,uninit_bg", []string{"set_bg 0 checksum 7"}, "", "the checksum of the descriptor of group 0 is wrong"},
		{"descriptor, no checksums", "^metadata_csum,^uninit_bg", []string{"set_bg 0 checksum 7"}, "", ""},
		{"journal to replay", "", []string{"feature needs_recovery", "set_bg 1 free_blocks_count 5"}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "img")
			run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", tt.features, path, "32M")
			for _, request := range tt.damage {
				run(t, "debugfs", "-w", "-R", request, path)
			}
			fsys, _, _ := openImage(t, path)
			faults, refused, err := fsys.Faults()
			if strings.Join(faults, "\n") != tt.faults || strings.Join(refused, "\n") != tt.refused || err != nil {
				t.Errorf("Faults = %q, %q, %v; want %q, %q", faults, refused, err, tt.faults, tt.refused)
			}
			out, err := exec.Command(tool(t, "e2fsck"), "-fn", path).CombinedOutput()
			if says := strings.Contains(string(out), "Group descriptor"); tt.refused != "" && !says {
				t.Errorf("e2fsck says %s, %v", out, err)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "img")
	run(t, "mke2fs", "-q", "-F", "-t", "ext4", path, "8M")
	overwrite(t, path, superOffset+superSum, "\x00\x01\x02\x03")
	fsys, _, _ := openImage(t, path)
	if _, refused, err := fsys.Faults(); len(refused) != 1 || refused[0] != "the checksum of its superblock is wrong" || err != nil {
		t.Errorf("Faults of a superblock with another checksum = %q, %v", refused, err)
	}
}

// overwrite changes bytes of a file.
func overwrite(t *testing.T, path string, at int64, b string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(b), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
