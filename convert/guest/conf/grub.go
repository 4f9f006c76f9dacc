package conf

import (
	"slices"
	"strconv"
	"strings"
)

// BootEntry is an entry of a boot loader's menu.
type BootEntry struct {
	index   string // its place in the menu: "0", "1>2"
	Title   string
	id      string // --id, or a BLS file's name
	Image   string // the kernel, in the loader's words
	Cmdline string
	Other   string // the command by which it starts something that isn't Linux: "chainloader +1"
}

// ParseGrubCfg reads the entries that boot Linux and the default of a grub.cfg
// of GRUB 2. Only what matters here is understood: menuentry, submenu, linux,
// what starts other systems, and set default=. Conditions are not evaluated.
func ParseGrubCfg(b []byte) (entries []BootEntry, def string) {
	p := ReadGrubCfg(b)
	return p.entries, p.def
}

// ReadGrubCfg returns all that a grub.cfg has: its entries, the default, and what
// it starts besides Linux.
func ReadGrubCfg(b []byte) GrubCfg {
	p := GrubCfg{counts: []int{0}}
	for _, line := range Lines(b) {
		p.line(line)
	}
	return p
}

// startsOther reports whether a command of GRUB 2 starts what isn't Linux. A
// hypervisor that Linux runs on counts: LILO can't start it.
func startsOther(command string) bool {
	return slices.Contains([]string{
		"chainloader", "multiboot", "multiboot2", "ntldr", "freedos", "kfreebsd", "kopenbsd", "knetbsd", "xnu_kernel", "xnu_kernel64", "plan9",
	}, command)
}

// GrubCfg keeps where in nested menus a line stands.
type GrubCfg struct {
	entries []BootEntry // that boot Linux
	Others  []BootEntry // that start something else
	def     string
	counts  []int    // entries seen so far, per level of menu
	open    []string // blocks that are open: "menu", "entry" or "other"
	entry   BootEntry
}

func (p *GrubCfg) line(line string) {
	words := shellWords(line)
	if len(words) == 0 {
		return
	}
	menu := words[0] == "menuentry" || words[0] == "submenu"
	if at := slices.Index(words, "{"); menu && at > 0 {
		p.menu(words[0], words[1:at])
		words = words[at+1:] // what stands on the same line
	} else if menu {
		p.menu(words[0], words[1:])
		return
	}
	for len(words) > 0 {
		var command []string
		command, words = cutCommand(words)
		if len(command) > 0 {
			p.command(command)
		}
	}
}

// cutCommand cuts words behind the first command, which ends at a semicolon.
func cutCommand(words []string) (command, rest []string) {
	if at := slices.Index(words, ";"); at >= 0 {
		return words[:at], words[at+1:]
	}
	return words, nil
}

func (p *GrubCfg) command(words []string) {
	inside := slices.Contains(p.open, "entry")
	switch first := words[0]; {
	case first == "}":
		p.closeBlock()
	case words[len(words)-1] == "{":
		p.open = append(p.open, "other")
	case strings.HasPrefix(first, "linux") && len(words) > 1 && inside && p.entry.Cmdline == "":
		p.entry.Image, p.entry.Cmdline = words[1], kernelWords(words[2:])
	case startsOther(first) && inside && p.entry.Other == "":
		p.entry.Other = strings.Join(words, " ")
	case first == "set" && len(words) > 1:
		if v, ok := strings.CutPrefix(words[1], "default="); ok && v != "" && (p.def == "" || !strings.Contains(v, "$")) {
			p.def = v
		}
	}
}

const maxMenuDepth = 8

func (p *GrubCfg) menu(kind string, words []string) {
	level := len(p.counts) - 1
	index := strconv.Itoa(p.counts[level])
	for l := level - 1; l >= 0; l-- {
		index = strconv.Itoa(p.counts[l]-1) + ">" + index
	}
	p.counts[level]++
	if kind == "submenu" && len(p.counts) < maxMenuDepth {
		p.open = append(p.open, "menu")
		p.counts = append(p.counts, 0)
		return
	}
	p.open = append(p.open, "entry")
	p.entry = BootEntry{index: index}
	for i, w := range words {
		switch {
		case i == 0:
			p.entry.Title = w
		case (w == "--id" || w == "$menuentry_id_option" || w == "${menuentry_id_option}") && i+1 < len(words):
			p.entry.id = words[i+1]
		case strings.HasPrefix(w, "--id="):
			p.entry.id = w[len("--id="):]
		}
	}
}

func (p *GrubCfg) closeBlock() {
	if len(p.open) == 0 {
		return
	}
	kind := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	switch {
	case kind == "menu":
		p.counts = p.counts[:len(p.counts)-1]
	case kind == "entry" && p.entry.Cmdline != "":
		p.entries = append(p.entries, p.entry)
		p.entry = BootEntry{}
	case kind == "entry" && p.entry.Other != "":
		p.Others = append(p.Others, p.entry)
		p.entry = BootEntry{}
	}
}

