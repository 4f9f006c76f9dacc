// Package fit makes what others wrote fit for where it goes: a line of a plan, a
// terminal, a shell. Names and messages come from guests, hosts and programs;
// none of them may act on what shows them, or be taken for more than they are.
package fit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes text fit for one line of a plan, a log or an error: tabs and line
// ends are blanks; the other control characters, those that turn text around and
// what isn't UTF-8 are U+FFFD.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// Lines makes one line of several, as of a program's last words.
func Lines(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(Line(line)); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// Terminal makes text fit for a terminal. Nothing of it is lost: all but graphic
// characters, tabs and line ends are escaped as in Go.
func Terminal(s string) string {
	var out strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, s[0])
		case r == '\n' || r == '\t' || unicode.IsGraphic(r):
			out.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		s = s[n:]
	}
	return out.String()
}

// TerminalLine is [Terminal] on one line.
func TerminalLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(Terminal(s))
}
