package layout

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/inspect"
	"esxodus/disk/lvm"
	"esxodus/disk/part"
)

// reasons gathers what rules out a change of something, which each of
// them begins with.
type reasons struct {
	of  string
	all []Reason
}

// add adds a reason that nothing ends, if bad.
func (r *reasons) add(bad bool, format string, args ...any) {
	if bad {
		r.all = append(r.all, Reason{Why: r.of + fmt.Sprintf(format, args...)})
	}
}

// curable adds a reason that cure ends, if bad.
func (r *reasons) curable(bad bool, cure, format string, args ...any) {
	if bad {
		r.all = append(r.all, Reason{Why: r.of + fmt.Sprintf(format, args...), Cure: cure})
	}
}

// system lists what rules out a change of a guest, whatever lies on which
// of its disks.
func (p *planner) system() []Reason {
	var r reasons
	g := &p.Guest
	switch {
	case len(g.Disks) == 0 && p.Unseen.Why != "":
		return []Reason{p.Unseen}
	case len(g.Disks) == 0:
		return []Reason{{Why: "it isn't known what its disks hold"}}
	case g.OS != "linux":
		return []Reason{{Why: fmt.Sprintf("its system is %s: LILO boots Linux only", orUnknown(g.OS))}}
	}
	r.add(p.root == nil, "no root file system was found that esxodus can read")
	r.add(p.root != nil && !bootable(p.root.content), "its root on %s holds %s, which can't be converted: ext2, ext3, ext4 and XFS can", where(p.root), content(p.root))
	r.add(p.boot != p.root && !bootable(p.boot.content), "its /boot on %s holds %s, which LILO can't read: it can read ext2, ext3, ext4 and XFS", where(p.boot), content(p.boot))
	r.add(p.root != nil && len(g.Kernels) == 0 && len(g.Config.Unread) == 0, "no kernel was found in its /boot: LILO would have nothing to boot")
	r.add(len(g.OtherRoots) > 0, "several volumes look like a root, %s and %s: it isn't known which of them boots", g.Root, strings.Join(g.OtherRoots, ", "))
	p.otherSystems(&r)
	r.add(p.SecureBoot, "it boots with Secure Boot, which LILO doesn't support")
	r.add(p.TPM, "it has a TPM: keys in it may be bound to how the guest boots now")
	for _, s := range p.sites {
		r.curable(s.asleep, "start the VM and shut it down", "%s holds a hibernated system", s.where)
	}
	for _, f := range g.EFILoaders {
		r.add(strings.HasPrefix(strings.ToLower(f), "efi/microsoft/"), "Windows boots from its EFI system partition too (%s)", f)
	}
	r.curable(p.root != nil && p.Kind != LVM && p.Kind != Plain && !p.proven(), "--layout lvm tries it", "%s has not been tried without partitions yet", orUnknown(g.PrettyName, g.Distro))
	return r.all
}

// otherSystems adds what says that the guest starts another root than the one
// that could be read, or another one as well.
func (p *planner) otherSystems(r *reasons) {
	g := &p.Guest
	for _, c := range g.Claims {
		what := c.Spec
		if c.Volume != "" {
			what += " (" + c.Volume + ")"
		}
		r.add(c.By == inspect.ByLoader, "its boot loader starts %s, which isn't the root that could be read (%s)", what, g.Root)
		r.add(c.By != inspect.ByLoader, "its %s has %s as the root, which isn't the one that could be read (%s)", c.By, what, g.Root)
	}
	const most = 3
	titles := strings.Join(g.OtherSystems[:min(len(g.OtherSystems), most)], ", ")
	if n := len(g.OtherSystems) - most; n > 0 {
		titles += fmt.Sprintf(" and %d more", n)
	}
	r.curable(titles != "", "if they are gone, update-grub in the guest removes them from the menu", "its boot menu also starts other systems, which LILO wouldn't (%s)", titles)
	for _, v := range g.OtherBoots {
		r.curable(true, "mount it in the guest's fstab, or remove the configuration from it", "%s holds a boot loader's configuration and isn't mounted anywhere: it isn't known which one boots", v)
	}
}

// proven reports whether the guest is of the family that this was tried with.
func (p *planner) proven() bool {
	family := []string{"debian", "ubuntu"}
	return slices.Contains(family, p.Guest.Distro) ||
		slices.ContainsFunc(p.Guest.DistroLike, func(s string) bool { return slices.Contains(family, s) })
}

func bootable(content string) bool {
	return slices.Contains([]string{"ext2", "ext3", "ext4", "xfs"}, content)
}

func where(s *site) string {
	if s == nil {
		return ""
	}
	return s.where
}

func content(s *site) string {
	if s == nil {
		return ""
	}
	return orUnknown(s.content)
}

// orUnknown is the first word that is not empty.
func orUnknown(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return "unknown"
}

