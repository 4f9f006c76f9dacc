package batch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/inventory/redact"
)

// stage is how far a VM of a batch is.
type stage int

const (
	waiting   stage = iota
	migrating       // it holds one of the places
	ready           // its turn to take its place hasn't come
	cutting         // it holds one of the other places
	ended
)

// car is one VM on its way through a wave.
type car struct {
	plan.Turn
	index int // of the plan's VMs
	stage stage
	began time.Time // the cutover
	ready time.Time // when the next of the chain may begin; zero until this one has ended
}

// schedule decides which VM of a batch does what, and when. All of it is decided by one
// goroutine; those that it starts only work.
type schedule struct {
	plan    *plan.Plan
	options Options
	migrate func(i int) Result
	results []Result
	through map[string]bool // by name: has come through, or hasn't
	left    map[string][]int
	events  chan func() // what has ended says so
	places  int         // for migrations
	from    map[int]int // how many are under way from each source
	cuts    int         // for cutovers: each starts a machine
	pace    pace
	now     func() time.Time
}

func newSchedule(p *plan.Plan, o Options, migrate func(int) Result) *schedule {
	s := &schedule{
		plan: p, options: o, migrate: migrate, results: make([]Result, len(p.VMs)),
		through: make(map[string]bool), left: make(map[string][]int), from: make(map[int]int), events: make(chan func()), pace: pace{overhead: plan.Overhead(p.Target.VirtType)}, places: max(o.Parallel, 1), cuts: max(o.Parallel, 1), now: time.Now,
	}
	for i := range p.VMs {
		s.left[p.VMs[i].Name] = append(s.left[p.VMs[i].Name], i)
	}
	return s
}

// wave carries out one wave.
func (s *schedule) wave(ctx context.Context, w plan.Wave) {
	var cars []*car
	for _, t := range w.VMs {
		of := s.left[t.VM]
		if len(of) == 0 {
			continue // [plan.Plan.Check] has had it
		}
		s.left[t.VM] = of[1:]
		cars = append(cars, &car{Turn: t, index: of[0]})
	}
	stop := s.options.Stop
	for {
		next := s.step(ctx, cars)
		if !slices.ContainsFunc(cars, func(c *car) bool { return c.stage != ended }) {
			return
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(next.Sub(s.now()))
		}
		select {
		case tell := <-s.events:
			tell()
		case <-timer:
		case <-stop:
			stop = nil // looked at by each step
		}
	}
}

