package wire

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"esxodus/fixtures"
)

// machine is an emulated machine with a real kernel, on wires.
type machine struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (m *machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(b)
}

func (m *machine) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// boot starts a machine with a NIC on each wire that runs a command; it ends with the
// test.
func boot(t *testing.T, w *Wire, command string) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	fixtures.Tool(t, "qemu-system-x86_64")
	dir := strings.TrimSpace(fixtures.Run(t, fixtures.Script(t, "guest-net.sh")))
	lines := strings.Split(dir, "\n")
	dir = lines[len(lines)-1]
	args := []string{
		"--", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-nic", "none",
		"-kernel", filepath.Join(dir, "vmlinux"), "-initrd", filepath.Join(dir, "initrd.img"),
		"-append", "console=ttyS0 quiet no_timer_check mitigations=off panic=-1 -- \"" + command + "\"",
	}
	for i, e := range w.Ends() {
		args = append(args, "-netdev", fmt.Sprintf("socket,id=n%d,udp=127.0.0.1:%d,localaddr=127.0.0.1:%d", i, e.Ours, e.Guest),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=n%d,mac=%s", i, w.ports[i].mac))
	}
	m := &machine{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, fixtures.Script(t, "emulate"), args...)
	cmd.Stdout, cmd.Stderr = m, m
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("console:\n%s", m)
		}
	})
	return m
}

// kernelTest is a NIC, what the guest does with it, and what comes of it.
type kernelTest struct {
	nic     NIC
	command string // of eth0 and so on
	want    string
}

