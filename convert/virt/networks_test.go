package virt

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"esxodus/network"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// networkXML is a network that needs no dnsmasq.
func networkXML(name, id, bridge string) string {
	return fmt.Sprintf("<network><name>%s</name><uuid>%s</uuid><bridge name='%s' stp='off'/><dns enable='no'/><ip address='192.0.2.129' netmask='255.255.255.248'/></network>", name, id, bridge)
}

// TestRemoveNetwork: a network comes back as it was, wherever its removal or its
// return was cut off; another one of its name stays.
func TestRemoveNetwork(t *testing.T) {
	c := system(t)
	for _, was := range []struct{ active, autoStart, persistent bool }{{true, true, true}, {true, false, true}, {false, true, true}, {false, false, true}, {true, false, false}} {
		t.Run(fmt.Sprint(was), func(t *testing.T) {
			name, id := "esxodus-test-"+uuid.NewString()[:8], uuid.NewString()
			v := network.Virtual{Name: name, UUID: id, Persistent: was.persistent, AutoStart: was.autoStart, XML: networkXML(name, id, "esx"+uuid.NewString()[:8])}
			removeNetwork(t, c, v, was.active)
		})
	}
}

func removeNetwork(t *testing.T, c *Conn, v network.Virtual, active bool) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gone := func() bool {
		_, found, err := c.Network(ctx, v.Name)
		check(err)
		return !found
	}
	t.Cleanup(func() {
		if is, found, err := c.Network(context.WithoutCancel(ctx), v.Name); found && err == nil {
			_ = c.RemoveNetwork(context.WithoutCancel(ctx), is)
		}
	})
	v.Active = active
	check(c.RestoreNetwork(ctx, v))
	before, found, err := c.Network(ctx, v.Name)
	if err != nil || !found || before.Active != active || before.AutoStart != v.AutoStart || before.Persistent != v.Persistent || before.Bridge == "" {
		t.Fatalf("the network is %+v, %v, %v", before, found, err)
	}
	for range 2 {
		check(c.RemoveNetwork(ctx, before))
		if !gone() {
			t.Error("the network is still there")
		}
	}
	for range 2 {
		check(c.RestoreNetwork(ctx, before))
	}
	if before.Persistent { // cut off between being stopped and undefined
		n, err := c.lv.LookupNetworkByName(v.Name)
		check(err)
		_ = n.Destroy()
		check(n.Free())
		check(c.RestoreNetwork(ctx, before))
	}
	after, _, err := c.Network(ctx, v.Name)
	if diff := cmp.Diff(before, after); diff != "" || err != nil {
		t.Errorf("it has come back otherwise (-was +is): %v\n%s", err, diff)
	}
	other := before
	other.UUID = uuid.NewString()
	for _, err := range []error{c.RemoveNetwork(ctx, other), c.RestoreNetwork(ctx, other)} {
		if err == nil || !strings.Contains(err.Error(), "another network "+v.Name) {
			t.Errorf("one of another UUID: %v", err)
		}
	}
}
