package adapt

import (
	"cmp"
	"fmt"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// family is how a guest manages packages and makes initrds. A new one is a line of
// [families], and a file where it has ways of its own.
type family struct {
	name string
	is   func(b *builder) bool
	packager
	maker
}

// families lists those that esxodus knows; a guest is of the first that it is.
func families() []family {
	installed := func(name string) func(*builder) bool {
		return func(b *builder) bool { _, ok := b.installed(name); return ok }
	}
	return []family{
		{"dpkg with initramfs-tools", installed("initramfs-tools"), dpkg{}, initramfsTools{}},
		{"dpkg with dracut", installed("dracut"), dpkg{}, dracut{}},
		{"rpm with dracut", func(b *builder) bool {
			return len(b.c.Packages) == 0 && b.has("/usr/lib/sysimage/rpm", "/var/lib/rpm") && b.has("/usr/bin/dracut", "/sbin/dracut")
		}, rpm{}, dracut{}},
	}
}

// packager is how a guest's packages come and go, and what they do with kernels.
type packager interface {
	// images are the names by which packages lead to the newest kernel.
	images(b *builder) imageNames
	// hasLVM reports whether LVM is installed.
	hasLVM(b *builder) bool
	// remove removes boot loaders and VMware's agents.
	remove(b *builder)
	// hooks are what has kernels' packages run the loader's program.
	hooks() []guest.Program
	// starts is the command by which a script in /etc/init.d starts and stops with
	// the system.
	starts(script string) []string
	// kernelSettings are changed so that packages keep what the loader follows.
	kernelSettings(b *builder)
	// records touches what installing and removing writes besides.
	records(b *builder)
}

// maker is what makes a guest's initrds.
type maker interface {
	// initrds has each find the root on its new disk.
	initrds(b *builder)
	// modules are those that an initrd gets, or can't do without.
	modules(b *builder, i guest.Initrd) []string
	// resume has initrds look for a hibernated system where the swap is now.
	resume(b *builder)
	// moot reports whether a word of the kernel's command line means nothing any
	// more; activate are words that take its place.
	moot(key, word string) bool
	activate(b *builder) []string
	// hooks are what has a new initrd run the loader's program.
	hooks() []guest.Program
}

// hasFamily finds out which family a guest is of, if esxodus knows it.
func (b *builder) hasFamily() bool {
	for _, f := range families() {
		if f.is(b) {
			b.family = f
			return true
		}
	}
	return false
}

// knowsFamily finds out which family a guest is of, and tells if none is known.
func (b *builder) knowsFamily() bool {
	if b.hasFamily() {
		return true
	}
	b.concern(ConcernFamily, ledger.Blocker, "", fmt.Sprintf("%s has neither dpkg with initramfs-tools or dracut, nor rpm with dracut", cmp.Or(b.g.PrettyName, "the guest")),
		"esxodus doesn't know how this system makes its initrds: "+b.instead())
	return false
}
