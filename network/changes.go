package network

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
	"esxodus/network/networkd"
)

// Dir is where networkd's files go.
const Dir = "/etc/systemd/network"

// confDir is where drop-ins of networkd.conf go.
const confDir = "/etc/systemd/networkd.conf.d"

// StepKind is what a step does.
type StepKind string

// The kinds of steps.
const (
	StepFile    StepKind = "file"    // write a file
	StepUdev    StepKind = "udev"    // have udev read its files
	StepReload  StepKind = "reload"  // have networkd read its files
	StepDevice  StepKind = "device"  // make a device by netlink
	StepUp      StepKind = "up"      // set a link up
	StepVFs     StepKind = "vfs"     // make virtual functions
	StepVirtual StepKind = "virtual" // remove one of libvirt's or LXD's networks, or make one
	StepCheck   StepKind = "check"   // see that all that was there still is
	StepConfirm StepKind = "confirm" // wait for the admin to say that the host can be reached
	StepRecord  StepKind = "record"  // commit in etckeeper or git
)

// Step is a part of what applying a plan does. It has what its kind needs.
type Step struct {
	Kind    StepKind        `json:"kind"`
	Text    string          `json:"text"`
	File    *FileChange     `json:"file,omitempty"`
	Device  *Device         `json:"device,omitempty"`
	Link    string          `json:"link,omitempty"`
	Virtual *VirtualChange  `json:"virtual,omitempty"`
	VFs     *FunctionChange `json:"vfs,omitempty"`
}

// FileState is how a file of the plan's compares with the host's.
type FileState string

// The states of files.
const (
	FileNew     FileState = "new"
	FileChanged FileState = "changed"
	FileSame    FileState = "same" // not written: networkd takes even a touched file for a changed one
)

// FileChange is a file of the plan's.
type FileChange struct {
	Path  string    `json:"path"`
	State FileState `json:"state"`
	Old   string    `json:"old,omitempty"`
	New   string    `json:"new"`
	Boot  bool      `json:"boot,omitempty"` // for the next boot: networkd isn't told of it
}

// forUdev reports whether udev is to be told of a new .link file, which networkd doesn't
// read.
func (f FileChange) forUdev() bool {
	return f.State != FileSame && !f.Boot && strings.HasSuffix(f.Path, ".link")
}

// Changes is what applying a plan to a host does, or why it can't be done.
type Changes struct {
	Files    []FileChange     `json:"files"` // by path, those too that are there
	Steps    []Step           `json:"steps"` // none if there is nothing to do
	Wire     []string         `json:"wire"`  // what is touched of the links that there are
	Concerns []ledger.Concern `json:"concerns,omitempty"`
}

// Empty reports whether the host is as the plan wants it.
func (c *Changes) Empty() bool { return len(c.Steps) == 0 }

// The ids of the concerns that [Host.Changes] raises.
const (
	ConcernNoLink   = "network.no-link"  // the host has no such interface
	ConcernClash    = "network.clash"    // another device has the name
	ConcernOwn      = "network.own"      // the host uses the device itself
	ConcernUnfit    = "network.unfit"    // domains can't be attached to such an interface
	ConcernManager  = "network.manager"  // something else than networkd configures the uplink
	ConcernUnowned  = "network.unowned"  // nothing configures the uplink, but it is in use
	ConcernShared   = "network.shared"   // one file configures several links
	ConcernNetworkd = "network.networkd" // networkd doesn't run
	ConcernReload   = "network.reload"   // a reload would touch a link that is in use
	ConcernKeep     = "network.keep"     // this release can't keep what is foreign
	ConcernCaught   = "network.caught"   // a file of the host's takes a device of the plan's
	ConcernPort     = "network.port"     // the uplink is a port of a bridge or bond
	ConcernCarrier  = "network.carrier"  // the uplink is down or has no cable
	ConcernDefault  = "network.default"  // a bridge with a dnsmasq that came with libvirt or LXD
)

