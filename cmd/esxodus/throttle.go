package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/runs"

	"github.com/urfave/cli/v2"
)

func throttleCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:  "throttle",
		Usage: "change the speed of the copies that are under way",
		Description: `Changes --rate and --connections of the programs that are at work now (convert,
resume, batch, verify --source), within a second or two; each of them has the limit
for all of its disks. It says nothing about those that begin later.

  esxodus throttle --rate 20M          # so many bytes a second
  esxodus throttle --rate none
  esxodus throttle --connections 2
  esxodus throttle --connections auto  # what is found to be best`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "rate", Usage: "copy at most `N` bytes a second in all (K, M and G are powers of 1024), or none"},
			&cli.StringFlag{Name: "connections", Usage: "read over `N` connections in all, 1 to 8, or auto"},
		}, stateFlags()),
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no argument"); err != nil {
				return err
			}
			asked, err := throttleOf(c)
			if err != nil {
				return err
			}
			dir, err := stateDir(c)
			if err != nil {
				return err
			}
			running, err := atWork(dir)
			if err != nil {
				return err
			}
			if err := dir.SetThrottle(asked); err != nil {
				return err
			}
			_, err = fmt.Fprintf(t.out, "asked of: %s\n", strings.Join(running, ", "))
			return err
		},
	}
}

// throttleOf is what the flags ask.
func throttleOf(c *cli.Context) (runs.Throttle, error) {
	asked := runs.Throttle{At: time.Now()}
	switch s := c.String("rate"); s {
	case "":
	case "none":
		asked.Rate = new(int64)
	default:
		n, err := parseBytes(s)
		if err != nil {
			return asked, err
		}
		asked.Rate = &n
	}
	switch s := c.String("connections"); s {
	case "":
	case "auto":
		asked.Connections = new(int)
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 8 {
			return asked, usagef("--connections %q: want 1 to 8, or auto", s)
		}
		asked.Connections = &n
	}
	if asked.Rate == nil && asked.Connections == nil {
		return asked, withHint(usagef("give --rate, --connections or both"), "such as --rate 20M, or --rate none: see `esxodus throttle --help`")
	}
	return asked, nil
}

// atWork are the migrations that a program is at work on.
func atWork(dir runs.StateDir) ([]string, error) {
	states, err := dir.List()
	var names []string
	for _, s := range states {
		if s.Running {
			names = append(names, s.Name)
		}
	}
	if len(names) > 0 {
		return names, nil // whatever is wrong with others
	}
	if err == nil {
		err = withHint(fmt.Errorf("no migration is running in %s", dir), "give --rate and --connections to convert, resume, batch or verify when you start them")
	}
	return nil, err
}
