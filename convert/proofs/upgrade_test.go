package proofs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/machine"
)

// upgraded is the guest that gets Debian's next kernel. It takes longest, so it is
// the one that Go starts first.
const upgraded = "debian"

// upgrades reports whether a guest is to be upgraded: in runs of all guests. A run of
// some (scripts/test-boot.sh --guest) has neither the time nor the kernel for it.
func upgrades(guest string) bool { return guest == upgraded && os.Getenv("ESXODUS_GUESTS") == "" }

// upgrade installs Debian's next kernel with apt, as an admin does. Its packages'
// hooks run lilo, and nothing else has to be done: the guest reboots into the new
// kernel, and LinuxOLD still starts the one before.
func upgrade(t *testing.T, m *machine.Machine) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(kernelUpdate(t), "version"))
	if err != nil {
		t.Fatal(err)
	}
	next := strings.TrimSpace(string(b))
	have, conf := m.Must("uname -r"), m.Must("cat /etc/lilo.conf")
	if have == next {
		t.Fatalf("the guest has %s already", have)
	}
	// An initrd of all drivers takes ten minutes under emulation.
	m.Must("echo MODULES=dep >/etc/initramfs-tools/conf.d/zz-modules")
	m.Must("mount -o ro LABEL=kernel-update /mnt")
	apt := "DEBIAN_FRONTEND=noninteractive apt-get -q -o Dir::Etc::SourceList=/mnt/sources.list -o Dir::Etc::SourceParts=/dev/null "
	if out, status := m.RunFor(apt+"update && "+apt+"-y install linux-image-amd64", 40*time.Minute); status != 0 {
		t.Fatalf("apt-get: status %d: %s", status, out)
	} else if !strings.Contains(out, "Added Linux") {
		t.Errorf("lilo didn't say that it ran: %s", out)
	}
	if out := m.Must("dpkg --audit; cat /etc/lilo.conf"); out != conf {
		t.Errorf("lilo.conf and dpkg's state:\n%s\nwant nothing of dpkg, and lilo.conf unchanged:\n%s", out, conf)
	}
	want := func(kernel, label string) {
		t.Helper()
		m.Login("root", "esxodus")
		if got := m.Must("uname -r"); got != kernel {
			t.Errorf("%s boots %s, want %s", label, got, kernel)
		}
		if out := m.Must("cat /proc/cmdline"); !strings.Contains(out, "BOOT_IMAGE="+label+" ") {
			t.Errorf("command line = %q, want BOOT_IMAGE=%s", out, label)
		}
	}
	m.Reboot("LILO")
	want(next, "Linux")
	// The two seconds that the prompt waits are short for one who types on a busy
	// machine.
	m.Must("cp -p /etc/lilo.conf /root && sed -i 's/^timeout=.*/timeout=600/' /etc/lilo.conf && grep -qx timeout=600 /etc/lilo.conf && lilo")
	m.Reboot("LILO")
	m.Expect("boot: ", machine.BootPatience)
	m.Send("LinuxOLD\r")
	want(have, "LinuxOLD")
	m.Must("mv /root/lilo.conf /etc/lilo.conf && lilo")
	m.Must("lilo -R LinuxOLD single_word=1")
	m.Reboot("Loading LinuxOLD")
	m.Reset() // once is once, even if the kernel never came up
	m.Expect("LILO", machine.BootPatience)
	want(next, "Linux")
}

// kernelUpdate is the directory of scripts/kernel-update.sh.
func kernelUpdate(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(fixtures.Cache(t), "kernel-update"))
	if err != nil {
		fixtures.Missing(t, "a newer kernel (scripts/kernel-update.sh)")
	}
	return dir
}
