package guest

import (
	"fmt"
	"regexp"
	"strconv"
)

// password matches the value of a password: in fstab's mount options
// (mount.cifs(8)) and in lilo.conf.
var password = regexp.MustCompile(`(?i)(\bpass(?:word|wd)?2?\s*=\s*"?)([^,\s"#]+)`)

// masked matches what stands for one in a masked text.
var masked = regexp.MustCompile(`(?i)(\bpass(?:word|wd)?2?\s*=\s*"?)\(hidden:([0-9]+)\)`)

// Mask puts "(hidden:N)" in the place of a text's N-th password, so that the
// text can be kept in a plan, and returns the passwords. What is masked already
// stays as it is, with its own numbers as the passwords.
func Mask(text string) (masked string, passwords []string) {
	masked = password.ReplaceAllStringFunc(text, func(s string) string {
		m := password.FindStringSubmatch(s)
		passwords = append(passwords, m[2])
		return fmt.Sprintf("%s(hidden:%d)", m[1], len(passwords))
	})
	return masked, passwords
}

// Unmask puts the passwords back. A number that there is no password of is an
// error.
func Unmask(text string, passwords []string) (string, error) {
	var err error
	out := masked.ReplaceAllStringFunc(text, func(s string) string {
		m := masked.FindStringSubmatch(s)
		n, e := strconv.Atoi(m[2])
		if e != nil || n < 1 || n > len(passwords) {
			err = fmt.Errorf("password %s of a text that has %d", m[2], len(passwords))
			return s
		}
		return m[1] + passwords[n-1]
	})
	return out, err
}
