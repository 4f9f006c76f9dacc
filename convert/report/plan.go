package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// assumedRate is what the time estimate reckons with, bytes a second: about
// what one ESXi host gives over several HTTPS connections on 1 Gbit/s.
const assumedRate = 90 << 20

// Plan prints the dry run: everything that applying the plan would do, and
// everything the admin must know before.
func Plan(w io.Writer, whole *plan.Plan) error {
	p := &page{w: w}
	p.wrapped("plan: ", fmt.Sprintf("%d VM(s) from %s (ESXi %s, %s)", len(whole.VMs), whole.Source.Host, whole.Source.Version, whole.Source.URL))
	p.wrapped("  to: ", fmt.Sprintf("%s, domains of type %s in %s", whole.Target.Storage, whole.Target.VirtType, whole.Target.Libvirt))
	for i := range whole.VMs {
		vm(p, whole, &whole.VMs[i])
	}
	networking(p, &whole.Network)
	concerns(p, "", whole.Concerns)
	totals(p, whole)
	return p.err
}

func vm(p *page, whole *plan.Plan, v *plan.VMPlan) {
	p.line("")
	p.wrapped("", fmt.Sprintf("== %s (id %s) -> domain %s", v.Source.Name, v.Source.ID, v.Name))
	look(p, &v.Guest)
	disks(p, v)
	for _, n := range v.Source.NICs {
		attach, _ := whole.Network.Attachment(n.PortGroup)
		p.wrapped("  nic      ", fmt.Sprintf("ethernet%d %s %q -> %s", n.Index, n.MAC, n.PortGroup, attachment(attach)))
	}
	for i, s := range v.Steps {
		p.wrapped(fmt.Sprintf("  step %-4s", fmt.Sprintf("%d", i+1)), s.Text)
	}
	conversion(p, v)
	entries(p, v.Ledger)
	concerns(p, "  ", v.Concerns)
}

// look prints what the look inside the disks found.
func look(p *page, g *guest.Guest) {
	var parts []string
	for _, s := range []string{g.PrettyName, g.OS} {
		if s != "" {
			parts = append(parts, s)
			break
		}
	}
	if g.Hostname != "" {
		parts = append(parts, "host name "+g.Hostname)
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing is known of the guest")
	}
	p.wrapped("  guest    ", strings.Join(parts, ", "))
	for _, d := range g.Disks {
		for _, part := range d.Partitions {
			text := fmt.Sprintf("%s:%d %s at %d, %s", d.Address, part.Number, orUnknown(part.Content), part.Offset, Bytes(part.Length))
			if part.Mount != "" {
				text += ", mounted at " + part.Mount
			}
			p.wrapped("    part   ", text)
		}
	}
	for _, n := range g.Notes {
		p.wrapped("    note   ", n)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown content"
	}
	return s
}

func attachment(a network.Attachment) string {
	switch {
	case a.Mode == "" || a.Mode == network.None:
		return "nothing: the link stays down"
	case a.VLAN > 0:
		return fmt.Sprintf("%s on %s (VLAN %d of %s)", a.Mode, a.Device, a.VLAN, a.Uplink)
	}
	return fmt.Sprintf("%s on %s", a.Mode, a.Device)
}

func concerns(p *page, indent string, cs []ledger.Concern) {
	for _, c := range cs {
		head := fmt.Sprintf("%s%-8s ", indent, strings.ToUpper(string(c.Severity)))
		text := c.ID
		if c.Subject != "" {
			text += " (" + c.Subject + ")"
		}
		p.wrapped(head, text+": "+c.Evidence)
		p.wrapped(strings.Repeat(" ", len(head)), "do: "+c.Advice)
	}
}

// entries prints the ledger, what changes first. What shares a fate and a
// reason shares a paragraph.
func entries(p *page, es []ledger.Entry) {
	type key struct {
		fate   ledger.Fate
		reason string
	}
	for _, fate := range []ledger.Fate{ledger.Changed, ledger.Dropped, ledger.Mapped} {
		var order []key
		texts := make(map[key][]string)
		for _, e := range es {
			if e.Fate != fate {
				continue
			}
			k := key{fate, e.Reason}
			if texts[k] == nil {
				order = append(order, k)
			}
			texts[k] = append(texts[k], entry(e))
		}
		for _, k := range order {
			list := texts[k]
			if k.reason != "" {
				list = fold(list)
			}
			text := strings.Join(list, "; ")
			if k.reason != "" {
				text += " (" + k.reason + ")"
			}
			p.wrapped(fmt.Sprintf("  %-8s ", k.fate), text)
		}
	}
}

// mostShown is how many entries of one reason the text shows; JSON has all.
const mostShown = 6

// fold cuts a long list of entries that go with a reason.
func fold(texts []string) []string {
	if len(texts) <= mostShown {
		return texts
	}
	more := fmt.Sprintf("and %d more like these (--output json)", len(texts)-mostShown+1)
	return append(slices.Clip(texts[:mostShown-1]), more)
}

// entry is one entry without its reason: "memory.sizeMiB 64", or with an
// arrow where it becomes something else.
func entry(e ledger.Entry) string {
	text := e.Property + " " + quoteEmpty(e.Source)
	if e.Target != "" && e.Target != e.Source {
		text += " -> " + e.Target
	}
	return text
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

func networking(p *page, n *network.Plan) {
	if len(n.Units) > 0 {
		p.line("")
		p.line("systemd-networkd units that the interfaces stand on (--units DIR writes them)")
		units(p, n.Units)
	}
	if len(n.Optional) > 0 {
		p.line("")
		p.line("optional: a macvlan for this host, to reach its own domains (DIR/optional)")
		units(p, n.Optional)
	}
	entries(p, n.Ledger)
}

func units(p *page, us []network.Unit) {
	for _, u := range us {
		p.line("  /etc/systemd/network/%s", fit.TerminalLine(u.Name))
		for l := range strings.Lines(u.Text) {
			p.line("    | %s", fit.TerminalLine(strings.TrimRight(l, "\n")))
		}
	}
}

func totals(p *page, whole *plan.Plan) {
	var s plan.Sizes
	blocked := 0
	for i := range whole.VMs {
		s.Provisioned += whole.VMs[i].Sizes.Provisioned
		s.Allocated += whole.VMs[i].Sizes.Allocated
		s.Target += whole.VMs[i].Sizes.Target
		if len(whole.Blockers(i)) > 0 {
			blocked++
		}
	}
	p.line("")
	took := time.Duration(float64(s.Provisioned) / assumedRate * float64(time.Second)).Round(time.Second)
	p.wrapped("sizes: ", fmt.Sprintf("%s to read (%s allocated on the datastore), at most %s on the target; about %s at %s/s",
		Bytes(s.Provisioned), Bytes(s.Allocated), Bytes(s.Target), took, Bytes(assumedRate)))
	if blocked > 0 {
		p.wrapped("", fmt.Sprintf("%d of %d VM(s) can't be converted as they are: see BLOCKER above", blocked, len(whole.VMs)))
	}
}
