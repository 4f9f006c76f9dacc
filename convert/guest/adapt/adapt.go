// Package adapt decides what is changed inside a guest so that it starts from
// its new layout: which lines of its tables name file systems that have other
// names now, which packages go and come, what the boot loader is told. It is
// pure: from what was read of the guest and where its file systems will lie it
// computes a [guest.Conversion]; guest/apply carries it out.
//
// Words: a spec is what a line of fstab names a file system by, /dev/sda1 or
// UUID=…; a spec vanishes if it means nothing on the target any more.
package adapt

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// The ids of this package's concerns.
const (
	ConcernUnread    = "guest.unread"    // configuration that can't be read
	ConcernFixed     = "guest.fixed"     // files that are immutable
	ConcernFamily    = "guest.family"    // a system that esxodus doesn't know how to convert
	ConcernFaults    = "guest.faults"    // a file system that is damaged at the source
	ConcernTable     = "guest.table"     // a line of fstab or crypttab that names nothing known
	ConcernCmdline   = "guest.cmdline"   // a kernel parameter that doesn't come along
	ConcernKernel    = "guest.kernel"    // the kernel that boots by default becomes another one
	ConcernLilo      = "guest.lilo"      // a LILO of the guest's own
	ConcernTools     = "guest.tools"     // VMware's own tools
	ConcernPackages  = "guest.packages"  // packages that stay though they should go, or must come
	ConcernEFI       = "guest.efi"       // from UEFI to BIOS
	ConcernInitrd    = "guest.initrd"    // an initrd that may lack something
	ConcernPassword  = "guest.password"  // the boot loader's password
	ConcernLVM       = "guest.lvm"       // an lvm.conf that hides the disks
	ConcernAgent     = "guest.agent"     // the service of KVM's agent is masked
	ConcernNIC       = "guest.nic"       // network configuration that asks for VMware's driver
	ConcernCloudInit = "guest.cloudInit" // cloud-init may take the guest for a new machine
	ConcernDHCP      = "guest.dhcp"      // a DHCP server will see another client
	ConcernAddress   = "guest.address"   // an address that it can't be given
	ConcernRoom      = "guest.room"      // no room for copies of what boots
)

// Input is what a conversion is computed from.
type Input struct {
	Guest  guest.Guest // as [guest.Look] returned it: read from a plan it lacks Config
	Layout layout.Layout
	NICs   []guest.NIC // the VM's, as package nics finds them
	// Addresses are those that NICs get in place of theirs.
	Addresses []guest.NewAddress
	// SameDisks says that a guest which keeps its layout finds its disks in the
	// domain without virtio, too.
	SameDisks bool
}

// New computes a conversion, and what is to be said about it. Where the layout
// is keep and the guest needs no change, it is the zero one. What speaks against
// the conversion is a blocker among the concerns.
func New(in Input) (guest.Conversion, []ledger.Entry, []ledger.Concern) {
	b := &builder{in: in, g: in.Guest, c: in.Guest.Config, places: newPlaces(in)}
	if b.stays() {
		b.inPlace()
		b.faults()
	} else {
		b.relaid()
	}
	return b.out, b.entries, ledger.Merge(b.concerns, ConcernTable, ConcernInitrd, ConcernKernel)
}

// relaid has the guest start from its new layout.
func (b *builder) relaid() {
	if !b.readable() || !b.knowsFamily() {
		return
	}
	b.tables()
	b.units()
	b.family.resume(b)
	b.lostNICs()
	b.nicNames()
	b.cloudInit()
	b.addresses()
	b.packages()
	b.unfitKernels()
	if b.in.Layout.Boot != nil {
		b.loader()
	}
	b.lvmDevices()
	b.lvmFilter()
	b.family.initrds(b)
	b.agents()
	b.labels()
	b.records()
	b.mounts()
	b.lastResort()
	b.fixed()
	b.faults()
}

