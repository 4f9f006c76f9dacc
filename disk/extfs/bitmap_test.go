package extfs

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBitmap compares with a slice of bools.
func TestBitmap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		b, used := make(bitmap, 64), make([]bool, 512)
		n := 1 + rng.Int64N(512)
		for range rng.IntN(4) {
			from := rng.Int64N(512)
			to := from + rng.Int64N(513-from)
			b.set(from, to)
			for i := from; i < to; i++ {
				used[i] = true
			}
		}
		unused := int64(0)
		for i := range n {
			if !used[i] {
				unused++
			}
			for _, kind := range []bool{false, true} {
				want := n
				if k := slices.Index(used[i:n], kind); k >= 0 {
					want = i + int64(k)
				}
				if got := b.next(i, n, kind); got != want {
					t.Fatalf("next(%d, %d, %v) = %d; want %d", i, n, kind, got, want)
				}
			}
		}
		if got := b.unused(n); got != unused {
			t.Fatalf("unused(%d) = %d; want %d", n, got, unused)
		}
	}
}

// TestMark: a cluster is used if one of its blocks is.
func TestMark(t *testing.T) {
	t.Parallel()
	s := sweep{f: &FS{accounting: accounting{ratio: 4}}, used: make(bitmap, 8)}
	s.mark([]span{{107, 2}, {98, 3}, {116, 100}}, 100, 21)
	if want := (bitmap{0b110111, 0, 0, 0, 0, 0, 0, 0}); !slices.Equal(s.used, want) {
		t.Errorf("used = %b; want %b", s.used, want)
	}
}
