package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"esxodus/convert/ledger"
	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

const (
	// speedTime is how long each number of connections is measured.
	speedTime = 2 * time.Second
	// maxTries is of how many disks a host that refuses them is asked.
	maxTries = 4
	// skewed is from when on two clocks differ.
	skewed = time.Minute
	// soon is how long before its end a certificate is worth a note.
	soon = 30 * 24 * time.Hour
)

// Source is an ESXi host to look at. Nothing on it is changed.
type Source struct {
	Client *esxi.Client
	Shell  shell.Config
	// Open opens a disk by one of the host's ways.
	Open func(ctx context.Context, from plan.Origin) (disk.Image, func() error, error)
	// Measure lets the speed be measured, which takes some seconds.
	Measure bool
}

// OfSource looks at an ESXi host.
func OfSource(ctx context.Context, s Source) ([]Finding, error) {
	h, err := s.Client.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	v := &visit{Source: s, h: h}
	for _, look := range []func(context.Context){v.version, v.license, v.wire, v.clock, v.rights, v.datastores, v.folder, v.lease, v.ssh, v.beneath, v.speed} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		look(ctx)
	}
	return v.notes, nil
}

// visit is a look at a host.
type visit struct {
	Source
	notes

	h    *inventory.Host
	disk *inventory.Disk // that can be read, if there is one
}

func (v *visit) version(context.Context) {
	v.ok("version", fmt.Sprintf("%s, ESXi %s, %d VMs", v.h.Name, v.h.Version, len(v.h.VMs)))
}

func (v *visit) license(context.Context) {
	l := v.h.License
	name := l.Edition
	if l.Name != "" {
		name = l.Name + " (" + l.Edition + ")"
	}
	if l.ReadOnly {
		v.add("licence", ledger.Note, name+": the API refuses every change", "have VMs shut down over SSH: `--shutdown ssh`. Disks are read by HTTPS or SSH, which any licence allows")
		return
	}
	v.ok("licence", name+": the API takes changes")
}

func (v *visit) wire(ctx context.Context) {
	w, err := v.Client.Wire(ctx)
	switch {
	case err != nil:
		v.add("tls", ledger.Warning, "its TLS: "+err.Error(), "")
	case time.Now().After(w.Expires):
		v.add("tls", ledger.Note, fmt.Sprintf("%s; its certificate expired on %s", w.Version, w.Expires.Format(time.DateOnly)), "it is taken if its fingerprint is given: `--thumbprint "+v.Client.Thumbprint()+"`")
	case time.Until(w.Expires) < soon:
		v.add("tls", ledger.Note, fmt.Sprintf("%s; its certificate expires on %s", w.Version, w.Expires.Format(time.DateOnly)), "pin it by its fingerprint, and it is taken all the same: `--thumbprint "+v.Client.Thumbprint()+"`")
	default:
		v.ok("tls", fmt.Sprintf("%s; certificate %s, until %s", w.Version, v.Client.Thumbprint(), w.Expires.Format(time.DateOnly)))
	}
}

func (v *visit) clock(ctx context.Context) {
	begin := time.Now()
	now, err := v.Client.Now(ctx)
	if err != nil {
		v.add("clock", ledger.Note, err.Error(), "")
		return
	}
	here := begin.Add(time.Since(begin) / 2)
	if off := now.Sub(here).Round(time.Second); off.Abs() > skewed {
		v.add("clock", ledger.Warning, fmt.Sprintf("its clock differs from this host's by %s", off), "set both by NTP: a guest takes its first time from its host, and certificates and logs go by it")
		return
	}
	v.ok("clock", "its clock agrees with this host's")
}

// rights asks for what a migration needs of the API.
func (v *visit) rights(ctx context.Context) {
	lacks, err := v.Client.Lacks(ctx, "System.Read", "Datastore.Browse", "Datastore.FileManagement", "VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.PowerOn")
	switch {
	case errors.Is(err, esxi.ErrUnknown):
		v.add("rights", ledger.Note, "which rights the user has, the host doesn't tell", "")
	case len(lacks) > 0:
		v.add("rights", ledger.Warning, "the user lacks "+strings.Join(lacks, ", "), "use root, or give the user's role those rights; the first two are needed to read, the others to shut VMs down through the API")
	default:
		v.ok("rights", "the user may read datastores, and switch VMs")
	}
}

