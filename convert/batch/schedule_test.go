package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/runs"
)

// diary is what happened in a batch, each with the seconds since its beginning.
type diary struct {
	mu    sync.Mutex
	begun time.Time
	lines []string
	atOnce,
	most int
}

func (d *diary) add(what, vm string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%d %s %s", int(time.Since(d.begun).Seconds()), what, vm))
}

func (d *diary) at(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.atOnce += n
	d.most = max(d.most, d.atOnce)
}

// play plays a batch of VMs whose migrations take as many seconds as take says.
func play(t *testing.T, p *plan.Plan, o Options, take map[string]int, fails ...string) (*diary, []Result) {
	t.Helper()
	d := &diary{begun: time.Now()}
	if o.Cutover != nil {
		o.Cutover = func(_ context.Context, name string) error {
			d.add("cut", name)
			time.Sleep(2 * time.Second)
			if slices.Contains(fails, "cut "+name) {
				return errors.New("it doesn't answer")
			}
			return nil
		}
	}
	s := newSchedule(p, o, func(i int) Result {
		name := p.VMs[i].Name
		d.add("begin", name)
		d.at(1)
		time.Sleep(time.Duration(take[name]) * time.Second)
		d.at(-1)
		if slices.Contains(fails, name) {
			return Result{Name: name, Did: DidConvert, Error: "it failed"}
		}
		return Result{Name: name, Did: DidConvert, Phase: runs.PhaseReady}
	})
	for _, w := range p.Ordered() {
		s.wave(t.Context(), w)
	}
	return d, s.results
}

func vms(names ...string) []plan.VMPlan {
	var out []plan.VMPlan
	for _, n := range names {
		out = append(out, plan.VMPlan{Name: n})
	}
	return out
}

// wantDiary holds a diary to what is wanted. What happened at one instant has no order.
func wantDiary(t *testing.T, d *diary, want ...string) {
	t.Helper()
	slices.Sort(d.lines)
	slices.Sort(want)
	if !slices.Equal(d.lines, want) {
		t.Errorf("it happened:\n  %s\nwant:\n  %s", strings.Join(d.lines, "\n  "), strings.Join(want, "\n  "))
	}
}

// some is what makes a batch cut over.
func some(context.Context, string) error { return nil }

// TestWaves: a wave begins when the one before has ended, and in each no more than so
// many work at a time, in their order.
func TestWaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("a", "b", "c", "d"), Order: &plan.Order{Waves: []plan.Wave{
			{Name: "1", VMs: []plan.Turn{{VM: "c"}, {VM: "a"}, {VM: "d"}}},
			{Name: "2", VMs: []plan.Turn{{VM: "b"}}},
		}}}
		d, _ := play(t, p, Options{Parallel: 2}, map[string]int{"a": 10, "b": 1, "c": 3, "d": 4})
		wantDiary(t, d, "0 begin a", "0 begin c", "3 begin d", "10 begin b")
		if d.most != 2 {
			t.Errorf("%d at a time, want 2", d.most)
		}
	})
}

// TestAfter: a VM comes after others of its wave, and not at all where one of them, or
// of the wave before, hasn't come through. Others don't suffer.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("web", "db", "mail", "old", "app"), Order: &plan.Order{Waves: []plan.Wave{
			{Name: "1", VMs: []plan.Turn{{VM: "web", After: []string{"db"}}, {VM: "db"}, {VM: "old"}, {VM: "mail", After: []string{"old"}}}},
			{Name: "2", VMs: []plan.Turn{{VM: "app", After: []string{"mail"}}}},
		}}}
		d, r := play(t, p, Options{Parallel: 1}, map[string]int{"web": 1, "db": 5, "old": 1}, "old")
		wantDiary(t, d, "0 begin db", "5 begin web", "6 begin old")
		for i, want := range []string{"", "", "it comes after old, which hasn't come through", "it failed", "it comes after mail, which hasn't come through"} {
			if r[i].Error != want || r[i].Did == DidLeave != strings.HasPrefix(want, "it comes") {
				t.Errorf("%s: %+v; want %q", p.VMs[i].Name, r[i], want)
			}
		}
	})
}

// TestChain: VMs take their place in the order and with the delays of the source's
// autostart, however fast each is migrated; the others as soon as they can.
func TestChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("dns", "db", "web", "lone"), Order: &plan.Order{Waves: []plan.Wave{{Name: "1", VMs: []plan.Turn{
			{VM: "dns", Chained: true, Delay: 30}, {VM: "db", Chained: true, Delay: 60, Heartbeat: true}, {VM: "web", Chained: true}, {VM: "lone"},
		}}}}}
		d, r := play(t, p, Options{Parallel: 4, Cutover: some}, map[string]int{"dns": 20, "db": 1, "web": 2, "lone": 3})
		wantDiary(t, d, "0 begin db", "0 begin dns", "0 begin lone", "0 begin web", "3 cut lone", "20 cut dns", "50 cut db", "52 cut web")
		for i := range r {
			if !r[i].InPlace || r[i].Error != "" {
				t.Errorf("%+v; want it in its place", r[i])
			}
		}
	})
}

