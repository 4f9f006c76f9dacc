package conf

import "fmt"

// maxToken is the longest word or string, in bytes: a kernel's command line has
// 2047.
const maxToken = 2047

// lexer cuts a file into words, strings and equal signs. Lines mean nothing but
// the end of a comment and of a word.
type lexer struct {
	in   []byte
	pos  int
	line int
	fail func(line int, format string, args ...any) error
}

// token is a word, a string or an equal sign.
type token struct {
	line   int
	text   string
	quoted bool
	equal  bool
	end    bool // of the file
}

// next returns the next token. In a value an equal sign is a letter like any
// other, so that root=UUID=... needs no quotes.
func (l *lexer) next(value bool) (token, error) {
	l.skip()
	if l.pos == len(l.in) {
		return token{line: l.line, end: true}, nil
	}
	switch c := l.in[l.pos]; {
	case c == '=' && !value:
		l.pos++
		return token{line: l.line, text: "=", equal: true}, nil
	case c == '"':
		return l.quoted()
	}
	return l.word(value)
}

// skip passes over white space and comments.
func (l *lexer) skip() {
	comment := false
	for ; l.pos < len(l.in); l.pos++ {
		switch c := l.in[l.pos]; {
		case c == '\n':
			l.line++
			comment = false
		case comment, c == ' ', c == '\t', c == '\r':
		case c == '#':
			comment = true
		default:
			return
		}
	}
}

// quoted reads a string. In it a backslash stands before a quote or another
// backslash, or at the end of a line that goes on in the next one.
func (l *lexer) quoted() (token, error) {
	start := l.line
	var text []byte
	for l.pos++; l.pos < len(l.in); l.pos++ {
		c := l.in[l.pos]
		switch {
		case c == '"':
			l.pos++
			return token{line: start, text: string(text), quoted: true}, nil
		case c == '\\':
			var err error
			if c, err = l.escape(); err != nil {
				return token{}, err
			}
		case c < ' ' || c == 0x7f:
			return token{}, l.fail(l.line, "%s in a quoted string: close the quotes on the same line, or end it with a backslash", control(c))
		}
		if text = append(text, c); len(text) > maxToken {
			return token{}, l.fail(start, "a quoted string of more than %d bytes", maxToken)
		}
	}
	return token{}, l.fail(start, "the quotes that begin here are never closed")
}

// escape reads what follows a backslash in a string, and leaves the position at
// its last byte.
func (l *lexer) escape() (byte, error) {
	l.pos++
	if l.pos == len(l.in) {
		return 0, l.fail(l.line, "the file ends after a backslash")
	}
	switch c := l.in[l.pos]; c {
	case '"', '\\':
		return c, nil
	case '\n':
		l.line++
		for l.pos+1 < len(l.in) && (l.in[l.pos+1] == ' ' || l.in[l.pos+1] == '\t') {
			l.pos++
		}
		return ' ', nil
	}
	return 0, l.fail(l.line, `in quotes a backslash may only stand before ", before \ and at the end of a line`)
}

// word reads up to white space, a comment or, but in a value, an equal sign. A
// backslash takes the next byte as it is; at the end of a line it joins two.
func (l *lexer) word(value bool) (token, error) {
	start := l.line
	var text []byte
	for ; l.pos < len(l.in); l.pos++ {
		c := l.in[l.pos]
		switch {
		case c == ' ', c == '\t', c == '\n', c == '\r', c == '#', c == '=' && !value:
			return token{line: start, text: string(text)}, nil
		case c == '\\':
			l.pos++
			if l.pos == len(l.in) {
				return token{}, l.fail(l.line, "the file ends after a backslash")
			}
			if c = l.in[l.pos]; c == '\n' {
				l.line++
				continue
			}
		}
		if c < ' ' || c == 0x7f {
			return token{}, l.fail(l.line, "%s in a word", control(c))
		}
		if text = append(text, c); len(text) > maxToken {
			return token{}, l.fail(start, "a word of more than %d bytes", maxToken)
		}
	}
	return token{line: start, text: string(text)}, nil
}

func control(c byte) string {
	switch c {
	case '\n':
		return "an end of line"
	case '\t':
		return "a tab"
	}
	return fmt.Sprintf("the control character %#02x", c)
}
