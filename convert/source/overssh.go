package source

import (
	"context"

	"esxodus/disk/vmdk"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

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

// shellFiles opens files on the host's shell. Where its datastores are, the API says.
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
