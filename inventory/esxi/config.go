package esxi

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	defaultUser  = "root"
	defaultPort  = "443"
	defaultStall = 30 * time.Second
)

// Config says how to reach a host.
type Config struct {
	URL        *url.URL // as ParseURL returns it; without a user it is root
	Password   Secret
	Thumbprint string // SHA-256 of the certificate to accept, whatever else is wrong with it; "" = verify against the system's authorities unless Insecure
	Insecure   bool   // take any certificate
	LegacyTLS  bool   // allow TLS 1.0 and RSA key exchange, as ESXi 5.x needs
	Log        *slog.Logger
	Stall      time.Duration // give up on a connection that delivers nothing, or next to nothing, for so long; 0 is 30 s
}

// complete checks cfg and fills in what was left out.
func (cfg Config) complete() (Config, error) {
	if cfg.URL == nil || cfg.URL.Host == "" {
		return cfg, errors.New("no ESXi host given: want https://user@host")
	}
	if cfg.URL.Scheme != "https" {
		return cfg, fmt.Errorf("%s: scheme %q: use https, or the password is sent in the clear", cfg.URL.Host, cfg.URL.Scheme)
	}
	if _, has := cfg.URL.User.Password(); has {
		return cfg, fmt.Errorf("%s: the password belongs in Config.Password: use ParseURL", cfg.URL.Host)
	}
	if cfg.Thumbprint != "" {
		pin, err := normalThumbprint(cfg.Thumbprint)
		if err != nil {
			return cfg, err
		}
		cfg.Thumbprint = pin
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	u := *cfg.URL
	if u.Path == "" || u.Path == "/" {
		u.Path = "/sdk"
	}
	cfg.URL = &u
	return cfg, nil
}

func (cfg Config) user() string {
	if name := cfg.URL.User.Username(); name != "" {
		return name
	}
	return defaultUser
}

// ParseURL reads the address of a host: host, user@host, or
// https://user:password@host:port/sdk. The password is returned apart and is
// not in the URL. It may hold any character but a percent sign that begins a
// valid escape; all up to the last @ is user and password. No error shows it.
func ParseURL(s string) (*url.URL, Secret, error) {
	rest := strings.TrimSpace(s)
	if scheme, after, ok := strings.Cut(rest, "://"); ok && !strings.ContainsAny(scheme, "@:/") {
		if !strings.EqualFold(scheme, "https") {
			return nil, "", fmt.Errorf("scheme %q: use https, or the password is sent in the clear", scheme)
		}
		rest = after
	}
	var user *url.Userinfo
	var password string
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		name, secret, _ := strings.Cut(rest[:at], ":")
		user, password, rest = url.User(unescape(name)), unescape(secret), rest[at+1:]
		if name == "" {
			return nil, "", fmt.Errorf("no user name before @ in the address of %q", rest)
		}
	}
	u, err := parseHost(rest)
	if err != nil {
		return nil, "", err
	}
	u.User = user
	return u, Secret(password), nil
}

// unescape decodes percent escapes, or leaves s alone if it has a bad one: a
// password with a plain % in it is then meant as typed.
func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

func parseHost(s string) (*url.URL, error) {
	u, err := url.Parse("https://" + s)
	if err != nil {
		return nil, fmt.Errorf("address %q: want https://user@host[:port]", noPort(s))
	}
	path := strings.TrimSuffix(u.Path, "/")
	switch {
	case u.Hostname() == "":
		return nil, fmt.Errorf("address %q has no host: want https://user@host[:port]", s)
	case path != "" && path != "/sdk":
		return nil, fmt.Errorf("address %q: path %q: want none or /sdk", s, path)
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, "?#"):
		return nil, fmt.Errorf("address %q: nothing may follow the host", s)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("address %q: port %q: want 1 to 65535", s, port)
		}
	}
	u.Host = strings.TrimSuffix(u.Host, ":")
	u.Path, u.RawPath = "/sdk", ""
	return u, nil
}

