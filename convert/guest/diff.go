package guest

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"esxodus/inventory/fit"
)

// Diff shows the edit as a unified diff, with its reason on the first line.
// What the guest wrote can't do anything to a terminal: characters that don't
// print are shown as Go escapes them.
func (e Edit) Diff() string {
	name, reason := fit.TerminalLine(e.Path), fit.TerminalLine(e.Reason)
	from, to := name, name
	switch {
	case e.Link && e.Remove:
		return fmt.Sprintf("link %s goes, was -> %s (%s)\n", name, fit.TerminalLine(e.Old), reason)
	case e.Link && e.Make:
		return fmt.Sprintf("link %s -> %s (%s)\n", name, fit.TerminalLine(e.New), reason)
	case e.Link:
		return fmt.Sprintf("link %s -> %s, was -> %s (%s)\n", name, fit.TerminalLine(e.New), fit.TerminalLine(e.Old), reason)
	case e.Make:
		from = "/dev/null"
	case e.Remove:
		to = "/dev/null"
	}
	text := string(diff.Diff(from, []byte(e.Old), to, []byte(e.New)))
	_, text, _ = strings.Cut(text, "\n") // "diff old new"
	return fit.Terminal(fmt.Sprintf("edit %s (%s)\n%s", name, reason, text))
}
