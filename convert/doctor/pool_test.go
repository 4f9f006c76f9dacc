package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/volume"
)

// pooled is a storage that is a thin pool.
type pooled struct {
	volume.Storage
	pool volume.Pool
}

func (p pooled) Check(context.Context, []volume.Volume) (volume.Facts, error) {
	return volume.Facts{Free: 1 << 30, Pool: &p.pool}, nil
}

func TestPool(t *testing.T) {
	p := volume.Pool{Name: "vg0/pool", Size: 2 << 30, Virtual: 1 << 30, Chunk: 64 << 10, Metadata: 1 << 20}
	small, waits := p, p
	small.Size, waits.Waits = 1, true
	for _, tt := range []struct {
		pool volume.Pool
		says string
		want []string
	}{
		{p, "thin pool vg0/pool: 1 GiB of 2 GiB free, in chunks of 64 KiB; its volumes have 1 GiB; 1 MiB free for its metadata", []string{"storage"}},
		{small, "may take more than it has", []string{"storage", "pool warning"}},
		{waits, "lvchange --errorwhenfull y vg0/pool", []string{"storage", "pool note"}},
	} {
		v := &stay{Host: Host{Storage: pooled{pool: tt.pool}}}
		v.storage(t.Context())
		if got := found(v.notes); !slices.Equal(got, tt.want) || !strings.Contains(fmt.Sprintf("%+v", v.notes), tt.says) {
			t.Errorf("found %q; want %q and %q in %+v", got, tt.want, tt.says, v.notes)
		}
	}
}
