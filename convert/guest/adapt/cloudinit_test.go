package adapt

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/guest"
)

// TestCloudInit: a guest with any layout is kept from being made new.
func TestCloudInit(t *testing.T) {
	for _, name := range []string{"keep-debian.txtar", "debian-mbr.txtar"} {
		in := input(t, archive(t, name))
		in.Guest.Config.CloudInit = guest.CloudInit{Active: true, Instance: "iid-vmware-1", Source: "DataSourceOVF", Sources: []string{"OVF", "None"}}
		c, _, _ := New(in)
		made := func(e guest.Edit) bool {
			return e.Make && e.Path == "/etc/cloud/cloud.cfg.d/99-esxodus.cfg" && strings.Contains(e.New, "\nmanual_cache_clean: true\n")
		}
		if !slices.ContainsFunc(c.Edits, made) {
			t.Errorf("%s: no edit pins cloud-init", name)
		}
		if told := CloudInit(in.Guest); len(told) != 1 || !strings.Contains(told[0].Evidence, "iid-vmware-1 by DataSourceOVF, which is not in the guest itself, and looks for OVF, None") {
			t.Errorf("left as it is: %+v", told)
		}
		in.Guest.Config.CloudInit.Active = false
		if c, _, _ := New(in); slices.ContainsFunc(c.Edits, made) || CloudInit(in.Guest) != nil {
			t.Errorf("%s: an edit, or a concern, of a cloud-init that is off", name)
		}
	}
}
