package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// Ask is what somebody wants to see of a plan.
type Ask struct {
	Named bool   // the VMs were named: each one's whole story
	Full  bool   // of all VMs, and with what stays and what is only ESXi's bookkeeping
	Next  bool   // which commands come next
	Saved string // the file that the plan is in, "" where there is none
	Now   time.Time
}

// View is what a report shows of a plan. It is made from the plan alone, and each
// form of the report, text or another, is a rendering of it. Its texts are not
// cleaned: they hold names as the host and the guests give them.
type View struct {
	From, To string
	VMs      []VMView
	Stories  bool // the VMs' whole stories are wanted, not one line each
	Full     bool
	// Findings are the blockers and warnings, alike ones of several VMs once.
	Findings []Finding
	Notes    int // how many notes the VMs and the plan have
	Units    []UnitView
	Optional []UnitView
	Ledger   []Fated // of the network
	Concerns []ledger.Concern
	Sizes    plan.Sizes
	Duration time.Duration // estimated
	Rate     string        // that it was estimated with
	Next     []Command
	// Waves are when each VM has its turn in a batch, and Batch how long all of it takes.
	Waves   []WaveView
	Batch   time.Duration
	Made    time.Time  // zero where nobody said it
	Storage string     // where the volumes go
	Room    *plan.Room // of the storage; nil where the plan doesn't know it
	Ways    []WayView  // of the port groups, by vSwitch and name
}

// State says whether a VM can be converted.
type State string

// The states of a VM in a plan.
const (
	Ready     State = "ready"
	Attention State = "needs attention" // it has warnings
	Blocked   State = "blocked"
)

// VMView is one VM: its line in a list, and its story.
type VMView struct {
	Name, ID, Domain string
	Host             string // which it is on, in a plan of several
	State            State
	Size             int64  // bytes of all disks
	Read             int64  // bytes of them that are read, as far as that is known
	Layout           string // lvm, keep or plain
	Network          string // what its NICs attach to
	Hardware         string
	Via              string        // the ways that its disks' bytes take
	Duration         time.Duration // of its copy, estimated
	Downtime         time.Duration // from its shutdown until it is cut over, estimated; 0 where it is off

	Guest       string
	Parts       []string // of its disks
	GuestNotes  []string
	Disks       []DiskView
	Moves       []string
	LayoutNotes []string
	NICs        []string
	Used        []string // what of the disks is read, and what isn't
	Steps       []string
	Conversion  *ConversionView
	Ledger      []Fated
	Hidden      int // entries of the ledger that are left out
	Concerns    []ledger.Concern
}

// Fated are properties of one fate, by reason.
type Fated struct {
	Fate ledger.Fate
	Reasoned
}

// UnitView is a file of systemd-networkd's.
type UnitView struct {
	Name  string // relative to its directory
	Lines []string
}

func unitViews(us []network.Unit) []UnitView {
	var out []UnitView
	for _, u := range us {
		out = append(out, UnitView{u.Name, textLines(u.Text)})
	}
	return out
}

// Finding is what several VMs may have in common.
type Finding struct {
	Severity ledger.Severity
	ID       string
	VMs      []string // none where it is about all of the plan
	Places   []int    // of those VMs in the view
	Evidence []string
	Advice   string
	// Acknowledged is why the admin goes on all the same; "" where that wasn't said.
	Acknowledged string
}

// Command is what to do next.
type Command struct {
	Why  string
	Line string // in backquotes
}

