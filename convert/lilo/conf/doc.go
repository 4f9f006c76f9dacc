// Package conf reads lilo.conf as LILO 24 does: the same words, quotes,
// sections and habits. What the loader of this tree can do is taken over, what
// makes no difference is ignored, what is lost is a warning, and what would
// boot something else than the admin asked for is an error with its line.
//
// A file is a global section, then one section per image= line. An image's own
// option goes before the global one of the same name.
package conf

import "fmt"

// Error is a mistake in a lilo.conf.
type Error struct {
	File string
	Line int // from 1; 0 where it is of the file as a whole
	Text string
}

// Error returns "lilo.conf:12: text".
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// Warning is something that is in the file and has no effect here, for people.
type Warning struct {
	Line int
	Text string
	Loud bool // nowarn doesn't silence it: something else boots than was asked for
}
