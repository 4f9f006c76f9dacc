package adapt

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/convert/lilo/conf"
)

// imageNames are the links by which LILO finds kernel and initrd; with .old
// after them they lead to those before.
type imageNames struct {
	kernel, initrd string
}

// leads reports whether there is a link, or a file, that leads to something.
func (b *builder) leads(name string) bool {
	link, ok := b.c.Links[name]
	return ok && !link.Missing
}

// kernels lists the versions of the kernels in /boot that can boot: first the
// one that boots by default until now, then the others, newest first.
func (b *builder) kernels() []string {
	var versions []string
	for _, v := range slices.Backward(b.g.Kernels) {
		if slices.Contains(b.c.Boot, "vmlinuz-"+v) && b.unfit[v] == "" {
			versions = append(versions, v)
		}
	}
	if i := slices.Index(versions, version(b.c.Image)); i > 0 {
		versions = slices.Insert(slices.Delete(versions, i, i+1), 0, version(b.c.Image))
	}
	return versions
}

// version is that in the path of a kernel, "" for others.
func version(name string) string {
	v, ok := strings.CutPrefix(path.Base(name), "vmlinuz-")
	if !ok {
		return ""
	}
	return v
}

// initrdOf is the path of a kernel's initrd, "" where it has none.
func (b *builder) initrdOf(kernel string) string {
	for _, i := range b.g.Initrds {
		if i.Kernel == kernel {
			return i.Path
		}
	}
	return ""
}

// choice is a section of lilo.conf.
type choice struct {
	label, suffix string
	kernel        string // the version that boots; "" for a kernel of another name, or none yet
	made          bool   // its link leads there because this conversion makes it
	fixed         bool   // it is named by its version, not by a link
	initrd        bool
}

// files are the names of its kernel and its initrd.
func (b *builder) files(names imageNames, c choice) (kernel, initrd string) {
	if c.fixed {
		return "/boot/vmlinuz-" + c.kernel, b.initrdOf(c.kernel)
	}
	return names.kernel + c.suffix, names.initrd + c.suffix
}

// choose says what LILO will start: what the links lead to, else the kernels
// that are there.
func (b *builder) choose(names imageNames) []choice {
	left := b.kernels()
	images := []choice{{label: DefaultLabel}, {label: DefaultLabel + "OLD", suffix: ".old"}}
	for i := range images {
		im := &images[i]
		there := b.leads(names.kernel+im.suffix) && b.unfit[version(b.c.Links[names.kernel+im.suffix].Target)] == ""
		switch {
		case there:
			im.kernel = version(b.c.Links[names.kernel+im.suffix].Target)
		case len(left) > 0:
			im.kernel, im.made = left[0], true
		}
		left = slices.DeleteFunc(left, func(k string) bool { return k == im.kernel })
		im.initrd = b.hasInitrd(names.initrd+im.suffix, im.kernel, there)
	}
	return b.asUntilNow(images)
}

// plainVersion is a kernel's version that means nothing to lilo.conf.
var plainVersion = regexp.MustCompile(`^[0-9A-Za-z.+~_-]+$`)

// asUntilNow has the kernel that boots by default go on doing so. The link may
// lead to another: to what its package made last, where a kernel of the admin's own
// is newer, or where the old loader has a default of its own. Such a kernel gets a
// section of its own, which no package moves.
func (b *builder) asUntilNow(images []choice) []choice {
	was := version(b.c.Image)
	if was == images[0].kernel || !plainVersion.MatchString(was) || !slices.Contains(b.kernels(), was) {
		return images
	}
	label := DefaultLabel + "-" + was
	own := choice{label: label[:min(len(label), conf.MaxLabel)], kernel: was, fixed: true, initrd: b.initrdOf(was) != ""}
	return append(images, own)
}

// hasInitrd reports whether an image is started with an initrd: with one of its
// kernel's, or that its link leads to and that is no other kernel's. Where there
// is no kernel yet, its packages will bring one as they did until now.
func (b *builder) hasInitrd(name, kernel string, there bool) bool {
	switch {
	case b.initrdOf(kernel) != "":
		return true
	case kernel == "" && !there:
		return len(b.g.Initrds) > 0
	}
	target := path.Base(b.c.Links[name].Target)
	return b.leads(name) && (kernel == "" || !slices.ContainsFunc(b.g.Initrds, func(i guest.Initrd) bool { return path.Base(i.Path) == target }))
}

