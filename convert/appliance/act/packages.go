package act

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/appliance"
)

// Programs of the guest that package managers' scripts call, and that must do
// nothing meanwhile: a new initrd takes minutes (initrds are extended instead),
// the index of manual pages many seconds (a timer renews it). What is covered
// can't be removed: they must not be of a package that goes.
var idle = []string{"/usr/sbin/update-initramfs", "/usr/bin/mandb"} //nolint:gochecknoglobals // a constant table

// Scripts that stand in for programs.
const (
	doNothing = "#!/bin/sh\nexit 0\n"
	noService = "#!/bin/sh\nexit 101\n" // invoke-rc.d: starting is not allowed
)

const policy = "/usr/sbin/policy-rc.d"

// prepare makes the guest's tree one in which packages can be worked on
// without a service being started, or anything left behind in /run.
func (r *run) prepare(ctx context.Context) error {
	for _, dir := range []string{"/run", "/tmp"} {
		info, err := r.tree.Lstat(rel(dir))
		if err == nil && info.IsDir() {
			r.stage = dir
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if r.stage == "" {
		return errors.New("the guest has no directory /run or /tmp")
	}
	if err := r.cover(ctx, r.stage, ""); err != nil {
		return err
	}
	if err := r.MkdirAll(ctx, path.Join(r.stage, "lock")); err != nil {
		return err
	}
	if !r.packaging() {
		return nil
	}
	status, err := r.tree.ReadFile(dpkgStatus)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.debian, r.before = err == nil, unsettled(status)
	for _, name := range idle {
		if err := r.coverIfThere(ctx, name, doNothing); err != nil {
			return err
		}
	}
	return r.noServices(ctx)
}

// noServices keeps maintainer scripts from starting services.
func (r *run) noServices(ctx context.Context) error {
	_, err := r.tree.Lstat(rel(policy))
	if err == nil {
		return r.cover(ctx, policy, noService)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := r.RealPath(ctx, path.Dir(policy)); errors.Is(err, fs.ErrNotExist) {
		return nil // no such system
	}
	written, err := r.WriteFile(ctx, policy, []byte(noService), 0o755)
	if err != nil {
		return err
	}
	r.made = append(r.made, written)
	return nil
}

// packaging reports whether packages come or go.
func (r *run) packaging() bool { return len(r.in.Packages)+len(r.c.Remove) > 0 }

func (r *run) cover(ctx context.Context, name, script string) error {
	if err := r.Cover(ctx, name, script); err != nil {
		return err
	}
	r.covered = append(r.covered, name)
	return nil
}

func (r *run) coverIfThere(ctx context.Context, name, script string) error {
	_, err := r.RealPath(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.cover(ctx, name, script)
}

// killed is the least exit status of a program that a signal ended, in whatever
// state.
const killed = 128

// dpkg is dpkg with options that keep it from asking.
func dpkg(args ...string) []string {
	return append([]string{"dpkg", "--force-confold", "--force-confdef", "--force-unsafe-io"}, args...)
}

// install installs the packages that were brought along.
func (r *run) install(ctx context.Context) error {
	if len(r.in.Packages) == 0 {
		return nil
	}
	argv := dpkg("-i")
	for i, local := range r.in.Packages {
		// Its name is of no matter to dpkg.
		to := path.Join(r.stage, strconv.Itoa(i)+".deb")
		if err := r.Upload(ctx, local, to); err != nil {
			return err
		}
		argv = append(argv, to)
	}
	_, err := r.Command(ctx, argv...)
	return err
}

// remove removes packages with their configuration. Of rpm's the plan doesn't
// know whether they are there, or needed by others (its database isn't read):
// those that rpm refuses to remove stay, which does no harm.
func (r *run) remove(ctx context.Context) error {
	if len(r.c.Remove) == 0 {
		return nil
	}
	argv := dpkg("--purge")
	if !r.debian {
		argv = []string{"rpm", "-e"}
	}
	_, err := r.Command(ctx, append(argv, r.c.Remove...)...)
	if refused, ok := errors.AsType[*appliance.CommandError](err); ok && !r.debian && refused.Code < killed {
		r.note("%s could not be removed; remove them in the guest: %v", strings.Join(r.c.Remove, ", "), err)
		return nil
	}
	return err
}

// unsettled returns the packages that dpkg's records have in a bad state: half
// installed, not configured, waiting for a trigger. It is what dpkg --audit
// says, without the time that takes.
func unsettled(status []byte) []string {
	var bad []string
	for stanza := range strings.SplitSeq(string(status), "\n\n") {
		var name, state string
		triggers := false
		for line := range strings.Lines(stanza) {
			field, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); field {
			case "Package":
				name = value
			case "Status":
				state = value
			case "Triggers-Pending", "Triggers-Awaited":
				triggers = true
			}
		}
		words := strings.Fields(state) // "install ok installed"
		if name == "" || len(words) == 3 && words[1] == "ok" && slices.Contains(settledStates, words[2]) && !triggers {
			continue
		}
		bad = append(bad, name+" ("+state+")")
	}
	return bad
}

// settledStates are those states of a package that last (dpkg(1)).
var settledStates = []string{"installed", "config-files", "not-installed"} //nolint:gochecknoglobals // a constant table

const dpkgStatus = "var/lib/dpkg/status"

// settled sees to it that no more packages are in a bad state than before.
func (r *run) settled(context.Context) error {
	if !r.packaging() || !r.debian {
		return nil
	}
	status, err := r.tree.ReadFile(dpkgStatus)
	if err != nil {
		return err
	}
	bad := slices.DeleteFunc(unsettled(status), func(s string) bool { return slices.Contains(r.before, s) })
	if len(bad) > 0 {
		return fmt.Errorf("packages are left in a bad state: %.1000s", strings.Join(bad, ", "))
	}
	return nil
}

// clear takes away what stood in for the guest's own.
func (r *run) clear(ctx context.Context) error {
	for _, name := range slices.Backward(r.covered) {
		if err := r.Uncover(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range r.made {
		if err := r.Remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
