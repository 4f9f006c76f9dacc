package fit

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plainWord is a word that a shell reads as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Shell writes a word as any POSIX shell reads it, ESXi's busybox too, wherever
// it stands: a=b at the start would set a. A zero byte has no place in a word.
func Shell(word string) string {
	if plainWord.MatchString(word) && !strings.Contains(word, "=") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Paste writes an argument of a command that a person pastes into bash: as it is,
// in single quotes or, with characters that don't print, in $'…'.
func Paste(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	if utf8.ValidString(word) && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Shell(word)
	}
	var b strings.Builder
	for i := range len(word) {
		if c := word[i]; plainWord.Match([]byte{c}) || c == ' ' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return "$'" + b.String() + "'"
}
