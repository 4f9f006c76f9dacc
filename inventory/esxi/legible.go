package esxi

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
)

// legible is an answer without the characters that XML forbids, which a name
// or note of one VM may bring from its .vmx: a reader of XML refuses the whole
// inventory for one of them. Each becomes U+FFFD.
func legible(body io.ReadCloser) io.ReadCloser {
	clean := transform.Chain(unicode.UTF8.NewDecoder(), runes.Map(forbidden), references{})
	return struct {
		io.Reader
		io.Closer
	}{transform.NewReader(body, clean), body}
}

// forbidden replaces what XML 1.0 has no place for, even when it is escaped.
func forbidden(r rune) rune {
	if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff || r >= 0xd800 && r <= 0xdfff || r > utf8.MaxRune {
		return utf8.RuneError
	}
	return r
}

// references replaces forbidden characters that are given by number: "&#x1b;".
type references struct{ transform.NopResetter }

// longest is the longest reference looked at, "&#x0010FFFF;".
const longest = 12

// Transform implements transform.Transformer.
func (references) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		at := bytes.IndexByte(src[nSrc:], '&')
		if at < 0 {
			at = len(src) - nSrc
		}
		n := copy(dst[nDst:], src[nSrc:nSrc+at])
		if nDst, nSrc = nDst+n, nSrc+n; n < at {
			return nDst, nSrc, transform.ErrShortDst
		}
		rest := src[nSrc:]
		if len(rest) == 0 {
			break
		}
		text, size := reference(rest)
		switch {
		case size == 0 && len(rest) < longest && !atEOF:
			return nDst, nSrc, transform.ErrShortSrc
		case size == 0:
			text, size = "&", 1
		}
		if len(dst)-nDst < len(text) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst, nSrc = nDst+copy(dst[nDst:], text), nSrc+size
	}
	return nDst, nSrc, nil
}

// reference returns what stands for the reference that b begins with, and how
// long it is; 0 if it is none by number, or not whole.
func reference(b []byte) (string, int) {
	end := bytes.IndexByte(b[:min(len(b), longest)], ';')
	if end < 3 || b[1] != '#' {
		return "", 0
	}
	digits, base := string(b[2:end]), 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return "", 0 // the reader of XML says what is wrong
	}
	if n > utf8.MaxRune || forbidden(rune(n)) != rune(n) {
		return string(utf8.RuneError), end + 1
	}
	return string(b[:end+1]), end + 1
}
