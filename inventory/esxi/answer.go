package esxi

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// plain asks for an answer as the host has it, and for none out of a cache.
func plain(h http.Header) {
	h.Set("Accept-Encoding", "identity")
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
}

// asStored checks that an answer is as the host has it: not compressed, not
// in parts, not out of a cache.
func asStored(res *http.Response) error {
	for _, codings := range res.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(codings, ",") {
			if c := strings.TrimSpace(coding); c != "" && !strings.EqualFold(c, "identity") {
				return fmt.Errorf("%w: its Content-Encoding is %.40q, asked for identity", ErrProtocol, c)
			}
		}
	}
	for _, kind := range res.Header.Values("Content-Type") {
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(kind)), "multipart/") {
			return fmt.Errorf("%w: its Content-Type is %.60q, asked for one range of bytes", ErrProtocol, kind)
		}
	}
	for _, age := range res.Header.Values("Age") {
		if age = strings.TrimSpace(age); age != "" && strings.Trim(age, "0") != "" {
			return fmt.Errorf("%w: it comes from a cache (Age: %.20q)", ErrProtocol, age)
		}
	}
	for _, w := range res.Header.Values("Warning") {
		if stalePattern.MatchString(w) {
			return fmt.Errorf("%w: it is stale, or was changed on the way (Warning: %.60q)", ErrProtocol, w)
		}
	}
	return nil
}

// stalePattern matches a Warning header (RFC 7234) of a stale answer, or one that
// was transformed.
var stalePattern = regexp.MustCompile(`(^|,) *(11[0-3]|214) `)

// inBetween ends errors about answers that no ESXi host gives.
const inBetween = "most likely something in between changes what the host sends (a proxy, a cache, a firewall that looks into TLS): reach the host without it, then go on"

// explain adds to an error about an answer what the cause may be.
func explain(err error) error {
	switch {
	case errors.Is(err, ErrProtocol):
		return fmt.Errorf("%w; %s", err, inBetween)
	case errors.Is(err, ErrChanged):
		return fmt.Errorf("%w; if nobody changed it, a cache in between answers with another copy", err)
	}
	return err
}

// named adds to an error what the answer says of those that passed it on.
func named(res *http.Response, err error) error {
	if via := res.Header.Get("Via"); via != "" {
		return fmt.Errorf("%w (Via: %.60q)", err, via)
	}
	return err
}

var rangePattern = regexp.MustCompile(`^(?i:bytes) ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})$`)

// contentRange checks that res is exactly the bytes first to last, as far as
// its headers go, and returns the file's size.
func contentRange(res *http.Response, first, last int64) (int64, error) {
	if res.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("%w: status %d with Content-Type %.60q for bytes %d to %d: what answers ignores Range: it sends the whole file, or a page of its own",
			ErrProtocol, res.StatusCode, res.Header.Get("Content-Type"), first, last)
	}
	header := strings.Join(res.Header.Values("Content-Range"), " and ")
	var n [3]int64
	m := rangePattern.FindStringSubmatch(header)
	for i := range n {
		var err error
		if m == nil {
			err = strconv.ErrSyntax
		} else {
			n[i], err = strconv.ParseInt(m[i+1], 10, 64)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: Content-Range %.60q, asked for bytes %d to %d", ErrProtocol, header, first, last)
		}
	}
	if n[0] != first || n[1] != last || n[2] <= last {
		return 0, fmt.Errorf("%w: Content-Range %.60q, asked for bytes %d to %d", ErrProtocol, header, first, last)
	}
	if want := last - first + 1; res.ContentLength >= 0 && res.ContentLength != want {
		return 0, fmt.Errorf("%w: Content-Length %d, want %d for bytes %d to %d", ErrProtocol, res.ContentLength, want, first, last)
	}
	return n[2], nil
}

// version is what tells one state of a file from another. The marks are as the
// host sends them, "" where it sends none.
type version struct {
	size        int64
	etag, mtime string
}

func versionOf(res *http.Response, size int64) version {
	mark := func(name string) string { return strings.Join(res.Header.Values(name), " and ") }
	return version{size: size, etag: mark("ETag"), mtime: mark("Last-Modified")}
}

// String is the version in words, for a later comparison and for people.
func (v version) String() string {
	return fmt.Sprintf("%d bytes, ETag %s, last modified %s", v.size, orNone(v.etag), orNone(v.mtime))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// same tells how now differs from was. A mark that only one of them has isn't
// compared.
func (was version) same(now version) error {
	switch {
	case now.size != was.size:
		return fmt.Errorf("%w: it had %d bytes and has %d", ErrChanged, was.size, now.size)
	case was.etag == "" || now.etag == "" || was.etag == now.etag:
	case weak(was.etag) != weak(now.etag) && opaque(was.etag) == opaque(now.etag):
		return fmt.Errorf("%w: its ETag %.80s was %.80s: something in between changes what is sent", ErrProtocol, now.etag, was.etag)
	default:
		return fmt.Errorf("%w: its ETag was %.80s and is %.80s", ErrChanged, was.etag, now.etag)
	}
	if was.mtime != "" && now.mtime != "" && now.mtime != was.mtime {
		return fmt.Errorf("%w: last modified %.40s, but %.40s before", ErrChanged, now.mtime, was.mtime)
	}
	return nil
}

func weak(etag string) bool     { return strings.HasPrefix(etag, "W/") }
func opaque(etag string) string { return strings.TrimPrefix(etag, "W/") }

// marked reports whether anything but the size tells the file's state.
func (was version) marked() bool { return was.etag != "" || was.mtime != "" }

// lacks tells which mark of the answers before is missing in now: then not the
// same one answers.
func (was version) lacks(now version) error {
	if name, mark := was.beyond(now); mark != "" {
		return fmt.Errorf("%w: it has no %s, but earlier answers had (%.80s)", ErrProtocol, name, mark)
	}
	return nil
}

// exceeds tells which mark of now is missing in the answers before: some of
// them may not be the host's.
func (now version) exceeds(was version) error {
	if name, mark := now.beyond(was); mark != "" {
		return fmt.Errorf("%w: it has the %s %.80s, but earlier answers had none", ErrProtocol, name, mark)
	}
	return nil
}

// beyond returns a mark of v's that other has not.
func (v version) beyond(other version) (name, mark string) {
	switch {
	case v.etag != "" && other.etag == "":
		return "ETag", v.etag
	case v.mtime != "" && other.mtime == "":
		return "Last-Modified", v.mtime
	}
	return "", ""
}
