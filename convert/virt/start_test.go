package virt

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"esxodus/fixtures"

	"github.com/google/uuid"
)

// TestStartStop: a run's domain is started and stopped, as often as one likes; another's
// is left alone.
func TestStartStop(t *testing.T) {
	c := system(t)
	ctx := t.Context()
	name, run := "esx-"+uuid.NewString()[:8], "r1"
	xml := fmt.Sprintf(`<domain type='%s'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64'>hvm</type></os>
<metadata><esxodus:run xmlns:esxodus='https://esxodus/1' id='%s'/></metadata></domain>`, fixtures.VirtType(), name, uuid.NewString(), run)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		_ = c.Stop(ctx, name, run, 0)
		_ = c.Undefine(ctx, name, run)
	})
	if err := c.Define(ctx, xml, false, run); err != nil {
		t.Fatal(err)
	}
	state := func(want bool) {
		t.Helper()
		if connected, runs, err := c.Agent(ctx, name, run); err != nil || connected || runs != want {
			t.Errorf("agent connected %v, runs %v, %v; want it to run: %v", connected, runs, err, want)
		}
	}
	for what, do := range map[string]func(run string) error{
		"start":     func(run string) error { return c.Start(ctx, name, run) },
		"stop":      func(run string) error { return c.Stop(ctx, name, run, 0) },
		"autostart": func(run string) error { return c.AutoStart(ctx, name, run, true) },
	} {
		if got := do("another"); got == nil || !strings.Contains(got.Error(), "isn't the one") {
			t.Errorf("%s of another run's domain = %v", what, got)
		}
	}
	state(false)
	for range 2 {
		if err := c.Start(ctx, name, run); err != nil {
			t.Fatal(err)
		}
		state(true)
	}
	if err := c.AutoStart(ctx, name, run, true); err != nil {
		t.Fatal(err)
	}
	if info, _, err := c.Lookup(ctx, name); err != nil || !info.AutoStart {
		t.Errorf("autostart %v, %v", info.AutoStart, err)
	}
	for range 2 {
		if err := c.Stop(ctx, name, run, 0); err != nil {
			t.Fatal(err)
		}
		state(false)
	}
	if made, differs, err := c.Compare(ctx, xml); err != nil || len(differs) > 0 || !strings.Contains(made, name) {
		t.Errorf("compare: %q, %v", differs, err)
	}
	if _, differs, err := c.Compare(ctx, strings.Replace(xml, ">32<", ">64<", 1)); err != nil || len(differs) != 1 || !strings.Contains(differs[0], "memory") {
		t.Errorf("compare with more memory: %q, %v", differs, err)
	}
	if err := c.Start(ctx, name+"x", run); err == nil {
		t.Error("what isn't there is started")
	}
	if err := c.Stop(ctx, name+"x", run, 0); err != nil {
		t.Errorf("what isn't there isn't stopped: %v", err)
	}
}