// datastores tells of those whose files HTTPS doesn't serve.
func (v *visit) datastores(context.Context) {
	for _, d := range v.h.Datastores {
		switch {
		case d.Objects():
			v.add("datastore", ledger.Warning, fmt.Sprintf("%s is %s: its disks are objects, not files", d.Name, d.Type), "where a lease can be had, plan with --scratch DIR: it brings them; else clone its VMs' disks to a VMFS or NFS datastore with vmkfstools -i on ESXi")
		case !d.Accessible:
			v.add("datastore", ledger.Warning, d.Name+" is not accessible", "see to its storage before you plan")
		}
	}
}

// folder reads the beginning of a disk by HTTPS.
func (v *visit) folder(ctx context.Context) {
	var last error
	tries := 0
	for i := range v.h.VMs {
		vm := &v.h.VMs[i]
		if vm.Power != inventory.PoweredOff {
			continue
		}
		for j := range vm.Disks {
			d := &vm.Disks[j]
			if d.Format != inventory.FormatFlat || d.Capacity == 0 || tries == maxTries {
				continue
			}
			tries++
			if last = v.readable(ctx, d.Path, plan.WayHTTPS); last == nil {
				v.disk = d
				v.ok("folder", "disks can be read by HTTPS, in ranges: "+d.Path)
				return
			}
		}
	}
	if last != nil {
		v.add("folder", ledger.Warning, fmt.Sprintf("no disk of %d that were tried can be read by HTTPS: %v", tries, last), "see below whether SSH serves them: a plan then takes that way by itself")
		return
	}
	v.add("folder", ledger.Note, "no VM that is off has a flat disk, so reading one wasn't tried", "shut a small VM down and look again")
}

// lease asks what can be asked of leases without having one, which would keep a VM off.
func (v *visit) lease(ctx context.Context) {
	if v.h.License.ReadOnly {
		v.add("lease", ledger.Note, "no lease: the licence exports no VM through the API", "only disks that aren't files need one, on vSAN and vVols: give the host another licence for them, be it for evaluation")
		return
	}
	lacks, err := v.Client.Lacks(ctx, esxi.PrivilegeExport)
	switch {
	case errors.Is(err, esxi.ErrUnknown):
		v.add("lease", ledger.Note, "whether the user may export VMs by a lease, the host doesn't tell", "")
		return
	case len(lacks) > 0:
		v.add("lease", ledger.Note, "no lease: the user lacks "+strings.Join(lacks, ", "), "use root, or give the user's role that right, if there are disks on vSAN or vVols: only a lease streams them")
		return
	}
	i := slices.IndexFunc(v.h.VMs, func(vm inventory.VM) bool {
		return vm.Power == inventory.PoweredOff && vm.ConnectionState == "connected" && len(vm.Disks) > 0
	})
	if i < 0 {
		v.add("lease", ledger.Note, "the user may export VMs by a lease; no VM is off for the host to say more", "shut a small VM down and look again")
		return
	}
	vm := &v.h.VMs[i]
	if can, err := v.Client.Exportable(ctx, vm.ID); err != nil || !can {
		what := fmt.Sprintf("the user may export VMs by a lease, but the host has that disabled for %s, which is off", vm.Name)
		if err != nil {
			what = "whether the host exports VMs by a lease isn't known: " + err.Error()
		}
		v.add("lease", ledger.Note, what, "a backup, a task or another export may have it: look again later")
		return
	}
	v.ok("lease", fmt.Sprintf("VMs that are off can be exported by a lease, as far as the host says without giving one: %s", vm.Name))
}

// readable reads a sector in the middle of a disk.
func (v *visit) readable(ctx context.Context, descriptor string, way plan.Way) error {
	img, done, err := v.Open(ctx, plan.Origin{Path: descriptor, Way: way})
	if err != nil {
		return err
	}
	_, err = img.ReadAt(make([]byte, disk.SectorSize), img.Size()/2/disk.SectorSize*disk.SectorSize)
	return errors.Join(err, done())
}

