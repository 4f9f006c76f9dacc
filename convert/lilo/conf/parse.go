package conf

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits of a file, in bytes and in images, and of times in tenths of a second.
const (
	MaxSize   = 256 << 10
	MaxImages = 32
	MaxTenths = 36000
)

// value is an option as it stands in the file.
type value struct {
	line int
	text string
}

// section is the global one, or an image's.
type section struct {
	line   int
	image  string
	values map[string]value
}

type parser struct {
	file     string
	lex      *lexer
	words    map[string]keyword
	sections []section // the global one first
	warnings []Warning
}

// Parse reads a lilo.conf; file is its name for errors, which are of type
// [*Error].
func Parse(file string, text []byte) (*Config, error) {
	p := &parser{file: file, words: keywords(), sections: []section{{line: 1, values: map[string]value{}}}}
	p.lex = &lexer{in: bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), line: 1, fail: p.fail}
	if len(text) > MaxSize {
		return nil, p.fail(0, "%d bytes long; at most %d can be", len(text), MaxSize)
	}
	for {
		more, err := p.option()
		if err != nil {
			return nil, err
		}
		if !more {
			return p.config()
		}
	}
}

func (p *parser) fail(line int, format string, args ...any) error {
	return &Error{File: p.file, Line: line, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) warn(line int, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{Line: line, Text: fmt.Sprintf(format, args...)})
}

// alert is a warning that nowarn doesn't silence.
func (p *parser) alert(line int, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{Line: line, Text: fmt.Sprintf(format, args...), Loud: true})
}

// option reads one option, and returns false at the end of the file.
func (p *parser) option() (bool, error) {
	word, err := p.lex.next(false)
	if err != nil || word.end {
		return false, err
	}
	switch {
	case word.equal:
		return false, p.fail(word.line, "an equal sign with no keyword before it")
	case word.quoted:
		return false, p.fail(word.line, "the string %.40q where a keyword should be", word.text)
	}
	name := strings.ToLower(word.text)
	val, has, err := p.value(name)
	if err != nil {
		return false, err
	}
	if name == "image" {
		return true, p.begin(word.line, val, has)
	}
	return true, p.take(name, word, val, has)
}

// value reads = and what comes after it, if that is what comes.
func (p *parser) value(name string) (token, bool, error) {
	before := *p.lex
	sign, err := p.lex.next(false)
	if err != nil || !sign.equal {
		*p.lex = before // an error there is found again, as what it is
		return token{}, false, nil
	}
	val, err := p.lex.next(true)
	if err != nil {
		return token{}, false, err
	}
	if val.end {
		return token{}, false, p.fail(sign.line, "the file ends after %s=", name)
	}
	return val, true, nil
}

// begin starts an image's section.
func (p *parser) begin(line int, path token, has bool) error {
	switch {
	case !has || path.text == "":
		return p.fail(line, "image= needs the path of a kernel")
	case !strings.HasPrefix(path.text, "/"):
		return p.fail(line, "image=%s: want a path that begins with /", path.text)
	case len(p.sections) > MaxImages:
		return p.fail(line, "more than %d images", MaxImages)
	}
	p.sections = append(p.sections, section{line: line, image: path.text, values: map[string]value{}})
	return nil
}

// take files an option in the present section.
func (p *parser) take(name string, word, val token, has bool) error {
	k, ok := p.words[name]
	if !ok {
		return p.fail(word.line, "unknown keyword %.60q", word.text)
	}
	if k.fate == refused {
		return p.fail(word.line, "%s is not supported: %s", name, k.why)
	}
	cur := &p.sections[len(p.sections)-1]
	inImage := len(p.sections) > 1
	switch {
	case inImage && k.where&image == 0:
		return p.fail(word.line, "%s is a global option: move it before the first image=", name)
	case !inImage && k.where&global == 0:
		return p.fail(word.line, "%s belongs to an image: move it after an image= line", name)
	case has && k.value == never:
		return p.fail(word.line, "%s takes no value, and has %.60q", name, val.text)
	case !has && k.value == always:
		return p.fail(word.line, "%s needs a value: %s=...", name, name)
	}
	if k.fate == warned {
		p.warn(word.line, "%s is ignored: %s", name, k.why)
		return nil
	}
	if k.fate == ignored {
		return nil
	}
	if old, ok := cur.values[name]; ok {
		return p.fail(word.line, "%s appears twice in this section: line %d already has it", name, old.line)
	}
	cur.values[name] = value{line: word.line, text: val.text}
	return nil
}