// Changes compares a plan with the host and says what applying it does, in which
// order:
//
//  1. the files that no link in use is configured by; networkd reads them;
//  2. the devices, by netlink: networkd finds them configured by then; virtual
//     functions, and libvirt's networks that lend them;
//  3. a look whether all that was there still is, and a word of the admin's;
//  4. the drop-ins by which the next boot attaches the devices to their uplinks.
//     networkd isn't told: it would configure the uplinks anew at once.
//
// So a host that goes down before the admin has said yes comes up as it was.
func (h *Host) Changes(p Plan) (Changes, error) {
	d := differ{host: h, plan: &p}
	d.devices()
	if err := d.uplinks(); err != nil {
		return Changes{}, err
	}
	for _, u := range p.Units {
		d.file(path.Join(Dir, u.Name), u.Text, strings.Contains(u.Name, "/"))
	}
	d.caught()
	d.named()
	d.pools()
	d.reload()
	d.defaults()
	d.order()
	ledger.SortConcerns(d.c.Concerns)
	return d.c, nil
}

type differ struct {
	host      *Host
	plan      *Plan
	c         Changes
	made      []Device // new ones
	up        []string // links that must be up
	quiet     bool     // networkd isn't told of the new files
	functions []FunctionChange
	lent      []VirtualChange
}

func (d *differ) concern(id string, severity ledger.Severity, subject, evidence, advice string) {
	d.c.Concerns = append(d.c.Concerns, ledger.Concern{ID: id, Severity: severity, Subject: Label(subject), Evidence: evidence, Advice: advice})
}

func (d *differ) file(path, text string, boot bool) {
	f := FileChange{Path: path, State: FileNew, New: text, Boot: boot}
	if old, ok := d.host.file(path); ok {
		f.Old, f.State = old.Text, FileChanged
		if old.Text == text {
			f.State = FileSame
		}
	}
	d.c.Files = append(d.c.Files, f)
}

// devices finds out which devices must be made.
func (d *differ) devices() {
	for _, dev := range d.plan.Devices {
		l, there := d.host.Link(dev.Name)
		switch {
		case !there:
			d.taken(dev)
			d.made = append(d.made, dev)
		case l.Kind != dev.Kind || l.Parent != dev.Parent || l.VLAN != dev.VLAN:
			d.concern(ConcernClash, ledger.Blocker, dev.Name, fmt.Sprintf("this host has another interface of that name: %s; the plan wants %s", deviceText(l.device()), deviceText(dev)),
				"rename or remove that one, or attach the port group to something else with "+MapFlag)
		default:
			d.standing(&l)
		}
	}
}

// standing looks at a device of the plan's that is there. Where esxodus didn't make it
// and something uses it, it is the host's: networkd would configure it by the plan's file
// and take away what is on it.
func (d *differ) standing(l *Link) {
	d.port(l)
	if _, made := d.host.file(path.Join(Dir, "20-esxodus-"+l.Name+".network")); made || l.Master != "" {
		return
	}
	has := l.uses()
	if l.Networkd.File != "" {
		has = append(has, "the file "+l.Networkd.File)
	}
	for _, m := range d.host.managers(l.Name) {
		has = append(has, "the configuration of "+m.Name)
	}
	if len(has) == 0 {
		return
	}
	d.concern(ConcernOwn, ledger.Blocker, l.Name, fmt.Sprintf("this host has a device %s of its own, with %s: a file of esxodus's for it would take that away", l.Name, strings.Join(has, ", ")), d.asItIs(l.Name, l))
}

// taken says that the host has a VLAN device by another name: the kernel makes only
// one for an id.
func (d *differ) taken(dev Device) {
	i := slices.IndexFunc(d.host.Links, func(l Link) bool { return l.Kind == KindVLAN && l.Parent == dev.Parent && l.VLAN == dev.VLAN })
	if dev.Kind != KindVLAN || i < 0 {
		return
	}
	own := &d.host.Links[i]
	d.concern(ConcernOwn, ledger.Blocker, dev.Name, fmt.Sprintf("this host has VLAN %d of %s as %s, and the kernel makes no second device for it", dev.VLAN, dev.Parent, own.Name), d.asItIs(dev.Name, own))
}

