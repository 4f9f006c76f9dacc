package act

import (
	"slices"
	"testing"
	"testing/fstest"

	"esxodus/convert/guest"
)

// TestPurgeTakesConf: the purge of Debian's lilo renames its lilo.conf. A plan
// that removes the file and makes it anew doesn't miss it.
func TestPurgeTakesConf(t *testing.T) {
	for _, takes := range []bool{true, false} {
		f := newFake()
		f.tree["etc/lilo.conf"] = &fstest.MapFile{Data: []byte("boot=/dev/sda\n"), Mode: 0o600}
		f.command = func(f *fake, argv []string) (string, error) {
			if takes && slices.Contains(argv, "--purge") {
				f.tree["etc/lilo.conf_backup"] = f.tree["etc/lilo.conf"]
				delete(f.tree, "etc/lilo.conf")
			}
			return "", nil
		}
		c := guest.Conversion{Mounts: whole().Mounts, Remove: []string{"lilo"}, Edits: []guest.Edit{
			{Path: "/etc/lilo.conf", Remove: true, Old: "boot=/dev/sda\n"},
			{Path: "/etc/lilo.conf", Make: true, New: "map=/boot/map\n", Mode: 0o644},
		}}
		_, err := Apply(t.Context(), f, f.tree, c, Input{})
		conf := f.tree["etc/lilo.conf"]
		if err != nil || conf == nil || string(conf.Data) != "map=/boot/map\n" || conf.Mode != 0o644 {
			t.Errorf("purge takes it: %v: Apply = %v, lilo.conf %+v; want the plan's", takes, err, conf)
		}
	}
}
