package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/convert/netrun"
	"esxodus/fixtures"

	"github.com/google/go-cmp/cmp"
)

// TestLXD removes the bridge of a real LXD on a machine whose process 1 is systemd: it
// is gone after the next boot, and comes back as it was where nobody confirms, and by a
// rollback.
func TestLXD(t *testing.T) {
	eachBoot(t, []func(netLab){bridgeRemoved, bridgeRestored}, func(netLab) {})
}

// removeBridge is the command.
func removeBridge(within string) []string {
	return []string{"network", "remove-default", "--yes", "--confirm-within", within, "lxd:lxdbr0"}
}

// lxdSight is what LXD says of its bridge and of who has it, and what the host has of it.
func lxdSight(l netLab) string {
	l.t.Helper()
	var all strings.Builder
	for _, path := range []string{"networks/lxdbr0", "profiles/default", "profiles/a%20b%25c?project=shop"} {
		all.WriteString(fixtures.Run(l.t, "lxc", "query", "local:/1.0/"+path))
	}
	// Its number and its MAC are new ones, and its IPv6 address is checked for doubles anew.
	all.WriteString(fixtures.Run(l.t, "sh", "-c", "ip -o address show lxdbr0 scope global | sed 's/^[0-9]*: //; s/ tentative//' && nft list table inet lxd && pgrep -c dnsmasq"))
	return all.String()
}

// noBridge wants that nothing of it is left.
func noBridge(l netLab) {
	l.t.Helper()
	if l.exists("/sys/class/net/lxdbr0") || l.exists("/var/lib/lxd/networks/lxdbr0") {
		l.t.Error("lxdbr0 is there")
	}
	if left := fixtures.Run(l.t, "sh", "-c", "pgrep -a dnsmasq; nft list ruleset | grep lxdbr0; lxc network list --format csv | grep lxdbr0; lxc profile show default | grep lxdbr0; lxc profile show --project shop 'a b%c' | grep lxdbr0; true"); left != "" {
		l.t.Errorf("what is left of lxdbr0: %s", left)
	}
}

// lxdReady has LXD as an admin has it: its own defaults, a second project, and an
// instance of no image.
func lxdReady(l netLab) {
	fixtures.Run(l.t, "systemctl", "enable", "--now", "libvirtd", "lxcfs", "lxd.socket", "lxd-containers")
	fixtures.Run(l.t, "lxd", "init", "--auto")
	fixtures.Run(l.t, "lxc", "project", "create", "shop", "-c", "features.profiles=true")
	fixtures.Run(l.t, "lxc", "profile", "create", "--project", "shop", "a b%c")
	fixtures.Run(l.t, "lxc", "profile", "device", "add", "--project", "shop", "a b%c", "eth0", "nic", "nictype=bridged", "parent=lxdbr0", "hwaddr=00:16:3e:00:00:07")
	fixtures.Run(l.t, "lxc", "network", "set", "lxdbr0", "user.note=it's \"ours\", 100 %", "dns.domain=lab")
}

// bridgeRemoved has the removal refused, not confirmed, and done.
func bridgeRemoved(l netLab) {
	lxdReady(l)
	before := lxdSight(l)
	asBefore := func(when string) {
		l.t.Helper()
		if diff := cmp.Diff(before, lxdSight(l)); diff != "" {
			l.t.Errorf("%s, LXD's bridge (-was +is):\n%s", when, diff)
		}
	}
	fixtures.Run(l.t, "lxc", "init", "--empty", "c1")
	if r := l.run(exitPreflight, removeBridge("0")...); !strings.Contains(r.err, "network.in-use (lxdbr0)") || !strings.Contains(r.err, "is used by the instance c1") {
		l.t.Errorf("with an instance on it remove-default says\n%s", r.err)
	}
	fixtures.Run(l.t, "lxc", "delete", "c1")
	asBefore("after a refusal")
	if r := l.run(exitDone, append(l.network("plan"), "--network", "VM Network=none")...); !strings.Contains(strings.Join(strings.Fields(r.out), " "), "`esxodus network remove-default lxd:lxdbr0`") {
		l.t.Errorf("the plan says\n%s", r.out)
	}
	if r := l.run(exitFailed, removeBridge("1s")...); !strings.Contains(r.err, netrun.ErrUnconfirmed.Error()) || !strings.Contains(r.err, "everything is as it was") {
		l.t.Errorf("without a word of the admin's remove-default says\n%s", r.err)
	}
	l.wait(journal.PhaseRolledBack)
	asBefore("without a word of the admin's")
	l.run(exitDone, removeBridge("0")...)
	l.wait(netrun.PhaseApplied)
	noBridge(l)
	if r := l.run(exitDone, removeBridge("0")...); !strings.Contains(r.err, "LXD has no network lxdbr0") {
		l.t.Errorf("a second removal says %s", r.err)
	}
	l.write(filepath.Join(rebootDir, "lxd"), before)
}

// bridgeRestored finds none after the boot, and has it back by a rollback.
func bridgeRestored(l netLab) {
	fixtures.Run(l.t, "lxc", "query", "local:/1.0") // LXD is up by then
	noBridge(l)
	if r := l.run(exitDone, "network", "status"); !strings.Contains(r.out, "applied: the removal of LXD's network lxdbr0") {
		l.t.Errorf("status says %s", r.out)
	}
	l.run(exitDone, "network", "rollback")
	l.wait(journal.PhaseRolledBack)
	before, err := os.ReadFile(filepath.Join(rebootDir, "lxd"))
	l.check(err)
	if diff := cmp.Diff(string(before), lxdSight(l)); diff != "" {
		l.t.Errorf("after the rollback LXD's bridge (-was +is):\n%s", diff)
	}
}
