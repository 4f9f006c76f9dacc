package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	"esxodus/network"
	"esxodus/network/networkd"

	"golang.org/x/sys/unix"
)

// functionLab is a lab with an adapter that can have virtual functions, and a NIC at
// the other end of its wire.
type functionLab struct {
	netLab
	pf, peer string
}

// TestSRIOV makes an adapter's virtual functions, has libvirt lend one to a guest that
// was converted, and takes all back.
func TestSRIOV(t *testing.T) {
	guest := os.Getenv("ESXODUS_GUEST")
	fixtures.Lab(t, guest != "", "virtual functions of an adapter (--igb), and a guest for one (ESXODUS_GUEST)")
	l := functionLab{netLab: tagged(netLab{newLabWithout(t, esxi.Options{Builtin: true})})}
	l.find()
	startBus(t)
	startLibvirtd(t)
	l.startNetworkd()
	fixtures.Run(t, "modprobe", "vfio-pci") // systemd makes /dev/vfio/vfio at each boot
	before := l.files()
	fixtures.Run(t, "ip", "link", "set", l.pf, "up")
	l.refused()
	l.run(exitDone, l.plan("apply", "--yes", "--confirm-within", "0")...)
	l.made(4)
	l.left("unmanaged")
	if r := l.run(exitDone, l.plan("apply")...); !strings.Contains(r.err, "nothing is to be done") {
		t.Errorf("a second apply says\n%s", r.err)
	}
	l.run(exitDone, l.migrate("convert", "--yes", "--no-proof")...)
	l.boots(guest)
	if r := l.run(exitFailed, "network", "rollback"); !strings.Contains(r.err, "libvirt's network "+network.PoolName(l.pf)+" is used by "+l.vm) {
		t.Errorf("the rollback says\n%s", r.err)
	}
	fixtures.Run(t, "virsh", "-q", "-c", "qemu:///system", "destroy", l.vm)
	if r := l.run(exitFailed, "network", "rollback"); !strings.Contains(r.err, "is used by "+l.vm) {
		t.Errorf("with the domain shut off the rollback says\n%s", r.err)
	}
	l.plugAgain()
	l.made(4)
	l.run(exitDone, l.again("rollback")...)
	l.run(exitDone, "network", "rollback")
	if n := l.number(); n != "0" {
		t.Errorf("after the rollback %s has %s virtual functions", l.pf, n)
	}
	if now := l.files(); now != before {
		t.Errorf("after the rollback there is %s, before there was %s", now, before)
	}
	if list := fixtures.Run(t, "virsh", "-q", "-c", "qemu:///system", "net-list", "--all", "--name"); strings.Contains(list, "esxodus") {
		t.Errorf("after the rollback libvirt has %s", list)
	}
	l.byRule()
}

// byRule: the rule for an older systemd makes the virtual functions, too.
func (l *functionLab) byRule() {
	l.t.Helper()
	device, err := filepath.EvalSymlinks("/sys/class/net/" + l.pf + "/device")
	if err != nil {
		l.t.Fatal(err)
	}
	l.write("/etc/udev/rules.d/82-esxodus-vf.rules", networkd.FunctionRule("pci-"+filepath.Base(device), 3))
	fixtures.Run(l.t, "networkctl", "reload") // a boot has it forget what was rolled back
	l.plugAgain()
	if n := l.number(); n != "3" {
		l.t.Errorf("the rule makes %s virtual functions", n)
	}
	l.left("configured") // so that the file that kept networkd off them means something
}

// find looks for the two NICs.
func (l *functionLab) find() {
	all, err := filepath.Glob("/sys/class/net/*/device/sriov_totalvfs")
	if err != nil || len(all) != 1 {
		l.t.Fatalf("adapters: %q, %v", all, err)
	}
	l.pf = filepath.Base(filepath.Dir(filepath.Dir(all[0])))
	links, err := net.Interfaces()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, i := range links {
		if strings.HasPrefix(i.HardwareAddr.String(), "52:54:00:00:02:") {
			l.peer = i.Name
		}
	}
}

