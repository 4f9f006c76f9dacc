package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/convert/stage"
	"esxodus/inventory"
	"esxodus/inventory/fit"
	"esxodus/network"
)

// Way is how the bytes of a disk come to this machine.
type Way string

// The ways.
const (
	WayHTTPS Way = "https" // from the host's datastore browser, /folder
	WaySSH   Way = "ssh"   // by dd on the host's shell
	WayNFC   Way = "nfc"   // by a lease of the host, through a file of this machine
	WayFile  Way = "file"  // from files that this machine has
)

// Ways lists them all.
func Ways() []Way { return []Way{WayHTTPS, WaySSH, WayNFC, WayFile} }

// Origin is where the bytes of a disk come from.
type Origin struct {
	Path string // of the descriptor: on its datastore, or in the directory that the VMs are read from
	Way  Way
	// File is a path on this machine: the descriptor's, of [WayFile]; where the bytes are
	// kept that a lease brings, of [WayNFC].
	File string
}

// Origin is where a disk's bytes come from.
func (d *Disk) Origin() Origin {
	o := Origin{Path: d.Path, Way: d.Via, File: d.File}
	if o.Way == "" {
		o.Way = WayHTTPS // of an older esxodus
	}
	return o
}

// String says it in a step: "over HTTPS".
func (o Origin) String() string {
	switch o.Way {
	case WayFile:
		return "from the file " + o.File
	case WayNFC:
		return "by a lease, through the file " + o.File
	case WayHTTPS, WaySSH:
	}
	return "over " + strings.ToUpper(string(o.Way))
}

// Origin chooses the way that a disk's bytes take, where none is asked for: it is the
// one place where that is done.
func (s *Source) Origin(d *inventory.Disk, asked Way) Origin {
	if s.From != "" {
		root := s.From
		if strings.EqualFold(filepath.Ext(root), ".ovf") { // its files are beside it
			root = filepath.Dir(root)
		}
		return Origin{d.Path, WayFile, filepath.Join(root, filepath.FromSlash(d.Path))}
	}
	if file, ok := s.mounted(d); ok && (asked == "" || asked == WayFile) {
		return Origin{d.Path, WayFile, file}
	}
	switch asked {
	case WaySSH:
		return Origin{Path: d.Path, Way: WaySSH}
	case WayNFC:
		return Origin{d.Path, WayNFC, s.Stage().File(d.Path)}
	case WayHTTPS, WayFile:
	}
	return Origin{Path: d.Path, Way: WayHTTPS}
}

// Stage is where what leases bring is kept.
func (s *Source) Stage() stage.Dir {
	_, host, _ := strings.Cut(s.URL, "://")
	return stage.Dir{Path: s.Scratch, Host: host[strings.LastIndex(host, "@")+1:]} // whoever logs in
}

// mounted returns where on this machine the descriptor of a disk is, if all of its
// chain is on datastores that are mounted here.
func (s *Source) mounted(d *inventory.Disk) (file string, ok bool) {
	for _, p := range slices.Concat(d.Parents, []string{d.Path}) {
		if file, ok = s.onMount(p); !ok {
			return "", false
		}
	}
	return file, ok
}

// onMount turns "[datastore] dir/file" into a path on this machine. A name may be the
// beginning of another one.
func (s *Source) onMount(p string) (file string, ok bool) {
	best := ""
	for name, dir := range s.Datastores {
		rest, on := strings.CutPrefix(p, "["+name+"] ")
		if on && filepath.IsLocal(rest) && len(name) >= len(best) {
			best, file, ok = name, filepath.Join(dir, filepath.FromSlash(rest)), true
		}
	}
	return file, ok
}

// Way is the one that the admin asks for of a VM's disks, "" for none.
func (o *Options) Way(vm *inventory.VM) Way {
	return cmp.Or(o.Via[vm.ID], o.Via[vm.Name], o.Via[""])
}

// checkWays refuses datastores that the host doesn't have, ways that there aren't, and
// those of VMs that the plan doesn't have.
func (o *Options) checkWays(f *Facts, vms []*inventory.VM) error {
	for name := range f.Source.Datastores {
		if _, ok := f.Host.DatastoreByName(name); !ok {
			var names []string
			for _, d := range f.Host.Datastores {
				names = append(names, d.Name)
			}
			return fmt.Errorf("--datastore %s: the host has no datastore of that name; it has %s", name, strings.Join(names, ", "))
		}
	}
	for key, way := range o.Via {
		if !slices.Contains(Ways(), way) {
			return fmt.Errorf("--via %s=%s: want https, ssh, nfc or file", key, way)
		}
		if way == WayNFC && f.Source.Scratch == "" {
			return errors.New("--via nfc: a disk that a lease streams is kept on this machine until it is copied: give --scratch DIR, with room for what is in use of the disks")
		}
		if key != "" && !slices.ContainsFunc(vms, func(vm *inventory.VM) bool { return vm.ID == key || vm.Name == key }) {
			return fmt.Errorf("--via %s: no VM of this plan has that name or id", key)
		}
	}
	return nil
}

