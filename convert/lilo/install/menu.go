package install

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
)

// menu makes the loader's menu of what could be mapped. An image that the
// loader can't take is left out, too.
func (in *installer) menu() (*lilo.Menu, Result, error) {
	menu := &lilo.Menu{Delay: in.cfg.Delay, Timeout: in.cfg.Timeout, Prompt: in.cfg.Prompt}
	if s := in.cfg.Serial; s != nil {
		menu.Serial = &lilo.Serial{Port: s.Port, BPS: s.Speed, Parity: s.Parity, Bits: s.Bits}
	}
	menu.Message = in.message()
	res := Result{Disk: in.disk.String(), PV: in.layout.pv, Map: in.cfg.Map}
	for _, c := range in.images {
		img, err := in.image(c)
		if err == nil {
			err = in.fits(img)
		}
		if err != nil {
			in.leaveOut(c.conf, err)
			continue
		}
		in.checkRoot(c)
		menu.Images = append(menu.Images, img)
		res.Images = append(res.Images, Added{
			Label: img.Label, Alias: img.Alias, Password: img.Password != nil,
			Kernel: c.conf.Kernel, Initrd: c.conf.Initrd, Cmdline: c.cmdline,
		})
	}
	if len(menu.Images) == 0 {
		return nil, Result{}, errNothing
	}
	var err error
	if menu.Default, err = in.defaultImage(menu); err != nil {
		return nil, Result{}, err
	}
	res.Images[menu.Default].Default = true
	in.checkFallbacks(menu)
	in.checkSecrets()
	return menu, res, nil
}

// image makes one image of the menu.
func (in *installer) image(c *candidate) (lilo.Image, error) {
	im := c.conf
	img := lilo.Image{
		Label: im.Label, Alias: im.Alias, Cmdline: c.cmdline, Kernel: c.kernel.inMenu(),
		Restricted: im.Protect == conf.Restricted, Lock: im.Lock, Fallback: im.Fallback,
		// In lilo.conf it is for whatever has a name of one character.
		SingleKey: (im.SingleKey || in.cfg.SingleKey) && (len(im.Label) == 1 || len(im.Alias) == 1),
	}
	if im.SingleKey && !in.cfg.SingleKey && !img.SingleKey {
		in.o.Log.Warn("image %s (line %d): single-key needs a label or an alias of one character, and has no effect", im.Label, im.Line)
	}
	if c.initrd != nil {
		initrd := c.initrd.inMenu()
		img.Initrd = &initrd
	}
	if im.Video != nil {
		mode := lilo.VideoMode(*im.Video)
		img.Video = &mode
	}
	if im.Password == "" {
		return img, nil
	}
	if p := in.livePassword(im); p != nil {
		img.Password = p
		return img, nil
	}
	var err error
	img.Password, err = lilo.NewPassword(im.Password, random{})
	return img, err
}

// random reads what the kernel has of random bytes; crypto/rand would bring
// arithmetic along that makes the program larger.
type random struct{}

// Read fills b.
func (random) Read(b []byte) (int, error) { return unix.Getrandom(b, 0) }

// fits says whether the map can hold an image and the loader start its kernel.
func (in *installer) fits(img lilo.Image) error {
	img.Initrd = nil // nothing but its size matters
	one := &lilo.Menu{Images: []lilo.Image{img}}
	return in.rehearse(one)
}

// inMenu is a file as the map's encoder takes it.
func (mf *mapped) inMenu() lilo.File {
	f := lilo.File{Path: mf.path, Size: mf.size}
	for _, r := range mf.runs {
		if r.lba == hole {
			r.lba = lilo.Hole
		}
		f.Runs = append(f.Runs, lilo.Run{LBA: r.lba, Count: uint32(r.count)})
	}
	return f
}

// content opens a mapped file for the map's encoder.
func (in *installer) content(path string) (io.ReadCloser, error) {
	mf, ok := in.files[path]
	if !ok {
		return nil, fmt.Errorf("%s is not mapped", path)
	}
	return io.NopCloser(io.NewSectionReader(mf.file, 0, mf.size)), nil
}

// defaultLabel is the name of the image that is to boot by itself.
func (in *installer) defaultLabel() string {
	return cmp.Or(in.o.Default, in.cfg.Default, in.cfg.Images[0].Label)
}

// defaultImage returns the index of the image that boots by itself.
func (in *installer) defaultImage(menu *lilo.Menu) (int, error) {
	if name := in.o.Default; name != "" && in.cfg.Find(name) == nil {
		return 0, fmt.Errorf("-D %s: no image of %s has this label", name, in.cfg.File)
	}
	name := in.defaultLabel()
	for i, img := range menu.Images {
		if strings.EqualFold(img.Label, name) || img.Alias != "" && strings.EqualFold(img.Alias, name) {
			return i, nil
		}
	}
	if in.o.Default != "" {
		return 0, fmt.Errorf("-D %s: this image can't be booted", name)
	}
	// A default that isn't in the configuration has been warned of.
	if im := in.cfg.Find(name); im != nil && (!im.Optional || in.cfg.Default != "") {
		in.o.Log.Alert("the default image %s is not there: %s is the default now", name, menu.Images[0].Label)
	}
	return 0, nil
}

// checkFallbacks warns of fallbacks that no image is there for: the loader takes
// the default then.
func (in *installer) checkFallbacks(menu *lilo.Menu) {
	for _, img := range menu.Images {
		words := strings.Fields(img.Fallback)
		if len(words) == 0 || known(menu, words[0]) {
			continue
		}
		why := "no image has this label"
		if in.cfg.Find(words[0]) != nil {
			why = "that image is left out"
		}
		in.o.Log.Alert("image %s (line %d): fallback=%s: %s, so the default boots after it", img.Label, in.cfg.Find(img.Label).Line, img.Fallback, why)
	}
}

// message reads what is shown before the prompt. A menu without it is better
// than none.
func (in *installer) message() []byte {
	if in.cfg.Message == "" {
		return nil
	}
	text, err := ReadFile(in.cfg.Message, lilo.MaxMessage+1)
	if err == nil && len(text) > lilo.MaxMessage {
		err = fmt.Errorf("%s is longer than the %d bytes that the loader takes", in.cfg.Message, lilo.MaxMessage)
	}
	if err != nil {
		in.o.Log.Warn("message=: %v", err)
		return nil
	}
	return text
}

// checkRoot warns of a root= that isn't there: the kernel would wait for it.
func (in *installer) checkRoot(c *candidate) {
	root := c.conf.Root
	below, ok := strings.CutPrefix(root, "/dev/")
	if !ok || c.conf.Literal != nil {
		return
	}
	if _, err := in.sys.Dev.Stat(below); errors.Is(err, os.ErrNotExist) {
		in.o.Log.Warn("image %s (line %d): root=%s is not there", c.conf.Label, c.conf.Line, root)
	}
}

// checkSecrets warns of passwords that anyone can read.
func (in *installer) checkSecrets() {
	secret := false
	for i := range in.cfg.Images {
		secret = secret || in.cfg.Images[i].Password != ""
	}
	if !secret {
		return
	}
	if fi, err := os.Stat(in.cfg.File); err == nil && fi.Mode().Perm()&0o044 != 0 {
		in.o.Log.Warn("%s has a password in it and can be read by anyone: chmod 600 %s", in.cfg.File, in.cfg.File)
	}
}
