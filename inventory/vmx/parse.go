package vmx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"esxodus/inventory"
)

// Limits on what is read: a .vmx has a few hundred lines; guestinfo keys can
// hold 64 KiB of user data each. No key of VMware's has a tenth of maxKey.
const (
	maxSize     = 8 << 20 // bytes
	maxKeys     = 20_000
	maxKey      = 1024 // bytes
	maxProblems = 100
)

// ErrFormat is a file that is no .vmx.
var ErrFormat = errors.New("not a .vmx file")

// File is the content of a .vmx.
type File struct {
	// Values are the values by key, keys in lower case, values decoded.
	Values map[string]string
	// Encoding is what .encoding says, or what was guessed.
	Encoding string
	// Problems are lines that contradict others.
	Problems []string
	// Notes are what was assumed.
	Notes []string
}

// Parse reads a .vmx. The error wraps [ErrFormat] and names the line.
func Parse(b []byte) (File, error) {
	if len(b) > maxSize {
		return File{}, fmt.Errorf("%w: %d bytes, want at most %d", ErrFormat, len(b), maxSize)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return File{}, fmt.Errorf("%w: zero byte at %d (a disk or another binary file?)", ErrFormat, bytes.IndexByte(b, 0))
	}
	lines, err := split(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if err != nil {
		return File{}, err
	}
	cs, err := charsetOf(lines)
	if err != nil {
		return File{}, err
	}
	f := File{Values: make(map[string]string), Encoding: cs.name}
	if cs.note != "" {
		f.Notes = append(f.Notes, cs.note)
	}
	for _, l := range lines {
		value := cs.decode(l.value)
		if old := f.Values[l.key]; old != "" { // an empty value is as none
			f.twice(l, old, value)
			continue
		}
		if len(f.Values) == maxKeys {
			return File{}, fmt.Errorf("%w: line %d: more than %d keys", ErrFormat, l.number, maxKeys)
		}
		f.Values[l.key] = value
	}
	return f, nil
}

// twice notes a key that has two values.
func (f *File) twice(l line, old, value string) {
	if old == value || value == "" || len(f.Problems) >= maxProblems {
		return
	}
	a, b := fmt.Sprintf("%q", clip(old)), fmt.Sprintf("%q", clip(value))
	if inventory.Secret(l.key) {
		a, b = inventory.Hidden(old), inventory.Hidden(value)
	}
	f.Problems = append(f.Problems, fmt.Sprintf("line %d: %s is set twice, to %s and %s", l.number, clip(l.key), a, b))
}

// line is one key with its value: bytes in the file's character set.
type line struct {
	number int
	key    string // in lower case
	value  []byte
}

// split takes the file apart into lines that hold a key.
func split(b []byte) ([]line, error) {
	var lines []line
	number := 0
	for text := range bytes.Lines(b) {
		number++
		text = bytes.TrimLeft(bytes.TrimRight(text, "\r\n"), blanks)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		key, value, err := parseLine(text)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrFormat, number, err)
		}
		lines = append(lines, line{number, key, value})
	}
	return lines, nil
}

const blanks = " \t"

// parseLine takes key = "value" # comment apart, as VMware's own reader of such
// lines does (DictLL of open-vm-tools): a key ends at a blank, an equals sign or
// a number sign, a value in quotes at the next quote, and one without at a blank
// or a number sign. After it nothing may stand but a comment. Errors show no
// value: it may be a secret.
func parseLine(text []byte) (key string, value []byte, err error) {
	k, rest := cutAt(text, blanks+"=#")
	rest = bytes.TrimLeft(rest, blanks)
	switch {
	case len(k) > maxKey:
		return "", nil, fmt.Errorf("a key of %d bytes, want at most %d", len(k), maxKey)
	case len(k) == 0 || !bytes.HasPrefix(rest, []byte("=")) || !utf8.Valid(k):
		return "", nil, fmt.Errorf("want key = \"value\", got %.40q …", k)
	}
	rest = bytes.TrimLeft(rest[1:], blanks)
	after := "value"
	if bytes.HasPrefix(rest, []byte(`"`)) {
		var ok bool
		after = "closing quote"
		if value, rest, ok = bytes.Cut(rest[1:], []byte(`"`)); !ok {
			return "", nil, fmt.Errorf("value of %.80q has no closing quote", k)
		}
	} else {
		value, rest = cutAt(rest, blanks+"#")
	}
	if rest = bytes.TrimLeft(rest, blanks); len(rest) > 0 && rest[0] != '#' {
		return "", nil, fmt.Errorf("value of %.80q: %d bytes after the %s, which are not a comment", k, len(rest), after)
	}
	return strings.ToLower(string(k)), unescape(value), nil
}

// cutAt cuts b before the first of the ends.
func cutAt(b []byte, ends string) (before, rest []byte) {
	if i := bytes.IndexAny(b, ends); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// unescape decodes |XX, the byte XX. VMware writes a quote, a bar and control
// characters so, byte by byte in the file's character set: also the second byte
// of a Shift_JIS character that looks like a bar.
func unescape(b []byte) []byte {
	at := bytes.IndexByte(b, '|')
	if at < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for at >= 0 {
		out = append(out, b[:at]...)
		if len(b) >= at+3 {
			if n, err := hex.AppendDecode(out, b[at+1:at+3]); err == nil {
				out, b = n, b[at+3:]
				at = bytes.IndexByte(b, '|')
				continue
			}
		}
		out, b = append(out, '|'), b[at+1:]
		at = bytes.IndexByte(b, '|')
	}
	return append(out, b...)
}