// wayConcerns refuses disks that can't come by the way that was asked for.
func (v *VMPlan) wayConcerns(l inventory.License) []ledger.Concern {
	var out []ledger.Concern
	if v.Via == WayNFC && l.ReadOnly {
		out = append(out, ledger.Concern{
			ID: ConcernWay, Severity: ledger.Blocker, Evidence: "it was asked for by --via nfc, but this host's licence allows no lease",
			Advice: "leave --via out: its disks come over HTTPS, or by SSH where the host serves none so",
		})
	}
	for i, d := range v.Disks {
		if is := d.Origin(); v.Via != "" && is.Way != v.Via {
			out = append(out, ledger.Concern{
				ID: ConcernWay, Severity: ledger.Blocker, Subject: d.Address,
				Evidence: fmt.Sprintf("it was asked for by --via %s, but can come only %s: %s", v.Via, is, strings.Join(append(slices.Clone(v.Source.Disks[i].Parents), d.Path), ", ")),
				Advice:   "name where each of its datastores is mounted here, with --datastore 'NAME=DIR', or leave --via out",
			})
		}
	}
	return out
}

// checkOrigins compares the disks' ways with those that the source allows.
func (v *VMPlan) checkOrigins(s *Source) error {
	if len(v.Disks) != len(v.Source.Disks) {
		return nil // which another check tells
	}
	if s.Scratch != "" && !filepath.IsAbs(s.Scratch) {
		return fmt.Errorf("source.scratch: %q is no absolute path", s.Scratch)
	}
	if v.Via == WayNFC && s.Scratch == "" {
		return errors.New("via: nfc, but source.scratch names no directory for what a lease brings")
	}
	for i, d := range v.Disks {
		if want := s.Origin(&v.Source.Disks[i], v.Via); d.Origin() != want {
			return fmt.Errorf("disks[%d] (%s): it comes %s, but of this source it would come %s", i, d.Address, d.Origin(), want)
		}
	}
	return nil
}

// MayRun says why a VM's disks can't be read: it is on, or may be, as far as one can
// see. It is "" for one that is off. Files alone don't tell; off means that the
// admin does.
func (s *Source) MayRun(vm *inventory.VM, off bool) string {
	switch {
	case vm.Power == inventory.PoweredOff:
		return ""
	case s.From == "" || vm.Power != inventory.PowerUnknown:
		return fmt.Sprintf("the VM is %s and its disks are locked", vm.Power)
	case len(vm.Locks) > 0 && !off:
		return fmt.Sprintf("the VM may be running: %s is beside its .vmx or its disks", strings.Join(vm.Locks, ", "))
	}
	return ""
}

// SaysOff reports whether the admin says that a VM is off.
func (o *Options) SaysOff(vm *inventory.VM) bool {
	return slices.Contains(o.Off, vm.ID) || slices.Contains(o.Off, vm.Name)
}

// checkOff refuses to be told of VMs that the plan doesn't have.
func (o *Options) checkOff(vms []*inventory.VM) error {
	for _, key := range o.Off {
		if !slices.ContainsFunc(vms, func(vm *inventory.VM) bool { return vm.ID == key || vm.Name == key }) {
			return fmt.Errorf("--off %s: no VM of this plan has that name or id", key)
		}
	}
	if o.Again == nil && len(o.Off) > 0 && o.Shutdown != ShutdownNever {
		return errors.New("--off and --shutdown: what is off isn't shut down")
	}
	return nil
}

// fileConcerns is what files don't say of a VM.
func fileConcerns(vm *inventory.VM, s Source, o Options) []ledger.Concern {
	why := s.MayRun(vm, o.SaysOff(vm))
	if s.From == "" || why == "" || vm.Power != inventory.PowerUnknown {
		return nil
	}
	return []ledger.Concern{{
		ID: ConcernPower, Severity: ledger.Blocker, Evidence: why,
		Advice: "shut it down on ESXi; or if it is off, and that is left over from a copy or a crash, say so: --off " + fit.Paste(vm.ID),
	}}
}

// unknownPortGroups says why nothing is known of port groups that VMs in files name.
func unknownPortGroups(p *network.Plan) {
	for i, c := range p.Concerns {
		if c.ID == network.ConcernPortGroup {
			p.Concerns[i].Evidence = fmt.Sprintf("files don't say on which uplinks and VLAN the port group %s is", c.Subject)
		}
	}
}

// sourceConcerns is what the source didn't tell about all of the VMs.
func sourceConcerns(f *Facts) []ledger.Concern {
	var out []ledger.Concern
	if f.Source.From != "" {
		out = append(out, ledger.Concern{
			ID: ConcernFiles, Severity: ledger.Note, Subject: f.Source.From,
			Evidence: "the VMs are read from files, which don't say whether a VM is off, what its snapshots are called, whether a host starts it by itself, and which VLANs its port groups have",
			Advice:   "see to it that each VM is off, stays off, and is in no host's autostart; nothing is shut down or switched on, and nothing is written there",
		})
	}
	for _, p := range f.Host.Problems {
		out = append(out, ledger.Concern{
			ID: ConcernSourceUnread, Severity: ledger.Warning, Evidence: p,
			Advice: "VMs in it are missing here: make it readable (as root, and without root_squash on NFS), and plan again",
		})
	}
	return out
}
