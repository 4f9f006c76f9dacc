package main

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/concerns"

	"github.com/urfave/cli/v2"
)

func completionCmd(t terminal) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		ArgsUsage: "bash|zsh|fish",
		Description: `Prints the completion script of a shell. "make install" puts it where the shell
looks for it. Otherwise load it for one session, or in the shell's start-up file:

  source <(esxodus completion bash)
  source <(esxodus completion zsh)
  esxodus completion fish | source`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1, "one shell")
			if err != nil {
				return err
			}
			script, ok := map[string]func(*cli.App) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[args[0]]
			if !ok {
				return usagef("shell %q: want bash, zsh or fish", args[0])
			}
			_, err = fmt.Fprint(t.out, script(c.App))
			return err
		},
	}
}

// choices are the words that some flags take, and completion the word after it.
func choices() map[string][]string {
	return map[string][]string{
		"layout": {"auto", "lvm", "keep", "plain"}, "virt-type": {"kvm", "qemu"},
		"shutdown": {"api", "ssh", "auto"}, "output": {"text", "json"}, "proof": {proofBoot, "network"},
		"fail-on": {"blocker", "warning", "note"},
	}
}

// wants is what may be completed.
type wants int

// What is completed: nothing that is known, words, files, directories, or the
// names of migrations that are on record.
const (
	anything wants = iota
	words
	files
	directories
	migrations
)

// flagWants says what completes a flag's value.
func flagWants(f cli.Flag) (wants, []string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return anything, nil
	}
	if list := choices()[f.Names()[0]]; list != nil {
		return words, list
	}
	switch value, _ := placeholder(doc.GetUsage()); value {
	case "FILE":
		return files, nil
	case "DIR":
		return directories, nil
	}
	return anything, nil
}

// argumentWants says what completes a command's arguments.
func argumentWants(cmd *cli.Command) (wants, []string) {
	switch cmd.Name {
	case "batch", "copy":
		return files, nil
	case "man":
		return directories, nil
	case "completion", "network":
		return words, strings.Split(cmd.ArgsUsage, "|")
	case "status", "verify", "resume", "cutover", "rollback", "commit", "support":
		return migrations, nil
	}
	return anything, nil
}

// brief is what a flag does, in few words.
func brief(f cli.Flag) string {
	_, usage, _ := flagTexts(f)
	for _, end := range []string{": ", "; ", " (", ", such"} {
		usage, _, _ = strings.Cut(usage, end)
	}
	return usage
}

func isSwitch(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}

// commandsAndHelp are the words that come first on a command line.
func commandsAndHelp(app *cli.App) []*cli.Command {
	first := slices.DeleteFunc(slices.Clone(app.VisibleCommands()), func(c *cli.Command) bool { return strings.Contains(c.Name, " ") })
	return append(first, &cli.Command{Name: "help", Usage: "show the help of a command or topic"})
}

// helpWords is what there is help on. The ids of concerns are many: they come where
// something is typed already.
func helpWords(app *cli.App) (names, more []string) {
	for _, c := range commandsAndHelp(app) {
		if c.Name != "help" && !slices.Contains(topicNames(), c.Name) {
			names = append(names, c.Name)
		}
	}
	names = append(names, topicNames()...)
	return names, append(slices.Clone(names), concerns.IDs()...)
}

// pattern is a command's name in a shell's case.
func pattern(cmd *cli.Command) string { return strings.ReplaceAll(cmd.Name, " ", `\ `) }

// seen is fish's condition that a command is on the line: both words of one that
// has two, and of another not the first of those.
func seen(app *cli.App, cmd *cli.Command) string {
	const from = "__fish_seen_subcommand_from "
	if first, second, two := strings.Cut(cmd.Name, " "); two {
		return from + first + "; and " + from + second
	}
	if app.Command("network "+cmd.Name) != nil {
		return "not " + from + "network; and " + from + cmd.Name
	}
	return from + cmd.Name
}

// quoted is text in single quotes, for any of the shells.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// runNames is a command of a shell that lists the runs that are on record.
const runNames = `ls -1 "${ESXODUS_STATE:-/var/lib/esxodus}/vms" 2>/dev/null`

// bashCompletion makes the script for bash.
func bashCompletion(app *cli.App) string {
	give := func(w wants, list []string) string {
		switch w {
		case words:
			return "compgen -W " + quoted(strings.Join(list, " ")) + ` -- "$cur"`
		case files:
			return `compgen -f -- "$cur"`
		case directories:
			return `compgen -d -- "$cur"`
		case migrations:
			return `compgen -W "$(` + runNames + `)" -- "$cur"`
		}
		return "true"
	}
	var b strings.Builder
	b.WriteString("# esxodus for bash, made by: esxodus completion bash\n_esxodus_words() {\n\tlocal cur=$1 prev=$2\n\tcase $3:$prev in\n")
	for _, cmd := range app.VisibleCommands() {
		for _, f := range cmd.Flags {
			if isSwitch(f) {
				continue
			}
			for _, n := range f.Names() {
				fmt.Fprintf(&b, "\t%s:%s%s) %s; return ;;\n", pattern(cmd), dashes(n), n, give(flagWants(f)))
			}
		}
	}
	b.WriteString("\tesac\n\tcase $3:$cur in\n")
	for _, cmd := range app.VisibleCommands() {
		var flags []string
		for _, f := range append(slices.Clone(cmd.Flags), cli.HelpFlag) {
			flags = append(flags, dashes(f.Names()[0])+f.Names()[0])
		}
		slices.Sort(flags)
		fmt.Fprintf(&b, "\t%s:-*) %s ;;\n\t%s:*) %s ;;\n", pattern(cmd), give(words, slices.Compact(flags)), pattern(cmd), give(argumentWants(cmd)))
	}
	var first []string
	for _, c := range commandsAndHelp(app) {
		first = append(first, c.Name)
	}
	names, more := helpWords(app)
	fmt.Fprintf(&b, "\thelp:) %s ;;\n\thelp:*) %s ;;\n\t:*) %s ;;\n\tesac\n}\n", give(words, names), give(words, more), give(words, first))
	b.WriteString(`_esxodus() {
	local cmd=
	[ "$COMP_CWORD" -lt 2 ] || cmd=${COMP_WORDS[1]}
	[ "$cmd" != network ] || [ "$COMP_CWORD" -lt 3 ] || cmd="network ${COMP_WORDS[2]}"
	mapfile -t COMPREPLY < <(_esxodus_words "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" "$cmd")
}
complete -o filenames -F _esxodus esxodus
`)
	return b.String()
}

