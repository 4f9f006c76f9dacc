package netrun

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// neighbour moves the other end of eno1's cable into a network namespace of its own,
// where an echo listens at 198.51.100.1.
func neighbour(t *testing.T) {
	t.Helper()
	p := newPlace(t)
	ip(t, "link", "set", "peer1", "netns", p.pid)
	p.ip("link", "set", "peer1", "up")
	p.ip("address", "add", "198.51.100.1/24", "dev", "peer1")
	p.echoes("198.51.100.1:7")
}

// call opens a session to the neighbour from eno1's foreign address.
func call(t *testing.T) net.Conn {
	t.Helper()
	from := &net.TCPAddr{IP: net.ParseIP("198.51.100.5")}
	c, err := (&net.Dialer{LocalAddr: from}).DialContext(t.Context(), "tcp", "198.51.100.1:7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo says something in a session and wants to hear it again.
func echo(c net.Conn, within time.Duration) error {
	const word = "still there?\n"
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	return nil
}

// session: one over a foreign address outlasts apply and rollback, and not what one
// would do by heart.
func session(t *testing.T) {
	t.Helper()
	read(t)
	neighbour(t)
	c := call(t)
	if err := echo(c, time.Minute); err != nil {
		t.Fatal(err)
	}
	h := read(t)
	j := begin(t, Dir(t.TempDir()), h, changes(t, h))
	if err := Apply(t.Context(), j, effects()); err != nil {
		t.Fatal(err)
	}
	if err := echo(c, time.Minute); err != nil {
		t.Errorf("after apply: %v", err)
	}
	if err := Rollback(t.Context(), j, effects()); err != nil {
		t.Fatal(err)
	}
	if err := echo(c, time.Minute); err != nil {
		t.Errorf("after the rollback: %v", err)
	}
	for _, u := range wanted(t).Units {
		put(t, u.Name, u.Text)
	}
	reload(t)
	if err := echo(c, 3*time.Second); err == nil {
		t.Error("the session outlasts a drop-in and a reload, so it shows nothing")
	}
}