// noPort is an address that isn't understood without what follows its host: it
// may be user:password, with the host forgotten.
func noPort(s string) string {
	if host, _, ok := strings.Cut(s, ":"); ok {
		return host + ":***"
	}
	return s
}

// FromEnv reads the variables that govc users have set: GOVC_URL,
// GOVC_USERNAME and GOVC_PASSWORD (both before what GOVC_URL says),
// GOVC_INSECURE, and GOVC_TLS_KNOWN_HOSTS (files of "host:port thumbprint"
// lines). An address, where not empty, is taken in place of GOVC_URL's: of the
// latter the password then counts for the same host only. FromEnv returns false
// when no address is known; the rest is filled in even then.
func FromEnv(getenv func(string) string, address string) (Config, bool, error) {
	cfg := Config{Password: Secret(getenv("GOVC_PASSWORD"))}
	if v := getenv("GOVC_INSECURE"); v != "" {
		insecure, err := strconv.ParseBool(v)
		if err != nil {
			return Config{}, false, fmt.Errorf("GOVC_INSECURE=%q: want true or false", v)
		}
		cfg.Insecure = insecure
	}
	if err := cfg.setAddress(getenv, address); err != nil || cfg.URL == nil {
		return cfg, false, err
	}
	var err error
	if cfg.Thumbprint, err = knownHost(getenv("GOVC_TLS_KNOWN_HOSTS"), cfg.URL); err != nil {
		return Config{}, false, fmt.Errorf("GOVC_TLS_KNOWN_HOSTS: %w", err)
	}
	return cfg, true, nil
}

// setAddress fills in URL, nil where there is none, and the password that comes
// with it.
func (cfg *Config) setAddress(getenv func(string) string, address string) error {
	var env, given *url.URL
	var envPassword, password Secret
	var err error
	if v := getenv("GOVC_URL"); v != "" {
		if env, envPassword, err = ParseURL(v); err != nil {
			return fmt.Errorf("GOVC_URL: %w", err)
		}
		if name := getenv("GOVC_USERNAME"); name != "" {
			env.User = url.User(name)
		}
	}
	if address == "" {
		cfg.URL, cfg.Password = env, cmp.Or(cfg.Password, envPassword)
		return nil
	}
	if given, password, err = ParseURL(address); err != nil {
		return fmt.Errorf("--esxi: %w", err)
	}
	if env == nil || !strings.EqualFold(env.Host, given.Host) {
		env, envPassword = &url.URL{}, ""
	}
	if name := getenv("GOVC_USERNAME"); given.User == nil && name != "" {
		given.User = url.User(name)
	}
	if given.User == nil {
		given.User = env.User
	}
	cfg.URL, cfg.Password = given, cmp.Or(password, cfg.Password, envPassword)
	return nil
}

// knownHost returns the thumbprint that the files in list (separated as in
// PATH) have for u's host, or "". A file that isn't there is not an error, as it
// is none for govc.
func knownHost(list string, u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	for _, name := range filepath.SplitList(list) {
		b, err := ReadSoon(filepath.Clean(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		lines := bufio.NewScanner(bytes.NewReader(b))
		for n := 1; lines.Scan(); n++ {
			host, pin, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
			if !ok || !strings.EqualFold(host, addr) && !strings.EqualFold(host, u.Hostname()) {
				continue
			}
			pin, err := normalThumbprint(pin)
			if err != nil {
				return "", fmt.Errorf("%s:%d: %w", name, n, err)
			}
			return pin, nil
		}
		if err := lines.Err(); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "", nil
}

// maxSoon bounds what is read of a file of keys or known hosts.
const maxSoon = 16 << 20

// ReadSoon reads a small file, or what somebody is writing into a pipe, such as
// a shell's <(…). It doesn't wait for a writer who may never come: a pipe
// without one is empty, as /dev/null is.
func ReadSoon(name string) (_ []byte, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxSoon))
}
