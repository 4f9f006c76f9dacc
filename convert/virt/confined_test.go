package virt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
	"esxodus/network/wire"

	"golang.org/x/sync/errgroup"
)

// TestConfined has the wire of the network proof under AppArmor: libvirtd and the guest's
// QEMU run in the profiles that Debian ships, enforced, and no rule of those stops a
// frame. The guest is QEMU's boot ROM, which takes a lease: a kernel takes more than ten
// minutes to start on a processor that is emulated twice over.
func TestConfined(t *testing.T) {
	_, err := os.Stat("/lab/reboots")
	fixtures.Lab(t, err == nil, "AppArmor, with systemd as process 1 (--reboots)")
	fixtures.Run(t, "systemctl", "start", "apparmor")
	fixtures.Run(t, "systemctl", "restart", "libvirtd") // it is confined from its start on
	if got := labels(t, regexp.MustCompile(`^libvirtd \(`)); len(got) != 1 || got[0] != "libvirtd (enforce)" {
		t.Fatalf("libvirtd runs as %q; want libvirtd (enforce)", got)
	}
	c := system(t)
	g := newGuest(t, fixtures.Getty("web login: "))
	w, err := wire.Open([]wire.NIC{{Name: "ens192", MAC: wiredMAC, DHCP4: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ends := w.Ends()[0]
	g.xml = strings.NewReplacer(
		"<bios useserial='yes'/>", "<boot dev='network'/><boot dev='hd'/><bios useserial='yes'/>",
		"<interface type='user'>", fmt.Sprintf("<interface type='udp'><source address='127.0.0.1' port='%d'><local address='127.0.0.1' port='%d'/></source>", ends.Ours, ends.Guest),
		"<link state='down'/>", "<link state='up'/>",
	).Replace(g.xml)
	ctx, stop := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return w.Run(ctx) })
	domain, seen := regexp.MustCompile(`^libvirt-[0-9a-f-]{36} \(`), map[string]bool{}
	req := g.request(t)
	req.Linger = time.Second // by then the ROM has given up its NIC
	req.Network = func() (bool, bool) {
		for _, l := range labels(t, domain) {
			seen[l] = true
		}
		return w.Answered(), w.Complete()
	}
	_, err = c.Prove(t.Context(), req)
	stop()
	if err := errors.Join(err, running.Wait()); err != nil {
		t.Errorf("Prove: %v", err)
	}
	g.gone(t, c)
	for l := range seen {
		if len(seen) != 1 || !strings.HasSuffix(l, " (enforce)") {
			t.Errorf("the guest's QEMU ran as %v; want one profile of its own, enforced", seen)
		}
	}
	got := w.Results()[0].String()
	t.Log(seen, got)
	if len(seen) == 0 || strings.Contains(got, "no frame") || strings.Contains(got, "takes no lease") {
		t.Errorf("confined by %v, %s; want that it took a lease", seen, got)
	}
	if denied := fixtures.Run(t, "sh", "-c", `journalctl -b -o cat | grep 'apparmor="DENIED"' || true`); denied != "" {
		t.Errorf("AppArmor has denied\n%s", denied)
	}
}

// labels are the profiles, of that form, that processes are confined by.
func labels(t *testing.T, form *regexp.Regexp) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/attr/current")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if label := strings.TrimSpace(string(b)); err == nil && form.MatchString(label) {
			out = append(out, label)
		}
	}
	return out
}