// TestKernel has a real kernel's NICs answer, or not, each in its own way.
func TestKernel(t *testing.T) {
	t.Parallel()
	answers := `has %s \(00:0c:29:00:00:0%d\), answered %s after \d+ s and ping after \d+ s`
	tests := []kernelTest{
		{
			NIC{Addresses: []Address{{Prefix: prefix("192.0.2.10/24")}, {Prefix: prefix("192.0.2.11/24")}, {Prefix: prefix("2001:db8::10/64")}}, Gateways: []netip.Addr{addr("192.0.2.1"), addr("fe80::1")}, Ports: []uint16{80, 81}},
			"ip addr add 192.0.2.10/24 dev eth0; ip addr add 192.0.2.11/24 dev eth0; ip addr add 2001:db8::10/64 dev eth0; ip link set eth0 up; mkdir -p /srv; httpd -h /srv",
			fmt.Sprintf(answers, "192.0.2.10", 0, "ARP") + `, port 80 after \d+ s, but not port 81; ` + fmt.Sprintf(answers, "192.0.2.11", 0, "ARP") + `, .*; ` + fmt.Sprintf(answers, "2001:db8::10", 0, "neighbour discovery") + `, .*`,
		},
		{
			NIC{DHCP4: true},
			"ip link set eth1 up; udhcpc -q -n -t 20 -i eth1 -s /etc/lease",
			fmt.Sprintf(answers, "198.51.100.29", 1, "ARP"),
		},
		{
			NIC{DHCP4: true, DNS: []netip.Addr{addr("203.0.113.53")}},
			"ip link set eth2 up; udhcpc -q -n -t 20 -i eth2 -s /etc/lease -r 203.0.113.77",
			fmt.Sprintf(answers, "203.0.113.77", 2, "ARP"),
		},
		{
			NIC{Addresses: []Address{{Tag: 42, Prefix: prefix("10.0.3.10/24")}}},
			"ip link set eth3 up; ip link add link eth3 name v type vlan id 42; ip addr add 10.0.3.10/24 dev v; ip link set v up",
			fmt.Sprintf(`has %s in VLAN 42 \(00:0c:29:00:00:03\), answered ARP after \d+ s and ping after \d+ s`, "10.0.3.10"),
		},
		{
			NIC{RA: true},
			"ip link set eth4 up",
			fmt.Sprintf(answers, `2001:db8:0:5:20c:29ff:fe00:4`, 4, "neighbour discovery"),
		},
		{
			NIC{Addresses: []Address{{Prefix: prefix("10.0.5.10/24")}}},
			"ip addr add 10.0.5.99/24 dev eth5; ip link set eth5 up; arping -q -U -c 1 -I eth5 10.0.5.99",
			`doesn't answer for 10\.0\.5\.10: announces 10\.0\.5\.99`,
		},
		{
			NIC{Addresses: []Address{{Prefix: prefix("10.0.6.10/24")}}},
			"true",
			`doesn't answer for 10\.0\.6\.10: no frame at all`,
		},
		{
			NIC{Addresses: []Address{{Prefix: prefix("10.0.7.10/24")}}},
			"ip link set eth7 up; udhcpc -q -n -t 1 -T 1 -i eth7 -s /etc/lease",
			`doesn't answer for 10\.0\.7\.10: only DHCP requests: the guest asks for an address and doesn't take its own`,
		},
		{ // its own address isn't taken for used
			NIC{Addresses: []Address{{Prefix: prefix("10.0.8.10/24")}}, Gateways: []netip.Addr{addr("10.0.8.1")}},
			"ip link set eth8 up; arping -q -D -c 1 -w 1 -I eth8 10.0.8.10 && ip addr add 10.0.8.10/24 dev eth8",
			fmt.Sprintf(answers, "10.0.8.10", 8, "ARP"),
		},
		{ // exchanged: Linux answers ARP on either
			NIC{Addresses: []Address{{Prefix: prefix("10.0.9.10/24")}}},
			"ip addr add 10.0.10.10/24 dev eth9; ip link set eth9 up",
			`doesn't answer for 10\.0\.9\.10: the guest has 10\.0\.9\.10 on 00:0c:29:00:00:0a`,
		},
		{
			NIC{Addresses: []Address{{Prefix: prefix("10.0.10.10/24")}}},
			"ip addr add 10.0.9.10/24 dev eth10; ip link set eth10 up",
			`doesn't answer for 10\.0\.10\.10: the guest has 10\.0\.10\.10 on 00:0c:29:00:00:09`,
		},
		{ // two in one subnet: it sends through either
			NIC{Addresses: []Address{{Prefix: prefix("10.0.11.10/24")}}},
			"ip addr add 10.0.11.10/24 dev eth11; ip link set eth11 up",
			fmt.Sprintf(`has %s \(00:0c:29:00:00:0b\), answered ARP after \d+ s.*`, "10.0.11.10"),
		},
		{
			NIC{Addresses: []Address{{Prefix: prefix("10.0.11.11/24")}}},
			"ip addr add 10.0.11.11/24 dev eth12; ip link set eth12 up",
			fmt.Sprintf(`has %s \(00:0c:29:00:00:0c\), answered ARP after \d+ s.*`, "10.0.11.11"),
		},
	}
	for i, want := range []string{
		fmt.Sprintf(`has %s \(00:0c:29:00:00:0d\), answered ARP after \d+ s and ping after \d+ s`, "10.0.13.10"),
		`leaves 10\.0\.13\.10 to 00:0c:29:00:00:0d, which answers`,
	} { // a bond, whose second NIC waits for the first to fail
		command := []string{"modprobe bonding mode=1 miimon=100; ip link set bond0 up; echo +eth13 >/sys/class/net/bond0/bonding/slaves", "echo +eth14 >/sys/class/net/bond0/bonding/slaves; ip addr add 10.0.13.10/24 dev bond0"}[i]
		tests = append(tests, kernelTest{NIC{Addresses: []Address{{Prefix: prefix("10.0.13.10/24"), Shared: true}}}, command, want})
	}
	var nics []NIC
	var commands []string
	for i, tt := range tests {
		tt.nic.MAC = fmt.Sprintf("00:0c:29:00:00:%02x", i)
		nics = append(nics, tt.nic)
		commands = append(commands, tt.command)
	}
	w := open(t, nics...)
	w.run(t)
	m := boot(t, w, strings.Join(commands, "; "))
	await(t, "the guest's command", func() bool { return strings.Contains(m.String(), "net: done") })
	end := time.Now().Add(patience)
	for i, tt := range tests {
		want := regexp.MustCompile("^" + nics[i].MAC + " " + tt.want + "$")
		got := w.Results()[i].String()
		for ; time.Now().Before(end) && !want.MatchString(got); got = w.Results()[i].String() {
			time.Sleep(100 * time.Millisecond)
		}
		t.Log(got)
		if !want.MatchString(got) {
			t.Errorf("eth%d: %s; want %s", i, got, want)
		}
		if failed := strings.Contains(got, "doesn't"); w.Results()[i].Passed == failed {
			t.Errorf("eth%d: passed %v: %s", i, !failed, got)
		}
	}
}
