package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
)

// output runs the program in this process and returns what it prints.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	term := terminal{out: &out, err: &log, getenv: func(string) string { return "" }}
	if code := execute(t.Context(), append([]string{"esxodus"}, args...), term); code != exitDone {
		t.Fatalf("%v: exit code %d\n%s", args, code, &log)
	}
	return out.String()
}

// completer is a directory with a run on record and two files, and the script of
// a shell that reads without complaint.
func completer(t *testing.T, shell string) (dir, script string) {
	t.Helper()
	dir = t.TempDir()
	for _, sub := range []string{"state/vms/web", "state/vms/db", "units"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script = filepath.Join(dir, "script")
	for path, text := range map[string]string{script: output(t, "completion", shell), filepath.Join(dir, "plan.yaml"): ""} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), fixtures.Tool(t, shell), "-n", script).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("%s -n: %v\n%s", shell, err, out)
	}
	return dir, script
}

// completions are what a person may type, and some of what must come of it.
func completions() []struct{ line, want, not string } {
	return []struct{ line, want, not string }{
		{"esxodus ", "inventory plan convert batch help man", "--state"},
		{"esxodus pl", "plan", "batch"},
		{"esxodus plan --lay", "--layout", "--state"},
		{"esxodus plan --layout ", "auto lvm keep plain", "plan.yaml"},
		{"esxodus convert --output j", "json", "text"},
		{"esxodus resume ", "web db", "plan.yaml"},
		{"esxodus resume --state x w", "web", "db"},
		{"esxodus batch pl", "plan.yaml", "units"},
		{"esxodus help b", "batch boot-proof", "plan"},
		{"esxodus help ", "batch concerns", "guest.left"},
		{"esxodus help guest.l", "guest.left guest.lvm", "guest.nic"},
		{"esxodus completion ", "bash zsh fish", "plan"},
	}
}

// TestCompletion has the shells themselves complete command lines.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for shell, argv := range map[string]func(script, line string) []string{
		"bash": func(script, line string) []string {
			words := strings.Split(line, " ")
			return []string{"bash", "-c", `source "$1"; shift; COMP_WORDS=("${@:2}"); COMP_CWORD=$1; _esxodus; printf '%s\n' "${COMPREPLY[@]}"`, "bash", script, strconv.Itoa(len(words) - 1)}
		},
		"fish": func(script, line string) []string {
			return []string{"fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line}
		},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			dir, script := completer(t, shell)
			for _, tt := range completions() {
				args := argv(script, tt.line)
				if shell == "bash" {
					args = append(args, strings.Split(tt.line, " ")...)
				}
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "ESXODUS_STATE="+filepath.Join(dir, "state"), "HOME="+dir)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%q: %v\n%s", tt.line, err, out)
				}
				var got []string
				for l := range strings.Lines(string(out)) {
					word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
					got = append(got, word)
				}
				for want := range strings.FieldsSeq(tt.want) {
					if !slices.Contains(got, want) {
						t.Errorf("%q gives %q, without %q", tt.line, got, want)
					}
				}
				if slices.Contains(got, tt.not) {
					t.Errorf("%q gives %q, with %q", tt.line, got, tt.not)
				}
			}
		})
	}
}

// TestZshCompletion has zsh read its script and complete in a terminal of its own.
func TestZshCompletion(t *testing.T) {
	t.Parallel()
	dir, script := completer(t, "zsh")
	const drive = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT=; unset zle_bracketed_paste; autoload -U compinit; compinit -u -d $1/dump; source $2; cd $1"
zpty -w z 'stty cols 200; echo re''ady'
zpty -r z out '*ready*'
zpty -n -w z $'esxodus pl\t'
zpty -r z out '*esxodus plan*'
zpty -n -w z $'--layo\t'
zpty -r z out '*--layout*'
zpty -n -w z $'ke\t--virt-type q\t-o plan.y\t'
zpty -r z out '*plan.yaml*'
print -r -- $out
`
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // what isn't completed is waited for
	defer cancel()
	out, err := exec.CommandContext(ctx, fixtures.Tool(t, "zsh"), "-f", "-c", drive, "zsh", dir, script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "qemu") {
		t.Errorf("zsh completes to %q, %v", out, err)
	}
}
