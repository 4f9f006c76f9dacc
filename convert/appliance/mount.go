package appliance

import (
	"context"
	"encoding/base64"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"esxodus/inventory/fit"
)

// Mount mounts a device (as of [Appliance.Device]) at a directory of the
// guest, "/" first. It replays the file system's journal.
func (a *Appliance) Mount(ctx context.Context, device, at string) error {
	dev, err := a.Device(device)
	if err != nil {
		return err
	}
	if at != "/" {
		if err := a.checkMountPoint(ctx, at); err != nil {
			return fmt.Errorf("mounting %s at %s: %w", device, at, err)
		}
	}
	if _, err := a.call(ctx, copyLimit, "mount", dev, at); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", device, at, err)
	}
	return nil
}

// checkMountPoint refuses a directory that isn't where its name says: the
// appliance's mount would follow a link of the guest out of the guest's tree.
func (a *Appliance) checkMountPoint(ctx context.Context, at string) error {
	real, err := a.RealPath(ctx, at)
	if err != nil {
		return err
	}
	if real != path.Clean(at) {
		return fmt.Errorf("the guest has a symbolic link there, to %s", real)
	}
	st, err := a.FS(ctx).Lstat(strings.TrimPrefix(real, "/"))
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("not a directory but %v", st.Mode().Type())
	}
	return nil
}

// Unmount unmounts everything and has it written.
func (a *Appliance) Unmount(ctx context.Context) error {
	if _, err := a.call(ctx, copyLimit, "sync"); err != nil {
		return err
	}
	_, err := a.call(ctx, copyLimit, "umount-all")
	return err
}

// status ends the output of what runs in the appliance, before its exit status.
const status = "exit status of it: "

// inside runs a shell's script in the appliance itself, outside the guest's
// tree. It returns what is printed, stderr too, and the exit status.
func (a *Appliance) inside(ctx context.Context, limit time.Duration, script string) (string, int, error) {
	// guestfish takes its arguments for a list of words and drops quotes.
	b64 := base64.StdEncoding.EncodeToString([]byte("(" + script + "\n) </dev/null 2>&1; printf '\\n" + status + "%d' $?"))
	out, err := a.call(ctx, limit, "debug", "sh", "echo "+b64+" | base64 -d >/tmp/esxodus.sh; sh /tmp/esxodus.sh")
	if err != nil {
		return "", 0, err
	}
	return splitStatus(out)
}

// splitStatus parts what a script printed from its exit status.
func splitStatus(out string) (string, int, error) {
	out = strings.TrimRight(out, "\n")
	i := strings.LastIndex(out, "\n"+status)
	if i < 0 && strings.HasPrefix(out, status) {
		i, out = 0, "\n"+out
	}
	if i < 0 {
		return out, 0, fmt.Errorf("no exit status after %q", tail(out, 200))
	}
	code, err := strconv.ParseUint(out[i+1+len(status):], 10, 8)
	if err != nil {
		return "", 0, fmt.Errorf("exit status: %w", err)
	}
	return strings.TrimSuffix(out[:i], "\n"), int(code), nil
}

// CommandError is a program's failure in the guest's tree.
type CommandError struct {
	Argv []string
	Code int
	Out  string // the end of what it printed, stdout and stderr
}

// Error names the program and gives its last words.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s in the guest: exit status %d: %s", strings.Join(e.Argv, " "), e.Code, e.Out)
}

// Command runs a program of the guest in the guest's tree, as root, with
// nothing on stdin, and returns what it prints, stderr too. One that fails
// gives a [*CommandError].
func (a *Appliance) Command(ctx context.Context, argv ...string) (string, error) {
	if len(argv) == 0 {
		return "", fmt.Errorf("no program to run in the guest")
	}
	out, err := a.call(ctx, runLimit, "sh", commandScript(argv))
	if err != nil {
		return "", fmt.Errorf("%s in the guest: %w", argv[0], err)
	}
	out, code, err := splitStatus(out)
	if err != nil {
		return "", fmt.Errorf("%s in the guest: %w", argv[0], err)
	}
	if code != 0 {
		return out, &CommandError{Argv: argv, Code: code, Out: tail(out, 2000)}
	}
	return out, nil
}

// commandScript is the shell's script that runs a program as Command does.
func commandScript(argv []string) string {
	env := "env -i HOME=/root TERM=dumb LC_ALL=C SHELL=/bin/sh DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
	// libguestfs would end the output at the first NUL.
	return "{ " + env + shellWords(argv) + " </dev/null; printf '\\n" + status + "%d' $?; } 2>&1 | tr -d '\\000'"
}

// Cover lays something over a path of the guest until Unmount: nothing of the
// guest changes. A directory gets an empty one in memory, a file a script
// with this content.
func (a *Appliance) Cover(ctx context.Context, name, script string) error {
	real, err := a.RealPath(ctx, name)
	if err != nil {
		return err
	}
	st, err := a.FS(ctx).Lstat(strings.TrimPrefix(real, "/"))
	if err != nil {
		return err
	}
	at := fit.Shell("/sysroot" + real) // no symbolic link is left in it
	var cover string
	switch {
	case st.IsDir():
		cover = "mount -t tmpfs -o mode=0755 esxodus " + at
	case st.Mode().IsRegular():
		cover = "f=$(mktemp /tmp/cover.XXXXXX) && printf %s " + fit.Shell(script) + ` >"$f" && chmod 755 "$f" && mount --bind "$f" ` + at
	default:
		return fmt.Errorf("covering %s: not a file or directory but %v", name, st.Mode().Type())
	}
	out, code, err := a.inside(ctx, quick, cover)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d: %s", code, tail(out, 500))
	}
	if err != nil {
		return fmt.Errorf("covering %s: %w", name, err)
	}
	return nil
}

// Uncover takes away what Cover laid over a path.
func (a *Appliance) Uncover(ctx context.Context, name string) error {
	real, err := a.RealPath(ctx, name)
	if err != nil {
		return err
	}
	out, code, err := a.inside(ctx, quick, "umount "+fit.Shell("/sysroot"+real))
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d: %s", code, tail(out, 500))
	}
	if err != nil {
		return fmt.Errorf("uncovering %s: %w", name, err)
	}
	return nil
}

// Free returns the bytes and the inodes that are free on the file system that
// holds a path; inodes is -1 where they are made as needed.
func (a *Appliance) Free(ctx context.Context, name string) (bytes, inodes int64, err error) {
	out, err := a.call(ctx, quick, "statvfs", name)
	if err != nil {
		return 0, 0, err
	}
	f, err := fields(out, "frsize", "bavail", "files", "favail")
	if err != nil {
		return 0, 0, fmt.Errorf("statvfs %s: %w", name, err)
	}
	if f["files"] == 0 {
		f["favail"] = -1
	}
	return f["frsize"] * f["bavail"], f["favail"], nil
}

// fields reads the numbers of a structure as guestfish prints it.
func fields(out string, names ...string) (map[string]int64, error) {
	f := make(map[string]int64)
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			f[name] = n
		}
	}
	for _, name := range names {
		if _, ok := f[name]; !ok {
			return nil, fmt.Errorf("%s is missing from libguestfs's answer %q", name, tail(out, 200))
		}
	}
	return f, nil
}

// tail returns the end of a program's output on one line.
func tail(out string, limit int) string {
	return fit.Lines(out[max(0, len(out)-limit):])
}
