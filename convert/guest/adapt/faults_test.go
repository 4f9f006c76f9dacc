package adapt

import (
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// TestFaults: damage at the source is told before anything is copied. It blocks
// only where the conversion has to mount what a kernel refuses.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault guest.Fault
		want  ledger.Concern
	}{
		{
			"root",
			guest.Fault{Volume: "scsi0:0 partition 1", Content: "ext4", Mount: "/", What: "errors"},
			ledger.Concern{Severity: ledger.Warning, Subject: "/", Evidence: "the ext4 of scsi0:0 partition 1 is damaged at the source: errors; it is converted with that, and only new damage counts as the conversion's", Advice: " run e2fsck -f on it;"},
		},
		{
			"refused root",
			guest.Fault{Volume: "scsi0:0 partition 1", Content: "xfs", Mount: "/", What: "no header", Refused: true},
			ledger.Concern{Severity: ledger.Blocker, Subject: "/", Evidence: "the xfs of scsi0:0 partition 1 is damaged at the source: no header; the conversion changes files on it, and a kernel may refuse to mount it", Advice: " run xfs_repair on it;"},
		},
		{
			"refused data",
			guest.Fault{Volume: "vg0/data", Content: "xfs", What: "no header", Refused: true},
			ledger.Concern{Severity: ledger.Warning, Subject: "vg0/data", Evidence: "the xfs of vg0/data is damaged at the source: no header; it is converted with that, and only new damage counts as the conversion's", Advice: " run xfs_repair on it;"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input(t, archive(t, "debian-mbr.txtar"))
			in.Guest.Faults = []guest.Fault{tt.fault}
			_, _, concerns := New(in)
			var got []ledger.Concern
			for _, c := range concerns {
				if c.ID == ConcernFaults {
					got = append(got, c)
				}
			}
			if len(got) != 1 || got[0].Severity != tt.want.Severity || got[0].Subject != tt.want.Subject || got[0].Evidence != tt.want.Evidence || !strings.Contains(got[0].Advice, tt.want.Advice) {
				t.Errorf("concerns %+v; want %+v", got, tt.want)
			}
		})
	}
	kept := Faults(guest.Guest{Faults: []guest.Fault{{Volume: "vg0/data", Content: "xfs", Mount: "/srv", What: "no header", Refused: true}}})
	if len(kept) != 1 || kept[0].Severity != ledger.Warning || !strings.HasSuffix(kept[0].Evidence, "no header; it is copied as it is") {
		t.Errorf("concerns about a guest that isn't converted: %+v", kept)
	}
}
