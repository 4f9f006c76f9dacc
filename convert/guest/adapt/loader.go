package adapt

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
	"esxodus/convert/layout"
	"esxodus/convert/ledger"
)

const (
	liloConf = "/etc/lilo.conf"
	liloMap  = "/boot/map"
	liloPath = "/usr/sbin/lilo"
)

// DefaultLabel is the image of a lilo.conf made here that boots by default.
const DefaultLabel = "Linux"

// loader has the guest booted by LILO.
func (b *builder) loader() {
	if !b.passwords() {
		return
	}
	if b.ownLilo {
		b.keepLilo()
		return
	}
	if !b.runsLilo() {
		return
	}
	root := b.rootMove()
	if root == nil {
		return // told by mounts
	}
	names := b.family.images(b)
	images := b.choose(names)
	b.byDefault = first(images)
	b.starts = append(b.starts, b.byDefault.kernel)
	for _, im := range images {
		b.starts = append(b.starts, im.kernel)
	}
	b.links(names, images)
	b.change(liloConf, b.liloText(*root, names, images), "what the boot loader starts, and how")
	b.family.kernelSettings(b)
	b.programs()
	b.follow()
	b.out.Loader = []string{liloPath, "-v"}
	b.touch("the loader's map of where the kernels lie", liloMap, liloMap+"~")
	b.entry("guest.boot", b.oldLoader(), "LILO", "a disk without partitions has no room for GRUB")
	b.defaultKernel(names, images)
	b.withoutInitrd(images)
}

// runsLilo refuses a guest of 32 bits: its kernel, which boots the guest after
// the migration, can't run the lilo that goes into it.
func (b *builder) runsLilo() bool {
	arch := b.c.Arch
	if arch == "" && strings.Contains(b.defaultVersion(), ".i686") { // as RPM's kernels are called
		arch = "i686"
	}
	if arch == "" || arch == "amd64" {
		return true
	}
	b.concern(ConcernFamily, ledger.Blocker, "", "the guest's system is "+arch+", and the lilo that goes into it needs a 64-bit x86 kernel to run again after updates",
		b.instead())
	return false
}

// passwords reports whether the plan can hold the change of lilo.conf: it never
// holds a password.
func (b *builder) passwords() bool {
	if b.c.Guarded {
		b.concern(ConcernPassword, ledger.Warning, "", "the guest's GRUB asks for a password, and LILO won't",
			"whoever reaches the console can change the kernel's command line: after the migration put password= and restricted into "+liloConf+", mode 600, and run lilo")
	}
	if passwordOption.MatchString(b.c.Files[liloConf].Text) {
		b.concern(ConcernPassword, ledger.Blocker, liloConf, "the guest's lilo.conf holds a password, which would be in the plan", "remove it from the file for the migration")
		return false
	}
	return true
}

// passwordOption finds password= anywhere on a line that isn't in a comment: a
// line may have several options, and a file of the real LILO's need not be one
// that package conf can parse. In a string it is found as well, for a password
// among kernel parameters is one.
var passwordOption = regexp.MustCompile(`(?im)^(?:(?:[^#\n]|"[^"\n]*")*[\s"])?password"?\s*=`)

// oldLoader names what booted the guest until now.
func (b *builder) oldLoader() string {
	for _, name := range []string{"grub-pc", "grub-efi-amd64", "lilo", "systemd-boot"} {
		if p, ok := b.installed(name); ok {
			return p.Name + " " + p.Version
		}
	}
	if b.in.Layout.Boot.UEFI {
		return strings.TrimSuffix("UEFI: "+strings.Join(b.g.EFILoaders, ", "), ": ")
	}
	return "GRUB"
}

// bootName is the lasting name of the disk that boots.
func (b *builder) bootName(root layout.Move) string {
	if pv := b.in.Layout.Boot.PV; pv != "" {
		return "/dev/disk/by-id/lvm-pv-uuid-" + pv
	}
	if id := byUUID(root.UUID); id != "" {
		return "/dev/disk/by-uuid/" + strings.TrimPrefix(id, "UUID=")
	}
	return ""
}

// timeout is how long LILO's prompt waits, in tenths of a second.
const timeout = 20