// ssh logs in and reads.
func (v *visit) ssh(ctx context.Context) {
	c, err := shell.Dial(ctx, v.Shell)
	switch {
	case errors.Is(err, shell.ErrHostKey):
		v.add("ssh", ledger.Note, err.Error(), "compare it with what the host's own screen shows (press F2, then View Support Information), and give it: `--ssh-fingerprint SHA256:…`")
		return
	case err != nil:
		severity := ledger.Note
		if v.h.License.ReadOnly {
			severity = ledger.Warning
		}
		v.add("ssh", severity, err.Error(), "SSH is needed where the API refuses changes (to shut VMs down) and where HTTPS doesn't serve a disk")
		return
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Run(ctx, "vim-cmd", "vmsvc/getallvms"); err != nil {
		v.add("ssh", ledger.Warning, "the login by SSH works, but VMs can't be listed: "+err.Error(), "log in as root: vim-cmd wants it")
		return
	}
	v.ok("ssh", "VMs can be seen and switched over SSH")
	v.overSSH(ctx)
}

// overSSH reads the beginning of a VM's configuration, as disks are read.
func (v *visit) overSSH(ctx context.Context) {
	for i := range v.h.VMs {
		if vm := &v.h.VMs[i]; vm.Path == "" || vm.ConnectionState != "connected" {
			continue
		}
		r := shell.NewReader(v.Shell)
		defer func() { _ = r.Close() }()
		file, err := v.Client.ShellPath(ctx, v.h.VMs[i].Path)
		var f *shell.File
		if err == nil {
			f, err = r.Open(ctx, file)
		}
		if err == nil {
			_, err = io.ReadFull(io.NewSectionReader(f, 0, 1), make([]byte, 1))
		}
		if err != nil {
			v.add("ssh-read", ledger.Warning, "files can't be read over SSH: "+err.Error(), "")
			return
		}
		v.ok("ssh-read", "files can be read over SSH, in ranges")
		return
	}
}

// beneath tries the disk under a running VM's snapshot, which some releases lock.
func (v *visit) beneath(ctx context.Context) {
	for i := range v.h.VMs {
		vm := &v.h.VMs[i]
		if vm.Power != inventory.PoweredOn {
			continue
		}
		for j := range vm.Disks {
			if d := &vm.Disks[j]; len(d.Parents) > 0 {
				v.base(ctx, vm, d.Parents[0])
				return
			}
		}
	}
	v.add("running", ledger.Note, "no VM that runs has a snapshot, so it wasn't tried whether the disk under one can be read meanwhile", "some releases lock it: plan to shut VMs down for their copy")
}

func (v *visit) base(ctx context.Context, vm *inventory.VM, descriptor string) {
	var by, errs []string
	for _, way := range []plan.Way{plan.WayHTTPS, plan.WaySSH} {
		name := strings.ToUpper(string(way))
		if err := v.readable(ctx, descriptor, way); err != nil {
			errs = append(errs, fmt.Sprintf("by %s: %v", name, err))
			continue
		}
		by = append(by, name)
	}
	if len(by) > 0 {
		v.ok("running", fmt.Sprintf("the disk under the snapshot of %s can be read while that runs, by %s", vm.Name, strings.Join(by, " and ")))
		return
	}
	v.add("running", ledger.Note, fmt.Sprintf("the disk under the snapshot of %s can't be read while that runs: %s", vm.Name, strings.Join(errs, "; ")), "VMs must be off for their copy")
}

// speed measures several numbers of connections.
func (v *visit) speed(ctx context.Context) {
	if v.disk == nil || !v.Measure {
		return
	}
	img, done, err := v.Open(ctx, plan.Origin{Path: v.disk.Path, Way: plan.WayHTTPS})
	if err != nil {
		v.add("speed", ledger.Note, err.Error(), "")
		return
	}
	defer func() { _ = done() }()
	var rates []string
	for _, n := range []int{1, 2, 4, 8} {
		rate, err := disk.Measure(ctx, img, n, speedTime)
		if err != nil {
			v.add("speed", ledger.Note, fmt.Sprintf("reading over %d connections: %v", n, err), "")
			return
		}
		rates = append(rates, fmt.Sprintf("%.0f MiB/s over %d", rate/(1<<20), n))
	}
	v.ok("speed", fmt.Sprintf("%s: %s connections; give the fastest number as --connections", path.Base(v.disk.Path), strings.Join(rates, ", ")))
}