// ViewOf makes the view of a plan.
func ViewOf(p *plan.Plan, ask Ask) View {
	v := View{
		From:    fmt.Sprintf("%s from %s", fit.Count(len(p.VMs), "VM"), origins(p)),
		To:      fmt.Sprintf("%s, domains of type %s in %s", p.Target.Storage, p.Target.VirtType, p.Target.Libvirt),
		Stories: ask.Named || ask.Full || len(p.VMs) == 1, Full: ask.Full,
		Units: unitViews(p.Network.Units), Optional: unitViews(p.Network.Optional), Concerns: p.Concerns,
		Made: ask.Now, Storage: p.Target.Storage, Room: p.Room, Ways: ways(p),
	}
	v.Ledger, _ = fates(p.Network.Ledger, ask.Full)
	for i := range p.VMs {
		v.VMs = append(v.VMs, viewVM(p, i, ask.Full))
		s := p.VMs[i].Sizes
		v.Sizes.Provisioned += s.Provisioned
		v.Sizes.Allocated += s.Allocated
		v.Sizes.Target += s.Target
		v.Sizes.Unused += s.Unused
		v.Sizes.Zero += s.Zero
		v.addFindings(i, p.VMs[i].Concerns)
	}
	v.addFindings(noVM, p.Concerns)
	slices.SortStableFunc(v.Findings, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	v.Duration, v.Rate = copyTime(p), rates(p)
	v.Waves, v.Batch = timeline(p)
	if ask.Next {
		v.Next = v.next(ask)
	}
	return v
}

// origins says where a plan's VMs are.
func origins(p *plan.Plan) string {
	var out []string
	for _, s := range p.Sources() {
		out = append(out, origin(&s))
	}
	return strings.Join(out, ", ")
}

// copyTime is about how long it takes to read all VMs, one after the other.
func copyTime(p *plan.Plan) (all time.Duration) {
	read := make([]plan.VMPlan, len(p.Sources()))
	for i := range p.VMs {
		of, s := &read[p.VMs[i].From].Sizes, &p.VMs[i].Sizes
		of.Provisioned += s.Read()
	}
	for i, s := range p.Sources() {
		all += read[i].Estimate(s.Expected())
	}
	return all
}

// rates says how fast the disks are expected to come.
func rates(p *plan.Plan) string {
	var out []string
	for _, s := range p.Sources() {
		text := fit.Bytes(s.Expected()) + "/s"
		if s.Rate > 0 {
			text += " as measured"
		}
		if len(p.More) > 0 {
			text += " from " + s.Label()
		}
		out = append(out, text)
	}
	return strings.Join(out, " and ")
}

// origin says what one of a plan's sources is.
func origin(s *plan.Source) string {
	if s.From != "" {
		return "the files in " + s.From
	}
	return fmt.Sprintf("%s (ESXi %s, %s)", s.Host, s.Version, s.URL)
}

func rank(s ledger.Severity) int {
	return slices.Index([]ledger.Severity{ledger.Blocker, ledger.Warning, ledger.Note}, s)
}

func viewVM(p *plan.Plan, i int, full bool) VMView {
	vm := &p.VMs[i]
	v := VMView{
		Name: vm.Source.Name, ID: vm.Source.ID, Domain: vm.Name, State: stateOf(p, i), Size: vm.Sizes.Provisioned, Read: vm.Sizes.Read(), Used: used(vm),
		Layout: string(vm.Layout.Kind), Network: attachments(p, i), Hardware: hardware(&vm.Source), Via: roads(vm), Duration: vm.Estimate(p.SourceOf(i).Expected()), Downtime: p.Job(i).Downtime(p.SourceOf(i).Expected()),
		Guest: guestLine(&vm.Guest), GuestNotes: vm.Guest.Notes, Disks: diskViews(vm), Moves: moves(vm),
		LayoutNotes: slices.Concat(vm.Layout.Reasons, vm.Layout.Notes), Conversion: conversion(vm, full), Concerns: vm.Concerns,
	}
	if len(v.Moves) == 0 || full { // which say the same, and more
		v.Parts = parts(&vm.Guest)
	}
	if len(p.More) > 0 {
		v.Host = p.SourceOf(i).Label()
	}
	net := p.NetworkOf(i)
	for _, n := range vm.Source.NICs {
		a, _ := net.Attachment(n.Network())
		line := fmt.Sprintf("ethernet%d %s %q -> %s", n.Index, n.MAC, cmp.Or(n.NetworkName, n.Network()), attachment(a))
		if i := slices.IndexFunc(vm.NICs, func(g guest.NIC) bool { return g.Index == n.Index && g.Name != "" }); i >= 0 {
			line += "; " + inGuest(vm.NICs[i])
		}
		v.NICs = append(v.NICs, line)
	}
	for _, s := range vm.Steps {
		v.Steps = append(v.Steps, s.Text)
	}
	v.Ledger, v.Hidden = fates(vm.Ledger, full)
	return v
}

// inGuest says what a NIC is in the guest.
func inGuest(n guest.NIC) string {
	text := "in the guest " + n.Name
	if n.Kept == "" {
		text += " on VMware"
	}
	var has []string
	for _, a := range n.Addresses {
		has = append(has, a.Prefix.String())
		if a.On != n.Name {
			has[len(has)-1] += " on " + a.On
		}
	}
	for _, g := range n.Gateways {
		has = append(has, "gateway "+g.String())
	}
	if n.DHCP4 {
		has = append(has, "DHCP")
	}
	if n.DHCP6 {
		has = append(has, "DHCPv6")
	}
	if len(has) == 0 {
		return text
	}
	return text + ": " + strings.Join(has, ", ")
}

func stateOf(p *plan.Plan, i int) State {
	warns := func(c ledger.Concern) bool { return c.Open(ledger.Warning) }
	switch {
	case len(p.Blockers(i)) > 0:
		return Blocked
	case slices.ContainsFunc(p.VMs[i].Concerns, warns):
		return Attention
	}
	return Ready
}

// attachments says in few words what a VM's NICs attach to.
func attachments(p *plan.Plan, i int) string {
	var devices []string
	net := p.NetworkOf(i)
	for _, n := range p.VMs[i].Source.NICs {
		device := "link down"
		if a, _ := net.Attachment(n.Network()); a.Mode != "" && a.Mode != network.None {
			device = a.Device
		}
		if !slices.Contains(devices, device) {
			devices = append(devices, device)
		}
	}
	if len(devices) == 0 {
		return "no NIC"
	}
	return strings.Join(devices, ", ")
}

func attachment(a network.Attachment) string {
	switch {
	case a.Mode == "" || a.Mode == network.None:
		return "nothing: the link stays down"
	case a.Mode == network.SRIOV && a.VLAN > 0:
		return fmt.Sprintf("virtual function of %s (VLAN %d), lent by libvirt's network %s", a.Device, a.VLAN, a.Network)
	case a.Mode == network.SRIOV:
		return fmt.Sprintf("virtual function of %s, lent by libvirt's network %s", a.Device, a.Network)
	case a.VLAN > 0:
		return fmt.Sprintf("%s on %s (VLAN %d of %s)", a.Mode, a.Device, a.VLAN, a.Uplink)
	}
	return fmt.Sprintf("%s on %s", a.Mode, a.Device)
}

// guestLine is what the look inside the disks found.
func guestLine(g *guest.Guest) string {
	var known []string
	for _, s := range []string{g.PrettyName, g.OS} {
		if s != "" {
			known = append(known, s)
			break
		}
	}
	if g.Hostname != "" {
		known = append(known, "host name "+g.Hostname)
	}
	if len(known) == 0 {
		return "nothing is known about the guest"
	}
	return strings.Join(known, ", ")
}

// used says of the parts of the disks what is read of them.
func used(vm *plan.VMPlan) []string {
	if vm.AllBlocks && len(vm.Disks) > 0 {
		return []string{"all blocks are copied, also what nothing needs (--all-blocks)"}
	}
	var texts []string
	for _, s := range vm.Guest.Spaces {
		where := s.Where
		if s.Content != "" {
			where += " (" + s.Content + ")"
		}
		var rest []string
		if s.Unused > 0 {
			rest = append(rest, fit.Bytes(s.Unused)+" unused")
		}
		if s.Zero > 0 {
			rest = append(rest, fit.Bytes(s.Zero)+" known to be zero")
		}
		text := fmt.Sprintf("%s: all %s", where, fit.Bytes(s.Size))
		if len(rest) > 0 {
			text = fmt.Sprintf("%s: %s of %s; %s", where, fit.Bytes(s.Used), fit.Bytes(s.Size), strings.Join(rest, ", "))
		}
		if s.Why != "" {
			text += "; all of it counts as used: " + s.Why
		}
		texts = append(texts, text)
	}
	return texts
}

func parts(g *guest.Guest) []string {
	var texts []string
	for _, d := range g.Disks {
		for _, part := range d.Partitions {
			text := fmt.Sprintf("%s:%d %s at %d, %s", d.Address, part.Number, orUnknown(part.Content), part.Offset, fit.Bytes(part.Length))
			switch {
			case strings.HasPrefix(part.Mount, "/"):
				text += ", mounted at " + part.Mount
			case part.Mount != "": // swap is no place
				text += ", used as " + part.Mount
			}
			texts = append(texts, text)
		}
	}
	return texts
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown content"
	}
	return s
}