// liloText is the guest's lilo.conf.
func (b *builder) liloText(root layout.Move, names imageNames, images []choice) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	rest, mode := b.cmdline()
	line("# Made by esxodus. After a change run: lilo -v")
	line("# It runs by itself when a kernel or an initrd has changed; kernels keep their names here.")
	if boot := b.bootName(root); boot != "" {
		line("boot=%s", boot)
	}
	line("map=%s", liloMap)
	line("default=%s", first(images).label)
	line("prompt")
	line("timeout=%d", timeout)
	if s := b.serial(); s != "" {
		line("serial=%s", s)
	}
	line("root=%s", quote(b.places.stable(&root)))
	line("%s", mode)
	if rest != "" {
		line("append=%s", quote(rest))
	}
	for _, im := range images {
		line("")
		kernel, initrd := b.files(names, im)
		line("image=%s", kernel)
		line("\tlabel=%s", im.label)
		if im.initrd {
			line("\tinitrd=%s", initrd)
		}
		line("\toptional")
	}
	line("")
	line("# lilo's own copies of what has booted, for when all else has changed.")
	line("image=%s", lastResortKernel)
	line("\tlabel=%s", lastResortLabel)
	if first(images).initrd {
		line("\tinitrd=%s", lastResortInitrd)
	}
	line("\tlast-resort")
	return out.String()
}

// quote writes a string of lilo.conf.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oneLine(s)) + `"`
}

// serial is LILO's serial= for the guest's last serial console, "" where it
// has none.
func (b *builder) serial() string {
	consoles := strings.Fields(b.c.Cmdline)
	slices.Reverse(consoles)
	for _, w := range consoles {
		rest, ok := strings.CutPrefix(w, "console=ttyS")
		if !ok {
			continue
		}
		port, mode, _ := strings.Cut(rest, ",")
		if len(port) != 1 || port[0] < '0' || port[0] > '3' {
			continue
		}
		speed := mode[:len(mode)-len(strings.TrimLeft(mode, "0123456789"))]
		switch speed {
		case "110", "150", "300", "600", "1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200":
			return port + "," + speed
		case "":
			return port + ",9600" // the kernel's default
		}
	}
	return ""
}

// maxCmdline is the longest command line that an x86 kernel takes, in bytes
// (COMMAND_LINE_SIZE, with the final zero).
const maxCmdline = 2047

// cmdline takes the guest's kernel command line apart: rest is what goes to
// append=, mode is read-only or read-write.
func (b *builder) cmdline() (rest, mode string) {
	mode = "read-only"
	var keep, dropped []string
	for _, w := range words(b.c.Cmdline) {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case key == "BOOT_IMAGE" || key == "initrd" || key == "root":
		case w == "ro":
			mode = "read-only"
		case w == "rw":
			mode = "read-write"
		case strings.Contains(w, "$"):
			dropped = append(dropped, w)
		case key == "resume":
			if spec := b.resumeSpec(value); spec != "" {
				keep = append(keep, "resume="+spec)
			} else {
				dropped = append(dropped, w)
			}
		case b.family.moot(key, w):
		default:
			keep = append(keep, w)
		}
	}
	keep = append(keep, b.family.activate(b)...)
	if len(dropped) > 0 {
		b.concern(ConcernCmdline, ledger.Warning, "", "kernel parameters that mean nothing to the new loader or on the new disk: "+strings.Join(dropped, " "),
			"they are left out; add what you want to append= in "+liloConf+" and run lilo")
	}
	rest = strings.Join(keep, " ")
	if len(rest) > maxCmdline-200 {
		b.concern(ConcernCmdline, ledger.Blocker, "", fmt.Sprintf("the kernel's command line has %d bytes", len(rest)), "shorten it in the guest")
		rest = ""
	}
	return rest, mode
}

// words splits a kernel's command line at blanks outside of quotes, as the
// kernel does.
func words(cmdline string) []string {
	inside := false
	return strings.FieldsFunc(cmdline, func(r rune) bool {
		if r == '"' {
			inside = !inside
		}
		return r < ' ' || r == 0x7f || r == ' ' && !inside
	})
}

// resumeSpec is what resume= becomes, "" where its swap is gone.
func (b *builder) resumeSpec(spec string) string {
	m, vanishes := b.places.find(spec)
	switch {
	case m != nil && m.To == "":
		return ""
	case m != nil && vanishes:
		return b.places.stable(m)
	case m == nil && (vanishes || conf.UnstableName(spec) != ""):
		return ""
	}
	return spec
}

