package run

import (
	"context"
	"errors"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/journal"
)

// dyingVirt has the process die once a domain is undefined, before anything can
// be written down about it.
type dyingVirt struct{ converttest.Virt }

func (v dyingVirt) Undefine(ctx context.Context, name, run string) error {
	if err := v.Virt.Undefine(ctx, name, run); err != nil {
		return err
	}
	panic(converttest.Crash{})
}

// TestHalfUndone kills a rollback right after the first thing that it undid: the
// run is neither ready, which it looked like, nor can it be resumed or committed,
// for what is on record as done is no longer there.
func TestHalfUndone(t *testing.T) {
	t.Parallel()
	for name, noProof := range map[string]bool{"proof": false, "no proof": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			e := effects(w)
			e.NoProof = noProof
			p := w.Plan()
			if noProof {
				p.VMs[0].NoProof, p.VMs[0].Steps = true, p.VMs[0].Steps[:len(p.VMs[0].Steps)-1]
			}
			j, err := w.State().Create(p.Job(0), journal.NewRun())
			if err != nil {
				t.Fatal(err)
			}
			if err := Apply(t.Context(), j, e); err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if r := recover(); r != (converttest.Crash{}) {
						t.Errorf("the rollback ended with %v; want it dead", r)
					}
				}()
				dying := e
				dying.Virt = dyingVirt{converttest.Virt{W: w}}
				_ = Rollback(t.Context(), j, dying)
			}()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = w.Open()
			if s := j.State(); s.Phase != journal.PhaseUndoing || s.Ways() != "`esxodus rollback web`" {
				t.Errorf("phase = %s, ways on %s; want %s and rollback", s.Phase, s.Ways(), journal.PhaseUndoing)
			}
			if err := Apply(t.Context(), j, e); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "`esxodus rollback web`") {
				t.Errorf("resume = %v; want to be sent to rollback", err)
			}
			if err := Commit(t.Context(), j, e); err == nil {
				t.Error("commit of a run that is half undone = nil; want a refusal")
			}
			if err := Rollback(t.Context(), j, e); err != nil {
				t.Errorf("Rollback again = %v", err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			w.CheckGone()
		})
	}
}