// TestChainBroken: one that isn't put in its place holds up no other, but for those that
// come after it.
func TestChainBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("dns", "db", "web", "app"), Order: &plan.Order{Waves: []plan.Wave{{Name: "1", VMs: []plan.Turn{
			{VM: "dns", Chained: true, Delay: 30}, {VM: "db", Chained: true, Delay: 60}, {VM: "web", Chained: true}, {VM: "app", After: []string{"db"}},
		}}}}}
		d, r := play(t, p, Options{Parallel: 4, Cutover: some}, nil, "dns", "cut db")
		wantDiary(t, d, "0 begin db", "0 begin dns", "0 begin web", "0 cut db", "2 cut web")
		for i, want := range []string{"it failed", "it doesn't answer", "", "it comes after db, which hasn't come through"} {
			if r[i].Error != want || r[i].InPlace != (want == "") {
				t.Errorf("%+v; want %q", r[i], want)
			}
		}
	})
}

// TestUntil: nothing begins that wouldn't be done by then, by what the ones before took.
func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("a", "b", "c")}
		const hour = 3600
		for i, hours := range []int64{1, 2, 1} {
			p.VMs[i].Sizes.Provisioned = hours * hour * 1 << 20
		}
		o := Options{Parallel: 1, Until: time.Now().Add(205 * time.Minute)}
		// At the usual rate two hours of this are two minutes; it comes at 1 MiB/s.
		_, r := play(t, p, o, map[string]int{"a": hour + 480, "b": 2*hour + 480, "c": hour})
		for i, want := range []string{"", "", "--until"} {
			if got := r[i].Error; (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", p.VMs[i].Name, got, want)
			}
		}
		if want := "not started: it takes about 1h8m0s, and "; !strings.HasPrefix(r[2].Error, want) {
			t.Errorf("%q; want %q", r[2].Error, want)
		}
	})
}

// TestStop: what is at work ends, and nothing is begun any more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(stop) })
		d, r := play(t, &plan.Plan{VMs: vms("a", "b", "c")}, Options{Parallel: 1, Stop: stop}, map[string]int{"a": 3, "b": 10, "c": 1})
		wantDiary(t, d, "0 begin a", "3 begin b")
		if r[1].Error != "" || r[2].Did != DidLeave {
			t.Errorf("%+v", r)
		}
	})
}

// TestStopCutover: what waits for its turn to take its VM's place stays where it is, and
// says so.
func TestStopCutover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(stop) })
		p := &plan.Plan{VMs: vms("dns", "web"), Order: &plan.Order{Waves: []plan.Wave{{Name: "1", VMs: []plan.Turn{
			{VM: "dns", Chained: true, Delay: 60}, {VM: "web", Chained: true},
		}}}}}
		d, r := play(t, p, Options{Parallel: 2, Stop: stop, Cutover: some}, nil)
		wantDiary(t, d, "0 begin dns", "0 begin web", "0 cut dns")
		if !r[0].InPlace || r[1].InPlace || r[1].Did != DidConvert || r[1].Error != "not cut over: it was asked to stop" {
			t.Errorf("%+v", r)
		}
	})
}

// TestCutsAtOnce: of VMs that wait for no other, no more than so many start at a time.
func TestCutsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := play(t, &plan.Plan{VMs: vms("a", "b", "c")}, Options{Parallel: 2, Cutover: some}, map[string]int{"b": 1, "c": 1})
		d.lines = slices.DeleteFunc(d.lines, func(l string) bool { return !strings.Contains(l, "cut") })
		for i := range d.lines {
			d.lines[i], _, _ = strings.Cut(d.lines[i], " cut ") // b and c are ready at one instant
		}
		wantDiary(t, d, "0", "1", "2")
	})
}

// TestPerHost: of one host no more than so many are migrated at a time, and others' go on.
func TestPerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("a", "b", "c", "d"), More: make([]plan.Source, 1)}
		p.VMs[3].From = 1
		d, _ := play(t, p, Options{Parallel: 3, PerHost: 1}, map[string]int{"a": 2, "b": 3, "c": 1, "d": 1})
		wantDiary(t, d, "0 begin a", "0 begin d", "2 begin b", "5 begin c")
	})
}

// TestChains: what one host's autostart waits for is no matter of another's.
func TestChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan.Plan{VMs: vms("dns", "web", "mail"), More: make([]plan.Source, 1), Order: &plan.Order{Waves: []plan.Wave{{Name: "1", VMs: []plan.Turn{
			{VM: "dns", Chained: true, Delay: 60}, {VM: "mail", Chained: true}, {VM: "web", Chained: true},
		}}}}}
		p.VMs[2].From = 1
		d, _ := play(t, p, Options{Parallel: 3, Cutover: some}, nil)
		d.lines = slices.DeleteFunc(d.lines, func(l string) bool { return !strings.Contains(l, "cut") })
		wantDiary(t, d, "0 cut dns", "0 cut mail", "60 cut web")
	})
}
