// Package conf reads the configuration files of guests. Each parser is a function
// of hostile bytes, and has a fuzz test.
package conf

import (
	"slices"
	"strings"

	"esxodus/inventory/fit"
)

// Clean makes what a guest wrote fit for a line of a plan: valid, printable,
// and at most 512 bytes.
func Clean(s string) string {
	s = fit.Line(s)
	const limit = 512
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// Set sorts names, makes them clean and drops doubles and empty ones.
func Set(names []string) []string {
	var out []string
	for _, n := range names {
		if n != "" {
			out = append(out, Clean(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Lines yields the lines of a configuration file without comments that fill a
// whole line and without blank ones; a backslash at a line's end joins it with
// the next, unless it is a comment's.
func Lines(b []byte) []string {
	var out []string
	var joined strings.Builder
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if joined.Len() == 0 && strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if head, ok := strings.CutSuffix(line, `\`); ok {
			joined.WriteString(head + " ")
			continue
		}
		joined.WriteString(line)
		line = strings.TrimSpace(joined.String())
		joined.Reset()
		if line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	if line := strings.TrimSpace(joined.String()); line != "" && line[0] != '#' {
		out = append(out, line)
	}
	return out
}

// Assignments reads the KEY=value lines of a file in the shell's syntax, as
// os-release, /etc/default/grub and ifcfg files are. The last one counts, but
// KEY+=value adds. Nothing is expanded.
func Assignments(b []byte) map[string]string {
	values := map[string][]byte{} // which += makes longer in place
	for _, line := range Lines(b) {
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			continue
		}
		key, add := strings.CutSuffix(strings.TrimSpace(key), "+")
		if key == "" || strings.ContainsAny(key, " \t'\"") {
			continue
		}
		if !add {
			values[key] = nil
		}
		values[key] = append(values[key], unquote(strings.TrimSpace(value))...)
	}
	out := make(map[string]string, len(values))
	for key, value := range values {
		out[key] = string(value)
	}
	return out
}

// unquote takes the shell's quotes off the first word of s.
func unquote(s string) string {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			out.WriteByte(s[i])
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == ' ' || c == '\t' || c == '#' || c == ';'):
			return out.String()
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// Sections reads an INI file: systemd's units, NetworkManager's keyfiles. Keys
// may repeat.
func Sections(b []byte) map[string]map[string][]string {
	out := map[string]map[string][]string{}
	name := ""
	for _, line := range Lines(b) {
		if line[0] == ';' {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			name = line[1 : len(line)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if out[name] == nil {
			out[name] = map[string][]string{}
		}
		key = strings.TrimSpace(key)
		out[name][key] = append(out[name][key], strings.TrimSpace(value))
	}
	return out
}
