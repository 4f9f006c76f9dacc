package guest

import (
	"fmt"
	"regexp"
	"strconv"
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
	masked = password.ReplaceAllStringFunc(text, func(s string) string {
		m := password.FindStringSubmatch(s)
		passwords = append(passwords, m[2]+m[4])
		return fmt.Sprintf("%s(hidden:%d)%s", m[1]+m[3], len(passwords), m[5])
	})
	return masked, passwords
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
