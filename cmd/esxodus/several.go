package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"esxodus/convert/batch"
	"esxodus/convert/journal"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/runs"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
)

// severalUsage is what a command about runs takes that can be given several.
const severalUsage = "VM... | PLAN | --all"

// severalHelp says what those are.
const severalHelp = `

VM is the VM's name or id, or the domain's name. Several may be given, or a saved plan
for all of its VMs, of which --wave takes one wave, or --all for all on record that are
ready for it; it then says first which those are, and asks. One that fails stops no
other, and the exit code is then 3.`

// severalFlags choose several runs on record.
func severalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "all", Usage: "take all migrations on record that are ready for it"},
		&cli.StringFlag{Name: "wave", Usage: "with a plan: take only the VMs of its wave `NAME`"},
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask"},
	}
}

// severalCmd completes a command that acts on the runs of some VMs.
func severalCmd(t terminal, cmd *cli.Command, v *verb) *cli.Command {
	cmd.ArgsUsage = severalUsage
	cmd.Description += severalHelp
	cmd.Action = func(c *cli.Context) error {
		args, wantJSON, dir, err := severalArguments(c)
		if err != nil {
			return err
		}
		if !isSeveral(c, args) {
			return actOn(c, t, dir, args[0], v.act, wantJSON)
		}
		g, err := gather(c, dir, args)
		if err != nil {
			return err
		}
		return severally(c, t, dir, g, v, wantJSON)
	}
	return cmd
}

// verb is something that is done to several runs on record.
type verb struct {
	name string // of the command
	did  batch.Did
	// bare says why a run isn't ready for it; an error that wraps runs.ErrAlready where
	// that was done.
	bare func(s *runs.State) error
	// ripe says more of it where nobody named the run: it was one of a plan, or of all.
	ripe func(s *runs.State) error
	act  func(context.Context, *runs.Journal, *effects) error
	last bool // the last comes first
	asks bool // also where the runs were named
}

// selection is the runs that a command was given, in the order of a plan.
type selection struct {
	waves  []plan.Wave
	in     map[string]bool // by name: is among those
	states map[string]*runs.State
	named  bool           // one by one, and not by a plan or --all
	left   []batch.Result // that it can't be, each with why
}

// isSeveral reports whether a command line may mean more than one run.
func isSeveral(c *cli.Context, args []string) bool {
	return c.Bool("all") || c.IsSet("wave") || len(args) > 1 || len(args) == 1 && isPlan(args[0])
}

// severalArguments reads what a command about runs is given.
func severalArguments(c *cli.Context) (args []string, wantJSON bool, dir runs.StateDir, err error) {
	args = c.Args().Slice()
	switch {
	case len(args) == 0 && !c.Bool("all"):
		_, err = arguments(c, 1, -1, "VMs or domains, a plan, or --all")
	case len(args) > 0 && c.Bool("all"):
		err = usagef("--all and %q: give one of them", args[0])
	case c.IsSet("wave") && (len(args) != 1 || !isPlan(args[0])):
		err = usagef("--wave %s: it goes with a saved plan", c.String("wave"))
	}
	if err != nil {
		return nil, false, "", err
	}
	if wantJSON, err = asJSON(c); err != nil {
		return nil, false, "", err
	}
	dir, err = stateDir(c)
	return args, wantJSON, dir, err
}

// gather finds the runs that were asked for.
func gather(c *cli.Context, dir runs.StateDir, args []string) (*selection, error) {
	g := &selection{states: make(map[string]*runs.State), in: make(map[string]bool)}
	switch {
	case c.Bool("all"):
		return g, g.addAll(dir)
	case len(args) == 1 && isPlan(args[0]):
		p, err := loadPlan(c.Context, args[0])
		if err != nil {
			return nil, err
		}
		return g, g.addPlan(dir, p, c.String("wave"))
	}
	g.named = true
	return g, g.addNamed(dir, args)
}

// addNamed takes the runs that were named, in that order.
func (g *selection) addNamed(dir runs.StateDir, args []string) error {
	w := plan.Wave{Name: "named"}
	for _, arg := range args {
		name, err := dir.Find(arg)
		if err != nil {
			return err
		}
		if g.in[name] {
			return usagef("%s is given twice", name)
		}
		s, err := dir.State(name)
		if err != nil {
			return err
		}
		g.states[name], g.in[name] = &s, true
		w.VMs = append(w.VMs, plan.Turn{VM: name})
	}
	g.add(w)
	return nil
}

// add adds a wave.
func (g *selection) add(w plan.Wave) {
	g.waves = append(g.waves, w)
	for _, t := range w.VMs {
		g.in[t.VM] = true
	}
}

