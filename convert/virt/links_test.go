package virt

import (
	"testing"

	"libvirt.org/go/libvirt"

	"github.com/google/go-cmp/cmp"
)

// TestUsers: whichever way a domain hangs on a link, and whether it runs or not.
func TestUsers(t *testing.T) {
	c := fake(t)
	for _, doc := range []string{
		"<network><name>DMZ</name><forward mode='bridge'><interface dev='eno1.42'/></forward></network>",
		"<network><name>lab</name><bridge name='virbr7'/></network>",
	} {
		n, err := c.lv.NetworkDefineXML(doc)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		defer n.Undefine()
	}
	for name, nic := range map[string]string{
		"u-direct":  "<interface type='direct'><source dev='eno1.42' mode='bridge'/></interface><interface type='direct'><source dev='eno1.42' mode='bridge'/></interface>",
		"u-bridge":  "<interface type='bridge'><source bridge='br0'/></interface>",
		"u-network": "<interface type='network'><source network='DMZ'/></interface>",
		"u-nat":     "<interface type='network'><source network='lab'/></interface>",
		"u-none":    "<interface type='user'/>",
	} {
		d, err := c.lv.DomainDefineXML("<domain type='test'><name>" + name + "</name><memory>8192</memory><os><type>hvm</type></os><devices>" + nic + "</devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Free()
		defer d.Undefine()
		if name == "u-nat" {
			if err := d.Create(); err != nil {
				t.Fatal(err)
			}
			defer d.DestroyFlags(libvirt.DOMAIN_DESTROY_DEFAULT)
		}
	}
	got, err := c.Users(t.Context())
	want := map[string][]string{
		"virbr0":  {"test"}, // both are the driver's own
		"eno1.42": {"u-direct", "u-network"},
		"br0":     {"u-bridge"},
		"virbr7":  {"u-nat"},

		NetworkKey("default"): {"test"},
		NetworkKey("lab"):     {"u-nat"},
		NetworkKey("DMZ"):     {"u-network"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Users: %v (-want +got):\n%s", err, diff)
	}
}
