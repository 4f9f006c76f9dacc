package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"esxodus/convert/cutover"
	"esxodus/disk"
)

// boots has this host start the domain when it boots: by a unit where there is one, else
// by libvirt.
func (x *switcher) boots(ctx context.Context, u *cutover.Unit) error {
	if u == nil {
		return x.Virt.AutoStart(ctx, x.job.Name, x.job.Migration, true)
	}
	path := x.unitPath(u)
	switch old, err := disk.ReadRegular(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case string(old) == u.Text:
	case !cutover.Ours(old):
		return fmt.Errorf("%s exists, and esxodus did not make it: it stays as it is; move it away, or start the domain %s in another way when this host boots", path, x.job.Name)
	}
	if err := os.WriteFile(path, []byte(u.Text), 0o644); err != nil {
		return err
	}
	return x.systemctl(ctx, []string{"daemon-reload"}, []string{"enable", "--quiet", u.Name})
}

// bootsNot takes that back.
func (x *switcher) bootsNot(ctx context.Context, u *cutover.Unit) error {
	if u == nil {
		return x.Virt.AutoStart(ctx, x.job.Name, x.job.Migration, false)
	}
	path := x.unitPath(u)
	old, err := disk.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !cutover.Ours(old) {
		return err
	}
	if err := x.systemctl(ctx, []string{"disable", "--quiet", u.Name}); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return x.systemctl(ctx, []string{"daemon-reload"})
}

func (x *switcher) unitPath(u *cutover.Unit) string {
	return filepath.Join(x.Root, cutover.UnitDir, u.Name)
}

func (x *switcher) systemctl(ctx context.Context, commands ...[]string) error {
	for _, c := range commands {
		if _, err := x.Tool.Run(ctx, append([]string{"systemctl"}, c...)...); err != nil {
			return err
		}
	}
	return nil
}
