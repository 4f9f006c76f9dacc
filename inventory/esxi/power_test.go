package esxi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
)

func TestPower(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := h.VMs[0].ID
	off := func(ctx context.Context) error { return c.PowerOff(ctx, id) }
	down := func(ctx context.Context) error { return c.Shutdown(ctx, id) }
	tests := []struct {
		name   string
		method string
		fault  types.BaseMethodFault
		do     func(context.Context) error
		want   error
	}{
		{name: "power off", do: off},
		{name: "shut down", do: down},
		{name: "power off, free licence", method: "PowerOffVM_Task", fault: new(types.RestrictedVersion), do: off, want: ErrRestricted},
		{name: "shut down, free licence", method: "ShutdownGuest", fault: new(types.RestrictedVersion), do: down, want: ErrRestricted},
		{name: "shut down, no Tools", method: "ShutdownGuest", fault: new(types.ToolsUnavailable), do: down, want: ErrNoTools},
		{name: "shut down, no right to", method: "ShutdownGuest", fault: new(types.NoPermission), do: down, want: ErrPermission},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.power(t, id, types.VirtualMachinePowerStatePoweredOn)
			if tt.fault != nil {
				s.fault(tt.method, tt.fault)
			}
			if err := tt.do(t.Context()); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("error = %v; want %v", err, tt.want)
			}
			want := inventory.PoweredOff
			if tt.want != nil {
				want = inventory.PoweredOn
			}
			if got, err := c.Power(t.Context(), id); got != want || err != nil {
				t.Errorf("Power = %v, %v; want %v", got, err, want)
			}
		})
	}
	if _, err := c.Power(t.Context(), "9999"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Power of no VM = %v; want %v", err, ErrNotFound)
	}
}

// TestShutdownTimeout: a guest that does not heed the request.
func TestShutdownTimeout(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.power(t, h.VMs[0].ID, types.VirtualMachinePowerStatePoweredOn)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	err = c.bring(ctx, h.VMs[0].ID, inventory.PoweredOff, "shut down", func() error {
		time.AfterFunc(100*time.Millisecond, func() { cancel(context.DeadlineExceeded) })
		return nil
	})
	if !errors.Is(err, ErrStillOn) || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("bring = %v; want %v", err, ErrStillOn)
	}
}
