package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"esxodus/convert/run"
	"esxodus/inventory/fit"
)

// Verification prints what was found of each disk, and claims nothing of what wasn't
// compared.
func Verification(w io.Writer, f Form, v *run.Verification) error {
	p := f.page(w)
	for i := range v.Disks {
		p.verified(v.Name, &v.Disks[i])
	}
	return p.err
}

func (p *page) verified(name string, d *run.VerifiedDisk) {
	label := fmt.Sprintf("%s %s: ", name, d.Address)
	if s := d.Volume; s != nil {
		p.wrapped(label, "the volume "+result(s))
		p.wrapped("  volume: ", s.Where)
		if s.Differ > 0 {
			p.wrapped("  note: ", written(s, name))
		}
	}
	if s := d.Source; s != nil {
		what := "the source "
		if s.Kept {
			what = "what the lease has brought "
		}
		p.wrapped(label, what+result(s))
		p.wrapped("  source: ", s.Where)
		if s.Kept {
			p.wrapped("  note: ", "the source itself was not read again: its bytes come by a lease, and were kept on this machine")
		}
		p.some("  changed file: ", s.Changed)
	}
	if d.Apart != nil {
		p.wrapped("  bytes: ", fmt.Sprintf("volume and source differ there from offset %d of the volume on, over %s", d.Apart.Offset, fit.Count(int(d.Apart.Length), "byte")))
	}
	if d.Agree {
		p.wrapped("  note: ", fmt.Sprintf("volume and source are the same in that block: it is the digest in %s that is wrong", d.Digests))
	}
	if d.Error != "" {
		p.wrapped(label, "NOT COMPARED: "+p.complete(d.Error))
	}
}

// result is what was found of one side.
func result(s *run.Side) string {
	if s.Differ > 0 {
		return fmt.Sprintf("DIFFERS from what was copied in %d of %s; the first is the %d bytes at offset %d",
			s.Differ, fit.Count(int(s.Blocks), "block"), s.First.Length, s.First.Offset)
	}
	parts := []string{fmt.Sprintf("is what was copied: %s in %s", fit.Bytes(s.Bytes), fit.Count(int(s.Blocks), "block"))}
	if s.Converted > 0 {
		parts = append(parts, fmt.Sprintf("of which %d as the guest's conversion left them", s.Converted))
	}
	if s.Unused > 0 {
		parts = append(parts, fmt.Sprintf("%s of the disk that nothing needs were left out", fit.Bytes(s.Unused)))
	}
	if s.Left > 0 {
		parts = append(parts, fmt.Sprintf("%s more are not in the new layout and were not compared", fit.Bytes(s.Left)))
	}
	return strings.Join(parts, ", ")
}

// written says who else may have written to a volume that differs.
func written(s *run.Side, name string) string {
	if s.Written == nil {
		return fmt.Sprintf("if the domain %s has been started since, its own writes differ, too; nothing tells them apart", name)
	}
	return fmt.Sprintf("it was last written to at %s, after esxodus had done with it: if the domain %s was started since, its own writes differ, too", s.Written.Local().Format(time.DateTime), name)
}
