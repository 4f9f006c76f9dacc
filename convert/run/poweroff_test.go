package run

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/converttest"
	"esxodus/convert/plan"
	"esxodus/inventory"
)

// noTools is a shutdown that nobody can ask the guest for.
type noTools struct{ error }

func (noTools) Refused() bool { return true }
func (noTools) Unasked() bool { return true }

// on is a guest that was asked, and hasn't shut down.
type on struct{ error }

func (on) StillOn() bool { return true }

// cutAfter has a plan cut the power of a VM that runs after a time.
func cutAfter(after time.Duration) func(*plan.Options) {
	return func(o *plan.Options) { o.PowerOff = after }
}

// TestPowerOff: the power of a VM that doesn't shut down in time is cut, and so is that of
// one that can't be asked; where the plan doesn't say so, never. A rollback powers it on.
func TestPowerOff(t *testing.T) {
	still := func(ctx context.Context) error {
		<-ctx.Done()
		return on{context.Cause(ctx)}
	}
	gone := func(ctx context.Context) error { // nobody was asked
		<-ctx.Done()
		return context.Cause(ctx)
	}
	unasked := func(context.Context) error { return noTools{errors.New("VMware Tools aren't running in the guest")} }
	for name, tt := range map[string]struct {
		after    time.Duration
		stubborn func(context.Context) error
		cut      bool
		want     string
		took     time.Duration
	}{
		"it doesn't shut down":            {10 * time.Minute, still, true, "deadline", 10 * time.Minute},
		"it has no Tools":                 {10 * time.Minute, unasked, true, "VMware Tools", 0},
		"it doesn't, and nothing is said": {0, still, false, "see on the VM's console", 15 * time.Minute},
		"no Tools, and nothing is said":   {0, unasked, false, "VMware Tools", 0},
		"the host was away all the time":  {10 * time.Minute, gone, false, "deadline", 0},
		"the host refuses":                {10 * time.Minute, func(context.Context) error { return errors.New("no such VM") }, false, "no such VM", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := converttest.New(t)
			j := w.CreateRunning(cutAfter(tt.after))
			w.Stubborn = tt.stubborn
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err, _ := apply(t.Context(), w, j)
				if cut := len(w.Cut) > 0; cut != tt.cut || (err == nil) != tt.cut {
					t.Fatalf("cut %q: %v", w.Cut, err)
				}
				if took := time.Since(begun).Round(time.Minute); tt.cut && took != tt.took {
					t.Errorf("it took %v; want %v", took, tt.took)
				}
				if !tt.cut {
					if !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%v; want %s", err, tt.want)
					}
					return
				}
				w.CheckDone()
				s, err := w.State().State("web")
				if err != nil || !strings.Contains(s.PowerCut, tt.want) {
					t.Errorf("on record: %q, %v; want %s", s.PowerCut, err, tt.want)
				}
				j = w.Open()
				if err := errors.Join(Rollback(t.Context(), j, effects(w)), j.Close()); err != nil || !w.Power["7"] {
					t.Errorf("the VM is on: %v, %v", w.Power["7"], err)
				}
			})
		})
	}
}

// TestPowerOffOther: what is another VM by now, or is off after all, keeps its power.
func TestPowerOffOther(t *testing.T) {
	for name, change := range map[string]func(*inventory.VM){
		"another VM": func(vm *inventory.VM) { vm.Disks[0].Path = "[ds] other/other.vmdk" },
		"suspended":  func(vm *inventory.VM) { vm.Power = inventory.Suspended },
		"off by now": func(vm *inventory.VM) { vm.Power, vm.ChangeVersion = inventory.PoweredOff, "v2" },
	} {
		t.Run(name, func(t *testing.T) {
			w := converttest.New(t)
			j := w.CreateRunning(cutAfter(10 * time.Minute))
			w.Stubborn = func(context.Context) error {
				vm := w.Host.VMs[0]
				vm.Disks = append([]inventory.Disk(nil), vm.Disks...)
				change(&vm)
				w.Host.VMs = []inventory.VM{vm}
				return noTools{errors.New("no Tools")}
			}
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err, _ := apply(t.Context(), w, j)
				if off := name == "off by now"; len(w.Cut) > 0 || (err == nil) != off {
					t.Errorf("cut %q, %v", w.Cut, err)
				}
				if took := time.Since(begun); took > 0 {
					t.Errorf("it waited %v for a guest that nobody could ask", took)
				}
			})
		})
	}
}

// TestPowerOffKilled: killed when the power is cut, the run goes on with what it had on
// record of that.
func TestPowerOffKilled(t *testing.T) {
	for _, at := range []string{"before the cut", "after it"} {
		t.Run(at, func(t *testing.T) {
			w := converttest.New(t)
			j := w.CreateRunning(cutAfter(10 * time.Minute))
			w.Stubborn = func(context.Context) error { return noTools{errors.New("no Tools")} }
			w.AtCut = func() {
				w.AtCut = nil
				if at == "after it" {
					w.Host.VMs[0].Power, w.Host.VMs[0].ChangeVersion, w.Power["7"], w.Stubborn = inventory.PoweredOff, "v2", false, nil
				}
				panic(converttest.Crash{})
			}
			if err, crashed := apply(t.Context(), w, j); !crashed {
				t.Fatal(err)
			}
			if err, crashed := apply(t.Context(), w, w.Open()); err != nil || crashed {
				t.Fatal(err, crashed)
			}
			if s, err := w.State().State("web"); err != nil || s.PowerCut != "no Tools" {
				t.Errorf("on record: %q, %v", s.PowerCut, err)
			}
		})
	}
}
