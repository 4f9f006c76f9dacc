package fit_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"esxodus/fixtures"
	"esxodus/inventory/fit"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, line, lines, terminal string }{
		{"Büro 1", "Büro 1", "Büro 1", "Büro 1"},
		{" a\tb\r\n\nc ", " a b   c ", "a b; c", " a\tb\\u000d\n\nc "},
		{"\x1b[31mred\x07", "\uFFFD[31mred\uFFFD", "\uFFFD[31mred\uFFFD", `\u001b[31mred\u0007`},
		{"a\u009bb", "a\uFFFDb", "a\uFFFDb", `a\u009bb`},
		{"evil\u202egpj", "evil\uFFFDgpj", "evil\uFFFDgpj", `evil\u202egpj`},
		{"\xff\xfe\uFFFD", "\uFFFD\uFFFD", "\uFFFD\uFFFD", `\xff\xfe` + "\uFFFD"},
		{"", "", "", ""},
	} {
		if got := fit.Line(tt.in); got != tt.line {
			t.Errorf("Line(%q) = %q; want %q", tt.in, got, tt.line)
		}
		if got := fit.Lines(tt.in); got != tt.lines {
			t.Errorf("Lines(%q) = %q; want %q", tt.in, got, tt.lines)
		}
		if got := fit.Terminal(tt.in); got != tt.terminal {
			t.Errorf("Terminal(%q) = %q; want %q", tt.in, got, tt.terminal)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[31m\nb\r\n\xff\u009b\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Line": fit.Line(s), "Lines": fit.Lines(s), "TerminalLine": fit.TerminalLine(s)} {
			acts := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
			if !utf8.ValidString(got) || strings.ContainsFunc(got, acts) {
				t.Errorf("%s(%q) = %q", name, s, got)
			}
		}
		if back, err := strconv.Unquote(`"` + strings.ReplaceAll(fit.TerminalLine(s), `"`, `\"`) + `"`); !strings.Contains(s, `\`) && (err != nil || back != s) {
			t.Errorf("TerminalLine(%q) = %s, which reads as %q, %v", s, fit.TerminalLine(s), back, err)
		}
	})
}

// TestShell gives real shells the words.
func TestShell(t *testing.T) {
	for _, s := range []string{"a=BOND", "v Switch (1)=BOND", `it's`, "$(id)`id`", "a\nb", `back\slash`, "büro", "\xff\x01é'", "", "~", "!x", "a\x7f*", "-n", "a;b&c|d"} {
		for _, c := range []struct{ shell, word string }{
			{"bash", fit.Paste(s)},
			{"bash", fit.Shell(s)},
			{"sh", fit.Shell(s)},
		} {
			out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, c.shell), "-c", "printf %s "+c.word).CombinedOutput()
			if err != nil || string(out) != s {
				t.Errorf("%q is written %s, which %s reads as %q (%v)", s, c.word, c.shell, out, err)
			}
		}
		if strings.ContainsAny(fit.Paste(s), "\n\x01") {
			t.Errorf("Paste(%q) = %q; want one line", s, fit.Paste(s))
		}
	}
}

// A command's first word isn't taken for an assignment.
func TestShellFirst(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, "sh"), "-c", fit.Shell("a=b")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a=b") {
		t.Errorf("%s = %q, %v; want that there is no such command", fit.Shell("a=b"), out, err)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 edits", 1: "1 edit", 2: "2 edits"} {
		if got := fit.Count(n, "edit"); got != want {
			t.Errorf("Count(%d) = %q; want %q", n, got, want)
		}
	}
}
