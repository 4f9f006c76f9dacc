package adapt

import (
	"path"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

// imageNames are the links by which LILO finds kernel and initrd; with .old
// after them they lead to those before.
type imageNames struct {
	kernel, initrd string
}

// images finds out where the guest has its links, or where its packages would
// make them.
func (b *builder) images() imageNames {
	if !b.family.dpkg {
		return imageNames{"/boot/vmlinuz", "/boot/initramfs.img"}
	}
	dir := "/"
	conf := b.kernelImgSettings()
	_, inRoot := b.c.Links["/vmlinuz"]
	_, inBoot := b.c.Links["/boot/vmlinuz"]
	switch {
	case inRoot:
	case inBoot || yes(conf["link_in_boot"]):
		dir = "/boot"
	case conf["image_dest"] != "":
		if d := path.Clean("/" + conf["image_dest"]); d == "/boot" {
			dir = d
		}
	case b.g.Distro == "ubuntu":
		dir = "/boot"
	}
	return imageNames{path.Join(dir, "vmlinuz"), path.Join(dir, "initrd.img")}
}

// kernels lists the versions of the kernels in /boot: first the one that boots
// by default until now, then the others, newest first.
func (b *builder) kernels() []string {
	var versions []string
	for _, v := range slices.Backward(b.g.Kernels) {
		if slices.Contains(b.c.Boot, "vmlinuz-"+v) {
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

// hasInitrd reports whether the kernels that LILO starts have initrds.
func (b *builder) hasInitrd(images imageNames) bool {
	_, link := b.c.Links[images.initrd]
	return link || len(b.g.Initrds) > 0
}

// links makes the links to kernels and initrds that are not there, or lead
// nowhere.
func (b *builder) links(images imageNames) {
	kernels := b.kernels()
	for _, suffix := range []string{"", ".old"} {
		kernel := ""
		if have, ok := b.c.Links[images.kernel+suffix]; ok && !have.Missing {
			kernel = version(have.Target)
		} else if len(kernels) > 0 {
			kernel = kernels[0]
			b.link(images.kernel+suffix, "/boot/vmlinuz-"+kernel)
		}
		kernels = slices.DeleteFunc(kernels, func(k string) bool { return k == kernel })
		if have, ok := b.c.Links[images.initrd+suffix]; ok && !have.Missing {
			continue
		}
		if initrd := b.initrdOf(kernel); initrd != "" {
			b.link(images.initrd+suffix, initrd)
		}
	}
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

const kernelImgFile = "/etc/kernel-img.conf"

// kernelImgSettings reads kernel-img.conf(5), whose syntax is key = value.
func (b *builder) kernelImgSettings() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(b.c.Files[kernelImgFile].Text) {
		if k, v, ok := strings.Cut(line, "="); ok {
			out[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	return out
}

func yes(v string) bool {
	switch strings.ToLower(v) {
	case "yes", "true", "1":
		return true
	}
	return false
}

// kernelImgConf has kernels' packages keep the links, and run no boot loader
// that is gone: LILO has its hooks.
func (b *builder) kernelImgConf() {
	file, ok := b.c.Files[kernelImgFile]
	if !ok || !b.family.dpkg {
		return // the defaults are right
	}
	var out strings.Builder
	for line := range strings.Lines(file.Text) {
		key, value, assigned := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch k := strings.ToLower(strings.TrimSpace(key)); {
		case assigned && k == "do_symlinks" && !yes(value):
			line = "do_symlinks = yes\n"
		case assigned && k == "do_bootloader" && yes(value):
			line = "do_bootloader = no\n"
		case assigned && (k == "postinst_hook" || k == "postrm_hook") && strings.HasSuffix(value, "update-grub"):
			line = "#" + line
		}
		out.WriteString(line)
	}
	b.change(kernelImgFile, out.String(), "kernels' packages keep the links that LILO follows, and run its hooks only")
}