// addAll takes all runs that haven't ended: of each source's host a wave, in the order of
// its autostart.
func (g *selection) addAll(dir runs.StateDir) error {
	states, err := dir.List()
	if err != nil {
		return err
	}
	var hosts []string
	of := make(map[string][]*plan.VMPlan)
	for i := range states {
		s := &states[i]
		if s.Ended() {
			continue
		}
		g.states[s.Name] = s
		if of[s.Host] == nil {
			hosts = append(hosts, s.Host)
		}
		of[s.Host] = append(of[s.Host], &s.Job.VM)
	}
	for _, host := range hosts {
		g.add(plan.Wave{Name: host, VMs: plan.Turns(of[host], 0)})
	}
	return nil
}

// addPlan takes the runs of a plan's VMs, or of those of one wave.
func (g *selection) addPlan(dir runs.StateDir, p *plan.Plan, only string) error {
	var names []string
	for _, w := range p.Ordered() {
		names = append(names, w.Name)
		if only == "" || w.Name == only {
			g.add(plan.Wave{Name: w.Name, VMs: slices.Clone(w.VMs)})
		}
	}
	if len(g.waves) == 0 {
		return usagef("--wave %s: the plan has the waves %q", only, names)
	}
	for i := range p.VMs {
		v := &p.VMs[i]
		if !g.in[v.Name] {
			continue
		}
		s, err := dir.State(v.Name)
		if err == nil && (s.Job.Source.Host != p.SourceOf(i).Host || s.Job.VM.Source.ID != v.Source.ID) {
			err = fmt.Errorf("%s on record is of %q from %s: the plan has another", s.Name, s.VM, s.Host)
		}
		if err != nil {
			g.leave(v.Name, batch.Result{Name: v.Name, VM: v.Source.Name, Did: batch.DidLeave, Error: redact.Text(err.Error())})
			continue
		}
		g.states[v.Name] = &s
	}
	return nil
}

// delay gives a run its host's delay, in seconds, where its VM has none of its own (-1):
// journals don't have that, and a plan has it already.
func (g *selection) delay(name string, host int) {
	if a := g.states[name].Job.VM.Source.AutoStart; a == nil || a.StartDelay >= 0 {
		return
	}
	for _, w := range g.waves {
		for i := range w.VMs {
			if t := &w.VMs[i]; t.VM == name && t.Chained {
				t.Delay = max(host, 0)
			}
		}
	}
}

// plan is what a schedule goes by: the runs' parts of their plans, in waves. What one
// comes after counts where that is among them; of the others, whether it has come through
// is known by now.
func (g *selection) plan() *plan.Plan {
	p := &plan.Plan{Order: &plan.Order{}}
	from := make(map[string]int) // by the address of the source
	for _, w := range g.waves {
		turns := slices.Clone(w.VMs)
		for i, t := range turns {
			turns[i].After = slices.DeleteFunc(slices.Clone(t.After), func(name string) bool { return !g.in[name] })
			job := g.states[t.VM].Job
			n, known := from[job.Source.URL]
			if !known {
				n = len(from)
				from[job.Source.URL] = n
			}
			job.VM.From = n
			p.VMs = append(p.VMs, job.VM)
		}
		p.Order.Waves = append(p.Order.Waves, plan.Wave{Name: w.Name, VMs: turns})
	}
	return p
}

// awaiting says which run that isn't in its VM's place, and isn't to be now, keeps
// another from being that: "" where none does.
func (g *selection) awaiting(dir runs.StateDir, t plan.Turn) string {
	for _, name := range t.After {
		if g.in[name] {
			continue
		}
		if s, err := dir.State(name); err != nil || !s.InPlace() && s.Phase != journal.PhaseCommitted {
			return name
		}
	}
	return ""
}

// leaveAwaiting leaves out the runs that come after one that isn't to come through.
func (g *selection) leaveAwaiting(dir runs.StateDir) {
	for again := true; again; {
		again = false
		for _, w := range g.waves {
			for _, t := range w.VMs {
				if name := g.awaiting(dir, t); name != "" {
					s := g.states[t.VM]
					g.leave(t.VM, batch.Result{Name: t.VM, VM: s.VM, Did: batch.DidLeave, Phase: s.Phase, Error: fmt.Sprintf("it comes after %s, which isn't in its VM's place", name)})
					again = true
					break
				}
			}
		}
	}
}

// leave takes a run out, with what is said of it.
func (g *selection) leave(name string, r batch.Result) {
	delete(g.in, name)
	for i := range g.waves {
		g.waves[i].VMs = slices.DeleteFunc(g.waves[i].VMs, func(t plan.Turn) bool { return t.VM == name })
	}
	g.left = append(g.left, r)
}

// names are those of the runs, in their order.
func (g *selection) names() []string {
	var out []string
	for _, w := range g.waves {
		for _, t := range w.VMs {
			out = append(out, t.VM)
		}
	}
	return out
}

