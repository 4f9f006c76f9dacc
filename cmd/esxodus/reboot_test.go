package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"esxodus/convert/journal"
	"esxodus/convert/netrun"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// rebootDir outlives the test: it runs anew at each boot of its lab.
const rebootDir = "/var/lib/esxodus-reboot"

// lanFile is the host's own, by hand.
const lanFile = "/etc/systemd/network/lan.network"

// booted is what is to be done after each boot, in this order. All but the last end
// with the next boot.
func booted() []func(netLab) {
	return []func(netLab){hostSetUp, unconfirmedReboot, convertedReboot, domainCameUp, powerCut, putBack}
}

// TestReboots plays on a machine whose process 1 is systemd: what was applied is
// there after the next boot, with the domain on it, and what wasn't, or was cut off,
// is undone to the byte.
func TestReboots(t *testing.T) { eachBoot(t, booted(), netLab.up) }

// eachBoot does one of the steps after each boot; but the first, it begins when the
// host is up.
func eachBoot(t *testing.T, steps []func(netLab), up func(netLab)) {
	t.Helper()
	_, err := os.Stat("/lab/reboots")
	fixtures.Lab(t, err == nil, "boots, with systemd as process 1 (--reboots)")
	at := filepath.Join(rebootDir, "boots")
	text, _ := os.ReadFile(at) // there is none at first
	n, _ := strconv.Atoi(string(text))
	l := persistentLab(t)
	l.check(os.WriteFile(at, []byte(strconv.Itoa(n+1)), 0o644))
	t.Logf("boot %d", n)
	if n > 0 {
		up(l)
	}
	steps[n](l)
	if n == len(steps)-1 || t.Failed() {
		return
	}
	fixtures.Run(t, "systemctl", "reboot")
	<-t.Context().Done()
}

// persistentLab is a host whose guest has its NIC in VLAN 42.
func persistentLab(t *testing.T) netLab {
	t.Helper()
	l := netLab{&lab{t: t, dir: rebootDir, vm: "reboots", opts: esxi.Options{Builtin: true, Dir: filepath.Join(rebootDir, "guests")}}}
	l.check(os.MkdirAll(l.storage(), 0o755))
	if guest := filepath.Join(l.opts.Dir, l.vm); !l.exists(guest) {
		l.check(fixtures.SmallGuest(guest, l.vm))
		l.edit(filepath.Join(guest, "vm.json"), `"tools":{}`, `"tools":{},"nics":[{"portGroup":"VLAN 42"}]`)
	}
	l.startHost()
	l.check(os.WriteFile(l.passwordFile(), []byte(l.host.Password()+"\n"), 0o600))
	t.Cleanup(func() { _ = l.host.Close() })
	return l
}

func (l netLab) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hostSetUp makes the host what an admin has: a NIC with a name and an address.
func hostSetUp(l netLab) {
	nics, err := filepath.Glob("/sys/class/net/e*/address")
	l.check(err)
	if len(nics) != 1 {
		l.t.Fatalf("the NICs are %q", nics)
	}
	mac, err := os.ReadFile(nics[0])
	l.check(err)
	l.write("/etc/systemd/network/10-lan.link", "[Match]\nMACAddress="+string(mac)+"[Link]\nName=eno1\n")
	l.write(lanFile, "[Match]\nName=eno1\n[Network]\nAddress=10.9.9.9/24\nLinkLocalAddressing=no\n")
	l.write(filepath.Join(rebootDir, "tree"), l.tree())
	fixtures.Run(l.t, "systemctl", "enable", "systemd-networkd", "libvirtd")
}

// tree is all of networkd's configuration.
func (l netLab) tree() string {
	l.t.Helper()
	return fixtures.Run(l.t, "sh", "-c", "cd /etc/systemd/network && find . | sort && find . -type f | sort | xargs stat -c '%n %a %U %Y' && find . -type f | sort | xargs sha256sum")
}

// up waits until the uplink is as its file wants it.
func (l netLab) up() {
	l.t.Helper()
	l.await("eno1 gets its address", func() bool {
		return strings.Contains(fixtures.Run(l.t, "ip", "address", "show", "eno1"), "10.9.9.9/24")
	})
}

