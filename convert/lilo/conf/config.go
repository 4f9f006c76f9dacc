package conf

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MaxLabel is how long a label or an alias may be, in bytes.
const MaxLabel = 15

// Defaults of the paths.
const (
	DefaultFile = "/etc/lilo.conf"
	DefaultMap  = "/boot/map"
)

// Video modes of vga=, as the kernel's boot protocol has them.
const (
	VideoNormal = 0xffff
	VideoExt    = 0xfffe
	VideoAsk    = 0xfffd
)

// Config is a lilo.conf, checked. Paths are as they stand there.
type Config struct {
	File    string
	Boot    string // device to boot from, "" where none is given
	Map     string
	Message string // path, "" for none
	Backup  string // path of a file or of a directory for it, "" for LILO's own
	// ForceBackup has a file that is there overwritten.
	ForceBackup bool
	// Default is a label or an alias of the images, "" for the first.
	Default     string
	DefaultLine int
	// Timeout and Delay are tenths of a second. A Timeout of 0, which is what the
	// absent one is, waits for ever; timeout=0 makes it 1.
	Timeout   int
	Delay     int
	Prompt    bool
	SingleKey bool
	Serial    *Serial
	Verbose   int // as of that many -v
	NoWarn    bool
	Images    []Image // as in the file, none without a label
	Warnings  []Warning
}

// Image is a section of a lilo.conf with what it takes from the global one.
type Image struct {
	Line     int // of image=
	Kernel   string
	Initrd   string // "" for none
	Label    string
	Alias    string // "" for none
	Optional bool
	// LastResort says that lilo itself makes the files: copies of what booted
	// last.
	LastResort bool
	// Root is what root= says, "current" for the device that / is on, "" for
	// what the kernel itself has.
	Root string
	// Mount is "ro", "rw" or "".
	Mount string
	// Append is added to the command line. If Literal isn't nil it is all of it.
	Append    string
	Literal   *string
	Video     *uint16 // nil where vga= is absent
	Password  string  // "" for none
	Protect   Protection
	SingleKey bool
	Lock      bool
	Fallback  string
}

// Protection says when an image's password is asked for.
type Protection int

// The kinds of protection.
const (
	Open       Protection = iota // never
	Restricted                   // when options were typed
	Mandatory                    // always
)

// Find returns the image with that label or alias, in any case of letters.
func (c *Config) Find(name string) *Image {
	for i := range c.Images {
		im := &c.Images[i]
		if strings.EqualFold(im.Label, name) || im.Alias != "" && strings.EqualFold(im.Alias, name) {
			return im
		}
	}
	return nil
}

// LastResort returns the image whose files lilo makes, nil if there is none.
func (c *Config) LastResort() *Image {
	for i := range c.Images {
		if c.Images[i].LastResort {
			return &c.Images[i]
		}
	}
	return nil
}

