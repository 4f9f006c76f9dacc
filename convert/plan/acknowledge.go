package plan

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/ledger"
)

// Acknowledgement is an admin's word about a concern: that it is known, and why it stops
// nothing.
type Acknowledgement struct {
	VM     string // its name or id; "" for all, and for what concerns the plan
	ID     string // the concern's
	Reason string
}

// ParseAcknowledgements reads "ID=reason" and "VM/ID=reason". A VM's name may hold what
// it likes, an id has letters, digits, dots and hyphens.
func ParseAcknowledgements(texts []string) ([]Acknowledgement, error) {
	var out []Acknowledgement
	for _, text := range texts {
		what, reason, ok := cutReason(text)
		if !ok {
			return nil, fmt.Errorf("--acknowledge %s: want 'guest.left=why', or 'VM/guest.left=why' for one VM", text)
		}
		a := Acknowledgement{ID: what, Reason: reason}
		if i := strings.LastIndexByte(what, '/'); i >= 0 {
			a.VM, a.ID = what[:i], what[i+1:]
		}
		out = append(out, a)
	}
	return out, nil
}

// cutReason splits at the first equals sign behind an id.
func cutReason(text string) (what, reason string, ok bool) {
	for i := range len(text) {
		if text[i] != '=' {
			continue
		}
		what, reason = text[:i], strings.TrimSpace(text[i+1:])
		id := what[strings.LastIndexByte(what, '/')+1:]
		if isID(id) {
			return what, reason, reason != ""
		}
	}
	return "", "", false
}

func isID(s string) bool {
	return strings.ContainsRune(s, '.') && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-'
	})
}

// acknowledge puts the admin's words to the concerns that they are about. It returns
// those that no concern is found for: a word that misses its mark must not be taken for
// one that hit.
func (p *Plan) acknowledge(words []Acknowledgement) (missed []Acknowledgement) {
	for _, w := range words {
		hit := false
		mark := func(cs []ledger.Concern) {
			for i := range cs {
				if cs[i].ID == w.ID && cs[i].Severity != ledger.Blocker {
					cs[i].Acknowledged, hit = w.Reason, true
				}
			}
		}
		for i := range p.VMs {
			if v := &p.VMs[i]; w.VM == "" || w.VM == v.Source.Name || w.VM == v.Source.ID || w.VM == v.Name {
				mark(v.Concerns)
			}
		}
		if w.VM == "" {
			mark(p.Concerns)
		}
		if !hit {
			missed = append(missed, w)
		}
	}
	return missed
}

// ConcernMissed is a word of the admin's about what isn't there.
const ConcernMissed = "batch.acknowledged"

// missedConcerns says which words hit nothing.
func missedConcerns(missed []Acknowledgement) (out []ledger.Concern) {
	for _, w := range missed {
		what := w.ID
		if w.VM != "" {
			what = w.VM + "/" + w.ID
		}
		out = append(out, ledger.Concern{
			ID: ConcernMissed, Severity: ledger.Note, Evidence: fmt.Sprintf("%q is acknowledged, and there is no warning or note of that kind", what),
			Advice: "take it off the command line, or see whether it is spelt as the plan has it; a blocker can't be acknowledged",
		})
	}
	return out
}

// Open lists the concerns of at least a severity that nobody has acknowledged: the
// plan's, and each VM's with its name as the subject's beginning.
func (p *Plan) Open(least ledger.Severity) (out []ledger.Concern) {
	add := func(vm string, cs []ledger.Concern) {
		for _, c := range cs {
			if c.Open(least) {
				c.Subject = strings.Join(slices.DeleteFunc([]string{vm, c.Subject}, func(s string) bool { return s == "" }), " ")
				out = append(out, c)
			}
		}
	}
	for i := range p.VMs {
		add(p.VMs[i].Source.Name, p.VMs[i].Concerns)
	}
	add("", p.Concerns)
	return out
}

// checkAcknowledged wants that nobody acknowledged a blocker away.
func (p *Plan) checkAcknowledged() error {
	check := func(where string, cs []ledger.Concern) error {
		for i, c := range cs {
			if c.Severity == ledger.Blocker && c.Acknowledged != "" {
				return fmt.Errorf("%sconcerns[%d].acknowledged: %s is a blocker, which can't be acknowledged: mend it, and plan again", where, i, c.ID)
			}
		}
		return nil
	}
	for i := range p.VMs {
		if err := check(fmt.Sprintf("vms[%d].", i), p.VMs[i].Concerns); err != nil {
			return err
		}
	}
	return check("", p.Concerns)
}
