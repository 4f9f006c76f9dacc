package proofs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures/machine"
)

// TestRewritten rewrites an initrd in place, as dracut does wherever it runs: no hook
// runs lilo, and the map leads to blocks that are free. The watch follows it, the end
// of the system does, and where the power goes before either the last resort boots.
func TestRewritten(t *testing.T) {
	s := converted(t, "debian-lvm")
	m := boot(t, s, machine.Config{})
	initrd := m.Must("readlink -f " + entry(t, m, "initrd", ""))
	m.Must("systemctl is-active lilo.service lilo-watch.path")

	rewrite(t, m, initrd)
	watched(t, m, initrd)
	reboots(t, m, initrd)
	m.Must("systemctl stop lilo-watch.path") // who is quick
	rewrite(t, m, initrd)
	reboots(t, m, initrd)
	// What booted is the last resort by now; nothing waits for it.
	settled := "while pgrep -x lilo; do sleep 1; done; cmp /boot/lilo/initrd.img " + initrd
	if out, status := m.RunFor(settled, machine.BootPatience); status != 0 {
		t.Errorf("the last resort isn't what booted: %s", out)
	}

	m.Must("systemctl stop lilo-watch.path")
	lastResort(t, m, initrd, func() { rewrite(t, m, initrd) })
	m.PowerOff(machine.BootPatience)
}

// TestDracut has the real dracut in place of initramfs-tools: it comes, runs by hand,
// and is run by a package's trigger before the power goes.
func TestDracut(t *testing.T) {
	s := converted(t, "debian-lvm")
	if os.Getenv("ESXODUS_GUESTS") != "" {
		t.Skip("a run of some guests has no packages for them")
	}
	m := boot(t, s, machine.Config{CDs: []string{filepath.Join(kernelUpdate(t), "kernel-update.iso")}})
	initrd := m.Must("readlink -f " + entry(t, m, "initrd", ""))
	m.Must("mkdir -p /etc/dracut.conf.d && echo hostonly=yes >/etc/dracut.conf.d/quick.conf && mount -o ro LABEL=kernel-update /mnt")
	apt := "DEBIAN_FRONTEND=noninteractive apt-get -q -o Dir::Etc::SourceList=/mnt/sources.list -o Dir::Etc::SourceParts=/dev/null "
	work := func(command string) {
		t.Helper()
		if out, status := m.RunFor(command, 40*time.Minute); status != 0 {
			t.Fatalf("%s: status %d: %s", command, status, out)
		}
	}
	work(apt + "update && " + apt + "-y install dracut && dracut -f " + initrd + " $(uname -r) && umount /mnt")
	watched(t, m, initrd)
	reboots(t, m, initrd)
	m.Must("journalctl -b --no-pager -o cat | grep -q dracut")
	m.Must("systemctl stop lilo-watch.path")
	lastResort(t, m, initrd, func() { work("dpkg-trigger --by-package=udev update-initramfs && dpkg --triggers-only --pending") })
	m.PowerOff(machine.BootPatience)
}

// lastResort has an initrd written anew, and the machine reset before anything could
// follow: the loader comes to what booted last. That start has lilo follow then.
func lastResort(t *testing.T, m *machine.Machine, initrd string, rewrite func()) {
	t.Helper()
	freed := locate(t, m, initrd, 0)
	rewrite()
	m.Must("sync")
	if locate(t, m, initrd, 0) == freed {
		t.Fatalf("%s lies where it did", initrd)
	}
	// What was freed is written to, as any file might.
	m.Must(fmt.Sprintf("dd if=/dev/zero of=/dev/vda bs=512 seek=%d count=8 oflag=direct conv=notrunc,fsync", freed))
	m.Reset()
	m.Expect("Its initrd has changed since lilo ran", machine.BootPatience)
	m.Expect("Loading LastResort", machine.BootPatience)
	bootedBy(t, m, "LastResort", len(m.Seen()))
	// That start has had lilo follow what it could not before.
	if out, status := m.RunFor("while pgrep -x lilo; do sleep 1; done; journalctl -b -u lilo.service --no-pager -o cat", machine.BootPatience); status != 0 || !strings.Contains(out, "booted by its last resort") {
		t.Errorf("lilo.service says %q", out)
	}
	reboots(t, m, initrd)
}

// watched waits until lilo has followed an initrd that was rewritten.
func watched(t *testing.T, m *machine.Machine, initrd string) {
	t.Helper()
	if out, status := m.RunFor("until lilo -q -v | grep -q '"+mapped(t, m, initrd)+"'; do sleep 1; done", machine.BootPatience); status != 0 {
		t.Fatalf("lilo-watch: status %d: %s", status, out)
	}
}

// mapped is how lilo -q shows an initrd that it knows as it is.
func mapped(t *testing.T, m *machine.Machine, initrd string) string {
	t.Helper()
	m.Must("sync")
	return fmt.Sprintf("initrd: .*, from sector %d on", locate(t, m, initrd, 0))
}

// reboots has the guest reboot into the first image, whose initrd is followed then.
func reboots(t *testing.T, m *machine.Machine, initrd string) {
	t.Helper()
	seen := len(m.Seen())
	m.Reboot("Loading Linux")
	bootedBy(t, m, "Linux", seen)
	m.Must("lilo -q -v | grep '" + mapped(t, m, initrd) + "'")
}

// rewrite has an initrd written anew in place. Linux takes zeros behind an initrd for
// nothing.
func rewrite(t *testing.T, m *machine.Machine, initrd string) {
	t.Helper()
	m.Must("{ cat " + initrd + "; head -c 70000 /dev/zero; } >/var/tmp/initramfs.img && cp /var/tmp/initramfs.img " + initrd + " && sync")
}

// bootedBy logs in, and holds that an image was started, and none before it, since
// the console had shown so much.
func bootedBy(t *testing.T, m *machine.Machine, label string, since int) {
	t.Helper()
	m.Login("root", "esxodus")
	if out := m.Must("cat /proc/cmdline"); !strings.Contains(out, "BOOT_IMAGE="+label+" ") {
		t.Errorf("command line = %q, want BOOT_IMAGE=%s", out, label)
	}
	if shown := m.Seen()[since:]; strings.Contains(shown, "has changed since lilo ran") {
		t.Errorf("an image was stale:\n%s", shown)
	}
}