// CommandLine returns the kernel's command line; current is what stands for
// root=current.
func (im *Image) CommandLine(current string) string {
	if im.Literal != nil {
		return *im.Literal
	}
	var words []string
	if im.Root != "" {
		root := im.Root
		if root == "current" {
			root = current
		}
		words = append(words, "root="+root)
	}
	for _, w := range []string{im.Mount, im.Append} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// config makes the sections a Config.
func (p *parser) config() (*Config, error) {
	g := p.sections[0].values
	c := &Config{
		File: p.file, Boot: g["boot"].text, Map: cmp.Or(g["map"].text, DefaultMap), Message: g["message"].text,
		Backup: cmp.Or(g["force-backup"].text, g["backup"].text), ForceBackup: g["force-backup"].text != "", Default: g["default"].text,
		DefaultLine: g["default"].line, Prompt: has(g, "prompt"), SingleKey: has(g, "single-key"), NoWarn: has(g, "nowarn"),
	}
	for _, name := range []string{"map", "message"} {
		if v, ok := g[name]; ok && !strings.HasPrefix(v.text, "/") {
			return nil, p.fail(v.line, "%s=%s: want a path that begins with /", name, v.text)
		}
	}
	if err := p.numbers(c); err != nil {
		return nil, err
	}
	for _, s := range p.sections[1:] {
		im, err := p.image(s)
		if err != nil {
			return nil, err
		}
		c.Images = append(c.Images, im)
	}
	if len(c.Images) == 0 {
		return nil, p.fail(0, "no image= line: there is nothing to boot")
	}
	if err := cmp.Or(p.names(c), p.lastResort(c)); err != nil {
		return nil, err
	}
	c.Warnings = p.warnings
	return c, nil
}

// numbers reads the global options that are numbers.
func (p *parser) numbers(c *Config) error {
	g := p.sections[0].values
	for _, n := range []struct {
		name string
		to   *int
		max  int
	}{{"timeout", &c.Timeout, MaxTenths}, {"delay", &c.Delay, MaxTenths}, {"verbose", &c.Verbose, 10}} {
		v, ok := g[n.name]
		if !ok {
			continue
		}
		i, err := strconv.Atoi(v.text)
		if err != nil || i < 0 || i > n.max {
			return p.fail(v.line, "%s=%.40s: want a number from 0 to %d", n.name, v.text, n.max)
		}
		*n.to = i
	}
	if _, ok := g["timeout"]; ok {
		c.Timeout = max(c.Timeout, 1) // 0 would be for ever
	}
	v, ok := g["serial"]
	if !ok {
		return nil
	}
	s, err := parseSerial(v.text)
	if err != nil {
		return p.fail(v.line, "serial=%.40s: %v", v.text, err)
	}
	c.Serial = &s
	// A terminal needs the time to send a break.
	c.Delay = max(c.Delay, 20)
	return nil
}

// image makes a section an Image.
func (p *parser) image(s section) (Image, error) {
	im := Image{
		Line: s.line, Kernel: s.image, Label: s.values["label"].text, Alias: s.values["alias"].text,
		Initrd: p.inherit(s, "initrd").text, Root: p.inherit(s, "root").text,
		Optional: p.flag(s, "optional"), SingleKey: p.flag(s, "single-key"), Lock: p.flag(s, "lock"),
		Fallback: p.inherit(s, "fallback").text, LastResort: has(s.values, "last-resort"),
	}
	if im.Label == "" {
		im.Label = path.Base(s.image)
		im.Label = im.Label[:min(len(im.Label), MaxLabel)]
	}
	if v := p.inherit(s, "initrd"); v.line != 0 && v.text != "" && !strings.HasPrefix(v.text, "/") {
		return Image{}, p.fail(v.line, "initrd=%s: want a path that begins with /", v.text)
	}
	if v := p.inherit(s, "vga"); v.line != 0 {
		mode, err := parseVideo(v.text)
		if err != nil {
			return Image{}, p.fail(v.line, "vga=%.40s: %v", v.text, err)
		}
		im.Video = &mode
	}
	p.commandLine(s, &im)
	return im, p.protect(s, &im)
}

// commandLine reads the options that make the kernel's command line.
func (p *parser) commandLine(s section, im *Image) {
	im.Append = p.inherit(s, "append").text
	if v, ok := s.values["addappend"]; ok {
		im.Append = strings.TrimSpace(im.Append + " " + v.text)
	}
	if v := p.inherit(s, "literal"); v.line != 0 {
		im.Literal = &v.text
	}
	for _, values := range []map[string]value{p.sections[0].values, s.values} {
		ro, isRO := values["read-only"]
		rw, isRW := values["read-write"]
		switch {
		case isRO && (!isRW || ro.line > rw.line):
			im.Mount = "ro"
		case isRW:
			im.Mount = "rw"
		}
	}
}

// protect reads the options of the password.
func (p *parser) protect(s section, im *Image) error {
	v := p.inherit(s, "password")
	own := s.values
	if v.line == 0 {
		for _, name := range []string{"restricted", "mandatory", "bypass"} {
			if w, ok := own[name]; ok && name != "bypass" {
				return p.fail(w.line, "%s without a password=", name)
			}
		}
		return nil
	}
	if v.text == "" {
		return p.fail(v.line, `password="" asks for it when lilo runs, which no hook can answer: give the password, and make the file mode 0600`)
	}
	im.Password = v.text
	switch g := p.sections[0].values; {
	case has(own, "bypass"):
		im.Password = ""
		im.Protect = Open
	case has(own, "mandatory"):
		im.Protect = Mandatory
	case has(own, "restricted"), has(g, "restricted") && !has(g, "mandatory"):
		im.Protect = Restricted
	default:
		im.Protect = Mandatory
	}
	return nil
}

// names checks labels and aliases, and that the default is one of them.
func (p *parser) names(c *Config) error {
	seen := map[string]int{}
	for _, im := range c.Images {
		for _, name := range []string{im.Label, im.Alias} {
			if name == "" {
				continue
			}
			if err := checkLabel(name); err != nil {
				return p.fail(im.Line, "the image's label %.40q: %v", name, err)
			}
			low := strings.ToLower(name)
			if line, ok := seen[low]; ok {
				return p.fail(im.Line, "the label %q already belongs to the image in line %d", name, line)
			}
			seen[low] = im.Line
		}
	}
	if c.Default != "" && c.Find(c.Default) == nil {
		names := make([]string, len(c.Images))
		for i := range c.Images {
			names[i] = c.Images[i].Label
		}
		slices.Sort(names)
		p.alert(c.DefaultLine, "default=%s: no image has this label, so the first one boots; there are %s", c.Default, strings.Join(names, ", "))
	}
	return nil
}

// lastResort refuses copies of two images in one place, and those that would be
// written over files of another image.
func (p *parser) lastResort(c *Config) error {
	own := c.LastResort()
	if own == nil {
		return nil
	}
	for i := range c.Images {
		im := &c.Images[i]
		switch {
		case im == own:
		case im.LastResort:
			return p.fail(im.Line, "last-resort is there twice: the image in line %d has it already", own.Line)
		case slices.ContainsFunc([]string{im.Kernel, im.Initrd}, func(f string) bool { return f != "" && (f == own.Kernel || f == own.Initrd) }):
			return p.fail(own.Line, "the files of last-resort are copies that lilo writes: the image in line %d has one of the same name", im.Line)
		}
	}
	return nil
}

// inherit returns an image's option, or else the global one.
func (p *parser) inherit(s section, name string) value {
	if v, ok := s.values[name]; ok {
		return v
	}
	return p.sections[0].values[name]
}

func (p *parser) flag(s section, name string) bool { return p.inherit(s, name).line != 0 }

func has(values map[string]value, name string) bool {
	_, ok := values[name]
	return ok
}
