package virt

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"esxodus/inventory/fit"
)

// Bounds of what is kept of a console.
const (
	maxLine = 512 // bytes; what is longer is cut into lines
	maxTail = 40  // lines
)

// console reads what a guest writes to its serial port: it takes out what is
// meant for a terminal, and watches for lines that say how the boot ended.
// What it is fed is hostile; it keeps a bounded amount of it.
type console struct {
	show    func(string) // gets every line; may be nil
	line    []byte       // unfinished
	tail    []string     // finished lines, the last maxTail
	escape  escape
	signs   []sign
	outcome outcome
	again   bool // a login prompt was written since [console.ask]
	digits  int  // to come of the Linux console's ESC ] P, which nothing ends
}

func newConsole(show func(string)) console {
	return console{show: show, signs: bootSigns()}
}

// outcome is what a console showed of a boot.
type outcome struct {
	kind    outcomeKind
	reason  string // for failed: what the line means
	line    string // that it was seen in
	partial bool   // the line may go on
	loose   bool   // a prompt only if it is written again as an answer
}

type outcomeKind int

const (
	undecided outcomeKind = iota
	up                    // reached a login prompt
	failed                // will not get there
)

// escape is how far into a control sequence (ECMA-48) the stream is.
type escape int

const (
	plain    escape = iota
	escaped         // ESC seen
	control         // CSI: parameters up to a final byte
	command         // OSC, DCS and such: up to BEL or ESC \
	charset         // one more byte
	afterCmd        // ESC within a command
	osc             // first byte of an OSC
	palette         // the digits of ESC ] P
)

// feed takes what the guest wrote.
func (c *console) feed(p []byte) {
	for _, b := range p {
		if c.escape != plain || b == 0x1b {
			c.skip(b)
			continue
		}
		switch {
		case b == '\n' || b == '\r':
			c.end()
		case b == '\b':
			c.line = c.line[:max(0, len(c.line)-1)]
		case b == '\t':
			c.line = append(c.line, ' ')
		case b >= ' ' && b != 0x7f:
			c.line = append(c.line, b)
		}
		if len(c.line) >= maxLine {
			c.end()
		}
	}
	c.judge(string(c.line), false)
}

// skip takes one byte of a control sequence.
func (c *console) skip(b byte) {
	switch c.escape {
	case plain:
		c.escape = escaped
	case escaped:
		c.escape = afterESC(b)
	case control:
		if b >= 0x40 && b <= 0x7e {
			c.escape = plain
			if b == 'H' || b == 'f' { // the cursor goes elsewhere
				c.end()
			}
		}
	case command:
		switch b {
		case 0x07, '\n': // a lost terminator must not swallow the rest
			c.escape = plain
		case 0x1b:
			c.escape = afterCmd
		}
	case afterCmd:
		if c.escape = plain; b != '\\' { // another sequence, and the command is lost
			c.escape = afterESC(b)
		}
	case osc:
		c.skipOSC(b)
	case palette:
		if c.digits--; c.digits == 0 {
			c.escape = plain
		}
	case charset:
		c.escape = plain
	}
}

// skipOSC takes the first byte of an operating system command. The Linux console
// has two that nothing ends, and issue files have them (console_codes(4)).
func (c *console) skipOSC(b byte) {
	switch b {
	case 'P':
		c.escape, c.digits = palette, 7
	case 'R':
		c.escape = plain
	default:
		c.escape = command
		c.skip(b)
	}
}

func afterESC(b byte) escape {
	switch b {
	case '[':
		return control
	case ']':
		return osc
	case 'P', '^', '_', 'X':
		return command
	case '(', ')', '*', '+', '#', '%', ' ':
		return charset
	}
	return plain
}

// end finishes a line.
func (c *console) end() {
	line := strings.TrimRightFunc(fit.Line(string(c.line)), unicode.IsSpace)
	c.line = c.line[:0]
	if line == "" {
		return
	}
	if len(c.tail) == maxTail {
		c.tail = append(c.tail[:0], c.tail[1:]...)
	}
	c.tail = append(c.tail, line)
	if c.show != nil {
		c.show(line)
	}
	c.judge(line, true)
}

// ask takes in that Enter is sent to the guest: what comes now is another line.
func (c *console) ask() {
	c.end()
	c.again = false
}

// unfinished returns the line that may go on, which a prompt is.
func (c *console) unfinished() string { return strings.TrimSpace(fit.Line(string(c.line))) }

// last returns the last n lines, the unfinished one with them.
func (c *console) last(n int) []string {
	lines := append([]string(nil), c.tail...)
	if rest := c.unfinished(); rest != "" {
		lines = append(lines, rest)
	}
	return lines[max(0, len(lines)-n):]
}

// judge looks for a sign in a line. The first failure found stays, and gets the
// rest of its line. What looked like a login prompt stays unless its line goes on
// as none does, or a failure follows.
func (c *console) judge(line string, whole bool) {
	text := strings.TrimSpace(fit.Line(line))
	if o := &c.outcome; o.partial && strings.HasPrefix(text, o.line) {
		if o.partial = !whole; o.kind == failed {
			o.line = text
			return
		}
		if !slices.ContainsFunc(c.signs, func(s sign) bool { return s.kind == up && !s.loose && (s.says(line, false) || s.says(line, true)) }) {
			*o = outcome{}
		}
	}
	if c.outcome.kind == failed || text == "" {
		return
	}
	for _, s := range c.signs {
		if !s.says(line, whole) || s.early && c.outcome.certain() {
			continue
		}
		c.again = c.again || s.kind == up && !s.loose
		if s.kind != c.outcome.kind {
			c.outcome = outcome{kind: s.kind, reason: s.reason, line: text, partial: !whole, loose: s.loose}
			return
		}
	}
}

// certain reports whether the guest has written a getty's own prompt.
func (o outcome) certain() bool { return o.kind == up && !o.loose }

// quote shows lines within an error.
func quote(lines []string) string {
	if len(lines) == 0 {
		return "it wrote nothing to its serial console"
	}
	return fmt.Sprintf("its console's last lines: %s", strings.Join(lines, " | "))
}
