package guest

import (
	"slices"
	"strings"
)

// CloudInit is what the guest's own files say of cloud-init.
type CloudInit struct {
	Active   bool     // it is installed, and nothing disables it
	Instance string   // the id of the instance that it took the guest for; "" where it never ran
	Source   string   // where it had that from: "DataSourceOVF"
	Sources  []string // datasource_list; nil where it isn't set
	Seeded   bool     // a seed for NoCloud is in the guest
	Trusts   bool     // manual_cache_clean: it goes on with the instance that it knows
	Drops    []string // names in cloud.cfg.d
}

// Forgets reports whether cloud-init may take the guest for a new machine where
// there is no VMware: where it had its instance from isn't there.
func (c CloudInit) Forgets() bool {
	lasts := c.Seeded && (strings.Contains(c.Source, "NoCloud") || c.Source == "") || strings.HasSuffix(c.Source, "None") || c.Instance == "iid-datasource-none"
	return c.Active && c.Instance != "" && !c.Trusts && !lasts
}

// CloudConfig is where a file of cloud-init's is read after those that the guest
// has.
func (c CloudInit) CloudConfig() string {
	name := "99-esxodus.cfg"
	for _, prefix := range []string{"zz-", "zzz-"} {
		if !slices.ContainsFunc(c.Drops, func(d string) bool { return d > name }) {
			break
		}
		name = prefix + "esxodus.cfg"
	}
	return "/etc/cloud/cloud.cfg.d/" + name
}
