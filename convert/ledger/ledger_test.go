package ledger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMerge: what differs in subject and evidence alone is one, if it is of a
// kind that may be.
func TestMerge(t *testing.T) {
	t.Parallel()
	of := func(id, advice string, n int) []Concern {
		var cs []Concern
		for i := range n {
			cs = append(cs, Concern{ID: id, Severity: Warning, Subject: fmt.Sprintf("/srv/%d", i), Evidence: fmt.Sprintf("line %d", i), Advice: advice})
		}
		return cs
	}
	few, many, others := of("table", "x", alike-1), of("table", "y", 200), of("look", "y", 5)
	got := Merge(append(append(append([]Concern{}, few...), many...), others...), "table")
	one := Concern{
		ID: "table", Severity: Warning, Advice: "y", Evidence: "line 0; line 1; line 2; and 197 more",
		Subject: "/srv/0, /srv/1, /srv/2, /srv/3, /srv/4, /srv/5, /srv/6, /srv/7, /srv/8, /srv/9, and 190 more",
	}
	want := append(append(append([]Concern{}, few...), one), others...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Merge (-want +got):\n%s", diff)
	}
	blocker := many[0]
	blocker.Severity = Blocker
	if got := Merge(append(of("table", "y", 5), blocker), "table"); len(got) != 2 || got[1] != blocker || strings.Contains(got[0].Subject, "more") {
		t.Errorf("Merge = %+v; want the blocker by itself, and all 5 subjects", got)
	}
}
