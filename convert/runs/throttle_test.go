package runs

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeed: what is asked while one listens is given once, what was asked before never,
// and an error of reading it once, after which the next is heard.
func TestHeed(t *testing.T) {
	dir := StateDir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		rate, connections := int64(1<<20), 2
		ask := func(th Throttle) {
			th.At = time.Now()
			if err := dir.SetThrottle(th); err != nil {
				t.Fatal(err)
			}
		}
		ask(Throttle{Rate: &rate})
		var got []Throttle
		var errs []error
		stop := dir.Heed(func(th Throttle, err error) {
			if err != nil {
				errs = append(errs, err)
				return
			}
			got = append(got, th)
		})
		wait := func(asked, failed int) {
			t.Helper()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if len(got) != asked || len(errs) != failed {
				t.Errorf("%d asked, errors %v; want %d and %d", len(got), errs, asked, failed)
			}
		}
		wait(0, 0)
		ask(Throttle{Connections: &connections})
		wait(1, 0)
		if err := os.WriteFile(filepath.Join(string(dir), "throttle"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		wait(1, 1)
		ask(Throttle{Rate: &rate})
		wait(2, 1)
		stop()
		ask(Throttle{Rate: &rate})
		wait(2, 1)
		if got[0].Rate != nil || *got[0].Connections != connections || *got[1].Rate != rate {
			t.Errorf("asked: %+v", got)
		}
	})
}