// zshCompletion makes the script for zsh, to be read at once or from $fpath.
func zshCompletion(app *cli.App) string {
	give := func(w wants, list []string) string {
		switch w {
		case words:
			return "(" + strings.Join(list, " ") + ")"
		case files:
			return "_files"
		case directories:
			return "_files -/"
		case migrations:
			return "{compadd -- ${(f)\"$(" + runNames + ")\"}}"
		}
		return "()" // an action that only shows a message would keep flags from being completed
	}
	escape := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace
	var b strings.Builder
	b.WriteString("#compdef esxodus\n# esxodus for zsh, made by: esxodus completion zsh\n_esxodus() {\n\tlocal -a commands\n\tcommands=(\n")
	for _, c := range commandsAndHelp(app) {
		fmt.Fprintf(&b, "\t\t%s\n", quoted(c.Name+":"+escape(c.Usage)))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tshift words\n\t(( CURRENT-- ))\n" +
		"\tif [[ $words[1] = network ]] && (( CURRENT > 2 )); then\n\t\twords[1,2]=(\"network $words[2]\")\n\t\t(( CURRENT-- ))\n\tfi\n\tcase $words[1] in\n")
	for _, cmd := range app.VisibleCommands() {
		fmt.Fprintf(&b, "\t%s) _arguments", pattern(cmd))
		for _, f := range append(slices.Clone(cmd.Flags), cli.HelpFlag) {
			for _, n := range f.Names() {
				spec := "*" + dashes(n) + n + "[" + escape(brief(f)) + "]"
				if !isSwitch(f) {
					spec += ":value:" + give(flagWants(f))
				}
				b.WriteString(" \\\n\t\t" + quoted(spec))
			}
		}
		fmt.Fprintf(&b, " \\\n\t\t%s ;;\n", quoted("*:argument:"+give(argumentWants(cmd))))
	}
	names, more := helpWords(app)
	fmt.Fprintf(&b, "\thelp) if [[ -n $PREFIX ]]; then _arguments %s; else _arguments %s; fi ;;\n\tesac\n}\n", quoted("*:topic:"+give(words, more)), quoted("*:topic:"+give(words, names)))
	b.WriteString("if [ \"$funcstack[1]\" = _esxodus ]; then\n\t_esxodus \"$@\"\nelse\n\tcompdef _esxodus esxodus\nfi\n")
	return b.String()
}

// fishCompletion makes the script for fish.
func fishCompletion(app *cli.App) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	give := func(w wants, list []string) string {
		switch w {
		case words:
			return " -x -a " + quote(strings.Join(list, " "))
		case files:
			return " -r -F"
		case directories:
			return " -x -a '(__fish_complete_directories)'"
		case migrations:
			return ` -x -a '(set -q ESXODUS_STATE; or set -l ESXODUS_STATE /var/lib/esxodus; ls -1 $ESXODUS_STATE/vms 2>/dev/null)'`
		}
		return " -x"
	}
	var b strings.Builder
	b.WriteString("# esxodus for fish, made by: esxodus completion fish\ncomplete -c esxodus -f\n")
	for _, c := range commandsAndHelp(app) {
		fmt.Fprintf(&b, "complete -c esxodus -n __fish_use_subcommand -a %s -d %s\n", c.Name, quote(c.Usage))
	}
	for _, cmd := range app.VisibleCommands() {
		in := "complete -c esxodus -n '" + seen(app, cmd) + "'"
		for _, f := range append(slices.Clone(cmd.Flags), cli.HelpFlag) {
			b.WriteString(in)
			for _, n := range f.Names() {
				b.WriteString(map[bool]string{true: " -s ", false: " -l "}[len(n) == 1] + n)
			}
			if !isSwitch(f) {
				b.WriteString(give(flagWants(f)))
			}
			b.WriteString(" -d " + quote(brief(f)) + "\n")
		}
		if w, list := argumentWants(cmd); w != anything {
			b.WriteString(in + strings.NewReplacer(" -x", "", " -r", "").Replace(give(w, list)) + "\n")
		}
	}
	names, more := helpWords(app)
	const help = "complete -c esxodus -n '__fish_seen_subcommand_from help"
	fmt.Fprintf(&b, "%s' -a %s\n%s; and string length -q -- (commandline -ct)' -a %s\n", help, quote(strings.Join(names, " ")), help, quote(strings.Join(more[len(names):], " ")))
	return b.String()
}
