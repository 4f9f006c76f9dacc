package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// secretName is what a setting, an attribute or an element is called that holds a
// secret. "passed" isn't one.
// Its beginning is left to who looks: to look for it anywhere takes ten times as long.
const secretName = `(?:passwd|password|passphrase|passcode|pwd|secret|token|psk|api[_-]?key|private[_-]?key|credential)[a-z0-9_.:-]*|\bpass`

var (
	// password=… and password: …, to its closing quote, or, without one, to the end of the line
	assigned = regexp.MustCompile(`(?i)((?:` + secretName + `)["']?[ \t]*[:=][ \t]*)("[^"\n]*"|'[^'\n]*'|[^"'\s][^"'\n\r<>]*)`)
	element  = regexp.MustCompile(`(?i)(<[a-z0-9_.:-]*(?:` + secretName + `)(?:\s[^<>]*)?>)[^<]+(<)`)
	named    = regexp.MustCompile(`(?i)^[a-z0-9_.:-]*(?:` + secretName + `)$`)
	// as OpenSSH, GnuPG and OpenSSL write keys
	privateKey = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----).*?(-----END|\z)`)
	// crypt(5)
	hash = regexp.MustCompile(`\$(?:[0-9][a-z]?|y|gy|sha1|md5)\$[./A-Za-z0-9$,=+-]{8,}`)
	// Authorization: Bearer …
	bearer = regexp.MustCompile(`(?i)(authorization[ \t]*:[ \t]*)[^\r\n"']+`)
)

// Record returns s without what may be a secret, for a text that is handed to others:
// beside what [Text] takes out, settings, attributes and elements whose name says that
// they hold one, private keys and hashes of passwords. It takes out too much rather
// than too little: without quotes all to the end of the line.
func Record(s string, known ...string) string {
	s = Text(s, known...)
	s = privateKey.ReplaceAllString(s, "${1}"+hidden+"${2}")
	s = element.ReplaceAllString(s, "${1}"+hidden+"${2}")
	s = assigned.ReplaceAllStringFunc(s, func(m string) string {
		parts := assigned.FindStringSubmatch(m)
		quote := ""
		if strings.ContainsAny(parts[2][:1], `"'`) {
			quote = parts[2][:1]
		}
		return parts[1] + quote + hidden + quote
	})
	s = bearer.ReplaceAllString(s, "${1}"+hidden)
	return hash.ReplaceAllString(s, hidden)
}

// JSON returns a text of JSON values, one after the other, with [Record] made of each
// string in it. What is under a name that says that it is a secret is taken out whole,
// and so are bytes that are no text (a member "oldBytes", "newBytes"). A value is on one
// line. What can't be read as JSON, such as the rest of a file that is cut off, is left
// out, and the text says so.
func JSON(text []byte, known ...string) []byte {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		if err == nil {
			err = enc.Encode(hide(v, known))
		}
		if err != nil {
			out.WriteString("(what follows is no JSON, and left out)\n")
			return out.Bytes()
		}
	}
}

// hide takes the secrets out of a value that JSON holds.
func hide(v any, known []string) any {
	switch v := v.(type) {
	case string:
		return Record(v, known...)
	case []any:
		for i := range v {
			v[i] = hide(v[i], known)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			text, isText := inner.(string)
			switch {
			case inner != nil && named.MatchString(name):
				if _, isBool := inner.(bool); !isBool {
					inner = hidden
				}
			case isText && (name == "oldBytes" || name == "newBytes"):
				inner = fmt.Sprintf("(%d characters of base64 are left out)", len(text))
			default:
				inner = hide(inner, known)
			}
			out[Record(name, known...)] = inner
		}
		return out
	}
	return v
}
