package network

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
)

// reload decides whether networkd may be told to read its files. It configures
// every link anew whose files differ from those that it has read, so that is
// done only where no file of a link in use has changed since networkd started:
// whether it was read after that, networkd doesn't say. And whenever it configures
// a link, were it one of ours, it takes away all rules of policy routing that it
// didn't make. Where it may not be told, the devices are made all the same: networkd
// leaves a link alone for which it knows no file, and after the next boot it knows
// ours.
func (d *differ) reload() {
	fresh := func(f FileChange) bool { return !f.Boot && f.State != FileSame && !f.forUdev() }
	if !d.host.Networkd.Running || !slices.ContainsFunc(d.c.Files, fresh) {
		d.quiet = true
		return
	}
	why := ""
	if since := d.host.changedSince(); len(since) > 0 {
		why = fmt.Sprintf("changed since networkd started, so it may not have read them: %s. A reload would configure those links anew", strings.Join(since, ", "))
	} else if rules := d.host.losesRules(); len(rules) > 0 {
		why = fmt.Sprintf("when networkd configures a link, the new ones too, it takes rules away that it didn't make: %s", strings.Join(rules, "; "))
	}
	if why == "" {
		d.c.Wire = append(d.c.Wire, "networkd reads its files (networkctl reload): no link that is there has other ones than it has read")
		return
	}
	d.quiet = true
	for _, dev := range slices.Concat(d.made, d.functionLinks()) {
		if f := d.host.catching(dev); f != "" {
			d.concern(ConcernReload, ledger.Blocker, dev.Name, fmt.Sprintf("%s matches %s too, so networkd would configure that by it as soon as it is there; the plan's own file comes first, but networkd must not read it now: %s", f, dev.Name, why),
				"add Kind=!* to the [Match] of "+f+", so that it takes physical links only, restart this host in a quiet hour, and plan again")
			return
		}
	}
	d.concern(ConcernReload, ledger.Note, "networkd", why, "so networkd isn't told of the new files: it reads them at the next boot, and the devices are made without it")
}

// losesRules lists the rules that networkd takes away when it configures a link,
// which it does from the release on that can be told not to, at its start.
func (h *Host) losesRules() []string {
	if h.Networkd.Version != 0 && h.Networkd.Version < keepsRules || h.keepsRules() {
		return nil
	}
	return h.foreignRules()
}

// keepsRules reports whether networkd was told to before it started.
func (h *Host) keepsRules() bool {
	return slices.ContainsFunc(h.Files, func(f File) bool {
		conf := strings.Contains(f.Path, "/networkd.conf")
		return conf && strings.Contains(f.Text, "ManageForeignRoutingPolicyRules=no") && !f.Changed.After(h.Networkd.Started)
	})
}

// changedSince lists the .network files and their drop-ins that changed after
// networkd started, but those that are only for devices of ours.
func (h *Host) changedSince() []string {
	var out []string
	for _, f := range h.Files {
		if f.network() && !f.onlyOurs() && (h.Networkd.Started.IsZero() || f.Changed.After(h.Networkd.Started)) {
			out = append(out, f.Path)
		}
	}
	return out
}

// network reports whether links are configured by a file, not only made.
func (f File) network() bool {
	dir := path.Base(path.Dir(f.Path))
	return strings.HasSuffix(f.Path, ".network") || strings.HasSuffix(dir, ".network.d")
}

// onlyOurs reports whether a file is for nothing but devices that esxodus made.
func (f File) onlyOurs() bool {
	name := path.Base(f.Path)
	return path.Dir(f.Path) == Dir && (strings.HasPrefix(name, "10-esxodus-") || strings.HasPrefix(name, "20-esxodus-"))
}

// defaults reports bridges that came with libvirt or LXD and serve addresses.
func (d *differ) defaults() {
	for _, l := range d.host.Links {
		if l.Kind == "bridge" && l.Dnsmasq {
			d.concern(ConcernDefault, ledger.Note, l.Name, fmt.Sprintf("%s is a bridge with a dnsmasq of its own (%s)", l.Name, strings.Join(cidrs(l.Addresses), ", ")),
				"no domain of the plan needs it. "+removal(&l))
		}
	}
}

// LXDPrefix marks the name of a bridge of LXD's where a network of libvirt's may be
// named.
const LXDPrefix = "lxd:"

// removal says how to be rid of such a bridge.
func removal(l *Link) string {
	if l.LXD {
		return "If no instance of LXD's does: `esxodus network remove-default " + LXDPrefix + l.Name + "` takes it away, and `esxodus network rollback` brings it back"
	}
	return "If none of yours does: `esxodus network remove-default` takes it away, if libvirt made it, and `esxodus network rollback` brings it back"
}

func cidrs(as []Address) []string {
	var out []string
	for _, a := range as {
		out = append(out, a.CIDR)
	}
	return out
}
