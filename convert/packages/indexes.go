package packages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Indexes keeps what was read of sources, so that each release of a distribution
// is asked for once, however many guests have it. The zero value is empty.
// Several goroutines may use it, and what one of them reads the others wait for.
type Indexes struct {
	mu   sync.Mutex
	kept map[string]*index
	now  func() time.Time // nil for the real one
}

// errorKept is how long a failure answers for the guests that follow: for all of
// a plan's to wait for a mirror that is down would take hours.
const errorKept = time.Minute

// index is what the sources of one release have for one architecture.
type index struct {
	gate chan struct{} // full while somebody reads it

	root   *root              // nil until it was read
	local  map[string]debFile // of a directory of packages
	err    error              // of the last try
	failed time.Time
}

// get returns a release's index, and reads it first if nobody has. It isn't to be
// changed.
func (x *Indexes) get(ctx context.Context, r Resolver, g Guest) (*index, error) {
	i := x.of(fmt.Sprintf("%s\x00%s\x00%s\x00%s", g.ID, g.Codename, g.Arch, r.Dir))
	select {
	case i.gate <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-i.gate }()
	if i.root != nil {
		return i, nil
	}
	if i.err != nil && x.clock().Sub(i.failed) < errorKept {
		return nil, i.err
	}
	var err error
	i.root, i.local, err = r.read(ctx, g)
	i.err, i.failed = err, x.clock()
	if ctx.Err() != nil { // which says nothing of the sources
		i.err = nil
	}
	return i, err
}

func (x *Indexes) of(key string) *index {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kept == nil {
		x.kept = map[string]*index{}
	}
	if x.kept[key] == nil {
		x.kept[key] = &index{gate: make(chan struct{}, 1)}
	}
	return x.kept[key]
}

func (x *Indexes) clock() time.Time {
	if x.now != nil {
		return x.now()
	}
	return time.Now()
}

// Close removes what is kept. Nobody may use it meanwhile; after it, all is read
// anew.
func (x *Indexes) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	for _, i := range x.kept {
		if i.root != nil {
			err = errors.Join(err, i.root.remove())
		}
	}
	x.kept = nil
	return err
}

// read makes a private directory and reads a release's index into it.
func (r Resolver) read(ctx context.Context, g Guest) (_ *root, local map[string]debFile, err error) {
	root, err := newRoot(r.TempDir, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("packages: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.remove())
		}
	}()
	if r.Dir != "" {
		local, err = root.index(ctx, r.Tool, r.Dir, g)
	} else {
		err = root.sources(ctx, r.Tool, g)
	}
	if err != nil {
		return nil, nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, updateLimit, fmt.Errorf("packages: no index after %v", updateLimit))
	defer cancel()
	if err := r.update(within, root, g); err != nil {
		return nil, nil, err
	}
	return root, local, nil
}
