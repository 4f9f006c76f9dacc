package concerns

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"esxodus/convert/ledger"
)

// used is what the code does with one id: the severities that it says with it,
// and where.
type used struct {
	severities []ledger.Severity
	where      []string
}

// code is what the program's files say about concerns.
type code struct {
	t       *testing.T
	files   *token.FileSet
	ids     map[string]string // by package and constant: "domain.ConcernRDM"
	uses    map[string]*used  // by id
	literal []string          // where an id is no constant
	file    *ast.File         // the one at hand
}

var constant = regexp.MustCompile(`^Concern[A-Z]`)

// readCode parses all of the program but its tests. A helper that is given its
// ids by others has the severities of its own body.
func readCode(t *testing.T) *code {
	t.Helper()
	c := &code{t: t, files: token.NewFileSet(), ids: map[string]string{}, uses: map[string]*used{}}
	var parsed []*ast.File
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (d.Name() == "testdata" || d.Name() == "fixtures" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "oncern") {
			return err
		}
		f, err := parser.ParseFile(c.files, path, text, parser.SkipObjectResolution)
		parsed = append(parsed, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range parsed {
		c.constants(f)
	}
	for _, c.file = range parsed {
		f := c.file
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				c.function(f.Name.Name, fn)
			}
		}
	}
	return c
}

func (c *code) constants(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range v.Names {
			if constant.MatchString(name.Name) && i < len(v.Values) {
				c.ids[f.Name.Name+"."+name.Name] = c.text(v.Values[i])
			}
		}
		return true
	})
}

// text is the value of a string that stands in the code, else "".
func (c *code) text(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(l.Value)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// id is that of a constant's name, with or without its package.
func (c *code) id(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return c.ids[pkg+"."+e.Name]
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return c.ids[x.Name+"."+e.Sel.Name]
		}
	}
	return ""
}

// function notes each concern that a function makes: a value of that type, or a
// call that is given an id and what was seen.
func (c *code) function(pkg string, fn *ast.FuncDecl) {
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "ID" {
					c.use(pkg, fn, n, kv.Value, isConcern(n))
				}
			}
		case *ast.CallExpr:
			if name := called(n); len(n.Args) >= 3 {
				c.use(pkg, fn, n, n.Args[0], name == "concern" || name == "add" && c.id(pkg, n.Args[0]) != "")
			}
		}
		return true
	})
}

func isConcern(l *ast.CompositeLit) bool {
	switch t := l.Type.(type) {
	case *ast.Ident:
		return t.Name == "Concern"
	case *ast.SelectorExpr:
		return t.Sel.Name == "Concern"
	}
	return l.Type == nil // an element of a list
}

func called(n *ast.CallExpr) string {
	switch f := n.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// use notes an id where a concern is made of it.
func (c *code) use(pkg string, fn *ast.FuncDecl, made ast.Node, e ast.Expr, concern bool) {
	if !concern {
		return
	}
	at := c.files.Position(e.Pos()).String()
	if strings.Contains(c.text(e), ".") {
		c.literal = append(c.literal, at)
	}
	id := c.id(pkg, e)
	if id == "" {
		return
	}
	u := c.uses[id]
	if u == nil {
		u = &used{}
		c.uses[id] = u
	}
	u.where = append(u.where, at)
	said := severities(made)
	if len(said) == 0 || resets(fn, made) {
		said = severities(fn)
	}
	if len(said) == 0 { // handed in: all that the file names
		said = severities(c.file)
	}
	for _, s := range said {
		if !slices.Contains(u.severities, s) {
			u.severities = append(u.severities, s)
		}
	}
}

// resets reports whether a function keeps a concern that it makes in a variable, and
// gives it another severity later.
func resets(fn *ast.FuncDecl, made ast.Node) (yes bool) {
	var name string
	ast.Inspect(fn, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		if v, ok := a.Lhs[0].(*ast.Ident); ok && a.Rhs[0] == made {
			name = v.Name
		}
		for _, l := range a.Lhs {
			if s, ok := l.(*ast.SelectorExpr); ok && s.Sel.Name == "Severity" {
				v, ok := s.X.(*ast.Ident)
				yes = yes || ok && v.Name == name
			}
		}
		return true
	})
	return yes
}

// severities are those that a piece of code names.
func severities(n ast.Node) (out []ledger.Severity) {
	ast.Inspect(n, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "ledger" && slices.Contains([]string{"Blocker", "Warning", "Note"}, s.Sel.Name) {
				out = append(out, ledger.Severity(strings.ToLower(s.Sel.Name)))
			}
		}
		return true
	})
	return out
}
