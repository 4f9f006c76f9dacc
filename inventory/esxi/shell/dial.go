package shell

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"esxodus/inventory/esxi"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

const (
	defaultStall = 30 * time.Second
	dialTimeout  = 15 * time.Second
	// maxChannels stays well below sshd's ten sessions per connection.
	maxChannels = 4
)

// ErrHostKey is a host key that is not known, or not the known one.
var ErrHostKey = errors.New("host key not trusted")

// Config says how to log in.
type Config struct {
	Addr     string      // host or host:port; port 22 if none
	User     string      // root if none
	Password esxi.Secret // for keyboard-interactive, as ESXi asks, and password authentication
	// KeyFile is a private key in OpenSSH's or PEM form; Passphrase opens it.
	KeyFile    string
	Passphrase esxi.Secret
	// HostKeyFingerprint is the one key to accept: "SHA256:…" as ssh-keygen -l
	// prints. Without it the key must be in one of the KnownHosts files.
	HostKeyFingerprint string
	KnownHosts         []string // as ~/.ssh/known_hosts; files that do not exist are empty
	// TrustFirstUse takes the key of a host that KnownHosts says nothing of,
	// and adds it to the first of the files. A key that differs from a known
	// one is refused all the same.
	TrustFirstUse bool
	Log           *slog.Logger
	Stall         time.Duration // give up on a connection that answers nothing for so long; 0 is 30 s
}

// Client is an SSH connection to a host. Its methods may be called from
// several goroutines.
type Client struct {
	cfg   Config
	log   *slog.Logger
	ssh   *ssh.Client
	slots chan struct{}
	poll  time.Duration
}

// Check says what is wrong with the key file and the fingerprint, where they are
// given, without a connection.
func (cfg Config) Check() error {
	if cfg.KeyFile != "" {
		if _, err := cfg.signers(); err != nil {
			return err
		}
	}
	return cfg.checkFingerprint()
}

func (cfg Config) checkFingerprint() error {
	if pin := cfg.HostKeyFingerprint; pin != "" && !strings.HasPrefix(pin, "SHA256:") {
		return fmt.Errorf("host key fingerprint %q: want SHA256:… as ssh-keygen -l prints it", pin)
	}
	return nil
}

// Dial connects and logs in. Errors wrap [ErrHostKey] or [esxi.ErrLogin] where
// they are that.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	auth, err := cfg.auth()
	if err != nil {
		return nil, err
	}
	check := &hostKey{cfg: cfg}
	if err := check.load(); err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("SSH to %s: %w (ESXi's SSH is off by default: start it on its web page, Host > Actions > Services)", cfg.Addr, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if err := raw.SetDeadline(time.Now().Add(cfg.Stall)); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	conn, channels, requests, err := ssh.NewClientConn(raw, cfg.Addr, &ssh.ClientConfig{
		User: cfg.User, Auth: auth, HostKeyCallback: check.verify, HostKeyAlgorithms: check.algorithms(), ClientVersion: "SSH-2.0-esxodus",
	})
	if err != nil {
		_ = raw.Close()
		return nil, cfg.explain(ctx, err)
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Client{
		cfg: cfg, log: cfg.Log.With("ssh", cfg.Addr), ssh: ssh.NewClient(conn, channels, requests),
		slots: make(chan struct{}, maxChannels), poll: 2 * time.Second,
	}, nil
}

// Close ends the connection. Commands that still run get an error.
func (c *Client) Close() error { return c.ssh.Close() }

func (cfg Config) complete() (Config, error) {
	if cfg.Addr == "" {
		return cfg, errors.New("SSH: no host given")
	}
	if _, _, err := net.SplitHostPort(cfg.Addr); err != nil {
		cfg.Addr = net.JoinHostPort(strings.Trim(cfg.Addr, "[]"), "22")
	}
	cfg.User = cmp.Or(cfg.User, "root")
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

func (cfg Config) explain(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrHostKey):
		return fmt.Errorf("SSH to %s: %w", cfg.Addr, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("SSH to %s: %w: %w", cfg.Addr, esxi.ErrStalled, err)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("SSH to %s: user %s: %w: %w", cfg.Addr, cfg.User, esxi.ErrLogin, err)
	}
	return fmt.Errorf("SSH to %s: %w", cfg.Addr, err)
}

// auth returns the ways to log in, keys first. The password is sent once:
// ESXi locks a user out after five wrong ones.
func (cfg Config) auth() ([]ssh.AuthMethod, error) {
	var methods []ssh.AuthMethod
	if cfg.KeyFile != "" {
		signers, err := cfg.signers()
		if err != nil {
			return nil, err
		}
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if cfg.Password != "" {
		once := &oncePassword{password: cfg.Password}
		methods = append(methods, ssh.KeyboardInteractive(once.answer), ssh.PasswordCallback(once.give))
	}
	if len(methods) == 0 {
		return nil, fmt.Errorf("SSH to %s: neither password nor key given", cfg.Addr)
	}
	return methods, nil
}

// signers reads the key. An RSA key comes a second time for the sshd of ESXi
// 5, which takes SHA-1 signatures only.
func (cfg Config) signers() ([]ssh.Signer, error) {
	b, err := esxi.ReadSoon(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("SSH key: %w", err)
	}
	var signer ssh.Signer
	if cfg.Passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(b, []byte(cfg.Passphrase.Reveal()))
	} else {
		signer, err = ssh.ParsePrivateKey(b)
	}
	if err != nil {
		return nil, fmt.Errorf("SSH key %s: %w", cfg.KeyFile, err)
	}
	signers := []ssh.Signer{signer}
	if algorithm, ok := signer.(ssh.AlgorithmSigner); ok && signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		old, err := ssh.NewSignerWithAlgorithms(algorithm, []string{ssh.KeyAlgoRSA})
		if err != nil {
			return nil, fmt.Errorf("SSH key %s: %w", cfg.KeyFile, err)
		}
		signers = append(signers, old)
	}
	return signers, nil
}

