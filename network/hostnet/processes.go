package hostnet

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"esxodus/network"
)

// dnsmasqs marks the links that a dnsmasq serves. libvirt's has its own
// configuration file, named after the network; LXD's names the link, and keeps its
// leases in a directory of LXD's, wherever that is (Debian's package, the snap).
func (m Machine) dnsmasqs(links []network.Link) {
	lines, _ := filepath.Glob(m.path("proc/[0-9]*/cmdline")) // the pattern is good
	for _, file := range lines {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte("dnsmasq")) {
			continue
		}
		words := strings.Split(string(b), "\x00")
		for _, w := range slices.Clone(words) {
			if conf, ok := strings.CutPrefix(w, "--conf-file="); ok {
				f, _ := m.file(m.path(conf)) // without it, it's only the command line that counts
				words = append(words, strings.Split(f.Text, "\n")...)
			}
		}
		for i := range links {
			named := func(w string) bool { return strings.TrimPrefix(w, "--") == "interface="+links[i].Name }
			if !slices.ContainsFunc(words, named) {
				continue
			}
			links[i].Dnsmasq = true
			leases := "/lxd/networks/" + links[i].Name + "/dnsmasq.leases"
			links[i].LXD = slices.ContainsFunc(words, func(w string) bool {
				return strings.HasPrefix(w, "--dhcp-leasefile=") && strings.HasSuffix(w, leases)
			})
		}
	}
}

// came finds the link that the SSH session comes in by in which this process, or
// one that started it, runs: sudo takes SSH_CONNECTION out of the environment.
func came(links []network.Link) string {
	const session = "SSH_CONNECTION="
	for pid := os.Getpid(); pid > 1; pid = parent(pid) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			return ""
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			fields := strings.Fields(strings.TrimPrefix(v, session))
			if strings.HasPrefix(v, session) && len(fields) == 4 {
				return linkOf(links, fields[2])
			}
		}
	}
	return ""
}

// linkOf finds the link that has an address.
func linkOf(links []network.Link, address string) string {
	want := net.ParseIP(address)
	for _, l := range links {
		for _, a := range l.Addresses {
			if ip, _, err := net.ParseCIDR(a.CIDR); err == nil && want != nil && ip.Equal(want) {
				return l.Name
			}
		}
	}
	return ""
}

// parent is the process that started another, 0 if that can't be known.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}
