package shell

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"esxodus/inventory"
	"esxodus/inventory/esxi"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	fixture "esxodus/fixtures/esxi"
)

func start(t *testing.T, o fixture.Options) *fixture.Host {
	t.Helper()
	h, err := fixture.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// patience is a Stall that no host here exceeds. It is the deadline of a whole
// handshake as well: a test of stalls shortens it after that.
const patience = 5 * time.Minute

func config(h *fixture.Host) Config {
	return Config{
		Addr: h.SSHAddr(), User: h.User(), Password: esxi.Secret(h.Password()),
		HostKeyFingerprint: ssh.FingerprintSHA256(h.SSHHostKey()), Stall: patience,
	}
}

func dial(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.poll = 20 * time.Millisecond
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestDial(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keyFile, known := filepath.Join(dir, "id"), filepath.Join(dir, "ssh", "known_hosts")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	h, other := start(t, fixture.Options{AuthorizedKeys: []ssh.PublicKey{key}}), start(t, fixture.Options{})
	seen := ssh.FingerprintSHA256(h.SSHHostKey())
	tests := []struct {
		name   string
		change func(*Config)
		want   error
		text   string
	}{
		{name: "password, pinned", change: func(*Config) {}},
		{name: "key only", change: func(c *Config) { c.Password, c.KeyFile = "", keyFile }},
		{name: "wrong password", change: func(c *Config) { c.Password = "wrong-secret" }, want: esxi.ErrLogin, text: "user root"},
		{name: "wrong user", change: func(c *Config) { c.User = "nobody" }, want: esxi.ErrLogin},
		{name: "wrong pin", change: func(c *Config) { c.HostKeyFingerprint = "SHA256:" + strings.Repeat("A", 43) }, want: ErrHostKey, text: seen},
		{name: "malformed pin", change: func(c *Config) { c.HostKeyFingerprint = "aa:bb" }, text: "want SHA256:"},
		{name: "nothing known", change: func(c *Config) { c.HostKeyFingerprint = "" }, want: ErrHostKey, text: seen},
		{name: "first use", change: func(c *Config) {
			c.HostKeyFingerprint, c.KnownHosts, c.TrustFirstUse = "", []string{known}, true
		}},
		{name: "known since", change: func(c *Config) { c.HostKeyFingerprint, c.KnownHosts = "", []string{known} }},
		{name: "other host, not known", change: func(c *Config) {
			c.Addr, c.HostKeyFingerprint, c.KnownHosts = other.SSHAddr(), "", []string{known}
		}, want: ErrHostKey, text: "it isn't known yet"},
		{name: "no password, no key", change: func(c *Config) { c.Password = "" }, text: "neither password nor key"},
		{name: "no key file", change: func(c *Config) { c.KeyFile = filepath.Join(dir, "none") }, text: "SSH key: open"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(h)
			tt.change(&cfg)
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				defer c.Close()
			}
			if (err != nil) != (tt.want != nil || tt.text != "") || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("Dial error = %v; want %v", err, tt.want)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("Dial error = %q; want %q in it, and no password", err, tt.text)
			}
		})
	}
	changed, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	// The known key of the first host, now claimed for the second.
	_, port, _ := net.SplitHostPort(h.SSHAddr())
	_, otherPort, _ := net.SplitHostPort(other.SSHAddr())
	if err := os.WriteFile(known, bytes.ReplaceAll(changed, []byte(port), []byte(otherPort)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(other)
	cfg.HostKeyFingerprint, cfg.KnownHosts, cfg.TrustFirstUse = "", []string{known}, true
	if _, err := Dial(t.Context(), cfg); !errors.Is(err, ErrHostKey) || !strings.Contains(err.Error(), "someone may be intercepting") {
		t.Errorf("Dial to a host whose key changed = %v; want %v", err, ErrHostKey)
	}
}

func TestPower(t *testing.T) {
	h := start(t, fixture.Options{Builtin: true})
	c := dial(t, config(h))
	for name, want := range map[string]inventory.PowerState{"web": inventory.PoweredOff, "db": inventory.PoweredOn, "sleeper": inventory.Suspended} {
		if got, err := c.PowerState(t.Context(), h.ID(name)); got != want || err != nil {
			t.Errorf("PowerState(%s) = %v, %v; want %v", name, got, err, want)
		}
	}
	if err := c.Shutdown(t.Context(), h.ID("db")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.PowerState(t.Context(), h.ID("db")); got != inventory.PoweredOff || err != nil {
		t.Errorf("PowerState after Shutdown = %v, %v", got, err)
	}
	if err := c.Shutdown(t.Context(), h.ID("db")); err != nil {
		t.Errorf("Shutdown of a VM that is off: %v", err)
	}
	if err := c.Shutdown(t.Context(), h.ID("running-no-tools")); !errors.Is(err, esxi.ErrNoTools) {
		t.Errorf("Shutdown without Tools = %v; want %v", err, esxi.ErrNoTools)
	}
	if err := c.PowerOff(t.Context(), h.ID("running-no-tools")); err != nil {
		t.Errorf("PowerOff: %v", err)
	}
	if _, err := c.PowerState(t.Context(), "99999"); !errors.Is(err, esxi.ErrNotFound) {
		t.Errorf("PowerState of no VM = %v; want %v", err, esxi.ErrNotFound)
	}
	before := len(h.Stats().SSHCommands)
	for _, id := range []string{"", "1; reboot", "-1", "$(reboot)", "1\n2", strings.Repeat("9", 30)} {
		if err := c.Shutdown(t.Context(), id); err == nil {
			t.Errorf("Shutdown(%q) gives no error", id)
		}
	}
	if got := len(h.Stats().SSHCommands); got != before {
		t.Errorf("bad ids reached the host: %q", h.Stats().SSHCommands[before:])
	}
}

func TestShutdownTimeout(t *testing.T) {
	h := start(t, fixture.Options{Builtin: true, ShutdownDelay: time.Hour})
	c := dial(t, config(h))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // asked to shut down, the guest is looked at again
		for ctx.Err() == nil && !askedAfter(h.Stats().SSHCommands, "power.shutdown", "power.getstate") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if err := c.Shutdown(ctx, h.ID("db")); !errors.Is(err, esxi.ErrStillOn) {
		t.Errorf("Shutdown of a guest that does not heed = %v; want %v", err, esxi.ErrStillOn)
	}
}

// askedAfter reports whether a command like next came after one like first.
func askedAfter(commands []string, first, next string) bool {
	i := slices.IndexFunc(commands, func(c string) bool { return strings.Contains(c, first) })
	return i >= 0 && slices.ContainsFunc(commands[i:], func(c string) bool { return strings.Contains(c, next) })
}

// TestAutoStart: vim-cmd and the API tell the same.
func TestAutoStart(t *testing.T) {
	h := start(t, fixture.Options{Builtin: true})
	c := dial(t, config(h))
	defaults, entries, err := c.AutoStart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, _, err := esxi.ParseURL(h.User() + "@" + strings.TrimPrefix(h.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := esxi.Dial(t.Context(), esxi.Config{URL: u, Password: esxi.Secret(h.Password()), Thumbprint: h.Thumbprint()})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close(t.Context())
	host, err := api.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(host.AutoStart, defaults); diff != "" {
		t.Errorf("defaults (-API +SSH):\n%s", diff)
	}
	want := make(map[string]inventory.AutoStart)
	for _, vm := range host.VMs {
		if vm.AutoStart != nil {
			want[vm.ID] = *vm.AutoStart
		}
	}
	if diff := cmp.Diff(want, entries); diff != "" || len(want) < 4 {
		t.Errorf("%d entries (-API +SSH):\n%s", len(want), diff)
	}
}

// TestSetAutoStart: a VM is taken out of its host's autostart and put back, by both ways,
// and each sees what the other did. The free licence refuses the API.
func TestSetAutoStart(t *testing.T) {
	for _, licensed := range []bool{true, false} {
		h := start(t, fixture.Options{Builtin: true, Licensed: licensed})
		c := dial(t, config(h))
		u, _, err := esxi.ParseURL(h.User() + "@" + strings.TrimPrefix(h.URL(), "https://"))
		if err != nil {
			t.Fatal(err)
		}
		api, err := esxi.Dial(t.Context(), esxi.Config{URL: u, Password: esxi.Secret(h.Password()), Thumbprint: h.Thumbprint()})
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close(t.Context())
		_, entries, err := c.AutoStart(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id := slices.Sorted(maps.Keys(entries))[0]
		was, err := api.AutoStartEntry(t.Context(), id)
		if err != nil || !was.Starts() {
			t.Fatalf("entry = %+v, %v; want one that starts", was, err)
		}
		if err := api.SetAutoStart(t.Context(), id, was.Off()); licensed && err != nil || !licensed && !errors.Is(err, esxi.ErrRestricted) {
			t.Errorf("licensed %v: off by the API = %v", licensed, err)
		}
		if err := c.SetAutoStart(t.Context(), id, was.Off()); err != nil {
			t.Fatal(err)
		}
		if now, err := api.AutoStartEntry(t.Context(), id); err != nil || now.Starts() {
			t.Errorf("after it was taken out: %+v, %v", now, err)
		}
		if err := c.SetAutoStart(t.Context(), id, was); err != nil {
			t.Fatal(err)
		}
		if now, err := c.AutoStartEntry(t.Context(), id); err != nil || now != was {
			t.Errorf("put back: %+v, %v; want %+v", now, err, was)
		}
		if err := c.SetAutoStart(t.Context(), "1; reboot", was); err == nil {
			t.Error("any text is taken for a VM's id")
		}
	}
}

func TestRunParallel(t *testing.T) {
	h := start(t, fixture.Options{})
	c := dial(t, config(h))
	var wg sync.WaitGroup
	for range 30 { // sshd allows ten sessions at a time
		wg.Go(func() {
			if out, err := c.Run(t.Context(), "echo", "it's", "$HOME", "a  b"); err != nil || string(out) != "it's $HOME a  b\n" {
				t.Errorf("Run = %q, %v", out, err)
			}
		})
	}
	wg.Wait()
	_, err := c.Run(t.Context(), "no-such-command", "x")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 127 {
		t.Errorf("Run of no command = %v; want exit code 127", err)
	}
	if _, err := c.Run(t.Context(), "echo", "a\x00b"); err == nil || !strings.Contains(err.Error(), "zero byte") {
		t.Errorf("Run with a zero byte = %v", err)
	}
}

// server is an sshd of our own, for what the fixture does not do.
func server(t *testing.T, config *ssh.ServerConfig, session func(ssh.Channel, <-chan *ssh.Request)) (addr, fingerprint string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(old)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				_, channels, requests, err := ssh.NewServerConn(raw, config)
				if err != nil {
					return
				}
				if session == nil { // answers nothing any more
					<-t.Context().Done()
					return
				}
				go ssh.DiscardRequests(requests)
				for nc := range channels {
					if ch, reqs, err := nc.Accept(); err == nil {
						go session(ch, reqs)
					}
				}
			}()
		}
	}()
	return l.Addr().String(), ssh.FingerprintSHA256(signer.PublicKey())
}

// TestOldHost: the algorithms of ESXi 5's sshd, and password authentication
// where keyboard-interactive is off.
func TestOldHost(t *testing.T) {
	var asked []string
	config := &ssh.ServerConfig{
		Config: ssh.Config{KeyExchanges: []string{"diffie-hellman-group14-sha1"}, Ciphers: []string{"aes128-ctr"}, MACs: []string{"hmac-sha1"}},
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			asked = append(asked, string(password))
			if string(password) == "sesame" {
				return nil, nil
			}
			return nil, errors.New("no")
		},
	}
	addr, fingerprint := server(t, config, func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			_ = r.Reply(true, nil)
			_, _ = ch.Write([]byte("hello"))
			_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
			_ = ch.Close()
		}
	})
	c := dial(t, Config{Addr: addr, Password: "sesame", HostKeyFingerprint: fingerprint})
	if out, err := c.Run(t.Context(), "x"); err != nil || string(out) != "hello" {
		t.Errorf("Run = %q, %v", out, err)
	}
	asked = nil
	if _, err := Dial(t.Context(), Config{Addr: addr, Password: "wrong", HostKeyFingerprint: fingerprint}); !errors.Is(err, esxi.ErrLogin) {
		t.Errorf("Dial with a wrong password = %v", err)
	}
	if !slices.Equal(asked, []string{"wrong"}) {
		t.Errorf("the wrong password was tried %d times; want once", len(asked))
	}
}