// shellWords splits a line into words as the shell does, without expanding. A
// semicolon outside of quotes is a word.
func shellWords(line string) []string {
	var words []string
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		n := wordEnd(line)
		if line[0] == ';' {
			words = append(words, ";")
		} else {
			words = append(words, unquote(line[:n]))
		}
		line = line[n:]
	}
	return words
}

// kernelWords joins words to a kernel's command line. As GRUB does, it gives
// those with blanks quotes again, but around a parameter's value only, which is
// the same to the kernel. A word that has quotes of the kernel's stays as it
// is: there is no way to write a quote within quotes.
func kernelWords(words []string) string {
	quoted := slices.Clone(words)
	for i, w := range words {
		if !strings.ContainsAny(w, " \t") || strings.Contains(w, `"`) {
			continue
		}
		key, value, ok := strings.Cut(w, "=")
		if !ok || strings.ContainsAny(key, " \t") {
			key, value = "", w
		} else {
			key += "="
		}
		quoted[i] = key + `"` + value + `"`
	}
	return strings.Join(quoted, " ")
}

// wordEnd is where the first word ends: at a blank or a semicolon outside of
// quotes.
func wordEnd(s string) int {
	if strings.HasPrefix(s, ";") {
		return 1
	}
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && (c == ' ' || c == '\t' || c == ';'):
			return i
		}
	}
	return len(s)
}

// ParseGrubLegacy reads menu.lst or grub.conf of GRUB 0.9x.
func ParseGrubLegacy(b []byte) (entries []BootEntry, def string) {
	for _, line := range Lines(b) {
		key, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		rest = strings.TrimSpace(rest)
		switch k, v, _ := strings.Cut(line, "="); {
		case strings.TrimSpace(k) == "default":
			def = strings.TrimSpace(v)
		case key == "default":
			def = rest
		case key == "title":
			entries = append(entries, BootEntry{index: strconv.Itoa(len(entries)), Title: rest})
		case key == "kernel" && len(entries) > 0:
			image, args, _ := strings.Cut(rest, " ")
			entries[len(entries)-1].Image, entries[len(entries)-1].Cmdline = image, strings.TrimSpace(args)
		case key == "chainloader" && len(entries) > 0:
			entries[len(entries)-1].Other = key + " " + rest
		}
	}
	return entries, def
}

// ParseBLS reads one file of /boot/loader/entries (Boot Loader Specification).
// env holds the variables of grubenv.
func ParseBLS(id string, b []byte, env map[string]string) BootEntry {
	e := BootEntry{id: id}
	for _, line := range Lines(b) {
		key, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		rest = strings.TrimSpace(rest)
		switch key {
		case "title":
			e.Title = rest
		case "linux":
			e.Image = rest
		case "efi":
			e.Other = key + " " + rest
		case "options":
			rest = strings.ReplaceAll(rest, "$kernelopts", env["kernelopts"])
			rest = strings.ReplaceAll(rest, "$tuned_params", env["tuned_params"])
			e.Cmdline = strings.TrimSpace(e.Cmdline + " " + rest)
		}
	}
	return e
}

// DefaultEntry picks the entry that boots by itself: what the default names,
// by number, title or id, else the first. "saved" stands for the variable
// saved_entry of grubenv.
func DefaultEntry(entries []BootEntry, def string, env map[string]string) (BootEntry, bool) {
	if def == "saved" || strings.Contains(def, "saved_entry") {
		def = env["saved_entry"]
	}
	last := def[strings.LastIndexByte(def, '>')+1:]
	for _, e := range entries {
		if def != "" && (e.index == def || e.Title == def || e.id == def || e.id == last || e.Title == last) {
			return e, true
		}
	}
	if len(entries) == 0 {
		return BootEntry{}, false
	}
	return entries[0], true
}

// Consoles are the values of console= in a kernel's command line.
func Consoles(cmdline string) []string {
	var out []string
	for w := range strings.FieldsSeq(cmdline) {
		if v, ok := strings.CutPrefix(w, "console="); ok && v != "" {
			out = append(out, Clean(v))
		}
	}
	return out
}

// Tool reports whether an entry starts a tool and no system.
func (e BootEntry) Tool() bool {
	what := strings.ToLower(e.Title + " " + e.Image + " " + e.Other)
	return slices.ContainsFunc([]string{"memtest", "ipxe", "fwup", "shell"}, func(s string) bool { return strings.Contains(what, s) })
}

// RootSpec is the value of root= in a kernel's command line: the last one's, as
// the kernel has it; "" where there is none.
func RootSpec(cmdline string) string {
	spec := ""
	for w := range strings.FieldsSeq(cmdline) {
		if v, ok := strings.CutPrefix(strings.Trim(w, `"`), "root="); ok {
			spec = strings.Trim(v, `"`)
		}
	}
	return spec
}