// startBus starts a bus for all that want one.
func startBus(t *testing.T) {
	t.Helper()
	const socket, conf = "/run/dbus/system_bus_socket", "/run/bus.conf"
	text := `<busconfig><type>system</type><listen>unix:path=` + socket + `</listen><policy context="default">
<allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`
	if err := errors.Join(os.MkdirAll(filepath.Dir(socket), 0o755), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	fixtures.Run(t, "dbus-daemon", "--config-file="+conf, "--fork")
}

// startNetworkd starts networkd with a file for all links.
func (l *functionLab) startNetworkd() {
	l.t.Helper()
	const dirs = "/run/systemd/netif"
	for _, dir := range []string{"links", "leases", "lldp"} {
		l.check(os.MkdirAll(filepath.Join(dirs, dir), 0o755))
	}
	fixtures.Run(l.t, "chown", "-R", "systemd-network:systemd-network", dirs)
	l.write(filepath.Join(network.Dir, "90-all.network"), "[Match]\nName=en*\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n")
	time.Sleep(time.Second) // the file is older than networkd, which may be told to read its files then
	cmd := exec.Command("/usr/lib/systemd/systemd-networkd")
	l.check(cmd.Start())
	l.t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	l.says(l.pf, "configured")
}

// left waits until networkd has one state for all virtual functions that this host
// drives.
func (l *functionLab) left(state string) {
	l.t.Helper()
	links, err := filepath.Glob("/sys/class/net/" + l.pf + "/device/virtfn*/net/*")
	if err != nil || len(links) < 3 {
		l.t.Fatalf("links of virtual functions: %q, %v", links, err)
	}
	for _, link := range links {
		l.says(filepath.Base(link), state)
	}
}

// says waits until networkd says that of a link.
func (l *functionLab) says(link, want string) {
	l.t.Helper()
	var is []byte
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		index, err := os.ReadFile("/sys/class/net/" + link + "/ifindex")
		l.check(err)
		is, _ = os.ReadFile("/run/systemd/netif/links/" + strings.TrimSpace(string(index))) // later, if not yet
		if strings.Contains(string(is), "ADMIN_STATE="+want+"\n") {
			return
		}
	}
	l.t.Fatalf("networkd doesn't say that %s is %s: %s", link, want, is)
}

// source are the arguments that name the ESXi host, and allow virtual functions.
func (l *functionLab) source() []string {
	return []string{
		"--esxi", strings.Replace(l.host.URL(), "https://", "https://root@", 1), "--thumbprint", l.host.Thumbprint(), "--password-file", l.passwordFile(),
		"--uplink", l.pf, "--sriov", l.pf + "=4",
	}
}

func (l *functionLab) plan(args ...string) []string {
	return append(append(append([]string{"network"}, args...), l.source()...), l.vm)
}

func (l *functionLab) migrate(args ...string) []string {
	return append(append(args, l.source()...), "--storage", "dir:"+l.storage(), "--virt-type", "qemu", l.vm)
}

// refused: before anything is made no VM may have it; and what is made is shown.
func (l *functionLab) refused() {
	l.t.Helper()
	if r := l.run(exitPreflight, l.migrate("convert", "--yes", "--no-proof")...); !strings.Contains(r.err, "nothing makes the virtual functions of "+l.pf) {
		l.t.Errorf("convert says\n%s", r.err)
	}
	r := l.run(exitDone, l.plan("plan")...)
	for _, want := range []string{"+SR-IOVVirtualFunctions=4", "make 4 virtual functions of " + l.pf, "have libvirt lend virtual functions", "network.vf-migration"} {
		if !strings.Contains(r.out, want) {
			l.t.Errorf("the plan lacks %q:\n%s", want, r.out)
		}
	}
}

func (l *functionLab) number() string {
	l.t.Helper()
	b, err := os.ReadFile("/sys/class/net/" + l.pf + "/device/sriov_numvfs")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// made waits until there are that many virtual functions, and wants the network that
// lends them.
func (l *functionLab) made(n int) {
	l.t.Helper()
	for l.number() != fmt.Sprint(n) {
		if l.t.Context().Err() != nil {
			l.t.Fatalf("%s has %s virtual functions", l.pf, l.number())
		}
		time.Sleep(200 * time.Millisecond)
	}
	info := fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "net-info", network.PoolName(l.pf))
	for _, want := range []string{`Active:\s+yes`, `Persistent:\s+yes`, `Autostart:\s+yes`} {
		if !regexp.MustCompile(want).MatchString(info) {
			l.t.Errorf("libvirt's network isn't %q: %s", want, info)
		}
	}
}

