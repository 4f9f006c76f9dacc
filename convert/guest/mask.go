package guest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What stands before a password: its name, as in fstab's mount options
// (mount.cifs(8), mount.ceph(8)) and in lilo.conf; or a user, as in
// ftp://user:password@host and curlftpfs#user:password@host. What is taken for a
// user has no character that ends a password or follows its name: so a masked
// text has its passwords where the text has them.
const (
	named   = `(\b(?:pass(?:word|wd)?2?|secret)\s*=\s*"?)`
	inUser  = `(\w(?:#|://)[^\s:/@#"=,]*:)`
	numbers = `\(hidden:([0-9]+)\)`
)

// password matches a password with what stands around it. A # is part of it, as
// a comment of fstab fills a whole line.
var password = regexp.MustCompile(`(?i)` + named + `([^,\s"]+)|` + inUser + `([^\s/"]+)(@)`)

// masked matches what stands for one in a masked text.
var masked = regexp.MustCompile(`(?i)` + named + numbers + `|` + inUser + numbers + `(@)`)

// Mask puts "(hidden:N)" in the place of a text's N-th password, so that the
// text can be kept in a plan, and returns the passwords. What is masked already
// stays as it is, with its own numbers as the passwords.
func Mask(text string) (masked string, passwords []string) {
	var out strings.Builder
	done := 0 // bytes of the text that are in out
	for at := 0; at < len(text); {
		part := apart(text[at:])
		if suspect(part) {
			found := password.ReplaceAllStringFunc(part, func(s string) string {
				m := password.FindStringSubmatch(s)
				passwords = append(passwords, m[2]+m[4])
				return fmt.Sprintf("%s(hidden:%d)%s", m[1]+m[3], len(passwords), m[5])
			})
			out.WriteString(text[done:at])
			out.WriteString(found)
			done = at + len(part)
		}
		at += len(part)
	}
	if done == 0 {
		return text, nil
	}
	out.WriteString(text[done:])
	return out.String(), passwords
}

// apart is the beginning of a text up to the first line that has nothing to do with the
// one before: a password stands on its name's line, but for lines that end around the
// equals sign.
func apart(text string) string {
	const space = " \t\n\f\r" // as \s has it
	for at := 0; ; {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return text
		}
		line := strings.TrimRight(text[at:at+n], space)
		next := strings.TrimLeft(text[at+n:], space)
		at = len(text) - len(next)
		if !strings.HasSuffix(line, "=") && !strings.HasPrefix(next, "=") {
			return text[:at]
		}
	}
}

// suspect reports whether there may be a password in a text: most files have none, and a
// regular expression takes its time to say so.
func suspect(text string) bool {
	if !strings.Contains(text, "=") {
		return strings.Contains(text, "@")
	}
	upper := strings.ToUpper(text) // also ſ, which (?i) takes for an s
	return strings.Contains(text, "@") || strings.Contains(upper, "PASS") || strings.Contains(upper, "SECRET")
}

// Unmask puts the passwords back. A number for which there is no password is an
// error.
func Unmask(text string, passwords []string) (string, error) {
	var err error
	out := masked.ReplaceAllStringFunc(text, func(s string) string {
		m := masked.FindStringSubmatch(s)
		n, e := strconv.Atoi(m[2] + m[4])
		if e != nil || n < 1 || n > len(passwords) {
			err = fmt.Errorf("password %s of a text that has %d passwords", m[2]+m[4], len(passwords))
			return s
		}
		return m[1] + m[3] + passwords[n-1] + m[5]
	})
	return out, err
}