// ofDisk lists what rules out a change of a disk.
func (p *planner) ofDisk(i int) []Reason {
	d := &p.Guest.Disks[i]
	r := reasons{of: d.Address + ": "}
	r.add(p.Fixed[d.Address] != "", "%s", p.Fixed[d.Address])
	r.add(d.Problem != "", "its partition table makes no sense: %s", d.Problem)
	r.add(d.SectorSize != 0 && d.SectorSize != sector, "it has sectors of %d bytes, from which a BIOS can't boot", d.SectorSize)
	r.add(d.Hybrid, "it has two partition tables, GPT and MBR, which differ")
	containers, pvs := 0, 0
	for j := range d.Partitions {
		q := &d.Partitions[j]
		if q.Container {
			containers++
			continue
		}
		if q.Content == "lvm2" {
			pvs++
		}
		if s := p.ofPartition(d, q); s != "" {
			r.all = append(r.all, Reason{Why: s})
		}
	}
	r.add(containers > 1, "it has %d extended partitions, of which only one can be read", containers)
	r.curable(pvs > 1, "move the extents off one (pvmove) and remove it (vgreduce)", "it has %d physical volumes, but a disk without partitions can be only one", pvs)
	return r.all
}

// ofPartition says why a partition can't become a logical volume, "" where it
// can, or is left out.
func (p *planner) ofPartition(d *guest.DiskLayout, q *guest.Partition) string {
	at := partWhere(d, q)
	if leftOut(q) != "" {
		return ""
	}
	if q.Cut {
		return fmt.Sprintf("%s: its %s says that it is larger than the partition", at, q.Content)
	}
	if q.Type == part.MBRTypeLDM || q.Type == part.TypeLDMData || q.Type == part.TypeLDMMetadata {
		return at + " is part of a Windows dynamic disk"
	}
	switch q.Content {
	case "ext2", "ext3", "ext4", "xfs", "swap", "btrfs", "vfat", "exfat", "jbd", "iso9660", "squashfs":
		return ""
	case "lvm2":
		if _, pv := p.member(d.Address, q.Number); pv == nil {
			return at + " is a physical volume of no volume group that can be read"
		}
		return ""
	case "luks":
		return at + " is encrypted with LUKS: what it holds can't be seen from outside"
	case "md":
		return at + " is part of a RAID array of Linux (md)"
	case "zfs":
		return at + " is part of a ZFS pool"
	case "ntfs", "refs", "bitlocker", "ufs":
		return fmt.Sprintf("%s holds %s: another system may boot from this disk", at, q.Content)
	case "":
		return fmt.Sprintf("%s (type %s%s) holds nothing that esxodus knows, but may be in use", at, q.Type, brackets(q.TypeName))
	}
	return fmt.Sprintf("%s holds %s, which can't be moved", at, q.Content)
}

