package adapt

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
	"esxodus/disk"
)

// stays reports whether all of the guest's file systems stay where they are.
func (b *builder) stays() bool {
	return b.in.Layout.Kind == layout.Keep || b.in.Layout.Kind == ""
}

// AsItIs is the advice where a guest that keeps its layout can't be changed.
const AsItIs = "leave the guest as it is with --no-edits"

// instead is what to do where the guest is not to be changed like this.
func (b *builder) instead() string {
	if b.stays() {
		return AsItIs
	}
	return "migrate the disk as it is with --layout keep"
}

// Wants lists what a guest that keeps its layout is changed for, in words that go
// behind "so that"; none where it needs no change.
func Wants(in Input) []string {
	var names, out []string
	for _, p := range Pins(in.Guest, in.NICs) {
		names = append(names, p.NIC.Name)
	}
	switch len(names) {
	case 0:
	case 1:
		out = append(out, "its NIC is still called "+names[0])
	default:
		out = append(out, "its NICs are still called "+strings.Join(names, ", "))
	}
	for _, file := range slices.Sorted(maps.Keys(finders(in.NICs))) {
		out = append(out, file+" finds its NIC")
	}
	for _, a := range in.Addresses {
		out = append(out, fmt.Sprintf("its ethernet%d has the address %s", a.Index, a.Prefix))
	}
	if in.Guest.Config.CloudInit.Forgets() {
		out = append(out, "cloud-init doesn't take it for a new machine")
	}
	if lacking := in.Guest.LacksVirtio(); lacking != nil && !in.SameDisks {
		out = append(out, "kernel "+lacking.Kernel+" finds its disks on virtio")
	}
	return out
}

// inPlace changes a guest that keeps its layout, and no more of it than its new
// machine calls for: see [Wants]. That initrds can't be given drivers doesn't keep
// its NICs from their names.
func (b *builder) inPlace() {
	if len(Wants(b.in)) == 0 {
		b.lostNICs()
		return
	}
	if b.in.Layout.Refused || !b.readable() || !b.oneRoot() || !b.plainSectors() {
		b.concerns = append(b.concerns, LostNICs(b.g, b.in.NICs)...)
		return
	}
	b.lostNICs()
	b.nicNames()
	b.cloudInit()
	b.addresses()
	known := b.hasFamily()
	if lacking := b.g.LacksVirtio(); lacking != nil && !b.in.SameDisks {
		b.lacking(*lacking, known)
	}
	if known {
		b.unfitKernels()
		b.family.initrds(b)
	}
	if !b.out.Changes() {
		return
	}
	b.labels()
	b.records()
	b.mounts()
	b.fixed()
	b.out.OnlyDisks = OnlyDisks(b.g)
}

// lacking tells that an initrd stays without drivers: where it isn't known how the
// guest makes them, or that it starts from those in /boot.
func (b *builder) lacking(i guest.Initrd, known bool) {
	why, advice := b.elsewhere(), "have its initrds made with virtio's drivers in the guest, and plan again"
	if !known {
		why = cmp.Or(b.g.PrettyName, "the guest") + " has neither dpkg with initramfs-tools or dracut, nor rpm with dracut, so that esxodus doesn't know how it makes its initrds"
	}
	if why != "" {
		b.concern(ConcernFamily, ledger.Warning, i.Kernel, why+": they get no drivers of virtio", advice)
	}
}

// elsewhere says what tells that the guest may not start from the initrds in /boot,
// but from copies on its EFI system partition, "" for nothing.
func (b *builder) elsewhere() string {
	for _, f := range b.g.EFILoaders {
		switch dir := path.Dir(strings.ToLower(f)); dir {
		case "efi/systemd", "efi/linux", "efi/refind":
			return "the guest has " + f + ", which starts kernels with initrds that are not those in /boot"
		}
	}
	return ""
}

// oneRoot reports whether what was read is certainly the system that starts.
func (b *builder) oneRoot() bool {
	others := slices.Clone(b.g.OtherRoots)
	for _, c := range b.g.Claims {
		if !slices.Contains(others, c.Spec) {
			others = append(others, c.Spec)
		}
	}
	if len(others) > 0 {
		b.concern(ConcernUnread, ledger.Blocker, "/", fmt.Sprintf("the guest may start another root than %s (%s)", b.g.Root, strings.Join(others, ", ")), b.instead())
	}
	return len(others) == 0
}

// plainSectors reports whether the appliance, whose disks have sectors of 512 bytes,
// finds the partitions of all disks.
func (b *builder) plainSectors() bool {
	for _, d := range b.g.Disks {
		if d.SectorSize != 0 && d.SectorSize != disk.SectorSize {
			b.concern(ConcernUnread, ledger.Blocker, d.Address, fmt.Sprintf("its partition table counts in sectors of %d bytes, and the appliance's disks have such of %d", d.SectorSize, disk.SectorSize), b.instead())
			return false
		}
	}
	return true
}
