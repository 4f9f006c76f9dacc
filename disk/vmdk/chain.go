package vmdk

import (
	"errors"
	"fmt"
	"strings"
)

// maxChain is where a chain that leads back to itself ends. ESXi allows 32 snapshots.
const maxChain = 64

// openParent opens the disk that this one holds the changes to, if it is one that does,
// and checks that it is the one that it was made on: what the parent was written to
// since, this one's changes no longer fit.
func (m *Image) openParent(o Opener) error {
	if !m.desc.HasParent() {
		return nil
	}
	if m.depth+1 >= maxChain {
		return fmt.Errorf("%w: a chain of %d snapshots and no end, which may lead back to itself", ErrFormat, maxChain)
	}
	if m.desc.ParentHint == "" {
		return fmt.Errorf("%w: a snapshot that doesn't name its parent (parentFileNameHint)", ErrFormat)
	}
	from, name, err := o.Parent(m.desc.ParentHint)
	if err != nil {
		return err
	}
	p := &Image{tables: m.tables, directories: m.directories, depth: m.depth + 1}
	if err = p.open(from, name); err == nil {
		err = m.fits(p)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("parent %s: %w", name, err), p.Close())
	}
	m.parent = p
	return nil
}

// fits checks that p is the parent that m was made on.
func (m *Image) fits(p *Image) error {
	switch {
	case p.desc.CID != m.desc.ParentCID:
		return fmt.Errorf("%w: its content has the id %08x, and the snapshot on it was made when that was %08x: it was written to since, or is another disk. "+
			"Start the VM on ESXi to see whether its disk is whole", ErrFormat, p.desc.CID, m.desc.ParentCID)
	case p.size != m.size:
		return fmt.Errorf("%w: it has %d bytes, the snapshot on it %d", ErrFormat, p.size, m.size)
	case p.snapshot() != "" && m.snapshot() != "" && p.snapshot() != m.snapshot():
		return fmt.Errorf("%w: a snapshot of createType %s on one of %s, which ESXi never makes", ErrFormat, m.desc.CreateType, p.desc.CreateType)
	}
	return nil
}

// snapshot is the createType of one that holds nothing but changes, else "".
func (m *Image) snapshot() string {
	if _, p, err := typesOf(m.desc.CreateType); err == nil && p == mustHave {
		return strings.ToLower(m.desc.CreateType)
	}
	return ""
}
