package report

import (
	"fmt"
	"io"

	"esxodus/convert/run"
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
func Outcomes(w io.Writer, f Form, v OutcomeView) error {
	p := f.page(w)
	if len(v.VMs) == 0 && len(v.NotBegun) == 0 {
		p.line("no migration is recorded")
	}
	for _, vm := range v.VMs {
		p.wrapped("", fmt.Sprintf("%s (%q): %s", vm.Name, vm.VM, vm.State))
		p.figures(vm.Figures)
		for _, a := range vm.Artefacts {
			p.artefact(a)
		}
		p.some("  acknowledged: ", vm.Acknowledged)
	}
	for _, a := range v.Units {
		p.artefact(a)
	}
	p.some("not begun: ", v.NotBegun)
	return p.err
}

// figures prints predictions beside what was measured.
func (p *page) figures(figures []FigureView) {
	var rows [][]string
	for _, f := range figures {
		rows = append(rows, []string{"  " + f.What, f.Planned, f.Actual})
	}
	if len(rows) > 0 {
		p.table([]column{{head: "  FIGURE", cut: true}, {head: "PLANNED"}, {head: "ACTUAL"}}, rows)
	}
}

// artefact prints whether something is as planned.
func (p *page) artefact(a ArtefactView) {
	verdict := a.Verdict
	if a.Where != "" {
		verdict += " (" + a.Where + ")"
	}
	p.wrapped("  "+a.What+": ", verdict)
}
