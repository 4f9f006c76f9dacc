package appliance

import (
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/host"
	"esxodus/fixtures"
)

// debian launches an appliance over the Debian guest's disk, of which nothing
// changes, and mounts its root.
func debian(t *testing.T) *Appliance {
	t.Helper()
	if testing.Short() {
		t.Skip("launches a virtual machine")
	}
	for _, env := range fixtures.Appliance(t) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	fixtures.Tool(t, "qemu-img")
	base := filepath.Join(fixtures.Guest(t, "debian"), "debian-flat.vmdk")
	overlays, err := host.Overlays(t.Context(), host.Tool{}, filepath.Join(fixtures.OpenDir(t), `ov "1", Büro's 100%`), []string{base})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Start(t.Context(), host.Tool{}, []Disk{{Name: "scsi0:0", Path: overlays[0], Format: "qcow2"}}, Options{CPUs: 2, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDebian(t *testing.T) {
	a := debian(t)
	ctx := t.Context()
	if err := a.FSCheck(ctx, "disk:scsi0:0#1", "ext4"); err != nil {
		t.Error(err)
	}
	if err := a.FSCheck(ctx, "disk:scsi0:0#2", "swap"); err != nil {
		t.Error(err)
	}
	if err := a.FSCheck(ctx, "disk:scsi0:0#2", "ext4"); err == nil {
		t.Error("swap checks as ext4")
	} else {
		t.Log(err)
	}
	if err := a.Mount(ctx, "disk:scsi0:0#1", "/"); err != nil {
		t.Fatal(err)
	}
	b, err := a.FS(ctx).ReadFile("etc/fstab")
	t.Logf("%s %v", b, err)
	_, err = a.FS(ctx).ReadFile("etc/fstabx")
	t.Log(err)
	es, err := a.FS(ctx).ReadDir("etc/initramfs-tools")
	t.Log(es, err)
	out, err := a.Command(ctx, "sh", "-c", "echo \"$1\"; env; exit 3", "a", `it's "x" \n`)
	t.Log(out, err)
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