// programs are the loader's program and what runs it after kernels change.
func (b *builder) programs() {
	add := func(path, source string, mode uint32) {
		b.out.Programs = append(b.out.Programs, guest.Program{Path: path, Source: source, Mode: mode})
	}
	add(liloPath, "lilo", 0o755)
	add("/usr/share/man/man8/lilo.8.gz", "lilo.8.gz", 0o644)
	b.out.Programs = slices.Concat(b.out.Programs, b.family.packager.hooks(), b.family.maker.hooks())
}

// keepLilo has the guest's own LILO find its new disk and root.
func (b *builder) keepLilo() {
	root := b.rootMove()
	conf := b.c.Files[liloConf]
	p, _ := b.installed("lilo")
	b.out.OwnLoader = strings.TrimSpace("lilo " + p.Version)
	b.out.Loader = []string{"/sbin/lilo", "-v"}
	b.touch("the map of the guest's own LILO", liloMap, liloMap+"~", "/boot/boot.*")
	if root == nil {
		return
	}
	b.change(liloConf, b.ownConf(conf.Text, *root), "disk and root have other names in the new layout")
	b.entry("guest.boot", b.out.OwnLoader, b.out.OwnLoader, "it stays in charge, with its own lilo.conf")
	b.concern(ConcernLilo, ledger.Warning, "", fmt.Sprintf("the guest has a LILO of its own (%s), which stays in charge", b.out.OwnLoader),
		"by its changelog it supports LVM since 22.7, but no such guest was tried: the boot proof decides; to use esxodus's LILO instead, first remove the package lilo in the guest")
}

// ownConf changes the lines of a lilo.conf that name disks.
func (b *builder) ownConf(text string, root layout.Move) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, "=")
		name := strings.Trim(strings.TrimSpace(value), `"`)
		to := ""
		switch k := strings.ToLower(strings.TrimSpace(key)); {
		case !ok:
		case k == "boot":
			to = b.bootName(root)
		case k == "root" && (conf.UnstableName(name) != "" || strings.HasPrefix(name, "PART")):
			to = b.places.stable(&root)
			if m, _ := b.places.find(name); m != nil {
				to = b.places.stable(m)
			}
		}
		if to == "" || strings.HasPrefix(strings.TrimSpace(line), "#") {
			out.WriteString(line)
			continue
		}
		end := line[len(strings.TrimRight(line, "\r\n")):]
		out.WriteString(key + "=" + quote(to) + end)
	}
	return out.String()
}

// first is the section that boots by default.
func first(images []choice) choice {
	if last := images[len(images)-1]; last.fixed {
		return last
	}
	return images[0]
}

// defaultKernel tells where another kernel boots by default than until now, or
// where one does that no package renews.
func (b *builder) defaultKernel(names imageNames, images []choice) {
	was, by := version(b.c.Image), first(images)
	if by.fixed && images[0].kernel != "" {
		b.concern(ConcernKernel, ledger.Note, "", fmt.Sprintf("the guest boots %s by default, as before; %s leads to %s", was, names.kernel, images[0].kernel),
			fmt.Sprintf("it keeps booting that version when others are installed; to boot the newest by its link, set default=%s in %s and run lilo", images[0].label, liloConf))
	}
	if was == "" || by.kernel == "" || was == by.kernel || b.unfit[was] != "" {
		return
	}
	now := by.kernel
	b.concern(ConcernKernel, ledger.Warning, "", fmt.Sprintf("the guest has booted %s by default, but %s leads to %s", was, names.kernel, now),
		"make sure that this one starts it (the boot proof shows), or point the link to the other and run lilo")
}

// withoutInitrd tells of kernels that have no initrd while others have: a
// packaged one that takes their place needs its initrd= in lilo.conf.
func (b *builder) withoutInitrd(images []choice) {
	for _, im := range images {
		if im.initrd || len(b.g.Initrds) == 0 {
			continue
		}
		severity := ledger.Warning
		if im == first(images) && b.lvm() { // it boots by default, and can't
			severity = ledger.Blocker
		}
		b.concern(ConcernInitrd, severity, im.kernel, "the kernel that "+im.label+" boots has no initrd, while others of the guest have one",
			"without one Linux finds no root on LVM: make one in the guest; else, once a kernel with an initrd takes its place, give "+im.label+" an initrd= in "+liloConf+" and run lilo")
	}
}
