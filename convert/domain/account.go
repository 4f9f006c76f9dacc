package domain

import (
	"fmt"
	"strings"

	"esxodus/convert/ledger"
)

// show formats a source value for the ledger. What is zero or empty is absent
// on the source, and "".
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		if !v {
			return ""
		}
	case []string:
		return strings.Join(v, ", ")
	case []int:
		if len(v) == 0 {
			return ""
		}
	}
	s := fmt.Sprint(v)
	if s == "0" {
		return ""
	}
	return s
}

// property gathers the ledger entries of one part of the VM, whose names
// start with prefix. A property that the source doesn't have gets no entry.
type property struct {
	b      *builder
	prefix string
}

func (b *builder) of(format string, args ...any) property {
	return property{b, fmt.Sprintf(format, args...)}
}

func (p property) add(name string, source any, target string, fate ledger.Fate, reason string) {
	if s := show(source); s != "" {
		p.b.ledger = append(p.b.ledger, ledger.Entry{Property: p.prefix + name, Source: s, Target: target, Fate: fate, Reason: reason})
	}
}

// mapped says that the domain has the same. target names where, or is "" for
// the source's own value.
func (p property) mapped(name string, source any, target string) {
	if target == "" {
		target = show(source)
	}
	p.add(name, source, target, ledger.Mapped, "")
}

func (p property) changed(name string, source any, target, reason string) {
	p.add(name, source, target, ledger.Changed, reason)
}

func (p property) dropped(name string, source any, reason string) {
	p.add(name, source, "", ledger.Dropped, reason)
}

// concern adds a concern about subject, "" for the whole VM.
func (b *builder) concern(id string, severity ledger.Severity, subject, evidence, advice string) {
	b.concerns = append(b.concerns, ledger.Concern{ID: id, Severity: severity, Subject: subject, Evidence: evidence, Advice: advice})
}
