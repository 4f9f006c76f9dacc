package source

import (
	"context"
	"fmt"
	"path"
	"strings"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

// openBySSH opens a disk by the host's shell. Where its datastores are, the API says.
func (s *ESXi) openBySSH(ctx context.Context, client *esxi.Client, from plan.Origin) (disk.Image, func() error, error) {
	opener, err := client.VMDKOpener(ctx, from.Path)
	if err != nil {
		return nil, nil, err
	}
	reader, err := s.shellReader()
	if err != nil {
		return nil, nil, err
	}
	_, file, _ := strings.Cut(from.Path, "] ")
	img, err := vmdk.Open(shellFiles{ctx, opener, reader}, path.Base(file))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", from.Path, err)
	}
	return img, img.Close, nil
}

// shellReader is the one that all disks share: ESXi allows a few sessions only.
func (s *ESXi) shellReader() (*shell.Reader, error) {
	cfg, err := s.Config()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		s.reader = shell.NewReader(s.Shell(cfg))
	}
	return s.reader, nil
}

// shellFiles opens files on the host's shell.
type shellFiles struct {
	ctx    context.Context // bounds the files' life
	opener *esxi.Opener
	reader *shell.Reader
}

// Open implements vmdk.Opener.
func (f shellFiles) Open(name string) (vmdk.File, error) {
	p, err := f.opener.ShellPath(name)
	if err != nil {
		return nil, err
	}
	return f.reader.Open(f.ctx, p)
}

// Parent implements vmdk.Opener.
func (f shellFiles) Parent(hint string) (vmdk.Opener, string, error) {
	opener, name, err := f.opener.Parent(hint)
	return shellFiles{f.ctx, opener, f.reader}, name, err
}