// files are those that a plan writes.
func (l *functionLab) files() string {
	l.t.Helper()
	return fixtures.Run(l.t, "find", "/etc/systemd/network", "/etc/udev/rules.d")
}

// boots starts the domain on a kernel of the test's: libvirt gives the virtual function
// the NIC's address and the port group's tag, and the guest's frames come out with it.
func (l *functionLab) boots(guest string) {
	l.t.Helper()
	const console = "/run/guest.log"
	kernel := fmt.Sprintf("<kernel>%s/vmlinux</kernel><initrd>%[1]s/initrd.img</initrd><cmdline>console=ttyS0 no_timer_check mitigations=off -- &quot;ip link set eth0 up; ip addr add %s/24 dev eth0; ip addr&quot;</cmdline></os>", guest, guestAddress)
	text := fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "dumpxml", "--inactive", l.vm)
	file := filepath.Join(l.dir, "boots.xml")
	room := strings.ReplaceAll(text, ">65536<", ">262144<") // KiB, which the kernel needs
	logged := strings.Replace(room, "<serial type='pty'>", "<serial type='pty'><log file='"+console+"' append='off'/>", 1)
	l.write(file, strings.Replace(logged, "</os>", kernel, 1))
	fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "define", file)
	fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "start", "--paused", l.vm)
	mac := regexp.MustCompile(`<mac address='([^']*)'`).FindStringSubmatch(text)
	link := fixtures.Run(l.t, "ip", "link", "show", l.pf)
	if mac == nil || !regexp.MustCompile(`vf \d+ .*`+mac[1]+`.*vlan 42`).MatchString(link) {
		l.t.Errorf("no virtual function has the NIC's address %q and VLAN 42:\n%s", mac, link)
	}
	fixtures.Run(l.t, "virsh", "-q", "-c", "qemu:///system", "resume", l.vm)
	fixtures.Run(l.t, "ip", "link", "set", l.peer, "up")
	fixtures.Run(l.t, "ip", "link", "add", "link", l.peer, "name", "far42", "type", "vlan", "id", "42")
	fixtures.Run(l.t, "ip", "link", "set", "far42", "up")
	fixtures.Run(l.t, "ip", "address", "add", "10.42.0.1/24", "dev", "far42")
	for end := time.Now().Add(15 * time.Minute); ; time.Sleep(time.Second) {
		err := refusedByGuest()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			said, _ := os.ReadFile(console) // as much as there is
			l.t.Fatalf("the guest doesn't answer: %v\n%s\n%s", err, fixtures.Run(l.t, "ip", "-s", "link", "show", l.pf), said)
		}
	}
	fixtures.Run(l.t, "ip", "link", "delete", "far42")
	fixtures.Run(l.t, "ip", "address", "add", "10.42.0.1/24", "dev", l.peer)
	if refusedByGuest() == nil {
		l.t.Error("the guest answers without the tag, too")
	}
}

// guestAddress is where the guest answers.
const guestAddress = "10.42.0.2"

// refusedByGuest wants the guest to answer, though it is by a refusal.
func refusedByGuest() error {
	c, err := net.DialTimeout("tcp", guestAddress+":7", 5*time.Second)
	if err == nil {
		return c.Close()
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return err
}

// plugAgain takes the adapter from its driver and gives it back: udev meets it as it
// does at a boot.
func (l *functionLab) plugAgain() {
	l.t.Helper()
	device, err := filepath.EvalSymlinks("/sys/class/net/" + l.pf + "/device")
	if err != nil {
		l.t.Fatal(err)
	}
	driver := "/sys/bus/pci/drivers/igb/"
	for _, what := range []string{"unbind", "bind"} {
		if err := os.WriteFile(driver+what, []byte(filepath.Base(device)), 0); err != nil {
			l.t.Fatal(err)
		}
		if left, _ := os.ReadFile(device + "/sriov_numvfs"); what == "unbind" && strings.TrimSpace(string(left)) != "0" {
			l.t.Errorf("%s virtual functions outlast their driver, so this shows nothing", left)
		}
	}
	if out, err := exec.Command("udevadm", "settle").CombinedOutput(); err != nil {
		l.t.Fatalf("udevadm: %v: %s", err, out)
	}
}