// sift leaves out what can't be, and what was done already.
func (g *selection) sift(v *verb) {
	for _, name := range g.names() {
		s := g.states[name]
		err := v.bare(s)
		if err == nil && !g.named && v.ripe != nil {
			err = v.ripe(s)
		}
		if err == nil {
			continue
		}
		r := batch.Result{Name: name, VM: s.VM, Did: batch.DidLeave, Phase: s.Phase, InPlace: s.InPlace(), Error: redact.Text(err.Error())}
		if errors.Is(err, runs.ErrAlready) {
			r.Did, r.Error = batch.DidPass, ""
		}
		g.leave(name, r)
	}
}

// errNone means that of all that was asked for nothing is to be done.
var errNone = errors.New("no migration is ready for it; nothing was changed")

// ask says what a command would do to which runs, and asks where they weren't named.
func (g *selection) ask(c *cli.Context, t terminal, v *verb) error {
	if err := report.Chosen(t.err, t.form(t.err), v.name, g.names(), g.left); err != nil {
		return err
	}
	n := len(g.names())
	if n == 0 || g.named && !v.asks {
		return nil
	}
	return confirm(c, t, fmt.Sprintf("%s %s now?", v.name, fit.Count(n, "migration")))
}

// hosts counts the hosts that the chosen runs' VMs are on.
func (g *selection) hosts() int {
	seen := make(map[string]bool)
	for _, name := range g.names() {
		seen[g.states[name].Job.Source.URL] = true
	}
	return len(seen)
}

// severally does something to each of several runs, one after the other.
func severally(c *cli.Context, t terminal, dir runs.StateDir, g *selection, v *verb, wantJSON bool) error {
	g.sift(v)
	t.several = g.hosts() > 1
	if err := t.mayBeSeveral(c, "esxi"); err != nil {
		return err
	}
	if err := g.ask(c, t, v); err != nil {
		return err
	}
	names := g.names()
	if v.last {
		slices.Reverse(names)
	}
	p := newPool(c, t)
	defer p.close(c.Context)
	var results []batch.Result
	for _, name := range names {
		results = append(results, oneOfSeveral(c, p, dir, g.states[name], v))
	}
	return g.told(c, t, results, wantJSON)
}

// oneOfSeveral does something to one run.
func oneOfSeveral(c *cli.Context, p *pool, dir runs.StateDir, s *runs.State, v *verb) batch.Result {
	r := batch.Result{Name: s.Name, VM: s.VM, Did: v.did}
	err := context.Cause(c.Context)
	if err == nil {
		err = onRun(c.Context, p, dir, s.Name, v.act)
	}
	p.t.hooks.run(dir, s.Name, err)
	if err != nil && !errors.Is(err, runs.ErrAlready) {
		r.Error = redact.Text(err.Error())
	}
	if now, err := dir.State(s.Name); err == nil {
		r.Phase, r.InPlace = now.Phase, now.InPlace() && v.did != batch.DidCommit
	}
	return r
}

// told prints what became of several runs, and of those that were asked for and left out.
func (g *selection) told(c *cli.Context, t terminal, results []batch.Result, wantJSON bool) error {
	if !c.Bool("all") {
		results = slices.Concat(g.left, results)
	}
	var err error
	if wantJSON {
		for i := range results {
			results[i].Error = t.advice.complete(results[i].Error)
		}
		err = printJSON(t.out, results)
	} else {
		err = report.Results(t.out, t.form(t.out), results)
	}
	failed := batchError(c.Context, results)
	if len(results) == 0 {
		failed = &exitError{code: exitFailed, err: errNone, hint: "`esxodus status` shows how each stands"}
	}
	return errors.Join(err, failed)
}

// mayCommit says why a run can't be committed.
func mayCommit(s *runs.State) error {
	switch {
	case s.Phase == journal.PhaseCommitted:
		return runs.ErrAlready
	case !s.Complete() && s.Phase != journal.PhaseCommitting:
		return fmt.Errorf("%s is %s: only a finished migration can be committed", s.Name, s.Phase)
	}
	return s.NoEnd(true)
}

// served wants that a domain is in its VM's place, where nobody named its run.
func served(s *runs.State) error {
	if s.InPlace() || s.Phase == journal.PhaseCommitting {
		return nil
	}
	return fmt.Errorf("its domain isn't in the place of %q: `esxodus cutover %s`, or commit it by its name", s.VM, s.Name)
}

// mayRollBack says why a run can't be rolled back.
func mayRollBack(s *runs.State) error {
	switch s.Phase {
	case journal.PhaseRolledBack:
		return runs.ErrAlready
	case journal.PhaseCommitted, journal.PhaseCommitting:
		return fmt.Errorf("%s is %s: nothing is left to roll back", s.Name, s.Phase)
	}
	return s.NoEnd(false)
}
