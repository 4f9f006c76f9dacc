package conf

import (
	"path"
	"slices"
	"strings"
)

// Prompts reports whether a command is a getty that writes a prompt by itself. One
// for modems waits for a call, and by their options others wait for Enter or run
// a program that asks for no login.
func Prompts(command string) bool {
	words := strings.Fields(command)
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(path.Base(w), "getty") })
	if i < 0 {
		return false
	}
	switch path.Base(words[i]) {
	case "mgetty", "vgetty":
		return slices.Contains(words, "-r") // a direct line
	}
	const valued = "aCdfHIloOPrtT" // letters of options with a value
	for _, w := range words[i+1:] {
		letters, short := strings.CutPrefix(w, "-")
		if j := strings.IndexAny(letters, valued); j >= 0 {
			letters = letters[:j]
		}
		if w == "--skip-login" || w == "--wait-cr" || short && letters != "" && letters[0] != '-' && strings.ContainsAny(letters, "nw") {
			return false
		}
	}
	return true
}

// SerialTTY is the serial port of a console=, "" if it names none.
func SerialTTY(console string) string {
	tty, _, _ := strings.Cut(console, ",")
	if !strings.HasPrefix(tty, "ttyS") {
		return ""
	}
	return tty
}

// InittabLogins are the serial ports that lines of inittab run a getty on in the
// default runlevel.
func InittabLogins(lines []string) []string {
	var found []string
	level := ""
	for _, line := range lines {
		if f := strings.SplitN(line, ":", 4); len(f) > 2 && f[2] == "initdefault" {
			level = f[1]
		}
	}
	for _, line := range lines {
		f := strings.SplitN(line, ":", 4)
		if len(f) == 4 && (f[2] == "off" || f[1] != "" && level != "" && !strings.Contains(f[1], level)) {
			continue
		}
		found = append(found, inittabSerial(line))
	}
	return found
}

// inittabSerial is the serial port that a line of inittab starts a getty on, or
// that BusyBox's asks to press Enter on.
func inittabSerial(line string) string {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 4 || f[2] != "askfirst" && !Prompts(f[3]) {
		return ""
	}
	for w := range strings.FieldsSeq(f[0] + " " + f[3]) {
		if w = strings.TrimPrefix(w, "/dev/"); strings.HasPrefix(w, "ttyS") {
			return w
		}
	}
	return ""
}
