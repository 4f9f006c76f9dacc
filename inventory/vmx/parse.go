package vmx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// Limits on what is read: a .vmx has a few hundred lines; guestinfo keys can
// hold 64 KiB of user data each.
const (
	maxSize     = 8 << 20 // bytes
	maxKeys     = 20_000
	maxProblems = 100
)

// ErrFormat is a file that is no .vmx.
var ErrFormat = errors.New("not a .vmx file")

// encodingLine finds the character set before the lines can be decoded.
var encodingLine = regexp.MustCompile(`(?im)^[ \t]*\.encoding[ \t]*=[ \t]*"?([A-Za-z0-9._-]+)"?[ \t]*\r?$`)

// File is the content of a .vmx.
type File struct {
	// Values are the values by key, keys in lower case, values decoded.
	Values map[string]string
	// Encoding is what .encoding says, or what was guessed.
	Encoding string
	// Problems are lines that contradict others.
	Problems []string
}

// Parse reads a .vmx. The error wraps [ErrFormat] and names the line.
func Parse(b []byte) (File, error) {
	if len(b) > maxSize {
		return File{}, fmt.Errorf("%w: %d bytes, want at most %d", ErrFormat, len(b), maxSize)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return File{}, fmt.Errorf("%w: zero byte at %d (a disk or another binary file?)", ErrFormat, bytes.IndexByte(b, 0))
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	charset, name, err := charsetOf(b)
	if err != nil {
		return File{}, err
	}
	f := File{Values: make(map[string]string), Encoding: name}
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, value, err := parseLine(line, charset)
		if err != nil {
			return File{}, fmt.Errorf("%w: line %d: %w", ErrFormat, i+1, err)
		}
		if old := f.Values[key]; old != "" { // an empty value is as none
			if old != value && value != "" && len(f.Problems) < maxProblems {
				f.Problems = append(f.Problems, fmt.Sprintf("line %d: %s is set twice, to %q and %q", i+1, key, clip(old), clip(value)))
			}
			continue
		}
		if len(f.Values) == maxKeys {
			return File{}, fmt.Errorf("%w: line %d: more than %d keys", ErrFormat, i+1, maxKeys)
		}
		f.Values[key] = value
	}
	return f, nil
}

// charsetOf returns the file's character set. Without .encoding it is UTF-8 if
// the file is valid as that, else windows-1252.
func charsetOf(b []byte) (encoding.Encoding, string, error) {
	m := encodingLine.FindSubmatch(b)
	if m == nil {
		if utf8.Valid(b) {
			return encoding.Nop, "UTF-8", nil
		}
		return charmap.Windows1252, "windows-1252", nil
	}
	name := string(m[1])
	if strings.EqualFold(name, "UTF-8") {
		return encoding.Nop, name, nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, "", fmt.Errorf("%w: .encoding %q: no such character set known; convert the file to UTF-8 and say so in .encoding", ErrFormat, name)
	}
	if canonical, err := htmlindex.Name(e); err == nil && strings.HasPrefix(canonical, "utf-16") {
		return nil, "", fmt.Errorf("%w: .encoding %q: the file is not in it", ErrFormat, name)
	}
	return e, name, nil
}

// parseLine takes key = "value" apart.
func parseLine(line []byte, charset encoding.Encoding) (key, value string, err error) {
	k, v, ok := bytes.Cut(line, []byte("="))
	k, v = bytes.TrimSpace(k), bytes.TrimSpace(v)
	if !ok || len(k) == 0 || bytes.ContainsAny(k, " \t\"") || !utf8.Valid(k) {
		return "", "", fmt.Errorf("want key = \"value\", got %.80q", line)
	}
	key = strings.ToLower(string(k))
	if len(v) > 0 && v[0] == '"' {
		end := bytes.LastIndexByte(v, '"')
		if end == 0 {
			return "", "", fmt.Errorf("value of %.80q has no closing quote", k)
		}
		if rest := bytes.TrimSpace(v[end+1:]); len(rest) > 0 && rest[0] != '#' {
			return "", "", fmt.Errorf("value of %.80q: %.40q after the closing quote", k, rest)
		}
		v = v[1:end]
	}
	return key, unescape(decode(v, charset), charset), nil
}

// decode turns bytes of the file's character set into UTF-8, with U+FFFD for
// what is none.
func decode(b []byte, charset encoding.Encoding) string {
	if out, err := charset.NewDecoder().Bytes(b); err == nil {
		b = out
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// unescape decodes |XX. The character set goes first, since the second byte of
// a Shift_JIS or GBK character may look like a bar; escapes of bytes that are
// not ASCII are decoded by it in their turn.
func unescape(s string, charset encoding.Encoding) string {
	if !strings.Contains(s, "|") {
		return s
	}
	var out strings.Builder
	var high []byte // escaped bytes of unfinished characters
	flush := func() {
		if len(high) > 0 {
			out.WriteString(decode(high, charset))
			high = nil
		}
	}
	for i := 0; i < len(s); {
		if c, ok := escaped(s[i:]); ok {
			i += 3
			if c < utf8.RuneSelf && len(high) == 0 {
				out.WriteByte(c)
			} else {
				high = append(high, c)
			}
			continue
		}
		flush()
		out.WriteByte(s[i])
		i++
	}
	flush()
	return out.String()
}

// escaped decodes the |XX that s begins with.
func escaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '|' {
		return 0, false
	}
	b, err := hex.DecodeString(s[1:3])
	if err != nil {
		return 0, false
	}
	return b[0], true
}
