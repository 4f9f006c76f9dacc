// Package ledger holds the two lists that every plan shows: the ledger, which
// accounts for each property of the source VM, and the concerns, which the
// admin must know before cutover. It is plain data and imports nothing, so
// that every package that decides something can say so.
package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fate is what becomes of a source property.
type Fate string

// The three fates.
const (
	Mapped  Fate = "mapped"  // the domain has the same
	Changed Fate = "changed" // the domain has something else; Reason says why
	Dropped Fate = "dropped" // the domain has nothing for it; Reason says why
)

// Entry accounts for one property of the source VM.
type Entry struct {
	Property string `json:"property"`         // dotted, with an address where there are several: "disk[scsi0:2].mode"
	Source   string `json:"source"`           // the value there
	Target   string `json:"target,omitempty"` // the value here; "" when dropped
	Fate     Fate   `json:"fate"`
	Reason   string `json:"reason,omitempty"` // required unless mapped
}

// Severity says how much a concern weighs.
type Severity string

// The severities. A plan with a blocker cannot be applied.
const (
	Blocker Severity = "blocker"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Concern is something the admin must know before cutover.
type Concern struct {
	ID       string   `json:"id"` // stable, dotted: "disk.rdm"
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject,omitempty"` // what of the VM: "scsi0:2", "ethernet0"
	Evidence string   `json:"evidence"`          // what was seen
	Advice   string   `json:"advice"`            // what to do about it
	// Acknowledged is why the admin goes on all the same; "" where nobody has said so. A
	// blocker can't be.
	Acknowledged string `json:"acknowledged,omitempty"`
}

// Open reports whether a concern of at least a severity stands, and nobody has
// acknowledged it.
func (c *Concern) Open(least Severity) bool {
	return c.Acknowledged == "" && rank(c.Severity) <= rank(least)
}

func rank(s Severity) int { return slices.Index([]Severity{Blocker, Warning, Note}, s) }

// Blocked reports whether any concern is a blocker.
func Blocked(cs []Concern) bool {
	return slices.ContainsFunc(cs, func(c Concern) bool { return c.Severity == Blocker })
}

// SortConcerns brings concerns into the order of reports: blockers first, then
// by id and subject.
func SortConcerns(cs []Concern) {
	slices.SortStableFunc(cs, func(a, b Concern) int {
		return cmp.Or(rank(a.Severity)-rank(b.Severity), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Subject, b.Subject))
	})
}

// alike is from how many concerns of one kind on they are made one.
const alike = 4

// Merge makes one of many concerns that differ in subject and evidence alone,
// of those with the ids given. It has the first evidence in full, and all that
// it is about, both cut with a count.
func Merge(cs []Concern, ids ...string) []Concern {
	kinds := map[Concern][]Concern{}
	kind := func(c Concern) Concern { return Concern{ID: c.ID, Severity: c.Severity, Advice: c.Advice} }
	for _, c := range cs {
		if slices.Contains(ids, c.ID) {
			kinds[kind(c)] = append(kinds[kind(c)], c)
		}
	}
	var out []Concern
	for _, c := range cs {
		switch all := kinds[kind(c)]; {
		case len(all) < alike:
			out = append(out, c)
		case c == all[0]:
			out = append(out, merged(all))
		}
	}
	return out
}

// merged is one concern for several.
func merged(all []Concern) Concern {
	var subjects, evidence []string
	for _, c := range all {
		if c.Subject != "" && !slices.Contains(subjects, c.Subject) {
			subjects = append(subjects, c.Subject)
		}
		if !slices.Contains(evidence, c.Evidence) {
			evidence = append(evidence, c.Evidence)
		}
	}
	one := all[0]
	one.Subject, one.Evidence = cut(subjects, ", ", 10), cut(evidence, "; ", 3)
	return one
}

// cut joins the first of a list, and counts the rest.
func cut(list []string, separator string, shown int) string {
	text := strings.Join(list[:min(len(list), shown)], separator)
	if more := len(list) - shown; more > 0 {
		text += fmt.Sprintf("%sand %d more", separator, more)
	}
	return text
}
