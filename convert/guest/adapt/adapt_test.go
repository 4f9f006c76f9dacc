package adapt

import (
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/convert/lilo/conf"
	"esxodus/convert/lilo/guestfiles"
	"esxodus/disk"
	"esxodus/inventory"
)

var update = flag.Bool("update", false, "write what is as what is wanted")

// image is a file as an image.
type image struct {
	*os.File
	size int64
}

func (f image) Size() int64 { return f.size }

func (f image) Extents() iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) { yield(disk.Extent{Length: f.size}, nil) }
}

func tool(tb testing.TB, argv ...string) {
	tb.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" && os.Getenv("ESXODUS_NEED_TOOLS") == "" && strings.Contains(err.Error(), "not found") {
			tb.Skip(err)
		}
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// look puts the files of an archive below tree/ into an ext4 file system and
// looks inside. The value of a file tree/….LINK is a link's target.
func look(tb testing.TB, a *txtar.Archive) guest.Guest {
	tb.Helper()
	dir := tb.TempDir()
	for _, f := range a.Files {
		name, ok := strings.CutPrefix(f.Name, "tree/")
		if !ok {
			continue
		}
		path := filepath.Join(dir, strings.TrimSuffix(name, ".LINK"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && strings.HasSuffix(name, ".LINK") {
			err = os.Symlink(strings.TrimSpace(string(f.Data)), path)
		} else if err == nil {
			err = os.WriteFile(path, f.Data, 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	path := filepath.Join(tb.TempDir(), "root")
	tool(tb, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-U", "00000000-1111-4222-8333-444444444444", "-d", dir, path, "24m")
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	g, err := guest.Look(tb.Context(), []guest.Source{{Address: "scsi0:0", Image: image{f, 24 << 20}}})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// input makes the arguments of New that an archive describes.
func input(tb testing.TB, a *txtar.Archive) Input {
	tb.Helper()
	in := Input{Guest: look(tb, a)}
	for _, f := range a.Files {
		var err error
		switch f.Name {
		case "layout.json":
			err = json.Unmarshal(f.Data, &in.Layout)
		case "nics.json":
			err = json.Unmarshal(f.Data, &in.NICs)
		}
		if err != nil {
			tb.Fatalf("%s: %v", f.Name, err)
		}
	}
	return in
}

// show writes a conversion as a person would read it.
func show(c guest.Conversion, entries []ledger.Entry, concerns []ledger.Concern) string {
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	for _, m := range c.Mounts {
		p("mount %s at %s (%s)", m.Device, m.At, m.Content)
	}
	for _, m := range c.Checks {
		p("check %s at %q (%s)", m.Device, m.At, m.Content)
	}
	p("install %q\nremove %q", c.Install, c.Remove)
	for _, e := range c.Edits {
		out.WriteString(e.Diff())
	}
	for _, f := range c.Programs {
		p("program %s from %s, mode %o", f.Path, f.Source, f.Mode)
	}
	for _, o := range c.Overlays {
		p("overlay on %s of %s: %s\n\tfiles %q\n\talso %q\n\tmodules %q", o.Initrd, o.Kernel, o.Reason, o.Files, o.Also, o.Modules)
		for _, e := range o.Texts {
			out.WriteString(e.Diff())
		}
	}
	for _, argv := range c.Commands {
		p("run %q", argv)
	}
	p("loader %q %s", c.Loader, c.OwnLoader)
	for _, t := range c.Touches {
		p("touch %s (%s)", t.Pattern, t.Reason)
	}
	for _, e := range entries {
		p("ledger %s %s: %s -> %s (%s)", e.Fate, e.Property, e.Source, e.Target, e.Reason)
	}
	for _, e := range concerns {
		p("%s %s %s: %s; %s", e.Severity, e.ID, e.Subject, e.Evidence, e.Advice)
	}
	return out.String()
}

func TestNew(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			conv, entries, concerns := New(input(t, a))
			checkLilo(t, conv)
			for _, p := range conv.Programs {
				if _, err := guestfiles.File(p.Source); err != nil && p.Source != "lilo" {
					t.Error(err)
				}
			}
			got := show(conv, entries, concerns)
			last := &a.Files[len(a.Files)-1]
			if last.Name != "want" {
				t.Fatalf("the last file of %s is %s; want want", name, last.Name)
			}
			if *update {
				last.Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(last.Data), got); diff != "" {
				t.Errorf("New (-want +got):\n%s", diff)
			}
		})
	}
}

// checkLilo reads the lilo.conf of a conversion as lilo does.
func checkLilo(t *testing.T, conv guest.Conversion) {
	t.Helper()
	for _, e := range conv.Edits {
		if e.Path != liloConf || conv.OwnLoader != "" {
			continue
		}
		c, err := conf.Parse(liloConf, []byte(e.New))
		if err != nil || len(c.Warnings) > 0 || len(c.Images) != 2 || c.Boot == "" || c.Timeout != timeout {
			t.Errorf("lilo reads %+v, %v; want two images and no warning in\n%s", c, err, e.New)
		}
	}
}

func TestKeepChangesNothing(t *testing.T) {
	c, entries, concerns := New(Input{Layout: layout.Layout{Kind: layout.Keep}, NICs: []inventory.NIC{{PCISlot: 192}}})
	if diff := cmp.Diff(guest.Conversion{}, c); diff != "" || len(entries)+len(concerns) > 0 {
		t.Errorf("New for keep: %s %v %v; want nothing", diff, entries, concerns)
	}
}
