package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

// maxOverlays bounds how many initrds are changed; kernels beyond that are
// neither in the boot menu nor young enough to be anyone's second choice.
const maxOverlays = 8

// initramfsTools makes initrds that are added to.
type initramfsTools struct{}

func (m initramfsTools) initrds(b *builder) {
	done := 0
	for _, i := range b.byUse() {
		if b.unfit[i.Kernel] != "" && !b.stays() {
			continue
		}
		o := guest.Overlay{Initrd: i.Path, Kernel: i.Kernel, Modules: m.modules(b, i)}
		var why []string
		if b.needsLVM() {
			why = append(why, "LVM for the root")
			b.addLVM(&o)
		}
		if b.wantsVirtio(i) {
			why = append(why, "drivers of virtio, which it lacks or may lack ("+i.Evidence+")")
		}
		why = append(why, b.addTexts(&o)...)
		if len(why) == 0 {
			continue
		}
		if done++; done > maxOverlays {
			b.concern(ConcernInitrd, ledger.Note, i.Path, fmt.Sprintf("there are more than %d kernels; the initrd of %s is not adapted", maxOverlays, i.Kernel), "remove kernels that are not needed, or run update-initramfs -u -k VERSION in the guest")
			continue
		}
		b.addition(o, why)
	}
	if len(b.g.Initrds) == 0 && !b.stays() {
		b.noInitrd()
	}
}

// addition has something appended to an initrd.
func (b *builder) addition(o guest.Overlay, why []string) {
	o.Reason = strings.Join(why, "; ")
	b.out.Overlays = append(b.out.Overlays, o)
	b.touch("the initrd gets an addition", literal(o.Initrd))
	b.entry("guest.initrd["+o.Kernel+"]", o.Initrd, o.Initrd+" with an addition", o.Reason)
}

// wantsVirtio reports whether an initrd needs drivers of virtio's, and can have
// them. One of a guest that keeps its layout is changed only if it is known to lack
// them and to be what the guest starts from, and nothing else finds the disks.
func (b *builder) wantsVirtio(i guest.Initrd) bool {
	if b.stays() {
		return i.Virtio == guest.No && !b.in.SameDisks && b.unfit[i.Kernel] == "" && b.elsewhere() == ""
	}
	return i.Virtio != guest.Yes
}

// noInitrd tells what it means that there is none: no kernel finds a root on LVM
// by itself.
func (b *builder) noInitrd() {
	const evidence = "no kernel of the guest has an initrd"
	if b.lvm() {
		b.concern(ConcernInitrd, ledger.Blocker, "", evidence+", and without one Linux finds no root on LVM", "make one in the guest, or "+b.instead())
		return
	}
	b.concern(ConcernInitrd, ledger.Warning, "", evidence, "its kernel must have virtio built in; the boot proof shows whether it starts")
}

// byUse lists the initrds, first those of kernels that the loader starts, then
// the others, newest first.
func (b *builder) byUse() []guest.Initrd {
	starts := append(slices.Clone(b.starts), b.defaultVersion())
	rank := func(i guest.Initrd) int {
		if n := slices.Index(starts, i.Kernel); n >= 0 {
			return n
		}
		return len(starts)
	}
	all := slices.Clone(b.g.Initrds)
	slices.Reverse(all)
	slices.SortStableFunc(all, func(x, y guest.Initrd) int { return rank(x) - rank(y) })
	return all
}

// needsLVM reports whether initrds may lack LVM: it wasn't installed, or the root
// was no logical volume. In the second case those initrds have it that were made
// since it was installed; to them it does no harm to get it again.
func (b *builder) needsLVM() bool {
	if !b.lvm() {
		return false
	}
	root := b.rootMove()
	return !b.family.hasLVM(b) || root != nil && root.Device() != "" && layout.Move{To: root.From}.Device() == ""
}

func (initramfsTools) modules(b *builder, i guest.Initrd) []string {
	var names []string
	if b.needsLVM() {
		names = append(names, "dm_mod")
	}
	if b.wantsVirtio(i) {
		names = append(names, "virtio_pci", "virtio_blk")
		if slices.Contains(i.Modules, "virtio_scsi") { // since Linux 3.4, and not in all
			names = append(names, "virtio_scsi")
		}
	}
	return names
}

// addLVM adds what initramfs-tools' hooks of lvm2 and dmsetup take.
func (b *builder) addLVM(o *guest.Overlay) {
	o.Files = append(o.Files, "/sbin/lvm", "/sbin/dmsetup",
		"/lib/udev/rules.d/55-dm.rules", "/lib/udev/rules.d/56-lvm.rules", "/lib/udev/rules.d/60-persistent-storage-dm.rules")
	o.Also = append(o.Also, "/lib/udev/rules.d/69-lvm.rules", "/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf")
	if b.oldLVM() {
		o.Texts = append(o.Texts, guest.Edit{Path: "/lib/udev/rules.d/70-esxodus-lvm.rules", Make: true, Mode: 0o644, New: activateRule, Reason: "activates volume groups"})
	}
}

// activateRule does what LVM's own 69-lvm.rules does since 2.03.15; before, an
// initrd had scripts that need root= to name a logical volume.
const activateRule = `# esxodus: activate the volume groups that a physical volume is of.
SUBSYSTEM=="block", ACTION=="add|change", KERNEL!="dm-*", ENV{ID_FS_TYPE}=="LVM2_member", RUN+="/sbin/lvm vgchange -ay"
`

// oldLVM reports whether the guest's release has an LVM from before 2.03.15,
// whose udev rules leave activation to systemd.
func (b *builder) oldLVM() bool {
	major, minor, _ := strings.Cut(b.g.Version, ".")
	switch b.g.Distro {
	case "debian":
		return len(major) == 1 || major < "12"
	case "ubuntu":
		return major < "22" || major == "22" && minor < "10"
	}
	return false
}

// addTexts adds the files that an initrd has of the guest's configuration, and
// says what for.
func (b *builder) addTexts(o *guest.Overlay) []string {
	var why []string
	if b.newResume != "" {
		// After all others of that directory: the last one counts.
		o.Texts = append(o.Texts, guest.Edit{Path: "/conf/conf.d/zzz-esxodus", Make: true, Mode: 0o644, New: "RESUME=" + b.newResume + "\n", Reason: "where to look for a hibernated system"})
		why = append(why, "the new place of the swap")
	}
	for _, f := range b.nicFiles {
		dir := "/lib/systemd/network/"
		if path.Ext(f.Path) == ".rules" {
			dir = "/lib/udev/rules.d/"
		}
		f.Path = dir + path.Base(f.Path)
		o.Texts = append(o.Texts, f)
	}
	if len(b.nicFiles) > 0 {
		why = append(why, "names of NICs, which udev already gives in the initrd")
	}
	return why
}

func (initramfsTools) moot(string, string) bool { return false }

func (initramfsTools) activate(*builder) []string { return nil }

func (initramfsTools) hooks() []guest.Program {
	return []guest.Program{{Path: "/etc/initramfs/post-update.d/runlilo", Source: "hooks/runlilo", Mode: 0o755}}
}
