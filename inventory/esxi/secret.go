package esxi

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a Secret prints as.
const hidden = "***"

// Secret is a password or passphrase. However it is printed, marshalled or
// logged, it shows as "***".
type Secret string

// Reveal returns the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String returns "***".
func (Secret) String() string { return hidden }

// GoString returns "***".
func (Secret) GoString() string { return hidden }

// Format writes "***" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) {
	// A fmt.State has no way to report a failed write, nor has Format.
	_, _ = io.WriteString(f, hidden)
}

// MarshalText returns "***", for JSON, YAML and flags.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON returns "***" as JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue returns "***".
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
