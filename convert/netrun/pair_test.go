package netrun

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/fixtures"
	"esxodus/inventory"
	"esxodus/network"
)

// place is a network namespace, held by a process.
type place struct {
	t   *testing.T
	pid string
}

func newPlace(t *testing.T) place {
	t.Helper()
	return held(t, "unshare", "-n")
}

// held has a process hold the namespace that a command makes, or the one at hand.
func held(t *testing.T, command ...string) place {
	t.Helper()
	argv := append(command, "sh", "-c", "echo; exec sleep 3000")
	there := exec.Command(argv[0], argv[1:]...)
	out, err := there.StdoutPipe()
	if err == nil {
		err = there.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n') // it is there
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = there.Process.Kill(), there.Wait() })
	return place{t, strconv.Itoa(there.Process.Pid)}
}

func (p place) ip(args ...string) {
	p.t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"-t", p.pid, "-n", "ip"}, args...)...).CombinedOutput(); err != nil {
		p.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// within calls a function in another network namespace; the sockets that it opens
// stay there.
func within[T any](p place, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		f, err := os.Open("/proc/" + p.pid + "/ns/net")
		if err == nil {
			err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
		}
		var r result
		if r.err = err; err == nil {
			r.value, r.err = do()
		}
		done <- r
	}()
	r := <-done
	return r.value, r.err
}

// echoes listens there and says everything again.
func (p place) echoes(address string) {
	p.t.Helper()
	l, err := within(p, func() (net.Listener, error) { return net.Listen("tcp", address) })
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
}

// dial opens a session from there.
func (p place) dial(address string, most time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), most)
	defer cancel()
	return within(p, func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) })
}