func brackets(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// leftOut says why a partition is not needed without partitions, "" where it
// is.
func leftOut(q *guest.Partition) string {
	// Elsewhere in the tree, or with other content, the guest has data on it,
	// whatever its type says.
	esp := (q.Type == part.TypeESP || q.Type == part.MBRTypeESP) && slices.Contains([]string{"", "/efi", "/boot/efi"}, strings.ToLower(q.Mount))
	switch {
	case q.Mount == "/" || q.Mount == "/boot":
		return ""
	case esp && (q.Content == "vfat" || q.Content == ""):
		return "the target boots by BIOS and needs no EFI system partition"
	case q.Type == part.TypeBIOSBoot && q.Mount == "" && q.Content == "":
		return "it is GRUB's own space, and LILO needs none"
	}
	return ""
}

// member finds the group and physical volume in a partition, or on a whole
// disk, which is partition 0.
func (p *planner) member(address string, number int) (*guest.Group, *guest.GroupPV) {
	for i := range p.Guest.Groups {
		g := &p.Guest.Groups[i]
		for j := range g.PVs {
			if pv := &g.PVs[j]; pv.Disk == address && pv.Partition == number {
				return g, pv
			}
		}
	}
	return nil, nil
}

// ofGroup lists what rules out a change of a volume group.
func (p *planner) ofGroup(g *guest.Group) []Reason {
	r := reasons{of: fmt.Sprintf("volume group %s ", g.Name)}
	is := func(status string) bool { return slices.Contains(g.Status, status) }
	same := 0
	for _, n := range p.Guest.Groups {
		if n.Name == g.Name {
			same++
		}
	}
	r.add(!lvm.ValidName(g.Name), "has a name that LVM doesn't accept")
	r.add(!lvmUUID.MatchString(g.UUID), "has no UUID of LVM's form")
	r.add(same > 1, "exists %d times under this name", same)
	r.curable(is("EXPORTED"), "vgimport in the guest makes it usable", "is exported")
	r.add(is("CLUSTERED") || g.LockType != "", "is shared with other machines (%s)", orUnknown(g.LockType, "clustered"))
	r.curable(g.SystemID != "", fmt.Sprintf("remove it in the guest (vgchange --systemid \"\" %s)", g.Name), "belongs to the system ID %s", g.SystemID)
	r.add(!is("WRITE"), "is read-only")
	r.curable(!is("RESIZEABLE"), "vgchange --resizeable y in the guest", "is not resizeable")
	r.add(g.ExtentSize <= 0 || g.ExtentSize%sector != 0, "has extents of %d bytes", g.ExtentSize)
	r.add(len(p.members[g]) != len(g.PVs), "has physical volumes with the same UUID")
	for i := range g.PVs {
		if s := ofPV(g, &g.PVs[i]); s.Why != "" {
			r.all = append(r.all, Reason{fmt.Sprintf("volume group %s: physical volume %s %s", g.Name, g.PVs[i].UUID, s.Why), s.Cure})
		}
	}
	for i := range g.LVs {
		lv := &g.LVs[i]
		r.add(!lvm.ValidName(lv.Name), "has a logical volume named %q", lv.Name)
		r.add(!p.fits(g, lv), "has a logical volume %s that goes beyond its physical volumes", lv.Name)
		r.curable(strings.HasPrefix(lv.Name, "pvmove"), "let it finish, or abort it (pvmove --abort)", "is in the middle of a pvmove")
	}
	return slices.Concat(r.all, p.ofVolumes(g), p.ofBootVolume(g))
}

// ofVolumes says which logical volumes hold more than they have room for.
func (p *planner) ofVolumes(g *guest.Group) []Reason {
	var r reasons
	for _, s := range p.sites {
		r.add(s.group == g && s.cut, "%s: its %s says that it is larger than the logical volume", s.where, s.content)
	}
	return r.all
}

// fits reports whether a volume's extents are there.
func (p *planner) fits(g *guest.Group, lv *guest.GroupLV) bool {
	for _, s := range lv.Segments {
		for _, a := range s.Areas {
			pv := p.members[g][a.PV]
			if n := s.Count / int64(len(s.Areas)); pv == nil || n <= 0 || a.PE < 0 || n > pv.Extents-a.PE {
				return false
			}
		}
	}
	return true
}

// ofPV says why a physical volume can't become a whole disk.
func ofPV(g *guest.Group, pv *guest.GroupPV) Reason {
	why := func(format string, args ...any) Reason { return Reason{Why: fmt.Sprintf(format, args...)} }
	switch {
	case pv.Disk == "":
		return why("is on none of the VM's disks")
	case slices.Contains(pv.Flags, "MISSING"):
		return Reason{"is marked as missing", "vgextend --restoremissing in the guest"}
	case pv.Copies > 1:
		return why("exists %d times", pv.Copies)
	case !lvmUUID.MatchString(pv.UUID):
		return why("has no UUID of LVM's form")
	case pv.Label != 1:
		return why("has its label in sector %d, which boot code needs: it can stay only in sector 1", pv.Label)
	case pv.Start < 4096 || pv.Start > maxHead || pv.Start%sector != 0:
		return why("begins its extents at byte %d", pv.Start)
	case pv.Extents < 0 || g.ExtentSize > 0 && pv.Extents > (pv.Length-pv.Start)/g.ExtentSize:
		return why("has %d extents of %d bytes, which don't fit in its %d bytes", pv.Extents, g.ExtentSize, pv.Length)
	}
	for _, a := range pv.Metadata {
		if a.Offset < 4096 {
			return why("has metadata at byte %d, where boot code goes", a.Offset)
		}
		if a.Offset > pv.Start-a.Length {
			return why("has metadata after its extents (--pvmetadatacopies 2), which can't be moved")
		}
	}
	return Reason{}
}

// ofBootVolume lists why /boot's logical volume can't be read by LILO.
func (p *planner) ofBootVolume(g *guest.Group) []Reason {
	b := p.boot
	if b == nil || b.group != g {
		return nil
	}
	r := reasons{of: b.where + ", which holds /boot, "}
	if !b.lv.Linear() {
		r.add(true, "is %s: LILO reads only linear logical volumes", strings.Join(b.lv.Types, ", "))
		return r.all
	}
	first := b.lv.Segments[0].Areas[0].PV
	spread := slices.ContainsFunc(b.lv.Segments, func(s guest.LVSegment) bool { return s.Areas[0].PV != first })
	r.curable(spread, "in the guest, move it onto one with pvmove, or give /boot its own volume", "is on several disks, but LILO reads only one")
	copied := slices.ContainsFunc(g.LVs, func(lv guest.GroupLV) bool { return lv.Origin == b.lv.Name })
	r.curable(copied, "remove it in the guest (lvremove)", "has a snapshot")
	return r.all
}
