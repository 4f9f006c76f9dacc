package plan

import (
	"slices"
	"strings"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/convert/plan/plantest"
	"esxodus/inventory"
)

// TestOrigin: a disk comes from files where all of its chain is on datastores that are
// mounted here, else over HTTPS.
func TestOrigin(t *testing.T) {
	mounted := Source{URL: "https://esx1", Datastores: map[string]string{"ds": "/mnt/a", "ds] x": "/mnt/b"}}
	tests := []struct {
		name    string
		source  Source
		path    string
		parents []string
		asked   Way
		want    Origin
	}{
		{"a host", Source{URL: "https://esx1"}, "[ds] web/web.vmdk", nil, "", Origin{"[ds] web/web.vmdk", WayHTTPS, ""}},
		{"mounted", mounted, "[ds] web/web.vmdk", nil, "", Origin{"[ds] web/web.vmdk", WayFile, "/mnt/a/web/web.vmdk"}},
		{"a longer name", mounted, "[ds] x] web/web.vmdk", nil, "", Origin{"[ds] x] web/web.vmdk", WayFile, "/mnt/b/web/web.vmdk"}},
		{"another datastore", mounted, "[ds2] web/web.vmdk", nil, "", Origin{"[ds2] web/web.vmdk", WayHTTPS, ""}},
		{"all of a chain", mounted, "[ds] web/web-1.vmdk", []string{"[ds] x] base/web.vmdk"}, "", Origin{"[ds] web/web-1.vmdk", WayFile, "/mnt/a/web/web-1.vmdk"}},
		{"a part of a chain", mounted, "[ds] web/web-1.vmdk", []string{"[ds2] base/web.vmdk"}, "", Origin{"[ds] web/web-1.vmdk", WayHTTPS, ""}},
		{"asked for HTTPS", mounted, "[ds] web/web.vmdk", nil, WayHTTPS, Origin{"[ds] web/web.vmdk", WayHTTPS, ""}},
		{"a name that leads out", mounted, "[ds] ../web.vmdk", nil, "", Origin{"[ds] ../web.vmdk", WayHTTPS, ""}},
		{"a directory", Source{From: "/mnt/copy"}, "web/web.vmdk", nil, "", Origin{"web/web.vmdk", WayFile, "/mnt/copy/web/web.vmdk"}},
		{"an OVF", Source{From: "/mnt/web.ovf"}, "web.vmdk", nil, "", Origin{"web.vmdk", WayFile, "/mnt/web.vmdk"}},
		{"an OVA", Source{From: "/mnt/web.ova"}, "web.vmdk", nil, "", Origin{"web.vmdk", WayFile, "/mnt/web.ova/web.vmdk"}},
	}
	for _, tt := range tests {
		if got := tt.source.Origin(&inventory.Disk{Path: tt.path, Parents: tt.parents}, tt.asked); got != tt.want {
			t.Errorf("%s: %+v; want %+v", tt.name, got, tt.want)
		}
	}
}

// TestEditedOrigin: a plan whose disk would come from elsewhere than was planned is
// refused; one of an older esxodus, which said nothing of it, is carried out over HTTPS.
func TestEditedOrigin(t *testing.T) {
	h := plantest.Host()
	h.Datastores = []inventory.Datastore{{Name: "ds", Accessible: true}}
	f := Facts{
		Source: Source{URL: "https://esx1", Datastores: map[string]string{"ds": "/mnt/a"}}, Host: &h,
		Target: TargetFacts{VirtTypes: []string{"qemu"}},
	}
	p := finished(t, f, Options{Storage: "dir:/srv", Libvirt: "qemu:///system"})
	if d := p.VMs[0].Disks[0]; d.Via != WayFile || !strings.HasPrefix(d.File, "/mnt/a/") {
		t.Fatalf("disk %+v; want it from the file", d)
	}
	v := &p.VMs[0]
	v.Concerns = slices.DeleteFunc(v.Concerns, func(c ledger.Concern) bool { return c.Severity == ledger.Blocker })
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Plan){
		"another file":   func(p *Plan) { p.VMs[0].Disks[0].File = "/etc/passwd" },
		"another way":    func(p *Plan) { p.VMs[0].Disks[0].Via = WayHTTPS },
		"an unknown way": func(p *Plan) { p.VMs[0].Disks[0].Via = "pigeon" },
		"another mount":  func(p *Plan) { p.Source.Datastores["ds"] = "/mnt/b" },
		"no mount":       func(p *Plan) { p.Source.Datastores = nil },
		"files alone":    func(p *Plan) { p.Source.From = "/mnt/a" },
	} {
		edited := asRead(t, p)
		edit(edited)
		if err := edited.Check(); err == nil || !strings.Contains(err.Error(), "it comes ") {
			t.Errorf("%s: %v; want it refused", name, err)
		}
		if err := edited.Job(0).Check(); err == nil || !strings.Contains(err.Error(), "it comes ") {
			t.Errorf("%s, on record: %v; want it refused", name, err)
		}
	}
	lease := asRead(t, p)
	lease.Source.Datastores = nil
	lease.VMs[0].Via = WayNFC
	for _, tt := range [][2]string{{"", "names no directory"}, {"var/scratch", "is no absolute path"}, {"/var/scratch", ""}} {
		scratch, want := tt[0], tt[1]
		lease.Source.Scratch = scratch
		for i := range lease.VMs[0].Disks {
			o := lease.Source.Origin(&lease.VMs[0].Source.Disks[i], WayNFC)
			lease.VMs[0].Disks[i].Via, lease.VMs[0].Disks[i].File = o.Way, o.File
		}
		if err := lease.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("a lease, with the scratch %q: %v; want %q", scratch, err, want)
		}
	}
	lease.VMs[0].Disks[0].File = "/etc/passwd"
	if err := lease.Check(); err == nil || !strings.Contains(err.Error(), "it comes by a lease, through the file /etc/passwd") {
		t.Errorf("a lease through another file: %v", err)
	}
	old := asRead(t, p)
	old.Source.Datastores = nil
	for i := range old.VMs[0].Disks {
		old.VMs[0].Disks[i].Via, old.VMs[0].Disks[i].File = "", ""
	}
	if err := old.Check(); err != nil {
		t.Errorf("a plan of an older esxodus: %v", err)
	}
	for name, o := range map[string]Options{
		"--datastore nowhere": {}, "--via nobody": {Via: map[string]Way{"nobody": WayFile}}, "want https, ssh, nfc or file": {Via: map[string]Way{"": "pigeon"}}, "give --scratch DIR": {Via: map[string]Way{"": WayNFC}}, "--off nobody": {Off: []string{"nobody"}},
	} {
		g := f
		if name == "--datastore nowhere" {
			g.Source.Datastores = map[string]string{"nowhere": "/mnt"}
		}
		o.Storage = "dir:/srv"
		if _, err := NewDraft(g, o); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(name, "--")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
