package esxi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
)

// TestAway: a host that can't be reached may come back; one that answers otherwise than
// it should, or refuses, doesn't count as away.
func TestAway(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{refused, true},
		{fmt.Errorf("esx1: %w", refused), true},
		{fmt.Errorf("%w after 6 tries: %w", ErrGaveUp, broken(&url.Error{Op: "Get", URL: "https://esx1", Err: refused})), true},
		{fmt.Errorf("%w after 6 tries: %w", ErrGaveUp, ErrProtocol), false},
		{&url.Error{Op: "Post", URL: "https://esx1/sdk", Err: io.EOF}, true},
		{fmt.Errorf("reading: %w", ErrStalled), true},
		{syscall.EHOSTUNREACH, true},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, true},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, false},
		{fmt.Errorf("%w: %w", ErrStillOn, context.DeadlineExceeded), false},
		{context.DeadlineExceeded, false},
		{fmt.Errorf("%w: %w", ErrLogin, refused), false},
		{ErrThumbprint, false},
		{ErrCertificate, false},
		{ErrNotFound, false},
		{io.ErrUnexpectedEOF, false},
		{errors.New("libvirt: connection refused"), false},
	} {
		if got := Away(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
