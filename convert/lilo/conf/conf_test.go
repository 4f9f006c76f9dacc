package conf

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const debian = `# /etc/lilo.conf
boot=/dev/disk/by-id/lvm-pv-uuid-4b5ppg-Gf0s-1cS0-0cQ2-Vw3E-fC1d-Abcdef
map=/boot/map
LBA32
compact
install=menu
menu-title=" web "
prompt
timeout=50
serial=0,115200n8
root=/dev/mapper/vgsys-root
append="console=tty0 console=ttyS0,115200"
vga = 0x317
read-only
default=Linux

image=/vmlinuz   # the newest
	label=Linux
	alias=l
	initrd=/initrd.img
image=/vmlinuz.old
	label="LinuxOLD"
	initrd=/initrd.img.old
	addappend=single
	optional
	read-write
	vga=ask
`

func TestParse(t *testing.T) {
	c, err := Parse("lilo.conf", []byte(debian))
	if err != nil {
		t.Fatal(err)
	}
	mode, ask := uint16(0x317), uint16(VideoAsk)
	want := &Config{
		File: "lilo.conf", Boot: "/dev/disk/by-id/lvm-pv-uuid-4b5ppg-Gf0s-1cS0-0cQ2-Vw3E-fC1d-Abcdef", Map: "/boot/map",
		Default: "Linux", DefaultLine: 15, Timeout: 50, Delay: 20, Prompt: true,
		Serial: &Serial{Port: 0, Speed: 115200, Parity: 'n', Bits: 8},
		Images: []Image{
			{
				Line: 17, Kernel: "/vmlinuz", Initrd: "/initrd.img", Label: "Linux", Alias: "l",
				Root: "/dev/mapper/vgsys-root", Mount: "ro", Append: "console=tty0 console=ttyS0,115200", Video: &mode,
			},
			{
				Line: 21, Kernel: "/vmlinuz.old", Initrd: "/initrd.img.old", Label: "LinuxOLD", Optional: true,
				Root: "/dev/mapper/vgsys-root", Mount: "rw", Append: "console=tty0 console=ttyS0,115200 single", Video: &ask,
			},
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	image := "image=/vmlinuz\nlabel=Linux\n"
	for _, tt := range []struct {
		name, in, err string
	}{
		{"empty", "", "lilo.conf: no image= line: there is nothing to boot"},
		{"unknown keyword", "boot=/dev/vda\nbooot=/dev/vda\n" + image, `lilo.conf:2: unknown keyword "booot"`},
		{"no keyword", "=3", "lilo.conf:1: an equal sign with no keyword before it"},
		{"string for keyword", "\n\"boot\"=3", `lilo.conf:2: the string "boot" where a keyword should be`},
		{"ends after equal sign", image + "append=", "lilo.conf:3: the file ends after append="},
		{"open quotes", "append=\"a\n", "lilo.conf:1: an end of line in a quoted string: close the quotes on the same line, or end it with a backslash"},
		{"open quotes at the end", "\nappend=\"a", "lilo.conf:2: the quotes that begin here are never closed"},
		{"tab in quotes", "append=\"a\tb\"", "lilo.conf:1: a tab in a quoted string: close the quotes on the same line, or end it with a backslash"},
		{"bad escape", `append="a\n"`, `lilo.conf:1: in quotes a backslash may only stand before ", before \ and at the end of a line`},
		{"escape at the end", `append="a\`, "lilo.conf:1: the file ends after a backslash"},
		{"control character", "append=a\x1bb", "lilo.conf:1: the control character 0x1b in a word"},
		{"long word", "append=" + strings.Repeat("x", 2048), "lilo.conf:1: a word of more than 2047 bytes"},
		{"long string", "append=\"" + strings.Repeat("x", 2048) + `"`, "lilo.conf:1: a quoted string of more than 2047 bytes"},
		{"value of a flag", "prompt=yes\n" + image, `lilo.conf:1: prompt takes no value, and has "yes"`},
		{"no value", "timeout\n" + image, "lilo.conf:1: timeout needs a value: timeout=..."},
		{"global in an image", image + "timeout=5", "lilo.conf:3: timeout is a global option: move it before the first image="},
		{"label before images", "label=x\n" + image, "lilo.conf:1: label belongs to an image: move it after an image= line"},
		{"twice", image + "append=a\nappend=b", "lilo.conf:4: append appears twice in this section: line 3 already has it"},
		{"other system", "other=/dev/sda1\n", "lilo.conf:1: other is not supported: this LILO boots only Linux images, not the boot sectors of other systems"},
		{"other in an image", image + "loader=chain", "lilo.conf:3: loader is not supported: this LILO boots only Linux images, not the boot sectors of other systems"},
		{"range", image + "range=1-2", "lilo.conf:3: range is not supported: an image is a file; a range of a device can't be checked"},
		{"raid-extra-boot", "raid-extra-boot=mbr-only", "lilo.conf:1: raid-extra-boot is not supported: the disk with the boot sector is one disk, not a RAID array"},
		{"relative image", "image=vmlinuz", "lilo.conf:1: image=vmlinuz: want a path that begins with /"},
		{"relative initrd", image + "initrd=initrd", "lilo.conf:3: initrd=initrd: want a path that begins with /"},
		{"relative map", "map=map\n" + image, "lilo.conf:1: map=map: want a path that begins with /"},
		{"image without path", "image\n", "lilo.conf:1: image= needs the path of a kernel"},
		{"timeout", "timeout=5s\n" + image, "lilo.conf:1: timeout=5s: want a number from 0 to 36000"},
		{"negative delay", "delay=-1\n" + image, "lilo.conf:1: delay=-1: want a number from 0 to 36000"},
		{"vga", "vga=big\n" + image, "lilo.conf:1: vga=big: want normal, ext, ask or a number up to 65535"},
		{"serial port", "serial=4\n" + image, `lilo.conf:1: serial=4: the port "4" is not 0 to 3`},
		{"serial speed", "serial=0,12\n" + image, `lilo.conf:1: serial=0,12: the speed "12" is not one of 110, 150, 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200`},
		{"serial parity", "serial=0,9600x\n" + image, `lilo.conf:1: serial=0,9600x: the parity "x" is not n, o or e`},
		{"serial bits", "serial=0,9600n9\n" + image, `lilo.conf:1: serial=0,9600n9: "9" bits: want 7 or 8`},
		{"long label", "image=/v\nlabel=0123456789abcdef", `lilo.conf:1: the image's label "0123456789abcdef": 16 characters long, at most 15 can be`},
		{"label with a space", "image=/v\nlabel=\"a b\"", "lilo.conf:1: the image's label \"a b\": want ASCII letters, digits and signs without spaces, =, \" and #"},
		{"two last resorts", image + "last-resort\nimage=/b\nlast-resort", "lilo.conf:4: last-resort is there twice: the image in line 1 has it already"},
		{"last resort over another's initrd", image + "initrd=/i\nimage=/b\ninitrd=/i\nlast-resort", "lilo.conf:4: the files of last-resort are copies that lilo writes: the image in line 1 has one of the same name"},
		{"last resort before all", "last-resort\n" + image, "lilo.conf:1: last-resort belongs to an image: move it after an image= line"},
		{"same label", image + "image=/b\nlabel=LINUX", `lilo.conf:3: the label "LINUX" already belongs to the image in line 1`},
		{"alias is a label", image + "image=/b\nlabel=b\nalias=linux", `lilo.conf:3: the label "linux" already belongs to the image in line 1`},
		{"asked password", "password=\"\"\n" + image, `lilo.conf:1: password="" asks for it when lilo runs, which no hook can answer: give the password, and make the file mode 0600`},
		{"restricted without password", image + "restricted", "lilo.conf:3: restricted without a password="},
		{"too many images", strings.Repeat("image=/v\n", MaxImages+1), "lilo.conf:33: more than 32 images"},
		{"too long", strings.Repeat("#", MaxSize+1), "lilo.conf: 262145 bytes long; at most 262144 can be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("lilo.conf", []byte(tt.in))
			if err == nil || err.Error() != tt.err {
				t.Errorf("Parse = %+v, %v; want error %s", c, err, tt.err)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		name, in, append string
	}{
		{"word", "append=quiet", "quiet"},
		{"equal signs in a value", "append=root=UUID=12-34", "root=UUID=12-34"},
		{"spaces around", "append  =\t quiet", "quiet"},
		{"over lines", "append\n=\nquiet", "quiet"},
		{"string", `append="a b=c"`, "a b=c"},
		{"hash in a string", `append="a#b"`, "a#b"},
		{"comment", "append=a#b", "a"},
		{"escaped space", `append=a\ b`, "a b"},
		{"escaped end of line", "append=a\\\nb", "ab"},
		{"escaped quotes", `append="a=\"b c\" \\"`, `a="b c" \`},
		{"string over lines", "append=\"a\\\n   b\"", "a b"},
		{"empty string", `append=""`, ""},
		{"bytes of other alphabets", `append="é"`, "é"},
		{"Windows lines", "append=a\r\n", "a"},
		{"byte order mark", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("lilo.conf", []byte("\xef\xbb\xbf"+tt.in+"\nimage=/vmlinuz\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Images[0].Append; got != tt.append {
				t.Errorf("append = %q; want %q", got, tt.append)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse("lilo.conf", []byte("linear\nbitmap=/boot/x.bmp\ndisk=/dev/sda bios=0x80\nvmdefault=a\ndefault=gone\nimage=/boot/vmlinuz-6.1.0-18-amd64\nkeytable=/x\n"))
	if c != nil || err == nil {
		t.Errorf("keytable in an image: %v, want an error", err)
	}
	c, err = Parse("lilo.conf", []byte("linear\nbitmap=/boot/x.bmp\ndisk=/dev/sda bios=0x80\nvmdefault=a\ndefault=gone\nimage=/boot/vmlinuz-6.1.0-18-amd64\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Warning{
		{Line: 1, Text: "linear is ignored: disks are addressed only by sector numbers"},
		{Line: 2, Text: "bitmap is ignored: there are no pictures: the menu is text"},
		{Line: 3, Text: "disk is ignored: the loader boots from the disk that it is on, whatever number the BIOS gives it"},
		{Line: 3, Text: "bios is ignored: the loader boots from the disk that it is on, whatever number the BIOS gives it"},
		{Line: 4, Text: "vmdefault is ignored: no image is left out in a virtual machine: default= is what boots"},
		{5, "default=gone: no image has this label, so the first one boots; there are vmlinuz-6.1.0-1", true},
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestBackup(t *testing.T) {
	type backup struct {
		Path  string
		Force bool
	}
	for in, want := range map[string]backup{
		"":                                 {},
		"backup=/a":                        {"/a", false},
		"force-backup=/b":                  {"/b", true},
		"backup=/a\nforce-backup=/b":       {"/b", true},
		"force-backup=/b\nbackup=/a":       {"/b", true},
		"force-backup=\"\"\nbackup=\"/a\"": {"/a", false},
	} {
		c, err := Parse("lilo.conf", []byte(in+"\nimage=/vmlinuz"))
		if err != nil {
			t.Fatal(err)
		}
		if got := (backup{c.Backup, c.ForceBackup}); got != want {
			t.Errorf("%q: %+v; want %+v", in, got, want)
		}
	}
}

func TestTimeout(t *testing.T) {
	for in, want := range map[string]int{"": 0, "timeout=0": 1, "timeout=1": 1, "timeout=36000": 36000} {
		c, err := Parse("lilo.conf", []byte(in+"\nimage=/vmlinuz"))
		if err != nil || c.Timeout != want {
			t.Errorf("%s: %+v, %v; want %d tenths", in, c, err, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, global, image, want string
	}{
		{"nothing", "", "", ""},
		{"all", "root=/dev/a\nread-only\nappend=x", "", "root=/dev/a ro x"},
		{"own options win", "root=/dev/a\nread-only\nappend=x", "root=\"LABEL=b\" read-write append=y", "root=LABEL=b rw y"},
		{"current", "root=current", "", "root=/dev/mapper/vg-root"},
		{"added", "append=x", "addappend=y", "x y"},
		{"added to nothing", "", "addappend=y", "y"},
		{"literal", "root=current read-only append=x", "literal=\"only this\"", "only this"},
		{"global literal", "root=current literal=z", "", "z"},
		{"both mounts, the last one", "read-write\nread-only", "", "ro"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("lilo.conf", []byte(tt.global+"\nimage=/vmlinuz\n"+tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Images[0].CommandLine("/dev/mapper/vg-root"); got != tt.want {
				t.Errorf("command line = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestProtection(t *testing.T) {
	for _, tt := range []struct {
		name, global, image string
		password            string
		want                Protection
	}{
		{"none", "", "", "", Open},
		{"global", "password=a", "", "a", Mandatory},
		{"global and restricted", "password=a restricted", "", "a", Restricted},
		{"restricted in the image", "password=a", "restricted", "a", Restricted},
		{"mandatory in the image", "password=a restricted", "mandatory", "a", Mandatory},
		{"bypassed", "password=a", "bypass", "", Open},
		{"its own", "password=a", "password=b", "b", Mandatory},
		{"bypass without password", "", "bypass", "", Open},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("lilo.conf", []byte(tt.global+"\nimage=/vmlinuz\n"+tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if im := c.Images[0]; im.Password != tt.password || im.Protect != tt.want {
				t.Errorf("password %q, protection %d; want %q, %d", im.Password, im.Protect, tt.password, tt.want)
			}
		})
	}
}

func TestSerial(t *testing.T) {
	for in, want := range map[string]Serial{
		"0":          {0, 2400, 'n', 8},
		"1,9600":     {1, 9600, 'n', 8},
		"3,115200E7": {3, 115200, 'e', 7},
		"0,300o":     {0, 300, 'o', 7},
		"0,300n":     {0, 300, 'n', 8},
	} {
		if got, err := parseSerial(in); err != nil || got != want {
			t.Errorf("parseSerial(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// FuzzParse holds that no file makes the parser fail otherwise than with an
// error that has a line of the file, and that what it takes is within limits.
func FuzzParse(f *testing.F) {
	f.Add(debian)
	f.Add("image=/a\nappend=\"\\\"\\\\ \\\n x\"")
	f.Add("disk=/dev/sda\nbios=0x80\nother=x")
	f.Add("password=x restricted\nimage=/a bypass single-key lock fallback=b")
	f.Add("serial=3,9600e7 vga=0x10 timeout=1\nimage=/\\\n/")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", []byte(text))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 0 || e.Line > strings.Count(text, "\n")+1 {
				t.Errorf("error %q of %T, of no line of the file", err, err)
			}
			return
		}
		if len(c.Images) == 0 || len(c.Images) > MaxImages {
			t.Errorf("%d images", len(c.Images))
		}
		for i := range c.Images {
			im := &c.Images[i]
			if im.Label == "" || len(im.Label) > MaxLabel || c.Find(im.Label) != im {
				t.Errorf("label %q", im.Label)
			}
			if n := len(im.CommandLine("")); n > 3*maxToken+10 {
				t.Errorf("command line of %d bytes", n)
			}
		}
	})
}
