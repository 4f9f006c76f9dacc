package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// MostFull is up to how many VMs a plan's HTML shows what stays as it is and ESXi's
// bookkeeping without being asked to: a browser must be able to open it.
const MostFull = 100

//go:embed page/*
var pageFiles embed.FS

// shell is what all pages have.
type shell struct {
	Title  string
	Policy string // Content-Security-Policy
	Style  template.CSS
	Script template.JS
}

// HTML writes a plan's view as one HTML file, which loads nothing and runs no script
// but its own. Its texts are cleaned as those for terminals are.
func HTML(w io.Writer, f Form, v View) error {
	v = cleaned(v)
	return write(w, f, "page.tmpl", "Plan: "+v.From, func(s shell) any {
		return struct {
			View
			shell
			Map *wayMap
		}{v, s, mapOf(v.Ways)}
	})
}

// OutcomeHTML writes what became of migrations in the same way.
func OutcomeHTML(w io.Writer, f Form, v OutcomeView) error {
	v = cleaned(v)
	return write(w, f, "outcome.tmpl", "Report: "+fit.Count(len(v.VMs), "VM"), func(s shell) any {
		return struct {
			OutcomeView
			shell
		}{v, s}
	})
}

// write writes a page by its template, which gets what fill makes of the shell.
func write(w io.Writer, f Form, name, title string, fill func(shell) any) error {
	style, err := pageFiles.ReadFile("page/page.css")
	if err != nil {
		return err
	}
	script, err := pageFiles.ReadFile("page/page.js")
	if err != nil {
		return err
	}
	page, err := template.New(name).Funcs(pageFuncs(f.page(w))).ParseFS(pageFiles, "page/*.tmpl")
	if err != nil {
		return err
	}
	return page.Execute(w, fill(shell{
		Title: title, Style: template.CSS(style), Script: template.JS(script),
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hashSource(style), hashSource(script)),
	}))
}

// hashSource names an inline style or script in a policy (CSP Level 3, § 2.3.1).
func hashSource(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// cleaned is a copy of a view, or of a part of it, with all texts fit to be shown:
// no control characters, and none that turn text around.
func cleaned[T any](v T) T {
	out := reflect.New(reflect.TypeFor[T]()).Elem()
	clean(out, reflect.ValueOf(v))
	return out.Interface().(T) //nolint:errcheck // it is made of this type
}

func clean(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.String:
		to.SetString(fit.TerminalLine(from.String()))
	case reflect.Slice:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			clean(to.Index(i), from.Index(i))
		}
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			clean(to.Elem(), from.Elem())
		}
	case reflect.Struct:
		to.Set(from) // what isn't exported holds no texts: times
		for i := range from.NumField() {
			if to.Field(i).CanSet() {
				clean(to.Field(i), from.Field(i))
			}
		}
	default:
		to.Set(from)
	}
}

// span is a part of an advice: text, or a command.
type span struct {
	Command bool
	Text    string
}

// spans divides an advice at its backquotes, and gives its commands their flags.
func spans(p *page, advice string) []span {
	var out []span
	for i, text := range strings.Split(p.complete(advice), "`") {
		if text != "" {
			out = append(out, span{Command: i%2 == 1, Text: fit.TerminalLine(text)})
		}
	}
	return out
}

// commands are those of a line that are to be pasted one after the other.
func commands(p *page, line string) []string {
	var out []string
	for _, s := range spans(p, line) {
		if s.Command {
			out = append(out, s.Text)
		}
	}
	return out
}

// change says what a line of a diff is, for its colour.
func change(line string) string {
	switch {
	case strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "@@"):
		return "at"
	case strings.HasPrefix(line, "+"):
		return "add"
	case strings.HasPrefix(line, "-"):
		return "del"
	}
	return ""
}

// pageFuncs are what the template calls. p completes commands.
func pageFuncs(p *page) template.FuncMap {
	return template.FuncMap{
		"bytes": fit.Bytes,
		"count": fit.Count,
		"upper": func(s ledger.Severity) string { return strings.ToUpper(string(s)) },
		"class": class,
		"states": func() []State {
			return []State{Ready, Attention, Blocked}
		},
		"severities": func() []ledger.Severity {
			return []ledger.Severity{ledger.Blocker, ledger.Warning, ledger.Note}
		},
		"in":       func(v View, s State) int { return v.in(s) },
		"of":       ofSeverity,
		"advice":   func(s string) []span { return spans(p, s) },
		"commands": func(s string) []string { return commands(p, s) },
		"change":   change,
		"after":    after,
		"vlan":     vlanText,
		"when":     func(t time.Time) string { return t.Format("2006-01-02 15:04 MST") },
		"share":    share,
		"dict":     dict,
	}
}

// ofSeverity are the concerns of one severity.
func ofSeverity(cs []ledger.Concern, s ledger.Severity) []ledger.Concern {
	var out []ledger.Concern
	for _, c := range cs {
		if c.Severity == s {
			out = append(out, c)
		}
	}
	return out
}

// class is a state's in the style sheet.
func class(s State) string {
	switch s {
	case Ready:
		return "ready"
	case Attention:
		return "needs"
	case Blocked:
	}
	return "blocked"
}

// share is how much of a whole a part is, in thousandths, at most all of it.
func share(part, whole int64) int64 {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return int64(min(float64(part)/float64(whole), 1) * 1000)
}

// dict gives a template several values by name.
func dict(pairs ...any) (map[string]any, error) {
	m := make(map[string]any, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		name, ok := pair[0].(string)
		if !ok || len(pair) < 2 {
			return nil, fmt.Errorf("dict: %v is no name with a value", pair)
		}
		m[name] = pair[1]
	}
	return m, nil
}