// reaches waits until an address answers from there.
func (p place) reaches(address string) net.Conn {
	p.t.Helper()
	fmt.Println("waiting for", address)
	for {
		c, err := p.dial(address, 3*time.Second)
		if err == nil {
			p.t.Cleanup(func() { _ = c.Close() })
			if err = echo(c, time.Minute); err == nil {
				return c
			}
		}
		if p.t.Context().Err() != nil {
			p.t.Fatalf("%s doesn't answer: %v", address, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// deaf wants that an address doesn't answer from there.
func (p place) deaf(address, why string) {
	p.t.Helper()
	if c, err := p.dial(address, 5*time.Second); err == nil {
		_ = c.Close()
		p.t.Errorf("%s answers, %s", address, why)
	}
}

// guest is a place with a domain's NIC on a link, which answers there.
func guest(t *testing.T, name, parent, cidr string) place {
	t.Helper()
	p := newPlace(t)
	ip(t, "link", "add", "link", parent, "name", name, "type", "macvtap", "mode", "bridge")
	ip(t, "link", "set", name, "netns", p.pid)
	p.ip("link", "set", name, "up")
	p.ip("address", "add", cidr, "dev", name)
	p.echoes(cidr[:strings.Index(cidr, "/")] + ":7")
	return p
}

// here is the place that the test itself is in. Its own first thread may be elsewhere,
// as any is that within took.
func here(t *testing.T) place {
	t.Helper()
	return held(t)
}

// planned plans port groups onto an uplink.
func planned(t *testing.T, uplink, file string, groups ...inventory.PortGroup) network.Plan {
	t.Helper()
	esx := &inventory.Network{VSwitches: []inventory.VSwitch{{Name: "vSwitch0", MTU: 1500, Uplinks: []string{"vmnic0"}}}}
	var names []string
	for _, g := range groups {
		g.VSwitch = "vSwitch0"
		esx.PortGroups, names = append(esx.PortGroups, g), append(names, g.Name)
	}
	p, err := network.New(esx, names, network.Options{Uplinks: map[string]string{"": uplink}, Files: map[string]string{uplink: file}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// applied applies a plan.
func applied(t *testing.T, h network.Host, p network.Plan) {
	t.Helper()
	c, err := h.Changes(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(t.Context(), begin(t, Dir(t.TempDir()), h, c), effects()); err != nil {
		t.Fatal(err)
	}
}

// TestPair is one of two hosts, each in a lab of its own, with a cable between them.
func TestPair(t *testing.T) {
	const on = "ESXODUS_ON_STAGE"
	host := os.Getenv("ESXODUS_HOST")
	fixtures.Lab(t, host != "", "two hosts on a cable (ESXODUS_HOST)")
	if os.Getenv(on) != "" {
		pair(t, host)
		return
	}
	nics, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil || len(nics) != 1 {
		t.Fatalf("the lab has the NICs %q, %v", nics, err)
	}
	cmd := fixtures.Stage(t, on)
	cmd.Env = append(cmd.Env, "ESXODUS_NIC="+filepath.Base(filepath.Dir(nics[0])))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // as it comes: one that waits says for what
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

// pair: the guests of a VLAN reach each other over the trunk, and those of another
// don't; a host reaches its own guests over the macvlan of the optional units.
func pair(t *testing.T, own string) {
	t.Helper()
	n, err := strconv.Atoi(own)
	if err != nil {
		t.Fatal(err)
	}
	m := 3 - n
	p := planned(t, "eno1", "lan.network", inventory.PortGroup{Name: "DMZ", VLAN: 42}, inventory.PortGroup{Name: "Lab", VLAN: 43}, inventory.PortGroup{Name: "VM Network"})
	read(t)
	applied(t, read(t), p)
	at := func(format string, i int) string { return fmt.Sprintf(format, i) }
	dmz := guest(t, "macvtap42", "eno1.42", at("10.42.0.%d/24", n))
	lab := guest(t, "macvtap43", "eno1.43", at("10.42.0.4%d/24", n)) // the same subnet, another VLAN
	plain := guest(t, "macvtap0", "eno1", at("192.0.2.2%d/24", n))
	meeting := meet(dmz, at("10.42.0.%d:9", n), at("10.42.0.%d:9", m))

	dmz.reaches(at("10.42.0.%d:7", m))
	lab.reaches(at("10.42.0.4%d:7", m))
	plain.reaches(at("192.0.2.2%d:7", m))
	dmz.deaf(at("10.42.0.4%d:7", m), "though it is in another VLAN")
	lab.deaf(at("10.42.0.%d:7", n), "though it is in another VLAN of the same host")
	lab.reaches(at("10.42.0.4%d:7", m)) // it was there all the time

	ip(t, "address", "add", at("192.0.2.3%d/24", n), "dev", "eno1")
	here(t).reaches(at("192.0.2.2%d:7", m))
	here(t).deaf(at("192.0.2.2%d:7", n), "though only the macvlan leads there")
	ip(t, "address", "delete", at("192.0.2.3%d/24", n), "dev", "eno1")
	for _, u := range p.Optional {
		if strings.Contains(u.Name, "host-eno1") {
			put(t, u.Name, strings.Replace(u.Text, "#Address=192.0.2.10/24", at("Address=192.0.2.1%d/24", n), 1))
		}
	}
	fmt.Println("restarting networkd")
	restart(t) // a boot makes it so
	configured(t, "host-eno1")
	here(t).reaches(at("192.0.2.2%d:7", n))
	here(t).reaches(at("192.0.2.2%d:7", m))
	dmz.reaches(at("10.42.0.%d:7", m)) // the restart has left the domains alone
	meeting()
}

// meet returns what ends when both hosts have called it, and know that of each
// other: until then each is there for the other.
func meet(p place, own, other string) func() {
	p.t.Helper()
	l, err := within(p, func() (net.Listener, error) { return net.Listen("tcp", own) })
	if err != nil {
		p.t.Fatal(err)
	}
	return func() {
		told := make(chan struct{})
		go func() {
			defer close(told)
			if c, err := l.Accept(); err == nil {
				_, _ = io.WriteString(c, "done\n")
				_, _ = io.Copy(io.Discard, c) // until it has read that
			}
		}()
		for {
			c, err := p.dial(other, 3*time.Second)
			if err == nil {
				var line string
				line, err = bufio.NewReader(c).ReadString('\n')
				_ = c.Close()
				if line == "done\n" {
					break
				}
			}
			if p.t.Context().Err() != nil {
				p.t.Fatalf("the other host doesn't come: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		<-told
		_ = l.Close()
	}
}

// bond: one leg of a bond goes, and a guest's session over a VLAN device on it goes
// on.
func bond(t *testing.T) {
	t.Helper()
	fixtures.Lab(t, true, "bonds and VLANs in the kernel")
	sw := newPlace(t)
	sw.ip("link", "add", "sw", "type", "bridge")
	sw.ip("link", "set", "sw", "up")
	for _, leg := range []string{"leg1", "leg2"} {
		ip(t, "link", "add", leg, "type", "veth", "peer", "name", "far"+leg)
		ip(t, "link", "set", "far"+leg, "netns", sw.pid)
		sw.ip("link", "set", "far"+leg, "master", "sw", "up")
		put(t, leg+".network", "[Match]\nName="+leg+"\n[Network]\nBond=bond0\n")
	}
	sw.ip("link", "add", "link", "sw", "name", "sw.42", "type", "vlan", "id", "42")
	sw.ip("link", "set", "sw.42", "up")
	sw.ip("address", "add", "10.42.0.1/24", "dev", "sw.42")
	sw.echoes("10.42.0.1:7")
	put(t, "bond0.netdev", "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n")
	put(t, "bond0.network", "[Match]\nName=bond0\n[Network]\nAddress=10.8.8.8/24\nLinkLocalAddressing=no\n")
	for _, dev := range []string{"leg1", "leg2"} {
		index, err := os.ReadFile("/sys/class/net/" + dev + "/ifindex")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("/run/udev/data/n"+strings.TrimSpace(string(index)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	restart(t)
	configured(t, "bond0")
	applied(t, read(t), planned(t, "bond0", "bond0.network", inventory.PortGroup{Name: "DMZ", VLAN: 42}))
	c := guest(t, "macvtap42", "bond0.42", "10.42.0.2/24").reaches("10.42.0.1:7")
	active, err := os.ReadFile("/sys/class/net/bond0/bonding/active_slave")
	if err != nil {
		t.Fatal(err)
	}
	first := strings.TrimSpace(string(active))
	second := map[string]string{"leg1": "leg2", "leg2": "leg1"}[first]
	sw.ip("link", "set", "far"+first, "down")
	if err := echo(c, time.Minute); err != nil {
		t.Errorf("the session is lost with %s: %v", first, err)
	}
	sw.ip("link", "set", "far"+second, "down")
	if err := echo(c, 5*time.Second); err == nil {
		t.Error("the session outlasts both legs, so it shows nothing")
	}
}
