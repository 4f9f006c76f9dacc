package lvm

import (
	"fmt"
	"strconv"
)

// Limits of the text parser.
const (
	maxDepth = 16
	maxNodes = 1 << 20
)

// node is a section of LVM's configuration text: keys in order, with values of
// the types int64, float64 (unused by metadata), string, []any and *node.
type node struct {
	order  []string
	values map[string]any
}

func (n *node) set(key string, v any) {
	if _, ok := n.values[key]; !ok {
		n.order = append(n.order, key)
	}
	n.values[key] = v
}

// The accessors return the zero value where the key is missing or of another
// type.
func (n *node) group(key string) *node {
	g, _ := n.values[key].(*node)
	return g
}

// section is a group that may be missing: it is empty then.
func (n *node) section(key string) *node {
	if g := n.group(key); g != nil {
		return g
	}
	return &node{}
}

func (n *node) text(key string) string {
	s, _ := n.values[key].(string)
	return s
}

func (n *node) number(key string) int64 {
	i, _ := n.values[key].(int64)
	return i
}

func (n *node) list(key string) []any {
	l, _ := n.values[key].([]any)
	return l
}

func (n *node) texts(key string) []string {
	var out []string
	for _, v := range n.list(key) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// words are the strings among the values and in the lists, in order, but for those of
// one key.
func (n *node) words(but string) []string {
	var out []string
	for _, k := range n.order {
		if k == but {
			continue
		}
		if s := n.text(k); s != "" {
			out = append(out, s)
		}
		out = append(out, n.texts(k)...)
	}
	return out
}

// parser reads the text by recursive descent. The first error stays.
type parser struct {
	b     []byte
	pos   int
	line  int
	nodes int
}

// parseText parses sections "name { … }" and assignments "key = value", where
// a value is a number, a quoted string or a list in brackets. The text of a
// metadata area ends at its first zero.
func parseText(b []byte) (*node, error) {
	p := &parser{b: b, line: 1}
	return p.section(0)
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrFormat, p.line, fmt.Sprintf(format, args...))
}

// peek skips blanks and comments and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	comment := false
	for ; p.pos < len(p.b); p.pos++ {
		switch c := p.b[p.pos]; {
		case c == '\n':
			comment = false
			p.line++
		case comment || c == ' ' || c == '\t' || c == '\r':
		case c == '#':
			comment = true
		default:
			return c
		}
	}
	return 0
}

func (p *parser) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

// section parses up to the closing brace, or the end at depth 0.
func (p *parser) section(depth int) (*node, error) {
	n := &node{values: map[string]any{}}
	if depth > maxDepth {
		return nil, p.fail("sections nest deeper than %d", maxDepth)
	}
	for {
		switch c := p.peek(); {
		case c == 0 && depth == 0:
			return n, nil
		case c == 0:
			return nil, p.fail("the text ends inside a section")
		case c == '}' && depth > 0:
			p.pos++
			return n, nil
		}
		key, v, err := p.assignment(depth)
		if err != nil {
			return nil, err
		}
		n.set(key, v)
	}
}

func (p *parser) assignment(depth int) (key string, v any, err error) {
	if p.nodes++; p.nodes > maxNodes {
		return "", nil, p.fail("more than %d values", maxNodes)
	}
	start := p.pos
	for p.pos < len(p.b) && isName(p.b[p.pos]) {
		p.pos++
	}
	key = string(p.b[start:p.pos])
	switch {
	case key == "":
		return "", nil, p.fail("expected a name, not %q", p.b[start])
	case p.accept('{'):
		v, err = p.section(depth + 1)
	case p.accept('='):
		v, err = p.value()
	default:
		err = p.fail("expected { or = after %q", key)
	}
	return key, v, err
}

// isName reports what names of sections and keys are made of: those of LVs
// and VGs ("+" "_" "." "-") and of options.
func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c == '+' || c == '/' || c == ':'
}

func (p *parser) value() (any, error) {
	if !p.accept('[') {
		return p.scalar()
	}
	list := []any{}
	for {
		if p.accept(']') {
			return list, nil
		}
		if p.nodes++; p.nodes > maxNodes {
			return nil, p.fail("more than %d values", maxNodes)
		}
		v, err := p.scalar()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if !p.accept(',') && p.peek() != ']' {
			return nil, p.fail("expected a comma or ] in a list")
		}
	}
}

func (p *parser) scalar() (any, error) {
	c := p.peek()
	if c == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.b) && (p.b[p.pos] >= '0' && p.b[p.pos] <= '9' || p.b[p.pos] == '-' || p.b[p.pos] == '.') {
		p.pos++
	}
	s := string(p.b[start:p.pos])
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return f, nil
	}
	return nil, p.fail("expected a number or a string")
}

// quoted reads a string in which a backslash takes the next byte as it is.
func (p *parser) quoted() (string, error) {
	var s []byte
	for p.pos++; p.pos < len(p.b); p.pos++ {
		switch c := p.b[p.pos]; c {
		case '"':
			p.pos++
			return string(s), nil
		case '\\':
			if p.pos++; p.pos < len(p.b) {
				s = append(s, p.b[p.pos])
			}
		case '\n':
			return "", p.fail("a string isn't closed on its line")
		default:
			s = append(s, c)
		}
	}
	return "", p.fail("the text ends inside a string")
}
