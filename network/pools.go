package network

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/network/networkd"
)

// makesFunctions is the first systemd whose udev makes virtual functions by a .link file.
const makesFunctions = 251

// FunctionChange is virtual functions that a step makes.
type FunctionChange struct {
	Device string `json:"device"`
	Count  int    `json:"count"`
}

// pools finds out what virtual functions of the plan's are to be made, and what
// makes them at each boot.
func (d *differ) pools() {
	for _, pool := range d.plan.Pools {
		l, there := d.host.Link(pool.Device)
		if !there {
			continue // a blocker already
		}
		want := max(pool.Count, l.VFs)
		f := d.host.Functions()
		a, _ := f.adapter(l.Name)
		a.Used = min(a.Used, want-1) // they may be the plan's own domains that have them
		f.Adapters = []Adapter{a}
		if why, advice := f.lack(l.Name, pool.Count); why != "" {
			d.concern(ConcernFunctions, ledger.Blocker, l.Name, why, advice+"; or plan again without virtual functions")
			continue
		}
		if l.Driver != late && !d.atBoot(&l, want) {
			continue
		}
		d.strangers(&l)
		if l.VFs == 0 {
			d.make(&l, want)
		}
		d.lend(pool)
	}
}

// make has virtual functions made now, unless that resets a link that is in use.
func (d *differ) make(l *Link, count int) {
	if d.host.Resets(l.Name) {
		d.concern(ConcernFlap, ledger.Warning, l.Name, fmt.Sprintf("%s is in use, and its driver (%s) may reset its link for some seconds when it makes virtual functions", l.Name, l.Driver),
			fmt.Sprintf("they are made at the next boot. Until then no domain with one starts; to have them sooner, in a quiet hour: echo %d >/sys/class/net/%s/device/sriov_numvfs", count, l.Name))
		return
	}
	d.functions = append(d.functions, FunctionChange{Device: l.Name, Count: count})
	d.c.Wire = append(d.c.Wire, fmt.Sprintf("%s: gets %d virtual functions", l.Name, count))
}

// steady is the driver that leaves an adapter's link alone when it makes or removes
// virtual functions, as far as is known. igb, ixgbe and i40e reset it.
const steady = "mlx5_core"

// late is the driver that makes virtual functions only while the interface is up, which
// it isn't yet when udev meets it.
const late = "bnxt_en"

// Resets reports whether a link is in use, and to make or remove virtual functions of
// it may cut it off for some seconds.
func (h *Host) Resets(link string) bool {
	l, there := h.Link(link)
	standing := slices.ContainsFunc(h.Links, func(o Link) bool { return o.Parent == link })
	return there && l.Driver != steady && (len(l.uses()) > 0 || standing)
}

// atBoot has udev make virtual functions at each boot; false if something else
// makes another number.
func (d *differ) atBoot(l *Link, count int) bool {
	name := FunctionFile(l, d.host.Networkd.Version)
	if v := d.host.Networkd.Version; v != 0 && v < makesFunctions {
		d.file(name, networkd.FunctionRule(l.Path, count), true)
		return true
	}
	counts := d.host.counting(l)
	text, also := d.host.linkText(counts)
	if theirs := functionCount(text); theirs > 0 && !ours(counts) {
		if theirs == count {
			return true
		}
		d.concern(ConcernFunctions, ledger.Blocker, l.Name, fmt.Sprintf("%s makes %d virtual functions of %s, and the plan wants %d", counts, theirs, l.Name, count),
			fmt.Sprintf("plan with %s %s=%d, or change it there", FunctionsFlag, l.Name, theirs))
		return false
	}
	if counts == name { // it counts since the last boot
		d.file(name, countLine().ReplaceAllString(text, "SR-IOVVirtualFunctions="+strconv.Itoa(count)), true)
		return true
	}
	if counts != "" && path.Base(counts) < path.Base(name) {
		d.concern(ConcernFunctions, ledger.Blocker, l.Name, fmt.Sprintf("%s configures %s and sorts before every name that a file of ours can have, and of those that match udev applies only the first", counts, l.Name),
			fmt.Sprintf("add SR-IOVVirtualFunctions=%d to its [Link], and plan again", count))
		return false
	}
	d.file(name, networkd.FunctionLink(l.Path, count, counts, settings(text+"\n"+also)), true)
	return true
}

// FunctionFile is the path of the file by which udev makes a link's virtual functions.
// A .link file sorts before the one that counts until now, if it can.
func FunctionFile(l *Link, systemd int) string {
	if systemd != 0 && systemd < makesFunctions {
		return "/etc/udev/rules.d/82-esxodus-vf-" + l.Name + ".rules"
	}
	for _, prefix := range []string{"10-", "00-", "0-"} {
		name := prefix + "esxodus-vf-" + l.Name + ".link"
		if base := path.Base(l.LinkFile); base == "." || name <= base {
			return path.Join(Dir, name)
		}
	}
	return path.Join(Dir, "+esxodus-vf-"+l.Name+".link")
}

