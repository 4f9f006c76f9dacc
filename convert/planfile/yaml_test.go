package planfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// awkward are texts that have broken some file before.
func awkward() []string {
	return []string{
		"", " ", "a", "plain words", "yes", "No", "null", "~", "1", "1e3", "0x1f", "1_000", "12:30:45", "2026-01-02", ".5", "+1", "<<", "=", "-", "- a", "? a", "a: b", "a #b", "#a",
		"{a}", "[a]", "&a", "*a", "!a", "|", ">", "'a'", `"a"`, `a\nb`, "@a", "%a", "`a", "a:", ":a", "a:b", "a,b", "/dev/sda1", " a", "a ", "\ta", "a\t", "--- a", "...", "---",
		"a\nb", "a\nb\n", "a\n\n", "\n", "\na", " a\nb", "a\n b\n", "a\n\n\nb", "a\r\nb", "a\rb", "a\n\tb", "a \nb", "---\na", "a\n---\nb\n...\n", "a\n\n b\n \n",
		"a\u0092b", "\u0080", "\u0085", "a\u0085b\nc", "\u2028", "a\nb\u2029c", "\ufeff", "\ufeffa\nb", "\ufffe", "\uffff", "\U0001fffe", "\ufdd0", "\x00", "\x01\x1b[2J", "\x7f", "\ufffd",
		"Zürich–東京\u202egnp.exe", "\U0001f600", strings.Repeat("x", 5000), strings.Repeat("é ", 5000), strings.Repeat("\u0092", 3000), strings.Repeat("a\n", 5000),
	}
}

// back writes v as YAML and reads it as sigs.k8s.io/yaml does.
func back(t *testing.T, v any) any {
	t.Helper()
	b, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	y := writer{w: bufio.NewWriter(&out)}
	y.text("v:")
	if err := y.value(decoder(b), 0, inMap); err != nil {
		t.Fatal(err)
	}
	if err := y.w.Flush(); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.UnmarshalStrict(out.Bytes(), &got, func(d *json.Decoder) *json.Decoder { return d }); err != nil {
		t.Fatalf("%v in\n%.2000s", err, out.String())
	}
	return got["v"]
}

// TestEveryText: any text reads back equal, as a value, in a list, in a list
// of maps, and as a key.
func TestEveryText(t *testing.T) {
	t.Parallel()
	for _, s := range awkward() {
		want := map[string]any{
			"text": s, "list": []any{s, []any{s, "end"}, map[string]any{"a": s, "b": []any{s}}, map[string]any{s: s}},
			"map": map[string]any{"k" + s: map[string]any{"x": s, "y": "end"}, s: []any{}}, "none": nil, "no": false, "empty": map[string]any{},
		}
		if diff := cmp.Diff(any(want), back(t, want)); diff != "" {
			t.Errorf("%.60q doesn't read back (-want +got):\n%.2000s", s, diff)
		}
	}
}

// TestNumbers: whole numbers stay whole, to the last digit.
func TestNumbers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	y := writer{w: bufio.NewWriter(&out)}
	y.text("v:")
	if err := y.value(decoder([]byte(`[9223372036854775807,-1,0,1.5,true]`)), 0, inMap); err != nil {
		t.Fatal(err)
	}
	if err := y.w.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "v:\n- 9223372036854775807\n- -1\n- 0\n- 1.5\n- true\n"; out.String() != want {
		t.Errorf("numbers = %q; want %q", out.String(), want)
	}
}

// FuzzText holds that for all texts.
func FuzzText(f *testing.F) {
	for _, s := range awkward() {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // JSON has none of those
		}
		want := map[string]any{"x": a, "y": []any{a, b, map[string]any{"z": b}}, "m": map[string]any{a: b}}
		if diff := cmp.Diff(any(want), back(t, want)); diff != "" {
			t.Errorf("doesn't read back (-want +got):\n%s", diff)
		}
	})
}