// oncePassword answers the first that asks for the password, and nobody else.
type oncePassword struct {
	mu       sync.Mutex
	password esxi.Secret
	given    bool
}

func (o *oncePassword) give() (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.given {
		return "", errors.New("the password was already refused")
	}
	o.given = true
	return o.password.Reveal(), nil
}

func (o *oncePassword) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i := range questions {
		if echos[i] {
			return nil, errors.New("the host asks for more than the password")
		}
		secret, err := o.give()
		if err != nil {
			return nil, err
		}
		answers[i] = secret
	}
	return answers, nil
}

// hostKey verifies the host's key.
type hostKey struct {
	cfg   Config
	known ssh.HostKeyCallback // nil without KnownHosts
}

func (h *hostKey) load() error {
	if err := h.cfg.checkFingerprint(); err != nil {
		return err
	}
	var files []string
	for _, name := range h.cfg.KnownHosts {
		if _, err := os.Stat(name); err == nil {
			files = append(files, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("known hosts: %w", err)
		}
	}
	if len(files) == 0 {
		return nil
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	h.known = known
	return nil
}

// algorithms returns the key types that are known of the host, which the host
// would otherwise not offer first; nil is all.
func (h *hostKey) algorithms() []string {
	if h.known == nil || h.cfg.HostKeyFingerprint != "" {
		return nil
	}
	var all []string
	unknown, ok := errors.AsType[*knownhosts.KeyError](h.known(h.cfg.Addr, &net.TCPAddr{IP: net.IPv4zero}, noKey{}))
	if !ok {
		return nil
	}
	for _, want := range unknown.Want {
		switch kind := want.Key.Type(); kind {
		case ssh.KeyAlgoRSA:
			all = append(all, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSA)
		default:
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// noKey is a key that no host has.
type noKey struct{ ssh.PublicKey }

func (noKey) Type() string    { return "none" }
func (noKey) Marshal() []byte { return nil }

func (h *hostKey) verify(addr string, remote net.Addr, key ssh.PublicKey) error {
	got := ssh.FingerprintSHA256(key)
	if pin := h.cfg.HostKeyFingerprint; pin != "" {
		if subtle.ConstantTimeCompare([]byte(strings.TrimRight(pin, "=")), []byte(got)) == 1 {
			return nil
		}
		return fmt.Errorf("%w: its %s key is %s, pinned is %s", ErrHostKey, key.Type(), got, pin)
	}
	if h.known != nil {
		err := h.known(addr, remote, key)
		if err == nil {
			return nil
		}
		if unknown, ok := errors.AsType[*knownhosts.KeyError](err); !ok || len(unknown.Want) > 0 {
			return fmt.Errorf("%w: its %s key is %s: %w; if the host was reinstalled, remove the old key; otherwise someone may be intercepting the connection",
				ErrHostKey, key.Type(), got, err)
		}
	}
	if h.cfg.TrustFirstUse && len(h.cfg.KnownHosts) > 0 {
		return h.remember(addr, key)
	}
	return fmt.Errorf("%w: it isn't known yet; its %s key is %s",
		ErrHostKey, key.Type(), got)
}

// remember adds a key to the first known-hosts file.
func (h *hostKey) remember(addr string, key ssh.PublicKey) (err error) {
	name := h.cfg.KnownHosts[0]
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = fmt.Fprintln(f, knownhosts.Line([]string{knownhosts.Normalize(addr)}, key))
	return err
}