// counting is the .link file that counts for a link: the one that udev applied, if it
// is still there, else systemd's own for all. /lib may be /usr/lib.
func (h *Host) counting(l *Link) string {
	for _, name := range []string{l.LinkFile, "/usr" + l.LinkFile} {
		if _, there := h.file(name); there {
			return name
		}
	}
	i := slices.IndexFunc(h.Files, func(f File) bool { return path.Base(f.Path) == "99-default.link" })
	if i < 0 {
		return ""
	}
	return h.Files[i].Path
}

// linkText returns the text of a .link file, and those of its drop-ins.
func (h *Host) linkText(file string) (text, also string) {
	f, _ := h.file(file)
	for _, o := range h.Files {
		if file != "" && path.Base(path.Dir(o.Path)) == path.Base(file)+".d" {
			also += o.Text + "\n"
		}
	}
	return f.Text, also
}

// settings are the lines of a .link file but its [Match] and its comments.
func settings(text string) string {
	match, section := false, ""
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			match = line == "[Match]"
			if match || line == section {
				continue
			}
			section = line
		}
		if !match {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func countLine() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*SR-IOVVirtualFunctions[ \t]*=[ \t]*(\d+)[ \t]*$`)
}

// functionCount is how many virtual functions a .link file makes.
func functionCount(text string) int {
	m := countLine().FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // digits
	return n
}

// strangers keeps networkd off the virtual functions that this host's drivers take,
// which a file for all links would give addresses.
func (d *differ) strangers(l *Link) {
	if len(l.VFPaths) == 0 {
		return
	}
	d.file(path.Join(Dir, "10-esxodus-vf-"+l.Name+".network"), networkd.FunctionsUnmanaged(l.Name, l.VFPaths), false)
	if slices.ContainsFunc(d.host.Managers, func(m Manager) bool { return m.Name == NetworkManager }) {
		d.concern(ConcernManager, ledger.Warning, l.Name, "NetworkManager runs here, and asks for an address on each new interface, virtual functions too",
			fmt.Sprintf("before the next step, a file in /etc/NetworkManager/conf.d with [keyfile] unmanaged-devices=interface-name:%s", l.Name+"v*"))
	}
}

// functionLinks are the links of the virtual functions that are made now, as far as a
// file's [Match] goes.
func (d *differ) functionLinks() []Device {
	var out []Device
	for _, f := range d.functions {
		out = append(out, Device{Name: f.Device + "v0"})
	}
	return out
}

// lend has libvirt lend virtual functions to domains.
func (d *differ) lend(p Pool) {
	all := d.host.Virtuals
	if all == nil || all.Unknown != "" {
		why := "it wasn't asked"
		if all != nil {
			why = all.Unknown
		}
		d.concern(ConcernPool, ledger.Blocker, p.Device, "libvirt doesn't say which networks it has: "+why, "plan where libvirt answers, as root")
		return
	}
	want := p.virtual()
	i := slices.IndexFunc(all.Networks, func(v Virtual) bool { return v.Name == p.Network })
	old := Virtual{}
	if i >= 0 {
		old = all.Networks[i]
	}
	switch {
	case i >= 0 && old.UUID != want.UUID:
		d.concern(ConcernPool, ledger.Blocker, p.Network, "libvirt has a network "+p.Network+" that esxodus didn't make", "rename or remove it (virsh net-undefine), and plan again")
	case i >= 0 && old.Active && old.AutoStart && old.Persistent:
	default:
		d.lent = append(d.lent, VirtualChange{URI: all.URI, Old: old, New: &want})
	}
}

// virtual is libvirt's network that lends a pool. Its UUID is always the same, so
// that it is known again.
func (p Pool) virtual() Virtual {
	id := sha256.Sum256([]byte("esxodus\x00" + p.Network))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
	return Virtual{
		Name: p.Network, UUID: uuid, Active: true, Persistent: true, AutoStart: true,
		XML: fmt.Sprintf("<network>\n  <name>%s</name>\n  <uuid>%s</uuid>\n  <forward mode='hostdev' managed='yes'>\n    <pf dev='%s'/>\n  </forward>\n</network>\n", p.Network, uuid, p.Device),
	}
}

// Unmade lists the interfaces of a plan's pools that have no virtual functions yet: no
// domain with one starts.
func (h *Host) Unmade(p *Plan) []string {
	var out []string
	for _, pool := range p.Pools {
		if l, there := h.Link(pool.Device); there && l.VFs == 0 {
			out = append(out, pool.Device)
		}
	}
	return out
}

// lends reports whether virtual functions of a pool will be there after the next
// boot, and a network that lends them.
func (h *Host) lends(p Pool) bool {
	l, there := h.Link(p.Device)
	if !there {
		return false
	}
	text, also := h.linkText(h.counting(&l))
	own, made := h.file(FunctionFile(&l, h.Networkd.Version))
	made = made && strings.Contains(own.Text, l.Path) || functionCount(text+"\n"+also) > 0 || l.Driver == late && l.VFs > 0
	if h.Virtuals == nil || h.Virtuals.Unknown != "" {
		return made
	}
	return made && slices.ContainsFunc(h.Virtuals.Networks, func(v Virtual) bool {
		return v.Name == p.Network && v.Persistent && v.AutoStart
	})
}