// noVM is the place of what is about all of the plan.
const noVM = -1

// addFindings adds the blockers and warnings of the VM at a place to those of the
// others, and counts its notes.
func (v *View) addFindings(place int, cs []ledger.Concern) {
	for _, c := range cs {
		if c.Severity == ledger.Note {
			v.Notes++
			continue
		}
		evidence := c.Evidence
		if c.Subject != "" && place == noVM {
			evidence = c.Subject + ": " + evidence
		}
		i := slices.IndexFunc(v.Findings, func(f Finding) bool {
			return f.Severity == c.Severity && f.ID == c.ID && f.Advice == c.Advice && f.Acknowledged == c.Acknowledged
		})
		if i < 0 {
			i = len(v.Findings)
			v.Findings = append(v.Findings, Finding{Severity: c.Severity, ID: c.ID, Advice: c.Advice, Acknowledged: c.Acknowledged})
		}
		f := &v.Findings[i]
		if place != noVM && !slices.Contains(f.Places, place) {
			f.Places, f.VMs = append(f.Places, place), append(f.VMs, v.VMs[place].Name)
		}
		if !slices.Contains(f.Evidence, evidence) {
			f.Evidence = append(f.Evidence, evidence)
		}
	}
}

// Grouped are the findings that share an id and a severity.
func (v View) Grouped() [][]Finding {
	var out [][]Finding
	for _, f := range v.Findings {
		i := slices.IndexFunc(out, func(g []Finding) bool { return g[0].ID == f.ID && g[0].Severity == f.Severity })
		if i < 0 {
			i = len(out)
			out = append(out, nil)
		}
		out[i] = append(out[i], f)
	}
	return out
}

