package adapt

import (
	"cmp"
	"slices"
	"strings"

	"esxodus/convert/guest"
)

const resumeFile = "/etc/initramfs-tools/conf.d/resume"

// resume has initrds look for a hibernated system on the swap's new place, or
// not at all, instead of waiting for one that is gone.
func (b *builder) resume() {
	if b.family.dracut {
		return // makes its initrds anew
	}
	swap, moved := b.swap()
	file := b.c.Files[resumeFile]
	old := strings.TrimSpace(guest.Assignments(file.Text)["RESUME"])
	auto := old == "" || old == "auto"
	if old == "none" || auto && !moved {
		return
	}
	if m, vanishes := b.places.find(old); !auto && m != nil && !vanishes && m.Device() == old {
		return
	}
	b.newResume = cmp.Or(swap, "none")
	if auto {
		return // the next initrd finds out by itself
	}
	b.change(resumeFile, assign(file.Text, "RESUME", b.newResume), "the swap has another name in the new layout")
	b.entry("guest.resume", old, b.newResume, "where initrds look for a hibernated system")
}

// swap is the name of the guest's only swap, "" where there is none or more
// than one, and whether any swap has moved.
func (b *builder) swap() (name string, moved bool) {
	var names []string
	for i := range b.places.moves {
		m := &b.places.moves[i]
		if m.Content != "swap" {
			continue
		}
		moved = moved || m.From != m.To
		if m.To != "" {
			names = append(names, stable(m))
		}
	}
	if len(names) != 1 {
		return "", moved
	}
	return names[0], moved
}

// assign sets a variable in a file in the shell's syntax: its last assignment
// changes, all else stays.
func assign(text, key, value string) string {
	lines := slices.Collect(strings.Lines(text))
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(strings.TrimLeft(lines[i], " \t"), key+"=") {
			lines[i] = key + "=" + value + "\n"
			return strings.Join(lines, "")
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + key + "=" + value + "\n"
}
