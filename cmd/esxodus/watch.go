package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"esxodus/convert/report"
	"esxodus/convert/runs"

	"github.com/urfave/cli/v2"
)

func watchCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "look on while migrations run, from another session",
		ArgsUsage: " ",
		Description: `Shows a line for each migration on record and one for all, on a terminal of 40 columns
or more, until none is running any more. Ctrl-C ends the looking on alone. Where its
output is no terminal it prints a line when something has changed; with --output json
an object for it. It reads the journals, and changes nothing.`,
		Flags: slices.Concat(stateFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "follow", Usage: "go on when none is running, as before a batch begins"},
		}, outputFlags()),
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no argument"); err != nil {
				return err
			}
			wantJSON, err := asJSON(c)
			if err != nil {
				return err
			}
			dir, err := stateDir(c)
			if err != nil {
				return err
			}
			return watch(c.Context, t, dir, wantJSON, c.Bool("follow"))
		},
	}
}

// watch shows the runs until none is at work, or ctx ends.
func watch(ctx context.Context, t terminal, dir runs.StateDir, wantJSON, follow bool) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	w := watcher{terminal: t, json: wantJSON, last: make(map[string]string)}
	for {
		states, err := dir.List()
		if err != nil {
			return err
		}
		if err := w.show(states); err != nil {
			return err
		}
		running := slices.ContainsFunc(states, func(s runs.State) bool { return s.Running })
		if !running && !follow {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil // that is how one stops looking on
		}
	}
}

// watcher shows runs again and again.
type watcher struct {
	terminal
	json  bool
	drawn int
	last  map[string]string // what was printed of each
}

func (w *watcher) show(states []runs.State) error {
	b := report.BoardOf(states)
	width, height := terminalSize(w.out)
	if width == 0 || w.json {
		return w.changes(b)
	}
	b.Most = max(height-1, 0)
	lines := b.Lines(width)
	if len(states) == 0 {
		lines = []string{"no migration is recorded"}
	}
	if w.drawn > 0 {
		fmt.Fprintf(w.out, "\x1b[%dA\x1b[J", w.drawn)
	}
	w.drawn = len(lines)
	for _, l := range lines {
		if _, err := fmt.Fprintln(w.out, l); err != nil {
			return err
		}
	}
	return nil
}

// changes prints the rows that say something else than when they were last printed, or
// ten percent more.
func (w *watcher) changes(b *report.Board) error {
	for _, r := range b.Rows {
		key := fmt.Sprint(r.What, r.Done, r.Failed)
		if r.Pace != nil && r.Pace.Total > 0 {
			key += fmt.Sprint(" ", r.Pace.Done*10/r.Pace.Total)
		}
		if w.last[r.Name] == key {
			continue
		}
		w.last[r.Name] = key
		var err error
		if w.json {
			err = json.NewEncoder(w.out).Encode(eventLine{time.Now().UTC(), r.Name, r.What, r.Done, r.Failed, r.Pace})
		} else {
			_, err = fmt.Fprintln(w.out, plainLine(r))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
