package esxi

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Open opens the stream of a disk, which goes by its address: a streamOptimized
// VMDK of all that the VM sees of it, snapshots merged. It can only be read from
// its start to its end, without seeking; one that broke is opened again, and
// begins at its start. ctx bounds the stream's life. Read returns io.EOF where
// the host ended the answer in order; whether the VMDK is whole by then, its own
// end marker says. Errors wrap [ErrLease], [ErrStalled], [ErrNotFound],
// [ErrChanged] or [ErrProtocol] where they are that.
func (x *Export) Open(ctx context.Context, d inventory.Disk) (io.ReadCloser, error) {
	i, err := x.item(d)
	var s *stream
	if err == nil {
		s, err = x.open(ctx, i)
	}
	if err != nil {
		return nil, x.about(d, err)
	}
	return s, nil
}

func (x *Export) about(d inventory.Disk, err error) error {
	return fmt.Errorf("%s: export of VM %s: disk %s: %w", x.c.cfg.URL.Host, x.vm, d.Address(), err)
}

func (x *Export) open(ctx context.Context, i *leaseItem) (*stream, error) {
	if err := x.over(); err != nil {
		return nil, err
	}
	s := &stream{x: x, item: i, sum: sha1.New()}
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.ctx, s.unhook = ctx, x.whenOver(s.cancel)
	err := x.c.again(ctx, "stream of "+i.disk.Address(), x.classify, func() (bool, error) { return false, s.ask(ctx) })
	if err != nil {
		err = explain(x.why(ctx, err))
		s.end()
		return nil, err
	}
	i.read.Store(0)
	i.got.Store(nil)
	return s, nil
}

// classify says what a refusal of a stream means.
func (x *Export) classify(err error) error {
	switch statusOf(err) {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the host refuses the session that it just gave: %w", ErrLogin, err)
	case http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// stream is a disk's stream, being read.
type stream struct {
	x      *Export
	item   *leaseItem
	ctx    context.Context
	cancel context.CancelCauseFunc
	unhook func() bool

	mu   sync.Mutex // of Read and Close
	body io.ReadCloser
	sum  hash.Hash
	read int64
	err  error // of the end
}

// ask makes the request.
func (s *stream) ask(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	idle := s.idle(s.x.c.cfg.Stall, cancel)
	res, err := s.x.c.get(ctx, request{url: s.item.url, method: http.MethodGet})
	idle.Stop()
	if err == nil {
		if err = asStored(res); err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%w: status %d for a whole stream", ErrProtocol, res.StatusCode)
		}
		if err != nil {
			err = named(res, err)
			_ = res.Body.Close()
		}
	}
	if err != nil {
		err = stalledOr(ctx, err)
		cancel(nil)
		return err
	}
	s.body = res.Body
	return nil
}

// idle cancels by cancel when it isn't stopped in time.
func (s *stream) idle(limit time.Duration, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w: nothing arrived for %s", ErrStalled, limit)) })
}

// Read implements io.Reader. Only the time that the host takes counts as a
// stall, not that between two reads.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	idle := s.idle(s.x.silence, s.cancel)
	s.x.c.meter.begin()
	n, err := s.body.Read(p)
	s.x.c.meter.arrived(int64(n))
	s.x.c.meter.end()
	idle.Stop()
	s.sum.Write(p[:n])
	s.read += int64(n)
	s.item.read.Store(s.read)
	switch {
	case errors.Is(err, io.EOF):
		s.err = io.EOF
		s.item.got.Store(&taken{size: s.read, sum: hex.EncodeToString(s.sum.Sum(nil))})
	case err != nil:
		s.err = s.x.about(s.item.disk, fmt.Errorf("after %d bytes of its stream: %w", s.read, s.x.why(s.ctx, err)))
	}
	return n, s.err
}

// Close ends the stream. It returns nil.
func (s *stream) Close() error {
	s.cancel(errClosed) // a Read under way ends by it
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = s.x.about(s.item.disk, errClosed)
	}
	s.end()
	return nil
}

func (s *stream) end() {
	s.unhook()
	s.cancel(errClosed)
	if s.body != nil {
		_ = s.body.Close() // of no consequence after the last read
	}
}

// Verify compares the streams that were read to their ends with what the host
// says that it sent: sizes, and SHA-1 sums where it has them. A difference wraps
// [ErrProtocol], a host that says nothing [ErrUnknown]. It must be asked before
// Close.
func (x *Export) Verify(ctx context.Context) error {
	res, err := methods.HttpNfcLeaseGetManifest(ctx, x.c.read(), &types.HttpNfcLeaseGetManifest{This: x.ref})
	if err != nil {
		return fmt.Errorf("%s: export of VM %s: %w: its manifest: %w", x.c.cfg.URL.Host, x.vm, ErrUnknown, wrapFault(err))
	}
	sent := make(map[string]types.HttpNfcLeaseManifestEntry, len(res.Returnval))
	for _, e := range res.Returnval {
		sent[e.Key] = e
	}
	for _, i := range x.items {
		got := i.got.Load()
		if got == nil {
			continue
		}
		e, ok := sent[i.key]
		switch {
		case !ok:
			return x.about(i.disk, fmt.Errorf("%w: it isn't in the manifest", ErrUnknown))
		case e.Size != got.size:
			return x.about(i.disk, fmt.Errorf("%w: %d bytes arrived, the host sent %d", ErrProtocol, got.size, e.Size))
		case e.Sha1 != "" && !strings.EqualFold(e.Sha1, got.sum):
			return x.about(i.disk, fmt.Errorf("%w: what arrived isn't what the host sent: its SHA-1 is %s, the host's %.40q", ErrProtocol, got.sum, e.Sha1))
		}
	}
	return nil
}