// links makes the links to kernels and initrds that are not there, or lead
// nowhere, or to a kernel that can't boot.
func (b *builder) links(names imageNames, images []choice) {
	for _, im := range images {
		if im.fixed {
			continue
		}
		if im.made {
			b.link(names.kernel+im.suffix, "/boot/vmlinuz-"+im.kernel)
		} else if old := b.c.Links[names.kernel+im.suffix]; !old.Missing && b.unfit[version(old.Target)] != "" {
			b.unlink(names.kernel+im.suffix, old.Target)
			continue
		}
		// LILO takes what two links lead to as a pair: one to another kernel's
		// initrd is changed.
		name, initrd := names.initrd+im.suffix, b.initrdOf(im.kernel)
		if initrd != "" && (!b.leads(name) || path.Base(b.c.Links[name].Target) != path.Base(initrd)) {
			b.link(name, initrd)
		}
	}
}

// unlink removes a link.
func (b *builder) unlink(name, target string) {
	b.out.Edits = append(b.out.Edits, guest.Edit{Path: name, Link: true, Remove: true, Old: target, Reason: "it leads to a kernel that can't boot"})
}

// link makes or changes one, with a target relative to where it is.
func (b *builder) link(name, target string) {
	e := guest.Edit{Path: name, Link: true, Make: true, Reason: "by this name LILO finds it, whatever its version"}
	if old, ok := b.c.Links[name]; ok {
		if old.Target == "" {
			return // a file of the admin's own
		}
		e.Make, e.Old = false, old.Target
	}
	e.New = strings.TrimPrefix(target, "/")
	if dir := path.Dir(name); dir != "/" {
		e.New = strings.TrimPrefix(target, dir+"/")
	}
	b.out.Edits = append(b.out.Edits, e)
}

// unfitKernels finds the kernels whose initrds can't be given what they need on
// the new disk, because /lib/modules lacks it: left over from a package that is
// gone, mostly. One of them must not be the default.
func (b *builder) unfitKernels() {
	b.unfit = map[string]string{}
	for _, i := range b.g.Initrds {
		if why := b.lacks(i); why != "" {
			b.unfit[i.Kernel] = why
		}
	}
	first, left := b.defaultVersion(), "this kernel is left as it is, and LILO won't start it"
	if b.stays() {
		left = "this kernel is left as it is, and won't find its disks on virtio"
	}
	for _, i := range slices.Backward(b.g.Initrds) {
		why := b.unfit[i.Kernel]
		switch {
		case why == "":
		case i.Kernel == first && b.stays():
			b.concern(ConcernKernel, ledger.Warning, i.Kernel, why+", and it is the kernel that boots by default",
				"install the kernel's package again in the guest, or have it boot another kernel, and plan again")
		case i.Kernel == first:
			b.concern(ConcernKernel, ledger.Blocker, i.Kernel, why+", and it is the kernel that boots by default",
				"install the kernel's package again in the guest, or have it boot another kernel, or "+b.instead())
		default:
			b.concern(ConcernKernel, ledger.Note, i.Kernel, why, left+"; if its package is gone, remove it and its initrd from /boot")
		}
	}
}

// lacks says what of the modules that an initrd needs its kernel hasn't got, ""
// for nothing.
func (b *builder) lacks(i guest.Initrd) string {
	need := b.family.modules(b, i)
	need = slices.DeleteFunc(need, func(m string) bool { return slices.Contains(i.Modules, m) })
	switch {
	case len(need) == 0:
		return ""
	case len(i.Modules) == 0:
		return "the modules of kernel " + i.Kernel + " are not in /lib/modules, and its initrd needs some for the new disk"
	}
	return "kernel " + i.Kernel + " has no " + strings.Join(need, " and no ") + ", which its initrd needs for the new disk"
}

// defaultVersion is the kernel that boots by default until now, as its boot
// loader says, else by the links, else the newest.
func (b *builder) defaultVersion() string {
	for _, v := range []string{version(b.c.Image), version(b.c.Links["/vmlinuz"].Target), version(b.c.Links["/boot/vmlinuz"].Target)} {
		if v != "" && slices.Contains(b.g.Kernels, v) {
			return v
		}
	}
	if n := len(b.g.Kernels); n > 0 {
		return b.g.Kernels[n-1]
	}
	return ""
}
