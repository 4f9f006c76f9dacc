package layout

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/disk/part"
)

// system lists what speaks against a change of a guest, whatever lies on which
// of its disks.
func (p *planner) system() []string {
	var out []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	g := &p.Guest
	if len(g.Disks) == 0 {
		return []string{"what its disks hold is not known"}
	}
	if g.OS != "linux" {
		return []string{fmt.Sprintf("its system is %s: LILO boots Linux only", orUnknown(g.OS))}
	}
	add(p.root == nil, "no root file system was found that esxodus can read")
	add(p.root != nil && !bootable(p.root.content), "its root on %s holds %s, which can't be converted: ext2, ext3, ext4 and XFS can", where(p.root), content(p.root))
	add(p.boot != p.root && !bootable(p.boot.content), "its /boot on %s holds %s, which LILO can't read: ext2, ext3, ext4 and XFS it can", where(p.boot), content(p.boot))
	add(p.root != nil && len(g.Kernels) == 0, "no kernel was found in its /boot: LILO would have nothing to boot")
	add(len(g.OtherRoots) > 0, "several volumes look like a root: %s and %s: which of them boots can't be known", g.Root, strings.Join(g.OtherRoots, ", "))
	add(p.SecureBoot, "it boots with Secure Boot, which LILO can't")
	add(p.TPM, "it has a TPM: keys in it may be bound to how the guest boots now")
	for _, s := range p.sites {
		add(s.asleep, "%s holds a hibernated system: start the VM and shut it down", s.where)
	}
	for _, f := range g.EFILoaders {
		add(strings.HasPrefix(strings.ToLower(f), "efi/microsoft/"), "Windows boots from its EFI system partition too (%s)", f)
	}
	add(p.root != nil && p.Kind != LVM && p.Kind != Plain && !p.proven(), "%s was not tried yet without partitions: --layout lvm does it all the same", orUnknown(g.PrettyName, g.Distro))
	return out
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

// ofDisk lists what speaks against a change of a disk.
func (p *planner) ofDisk(i int) []string {
	d := &p.Guest.Disks[i]
	var out []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, d.Address+": "+fmt.Sprintf(format, args...))
		}
	}
	add(p.Fixed[d.Address] != "", "%s", p.Fixed[d.Address])
	add(d.Problem != "", "its partition table makes no sense: %s", d.Problem)
	add(d.SectorSize != 0 && d.SectorSize != sector, "it has sectors of %d bytes, which no BIOS boots", d.SectorSize)
	add(d.Hybrid, "it has two partition tables, GPT and MBR, that differ")
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
			out = append(out, s)
		}
	}
	add(containers > 1, "it has %d extended partitions, of which only one can be looked into", containers)
	add(pvs > 1, "it has %d physical volumes, and a disk without partitions can be only one: move the extents of one away (pvmove) and remove it (vgreduce)", pvs)
	return out
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
		return fmt.Sprintf("%s (type %s%s) holds nothing that is known, and may hold something all the same", at, q.Type, brackets(q.TypeName))
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
	// Elsewhere in the tree the guest has data on it, whatever its type says.
	esp := (q.Type == part.TypeESP || q.Type == part.MBRTypeESP) && slices.Contains([]string{"", "/efi", "/boot/efi"}, strings.ToLower(q.Mount))
	switch {
	case q.Mount == "/" || q.Mount == "/boot":
		return ""
	case esp && (q.Content == "vfat" || q.Content == ""):
		return "the target boots by BIOS and needs no EFI system partition"
	case q.Type == part.TypeBIOSBoot:
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

// ofGroup lists what speaks against a change of a volume group.
func (p *planner) ofGroup(g *guest.Group) []string {
	var out []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf("volume group %s ", g.Name)+fmt.Sprintf(format, args...))
		}
	}
	is := func(status string) bool { return slices.Contains(g.Status, status) }
	same := 0
	for _, n := range p.Guest.Groups {
		if n.Name == g.Name {
			same++
		}
	}
	add(!validName(g.Name), "has a name that LVM doesn't take")
	add(!lvmUUID.MatchString(g.UUID), "has no UUID of LVM's form")
	add(same > 1, "is there %d times under this name", same)
	add(is("EXPORTED"), "is exported: vgimport in the guest makes it usable")
	add(is("CLUSTERED") || g.LockType != "", "is shared with other machines (%s)", orUnknown(g.LockType, "clustered"))
	add(g.SystemID != "", "belongs to the system ID %s: take that off in the guest (vgchange --systemid \"\" %s)", g.SystemID, g.Name)
	add(!is("WRITE"), "is read-only")
	add(!is("RESIZEABLE"), "is not resizeable (vgchange --resizeable y)")
	add(g.ExtentSize <= 0 || g.ExtentSize%sector != 0, "has extents of %d bytes", g.ExtentSize)
	for i := range g.PVs {
		if s := ofPV(g, &g.PVs[i]); s != "" {
			out = append(out, fmt.Sprintf("volume group %s: physical volume %s %s", g.Name, g.PVs[i].UUID, s))
		}
	}
	for _, lv := range g.LVs {
		add(!validName(lv.Name), "has a logical volume of the name %q", lv.Name)
		add(!fits(g, &lv), "has a logical volume %s that leaves its physical volumes", lv.Name)
		add(strings.HasPrefix(lv.Name, "pvmove"), "is in the middle of a pvmove: let it end, or abort it (pvmove --abort)")
	}
	return append(out, p.ofBootVolume(g)...)
}

