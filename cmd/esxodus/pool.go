package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/inventory"

	"github.com/urfave/cli/v2"
)

// pool keeps what runs are acted on through: one for all that come from the same place
// and go to the same place, so that one session and one password do.
type pool struct {
	c    *cli.Context
	t    terminal
	mu   sync.Mutex
	made map[string]*effects
	// hosts are the sources' as they were when first asked for.
	hosts map[*effects]*inventory.Host
}

func newPool(c *cli.Context, t terminal) *pool {
	return &pool{c: c, t: t, made: make(map[string]*effects), hosts: make(map[*effects]*inventory.Host)}
}

// facts returns what reads a source's host, once for all of its runs.
func (p *pool) facts(e *effects) func(context.Context) (*inventory.Host, error) {
	return func(ctx context.Context) (*inventory.Host, error) {
		if h := p.hosts[e]; h != nil {
			return h, nil
		}
		h, err := e.Host.Inventory(ctx)
		if err == nil {
			p.hosts[e] = h
		}
		return h, err
	}
}

// of returns the effects for a run's job.
func (p *pool) of(job *plan.VMJob) (*effects, error) {
	key, err := json.Marshal([]any{job.Source, job.Target.Storage, job.Target.Libvirt})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.made[string(key)]; e != nil {
		return e, nil
	}
	e, err := runEffects(p.c, p.t, job)
	if err == nil {
		e.Lost = p.c.Bool("lost")
		p.made[string(key)] = e
	}
	return e, err
}

func (p *pool) close(ctx context.Context) {
	for _, e := range p.made {
		e.Close(ctx)
	}
}

// onRun opens a run's journal and acts on it.
func onRun(ctx context.Context, p *pool, dir runs.StateDir, name string,
	act func(context.Context, *runs.Journal, *effects) error,
) (err error) {
	j, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	e, err := p.of(j.Job())
	if err != nil {
		return err
	}
	return waysOn(act(ctx, j, e), j)
}
