package netrun

import (
	"context"
	"fmt"
	"os"

	"esxodus/network"
)

// record commits the changes where /etc is under version control: only our files
// where that is git, with etckeeper's hooks if it has any. One that fails is said:
// the network is as it should be.
func (x *executor) record(ctx context.Context, message string) {
	if err := x.commit(ctx, message); err != nil && x.Note != nil {
		x.Note(fmt.Sprintf("/etc's history lacks the change: %v", err))
	}
}

func (x *executor) commit(ctx context.Context, message string) error {
	etc := x.path("/etc")
	has := func(name string) bool {
		_, err := os.Stat(x.path("/etc/" + name))
		return err == nil
	}
	switch {
	case has(".git"):
		git := func(args ...string) ([]byte, error) {
			return x.Tool.Run(ctx, append(append([]string{"git", "-C", etc}, args...), append([]string{"--"}, x.paths()...)...)...)
		}
		if _, err := git("add", "--all"); err != nil {
			return err
		}
		if changed, err := git("status", "--porcelain"); err != nil || len(changed) == 0 {
			return err
		}
		_, err := git("commit", "--quiet", "-m", message)
		return err
	case has(".hg") || has(".bzr"):
		_, err := x.Tool.Run(ctx, "etckeeper", "commit", message)
		return err
	}
	return nil
}

// paths are the files of the run's.
func (x *executor) paths() []string {
	var out []string
	for _, s := range x.job.Changes.Steps {
		if s.Kind == network.StepFile {
			out = append(out, x.path(s.File.Path))
		}
	}
	return out
}
