package adapt

import (
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// dracut makes initrds anew, with all that they need.
type dracut struct{}

// initrds makes those of the kernels anew: by itself it takes only what
// the machine has that it runs on. Where the layout stays and an initrd needs no
// driver, it is only added to.
func (dracut) initrds(b *builder) {
	b.dracutNames()
	for _, i := range b.g.Initrds {
		if b.unfit[i.Kernel] != "" && !b.stays() {
			continue
		}
		if b.stays() && !b.wantsVirtio(i) {
			o := guest.Overlay{Initrd: i.Path, Kernel: i.Kernel}
			if why := b.addTexts(&o); len(why) > 0 {
				b.addition(o, why)
			}
			continue
		}
		argv := []string{"dracut", "--force", "--no-hostonly", "--add-drivers", "virtio_blk virtio_scsi virtio_pci virtio_net"}
		with := "by dracut, with drivers of virtio"
		if b.lvm() {
			argv = append(argv, "--add", "lvm dm")
			with = "by dracut, with virtio and LVM"
		}
		if words := activated(b); words != "" {
			argv = append(argv, "--kernel-cmdline", words)
		}
		for _, f := range b.nicFiles {
			argv = append(argv, "--include", f.Path, f.Path)
		}
		b.command(append(argv, i.Path, i.Kernel)...)
		b.touch("the initrd is rebuilt", literal(i.Path))
		b.touch("dracut builds initrds there, and cleans up", "/var/tmp/dracut.*")
		b.entry("guest.initrd["+i.Kernel+"]", i.Path, i.Path+" rebuilt", with)
	}
}

// dracutNames has the initrds of kernels to come give NICs their names, too: not
// every dracut takes the files of the guest's admin along.
func (b *builder) dracutNames() {
	var files []string
	for _, f := range b.nicFiles {
		files = append(files, f.Path)
	}
	if len(files) == 0 {
		return
	}
	b.out.Edits = append(b.out.Edits, guest.Edit{
		Path: "/etc/dracut.conf.d/90-esxodus-nics.conf", Make: true, Mode: 0o644,
		Reason: "initrds of later kernels give NICs these names, too",
		New:    "# Made by esxodus: what names the NICs.\ninstall_items+=\" " + strings.Join(files, " ") + " \"\n",
	})
}

// activated are the parameters that an initrd for any machine must be given where
// the guest's command line stays: it activates no logical volume that nobody
// names. One for this machine alone has them in it, and SUSE leaves it at that.
func activated(b *builder) string {
	named := slices.ContainsFunc(strings.Fields(b.c.Cmdline), func(w string) bool {
		return strings.HasPrefix(w, "rd.lvm.lv=") || strings.HasPrefix(w, "rd.lvm.vg=") || strings.HasPrefix(w, "rd.auto")
	})
	if !b.stays() || named {
		return ""
	}
	return strings.Join(dracut{}.activate(b), " ")
}

// modules are none: dracut brings what it needs.
func (dracut) modules(_ *builder, i guest.Initrd) []string {
	if len(i.Modules) == 0 {
		return []string{"virtio_blk"} // of a kernel that has no modules at all
	}
	return nil
}

// resume is left to dracut.
func (dracut) resume(*builder) {}

// moot are the volumes that were needed before, see activate.
func (dracut) moot(key, word string) bool {
	return key == "rd.lvm.lv" || key == "rd_NO_LVM" || word == "rd.lvm=0" || word == "rd.lvm=no"
}

// activate are the parameters by which dracut's initrd activates the logical
// volumes that are needed before the real root runs.
func (dracut) activate(b *builder) []string {
	var out []string
	for i := range b.places.moves {
		m := &b.places.moves[i]
		if m.Device() != "" && (m.Mount == "/" || m.From == b.g.Root || m.Mount == "/usr" || m.Content == "swap") {
			out = append(out, "rd.lvm.lv="+m.To)
		}
	}
	return slices.Compact(out)
}

func (dracut) hooks() []guest.Program { return nil }
