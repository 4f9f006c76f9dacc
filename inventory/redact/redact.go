// Package redact takes passwords out of what is shown, logged or kept: those in
// addresses, wherever in a text they stand, and those that are known.
package redact

import (
	"cmp"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hidden stands for a password.
const hidden = "***"

var (
	// scheme://user:password@, also with one slash, as path.Clean leaves it. A
	// password may hold slashes and @.
	withScheme = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*:/+[^\s/:@"']*:)([^\s"']+)(@)`)
	// user:password@host
	withoutScheme = regexp.MustCompile(`(^|[\s"'=(])([\w.+-]+:)([^\s/:@"'][^\s/@"']*)(@[\w\[])`)
	// ?password=…, &token=…
	inQuery = regexp.MustCompile(`(?i)([?&;][a-z_.-]*(?:pass|passwd|password|pwd|pw|secret|token|apikey|api_key|credential)[a-z_.-]*=)[^&;\s"']+`)
	// host:443/… of an address without a user, which has an @ further on
	port = regexp.MustCompile(`^[0-9]{1,5}/`)
)

// Text returns s without the passwords of addresses in it, and without those
// that are known.
func Text(s string, known ...string) string {
	for _, k := range known {
		s = strings.ReplaceAll(s, k, hidden)
	}
	s = withScheme.ReplaceAllStringFunc(s, func(m string) string {
		parts := withScheme.FindStringSubmatch(m)
		if port.MatchString(parts[2]) {
			return m
		}
		return parts[1] + hidden + parts[3]
	})
	s = withoutScheme.ReplaceAllString(s, "${1}${2}"+hidden+"${4}")
	return inQuery.ReplaceAllString(s, "${1}"+hidden)
}

// Known returns the passwords in addresses, in every form in which an error may
// show them, for [Text] and [Writer]. In an address all between the user's name
// and the last @ is the password; what has none adds nothing.
func Known(addresses ...string) []string {
	var out []string
	for _, a := range addresses {
		for _, pw := range passwords(a) {
			plain := pw
			if u, err := url.PathUnescape(pw); err == nil {
				plain = u
			}
			for _, form := range []string{pw, plain} {
				quoted := strconv.Quote(form)
				out = append(out, form, quoted[1:len(quoted)-1], path.Clean(form), url.PathEscape(form), url.QueryEscape(form), url.UserPassword("", form).String()[1:])
			}
		}
	}
	const least = 3 // less is found by where it stands, or else every other word would go
	out = slices.DeleteFunc(out, func(s string) bool { return len(s) < least })
	// The longest first: it may hold another.
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(out)
}

// passwords are those of one address.
func passwords(address string) []string {
	var out []string
	_, rest, hasScheme := strings.Cut(address, "://")
	if !hasScheme {
		rest = address
	}
	user, at := rest, strings.LastIndexByte(rest, '@')
	if at >= 0 {
		user = rest[:at]
	}
	name, pw, colon := strings.Cut(user, ":")
	if at >= 0 && colon && pw != "" && !strings.ContainsAny(name, "/@[ ") && !port.MatchString(pw) {
		out = append(out, pw)
	}
	for _, m := range inQuery.FindAllStringSubmatchIndex(address, -1) {
		out = append(out, address[m[3]:m[1]])
	}
	return out
}

// Writer returns a writer that passes on to w what [Text] makes of it. A write
// is one text: what is written line by line is looked at line by line.
func Writer(w io.Writer, known ...string) io.Writer { return &writer{w, known} }

type writer struct {
	w     io.Writer
	known []string
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.w, Text(string(p), w.known...)); err != nil {
		return 0, err
	}
	return len(p), nil
}
