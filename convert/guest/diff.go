package guest

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"
)

// Diff shows the edit as a unified diff, with its reason on the first line.
// What the guest wrote can't do anything to a terminal: characters that don't
// print are shown as Go escapes them.
func (e Edit) Diff() string {
	name, reason := inLine(e.Path), inLine(e.Reason)
	from, to := name, name
	switch {
	case e.Link && e.Remove:
		return fmt.Sprintf("link %s goes, was -> %s (%s)\n", name, inLine(e.Old), reason)
	case e.Link && e.Make:
		return fmt.Sprintf("link %s -> %s (%s)\n", name, inLine(e.New), reason)
	case e.Link:
		return fmt.Sprintf("link %s -> %s, was -> %s (%s)\n", name, inLine(e.New), inLine(e.Old), reason)
	case e.Make:
		from = "/dev/null"
	case e.Remove:
		to = "/dev/null"
	}
	text := string(diff.Diff(from, []byte(e.Old), to, []byte(e.New)))
	_, text, _ = strings.Cut(text, "\n") // "diff old new"
	return printable(fmt.Sprintf("edit %s (%s)\n%s", name, reason, text))
}

// inLine is printable text for within a line.
func inLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(printable(s))
}

// printable escapes all but graphic characters, tabs and line ends.
func printable(s string) string {
	var out strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && s[i] != "\uFFFD"[0]:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || unicode.IsGraphic(r):
			out.WriteRune(r)
		default:
			q := fmt.Sprintf("%+q", r)
			out.WriteString(q[1 : len(q)-1])
		}
	}
	return out.String()
}
