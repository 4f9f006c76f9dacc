package esxi

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// legacySuites is what ESXi 5.x offers, and after it what today's hosts do:
// an explicit list replaces Go's own.
func legacySuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
}

// tlsConfig returns the configuration for cfg's host. Go's own verification
// is off in it because a pin must hold for an expired or misnamed certificate
// too; VerifyConnection does all of it. seen gets each thumbprint.
func (cfg Config) tlsConfig(seen func(thumbprint string)) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.LegacyTLS {
		t.MinVersion, t.CipherSuites = tls.VersionTLS10, legacySuites()
	}
	t.InsecureSkipVerify = true
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return fmt.Errorf("%w: the host presented none", ErrCertificate)
		}
		seen(thumbprint(cs.PeerCertificates[0]))
		return cfg.verify(cs.PeerCertificates)
	}
	return t
}

func (cfg Config) verify(chain []*x509.Certificate) error {
	got := thumbprint(chain[0])
	if cfg.Thumbprint != "" {
		if got != cfg.Thumbprint {
			return fmt.Errorf("%w: its SHA-256 thumbprint is %s, pinned is %s: the host's certificate was replaced, or someone is intercepting the connection",
				ErrThumbprint, got, cfg.Thumbprint)
		}
		return nil
	}
	if cfg.Insecure {
		return nil
	}
	opts := x509.VerifyOptions{DNSName: cfg.URL.Hostname(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return fmt.Errorf("%w: %w; its SHA-256 thumbprint is %s", ErrCertificate, err, got)
	}
	return nil
}

func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return colons(sum[:])
}

func colons(b []byte) string {
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = fmt.Sprintf("%02X", v)
	}
	return strings.Join(parts, ":")
}

// normalThumbprint brings a SHA-256 thumbprint into the form that thumbprint
// makes: upper-case hex with colons. Colons and spaces may be left out.
func normalThumbprint(s string) (string, error) {
	s = strings.TrimSpace(s)
	for _, prefix := range []string{"sha256:", "sha-256:", "sha256 fingerprint=", "sha256="} {
		if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			s = s[len(prefix):]
			break
		}
	}
	b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(s))
	switch {
	case err != nil:
		return "", fmt.Errorf("thumbprint %q: want 64 hex digits, colons optional", s)
	case len(b) == 20:
		return "", errors.New("thumbprint has 40 hex digits: that is SHA-1; want the certificate's SHA-256, 64 hex digits")
	case len(b) != sha256.Size:
		return "", fmt.Errorf("thumbprint %q has %d hex digits, want 64 (SHA-256)", s, 2*len(b))
	}
	return colons(b), nil
}
