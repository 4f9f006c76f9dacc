package esxi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDial(t *testing.T) {
	s := newSim(t, nil)
	c := dialSim(t, s)
	if got := c.Thumbprint(); len(got) != 95 {
		t.Errorf("Thumbprint = %q; want 32 bytes in hex with colons", got)
	}
	pin := c.Thumbprint()
	tests := []struct {
		name   string
		change func(*Config)
		want   error
		text   string
	}{
		{name: "pin", change: func(c *Config) { c.Insecure, c.Thumbprint = false, pin }},
		{name: "pin, lower case, no colons", change: func(c *Config) {
			c.Insecure, c.Thumbprint = false, strings.ToLower(strings.ReplaceAll(pin, ":", ""))
		}},
		{name: "wrong pin", change: func(c *Config) { c.Thumbprint = strings.Repeat("AB", 32) }, want: ErrThumbprint, text: pin},
		{name: "unknown authority", change: func(c *Config) { c.Insecure = false }, want: ErrCertificate, text: pin},
		{name: "wrong password", change: func(c *Config) { c.Password = "wrong-secret" }, want: ErrLogin, text: "wrong user name or password"},
		{name: "SHA-1 pin", change: func(c *Config) { c.Thumbprint = strings.Repeat("AB", 20) }, text: "SHA-1"},
		{name: "legacy TLS allowed", change: func(c *Config) { c.LegacyTLS = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := s.cfg
			tt.change(&cfg)
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				defer c.Close(t.Context())
			}
			if (err == nil) != (tt.want == nil && tt.text == "") || !errors.Is(err, tt.want) && tt.want != nil {
				t.Fatalf("Dial error = %v; want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Dial error = %q; want %q in it", err, tt.text)
			}
			if err != nil && (strings.Contains(err.Error(), simPassword) || strings.Contains(err.Error(), "wrong-secret")) {
				t.Errorf("Dial error %q shows the password", err)
			}
		})
	}
}

func TestDialUnreachable(t *testing.T) {
	u, _, err := ParseURL("root@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, Config{URL: u}); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a cancelled context = %v; want %v", err, context.Canceled)
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		in, want, password, err string
	}{
		{in: "esx1", want: "https://esx1/sdk"},
		{in: "root@esx1", want: "https://root@esx1/sdk"},
		{in: "root@esx1:8443", want: "https://root@esx1:8443/sdk"},
		{in: "https://root@esx1/sdk/", want: "https://root@esx1/sdk"},
		{in: "https://root:plain@10.0.0.1:443/sdk", want: "https://root@10.0.0.1:443/sdk", password: "plain"},
		{in: "https://root:p%40ss@esx1", want: "https://root@esx1/sdk", password: "p@ss"},
		{in: "https://root:p@s:s/w'rd@esx1", want: "https://root@esx1/sdk", password: "p@s:s/w'rd"},
		{in: "https://root:100%@esx1", want: "https://root@esx1/sdk", password: "100%"},
		{in: "root:x://y@esx1", want: "https://root@esx1/sdk", password: "x://y"},
		{in: "root@[fe80::1]:444", want: "https://root@[fe80::1]:444/sdk"},
		{in: "root@[::1]", want: "https://root@[::1]/sdk"},
		{in: "http://root@esx1", err: "use https"},
		{in: "https://root:sesame@esx1/ui", err: `path "/ui"`},
		{in: "https://root:sesame@esx1?x=1", err: "nothing may follow"},
		{in: "root:sesame@", err: "has no host"},
		{in: ":sesame@esx1", err: "no user name"},
		{in: "root:sesame@esx1:99999", err: "port"},
		{in: "root:sesame@es x1", err: "want https://"},
		{in: "", err: "has no host"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			u, password, err := ParseURL(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "sesame") {
					t.Errorf("ParseURL(%q) = %v; want %q in the error and no password", tt.in, err, tt.err)
				}
				return
			}
			if err != nil || u.String() != tt.want || password.Reveal() != tt.password {
				t.Errorf("ParseURL(%q) = %v, %q, %v; want %s, %q", tt.in, u, password.Reveal(), err, tt.want, tt.password)
			}
		})
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"esx1", "https://root:p@s:s@[::1]:443/sdk", "a@b@c:1", "%", "://", "https://@/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, _, err := ParseURL(s)
		if err != nil {
			return
		}
		if _, has := u.User.Password(); has || u.Hostname() == "" || u.Scheme != "https" || u.Path != "/sdk" {
			t.Errorf("ParseURL(%q) = %v", s, u)
		}
		if again, err := url.Parse(u.String()); err != nil || again.Host != u.Host {
			t.Errorf("ParseURL(%q) = %v, which parses as %v, %v", s, u, again, err)
		}
	})
}

