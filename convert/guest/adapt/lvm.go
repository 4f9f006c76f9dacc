package adapt

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

const (
	lvmConf       = "/etc/lvm/lvm.conf"
	lvmLocalConf  = "/etc/lvm/lvmlocal.conf"
	systemDevices = "/etc/lvm/devices/system.devices"
)

// lvmDevices removes LVM's list of disks, which names those of the old bus:
// without one it looks at all.
func (b *builder) lvmDevices() {
	f, ok := b.c.Files[systemDevices]
	if !ok || !b.lvm() {
		return
	}
	b.out.Edits = append(b.out.Edits, guest.Edit{Path: f.Path, Remove: true, Old: f.Text, Reason: "it lists disks by names from their old bus; without it LVM uses all disks"})
	b.entry("guest.lvm.devices", systemDevices, "", "it lists disks by names from their old bus; lvmdevices --adddev makes a new file")
}

// lvmFilter refuses a guest whose LVM configuration hides whole disks: LVM
// would not find the root. The initrd has a copy of the file, so that an edit
// is not enough. Where disks of one kind of name are taken, the domain's must
// be of that kind.
func (b *builder) lvmFilter() {
	if !b.lvm() {
		return
	}
	filters := lvmFilters(b.c)
	hideVirtio, hideSCSI := hiding(filters, "/dev/vda"), hiding(filters, "/dev/sda")
	switch {
	case hideVirtio != nil && hideSCSI != nil:
		evidence := hideVirtio.String()
		if hideSCSI != hideVirtio {
			evidence += ", " + hideSCSI.String()
		}
		b.concern(ConcernLVM, ledger.Blocker, hideVirtio.file, evidence+": it hides whole disks, where the volume groups will be", "remove it, or "+lvmAccept)
	case hideVirtio != nil:
		b.out.OnlyDisks = onlySD(hideVirtio)
		b.concern(ConcernLVM, ledger.Note, hideVirtio.file, hideVirtio.String()+": it hides virtio-blk disks, so that the domain's are on a bus where they are sda, sdb …",
			"for virtio-blk, which is faster, plan again after this: "+lvmAccept)
	case hideSCSI != nil: // fine on virtio-blk; the domain warns if its disks are elsewhere
		b.out.OnlyDisks = guest.OnlyDisks{Prefix: "vd", Reason: fit.Line(hideSCSI.String()) + ": LVM accepts virtio-blk's names"}
	}
}

// OnlyDisks says what a guest that stays as it is allows its disks to be
// called: a filter may take the partitions of SCSI disks alone, or no name
// that any bus gives.
func OnlyDisks(g guest.Guest) guest.OnlyDisks {
	filters := lvmFilters(g.Config)
	for _, group := range g.Groups {
		for _, pv := range group.PVs {
			i := slices.IndexFunc(g.Disks, func(d guest.DiskLayout) bool { return d.Address == pv.Disk })
			if i < 0 || i > 'z'-'a' {
				continue
			}
			name := string(rune('a' + i))
			if pv.Partition > 0 {
				name += strconv.Itoa(pv.Partition)
			}
			f := hiding(filters, "/dev/vd"+name)
			switch {
			case f == nil:
			case hiding(filters, "/dev/sd"+name) == nil:
				return onlySD(f)
			default:
				return guest.OnlyDisks{Prefix: "disk/", Reason: fit.Line(f.String()) + ": LVM accepts neither virtio-blk's names nor SCSI's, only names such as /dev/disk/by-id/…, which change"}
			}
		}
	}
	return guest.OnlyDisks{}
}

func onlySD(f *lvmFilter) guest.OnlyDisks {
	return guest.OnlyDisks{Prefix: "sd", Reason: fit.Line(f.String()) + ": LVM accepts SCSI names"}
}

// lvmAccept is how a guest is made to take disks of either kind.
const lvmAccept = "put a|^/dev/[sv]d[a-z]+$| at its start; then run update-initramfs -u -k all (dracut -f --regenerate-all), as initrds have a copy"

// lvmFilter is filter or global_filter of LVM's configuration.
type lvmFilter struct {
	key, file string
	patterns  []string
}

func (f *lvmFilter) String() string {
	return fmt.Sprintf("%s of %s is %s", f.key, f.file, strings.Join(f.patterns, " "))
}

// hiding returns the first filter that hides a device, nil where none does.
func hiding(filters []lvmFilter, name string) *lvmFilter {
	for i := range filters {
		if !filters[i].accepts(name) {
			return &filters[i]
		}
	}
	return nil
}

// lvmFilters returns the filters that count: those of lvmlocal.conf come before
// those of lvm.conf (lvm.conf(5)).
func lvmFilters(c guest.Config) []lvmFilter {
	var out []lvmFilter
	for _, key := range []string{"filter", "global_filter"} {
		for _, file := range []string{lvmLocalConf, lvmConf} {
			if patterns, set := lvmAssigned(c.Files[file].Text)[key]; set {
				out = append(out, lvmFilter{key, file, patterns})
				break
			}
		}
	}
	return out
}

// lvmAssigned returns the patterns of filter and global_filter in a file of
// LVM's configuration, of those that it sets; of two assignments the last
// counts.
func lvmAssigned(text string) map[string][]string {
	filters := map[string][]string{}
	for text != "" {
		var word string
		word, text = lvmToken(text)
		key := word[strings.LastIndexByte(word, '/')+1:] // "devices/filter" outside of its section
		if key != "filter" && key != "global_filter" {
			continue
		}
		if word, text = lvmToken(text); word != "=" {
			continue
		}
		filters[key] = nil
		word, text = lvmToken(text)
		if word != "[" {
			filters[key] = append(filters[key], strings.Trim(word, `"'`))
			continue
		}
		for text != "" {
			if word, text = lvmToken(text); word == "]" {
				break
			}
			if word != "," && word != "" {
				filters[key] = append(filters[key], strings.Trim(word, `"'`))
			}
		}
	}
	return filters
}

// lvmTokens are what an lvm.conf is made of, but for comments: strings, words, signs. A
// string without an end goes to the text's: were each of its quotes a sign, each
// would be looked for an end of.
var lvmTokens = regexp.MustCompile(`(?s)^(?:"(?:\\.|[^"\\])*(?:"|\\?$)|'[^']*(?:'|$)|[^\s#"'=\[\],{}]+|.)`)

// lvmToken returns the first token that is neither blank nor a comment, and
// what is behind it.
func lvmToken(text string) (token, rest string) {
	for {
		// Most of a file is comments, and the expression is slow.
		text = strings.TrimLeft(text, "\t\n\f\r ")
		if strings.HasPrefix(text, "#") {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		token = lvmTokens.FindString(text)
		text = text[len(token):]
		if token == "" {
			return "", ""
		}
		if strings.TrimSpace(token) != "" {
			return token, text
		}
	}
}

// accepts applies the filter to a device's name: of the patterns the first
// that matches decides; without one the device is taken. A pattern that isn't
// understood decides for a refusal.
func (f *lvmFilter) accepts(name string) bool {
	ends := map[byte]string{'(': ")", '[': "]", '{': "}"}
	for _, p := range f.patterns {
		if len(p) < 3 || p[0] != 'a' && p[0] != 'r' {
			return false
		}
		end, ok := ends[p[1]]
		if !ok {
			end = p[1:2]
		}
		expr, closed := strings.CutSuffix(p[2:], end)
		re, err := regexp.Compile(expr)
		if !closed || err != nil {
			return false
		}
		if re.MatchString(name) {
			return p[0] == 'a'
		}
	}
	return true
}
