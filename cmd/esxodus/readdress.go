package main

import (
	"context"
	"fmt"
	"strings"

	"esxodus/convert/batch"
	"esxodus/convert/plan"
	"esxodus/convert/report"
	"esxodus/convert/runs"
	"esxodus/convert/survey"

	"github.com/urfave/cli/v2"
)

// readdress plans those VMs of a saved plan anew whose addresses were edited, and
// shows what came of it. One that has begun with them goes on as it began.
func readdress(ctx context.Context, c *cli.Context, t terminal, p *plan.Plan, dir runs.StateDir, e *effects) error {
	shown := *p
	shown.VMs = nil
	var names []string
	for _, i := range p.Readdressed() {
		if batch.Begun(p, i, dir) {
			continue
		}
		if err := again(ctx, p, i, e); err != nil {
			return withHint(fmt.Errorf("the new addresses of %q: %w", p.VMs[i].Source.Name, err), "nothing was touched")
		}
		shown.VMs = append(shown.VMs, p.VMs[i])
		names = append(names, p.VMs[i].Source.Name)
	}
	if len(names) == 0 {
		return nil
	}
	t.say("note: ", "planned anew, as addresses were edited: "+strings.Join(names, ", "))
	if len(p.VMs) == 1 {
		return nil // all of it is shown anyway
	}
	return printPlan(c, t, t.err, &shown, report.Ask{Named: true})
}

// again plans VM i of a saved plan anew.
func again(ctx context.Context, p *plan.Plan, i int, e *effects) error {
	if err := e.onThisMachine(ctx); err != nil {
		return err
	}
	draft, err := survey.Gather(ctx, e.of(p.VMs[i].From).sources(), *p.SourceOf(i), p.Again(i))
	if err != nil {
		return err
	}
	return p.Replace(i, draft.Finish())
}
