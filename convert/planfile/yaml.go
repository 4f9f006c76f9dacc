package planfile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// writer turns JSON, token by token, into YAML in block style. YAML's own
// writers refuse or change some characters; this one spells what isn't plainly
// printable, so that no text can break the file.
type writer struct {
	w *bufio.Writer // keeps its first error
}

func (y *writer) text(s string) { _, _ = y.w.WriteString(s) } // Flush returns the error

// place says what stands before a value on its line.
type place bool

const (
	inMap  place = false // "key:"
	inList place = true  // "-"
)

// longKey is where a key stops being a simple one, which YAML bounds.
const longKey = 200

// key reads and writes a key, up to its colon.
func (y *writer) key(dec *json.Decoder, indent int) (string, error) {
	t, err := dec.Token()
	if err != nil {
		return "", err
	}
	key, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%v is not a key", t)
	}
	text := key
	if !plain(key) {
		text = quote(key)
	}
	if len(text) > longKey {
		text = "? " + text + "\n" + strings.Repeat(" ", indent)
	}
	y.text(text + ":")
	return key, nil
}

// value writes the next value of dec. indent is that of the map or list that
// it is in.
func (y *writer) value(dec *json.Decoder, indent int, at place) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		if !dec.More() {
			_, err := dec.Token()
			y.text(" " + map[json.Delim]string{'{': "{}", '[': "[]"}[t] + "\n")
			return err
		}
		if t == '{' {
			return y.entries(dec, indent, at)
		}
		return y.items(dec, indent, at)
	case string:
		y.scalar(t, indent)
	case nil:
		y.text(" null\n")
	default: // a number or a boolean
		y.text(fmt.Sprintf(" %v\n", t))
	}
	return nil
}

// entries writes a map. In a list its first key stands beside the dash.
func (y *writer) entries(dec *json.Decoder, indent int, at place) error {
	first := " "
	if at == inMap {
		first = "\n" + strings.Repeat(" ", indent+2)
	}
	for dec.More() {
		y.text(first)
		first = strings.Repeat(" ", indent+2)
		if _, err := y.key(dec, indent+2); err != nil {
			return err
		}
		if err := y.value(dec, indent+2, inMap); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// items writes a list: the dashes below the key, or one step in where the list
// is in a list.
func (y *writer) items(dec *json.Decoder, indent int, at place) error {
	if at == inList {
		indent += 2
	}
	y.text("\n")
	for dec.More() {
		y.text(strings.Repeat(" ", indent) + "-")
		if err := y.value(dec, indent, inList); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// scalar writes a text in the form that reads best: as it is, as a block of
// lines, or in quotes.
func (y *writer) scalar(s string, indent int) {
	switch {
	case plain(s):
		y.text(" " + s + "\n")
	case block(s):
		y.text(" |")
		if body := strings.TrimRight(s, "\n"); body == s {
			y.text("-")
		} else if body+"\n" != s {
			y.text("+")
		}
		y.text("\n")
		for line := range strings.Lines(s) {
			if line != "\n" {
				y.text(strings.Repeat(" ", indent+2))
			}
			y.text(line)
		}
		if !strings.HasSuffix(s, "\n") {
			y.text("\n")
		}
	default:
		y.text(" " + quote(s) + "\n")
	}
}

var (
	// plainText is what no reader of YAML takes for anything but a text, apart
	// from the words below: it begins with a letter or a path's slash.
	plainText = regexp.MustCompile(`^[A-Za-z/](?:[A-Za-z0-9 _./()+=@,%-]|:[A-Za-z0-9/_.-])*$`)
	// reserved are YAML's words for true, false and null, of all versions.
	reserved = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

func plain(s string) bool {
	return len(s) <= 1000 && plainText.MatchString(s) && !strings.HasSuffix(s, " ") && !reserved.MatchString(s)
}

// block reports whether s can stand as lines of its own, each as it is.
func block(s string) bool {
	if !strings.Contains(s, "\n") || s[0] == '\n' || s[0] == ' ' || s[0] == '\t' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !legible(r) })
}

// legible reports whether a reader of YAML takes r as it is, in a text that is
// one line: no control character, no line break that only some know, no mark
// of byte order, nothing outside of Unicode's characters.
func legible(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff, r == utf8.RuneError:
		return false
	case r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
		return false
	}
	return true
}

// quote writes s between double quotes on one line.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case legible(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
