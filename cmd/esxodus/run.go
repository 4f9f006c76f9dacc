package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"esxodus/convert/concerns"
	"esxodus/convert/report"
	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
	"golang.org/x/term"
)

// terminal is where a command talks to: results go to out, all else to err.
type terminal struct {
	in     *os.File
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	advice *advice
	// settings are what the configuration file says.
	settings *settings
	// board is what is drawn on err, if anything is.
	board *atomic.Pointer[boardView]
	// hooks are told what becomes of migrations.
	hooks *hooks
	// several says that more than one host is read, each with what is its own.
	several bool
	// interrupts is what Ctrl-C does; nil where nobody presses it.
	interrupts *interrupts
	// secrets are the passwords in the addresses that we were given.
	secrets []string
}

// log is err for texts that may hold an address: without its password.
func (t terminal) log() io.Writer { return redact.Writer(aside{t}, t.secrets...) }

// aside is err for what may come while a board is drawn there: it appears above it.
type aside struct{ t terminal }

// Write implements io.Writer.
func (a aside) Write(p []byte) (int, error) {
	if a.t.board != nil {
		if v := a.t.board.Load(); v != nil {
			return v.Write(p)
		}
	}
	return a.t.err.Write(p)
}

// secretsOf finds the passwords in the arguments, and in the environment's
// addresses.
func secretsOf(args []string, getenv func(string) string) []string {
	addresses := slices.Clone(args)
	for _, name := range []string{"GOVC_URL", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		addresses = append(addresses, getenv(name))
	}
	return redact.Known(addresses...)
}

// interactive reports whether a person can answer.
func (t terminal) interactive() bool { return t.in != nil && term.IsTerminal(int(t.in.Fd())) }

// columns is the width of the terminal that w is, or 0 if it isn't one.
func columns(w io.Writer) int {
	n, _ := terminalSize(w)
	return n
}

// terminalSize is the columns and lines of the terminal that w is, or 0 if it isn't one.
func terminalSize(w io.Writer) (columns, lines int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// form is how results are laid out on w.
func (t terminal) form(w io.Writer) report.Form {
	return report.Form{Columns: columns(w), Complete: t.advice.complete}
}

const intro = `esxodus moves every VM of an ESXi host onto a KVM host, through the
read-only API of the free licence, over HTTPS, straight into logical volumes
or raw files, as persistent libvirt domains.

Look first, then migrate one VM, or all of them:

  esxodus inventory --esxi https://root@esx1
  esxodus plan --esxi https://root@esx1 --storage lvm:vg0 --uplink vmnic0=eno1
  esxodus convert --esxi … --storage … --uplink … web1
  esxodus plan --esxi … --storage … --uplink … -o plan.yaml
  esxodus batch plan.yaml
  esxodus cutover web1          # or batch --cutover: the domains take their VMs' place

The source is never written to, except that --shutdown shuts a VM down, and
a cutover takes it out of its host's autostart. Nothing that exists on the
target is overwritten, and until "esxodus commit" everything can be undone
with "esxodus rollback".`

// newApp puts the commands together.
func newApp(t terminal) *cli.App {
	app := &cli.App{
		Name:            "esxodus",
		Usage:           "move VMs from ESXi to KVM",
		Description:     intro,
		Version:         version(),
		HideHelpCommand: true,

		CustomAppHelpTemplate: appHelp,
		// A port group's or a file's name may hold a comma.
		DisableSliceFlagSeparator: true,
		Reader:                    t.in,
		Writer:                    t.out,
		ErrWriter:                 t.err,
		ExitErrHandler:            func(*cli.Context, error) {}, // the library would call os.Exit
		Commands: []*cli.Command{
			doctorCmd(t), inventoryCmd(t), planCmd(t), convertCmd(t), batchCmd(t), copyCmd(t),
			statusCmd(t), throttleCmd(t), verifyCmd(t), resumeCmd(t), cutoverCmd(t), rollbackCmd(t), commitCmd(t), reportCmd(t), watchCmd(t),
			networkCmd(t), networkPlanCmd(t), networkApplyCmd(t), networkConfirmCmd(t), networkRollbackCmd(t), networkRemoveCmd(t), networkStatusCmd(t), networkHostCmd(t), networkGuardCmd(t),
			supportCmd(t), configCmd(t), completionCmd(t), manCmd(t),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return cli.ShowAppHelp(c)
			}
			return unknownCommand(c.App, c.Args().First())
		},
		OnUsageError: usageError,
	}
	for _, c := range app.Commands {
		if len(c.Flags) > 0 && !c.Hidden {
			c.Flags = append(slices.Clone(c.Flags), configFlags()...)
		}
	}
	return app
}

// unknownCommand says which command may have been meant.
func unknownCommand(app *cli.App, name string) error {
	hint := "`esxodus --help` lists the commands and topics"
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	if like := nearest(name, slices.Concat(names, topicNames(), concerns.IDs())); like != "" {
		if !slices.Contains(names, like) {
			like = "help " + like
		}
		hint = "did you mean `esxodus " + like + "`? " + hint
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("unknown command or topic %q", name), hint: hint}
}

