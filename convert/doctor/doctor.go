// Package doctor looks at both ends of a migration, without changing anything: what an
// ESXi host lets us do, and whether this host is fit to be a target.
package doctor

import (
	"esxodus/convert/ledger"
)

// Finding is one thing that was looked at.
type Finding struct {
	ID string `json:"id"` // stable: "kvm", "folder", …
	// Severity is empty where all is well.
	Severity ledger.Severity `json:"severity,omitempty"`
	What     string          `json:"what"`
	Advice   string          `json:"advice,omitempty"`
}

// Report is what was found.
type Report struct {
	Source   string    `json:"source,omitempty"` // the ESXi host's address
	OfSource []Finding `json:"ofSource,omitempty"`
	Host     string    `json:"host"` // this host's name
	OfHost   []Finding `json:"ofHost"`
}

// Blocked reports whether there is something without which nothing can be converted.
func (r *Report) Blocked() bool {
	for _, list := range [][]Finding{r.OfSource, r.OfHost} {
		for _, f := range list {
			if f.Severity == ledger.Blocker {
				return true
			}
		}
	}
	return false
}

// notes collects findings.
type notes []Finding

func (n *notes) ok(id, what string) { *n = append(*n, Finding{ID: id, What: what}) }

func (n *notes) add(id string, severity ledger.Severity, what, advice string) {
	*n = append(*n, Finding{ID: id, Severity: severity, What: what, Advice: advice})
}
