package report

import (
	"io"

	"esxodus/convert/doctor"
	"esxodus/convert/ledger"
)

// Doctor prints what was found on both ends, and what to do about it.
func Doctor(w io.Writer, f Form, r doctor.Report) error {
	p := f.page(w)
	if r.Source != "" {
		p.wrapped("", "ESXi host "+r.Source)
		p.findings(r.OfSource)
		p.line("")
	}
	p.wrapped("", "This host, "+r.Host)
	p.findings(r.OfHost)
	return p.err
}

func (p *page) findings(list []doctor.Finding) {
	marks := map[ledger.Severity]string{"": "ok", ledger.Note: "note", ledger.Warning: "WARNING", ledger.Blocker: "BLOCKER"}
	for _, f := range list {
		label := "  " + marks[f.Severity] + "       "
		p.wrapped(label[:11], f.What)
		if f.Advice != "" {
			p.wrapped("           do: ", p.complete(f.Advice))
		}
	}
}
