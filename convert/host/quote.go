package host

import (
	"regexp"
	"strings"
)

// plainWord is a word that a POSIX shell reads as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// ShellQuote writes a word as a POSIX shell reads it, for commands that a person
// pastes; esxodus itself runs none in a shell.
func ShellQuote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
