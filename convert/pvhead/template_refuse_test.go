package pvhead

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"esxodus/convert/host"
	"esxodus/convert/layout"
)

// TestTemplateRefuses has plans and sources that don't agree.
func TestTemplateRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(old, fresh *layout.Group, source *[]byte)
		want string
	}{
		{
			"changed since", func(old, _ *layout.Group, _ *[]byte) { old.Seqno = 1 },
			"volume group guest-old on its template: its metadata is in state 2, but the plan was made for 1: volumes were changed in the guest since then; plan again",
		},
		{"another group", func(old, _ *layout.Group, _ *[]byte) { old.UUID = other(old.UUID) }, "LVM finds 0 groups of the UUID "},
		{"another extent size", func(old, _ *layout.Group, _ *[]byte) { old.ExtentSize = 8 * mib }, "with extents of 4194304 bytes and 1 physical volumes; the plan has \"guest-old\", 8388608 and 1"},
		{"another place", func(old, _ *layout.Group, _ *[]byte) { old.Volumes[0].Segments[0].PE = 1 }, "logical volume root lies linear at 0 on /dev/loop"},
		{"another size", func(old, _ *layout.Group, _ *[]byte) { old.PVs[0].Extents = 30 }, "31 extents of 4194304 bytes from byte 1048576, on 134217728 bytes; the plan has "},
		{"extents that are taken", func(old, _ *layout.Group, _ *[]byte) { old.Volumes[1].Segments[0].PE = 2 }, "logical volume boot: "},
		{"a name that is taken", func(old, _ *layout.Group, _ *[]byte) { old.Volumes[1].Name = "root" }, "it has a logical volume root already"},
		{"a name that is none", func(_, fresh *layout.Group, _ *[]byte) { fresh.Name = "--help" }, `volume group "--help": want letters`},
		{"a volume's name that is none", func(_, fresh *layout.Group, _ *[]byte) { fresh.Volumes[0].Name = "x_tdata" }, "LVM keeps names with _tdata for itself"},
		{"a UUID that is none", func(_, fresh *layout.Group, _ *[]byte) { fresh.PVs[0].UUID = "-x" }, "volume group guest-new on its template: "},
		{"a source that ends", func(_, _ *layout.Group, b *[]byte) { *b = (*b)[:5000] }, "template of scsi0:0: reading 1048576 bytes at 5000 of the source: unexpected EOF"},
		{"broken metadata", func(_, _ *layout.Group, b *[]byte) { clear((*b)[4096:]) }, "LVM finds 0 groups"},
		{"no label", func(_, _ *layout.Group, b *[]byte) { clear((*b)[:1024]) }, "LVM finds 0 groups"},
		{"two heads for a disk", func(_, fresh *layout.Group, _ *[]byte) { fresh.PVs[0].Disk = "scsi0:0" }, "template of scsi0:0: extents from byte"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			groups, pv := templateGroups(t)
			head, err := os.ReadFile(pv)
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(&groups[0], &groups[1], &head)
			dir := t.TempDir()
			heads, err := Make(t.Context(), host.Tool{}, dir, groups, func(string) (io.ReaderAt, error) { return bytes.NewReader(head), nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) || heads != nil {
				t.Errorf("Templates = %v, %v; want %q", heads, err, tt.want)
			}
			wantFiles(t, dir)
		})
	}
}

// other is another UUID than one that LVM has made by chance.
func other(uuid string) string {
	if uuid[0] == 'x' {
		return "y" + uuid[1:]
	}
	return "x" + uuid[1:]
}

// wantFiles checks what is in a directory, and that no loop device has a file
// of it.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("in the directory: %q; want %q", got, want)
	}
	if out := attached(t, dir); out != "" {
		t.Errorf("loop devices are left: %s", out)
	}
}

// attached lists the loop devices over files of a directory.
func attached(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), dir+"/") {
			out = append(out, f+" "+string(b))
		}
	}
	return strings.Join(out, ", ")
}

// TestTemplateAgain checks that the same call gives the same once more over
// what a killed one left, that what isn't its own stays, and that groups of
// the same names and identifiers on the host are left alone.
func TestTemplateAgain(t *testing.T) {
	groups, pv := templateGroups(t)
	onHost := loopOn(t, pv) // the very same group, as if it were the host's
	before, err := os.ReadFile(pv)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), `a "name" of \s, 100% ü`)
	if err := os.MkdirAll(filepath.Join(dir, templateConf, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"scsi0:0.head", "scsi0:0.head.tmp", "journal"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var first []byte
	for range 2 {
		heads, err := Make(t.Context(), host.Tool{}, dir, groups, func(string) (io.ReaderAt, error) { return bytes.NewReader(before), nil })
		if err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, "journal", "scsi0:0.head", "scsi0:1.head")
		b, err := os.ReadFile(heads["scsi0:0"])
		if err != nil || len(b) != mib {
			t.Fatalf("head of %d bytes, %v", len(b), err)
		}
		if first != nil && !bytes.Equal(first[:4096], b[:4096]) {
			t.Error("the second call's label differs from the first's")
		}
		first = b
	}
	after, err := os.ReadFile(pv)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the host's physical volume was changed, or %v", err)
	}
	if err := onHost.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "journal")
	if err := os.Remove(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the empty directory: %v", err)
		}
	}
}

// TestTemplateKilled kills the process in the middle: no loop device stays,
// and the next call does it.
func TestTemplateKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	needLoops(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperTemplate$")
	cmd.Env = append(os.Environ(), "ESXODUS_TEST_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Minute)
	for attached(t, dir) == "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	seen := attached(t, dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if seen == "" {
		t.Fatal("the process made no loop device")
	}
	for attached(t, dir) != "" && time.Now().Before(deadline) { // a child of it may still end
		time.Sleep(10 * time.Millisecond)
	}
	groups, pv := templateGroups(t)
	source := func(string) (io.ReaderAt, error) { return rawImage(t, pv), nil }
	if _, err := Make(t.Context(), host.Tool{}, dir, groups, source); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "scsi0:0.head", "scsi0:1.head")
}

// TestHelperTemplate is the process that TestTemplateKilled kills.
func TestHelperTemplate(t *testing.T) {
	dir := os.Getenv("ESXODUS_TEST_DIR")
	if dir == "" {
		t.Skip("not a test of its own")
	}
	groups, pv := templateGroups(t)
	for {
		if _, err := Make(t.Context(), host.Tool{}, dir, groups, func(string) (io.ReaderAt, error) { return rawImage(t, pv), nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTemplateParallel makes the heads of several VMs at once.
func TestTemplateParallel(t *testing.T) {
	groups, pv := templateGroups(t)
	img := rawImage(t, pv)
	var g errgroup.Group
	for range 5 {
		dir := t.TempDir()
		g.Go(func() error {
			_, err := Make(t.Context(), host.Tool{}, dir, groups, func(string) (io.ReaderAt, error) { return img, nil })
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestTemplateCancelled(t *testing.T) {
	groups, pv := templateGroups(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	dir := t.TempDir()
	_, err := Make(ctx, host.Tool{}, dir, groups, func(string) (io.ReaderAt, error) { cancel(cause); return rawImage(t, pv), nil })
	if !errors.Is(err, cause) {
		t.Errorf("Templates = %v, want the cause", err)
	}
	wantFiles(t, dir)
}