// step begins what may begin, and returns when more may.
func (s *schedule) step(ctx context.Context, cars []*car) (next time.Time) {
	for _, c := range cars {
		if c.stage == waiting {
			s.begin(ctx, c)
		}
	}
	chains := make(map[int]*car) // the last of each source's
	for _, c := range cars {
		from := s.fromOf(c)
		if c.stage == ready {
			at := s.turn(c, chains[from])
			switch {
			case s.leave(ctx, c):
			case at.IsZero():
			case !at.After(s.now()):
				if s.cuts > 0 {
					s.cut(ctx, c)
				}
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
		if c.Chained && (c.stage != ended || !c.ready.IsZero()) {
			chains[from] = c
		}
	}
	return next
}

// begin begins a VM's migration, if it may by now, or ends it, if it never will.
func (s *schedule) begin(ctx context.Context, c *car) {
	why := ""
	for _, name := range c.After {
		through, known := s.through[name]
		switch {
		case known && !through:
			why = fmt.Sprintf("it comes after %s, which hasn't come through", name)
		case !known:
			return // it may yet
		}
	}
	switch {
	case ctx.Err() != nil:
		why = "not started: " + context.Cause(ctx).Error()
	case s.stopping():
		why = "not started: it was asked to stop"
	case why != "":
	case s.places == 0, s.options.PerHost > 0 && s.from[s.fromOf(c)] >= s.options.PerHost:
		return
	default:
		why = s.outside(c)
	}
	if why != "" {
		r := &s.results[c.index]
		r.Name, r.VM, r.Did, r.Error = c.VM, s.plan.VMs[c.index].Source.Name, DidLeave, why
		s.end(c, false)
		return
	}
	s.places--
	s.from[s.fromOf(c)]++
	c.stage = migrating
	began := s.now()
	go func() {
		r := s.migrate(c.index)
		s.events <- func() { s.arrived(c, r, s.now().Sub(began)) }
	}()
}

// fromOf is the number of the source that a VM is on.
func (s *schedule) fromOf(c *car) int { return s.plan.VMs[c.index].From }

func (s *schedule) stopping() bool {
	select {
	case <-s.options.Stop:
		return true
	default:
		return false
	}
}

// outside says why a VM wouldn't be done within the window, "" where it would.
func (s *schedule) outside(c *car) string {
	if s.options.Until.IsZero() {
		return ""
	}
	need := s.pace.estimate(&s.plan.VMs[c.index], s.plan.SourceOf(c.index).Expected())
	if left := s.options.Until.Sub(s.now()); left < need {
		return fmt.Sprintf("not started: it takes about %v, and %s is in %v (--until)", need, s.options.Until.Format("15:04"), max(left, 0).Round(time.Second))
	}
	return ""
}

// arrived takes in what a migration came to.
func (s *schedule) arrived(c *car, r Result, took time.Duration) {
	s.places++
	s.from[s.fromOf(c)]--
	s.results[c.index] = r
	if r.Did == DidConvert && r.Error == "" {
		s.pace.add(&s.plan.VMs[c.index], took)
	}
	complete := r.Error == "" && (r.Phase == runs.PhaseReady || r.Phase == runs.PhaseUnseen)
	switch {
	case r.Error == "" && s.options.Cutover == nil || r.Error == "" && !complete: // committed before
		s.end(c, true)
	case r.Error != "":
		s.end(c, false)
	default:
		c.stage = ready
	}
}

// leave leaves a migrated VM where it is, if nothing may be begun any more, and reports
// whether it did.
func (s *schedule) leave(ctx context.Context, c *car) bool {
	switch r := &s.results[c.index]; {
	case ctx.Err() != nil:
		r.Error = "not cut over: " + redact.Text(context.Cause(ctx).Error())
	case s.stopping():
		r.Error = "not cut over: it was asked to stop"
	default:
		return false
	}
	s.end(c, false)
	return true
}

// turn is when a migrated VM may take its place: at once, or after the one before it in
// the chain; zero as long as that isn't known.
func (s *schedule) turn(c, before *car) time.Time {
	switch {
	case !c.Chained || before == nil:
		return s.now()
	case before.stage != ended:
		return time.Time{}
	}
	return before.ready
}

// cut begins a VM's cutover.
func (s *schedule) cut(ctx context.Context, c *car) {
	s.cuts--
	c.stage, c.began = cutting, s.now()
	go func() {
		err := s.options.Cutover(ctx, c.VM)
		s.events <- func() { s.inPlace(c, err) }
	}()
}

// inPlace takes in what a cutover came to.
func (s *schedule) inPlace(c *car, err error) {
	s.cuts++
	r := &s.results[c.index]
	r.InPlace = err == nil
	if err != nil {
		r.Error = redact.Text(err.Error())
	}
	c.ready = s.now()
	if err == nil && !c.Heartbeat {
		c.ready = c.began.Add(time.Duration(c.Delay) * time.Second)
	}
	s.end(c, err == nil)
}

func (s *schedule) end(c *car, through bool) {
	c.stage = ended
	s.through[c.VM] = through
	if s.options.Told != nil {
		s.options.Told(s.results[c.index])
	}
}

// pace is how fast the migrations of a batch have been.
type pace struct {
	bytes    int64
	took     time.Duration
	overhead time.Duration // beside the copy
}

func (p *pace) add(v *plan.VMPlan, took time.Duration) {
	p.bytes += v.Sizes.Read()
	p.took += max(took-p.overhead, 0)
}

// estimate says about how long a VM's migration takes, by those that were, or else by
// what its source is expected to bring, in bytes a second.
func (p *pace) estimate(v *plan.VMPlan, rate int64) time.Duration {
	const enough = time.Minute
	if p.took > enough {
		rate = int64(float64(p.bytes) / p.took.Seconds())
	}
	return v.Estimate(rate) + p.overhead
}
