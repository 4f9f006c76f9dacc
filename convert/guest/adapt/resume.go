package adapt

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"esxodus/convert/guest/conf"
)

// Where initramfs-tools is configured.
const (
	initramfsConf  = "/etc/initramfs-tools/initramfs.conf"
	initramfsConfs = "/etc/initramfs-tools/conf.d/"
)

// resume has initrds look for a hibernated system on the swap's new place, or
// not at all, instead of waiting for one that is gone.
func (initramfsTools) resume(b *builder) {
	last := "" // of several assignments the last one counts
	for _, name := range b.resumeFiles() {
		text := b.c.Files[name].Text
		old, set := conf.Assignments([]byte(text))["RESUME"]
		if !set {
			continue
		}
		last = strings.TrimSpace(old)
		b.newResume = b.resumePlace(last)
		if b.newResume == "" {
			continue
		}
		b.change(name, assign(text, "RESUME", b.newResume), "the swap has another name in the new layout")
		b.entry("guest.resume", last, b.newResume, "where initrds look for a hibernated system, by "+name)
	}
	// The next initrd finds out by itself, those that are there had it found out.
	if swap, moved := b.swap(); auto(last) && moved {
		b.newResume = cmp.Or(swap, "none")
	}
}

// resumeFiles lists the files that may set RESUME in the order in which they
// are read.
func (b *builder) resumeFiles() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(b.c.Files)) {
		if strings.HasPrefix(name, initramfsConfs) {
			out = append(out, name)
		}
	}
	if _, ok := b.c.Files[initramfsConf]; ok {
		out = slices.Insert(out, 0, initramfsConf)
	}
	return out
}

// auto reports whether the swap is found when an initrd is made.
func auto(resume string) bool { return resume == "" || resume == "auto" }

// resumePlace is what a RESUME= becomes, "" where it stays. It names a swap, or
// the file system that a swap file lies in, where resume_offset says.
func (b *builder) resumePlace(old string) string {
	if auto(old) || old == "none" {
		return ""
	}
	m, vanishes := b.places.find(old)
	switch {
	case m != nil && !vanishes && m.Device() == old:
		return ""
	case m != nil && m.To != "":
		return cmp.Or(b.places.stable(m), "none")
	}
	swap, _ := b.swap()
	return cmp.Or(swap, "none")
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
			names = append(names, b.places.stable(m))
		}
	}
	if len(names) != 1 {
		return "", moved
	}
	return names[0], moved
}

// assign sets a variable in a file in the shell's syntax: the value of its last
// assignment changes, all else stays.
func assign(text, key, value string) string {
	lines := slices.Collect(strings.Lines(text))
	for i := len(lines) - 1; i >= 0; i-- {
		indented := strings.TrimLeft(lines[i], " \t")
		if old, ok := strings.CutPrefix(indented, key+"="); ok {
			lines[i] = lines[i][:len(lines[i])-len(old)] + value + old[shellWord(old):]
			return strings.Join(lines, "")
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + key + "=" + value + "\n"
}

// shellWord is how long the word at the start of s is: to a blank outside of
// quotes.
func shellWord(s string) int {
	quote := rune(0)
	for i, c := range s {
		switch {
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && strings.ContainsRune(" \t\r\n;#", c):
			return i
		}
	}
	return len(s)
}
