package xfs

import (
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

// TestAgainstKernel lets the kernel make files on file systems of every shape
// that it mounts, and compares what it reads with what this package reads.
func TestAgainstKernel(t *testing.T) {
	for _, tt := range []struct {
		name string
		argv []string
		big  int
		then []string // done to the image afterwards
	}{
		{"as mkfs makes it", nil, 10000, nil},
		{"1 KiB blocks", []string{"-b", "size=1024"}, 3000, nil},
		{"2 KiB blocks, 16 KiB directory blocks", []string{"-b", "size=2048", "-n", "size=16384"}, 2000, nil},
		{"64 KiB directory blocks", []string{"-n", "size=65536"}, 2000, nil},
		{"64 KiB blocks", []string{"-b", "size=65536"}, 300, nil},
		{"4 KiB sectors", []string{"-s", "size=4096"}, 200, nil},
		{"2 KiB inodes", []string{"-i", "size=2048"}, 500, nil},
		{"many groups", []string{"-d", "agcount=16"}, 2000, nil},
		{"odd size", []string{"-d", "agsize=24m"}, 1000, nil},
		{"large extent counters", []string{"-i", "nrext64=1"}, 2000, nil},
		{"no sparse inodes, no big times, no reflinks", []string{"-i", "sparse=0", "-m", "bigtime=0,reflink=0,finobt=0"}, 1000, nil},
		{"reverse map", []string{"-m", "rmapbt=1"}, 500, nil},
		{"another UUID", nil, 1000, []string{"xfs_admin", "-U", "generate"}},
		{"striped, large log records", []string{"-d", "su=64k,sw=4", "-l", "su=256k"}, 500, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := mkfs(t, 384*mib+12345*512, tt.argv...)
			var want map[string]string
			mount(t, path, func(dir string) {
				populate(t, dir, tt.big)
				want = manifest(t, os.DirFS(dir).(fs.ReadLinkFS))
			})
			if tt.then != nil {
				run(t, append(tt.then, path)...)
			}
			fsys, _, _ := openImage(t, path)
			if diff := cmp.Diff(want, manifest(t, fsys)); diff != "" {
				t.Errorf("tree (-want +got):\n%.2000s", diff)
			}
			if fsys.NeedsRecovery() {
				t.Error("NeedsRecovery = true after an unmount")
			}
		})
	}
}
