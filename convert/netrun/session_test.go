package netrun

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// neighbour moves the other end of eno1's cable into a network namespace of its own,
// where an echo listens at 198.51.100.1.
func neighbour(t *testing.T) {
	t.Helper()
	there := exec.Command("unshare", "-n", "sh", "-c", "echo; exec sleep 300")
	out, err := there.StdoutPipe()
	if err == nil {
		err = there.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n') // it is there
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = there.Process.Kill(), there.Wait() })
	pid := fmt.Sprint(there.Process.Pid)
	ip(t, "link", "set", "peer1", "netns", pid)
	inside := func(args ...string) {
		if out, err := exec.Command("nsenter", append([]string{"-t", pid, "-n", "ip"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	inside("link", "set", "peer1", "up")
	inside("address", "add", "198.51.100.1/24", "dev", "peer1")
	l, err := listenIn("/proc/"+pid+"/ns/net", "198.51.100.1:7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
}

// listenIn opens a listening socket in another network namespace, where it stays.
func listenIn(namespace, address string) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		f, err := os.Open(namespace)
		if err == nil {
			err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		l, err := net.Listen("tcp", address)
		done <- result{l, err}
	}()
	r := <-done
	return r.l, r.err
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
