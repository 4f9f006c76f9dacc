package report

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"esxodus/convert/ledger"
	"esxodus/convert/netrun"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// Network is what a report shows of changes of this host's networking.
type Network struct {
	Host        string
	Attachments []network.Attachment
	Changes     network.Changes
	Concerns    []ledger.Concern // the plan's
}

// Changes prints where each port group goes, and what is done for that.
func Changes(w io.Writer, f Form, n Network) error {
	p := f.page(w)
	var rows [][]string
	for _, a := range n.Attachments {
		rows = append(rows, []string{a.VSwitch, a.PortGroup, vlanText(a.VLAN), a.Uplink, deviceText(a)})
	}
	if len(rows) > 0 {
		p.table([]column{{head: "VSWITCH", cut: true}, {head: "PORT GROUP", cut: true}, {head: "VLAN"}, {head: "UPLINK"}, {head: "DEVICE"}}, rows)
	}
	for i := range n.Changes.Files {
		if c := &n.Changes.Files[i]; c.State != network.FileSame {
			p.line("")
			p.verbatim(strings.Split(strings.TrimRight(unified(c), "\n"), "\n"))
		}
	}
	p.line("")
	for _, s := range n.Changes.Steps {
		p.wrapped("  - ", s.Text)
	}
	p.each("wire  ", n.Changes.Wire)
	concerns(p, "", n.inOrder())
	if n.Changes.Empty() && !ledger.Blocked(n.Changes.Concerns) {
		p.line("%s is as the plan wants it: nothing is to be done.", fit.TerminalLine(n.Host))
	}
	return p.err
}

// inOrder are all concerns, the worst first, and many alike as one.
func (n *Network) inOrder() []ledger.Concern {
	all := slices.Concat(n.Changes.Concerns, n.Concerns)
	ledger.SortConcerns(all)
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ledger.Merge(all, ids...)
}

func vlanText(id int) string {
	if id == 0 {
		return "-"
	}
	return strconv.Itoa(id)
}

func deviceText(a network.Attachment) string {
	if a.Mode == network.None {
		return "none"
	}
	if a.Mode == network.SRIOV {
		return "virtual function of " + a.Device
	}
	return string(a.Mode) + " on " + a.Device
}

// unified shows a file's change as a diff against the host.
func unified(c *network.FileChange) string {
	from := c.Path
	if c.State == network.FileNew {
		from = "/dev/null"
	}
	_, text, _ := strings.Cut(string(diff.Diff(from, []byte(c.Old), c.Path, []byte(c.New))), "\n") // "diff old new"
	return text
}

// NetworkRuns prints what was done to this host's networking, and what can be done
// about it.
func NetworkRuns(w io.Writer, f Form, states []netrun.State) error {
	p := f.page(w)
	if len(states) == 0 {
		p.line("esxodus has changed nothing of this host's networking.")
	}
	for _, s := range states {
		p.wrapped("", string(s.Phase)+": "+s.Leavings+" ("+strconv.Itoa(s.Done)+" of "+fit.Count(s.Steps, "step")+" done, since "+s.Started.Format("2006-01-02 15:04:05")+")")
		if s.Error != "" {
			p.wrapped("  error: ", s.Error)
		}
		if next := nextOf(s); next != "" {
			p.wrapped("  next: ", next)
		}
	}
	return p.err
}

func nextOf(s netrun.State) string {
	switch {
	case s.Phase == netrun.PhaseWaiting:
		return "`esxodus network confirm` by " + s.Deadline.Local().Format("15:04:05") + ", or all is put back"
	case s.Running:
		return "it is at work"
	case s.Phase == netrun.PhaseApplied:
		return "`esxodus network rollback` undoes it"
	case s.Phase == netrun.PhaseCutOff:
		return "its process is gone: `esxodus network rollback` puts back what it did; `esxodus network apply` does that and applies anew"
	case !s.Phase.Ended():
		return "`esxodus network rollback` puts back the rest"
	}
	return ""
}
