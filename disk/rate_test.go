package disk_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/disk"
)

// The clock in the bubble is the test's own.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 40 * disk.BlockSize
		content := bytes.Repeat([]byte{1}, size)
		src := disk.FromReaderAt(bytes.NewReader(content), size)
		var rate disk.Rate
		rate.Set(disk.BlockSize) // 40 seconds
		time.AfterFunc(10*time.Second, func() { rate.Set(10 * disk.BlockSize) })
		start := time.Now()
		if _, err := disk.Copy(context.Background(), newMemory(make([]byte, size)), disk.Whole(src), disk.Options{Rate: &rate}); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got < 12*time.Second || got > 14*time.Second {
			t.Errorf("10 s at 1 and the rest of 40 at 10 blocks a second took %v; want about 13 s", got)
		}
	})
}

// Two copies that share a limit get half of it each, and who is alone all of it.
func TestRateShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rate disk.Rate
		rate.Set(disk.BlockSize)
		start := time.Now()
		took := make(chan time.Duration, 2)
		for _, blocks := range []int64{10, 20} {
			go func() {
				src := disk.FromReaderAt(bytes.NewReader(bytes.Repeat([]byte{1}, int(blocks*disk.BlockSize))), blocks*disk.BlockSize)
				_, err := disk.Copy(context.Background(), newMemory(make([]byte, src.Size())), disk.Whole(src), disk.Options{Rate: &rate, Workers: 1})
				if err != nil {
					t.Error(err)
				}
				took <- time.Since(start)
			}()
		}
		first, second := <-took, <-took
		if first < 17*time.Second || first > 20*time.Second || second < 28*time.Second || second > 30*time.Second {
			t.Errorf("10 and 20 blocks at one block a second between them took %v and %v; want about 19 s and 29 s", first, second)
		}
	})
}

func TestRateCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := disk.FromReaderAt(bytes.NewReader(bytes.Repeat([]byte{1}, 8*disk.BlockSize)), 8*disk.BlockSize)
		var rate disk.Rate
		rate.Set(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := disk.Copy(ctx, newMemory(make([]byte, 8*disk.BlockSize)), disk.Whole(src), disk.Options{Rate: &rate}); err == nil {
			t.Error("Copy at 1 byte/s = nil; want the context's error")
		}
		if got := time.Since(start); got > 2*time.Second {
			t.Errorf("cancelled after %v; want 1 s", got)
		}
	})
}
