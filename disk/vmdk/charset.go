package vmdk

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// charset is the encoding that a descriptor's name for it means; nil is UTF-8.
func charset(name string) (encoding.Encoding, error) {
	switch strings.ToLower(name) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil, nil // nil is a value here
	case "windows-1252":
		return charmap.Windows1252, nil
	case "gbk", "windows-936":
		return simplifiedchinese.GBK, nil
	case "big5", "windows-950":
		return traditionalchinese.Big5, nil
	case "shift_jis", "windows-932", "windows-31j":
		return japanese.ShiftJIS, nil
	}
	return nil, fmt.Errorf("unknown encoding %.40q", name)
}

// decode turns a descriptor's bytes into UTF-8. None of the encodings uses the
// codes of quotes and line ends inside a character, so the line that names the
// encoding can be found before it is known.
func decode(b []byte) (string, error) {
	var name string
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(line, []byte("="))
		if ok && bytes.EqualFold(bytes.TrimSpace(key), []byte("encoding")) {
			name = unquote(string(bytes.TrimSpace(value)))
			break
		}
	}
	cs, err := charset(name)
	if err != nil && !ascii(b) {
		return "", err
	}
	if cs != nil {
		if b, err = cs.NewDecoder().Bytes(b); err != nil {
			return "", err
		}
		if bytes.ContainsRune(b, utf8.RuneError) {
			return "", fmt.Errorf("bytes that aren't %s, the encoding it names", name)
		}
	}
	if !utf8.Valid(b) {
		return "", errors.New("bytes that aren't UTF-8, and no encoding named")
	}
	return string(b), nil
}

func ascii(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
}
