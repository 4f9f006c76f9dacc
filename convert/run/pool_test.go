package run

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"esxodus/convert/plan"
	"esxodus/convert/volume"
)

// pooled is a storage that is a thin pool, with so much free, or an unwell one.
type pooled struct {
	volume.Storage
	free   int64
	unwell error
}

func (p pooled) Check(context.Context, []volume.Volume) (volume.Facts, error) {
	return volume.Facts{Free: p.free, Pool: &volume.Pool{Name: "vg0/pool", Chunk: 64 << 10}}, p.unwell
}

// TestPoolSays: a thin volume's I/O error comes of its pool, where that is full or
// unwell.
func TestPoolSays(t *testing.T) {
	t.Parallel()
	failed, read := &targetError{syscall.EIO}, keep(errors.New("the link broke"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name    string
		storage pooled
		pool    string
		ctx     context.Context
		err     error
		want    string // "": the error as it is
	}{
		{"full", pooled{free: 64<<10 - 1}, "pool", t.Context(), failed, "input/output error: the thin pool vg0/pool is full"},
		{"unwell", pooled{free: 1 << 30, unwell: errors.New("metadata_read_only")}, "pool", t.Context(), failed, "input/output error: metadata_read_only"},
		{"not full", pooled{free: 64 << 10}, "pool", t.Context(), failed, ""},
		{"not thin", pooled{}, "", t.Context(), failed, ""},
		{"the source's", pooled{}, "pool", t.Context(), read, ""},
		{"interrupted", pooled{}, "pool", ended, failed, ""},
		{"none", pooled{}, "pool", t.Context(), nil, ""},
	} {
		x := &executor{Effects: Effects{Storage: tt.storage}}
		err := x.poolSays(tt.ctx, &plan.Disk{Volume: volume.Volume{VG: "vg0", Pool: tt.pool}}, tt.err)
		if _, undoes := errors.AsType[*targetError](err); undoes != errors.Is(tt.err, failed) || !errors.Is(err, tt.err) && tt.want == "" {
			t.Errorf("%s: poolSays = %v", tt.name, err)
		}
		if tt.want != "" && (!strings.HasPrefix(err.Error(), tt.want) || !errors.Is(err, syscall.EIO)) {
			t.Errorf("%s: poolSays = %v; want %q", tt.name, err, tt.want)
		}
	}
}
