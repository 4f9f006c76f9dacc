package act

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/fixtures"
)

func TestApplyDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("launches a virtual machine")
	}
	for _, env := range fixtures.Appliance(t) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	fixtures.Tool(t, "qemu-img")
	debs, _ := filepath.Glob("/tmp/appl/debs/*.deb")
	base := filepath.Join(fixtures.Guest(t, "debian"), "debian-flat.vmdk")
	overlays, err := host.Overlays(t.Context(), host.Tool{}, filepath.Join(fixtures.OpenDir(t), "o"), []string{base})
	if err != nil {
		t.Fatal(err)
	}
	a, err := appliance.Start(t.Context(), host.Tool{}, []appliance.Disk{{Name: "scsi0:0", Path: overlays[0], Format: "qcow2"}}, appliance.Options{CPUs: 2, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c := guest.Conversion{
		Mounts:  []guest.Mount{{Device: "disk:scsi0:0#1", At: "/", Content: "ext4"}},
		Install: []string{"lvm2"},
		Remove:  []string{"grub-pc", "grub-pc-bin", "grub2-common", "grub-common"},
		Edits: []guest.Edit{
			{Path: "/etc/hostname", Old: "debian\n", New: "converted\n"},
			{Path: "/etc/new dir/it's \"new\"", Make: true, New: "x\x00y", Mode: 0o640},
		},
		Overlays: []guest.Overlay{{Initrd: "/boot/initrd.img-6.1.0-56-amd64"}},
		Loader:   []string{"sh", "-c", "echo loader; ls -la /run /boot; lvm version"},
	}
	res, err := Apply(t.Context(), a, a.FS(t.Context()), c, Input{Packages: debs, Unpacked: 20 << 20,
		Overlay: func(root fs.ReadLinkFS, o guest.Overlay) ([]byte, error) { return []byte("070701"), nil },
		Report:  func(s string) { t.Log(s, cpu(overlays[0])) },
	})
	t.Logf("%+v", res)
	if err != nil {
		t.Error(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	out, _ := exec.Command("qemu-img", "info", overlays[0]).CombinedOutput()
	t.Logf("%s", out)
	_ = os.Stdout
}

func cpu(overlay string) string {
	out, _ := exec.Command("sh", "-c", "p=$(pgrep -f 'qemu-system.*"+overlay+"' | head -n 1); awk '{print ($14+$15)/100}' /proc/$p/stat").CombinedOutput()
	return strings.TrimSpace(string(out))
}
