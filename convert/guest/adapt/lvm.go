package adapt

import (
	"fmt"
	"regexp"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

const (
	lvmConf       = "/etc/lvm/lvm.conf"
	systemDevices = "/etc/lvm/devices/system.devices"
)

// lvmDevices removes LVM's list of disks, which names those of the old bus:
// without one it looks at all.
func (b *builder) lvmDevices() {
	f, ok := b.c.Files[systemDevices]
	if !ok || !b.lvm() {
		return
	}
	b.out.Edits = append(b.out.Edits, guest.Edit{Path: f.Path, Remove: true, Old: f.Text, Reason: "it lists disks by names of their old bus; without it LVM looks at all disks"})
	b.entry("guest.lvm.devices", systemDevices, "", "it lists disks by names of their old bus; lvmdevices --adddev makes a new one")
}

// lvmFilter refuses a guest whose lvm.conf hides whole disks: LVM would not
// find the root. The initrd has a copy of the file, so that an edit is not
// enough.
func (b *builder) lvmFilter() {
	f, ok := b.c.Files[lvmConf]
	if !ok || !b.lvm() {
		return
	}
	filters := lvmFilters(f.Text)
	for _, key := range []string{"filter", "global_filter"} {
		patterns := filters[key]
		virtio, scsi := lvmAccepts(patterns, "/dev/vda"), lvmAccepts(patterns, "/dev/sda")
		evidence := fmt.Sprintf("%s of %s is %s", key, lvmConf, strings.Join(patterns, " "))
		switch {
		case virtio && scsi:
		case !virtio && !scsi:
			b.concern(ConcernLVM, ledger.Blocker, lvmConf, evidence+": it hides whole disks, where the volume groups will be",
				"take it out, or put a|^/dev/[sv]d[a-z]+$| at its start; then run update-initramfs -u -k all (dracut -f --regenerate-all), as initrds have a copy")
		default:
			hidden := map[bool]string{true: "SCSI", false: "virtio-blk"}[virtio]
			b.concern(ConcernLVM, ledger.Warning, lvmConf, evidence+": it hides "+hidden+" disks",
				"the boot proof shows whether it matters; put a|^/dev/[sv]d[a-z]+$| at its start, and run update-initramfs -u -k all (dracut -f --regenerate-all)")
		}
	}
}

// lvmFilters returns the patterns of filter and global_filter in an lvm.conf,
// as lvm.conf(5) has them; of two assignments the last counts.
func lvmFilters(text string) map[string][]string {
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

// lvmTokens are what an lvm.conf is made of: comments, strings, words, signs.
var lvmTokens = regexp.MustCompile(`^(?:\s+|#[^\n]*|"(?:\\.|[^"\\])*"|'[^']*'|[^\s#"'=\[\],{}]+|.)`)

// lvmToken returns the first token that is neither blank nor a comment, and
// what is behind it.
func lvmToken(text string) (token, rest string) {
	for text != "" {
		token = lvmTokens.FindString(text)
		text = text[len(token):]
		if token == "" {
			return "", ""
		}
		if token[0] != '#' && strings.TrimSpace(token) != "" {
			return token, text
		}
	}
	return "", ""
}

// lvmAccepts applies a filter to a device's name: of the patterns the first
// that matches decides; without one the device is taken. A pattern that isn't
// understood decides for a refusal.
func lvmAccepts(patterns []string, name string) bool {
	ends := map[byte]string{'(': ")", '[': "]", '{': "}"}
	for _, p := range patterns {
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