// await waits for a thing that comes after some time.
func (l netLab) await(what string, is func() bool) {
	l.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not in five minutes: %s\n%s", what, fixtures.Run(l.t, "sh", "-c", "ip -d address; journalctl -b -u systemd-networkd -u libvirtd -o cat | tail -n 60"))
		}
	}
}

// device reports whether the VLAN device is there.
func (l netLab) device() bool { return l.exists("/sys/class/net/eno1.42") }

// asBefore wants that nothing of all that was done is left.
func (l netLab) asBefore() {
	l.t.Helper()
	if before, now := l.saved(), l.tree(); now != before {
		l.t.Errorf("/etc/systemd/network was\n%s\nand is\n%s", before, now)
	}
	if l.device() {
		l.t.Error("eno1.42 is there")
	}
}

// unconfirmedReboot leaves a run that nobody has confirmed.
func unconfirmedReboot(l netLab) {
	p := l.start(l.network("apply", "--yes", "--confirm-within", "1h")...)
	l.await("apply waits for a word", func() bool {
		select {
		case <-p.done:
			l.t.Fatalf("apply has ended: %s%s", p.out.String(), p.err.String())
		default:
		}
		return strings.Contains(l.run(exitDone, "network", "status", "--output", "json").out, `"`+string(netrun.PhaseWaiting)+`"`)
	})
	if !l.device() {
		l.t.Error("eno1.42 isn't there")
	}
}

// convertedReboot finds the host as it was but for files that nothing uses yet, undoes
// those, and converts a VM.
func convertedReboot(l netLab) {
	if l.device() {
		l.t.Error("after the boot there is a device that nobody confirmed")
	}
	l.wait(netrun.PhaseCutOff)
	l.run(exitDone, "network", "rollback")
	l.asBefore()
	l.run(exitDone, append([]string{
		"convert", "--yes", "--no-proof", "--apply-network", "--confirm-within", "0",
		"--uplink", "eno1", "--storage", "dir:" + l.storage(), "--virt-type", "qemu", l.vm,
	}, l.login()...)...)
	tool(l.t, "virsh", "-q", "-c", "qemu:///system", "autostart", l.vm)
}

// domainCameUp finds the device made by networkd, and the domain on it.
func domainCameUp(l netLab) {
	l.await("networkd makes eno1.42", l.device)
	if link := fixtures.Run(l.t, "ip", "-d", "link", "show", "eno1.42"); !strings.Contains(link, "vlan protocol 802.1Q id 42") {
		l.t.Errorf("it is no VLAN device: %s", link)
	}
	l.await("the domain starts with the host", func() bool {
		return strings.Contains(tool(l.t, "virsh", "-q", "-c", "qemu:///system", "list", "--name"), l.vm)
	})
	if links := fixtures.Run(l.t, "ip", "-d", "link", "show", "type", "macvtap"); !strings.Contains(links, "@eno1.42") {
		l.t.Errorf("the domain's NIC isn't on eno1.42: %s", links)
	}
	if said := fixtures.Run(l.t, "journalctl", "-b", "-u", "systemd-networkd", "-p", "warning", "-o", "cat", "-q"); said != "" {
		l.t.Errorf("networkd complains: %s", said)
	}
	if r := l.run(exitDone, l.network("apply")...); !strings.Contains(r.err, "nothing is to be done") {
		l.t.Errorf("an apply after the boot says\n%s", r.err)
	}
	tool(l.t, "virsh", "-q", "-c", "qemu:///system", "destroy", l.vm)
	l.run(exitDone, l.again("rollback")...)
	l.run(exitDone, "network", "rollback")
	l.asBefore()
}

// powerCut ends the machine at once when the first file of a run is there.
func powerCut(l netLab) {
	l.asBefore()
	l.start(l.network("apply", "--yes", "--confirm-within", "1h")...)
	l.await("a file is written", func() bool { return l.tree() != l.saved() })
	l.check(os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0o200))
	<-l.t.Context().Done()
}

// saved is the configuration before anything was done.
func (l netLab) saved() string {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(rebootDir, "tree"))
	l.check(err)
	return string(text)
}

// putBack undoes what the power cut left.
func putBack(l netLab) {
	l.wait(netrun.PhaseCutOff)
	l.run(exitDone, "network", "rollback")
	l.wait(journal.PhaseRolledBack)
	l.asBefore()
}