func TestStalls(t *testing.T) {
	open := &ssh.ServerConfig{NoClientAuth: true}
	t.Run("handshake", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := Dial(t.Context(), Config{Addr: l.Addr().String(), Password: "x", Stall: 50 * time.Millisecond}); !errors.Is(err, esxi.ErrStalled) {
			t.Errorf("Dial = %v; want %v", err, esxi.ErrStalled)
		}
	})
	t.Run("after the login", func(t *testing.T) {
		addr, fingerprint := server(t, open, nil)
		c := dial(t, Config{Addr: addr, Password: "x", HostKeyFingerprint: fingerprint, Stall: patience})
		c.cfg.Stall = 90 * time.Millisecond
		if _, err := c.Run(t.Context(), "x"); !errors.Is(err, esxi.ErrStalled) {
			t.Errorf("Run = %v; want %v", err, esxi.ErrStalled)
		}
	})
	t.Run("a long command is no stall", func(t *testing.T) {
		addr, fingerprint := server(t, open, func(ch ssh.Channel, reqs <-chan *ssh.Request) {
			for r := range reqs {
				_ = r.Reply(true, nil)
				time.Sleep(3 * time.Second)
				_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
				_ = ch.Close()
			}
		})
		c := dial(t, Config{Addr: addr, Password: "x", HostKeyFingerprint: fingerprint, Stall: patience})
		c.cfg.Stall = 2 * time.Second // on a busy machine an answer may take its time
		if _, err := c.Run(t.Context(), "x"); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("endless output", func(t *testing.T) {
		addr, fingerprint := server(t, open, func(ch ssh.Channel, reqs <-chan *ssh.Request) {
			for r := range reqs {
				_ = r.Reply(true, nil)
				go func() {
					block := make([]byte, 1<<20)
					for {
						if _, err := ch.Write(block); err != nil {
							return
						}
					}
				}()
			}
		})
		c := dial(t, Config{Addr: addr, Password: "x", HostKeyFingerprint: fingerprint, Stall: patience})
		if out, err := c.Run(t.Context(), "x"); !errors.Is(err, esxi.ErrProtocol) || len(out) > maxOutput {
			t.Errorf("Run = %d bytes, %v; want %v", len(out), err, esxi.ErrProtocol)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		addr, fingerprint := server(t, open, func(_ ssh.Channel, reqs <-chan *ssh.Request) {
			for r := range reqs {
				_ = r.Reply(true, nil)
			}
		})
		c := dial(t, Config{Addr: addr, Password: "x", HostKeyFingerprint: fingerprint, Stall: patience})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := c.Run(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v; want %v", err, context.DeadlineExceeded)
		}
	})
}

// FuzzQuote: a real shell must take the line apart into the same arguments.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", `"x" \ $HOME $(reboot) ` + "`x`", "a\nb", "*", "~", "-n", "ü%00", "'", "''", "a=b", "!!", "\xff\x01", "#x"} {
		f.Add(s, "plain")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		line, err := quote([]string{"printf", `%s\001`, a, b})
		if strings.ContainsRune(a+b, 0) {
			if err == nil {
				t.Errorf("quote(%q, %q) = %q; want an error", a, b, line)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(sh, "-c", line).Output()
		if want := a + "\x01" + b + "\x01"; err != nil || string(out) != want {
			t.Errorf("sh -c %q = %q, %v; want %q", line, out, err, want)
		}
	})
}

func FuzzParseDump(f *testing.F) {
	f.Add("(vim.host.AutoStartManager.AutoPowerInfo) [\n   (vim.host.AutoStartManager.AutoPowerInfo) {\n      key = 'vim.VirtualMachine:1', \n      startOrder = 1, \n   }\n]\n")
	f.Add("x = {\n{\na = b = c\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, o := range parseDump(s) {
			if n := number(o["startOrder"]); n > 1<<31-1 || n < -1<<31 {
				t.Errorf("number(%q) = %d", o["startOrder"], n)
			}
			if s := lowerFirst(o["stopAction"]); s == "<unset>" {
				t.Errorf("an unset field reads as %q", s)
			}
		}
	})
}
