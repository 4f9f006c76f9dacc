package guest

import (
	"path"
	"slices"
	"strings"
)

// Claim is what a part of the guest takes for its root, where that isn't the
// root that was found ([Guest.Root]), or isn't certain to be.
type Claim struct {
	By     string `json:"by"`               // ByLoader or ByFstab
	Spec   string `json:"spec"`             // as the guest writes it: UUID=…, /dev/sda1
	Volume string `json:"volume,omitempty"` // the volume that it means; "" where that isn't certain, or can't be seen
}

// Who claims.
const (
	ByLoader = "boot loader" // its default entry
	ByFstab  = "fstab"       // of the root that was found
)

// maxTitles is how many entries of other systems are noted.
const maxTitles = 16

// starts holds the root that was found against the one that the guest itself
// starts, and finds what else it starts. A root that was left behind when the
// real one moved to where it can't be read (LUKS, Btrfs, a thin volume) looks
// like one all the same.
func (l *look) starts() {
	if l.root == nil {
		return
	}
	first := rootSpec(l.guest.Config.Cmdline)
	entries, others := l.menu()
	if first == "" && len(entries) > 0 && entries[0].image == "" { // LILO's, of which no more is known
		first = rootSpec(entries[0].cmdline)
	}
	l.claim(ByLoader, first)
	for _, spec := range l.rootSpecs {
		l.claim(ByFstab, spec)
	}
	for _, e := range entries {
		if spec := rootSpec(e.cmdline); spec != first && !e.tool() {
			if _, ok := l.elsewhere(spec); ok {
				others = append(others, e)
			}
		}
	}
	for _, e := range others {
		title := clean(e.title)
		if title == "" {
			title = clean(e.other)
		}
		if !e.tool() && !slices.Contains(l.guest.OtherSystems, title) && len(l.guest.OtherSystems) < maxTitles {
			l.guest.OtherSystems = append(l.guest.OtherSystems, title)
		}
	}
	l.otherBoots()
}

// claim notes a spec that means another root.
func (l *look) claim(by, spec string) {
	if where, ok := l.elsewhere(spec); ok {
		l.guest.Claims = append(l.guest.Claims, Claim{By: by, Spec: clean(spec), Volume: where})
	}
}

// elsewhere reports whether a spec means another root than the one that was
// found, or may, and which volume that is, if one is certain.
func (l *look) elsewhere(spec string) (where string, ok bool) {
	if !meansDevice(spec) {
		return "", false
	}
	v := l.bySpec(spec)
	if v == nil && unstableName(spec) != "" {
		v = l.byNumber(partitionNumber(spec))
	}
	switch v {
	case l.root:
		return "", false
	case nil:
		return "", true
	}
	return v.where, true
}

// meansDevice reports whether a spec names a device at all: not what GRUB puts
// in for a variable, nor the likes of "rootfs" and "overlay".
func meansDevice(spec string) bool {
	return strings.ContainsAny(spec, "/=:") && !strings.Contains(spec, "$") && spec != "/dev/root"
}

// byNumber finds the only volume that an unstable name, /dev/sdb1, can mean:
// the one that may be a root among the partitions of that number, on whichever
// disk; nil where there is more than one.
func (l *look) byNumber(number int) *volume {
	var found *volume
	for _, v := range l.volumes {
		if v.part == nil || v.partition != number || v != l.root && !v.mayBeRoot() {
			continue
		}
		if found != nil {
			return nil
		}
		found = v
	}
	return found
}

// mayBeRoot reports whether a volume isn't known to be no root.
func (v *volume) mayBeRoot() bool {
	if v.files != nil {
		return rootScore(v.files) > 0
	}
	return !slices.Contains([]string{"swap", "lvm2", "vfat", "exfat", "ntfs", "refs", "iso9660", "jbd"}, v.content.Type)
}

// rootSpec is the value of root= in a kernel's command line: the last one's, as
// the kernel has it; "" where there is none.
func rootSpec(cmdline string) string {
	spec := ""
	for w := range strings.FieldsSeq(cmdline) {
		if v, ok := strings.CutPrefix(strings.Trim(w, `"`), "root="); ok {
			spec = strings.Trim(v, `"`)
		}
	}
	return spec
}

// menu lists the boot loader's menu: entries boot Linux, others don't. It is
// GRUB's, or LILO's where there is none of GRUB.
func (l *look) menu() (entries, others []bootEntry) {
	for _, name := range []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg"} {
		if b, ok := l.read(name, maxFile); ok {
			others = readGrubCfg(b).others
			break
		}
	}
	all, _ := l.bootEntries(l.grubEnv())
	if len(all)+len(others) == 0 {
		b, _ := l.read("etc/lilo.conf", maxFstab)
		all = parseLilo(b)
	}
	for _, e := range all {
		if e.other != "" && e.cmdline == "" {
			others = append(others, e)
		} else {
			entries = append(entries, e)
		}
	}
	return entries, others
}

// tool reports whether an entry starts a tool and no system.
func (e bootEntry) tool() bool {
	what := strings.ToLower(e.title + " " + e.image + " " + e.other)
	return slices.ContainsFunc([]string{"memtest", "ipxe", "fwup", "shell"}, func(s string) bool { return strings.Contains(what, s) })
}

// parseLilo reads the entries of a lilo.conf, the default one first.
func parseLilo(b []byte) []bootEntry {
	var all []bootEntry
	root, def := "", ""
	for _, line := range lines(b) {
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		var e *bootEntry
		if len(all) > 0 {
			e = &all[len(all)-1]
		}
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case key == "image":
			all = append(all, bootEntry{cmdline: "root=" + root})
		case key == "other":
			all = append(all, bootEntry{other: "other=" + value})
		case key == "default":
			def = value
		case key == "root" && e == nil:
			root = value
		case e == nil:
		case key == "label" || key == "alias":
			e.id = value
			e.title = strings.TrimSpace(e.title + " " + value)
		case key == "root" && e.other == "":
			e.cmdline = "root=" + value
		case (key == "append" || key == "addappend") && e.other == "":
			e.cmdline += " " + value
		}
	}
	if i := slices.IndexFunc(all, func(e bootEntry) bool { return def != "" && slices.Contains(strings.Fields(e.title), def) }); i > 0 {
		all = slices.Insert(slices.Delete(slices.Clone(all), i, i+1), 0, all[i])
	}
	return all
}

// otherBoots finds file systems that hold a boot loader's configuration and
// have no place in the tree: one of them may be what really boots.
func (l *look) otherBoots() {
	for _, v := range l.volumes {
		if v.files == nil || v.mount() != "" {
			continue
		}
		for _, name := range []string{"grub/grub.cfg", "grub2/grub.cfg", "grub/menu.lst"} {
			_, err := v.files.Lstat(name)
			if err != nil {
				_, err = v.files.Lstat(path.Join("boot", name))
			}
			if err == nil {
				l.guest.OtherBoots = append(l.guest.OtherBoots, v.where)
				break
			}
		}
	}
}
