package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/converttest"
	"esxodus/inventory"
)

// heard is progress that keeps what was said of the host.
type heard struct {
	converttest.Quiet
	mu    sync.Mutex
	lines []string
}

func (h *heard) Step(_, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, word := range []string{"can't be reached", "has been away", "reached again"} {
		if strings.Contains(what, word) {
			h.lines = append(h.lines, word)
		}
	}
}

// TestAway: a host that goes away while a disk is copied is waited for, in time, and the
// run goes on where it was; whoever ends the run ends the waiting.
func TestAway(t *testing.T) {
	const patience = time.Hour
	for name, tt := range map[string]struct {
		patience, gone time.Duration
		stop           bool                // somebody asks for it after a minute
		back           func(*inventory.VM) // what has become of the VM meanwhile
		flaps          bool                // it answers, and serves no disk
		want           string              // "" for a run that ends well
		least, most    time.Duration
	}{
		"forty minutes":      {patience: patience, gone: 40 * time.Minute, least: 40 * time.Minute, most: 43 * time.Minute},
		"too long":           {patience: patience, gone: 2 * time.Hour, want: "was away for", least: time.Hour, most: 65 * time.Minute},
		"no patience":        {gone: 40 * time.Minute, want: "no route", most: time.Second},
		"it was to stop":     {patience: patience, gone: 40 * time.Minute, stop: true, want: "as was asked for", least: time.Minute, most: time.Minute},
		"with another VM":    {patience: patience, gone: 5 * time.Minute, back: func(vm *inventory.VM) { vm.ChangeVersion = "v9" }, want: "changed", least: 5 * time.Minute, most: 8 * time.Minute},
		"it only half works": {patience: patience, gone: 3 * time.Hour, flaps: true, want: "no route", most: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := converttest.New(t)
			j := w.Create()
			said := &heard{}
			synctest.Test(t, func(t *testing.T) {
				e := effects(w)
				e.Patience, e.Progress = tt.patience, said
				begun, opened := time.Now(), 0
				w.Tick = func(what string) error {
					if what == "open" {
						opened++
					}
					if away := opened > 2 && time.Since(begun) < tt.gone; away && (what == "open" || what == "inventory" && !tt.flaps) {
						if tt.back != nil {
							tt.back(&w.Host.VMs[0])
						}
						return fmt.Errorf("asking: %w", converttest.ErrAway)
					}
					return nil
				}
				if tt.stop {
					stop := make(chan struct{})
					e.Stop = stop
					time.AfterFunc(time.Minute, func() { close(stop) })
				}
				err := errors.Join(Apply(t.Context(), j, e), j.Close())
				if took := time.Since(begun); took < tt.least || took > tt.most {
					t.Errorf("it took %v; want %v to %v", took, tt.least, tt.most)
				}
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v; want %q", err, tt.want)
				}
			})
			if name == "forty minutes" {
				w.CheckDone()
				if want := []string{"can't be reached", "has been away", "has been away", "has been away", "reached again"}; !slices.Equal(said.lines, want) {
					t.Errorf("said %q; want %q", said.lines, want)
				}
			}
		})
	}
}