// nearest returns the name that somebody who wrote word may have meant, "" where
// none is like it.
func nearest(word string, names []string) string {
	const alike, boost, prefix = 0.82, 0.7, 4 // of Jaro and Winkler; 1 is the same
	best, found := alike, ""
	for _, n := range names {
		if d := smetrics.JaroWinkler(strings.ToLower(word), n, boost, prefix); d > best {
			best, found = d, n
		}
	}
	return found
}

// usageError gives the library's complaints our exit code and a hint.
func usageError(c *cli.Context, err error, _ bool) error {
	flag, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if unknown {
		err = fmt.Errorf("unknown flag %s%s", dashes(flag), flag)
	} else if bare, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		bare = strings.TrimLeft(bare, "-")
		err = fmt.Errorf("the flag %s%s needs a value", dashes(bare), bare)
	}
	hint := "flags go after the command: see `esxodus --help`"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "esxodus" {
		hint = "see `esxodus " + c.Command.Name + " --help`"
		if like := nearest(flag, flagNames(c.Command)); unknown && like != "" {
			hint = "did you mean " + dashes(like) + like + "? " + hint
		} else if others := takers(c.App, flag); unknown && len(others) > 0 {
			hint = "it is a flag of " + strings.Join(others, ", ") + "; " + hint
		}
	}
	return &exitError{code: exitUsage, err: err, hint: hint}
}

// flagNames are the names of a command's flags that are more than a letter.
func flagNames(cmd *cli.Command) []string {
	var names []string
	for _, f := range cmd.Flags {
		names = append(names, slices.DeleteFunc(slices.Clone(f.Names()), func(n string) bool { return len(n) == 1 })...)
	}
	return names
}

// takers are the commands that have a flag.
func takers(app *cli.App, flag string) []string {
	var names []string
	for _, c := range app.VisibleCommands() {
		if slices.Contains(flagNames(c), flag) {
			names = append(names, c.Name)
		}
	}
	return names
}

// execute carries out one command line and returns the exit code.
func execute(ctx context.Context, args []string, t terminal) int {
	cli.HelpPrinter = printHelp
	t.advice, t.settings, t.board, t.hooks = &advice{}, &settings{}, new(atomic.Pointer[boardView]), &hooks{}
	defer t.hooks.close()
	t.secrets = secretsOf(args, t.getenv)
	app := newApp(t)
	for _, c := range app.Commands {
		c.Before = func(c *cli.Context) error {
			// A command that follows reads the same file: it needs only what is on the line.
			if err := t.advice.note(c); err != nil {
				return err
			}
			if err := t.settings.heed(c, t.getenv); err != nil {
				return err
			}
			return t.hooks.open(c.Context, c, t)
		}
		c.OnUsageError = usageError
		c.HideHelpCommand = true // a VM may be called help
		c.CustomHelpTemplate = commandHelp
	}
	if topicHelp(args, t) {
		return exitDone
	}
	err := app.RunContext(ctx, permute(app, joined(app, askHelp(args))))
	if err != nil {
		complain(t, err)
	}
	return exitCode(err)
}

// askHelp makes `esxodus help COMMAND` of what many programs take the other way
// round, `esxodus COMMAND --help`.
func askHelp(args []string) []string {
	if len(args) < 2 || args[1] != "help" {
		return args
	}
	about := args[2:min(len(args), 4)]
	if slices.Equal(about, []string{"help"}) {
		about = nil
	}
	return slices.Concat(args[:1], about, []string{"--help"})
}

// joined makes one word of the two that name a command: "network plan".
func joined(app *cli.App, args []string) []string {
	const program, command = 1, 2
	if len(args) <= command || app.Command(args[program]+" "+args[command]) == nil {
		return args
	}
	return slices.Concat(args[:program], []string{args[program] + " " + args[command]}, args[command+1:])
}

// permute moves the flags of a command before its arguments, which is where
// the library wants them; a person may write them after.
func permute(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args
	}
	flags, rest := []string{}, []string{}
	for i := 2; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case len(arg) < 2 || arg[0] != '-':
			rest = append(rest, arg)
		default:
			flags = append(flags, arg)
			if arg == "-h" || arg == "--help" {
				return slices.Concat(args[:2], []string{arg})
			}
			if takesValue(cmd, arg) && i+1 == len(args) {
				return slices.Concat(args[:2], flags) // the library then says what is missing
			}
			if takesValue(cmd, arg) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	return slices.Concat(args[:2], flags, []string{"--"}, rest)
}

// takesValue reports whether the word after a flag belongs to it.
func takesValue(cmd *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

// arguments returns a command's arguments after checking how many there are.
func arguments(c *cli.Context, least, most int, what string) ([]string, error) {
	args := c.Args().Slice()
	if n := len(args); n < least || (most >= 0 && n > most) {
		return nil, &exitError{
			code: exitUsage, err: fmt.Errorf("%s takes %s, got %s", c.Command.Name, what, fit.Count(n, "argument")),
			hint: "see `esxodus " + c.Command.Name + " --help`",
		}
	}
	return args, nil
}
