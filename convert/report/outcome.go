package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"esxodus/convert/run"
	"esxodus/inventory/fit"
)

// Outcome is what became of migrations.
type Outcome struct {
	VMs      []*run.Outcome `json:"vms"`
	NotBegun []string       `json:"notBegun,omitempty"` // of a plan
	Units    []run.Artefact `json:"units,omitempty"`
}

// Artefacts are all of them.
func (o *Outcome) Artefacts() []run.Artefact {
	var all []run.Artefact
	for _, vm := range o.VMs {
		all = append(all, vm.Artefacts...)
	}
	return append(all, o.Units...)
}

// Outcomes prints what was planned beside what came of it.
func Outcomes(w io.Writer, f Form, o *Outcome) error {
	p := f.page(w)
	if len(o.VMs) == 0 && len(o.NotBegun) == 0 {
		p.line("no migration is recorded")
	}
	for _, vm := range o.VMs {
		p.wrapped("", fmt.Sprintf("%s (%q): %s", vm.Name, vm.VM, vm.Phase))
		p.figures(vm.Figures)
		for _, a := range vm.Artefacts {
			p.artefact(a)
		}
		p.some("  acknowledged: ", vm.Acknowledged)
	}
	for _, a := range o.Units {
		p.artefact(a)
	}
	p.some("not begun: ", o.NotBegun)
	return p.err
}

// figures prints predictions beside what was measured.
func (p *page) figures(figures []run.Figure) {
	var rows [][]string
	for _, f := range figures {
		rows = append(rows, []string{"  " + f.What, amount(f.Predicted, f.Unit), amount(f.Actual, f.Unit)})
	}
	if len(rows) > 0 {
		p.table([]column{{head: "  FIGURE", cut: true}, {head: "PLANNED"}, {head: "ACTUAL"}}, rows)
	}
}

func amount(n float64, unit string) string {
	if unit == "bytes" {
		return fit.Bytes(int64(n))
	}
	return time.Duration(n * float64(time.Second)).Round(time.Second / 10).String()
}

// artefact prints whether something is as planned.
func (p *page) artefact(a run.Artefact) {
	verdict := "as planned"
	switch {
	case len(a.Differs) > 0:
		verdict = "DIFFERS: " + strings.Join(a.Differs, "; ")
	case a.Unknown != "":
		verdict = "not known: " + a.Unknown
	}
	if a.Where != "" {
		verdict += " (" + a.Where + ")"
	}
	p.wrapped("  "+a.What+": ", verdict)
}
