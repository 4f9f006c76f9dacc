package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"esxodus/convert/host"

	"golang.org/x/sys/unix"
)

// lvmLock is locked by an esxodus that shows this host's LVM a guest's volume
// group, for as long as that lasts, and shared by those that ask LVM for a group
// of the host's: of two groups of one name it finds neither.
const lvmLock = "/run/esxodus-lvm.lock"

const lockPause = 20 * time.Millisecond

// LockLVM waits for the lock, how being [unix.LOCK_SH] or [unix.LOCK_EX].
// Who isn't root gets none, and needs none: LVM does nothing for them.
func LockLVM(ctx context.Context, how int) (release func(), err error) {
	return lockFile(ctx, lvmLock, how)
}

// lockFile waits for the lock of a file, as [LockLVM] does.
func lockFile(ctx context.Context, path string, how int) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock of LVM: %w", err)
	}
	release = func() { _ = f.Close() } // nothing was written
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return release, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			release()
			return nil, fmt.Errorf("lock of LVM, %s: %w", path, err)
		}
		if err := host.Pause(ctx, lockPause); err != nil {
			release()
			return nil, err
		}
	}
}

// run runs one of LVM's commands on the host's own groups.
func (l LVM) run(ctx context.Context, argv ...string) ([]byte, error) {
	release, err := LockLVM(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer release()
	out, err := l.Tool.Run(ctx, argv...)
	return out, l.explain(err)
}