// fits reports whether a volume's extents are there.
func fits(g *guest.Group, lv *guest.GroupLV) bool {
	for _, s := range lv.Segments {
		for _, a := range s.Areas {
			i := slices.IndexFunc(g.PVs, func(pv guest.GroupPV) bool { return pv.UUID == a.PV })
			if n := s.Count / int64(len(s.Areas)); i < 0 || n <= 0 || a.PE < 0 || n > g.PVs[i].Extents-a.PE {
				return false
			}
		}
	}
	return true
}

// ofPV says why a physical volume can't become a whole disk.
func ofPV(g *guest.Group, pv *guest.GroupPV) string {
	switch {
	case pv.Disk == "":
		return "is on no disk of the VM"
	case slices.Contains(pv.Flags, "MISSING"):
		return "was missing once and is marked so (vgextend --restoremissing)"
	case pv.Copies > 1:
		return fmt.Sprintf("is there %d times", pv.Copies)
	case !lvmUUID.MatchString(pv.UUID):
		return "has no UUID of LVM's form"
	case pv.Label != 1:
		return fmt.Sprintf("has its label in sector %d, which boot code needs: only in sector 1 it can stay", pv.Label)
	case pv.Start < 4096 || pv.Start > maxHead || pv.Start%sector != 0:
		return fmt.Sprintf("begins its extents at byte %d", pv.Start)
	case pv.Extents < 0 || g.ExtentSize > 0 && pv.Extents > (pv.Length-pv.Start)/g.ExtentSize:
		return fmt.Sprintf("has %d extents of %d bytes, for which its %d bytes have no room", pv.Extents, g.ExtentSize, pv.Length)
	}
	for _, a := range pv.Metadata {
		if a.Offset < 4096 {
			return fmt.Sprintf("has metadata at byte %d, where boot code goes", a.Offset)
		}
		if a.Offset > pv.Start-a.Length {
			return "has metadata behind its extents (--pvmetadatacopies 2): that can't be moved along"
		}
	}
	return ""
}

// ofBootVolume lists why /boot's logical volume can't be read by LILO.
func (p *planner) ofBootVolume(g *guest.Group) []string {
	b := p.boot
	if b == nil || b.group != g {
		return nil
	}
	var out []string
	if !b.lv.Linear() {
		return []string{fmt.Sprintf("%s, which holds /boot, is %s: LILO reads linear logical volumes only", b.where, strings.Join(b.lv.Types, ", "))}
	}
	first := b.lv.Segments[0].Areas[0].PV
	for _, s := range b.lv.Segments {
		if s.Areas[0].PV != first {
			out = append(out, fmt.Sprintf("%s, which holds /boot, lies on several disks, and LILO reads one: pvmove it in the guest onto one, or give /boot a volume of its own", b.where))
			break
		}
	}
	for _, lv := range g.LVs {
		if lv.Origin == b.lv.Name {
			out = append(out, fmt.Sprintf("%s, which holds /boot, has a snapshot: remove it (lvremove)", b.where))
			break
		}
	}
	return out
}
