package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted is mirror, with the first updates failing as they are told to, and counts
// updates.
func counted(updates *atomic.Int32, fails ...error) runner {
	var mu sync.Mutex
	return func(argv []string) (string, error) {
		if !slices.Contains(argv, "update") {
			return mirror("Inst lvm2 (2.03 Debian [amd64])\n")(argv)
		}
		updates.Add(1)
		mu.Lock()
		defer mu.Unlock()
		if len(fails) == 0 {
			return "", nil
		}
		err := fails[0]
		fails = fails[1:]
		return "", err
	}
}

// TestIndexes: mirrors are asked once for each release and architecture, however
// many guests there are, at the same time or one after the other.
func TestIndexes(t *testing.T) {
	var updates atomic.Int32
	temp := t.TempDir()
	x := new(Indexes)
	r := Resolver{Tool: counted(&updates), TempDir: temp, Indexes: x}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			g := Guest{ID: "debian", Codename: []string{"trixie", "bookworm"}[i%2], Arch: "amd64", Status: fmt.Appendf(nil, "guest %d", i)}
			if set, err := r.Resolve(t.Context(), g, "lvm2"); err != nil || len(set.Packages) != 1 {
				t.Errorf("Resolve = %+v, %v; want lvm2", set, err)
			}
		})
	}
	wg.Wait()
	if n := updates.Load(); n != 2 {
		t.Errorf("the mirrors were asked %d times for 2 releases", n)
	}
	for _, g := range []Guest{
		{ID: "debian", Codename: "trixie", Arch: "amd64", Status: []byte("x")},
		{ID: "debian", Codename: "trixie", Arch: "i386", Status: []byte("x")},
	} {
		if _, err := r.Resolve(t.Context(), g, "lvm2"); err != nil {
			t.Error(err)
		}
	}
	if n := updates.Load(); n != 3 {
		t.Errorf("the mirrors were asked %d times; want once more, for another architecture", n)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := r.Resolve(t.Context(), Guest{ID: "debian", Codename: "trixie", Arch: "amd64", Status: []byte("x")}, "lvm2"); err != nil || updates.Load() != 4 {
		t.Errorf("after Close: %v, %d questions; want one more", err, updates.Load())
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestIndexesErrors: a mirror that is down isn't asked for each guest, but later it
// is again; and one guest's end is none of another's.
func TestIndexesErrors(t *testing.T) {
	var updates atomic.Int32
	now := time.Unix(1<<30, 0)
	x := &Indexes{now: func() time.Time { return now }}
	down := errors.New("no route")
	r := Resolver{Tool: counted(&updates, down, nil), TempDir: t.TempDir(), Indexes: x}
	g := Guest{ID: "debian", Codename: "trixie", Arch: "amd64", Status: []byte("x")}
	resolve := func(ctx context.Context) error {
		_, err := r.Resolve(ctx, g, "lvm2")
		return err
	}
	for range 3 {
		if err := resolve(t.Context()); !errors.Is(err, down) || !strings.Contains(err.Error(), "debian trixie") {
			t.Errorf("Resolve = %v; want %v of debian trixie", err, down)
		}
	}
	if n := updates.Load(); n != 1 {
		t.Errorf("a mirror that is down was asked %d times; want once", n)
	}
	now = now.Add(errorKept)
	if err := resolve(t.Context()); err != nil || updates.Load() != 2 {
		t.Errorf("later: %v, asked %d times; want it asked again, with success", err, updates.Load())
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.Tool = runner(func(argv []string) (string, error) {
		if slices.Contains(argv, "update") && ctx.Err() == nil {
			cancel()
			return "", context.Canceled
		}
		return counted(&updates)(argv)
	})
	if err := resolve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve = %v; want it cancelled", err)
	}
	if err := resolve(t.Context()); err != nil {
		t.Errorf("after another was cancelled: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
