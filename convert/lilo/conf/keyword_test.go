package conf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeywords has each keyword that the recipe lists, with the fate that it
// has there: one that is used changes the configuration, one that is ignored
// doesn't and isn't told of, one that is warned of is told of, and one that is
// refused is an error. KEY in the file stands for the keyword's own line.
func TestKeywords(t *testing.T) {
	const (
		before  = "KEY\nimage=/vmlinuz\n\tlabel=a\n"
		within  = "image=/vmlinuz\n\tlabel=a\n\tKEY\n"
		guarded = "password=x\n"
	)
	tests := []struct {
		name, line string
		fate       fate
		file       string
	}{
		{"boot", "boot=/dev/vda", used, before},
		{"map", "map=/boot/other", used, before},
		{"default", "default=b", used, before + "image=/b\n\tlabel=b\n"},
		{"timeout", "timeout=50", used, before},
		{"delay", "delay=50", used, before},
		{"prompt", "prompt", used, before},
		{"root", "root=current", used, before},
		{"root", `root="UUID=1-2"`, used, within},
		{"root", `root="LABEL=x y"`, used, within},
		{"append", "append=quiet", used, before},
		{"append", "append=quiet", used, within},
		{"addappend", "addappend=quiet", used, within},
		{"literal", "literal=quiet", used, within},
		{"read-only", "read-only", used, before},
		{"read-write", "read-write", used, within},
		{"initrd", "initrd=/initrd.img", used, before},
		{"initrd", "initrd=/initrd.img", used, within},
		{"image", "image=/other", used, within},
		{"label", "label=b", used, "image=/vmlinuz\n\tKEY\n"},
		{"alias", "alias=b", used, within},
		{"optional", "optional", used, before},
		{"optional", "optional", used, within},
		{"last-resort", "last-resort", used, within},
		{"vga", "vga=normal", used, before},
		{"vga", "vga=ext", used, within},
		{"vga", "vga=ask", used, within},
		{"vga", "vga=0x317", used, within},
		{"serial", "serial=0,9600n8", used, before},
		{"message", "message=/boot/text", used, before},
		{"password", "password=x", used, before},
		{"password", "password=x", used, within},
		{"restricted", "restricted", used, guarded + before},
		{"restricted", "restricted", used, guarded + within},
		{"mandatory", "mandatory", used, guarded + "restricted\n" + before},
		{"mandatory", "mandatory", used, guarded + "restricted\n" + within},
		{"bypass", "bypass", used, guarded + within},
		{"single-key", "single-key", used, before},
		{"single-key", "single-key", used, within},
		{"lock", "lock", used, before},
		{"lock", "lock", used, within},
		{"fallback", "fallback=b", used, within},
		{"verbose", "verbose=3", used, before},
		{"nowarn", "nowarn", used, before},
		{"backup", "backup=/boot/old", used, before},

		{"lba32", "lba32", ignored, before},
		{"compact", "compact", ignored, before},
		{"large-memory", "large-memory", ignored, before},
		{"install", "install=text", ignored, before},
		{"install", "install=menu", ignored, before},
		{"install", "install=bmp", ignored, before},
		{"menu-title", `menu-title="x y"`, ignored, before},
		{"menu-scheme", "menu-scheme=wb", ignored, before},
		{"static-bios-codes", "static-bios-codes", ignored, before},
		{"bios-passes-dl", "bios-passes-dl", ignored, before},
		{"bios-passes-dl", "bios-passes-dl=unknown", ignored, before},
		{"nodevcache", "nodevcache", ignored, before},
		{"ignore-table", "ignore-table", ignored, before},
		{"unattended", "unattended", ignored, before},

		{"linear", "linear", warned, before},
		{"geometric", "geometric", warned, before},
		{"small-memory", "small-memory", warned, before},
		{"bitmap", "bitmap=/boot/x.bmp", warned, before},
		{"bmp-colors", "bmp-colors=1,2,3", warned, before},
		{"bmp-table", "bmp-table=1,2", warned, before},
		{"bmp-timer", "bmp-timer=1,2", warned, before},
		{"bmp-retain", "bmp-retain", warned, before},
		{"bmp-retain", "bmp-retain", warned, within},
		{"vmdefault", "vmdefault=a", warned, before},
		{"nokbdefault", "nokbdefault=a", warned, before},
		{"nokbdisable", "nokbdisable", warned, within},
		{"disk", "disk=/dev/sda", warned, before},
		{"bios", "bios=0x80", warned, before},
		{"inaccessible", "inaccessible", warned, before},
		{"disktab", "disktab=/etc/disktab", warned, before},
		{"fix-table", "fix-table", warned, before},

		{"other", "other=/dev/sda1", refused, before},
		{"loader", "loader=/boot/chain.b", refused, within},
		{"table", "table=/dev/sda", refused, within},
		{"change", "change", refused, within},
		{"map-drive", "map-drive=0x80", refused, within},
		{"boot-as", "boot-as=0x80", refused, within},
		{"master-boot", "master-boot", refused, within},
		{"raid-extra-boot", "raid-extra-boot=mbr", refused, before},
		{"range", "range=1-9", refused, within},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.line, "/", "_"), func(t *testing.T) {
			k, ok := keywords()[tt.name]
			if ok = ok || tt.name == "image"; !ok || k.fate != tt.fate {
				t.Errorf("known %v, fate %d; want true, %d", ok, k.fate, tt.fate)
			}
			without, err := Parse("f", []byte(strings.Replace(tt.file, "KEY", "#", 1)))
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("f", []byte(strings.Replace(tt.file, "KEY", tt.line, 1)))
			if tt.fate == refused {
				if err == nil || !strings.Contains(err.Error(), ": "+tt.name+" is not supported: ") {
					t.Errorf("Parse = %v; want it refused", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if warns := len(c.Warnings) == 1 && strings.HasPrefix(c.Warnings[0].Text, tt.name+" is ignored: "); warns != (tt.fate == warned) || !warns && len(c.Warnings) > 0 {
				t.Errorf("warnings %v", c.Warnings)
			}
			c.Warnings = nil
			if diff := cmp.Diff(without, c); (diff != "") != (tt.fate == used) {
				t.Errorf("what it changes:\n%s", diff)
			}
		})
	}
	if _, err := Parse("f", []byte("\nno-such-keyword=1\n")); err == nil || err.Error() != `f:2: unknown keyword "no-such-keyword"` {
		t.Errorf("an unknown keyword: %v; want an error with its line", err)
	}
}

// TestKeywordsOfLILO holds that each keyword of LILO 24, by the tables of its
// cfg.c, is known where it may stand there, with a value if it has one there;
// and that there are no others but ours.
func TestKeywordsOfLILO(t *testing.T) {
	known := map[string]bool{}
	for _, tt := range []struct {
		where int
		value bool
		words string
	}{
		{global, true, "append backup bios-passes-dl bitmap bmp-colors bmp-table bmp-timer boot boot-as default delay disk disktab fallback " +
			"force-backup initrd install keytable loader map menu-scheme menu-title message nokbdefault password raid-extra-boot ramdisk root " +
			"serial timeout verbose vga vmdefault"},
		{global, false, "bmp-retain change-rules compact el-torito-bootable-cd fix-table geometric ignore-table large-memory lba32 linear lock " +
			"mandatory master-boot nodevcache noraid nowarn optional prompt read-only read-write restricted single-key small-memory " +
			"static-bios-codes suppress-boot-time-bios-data unattended"},
		{image, true, "addappend alias append fallback initrd label literal password ramdisk range root vga"},
		{image, false, "last-resort"}, // ours
		{image, false, "bmp-retain bypass lock mandatory nokbdisable optional read-only read-write restricted single-key vmdisable vmwarn"},
		// In sections of other systems, of disks, partitions and changes.
		{both, true, "other boot-as loader map-drive to table type hidden normal set"},
		{both, false, "change unsafe master-boot reset automatic activate deactivate"},
		{global, true, "bios cylinders heads max-partitions sectors partition start"},
		{global, false, "inaccessible"},
	} {
		for word := range strings.FieldsSeq(tt.words) {
			known[word] = true
			k, ok := keywords()[word]
			if !ok || k.where&tt.where != tt.where || tt.value && k.value == never || !tt.value && k.value == always {
				t.Errorf("%s: %+v, known: %v; want it in %d, with a value: %v", word, k, ok, tt.where, tt.value)
			}
		}
	}
	for word := range keywords() {
		if !known[word] {
			t.Errorf("%s is no keyword of LILO's", word)
		}
	}
}
