package main

import (
	"fmt"
	"strconv"
	"strings"

	"esxodus/convert/lilo/conf"
	"esxodus/convert/lilo/install"
)

// options are what the command line says.
type options struct {
	action  action
	verbose int
	quiet   bool // -w: no warnings
	loud    bool // -w+: warnings in spite of nowarn
	test    bool
	config  string // "" for the default
	mapPath string // "" for that of the configuration
	root    string // "" for no chroot
	boot    string
	backup  string // "" for that of the configuration
	force   bool   // the file of backup is overwritten
	deflt   string // label
	delay   int    // tenths, -1 for that of the configuration
	bus     install.Bus
	// ifChanged writes nothing where nothing has changed; booted makes what booted
	// the last resort, too.
	ifChanged, booted bool
	line              string // of -R
	label             string // of -I
	detail            string // of -I: letters, "" for i
}

// action is what lilo does.
type action int

const (
	doInstall action = iota
	doQuery
	doOneShot
	doIdentify
	doVersion
	doHelp
)

// args walks along a command line.
type args struct {
	left []string
	o    options
}

// parseArgs reads a command line as LILO does: an option's argument is attached
// to it or comes next. Options without one may also be written together.
func parseArgs(argv []string) (options, error) {
	a := &args{left: argv, o: options{delay: -1}}
	for len(a.left) > 0 {
		word := a.left[0]
		a.left = a.left[1:]
		if word == "--" && len(a.left) == 0 {
			break
		}
		if err := a.word(word); err != nil {
			return options{}, err
		}
	}
	return a.o, nil
}

func (a *args) word(word string) error {
	switch {
	case strings.HasPrefix(word, "--"):
		return a.long(word)
	case len(word) < 2 || word[0] != '-':
		return fmt.Errorf("unexpected argument %q; lilo -h shows the options", word)
	}
	for i := 1; i < len(word); i++ {
		used, err := a.letter(word[i], word[i+1:])
		if err != nil || used {
			return err
		}
	}
	return nil
}

// long reads the options with a name.
func (a *args) long(word string) error {
	name, val, attached := strings.Cut(word, "=")
	switch name {
	case "--help":
		a.o.action = doHelp
		return nil
	case "--version":
		a.o.action = doVersion
		return nil
	case "--if-changed", "--booted":
		if attached {
			return fmt.Errorf("%s takes no argument; lilo -h shows the options", name)
		}
		a.o.ifChanged = true
		a.o.booted = a.o.booted || name == "--booted"
		return nil
	case "--bus":
	default:
		return fmt.Errorf("unknown option %s; lilo -h shows the options", name)
	}
	if !attached {
		var err error
		if val, err = a.argument("--bus", ""); err != nil {
			return err
		}
	}
	var err error
	a.o.bus, err = install.ParseBus(val)
	return err
}

// letter reads an option; rest is what is attached to it, and used says that
// it was its argument.
func (a *args) letter(c byte, rest string) (used bool, err error) {
	if done := a.flag(c); done {
		return false, nil
	}
	switch c {
	case 'v':
		return a.verbosity(rest)
	case 'w':
		a.o.loud = rest == "+"
		a.o.quiet = !a.o.loud
		return a.o.loud, nil
	case 'R':
		a.oneShot(rest)
		return true, nil
	case 'I':
		return true, a.identify(rest)
	}
	if why := refused(c); why != "" {
		return false, fmt.Errorf("-%c: %s", c, why)
	}
	to := a.target(c)
	if to == nil && c != 'd' && c != 'P' {
		return false, fmt.Errorf("unknown option -%c; lilo -h shows the options", c)
	}
	val, err := a.argument("-"+string(c), rest)
	if err != nil {
		return true, err
	}
	switch c {
	case 'd':
		if a.o.delay, err = strconv.Atoi(val); err != nil || a.o.delay < 0 || a.o.delay > conf.MaxTenths {
			return true, fmt.Errorf("-d %s: want tenths of a second, from 0 to %d", val, conf.MaxTenths)
		}
	case 'P': // fix or ignore the partition table: there is none
		if val != "fix" && val != "ignore" {
			return true, fmt.Errorf("-P %s: want fix or ignore", val)
		}
	case 's', 'S':
		a.o.force = c == 'S'
		fallthrough
	default:
		*to = val
	}
	return true, nil
}

// flag reads an option without an argument.
func (a *args) flag(c byte) bool {
	switch c {
	case 't':
		a.o.test = true
	case 'q':
		a.o.action = doQuery
	case 'V':
		a.o.action = doVersion
	case 'h':
		a.o.action = doHelp
	case 'L', 'l', 'c', 'g': // lba32, linear, compact, geometric
	default:
		return false
	}
	return true
}

// target returns where the argument of an option goes.
func (a *args) target(c byte) *string {
	switch c {
	case 'C':
		return &a.o.config
	case 'm':
		return &a.o.mapPath
	case 'r':
		return &a.o.root
	case 'b':
		return &a.o.boot
	case 'D':
		return &a.o.deflt
	case 's', 'S':
		return &a.o.backup
	}
	return nil
}

// refused says why an option of LILO's isn't one here.
func refused(c byte) string {
	switch c {
	case 'u', 'U':
		return "the previous boot sector belonged to a disk with a partition table, and is useless without it; " +
			"to go back, restore the disk from a backup (esxodus rollback, before it was committed)"
	case 'A', 'M':
		return "there is no partition table here in which to activate something, and no master boot record but LILO's"
	case 'E', 'T', 'X', 'x', 'f', 'i', 'p', 'z', 'Z', 'B', 'F', 'H':
		return "this option of the old LILO is about partitions, RAID, pictures or files of its own, and isn't supported"
	}
	return ""
}

// verbosity reads -v, also as -v3 and -v 3.
func (a *args) verbosity(rest string) (used bool, err error) {
	if n, err := strconv.Atoi(rest); err == nil && n >= 0 {
		a.o.verbose = n
		return true, nil
	}
	if rest == "" && len(a.left) > 0 && a.left[0] != "" && a.left[0][0] >= '0' && a.left[0][0] <= '9' {
		val := a.left[0]
		a.left = a.left[1:]
		if a.o.verbose, err = strconv.Atoi(val); err != nil {
			return true, fmt.Errorf("-v %s: want a number", val)
		}
		return true, nil
	}
	a.o.verbose++
	return false, nil
}

// oneShot reads -R with all that follows.
func (a *args) oneShot(rest string) {
	all := a.left
	if rest != "" {
		all = append([]string{rest}, all...)
	}
	a.o.action, a.o.line, a.left = doOneShot, strings.TrimSpace(strings.Join(all, " ")), nil
}

// identify reads -I with its label and, if that is no option, a word of letters.
func (a *args) identify(rest string) (err error) {
	a.o.action = doIdentify
	if a.o.label, err = a.argument("-I", rest); err != nil {
		return err
	}
	if len(a.left) > 0 && !strings.HasPrefix(a.left[0], "-") {
		a.o.detail, a.left = a.left[0], a.left[1:]
	}
	return nil
}

// argument returns an option's argument.
func (a *args) argument(name, rest string) (string, error) {
	if rest != "" {
		return strings.TrimPrefix(rest, "="), nil
	}
	if len(a.left) == 0 {
		return "", fmt.Errorf("%s needs an argument; lilo -h shows the options", name)
	}
	val := a.left[0]
	a.left = a.left[1:]
	return val, nil
}
