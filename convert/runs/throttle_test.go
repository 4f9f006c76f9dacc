package runs

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeedClocks: what is asked counts, whatever the clock of the one who asks says: one
// that is behind, and one that was ahead before.
func TestHeedClocks(t *testing.T) {
	dir := StateDir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ask := func(after time.Duration, connections int) {
			if err := dir.SetThrottle(Throttle{At: begin.Add(after), Connections: &connections}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		ask(24*time.Hour, 1)
		var got []int
		stop := dir.Heed(func(th Throttle, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, *th.Connections)
		})
		ask(-time.Hour, 2)
		ask(48*time.Hour, 3)
		ask(time.Minute, 4)
		stop()
		if want := []int{2, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
	})
}

// TestHeedBoth: who asks for one thing, and then for another before anybody has looked,
// gets both.
func TestHeedBoth(t *testing.T) {
	dir := StateDir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		rate, connections := int64(1<<20), 2
		var got Throttle
		stop := dir.Heed(func(th Throttle, err error) {
			if err != nil {
				t.Error(err)
			}
			if th.Rate != nil {
				got.Rate = th.Rate
			}
			if th.Connections != nil {
				got.Connections = th.Connections
			}
		})
		for _, th := range []Throttle{{At: time.Now(), Rate: &rate}, {At: time.Now(), Connections: &connections}} {
			if err := dir.SetThrottle(th); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
		if got.Rate == nil || *got.Rate != rate || got.Connections == nil || *got.Connections != connections {
			t.Errorf("heard %+v; want both", got)
		}
	})
}

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
		if err := os.WriteFile(dir.throttles()[0], []byte("{"), 0o600); err != nil {
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