// asItIs has the port groups of a device attach to one of the host's instead, or to the
// bridge that has it.
func (d *differ) asItIs(device string, own *Link) string {
	to := string(Macvtap) + ":" + own.Name
	if l, _ := d.host.Link(own.Master); l.Kind == string(Bridge) {
		to = string(Bridge) + ":" + l.Name
	}
	var flags []string
	for _, a := range d.plan.Attachments {
		if a.Device == device {
			flags = append(flags, MapFlag+" "+fit.Paste(a.PortGroup+"="+to))
		}
	}
	return "have domains attach to that: `" + strings.Join(flags, " ") + "`"
}

// device is the link as one could have been made.
func (l *Link) device() Device {
	return Device{Name: l.Name, Kind: cmp.Or(l.Kind, "a physical interface"), Parent: l.Parent, VLAN: l.VLAN}
}

func deviceText(d Device) string {
	text := d.Name + ", " + d.Kind
	if d.VLAN != 0 {
		text += fmt.Sprintf(" %d", d.VLAN)
	}
	if d.Parent != "" {
		text += " on " + d.Parent
	}
	return text
}

// order makes the steps of what there is to do.
func (d *differ) order() {
	slices.SortFunc(d.c.Files, func(a, b FileChange) int { return cmp.Compare(a.Path, b.Path) })
	write := func(boot bool) {
		for i := range d.c.Files {
			if f := &d.c.Files[i]; f.Boot == boot && f.State != FileSame {
				text := "write " + f.Path
				if boot {
					text += ", for the next boot"
				}
				d.c.Steps = append(d.c.Steps, Step{Kind: StepFile, Text: text, File: f})
			}
		}
	}
	write(false)
	if slices.ContainsFunc(d.c.Files, FileChange.forUdev) {
		d.c.Steps = append(d.c.Steps, Step{Kind: StepUdev, Text: "have udev read its files"})
	}
	if !d.quiet {
		d.c.Steps = append(d.c.Steps, Step{Kind: StepReload, Text: "have networkd read its files"})
	}
	for i := range d.made {
		dev := &d.made[i]
		d.c.Steps = append(d.c.Steps, Step{Kind: StepDevice, Text: "make " + deviceText(*dev), Device: dev})
	}
	for _, name := range d.up {
		d.c.Steps = append(d.c.Steps, Step{Kind: StepUp, Text: "set " + name + " up", Link: name})
	}
	for i := range d.functions {
		f := &d.functions[i]
		d.c.Steps = append(d.c.Steps, Step{Kind: StepVFs, Text: fmt.Sprintf("make %d virtual functions of %s", f.Count, f.Device), VFs: f})
	}
	for i := range d.lent {
		v := &d.lent[i]
		d.c.Steps = append(d.c.Steps, Step{Kind: StepVirtual, Text: "have libvirt lend virtual functions: its network " + v.New.Name + ", running and autostarted", Virtual: v})
	}
	if len(d.c.Steps) > 0 {
		d.c.Steps = append(d.c.Steps, Step{Kind: StepCheck, Text: "see that all addresses, routes and rules are still there"},
			Step{Kind: StepConfirm, Text: "wait for your word that this host can be reached"})
	}
	if write(true); len(d.c.Steps) > 0 {
		d.c.Steps = append(d.c.Steps, Step{Kind: StepRecord, Text: "commit in etckeeper or git, where /etc has one"})
	}
}

// keepFile is the drop-in that keeps what is foreign on an uplink.
func (d *differ) keepFile(up networkd.Uplink) error {
	u, err := up.Keep()
	if err == nil {
		d.file(path.Join(Dir, u.Name), u.Text, true)
	}
	return err
}
