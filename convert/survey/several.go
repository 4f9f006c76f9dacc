package survey

import (
	"context"
	"fmt"

	"esxodus/convert/plan"
	"esxodus/inventory"

	"golang.org/x/sync/errgroup"
)

// From is one of several hosts that a plan is made from.
type From struct {
	Host   Host
	Source plan.Source
}

// GatherAll does for several hosts what [Gather] does for one, whose drafts
// [plan.Finish] makes one plan of. Where VMs are named, a host that has none of them has
// no draft. s.Host isn't used.
func GatherAll(ctx context.Context, s Sources, from []From, o plan.Options) ([]*plan.Draft, error) {
	hosts := make([]*inventory.Host, len(from))
	g, reading := errgroup.WithContext(ctx)
	for i, f := range from {
		g.Go(func() (err error) {
			hosts[i], err = f.Host.Inventory(reading)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	each, err := o.Divide(hosts)
	if err != nil {
		return nil, fmt.Errorf("%w; `esxodus inventory` lists names and ids", err)
	}
	var drafts []*plan.Draft
	for i, f := range from {
		if len(o.VMs) > 0 && len(each[i].VMs) == 0 {
			continue
		}
		s.Host = f.Host
		d, err := gather(ctx, s, hosts[i], f.Source, each[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Source.URL, err)
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}
