package inspect

import (
	"maps"
	"testing"
)

// TestCloudInit is N6: a guest whose cloud-init had its identity from VMware would be
// made a new machine at its first boot elsewhere.
func TestCloudInit(t *testing.T) {
	plain := map[string]string{
		"usr/bin/cloud-init":                                 "x",
		"etc/cloud/cloud.cfg":                                "users: [default]\ndatasource_list: [NoCloud, VMware, OVF, None]\n",
		"var/lib/cloud/data/instance-id":                     "iid-vmware-1234\n",
		"var/lib/cloud/instance":                             "-> instances/iid-vmware-1234",
		"var/lib/cloud/instances/iid-vmware-1234/datasource": "DataSourceOVF: DataSourceOVF [seed=vmware-tools]\n",
	}
	for _, tt := range []struct {
		name    string
		files   map[string]string
		forgets bool
		file    string
	}{
		{"by VMware", nil, true, "/etc/cloud/cloud.cfg.d/99-esxodus.cfg"},
		{"a later file of its own", map[string]string{"etc/cloud/cloud.cfg.d/99_own.cfg": "ssh_deletekeys: true\n"}, true, "/etc/cloud/cloud.cfg.d/zz-esxodus.cfg"},
		{"its own network, and no source named", map[string]string{"etc/cloud/cloud.cfg": "network: {version: 1}\n"}, true, "/etc/cloud/cloud.cfg.d/99-esxodus.cfg"},
		{"disabled", map[string]string{"etc/cloud/cloud-init.disabled": ""}, false, ""},
		{"removed", map[string]string{"usr/bin/cloud-init": ""}, false, ""},
		{"never ran", map[string]string{"var/lib/cloud/data/instance-id": ""}, false, ""},
		{"trusts what it knows", map[string]string{"etc/cloud/cloud.cfg.d/90.cfg": "manual_cache_clean: true\n"}, false, ""},
		{"trusts no more", map[string]string{"etc/cloud/cloud.cfg.d/90.cfg": "manual_cache_clean: true\n", "etc/cloud/cloud.cfg.d/91.cfg": "manual_cache_clean: false\n"}, true, "/etc/cloud/cloud.cfg.d/99-esxodus.cfg"},
		{"a seed in the guest", map[string]string{"var/lib/cloud/seed/nocloud/meta-data": "x", "var/lib/cloud/instances/iid-vmware-1234/datasource": "DataSourceNoCloud: x\n"}, false, ""},
		{"a seed on a disc", map[string]string{"var/lib/cloud/instances/iid-vmware-1234/datasource": "DataSourceNoCloud: [seed=/dev/sr0]\n"}, true, "/etc/cloud/cloud.cfg.d/99-esxodus.cfg"},
		{"no source", map[string]string{"var/lib/cloud/data/instance-id": "iid-datasource-none\n"}, false, ""},
		{"not YAML", map[string]string{"etc/cloud/cloud.cfg.d/90.cfg": "a: [\n"}, true, "/etc/cloud/cloud.cfg.d/99-esxodus.cfg"},
	} {
		files := maps.Clone(plain)
		maps.Copy(files, tt.files)
		if tt.name == "removed" {
			delete(files, "usr/bin/cloud-init")
		}
		c := lookAt(files).cloudInit()
		if c.Forgets() != tt.forgets || tt.forgets && c.CloudConfig() != tt.file {
			t.Errorf("%s: forgets %v, file %s; want %v, %s (%+v)", tt.name, c.Forgets(), c.CloudConfig(), tt.forgets, tt.file, c)
		}
	}
	l := lookAt(plain)
	l.guest.Config.Cmdline = "root=/dev/sda1 cloud-init=disabled"
	if l.cloudInit().Forgets() {
		t.Error("cloud-init=disabled on the command line is not seen")
	}
}
