package run

import (
	"context"
	"errors"
	"fmt"

	"esxodus/convert/plan"
)

// poolSays adds to a failure of a thin volume what is wrong with its pool. The kernel
// doesn't say that of writes that wait in memory: all that fails there is an I/O error.
func (x *executor) poolSays(ctx context.Context, d *plan.Disk, err error) error {
	failed, ok := errors.AsType[*targetError](err)
	if !ok || d.Volume.Pool == "" || ctx.Err() != nil {
		return err
	}
	facts, unwell := x.Storage.Check(ctx, nil)
	if unwell == nil && facts.Pool != nil && facts.Free < facts.Pool.Chunk {
		unwell = fmt.Errorf("the thin pool %s is full, for its other volumes as well: extend it (lvextend), or remove something", facts.Pool.Name)
	}
	if unwell == nil {
		return err
	}
	return &targetError{fmt.Errorf("%w: %w", failed.err, unwell)}
}
