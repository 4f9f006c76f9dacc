package proofs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/layout"
	"esxodus/convert/lilo/conf"
	"esxodus/fixtures"
	"esxodus/fixtures/machine"
)

// TestBoots boots every guest from its new layout: LILO starts it, it has the
// whole system up, its swap, its file systems, and its network under the name
// and with the address that it had. Two of them grow, and boot again; one gets a
// new kernel.
func TestBoots(t *testing.T) {
	t.Parallel()
	buses := []machine.Bus{machine.VirtioBlk, machine.VirtioSCSI}
	for i, name := range guests {
		bus := buses[i%len(buses)]
		t.Run(name+" on "+string(bus), func(t *testing.T) {
			s := converted(t, name)
			if s.plan.Layout.Kind != layout.LVM {
				t.Fatalf("layout = %s (%s), want lvm", s.plan.Layout.Kind, strings.Join(s.plan.Layout.Reasons, "; "))
			}
			config := machine.Config{Bus: bus, Agent: true}
			if upgrades(name) {
				config.CDs = []string{filepath.Join(kernelUpdate(t), "kernel-update.iso")}
			}
			if name == proven {
				answered(t, s)
			}
			m := boot(t, s, config)
			wholeSystem(t, m, failedBefore(t, name))
			switch name {
			case "debian-lvm":
				vmTools(t, m)
			case "debian-xfs":
				vmwareTools(t, m)
			}
			network(t, m)
			bootMap(t, m)
			if name == "debian" || name == "debian-lvm" { // one on each bus
				grow(t, s, m, bus)
			}
			if upgrades(name) {
				upgrade(t, m)
			}
			m.PowerOff(machine.BootPatience)
		})
	}
}

// answered makes sure that the network proof saw a guest's NIC with the name and the
// address that it had.
func answered(t *testing.T, s *subject) {
	t.Helper()
	if len(s.plan.NICs) != 1 || len(s.plan.NICs[0].Addresses) != 1 || len(s.network) != 1 {
		t.Fatalf("NICs %+v, of which answered %+v; want one", s.plan.NICs, s.network)
	}
	n, a := s.plan.NICs[0], s.network[0]
	t.Log(a.Text)
	if a.Name != n.Name || a.MAC != n.MAC || !a.Passed || a.Addresses[0].Address != n.Addresses[0].Prefix.Addr() || a.Addresses[0].Ping == 0 {
		t.Errorf("answered %+v; want %+v, and ping", a, n)
	}
}

// TestPlain boots a guest whose root is ext4 on the bare disk, which has to be
// asked for.
func TestPlain(t *testing.T) {
	s := convertedTo(t, "debian", layout.Plain)
	if s.plan.Layout.Kind != layout.Plain {
		t.Fatalf("layout = %s (%s), want plain", s.plan.Layout.Kind, strings.Join(s.plan.Layout.Reasons, "; "))
	}
	m := boot(t, s, machine.Config{})
	if got := m.Must("findmnt -n -o SOURCE,FSTYPE / && grep -c . /proc/swaps"); strings.Join(strings.Fields(got), " ") != "/dev/vda ext4 1" {
		t.Errorf("root and swaps = %q, want /dev/vda, ext4, and no swap but the head of its table", got)
	}
	network(t, m)
	m.Must("lilo -v") // freezes the root that it is on
	bootMap(t, m)
	m.Reboot("Loading Linux")
	m.Login("root", "esxodus")
	m.PowerOff(machine.BootPatience)
}

// TestDefaultKernel boots a guest whose GRUB starts a kernel of the admin's own,
// while the links lead to Debian's: LILO starts what GRUB did.
func TestDefaultKernel(t *testing.T) {
	const own = "6.1.0-0-admin"
	s := convertedTo(t, "debian", layout.Auto, `sh "`+strings.Join([]string{
		"set -e", "cd /boot", "v=$(ls vmlinuz-* | cut -c9-)",
		"cp vmlinuz-$v vmlinuz-" + own, "cp initrd.img-$v initrd.img-" + own, "cp -a /lib/modules/$v /lib/modules/" + own,
		`sed -n '/^menuentry /,/^}/p' grub/grub.cfg | sed \"/^}/q; s/^menuentry .*/menuentry 'own' --id own {/; s/-$v/-` + own + `/g\" >own`,
		`sed -i 's/set default=.0./set default=own/; $ r own' grub/grub.cfg`, "rm own",
	}, "; ")+`"`)
	const label = "Linux-" + own
	m := bootsImage(t, s, machine.Config{}, label[:min(len(label), conf.MaxLabel)])
	if out := m.Must("cat /proc/cmdline"); !strings.Contains(out, "BOOT_IMAGE="+label[:min(len(label), conf.MaxLabel)]+" ") {
		t.Errorf("command line = %q, want BOOT_IMAGE=%s", out, label)
	}
	m.PowerOff(machine.BootPatience)
}

// failedBefore lists the units that failed when the guest booted on what ESXi
// presents (Debian 13's lvm2-monitor does), by the console of that boot.
func failedBefore(t *testing.T, guest string) []string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(fixtures.Cache(t), "proofs", guest, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no console of %s before its conversion (%v)", guest, err)
	}
	var units []string
	for _, name := range logs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`systemd\[1\]: Failed to start (\S+) - `).FindAllSubmatch(b, -1) {
			units = append(units, string(m[1]))
		}
	}
	return units
}

