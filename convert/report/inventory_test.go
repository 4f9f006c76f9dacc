package report

import (
	"bytes"
	"strings"
	"testing"

	"esxodus/inventory"
)

// TestProblemsShown: what contradicts itself is seen in the table's text, too.
func TestProblemsShown(t *testing.T) {
	t.Parallel()
	h := &inventory.Host{Name: "h", VMs: []inventory.VM{
		{ID: "1", Name: "web" + evil, Problems: []string{"two devices at scsi0:0"}, Notes: []string{"read as UTF-8"}}, {ID: "2", Name: "well"},
	}}
	var b bytes.Buffer
	if err := Inventory(&b, Form{}, h); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `PROBLEM web\u001b[2J`) || !strings.Contains(b.String(), ": two devices at scsi0:0") || !strings.Contains(b.String(), "NOTE    web") {
		t.Errorf("no problem, or no note, in\n%s", b.String())
	}
}