// fates groups a ledger's entries by fate and reason, what changes first. Unless
// all is asked for, it leaves out what is trivial, and returns how much that is.
func fates(es []ledger.Entry, full bool) (out []Fated, hidden int) {
	for _, fate := range []ledger.Fate{ledger.Changed, ledger.Dropped, ledger.Mapped} {
		var list []Reasoned
		for _, e := range es {
			switch {
			case e.Fate != fate:
			case !full && trivial(e):
				hidden++
			default:
				list = addReasoned(list, entry(e), e.Reason)
			}
		}
		for _, r := range list {
			out = append(out, Fated{fate, r})
		}
	}
	return out, hidden
}

// bookkeeping matches properties by which ESXi tells its own objects apart, and
// those that follow from what the plan says elsewhere. No guest sees them.
var bookkeeping = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`(?:nics|disks|controllers)\[.*\]\.(?:key|label)`,
	`nics\[.*\]\.(?:macType|pciSlot)`,
	`disks\[.*\]\.(?:contentID|format|mode|shares|thin|parents)`,
	`disks\[.*\]\.files\[.*`,
	`snapshots\[.*`,
	`tools\..*`,
	`autoStart\..*`,
	`(?:serialPorts|parallelPorts)\[.*\]\.(?:target|direction)`,
	`video\.ramKiB|hardwareVersion|guestID|guestFullName|changeVersion|instanceUUID|connectionState|power|locks`,
	`portGroups\[.*\]\.policy\..*`,
}, "|") + `)$`)

// trivial reports whether an entry of the ledger only matters to who checks that
// nothing is missing.
func trivial(e ledger.Entry) bool {
	return e.Fate == ledger.Mapped || bookkeeping.MatchString(e.Property)
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

// in returns how many VMs are in a state.
func (v *View) in(s State) int {
	n := 0
	for i := range v.VMs {
		if v.VMs[i].State == s {
			n++
		}
	}
	return n
}

// next lists the commands that may follow a plan.
func (v *View) next(ask Ask) []Command {
	var out []Command
	if !v.Stories {
		out = append(out, Command{"show all of one VM", "`esxodus plan " + v.VMs[v.example(Blocked)].key() + "`"})
	}
	if v.in(Blocked) == len(v.VMs) {
		return out
	}
	out = append(out, Command{"migrate one VM", "`esxodus convert " + v.VMs[v.example(Ready)].key() + "`"})
	switch {
	case ask.Saved != "":
		out = append(out, Command{"migrate those of the saved plan", "`esxodus batch " + ask.Saved + "`"})
	case len(v.VMs) > 1 && !ask.Named:
		out = append(out, Command{"migrate all that aren't blocked", "`esxodus plan -o plan.yaml`, then `esxodus batch plan.yaml`"})
	}
	return out
}

// example returns the first VM in the state, else the first that isn't blocked,
// else the first.
func (v *View) example(s State) int {
	for _, fits := range []func(VMView) bool{
		func(vm VMView) bool { return vm.State == s },
		func(vm VMView) bool { return vm.State != Blocked },
	} {
		if i := slices.IndexFunc(v.VMs, fits); i >= 0 {
			return i
		}
	}
	return 0
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+=-]*$`)

// key is what a command line calls the VM: its name, or its id where a shell or
// a terminal would take the name for something else.
func (v VMView) key() string {
	if plainWord.MatchString(v.Name) {
		return v.Name
	}
	return v.ID
}