// builder is one New at work.
type builder struct {
	in       Input
	g        guest.Guest
	c        guest.Config
	family   family
	places   places
	out      guest.Conversion
	entries  []ledger.Entry
	concerns []ledger.Concern

	unfit     map[string]string // kernels that can't boot from the new disk, and why
	newResume string            // RESUME= of the initrds, "" where it stays
	nicFiles  []guest.Edit      // .link files
	ownLilo   bool              // the guest's own LILO stays in charge
	byDefault choice            // what LILO boots
	starts    []string          // kernels that LILO has, the default first
}

func (b *builder) concern(id string, s ledger.Severity, subject, evidence, advice string) {
	b.concerns = append(b.concerns, ledger.Concern{ID: id, Severity: s, Subject: fit.Line(subject), Evidence: fit.Line(evidence), Advice: fit.Line(advice)})
}

func (b *builder) entry(property, source, target, reason string) {
	fate := ledger.Changed
	if target == "" {
		fate = ledger.Dropped
	}
	b.entries = append(b.entries, ledger.Entry{Property: fit.Line(property), Source: fit.Line(source), Target: fit.Line(target), Fate: fate, Reason: fit.Line(reason)})
}

// change adds an edit of a file that may be there. Nothing is added where text
// is what the file has.
func (b *builder) change(name, text, reason string) {
	old, ok := b.c.Files[name]
	switch {
	case !ok:
		b.out.Edits = append(b.out.Edits, guest.Edit{Path: name, Reason: reason, Make: true, Mode: 0o644, New: text})
	case b.edited(old.Path) >= 0: // once more
		e := &b.out.Edits[b.edited(old.Path)]
		e.New, e.Reason = text, e.Reason+"; "+reason
	case old.Text != text:
		b.out.Edits = append(b.out.Edits, guest.Edit{Path: old.Path, Reason: reason, Old: old.Text, New: text})
	}
}

// edited is the edit of a file, -1 for none.
func (b *builder) edited(path string) int {
	return slices.IndexFunc(b.out.Edits, func(e guest.Edit) bool { return e.Path == path && !e.Link })
}

// text is a file as it will be by the edits so far.
func (b *builder) text(name string) (string, bool) {
	f, ok := b.c.Files[name]
	if i := b.edited(f.Path); ok && i >= 0 {
		return b.out.Edits[i].New, true
	}
	return f.Text, ok
}

func (b *builder) has(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return b.c.Has[n] })
}

func (b *builder) command(argv ...string) { b.out.Commands = append(b.out.Commands, argv) }

func (b *builder) touch(reason string, patterns ...string) {
	for _, p := range patterns {
		b.out.Touches = append(b.out.Touches, guest.Touch{Pattern: p, Reason: reason})
	}
}

// installed returns dpkg's record of a package.
func (b *builder) installed(name string) (guest.Package, bool) {
	i := slices.IndexFunc(b.c.Packages, func(p guest.Package) bool { return p.Name == name })
	if i < 0 {
		return guest.Package{}, false
	}
	return b.c.Packages[i], true
}

// readable reports whether enough of the guest was read.
func (b *builder) readable() bool {
	ok := true
	refuse := func(evidence string) {
		ok = false
		b.concern(ConcernUnread, ledger.Blocker, "", evidence, "fix it in the guest, or "+b.instead())
	}
	for _, u := range b.c.Unread {
		refuse("a file that decides about the conversion can't be read: " + u)
	}
	if _, there := b.c.Files["/etc/fstab"]; !there && ok {
		refuse("the guest's /etc/fstab was not found")
	}
	return ok
}

// rootMove is the way of the guest's root, nil where that isn't certain.
func (b *builder) rootMove() *layout.Move {
	return b.places.only(func(m *layout.Move) bool { return m.Mount == "/" || m.From == b.g.Root })
}

// oneLine makes text fit for a comment in a file of the guest.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}
