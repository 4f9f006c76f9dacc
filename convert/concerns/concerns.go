// Package concerns says of each concern that a plan may have what it means and
// what to do about it, whatever VM it is about. It is the one list of their ids; its
// test holds it to the code that makes them. It imports nothing of the plan.
package concerns

import (
	"slices"
	"strings"
)

// Kind is one kind of concern.
type Kind struct {
	ID         string   // stable, dotted: "disk.rdm"
	Severities severity // those that it may have, the gravest first
	Means      string   // a sentence
	Do         string   // a sentence, "" where nothing is to be done
}

// severity names one or several severities as they are read.
type severity string

// The severities that kinds have.
const (
	blocker        severity = "blocker"
	warning        severity = "warning"
	note           severity = "note"
	blockerWarning severity = "blocker or warning"
	blockerNote    severity = "blocker or note"
	warningNote    severity = "warning or note"
	anySeverity    severity = "blocker, warning or note"
)

// Group is the kinds whose ids begin alike.
type Group struct {
	Title string
	Kinds []Kind
}

// Groups lists all kinds, in the order in which a person reads a VM.
func Groups() []Group {
	return []Group{
		{"The source", source()},
		{"The VM", vm()},
		{"Processor, memory and firmware", hardware()},
		{"Disks", disks()},
		{"NICs", nics()},
		{"Other devices", devices()},
		{"The guest: what it is", guestFound()},
		{"The guest: what it is made into", guestConverted()},
		{"The target", target()},
		{"The network of the plan", networkPlanned()},
		{"The network of this host", networkHost()},
		{"Virtual functions", functions()},
		{"Several VMs in one plan", batch()},
	}
}

// IDs lists the ids of all kinds, sorted.
func IDs() []string {
	var out []string
	for _, g := range Groups() {
		for _, k := range g.Kinds {
			out = append(out, k.ID)
		}
	}
	slices.Sort(out)
	return out
}

// Find returns the kind of an id. Letters may be large or small.
func Find(id string) (Kind, bool) {
	for _, g := range Groups() {
		for _, k := range g.Kinds {
			if strings.EqualFold(k.ID, id) {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// Blocks reports whether a concern of the kind may be a blocker, and Only whether
// it is never anything else.
func (k Kind) Blocks() (may, only bool) {
	return strings.HasPrefix(string(k.Severities), string(blocker)), k.Severities == blocker
}
