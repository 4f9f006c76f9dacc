package wire

import (
	"regexp"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		nic  NIC
		at   map[int][]string
		want string
	}{
		{"IPv4", nic("192.0.2.10/24"), map[int][]string{0: {"192.0.2.10"}}, `^ens192 has 192\.0\.2\.10 \(00:0c:29:01:02:03\), answered ARP after \d+ s and ping after \d+ s$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, tt.nic)
			plug(t, w.Ends()[0], guestMAC, tt.at)
			w.run(t)
			await(t, "all to answer", w.Complete)
			r := w.Results()[0]
			if !w.Answered() || !regexp.MustCompile(tt.want).MatchString(r.String()) {
				t.Errorf("answered %v: %s; want %s", w.Answered(), r, tt.want)
			}
		})
	}
}
