package disk

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// measureBlock is what a connection asks for at a time, in bytes.
const measureBlock = 4 << 20

// Measure reads an image over some connections for a time, from its start again where it
// ends, and returns bytes a second.
func Measure(ctx context.Context, img Image, connections int, limit time.Duration) (float64, error) {
	begin, blocks := time.Now(), max(img.Size()/measureBlock, 1)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var next, got atomic.Int64
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			p := make([]byte, min(measureBlock, img.Size()))
			for ctx.Err() == nil && errs[i] == nil {
				n, err := img.ReadAt(p, (next.Add(1)-1)%blocks*measureBlock)
				got.Add(int64(n))
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return float64(got.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}
