package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
)

// quiet waits until nobody writes to a file of the configuration any more: half
// an initrd boots nothing.
func (in *installer) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, in.o.LockWait)
	defer cancel()
	for i := range in.cfg.Images {
		im := &in.cfg.Images[i]
		for _, path := range []string{im.Kernel, im.Initrd} {
			for beingWritten(path) {
				select {
				case <-ctx.Done():
					return fmt.Errorf("%s is being written all the time: nothing was changed; run lilo when that has ended", path)
				case <-time.After(lockPoll):
				}
			}
		}
	}
	return nil
}

// beingWritten reports whether some process has a file open for writing: then the
// kernel gives no lease on it.
func beingWritten(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false // the mapper says so
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return errors.Is(err, unix.EAGAIN) // the lease ends with its descriptor
}

// boots reports whether the map that boots is byte for byte what would be
// written, sums of all files with it, and the boot sector as well. The one-shot line
// that somebody left isn't taken back for it.
func (in *installer) boots(menu *lilo.Menu) bool {
	live := in.live
	if live == nil {
		return false
	}
	defer func() { menu.OneShot, menu.OneShotTyped = live.Menu.OneShot, live.Menu.OneShotTyped }()
	if live.Path != in.cfg.Map {
		return false // its run was cut short
	}
	lbas := live.file.sectors()
	if n, err := lilo.Sectors(menu); err != nil || n != len(lbas) {
		return false
	}
	content, err := lilo.Encode(menu, lbas, in.content)
	if err != nil {
		return false
	}
	copy(content[lilo.OneShotIndex*lilo.SectorSize:][:lilo.SectorSize], live.content[lilo.OneShotIndex*lilo.SectorSize:])
	if !bytes.Equal(content, live.content) {
		return false
	}
	boot, err := lilo.BootSector(content, lbas, in.layout.low)
	if err != nil {
		return false
	}
	head, err := in.direct.read(0, lowSectors)
	return err == nil && bytes.Equal(head[:512], boot[:]) &&
		(!in.layout.low || bytes.Equal(head[lilo.Stage2Sector*512:], lilo.Stage2()))
}

// livePassword is an image's password as the map that boots has it, nil where it
// is another one: with a new salt the map would be another each time.
func (in *installer) livePassword(im *conf.Image) *lilo.Password {
	if in.live == nil {
		return nil
	}
	for _, old := range in.live.Menu.Images {
		if strings.EqualFold(old.Label, im.Label) && old.Password != nil && old.Password.Matches(im.Password) {
			return old.Password
		}
	}
	return nil
}