// wholeSystem looks whether everything that the guest's tables ask for is there,
// and no unit failed but those that did before.
func wholeSystem(t *testing.T, m *machine.Machine, before []string) {
	t.Helper()
	m.RunFor("systemctl is-system-running --wait", machine.BootPatience)
	for unit := range strings.FieldsSeq(m.Must("systemctl --no-pager --plain --no-legend list-units --failed | cut -d' ' -f1")) {
		if slices.Contains(before, unit) || lostRace(t, m, unit) {
			continue
		}
		why, _ := m.Run("systemctl --no-pager status " + unit + " | cat; journalctl -b --no-pager -p err | tail -n 20")
		t.Errorf("%s failed, and didn't before the conversion:\n%s", unit, why)
	}
	m.Must("findmnt --verify --tab-file /etc/fstab >&2 && swapon --noheadings --show=NAME | grep -q .")
	if out := m.Must("findmnt -n -o SOURCE,TARGET --fstab -t noswap --evaluate | sort; echo; findmnt -n -o SOURCE /"); !strings.Contains(out, "/dev/mapper/") {
		t.Errorf("no logical volume is mounted:\n%s", out)
	}
	// Not one partition, on any disk.
	if out := m.Must("ls -d /sys/block/[sv]d?/[sv]d?[0-9]* 2>/dev/null || echo none"); out != "none" {
		t.Errorf("partitions: %s", out)
	}
	if out := m.Must("dd if=/dev/$(lsblk -ndo NAME | grep -m 1 '^[sv]da') bs=1 skip=446 count=64 2>/dev/null | tr -d '\\0' | wc -c"); out != "0" {
		t.Errorf("%s bytes of the partition table's place aren't zero", out)
	}
}

// lostRace knows a failure that Debian 13 has at some boots, on ESXi as well:
// nothing makes lvm2-monitor wait for /run/lock, in which LVM takes its lock. It
// is that one if the journal says so, and once the system is up it works.
func lostRace(t *testing.T, m *machine.Machine, unit string) bool {
	t.Helper()
	const evidence = "/run/lock/lvm/P_global:aux: open failed: No such file or directory"
	if unit != "lvm2-monitor.service" {
		return false
	}
	_, status := m.Run("journalctl -b --no-pager -u " + unit + " | grep -qF '" + evidence + "' && systemctl restart " + unit)
	return status == 0
}

// vmTools looks at a guest that had Debian's packages of VMware's tools and of
// KVM's agent: the first are gone without a trace, the second has come to life.
func vmTools(t *testing.T, m *machine.Machine) {
	t.Helper()
	if out := m.Must("dpkg --audit; dpkg-query -W -f '${db:Status-Status} ${Package}\\n' 'open-vm-tools*' | grep -v ^not-installed; find / -xdev -name '*open-vm-tools*' | grep -v /var/cache/ || true"); out != "" {
		t.Errorf("left of open-vm-tools:\n%s", out)
	}
	if out, status := m.Run("systemctl is-active qemu-guest-agent"); status != 0 {
		t.Errorf("qemu-guest-agent is %s:\n%s", out, m.Must("systemctl --no-pager status qemu-guest-agent | cat"))
	}
}

// vmwareTools looks at a guest that had VMware's own: what their installer
// recorded is gone, but not what was edited since or is VMware's by the record
// alone; nor is anything else.
func vmwareTools(t *testing.T, m *machine.Machine) {
	t.Helper()
	out := m.Must("find / -xdev '(' -iname '*vmware*' -o -iname '*vmtools*' -o -path '*/vmware-tools/*' -o -name '*vmhgfs*' -o -name xorg.conf ')' -not -path '/usr/lib/modules/*' -not -path '/usr/share/*' | sort")
	want := "/etc/X11/xorg.conf\n/etc/vmware-tools\n/etc/vmware-tools/tools.conf"
	if out != want {
		t.Errorf("of VMware's tools there is\n%s\nwant\n%s", out, want)
	}
}

// network looks for the address that /etc/network/interfaces gives ens192, and
// has a packet go out and come back.
func network(t *testing.T, m *machine.Machine) {
	t.Helper()
	conf := m.Must("cat /etc/network/interfaces")
	address := regexp.MustCompile(`address (\S+)`).FindStringSubmatch(conf)
	gateway := regexp.MustCompile(`gateway (\S+)`).FindStringSubmatch(conf)
	if address == nil || gateway == nil || !strings.Contains(conf, "iface ens192 ") {
		t.Fatalf("/etc/network/interfaces gives ens192 no address:\n%s", conf)
	}
	out, _ := m.Run("(ip -o -4 address show dev ens192; ip -o link show) | cat") // without colours
	if !slices.Contains(strings.Fields(out), address[1]) {
		t.Errorf("ens192 hasn't %s:\n%s", address[1], out)
		return
	}
	if out, status := m.Run(fmt.Sprintf("ping -c 2 -W 60 -I ens192 %s", gateway[1])); status != 0 {
		t.Errorf("nothing comes back from %s: %s", gateway[1], out)
	}
}

// bootMap asks the guest's own lilo.
func bootMap(t *testing.T, m *machine.Machine) {
	t.Helper()
	if out := m.Must("lilo -q"); !strings.Contains(out, "Linux") {
		t.Errorf("lilo -q = %q, want Linux", out)
	}
	m.Must("lilo -t -v")
	if out := m.Must("cat /proc/cmdline"); !strings.Contains(out, "BOOT_IMAGE=Linux ") {
		t.Errorf("command line = %q, want BOOT_IMAGE=Linux", out)
	}
}
