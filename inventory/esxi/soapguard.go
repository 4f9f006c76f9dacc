package esxi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of one SOAP answer. A page of 100 VMs is under 10 MiB, of some 250,000
// elements 20 deep, and one more for each snapshot of a chain; its longest text is
// an annotation or a value of the .vmx.
const (
	maxAnswer   = 64 << 20 // bytes
	maxText     = 1 << 20  // bytes in one element, and in one tag
	maxElements = 2 << 20
	maxDepth    = 1000 // the decoder recurses
)

// bounded is a transport for SOAP: an answer is as the host has it, keeps to
// the bounds above, and is there within limit.
type bounded struct {
	http.RoundTripper
	limit func() time.Duration
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	body := &boundedBody{ctx: ctx, cancel: cancel, guard: guard{left: maxAnswer}}
	limit := b.limit()
	body.timer = time.AfterFunc(limit, func() { cancel(body.late(limit)) })
	req = req.Clone(ctx)
	plain(req.Header)
	res, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		body.ReadCloser = res.Body
		if err = asStored(res); err != nil {
			err = named(res, explain(err))
		}
	}
	if err != nil {
		err = lateOr(ctx, err)
		body.end()
		return nil, err
	}
	res.Body = legible(body)
	return res, nil
}

// boundedBody is the body of an answer.
type boundedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	guard  guard
	got    atomic.Int64
}

// late says that the answer isn't whole in time: one that came in part is slow,
// not absent.
func (b *boundedBody) late(limit time.Duration) error {
	if got := b.got.Load(); got > 0 {
		return fmt.Errorf("%w: the answer isn't complete after %s, only %d bytes came: the host or the network is too slow for it", ErrStalled, limit, got)
	}
	return fmt.Errorf("%w: no answer within %s", ErrStalled, limit)
}

// lateOr returns why ctx ended if that was the answer's time, else err.
func lateOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return cause
	}
	return err
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.got.Add(int64(n))
	if bad := b.guard.scan(p[:n]); bad != nil {
		return 0, bad
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = lateOr(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

func (b *boundedBody) end() {
	b.timer.Stop()
	if b.ReadCloser != nil {
		_ = b.ReadCloser.Close() // closed already, or of no use
	}
	b.cancel(nil)
}

// guard follows an XML document as it passes, just far enough to know how long
// its texts and tags are, how many elements it has and how deep they are: what
// decodes it would keep the longest text in memory, several times.
type guard struct {
	left  int64 // bytes that may still come
	state guardState
	quote byte   // in a tag: that of the value
	end   string // in a comment or CDATA: what ends it
	last  [2]byte
	first byte // of the tag, 0 until it has been seen
	word  bool // its name is still being read
	name  []byte
	run   int // bytes of the text of one element, or of one tag
	depth int
	count int
	bad   string // what doesn't belong into an answer
}

type guardState int

const (
	inText guardState = iota
	inTag
	inBang    // after "<!"
	inSection // a comment or CDATA
)

// scan takes the next bytes.
func (g *guard) scan(p []byte) error {
	if g.left -= int64(len(p)); g.left < 0 {
		return fmt.Errorf("%w: the answer is larger than %d bytes", ErrProtocol, maxAnswer)
	}
	for len(p) > 0 {
		n := 1
		switch g.state {
		case inText:
			n = g.text(p)
		case inTag:
			g.tag(p[0])
		case inBang:
			g.bang(p[0])
		case inSection:
			g.section(p[0])
		}
		p = p[n:]
		if err := g.check(); err != nil {
			return err
		}
	}
	return nil
}

// text takes what stands before the next tag, and returns how long it is.
func (g *guard) text(p []byte) int {
	n := bytes.IndexByte(p, '<')
	if n == 0 {
		g.state, g.first, g.word, g.quote, g.last = inTag, 0, true, 0, [2]byte{}
		return 1
	}
	if n < 0 {
		n = len(p)
	}
	g.run += n
	if g.depth <= 0 && bytes.ContainsFunc(p[:n], notSpace) {
		g.bad = "text outside the document"
	}
	return n
}

// notSpace is false for white space and for the byte order mark, whole or cut.
func notSpace(r rune) bool { return !strings.ContainsRune(" \t\r\n\ufeff\ufffd", r) }

// tag takes a byte of a tag, or of an instruction.
func (g *guard) tag(c byte) {
	g.run++
	if g.first == 0 {
		g.first = c
		switch c {
		case '!':
			g.state, g.end = inBang, ""
			return
		case '?':
			g.word = false // it parts no text: run goes on
		default:
			g.run, g.name = 0, g.name[:0]
		}
	}
	switch {
	case g.first == '?':
		if c == '>' && g.last[1] == '?' {
			g.state = inText
		}
	case g.quote != 0:
		if c == g.quote {
			g.quote = 0
		}
	case c == '"' || c == '\'':
		g.quote, g.word = c, false
	case c == '>':
		g.tagEnds()
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		g.word = false
	case g.word && len(g.name) < 64:
		g.name = append(g.name, c)
	}
	g.last[0], g.last[1] = g.last[1], c
}

// tagEnds is the end of a tag: the text after it is another element's.
func (g *guard) tagEnds() {
	g.state, g.run = inText, 0
	switch {
	case g.first == '/':
		g.depth--
		return
	case g.last[1] != '/':
		g.depth++
	}
	g.count++
}

// bang takes a byte after "<!": of a comment or CDATA.
func (g *guard) bang(c byte) {
	const comment, cdata = "--", "[CDATA["
	g.run++
	g.end += string(rune(c))
	switch {
	case g.end == comment:
		g.state, g.end, g.last = inSection, "--", [2]byte{}
	case g.end == cdata:
		g.state, g.end, g.last = inSection, "]]", [2]byte{}
	case !strings.HasPrefix(comment, g.end) && !strings.HasPrefix(cdata, g.end):
		g.bad = "a document type definition, which SOAP forbids"
	}
}

// section takes a byte of a comment or CDATA. It counts for the text around it.
func (g *guard) section(c byte) {
	g.run++
	if c == '>' && string(g.last[:]) == g.end {
		g.state = inText
	}
	g.last[0], g.last[1] = g.last[1], c
}

// printableName is a tag's name without what could act on a terminal.
func printableName(b []byte) string {
	return strings.Trim(strconv.Quote(strings.TrimPrefix(string(b), "/")), `"`)
}

func (g *guard) check() error {
	switch {
	case g.bad != "":
		return fmt.Errorf("%w: the answer holds %s; %s", ErrProtocol, g.bad, inBetween)
	case g.run > maxText:
		return fmt.Errorf("%w: the text or tag of an element <%s> is longer than %d bytes, which no ESXi host sends", ErrProtocol, printableName(g.name), maxText)
	case g.count > maxElements:
		return fmt.Errorf("%w: the answer has more than %d elements", ErrProtocol, maxElements)
	case g.depth > maxDepth:
		return fmt.Errorf("%w: the answer's elements are nested more than %d deep", ErrProtocol, maxDepth)
	}
	return nil
}