func TestFromEnv(t *testing.T) {
	pin := strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("other:443 nonsense\nesx1:443 "+pin+"\nold:443 "+strings.Repeat("AB", 20)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		env  map[string]string
		addr string
		want string // user@host password insecure pin
		err  string
	}{
		{name: "nothing", want: "<nil>  false "},
		{name: "password without URL", env: map[string]string{"GOVC_PASSWORD": "x"}, want: "<nil> x false "},
		{name: "all in the URL", env: map[string]string{"GOVC_URL": "https://me:pw@esx1/sdk"}, want: "https://me@esx1/sdk pw false "},
		{
			name: "variables come first",
			env:  map[string]string{"GOVC_URL": "me:pw@esx1", "GOVC_USERNAME": "you", "GOVC_PASSWORD": "p/w", "GOVC_INSECURE": "1"},
			want: "https://you@esx1/sdk p/w true ",
		},
		{
			name: "known hosts", env: map[string]string{"GOVC_URL": "esx1", "GOVC_TLS_KNOWN_HOSTS": "/does/not/exist:" + known},
			want: "https://esx1/sdk  false " + pin,
		},
		{
			name: "another host's password and pin don't count", addr: "https://root@esx2",
			env: map[string]string{"GOVC_URL": "https://me:pw@esx1", "GOVC_TLS_KNOWN_HOSTS": known}, want: "https://root@esx2/sdk  false ",
		},
		{
			name: "the same host's do", addr: "ESX1",
			env: map[string]string{"GOVC_URL": "https://me:pw@esx1", "GOVC_TLS_KNOWN_HOSTS": known}, want: "https://me@ESX1/sdk pw false " + pin,
		},
		{
			name: "an address alone", addr: "https://root:own@esx1",
			env: map[string]string{"GOVC_USERNAME": "you", "GOVC_PASSWORD": "x", "GOVC_TLS_KNOWN_HOSTS": known}, want: "https://root@esx1/sdk own false " + pin,
		},
		{name: "a bad address", addr: "ftp://x", err: "--esxi: scheme"},
		{name: "SHA-1", env: map[string]string{"GOVC_URL": "old", "GOVC_TLS_KNOWN_HOSTS": known}, err: "known_hosts:3: thumbprint has 40 hex digits"},
		{name: "bad insecure", env: map[string]string{"GOVC_INSECURE": "maybe"}, err: `GOVC_INSECURE="maybe"`},
		{name: "bad URL", env: map[string]string{"GOVC_URL": "http://me:sesame@x"}, err: "GOVC_URL: scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, ok, err := FromEnv(func(k string) string { return tt.env[k] }, tt.addr)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("FromEnv error = %v; want %q", err, tt.err)
				}
				return
			}
			got := fmt.Sprintf("%v %s %t %s", cfg.URL, cfg.Password.Reveal(), cfg.Insecure, cfg.Thumbprint)
			if err != nil || got != tt.want || ok != (cfg.URL != nil) {
				t.Errorf("FromEnv = %s, %t, %v; want %s", got, ok, err, tt.want)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	s := Secret("sesame")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "cfg", Config{Password: s})
	json, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		s.String(), fmt.Sprintf("%v %s %q %x %+v %#v %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v %#v", Config{Password: s}, Config{Password: s}),
		string(json), log.String(), fmt.Sprint(fmt.Errorf("x: %v", s)),
	} {
		if strings.Contains(got, "sesame") || !strings.Contains(got, "***") || strings.Contains(got, fmt.Sprintf("%x", "sesame")) {
			t.Errorf("a secret prints as %q", got)
		}
	}
}
