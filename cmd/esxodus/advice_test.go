package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/journal"
	"esxodus/convert/run"
	"esxodus/inventory"

	"github.com/urfave/cli/v2"
)

// TestAdvice: a command that a message names has the flags that the command at
// work was given, as far as it takes them, and can be pasted into a shell.
func TestAdvice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, line, text, want string
	}{
		{"none", "status", "`esxodus resume web`", "`esxodus resume web`"},
		{"the state", "status --state /srv/e", "use `esxodus resume web` or `esxodus rollback web`.", "use `esxodus resume web --state /srv/e` or `esxodus rollback web --state /srv/e`."},
		{"a space and a quote", "status --state|/srv/it's here", "`esxodus commit web`", `'/srv/it'\''s here'`},
		{"no name", "rollback web --state /e", "`esxodus status` shows", "`esxodus status --state /e` shows"},
		{"only what it takes", "resume web --state /e --password-file pw --ssh-key k --rate 1M --insecure", "`esxodus commit web`", "`esxodus commit web --state /e`"},
		{
			"all that it takes", "resume web --password-file pw --esxi https://root@esx1 --rate 1M --insecure --connections 2 --stall 40s", "`esxodus resume web`",
			"`esxodus resume web --esxi https://root@esx1 --password-file pw --insecure --stall 40s --connections 2 --rate 1M`",
		},
		{"what the journal has", "convert web --storage dir:/d --esxi https://root@esx1 --thumbprint AA --state /e", "`esxodus resume web`", "`esxodus resume web --state /e`"},
		{
			"what no journal has", "convert wbe --storage dir:/d --esxi https://root@esx1 --thumbprint AA --state /e", "`esxodus inventory`",
			"`esxodus inventory --esxi https://root@esx1 --thumbprint AA`",
		},
		{"a flag of its own", "resume web --state /e", "`esxodus rollback --lost web`", "`esxodus rollback --lost web --state /e`"},
		{
			"planning", "plan --esxi https://root@esx1 --storage dir:/d --uplink vmnic0=eno1 --uplink vmnic1=eno2 --no-proof --output text", "`esxodus convert web`",
			"`esxodus convert web --esxi https://root@esx1 --storage dir:/d --uplink vmnic0=eno1 --uplink vmnic1=eno2 --no-proof`",
		},
		{"what the plan has", "plan --storage dir:/d --uplink eno1 --stall 40s", "`esxodus batch 'a/b.yaml'`", "`esxodus batch 'a/b.yaml' --stall 40s`"},
		{"a password", "plan --esxi https://root:swordfish@esx1", "`esxodus plan web`", "`esxodus plan web --esxi 'https://root:***@esx1'`"},
		{"no command", "status --state /e", "`esxodus frobnicate web`, `virsh list`", "`esxodus frobnicate web`, `virsh list`"},
	}
	for _, tt := range tests {
		var said *advice
		term := terminal{out: new(bytes.Buffer), err: new(bytes.Buffer), getenv: func(string) string { return "" }, advice: &advice{}}
		app := newApp(term)
		for _, c := range app.Commands {
			c.Before = func(c *cli.Context) error { said = term.advice; return term.advice.note(c) }
			c.Action = func(*cli.Context) error { return nil }
		}
		args := strings.Fields("esxodus " + tt.line)
		if before, after, ok := strings.Cut(tt.line, "|"); ok {
			args = append(strings.Fields("esxodus "+before), after)
		}
		if err := app.RunContext(t.Context(), permute(app, args)); err != nil {
			t.Fatal(err)
		}
		if got := said.complete(tt.text); !strings.Contains(got, tt.want) || tt.want[0] == '`' && got != tt.want {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}

// TestAdviceWhole: what a plan was given, what it leads to needs as well, but for what
// is about the output.
func TestAdviceWhole(t *testing.T) {
	t.Parallel()
	const output = "output verbose log columns full units yes help"
	app := newApp(terminal{out: new(bytes.Buffer), err: new(bytes.Buffer), getenv: func(string) string { return "" }, advice: &advice{}})
	kept := strings.Fields(output + " " + strings.Join(slices.Concat(carried(), planning()), " ") + " esxi from thumbprint")
	convert := app.Command("convert")
	for _, f := range app.Command("plan").Flags {
		name := f.Names()[0]
		takes := func(other cli.Flag) bool { return other.Names()[0] == name }
		if slices.ContainsFunc(convert.Flags, takes) && !slices.Contains(kept, name) {
			t.Errorf("plan --%s is left out of the convert that it proposes", name)
		}
	}
}

// TestExitCodes has each error's code.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		exitDone:    nil,
		exitFailed:  errors.New("x"),
		exitStopped: fmt.Errorf("%w: x", run.ErrStopped),
		exitBusy:    fmt.Errorf("web: %w", journal.ErrBusy),
		exitUsage:   usagef("x"),
	} {
		if got := exitCode(err); got != want {
			t.Errorf("exitCode(%v) = %d; want %d", err, got, want)
		}
	}
	if got := exitCode(&journal.DamagedError{Path: "journal", Line: 3, Err: errors.New("x")}); got != exitStopped {
		t.Errorf("exitCode of a damaged journal = %d; want %d", got, exitStopped)
	}
}

// TestLeftOut: a plan of all VMs says which it doesn't have.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	h := &inventory.Host{VMs: []inventory.VM{{Name: "web"}, {Name: "golden", Template: true}}}
	for _, named := range [][]string{nil, {"web"}} {
		var said bytes.Buffer
		leftOut(terminal{err: &said, advice: &advice{}}, h, named)
		if got := strings.Contains(said.String(), ": golden"); got != (named == nil) || strings.Contains(said.String(), "web") {
			t.Errorf("named %q: %q", named, said.String())
		}
	}
}
