package concerns

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/ledger"
)

// TestTable: the table has the ids of all concerns that the code makes, no other, and
// the severities that it says with each.
func TestTable(t *testing.T) {
	t.Parallel()
	c := readCode(t)
	if len(c.literal) > 0 {
		t.Errorf("ids that are no constants: %s", strings.Join(c.literal, ", "))
	}
	for name, id := range c.ids {
		if c.uses[id] == nil {
			t.Errorf("%s: nothing makes a concern %q", name, id)
		}
	}
	ids := IDs()
	for id, u := range c.uses {
		k, ok := Find(id)
		if !ok {
			t.Errorf("%s: %s: not in the table", u.where[0], id)
			continue
		}
		if got := severityOf(u.severities); got != k.Severities {
			t.Errorf("%s: %q in the table; the code says %q with it: %s", id, k.Severities, got, strings.Join(u.where, ", "))
		}
	}
	for _, id := range ids {
		if c.uses[id] == nil {
			t.Errorf("%s is in the table, and nothing makes such a concern", id)
		}
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != len(IDs()) {
		t.Error("an id is twice in the table")
	}
	if n := len(c.uses); n < 150 {
		t.Errorf("%d ids found in the code: the test doesn't see them", n)
	}
}

// severityOf names the severities of a kind as the table does.
func severityOf(s []ledger.Severity) severity {
	return map[[3]bool]severity{
		{true, false, false}: blocker, {false, true, false}: warning, {false, false, true}: note,
		{true, true, false}: blockerWarning, {true, false, true}: blockerNote, {false, true, true}: warningNote, {true, true, true}: anySeverity,
	}[[3]bool{slices.Contains(s, ledger.Blocker), slices.Contains(s, ledger.Warning), slices.Contains(s, ledger.Note)}]
}

// TestTexts: each kind says what it means in whole sentences, what to do in another,
// and a blocker never leaves that out.
func TestTexts(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, g := range Groups() {
		if !slices.IsSortedFunc(g.Kinds, func(a, b Kind) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) }) {
			t.Errorf("%s: not sorted by id", g.Title)
		}
		for _, k := range g.Kinds {
			may, _ := k.Blocks()
			if !strings.HasSuffix(k.Means, ".") || k.Do != "" && !strings.HasSuffix(k.Do, ".") || k.Do == "" && may {
				t.Errorf("%s: %q, %q", k.ID, k.Means, k.Do)
			}
			if other, ok := seen[k.Means]; ok {
				t.Errorf("%s means what %s does", k.ID, other)
			}
			seen[k.Means] = k.ID
		}
	}
	if n := len(slices.Collect(maps.Keys(seen))); n != len(IDs()) {
		t.Errorf("%d meanings of %d ids", n, len(IDs()))
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	if k, ok := Find("DISK.BYID"); !ok || k.ID != "disk.byID" {
		t.Errorf("Find(DISK.BYID) = %q, %t", k.ID, ok)
	}
	if k, ok := Find("disk"); ok {
		t.Errorf("Find(disk) = %q", k.ID)
	}
}
