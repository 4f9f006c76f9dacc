package packages

import (
	"os"
	"testing"

	"esxodus/convert/host"
)

func TestReal(t *testing.T) {
	st, err := os.ReadFile("/tmp/appl/apt/gstatus")
	if err != nil {
		t.Fatal(err)
	}
	g := Guest{ID: "debian", Codename: "bookworm", Arch: "amd64", Status: st}
	set, err := Resolver{Tool: host.Tool{}}.Resolve(t.Context(), g, "lvm2")
	t.Logf("%+v %v", set, err)
	paths, err := Fetch(t.Context(), host.Tool{}, t.TempDir(), set)
	t.Log(paths, err)
	set, err = Resolver{Tool: host.Tool{}, Dir: "/tmp/appl/debs"}.Resolve(t.Context(), g, "lvm2")
	t.Logf("%+v %v", set, err)
	paths, err = Fetch(t.Context(), host.Tool{}, t.TempDir(), set)
	t.Log(paths, err)
	g.Codename = "trixie"
	set, err = Resolver{Tool: host.Tool{}}.Resolve(t.Context(), g, "lvm2")
	t.Logf("%+v %v", set, err)
	g.Codename = "nosuch"
	set, err = Resolver{Tool: host.Tool{}}.Resolve(t.Context(), g, "lvm2")
	t.Logf("%+v %v", set, err)
	g.ID = "ubuntu"
	set, err = Resolver{Tool: host.Tool{}}.Resolve(t.Context(), g, "lvm2")
	t.Logf("%+v %v", set, err)
}
