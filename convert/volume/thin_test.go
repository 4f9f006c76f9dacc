package volume

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// poolJSON is lvs's report of a pool of 100 MiB, 40 % of it taken, a thin volume of
// 1 GiB and one of another pool. Pairs replace what it says.
func poolJSON(pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(`{"report":[{"lv":[
{"lv_name":"pool","lv_size":"104857600","segtype":"thin-pool","pool_lv":"","data_percent":"40.00","metadata_percent":"25.00","lv_metadata_size":"4194304","chunk_size":"65536","zero":"zero","lv_when_full":"queue","lv_health_status":"","lv_tags":""},
{"lv_name":"old","lv_size":"1073741824","segtype":"thin","pool_lv":"pool","data_percent":"1.00","metadata_percent":"","lv_metadata_size":"","chunk_size":"0","zero":"unknown","lv_when_full":"","lv_health_status":"","lv_tags":""},
{"lv_name":"other","lv_size":"4194304","segtype":"thin","pool_lv":"pool2","data_percent":"1.00","metadata_percent":"","lv_metadata_size":"","chunk_size":"0","zero":"unknown","lv_when_full":"","lv_health_status":"","lv_tags":""}]}]}`)
}

func TestThinCheck(t *testing.T) {
	l := LVM{VG: "vg0", Pool: "pool", Tool: &script{answers: map[string]string{"vgs": vgJSON, "lvs": poolJSON()}}}
	vols := []Volume{lvmVolume(t, l, "new", 64<<20+1)} // the group itself has 20 MiB left
	got, err := l.Check(t.Context(), vols)
	want := Facts{
		Free: 60 << 20, Unit: 4 << 20, Volumes: []Found{{Volume: vols[0], Size: 68 << 20}}, Sharing: Sharing{Name: "vg0"},
		Pool: &Pool{Name: "vg0/pool", Size: 100 << 20, Virtual: 1 << 30, Chunk: 64 << 10, Metadata: 3 << 20, Waits: true},
	}
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Errorf("Check = (-got +want) %s, %v", diff, err)
	}
}

func TestThinRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		err            string
	}{
		{"of two hosts", "", "iscsi disk sda", "active on two hosts is destroyed"},
		{"no such pool", `"lv_name":"pool"`, `"lv_name":"pond"`, "there is no thin pool vg0/pool: `lvcreate --type thin-pool --size SIZE --name pool vg0` makes one"},
		{"no pool", `"thin-pool"`, `"linear"`, "vg0/pool is no thin pool, but linear"},
		{"inactive", `"40.00"`, `""`, "isn't active: lvchange --activate y vg0/pool"},
		{"without zeroing", `"zero":"zero"`, `"zero":""`, "lvchange --zero y vg0/pool"},
		{"without zeroing, by a 0", `"zero":"zero"`, `"zero":"0"`, "lvchange --zero y vg0/pool"},
		{"nobody knows of zeroing", `"zero":"zero"`, `"zero":"unknown"`, "lvchange --zero y vg0/pool"},
		{"failed", `"lv_health_status":""`, `"lv_health_status":"failed"`, "is unwell (failed)"},
		{"a number", `"40.00"`, `"NaN"`, `"NaN", want a percentage`},
		{"too much", `"40.00"`, `"101.00"`, `"101.00", want a percentage`},
		{"a size", `"104857600"`, `"-1"`, "-1 bytes of data"},
		{"chunks of nothing", `"65536"`, `"0"`, "chunks of 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: map[string]string{"vgs": vgJSON, "lvs": poolJSON()}}
			if tt.from == "" {
				s.answers["lsblk"] = tt.to
			} else {
				s.answers["lvs"] = poolJSON(tt.from, tt.to)
			}
			l := LVM{VG: "vg0", Pool: "pool", Tool: s}
			if _, err := l.Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Check = %v, want %q", err, tt.err)
			}
			if tt.from == "" { // which takes a lock that is root's
				if os.Getuid() != 0 {
					return
				}
				t.Cleanup(func() { os.Remove("/run/esxodus-vg-vg0.lock") })
			}
			err := l.Create(t.Context(), lvmVolume(t, l, "new", 1), "r1", func(Identity) error { t.Error("claimed"); return nil })
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Create = %v, want %q", err, tt.err)
			}
		})
	}
	l := LVM{VG: "vg0", Pool: "pool"}
	for _, other := range []LVM{{VG: "vg0"}, {VG: "vg0", Pool: "pond"}} {
		if _, err := l.State(t.Context(), lvmVolume(t, other, "x", 1), "r1", Identity{}); err == nil {
			t.Errorf("%s takes a volume of %s for its own", l, other)
		}
	}
}

func TestWritten(t *testing.T) {
	for status, want := range map[string]string{
		"0 24576 thin 0 -\n":                        "0 <nil>",
		"0 24576 thin 1024 2047\n":                  "1048576 <nil>",
		"0 24576 thin Fail\n":                       "0 error",
		"0 24576 linear\n":                          "0 error",
		"":                                          "0 error",
		"0 24576 thin 1024 -\n":                     "0 error",
		"0 24576 thin 1024 9223372036854775807":     "0 error",
		"0 8 thin 8 7\n8 8 linear":                  "0 error",
		"0 24576 linear 1024 2047":                  "0 error",
		"0 24576 thin 1024 -5":                      "0 error",
		"0 24576 thin 0 99999999999999999999999999": "0 error",
	} {
		n, err := written(status)
		got := fmt.Sprint(n, " ", err)
		if err != nil {
			got = fmt.Sprint(n, " error")
		}
		if got != want {
			t.Errorf("written(%q) = %d, %v; want %s", status, n, err, want)
		}
	}
}
