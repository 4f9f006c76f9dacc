package vmx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func vmxOf(name, disk string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("config.version = \"8\"\ndisplayName = \"" + name + "\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"" + disk + "\"\n")}
}

func vmdkOf(cid, parent, hint, more string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("# Disk DescriptorFile\nversion=1\nCID=" + cid + "\nparentCID=" + parent + "\nparentFileNameHint=\"" + hint + "\"\ncreateType=\"vmfs\"\nRW 2048 VMFS \"x-flat.vmdk\"\n" + more)}
}

// shut is a tree of which one directory can't be read.
type shut struct {
	fstest.MapFS
	dir string
}

func (s shut) Open(name string) (fs.File, error) {
	if name == s.dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return s.MapFS.Open(name)
}

// TestTree finds each .vmx, follows chains between datastores by name and UUID, and
// tells what couldn't be read.
func TestTree(t *testing.T) {
	files := fstest.MapFS{
		"5a-6b/web/web.vmx": vmxOf("web", "web-000001.vmdk"), "5a-6b/web/web-000001.vmdk": vmdkOf("00000002", "00000001", "/vmfs/volumes/ds2/base/web.vmdk", ""),
		"ds2/base/web.vmdk": vmdkOf("00000001", "ffffffff", "", "ddb.longContentID = \"aaaaaaaabbbbbbbbcccccccc00000001\"\n"),
		"ds2/two/a.vmx":     vmxOf("web", "/vmfs/volumes/5a-6b/two/a.vmdk"), "5a-6b/two/a.vmdk": vmdkOf("00000003", "ffffffff", "", "ddb.longContentID = \"aaaaaaaabbbbbbbbcccccccc00000004\"\n"),
		"ds2/tmpl/t.vmtx": vmxOf("template", "../base/web.vmdk"), "secret/s.vmx": vmxOf("s", ""), "ds2/.hidden/h.vmx": vmxOf("h", ""), "lost+found/l.vmx": vmxOf("l", ""),
	}
	h, err := Tree{FS: shut{files, "secret"}}.Host(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, vm := range h.VMs {
		d := vm.Disks[0]
		got = append(got, fmt.Sprintf("%s %s %v %s %v %s %v", vm.Name, vm.ID, vm.Template, d.Path, d.Parents, d.ContentID, vm.Problems))
	}
	want := strings.Join([]string{
		"template ds2/tmpl/t.vmtx true ds2/base/web.vmdk [] aaaaaaaabbbbbbbbcccccccc00000001 []",
		"web 5a-6b/web/web.vmx false 5a-6b/web/web-000001.vmdk [ds2/base/web.vmdk] 00000002 []",
		"web ds2/two/a.vmx false 5a-6b/two/a.vmdk [] 00000003 []", // whose long id is another's
	}, "\n")
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("found\n%s\nwant\n%s", text, want)
	}
	if len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "secret can't be looked into") {
		t.Errorf("problems %q; want one, of the directory that can't be read", h.Problems)
	}

	if _, err := (Tree{FS: shut{files, "."}}).Host(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a tree that can't be read gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Tree{FS: files}).Host(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupt gives %v", err)
	}
}

// TestLocate: a datastore is a directory of its name, or the tree itself.
func TestLocate(t *testing.T) {
	tree := Tree{FS: fstest.MapFS{"ds2/x": {}, "file": {}}, Name: "ds1"}
	for name, want := range map[string]string{
		"web.vmdk": "d/web.vmdk", "../e/web.vmdk": "e/web.vmdk", "/vmfs/volumes/ds1/e/web.vmdk": "e/web.vmdk", "/vmfs/volumes/ds2/e/web.vmdk": "ds2/e/web.vmdk",
		"/vmfs/volumes/ds3/e/web.vmdk": "", "/vmfs/volumes/file/web.vmdk": "", "/vmfs/volumes/ds1": "", "/vmfs/volumes/ds1/../../../etc/passwd": "", "/vmfs/volumes//etc/passwd": "",
		"/etc/passwd": "", "../../etc/passwd": "", "": "", "..": "",
	} {
		got, err := tree.Locate("d", name)
		if got != want || (err == nil) == (want == "") || err != nil && !errors.Is(err, ErrOutside) {
			t.Errorf("Locate(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
}

// endless is a directory with more names than are looked at.
type endless struct{ fs.FS }

func (endless) Open(string) (fs.File, error) { return endlessDir{}, nil }

type endlessDir struct{ fs.File }

func (endlessDir) Close() error { return nil }

func (endlessDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > maxEntries+1 {
		return nil, fmt.Errorf("asked for %d names", n)
	}
	one := fs.FileInfoToDirEntry(info{})
	out := make([]fs.DirEntry, n)
	for i := range out {
		out[i] = one
	}
	return out, nil
}

type info struct{ fs.FileInfo }

func (info) Name() string      { return "x" }
func (info) Mode() fs.FileMode { return 0 }
func (info) IsDir() bool       { return false }

// TestEndless: who gives / by mistake hears of it.
func TestEndless(t *testing.T) {
	if _, err := (Tree{FS: endless{}}).Host(t.Context()); err == nil || !strings.Contains(err.Error(), "little else") {
		t.Errorf("a directory without end gives %v", err)
	}
}
