package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"esxodus/convert/plan"
	"esxodus/convert/source"
	"esxodus/convert/survey"
	"esxodus/convert/volume"
	"esxodus/inventory/esxi"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// maxPassword bounds what is read of a password file.
const maxPassword = 4096

// logger writes to stderr what --verbose asks for, and warnings always.
func logger(c *cli.Context, t terminal) *slog.Logger {
	level := slog.LevelWarn
	if c.Bool("verbose") {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.log(), &slog.HandlerOptions{Level: level}))
}

// sourceConfig puts together how to reach the ESXi host: flags first, then
// govc's environment, then a question. address, where not empty, is what a
// journal or plan says; the configuration file's doesn't count then.
func sourceConfig(c *cli.Context, t terminal, address string) (esxi.Config, error) {
	if flag := esxiFlag(c); flag != "" && !t.several && (address == "" || !t.settings.fromFile("esxi")) {
		address = flag
	}
	cfg, found, err := esxi.FromEnv(t.getenvAt, address)
	if err != nil {
		return cfg, usageErr(err)
	}
	if !found {
		return cfg, &exitError{
			code: exitUsage, err: errors.New("which ESXi host?"),
			hint: "give --esxi https://root@HOST, or set GOVC_URL",
		}
	}
	c = t.at(c, cfg.URL)
	if v := c.String("thumbprint"); v != "" {
		if b, err := hex.DecodeString(strings.ReplaceAll(v, ":", "")); err != nil || len(b) != sha256.Size {
			return cfg, usagef("--thumbprint %q: want a SHA-256 fingerprint, 64 hex digits with or without colons", v)
		}
		cfg.Thumbprint = v
	}
	cfg.Insecure = cfg.Insecure || c.Bool("insecure")
	cfg.LegacyTLS = c.Bool("legacy-tls")
	cfg.Log = logger(c, t)
	if cfg.Stall = c.Duration("stall"); cfg.Stall < 0 {
		return cfg, usagef("--stall %v: want a time such as 30s", cfg.Stall)
	}
	return cfg, askPassword(c, t, &cfg)
}

// chosenSources is where the command line says that the VMs are, for a plan and to be
// read from.
func chosenSources(c *cli.Context, t terminal) (from []survey.From, origins []origin, err error) {
	urls, err := hostURLs(c)
	if err != nil {
		return nil, nil, err
	}
	t.several = len(urls) > 1
	if err := t.mayBeSeveral(c, "from"); err != nil {
		return nil, nil, err
	}
	for _, url := range urls {
		src, o, err := chosenSource(c, t, url)
		if err != nil {
			return nil, nil, err
		}
		from, origins = append(from, survey.From{Host: o, Source: src}), append(origins, o)
	}
	return from, origins, nil
}

// hostURLs are the addresses that a command line names with --esxi, each once; one that
// is "" where there is none.
func hostURLs(c *cli.Context) ([]string, error) {
	if _, many := fileFlag(c.Command, "esxi").(*cli.StringSliceFlag); !many || !c.IsSet("esxi") {
		return []string{""}, nil // sourceConfig looks
	}
	urls := c.StringSlice("esxi")
	seen := make(map[string]bool)
	for _, text := range urls {
		u, _, err := esxi.ParseURL(text)
		if err != nil {
			return nil, usagef("--esxi: %w", err)
		}
		host := strings.ToLower(u.Host)
		if seen[host] {
			return nil, usagef("--esxi: %s is given twice", host)
		}
		seen[host] = true
	}
	return urls, nil
}

// esxiFlag is the host that a command line names, "" where it names none or several.
func esxiFlag(c *cli.Context) string {
	if urls := c.StringSlice("esxi"); len(urls) == 1 {
		return urls[0]
	} else if len(urls) > 1 {
		return ""
	}
	if flag, one := fileFlag(c.Command, "esxi").(*cli.StringFlag); one {
		return c.String(flag.Name)
	}
	return ""
}

// chosenSource is one of them.
func chosenSource(c *cli.Context, t terminal, url string) (plan.Source, origin, error) {
	if !c.IsSet("from") {
		return hostSource(c, t, url)
	}
	if err := oneOf(c, "esxi", "from"); err != nil {
		return plan.Source{}, nil, err
	}
	if c.String("shutdown") != "" {
		return plan.Source{}, nil, usagef("--shutdown and --from: files have no host that could shut a VM down")
	}
	if len(c.StringSlice("datastore"))+len(c.StringSlice("via")) > 0 || c.IsSet("scratch") {
		return plan.Source{}, nil, usagef("--datastore, --via, --scratch and --from: of files alone there is one way: give the others with --esxi")
	}
	path, err := filepath.Abs(c.String("from"))
	if err != nil || c.String("from") == "" {
		return plan.Source{}, nil, usagef("--from: want a directory, or an .ova or .ovf file")
	}
	path, files, err := source.At(c.Context, path)
	if err != nil {
		return plan.Source{}, nil, fmt.Errorf("--from: %w", err)
	}
	return plan.Source{From: path}, files, nil
}

// hostSource is the host of an address, or, where that is "", the one that the command
// line names.
func hostSource(c *cli.Context, t terminal, address string) (plan.Source, origin, error) {
	cfg, err := sourceConfig(c, t, address)
	if err != nil {
		return plan.Source{}, nil, err
	}
	c = t.at(c, cfg.URL)
	src := plan.Source{URL: sourceURL(cfg), Thumbprint: cfg.Thumbprint}
	if src.Datastores, err = datastores(c); err != nil {
		return src, nil, err
	}
	if c.IsSet("scratch") {
		if src.Scratch, err = directory("scratch", c.String("scratch")); err != nil {
			return src, nil, err
		}
	}
	if len(c.StringSlice("off")) > 0 {
		return src, nil, usagef("--off: a host says itself which VMs are off: it goes with --from")
	}
	return src, esxiOrigin(c, t, src, func() (esxi.Config, error) { return cfg, nil }), nil
}

// directory is the absolute path of one that is there.
func directory(flag, name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil || name == "" {
		return "", usagef("--%s: want a directory", flag)
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: not a directory", path)
	}
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	return path, nil
}

// datastores reads --datastore. A datastore's name may hold an equals sign, and so
// may a path.
func datastores(c *cli.Context) (map[string]string, error) {
	var out map[string]string
	for _, text := range c.StringSlice("datastore") {
		name, dir, ok := strings.Cut(text, "=/")
		if dir = "/" + dir; !ok {
			at := strings.LastIndex(text, "=")
			name, dir = text[:max(at, 0)], text[at+1:]
		}
		if name == "" {
			return nil, usagef("--datastore %s: want a datastore and where it is mounted: 'datastore1=/mnt/nfs'", text)
		}
		path, err := directory("datastore", dir)
		if err != nil {
			return nil, err
		}
		if _, twice := out[name]; twice {
			return nil, usagef("--datastore %s: it is given twice", name)
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[name] = path
	}
	return out, nil
}

// ways reads --via: a way for all, or VM=WAY.
func ways(c *cli.Context) (map[string]plan.Way, error) {
	out := make(map[string]plan.Way)
	for _, text := range c.StringSlice("via") {
		at := strings.LastIndex(text, "=")
		vm, way := text[:max(at, 0)], plan.Way(text[at+1:])
		if _, twice := out[vm]; twice || !slices.Contains(plan.Ways(), way) {
			return nil, usagef("--via %s: want https, ssh, nfc or file once, or for one VM: 'VM=ssh'", text)
		}
		out[vm] = way
	}
	return out, nil
}

// oneOf refuses more than one of flags that say the same thing differently.
func oneOf(c *cli.Context, flags ...string) error {
	var given []string
	for _, f := range flags {
		if c.IsSet(f) {
			given = append(given, "--"+f)
		}
	}
	if len(given) > 1 {
		return usagef("%s: the VMs are on a host or in files: give one of them", strings.Join(given, " and "))
	}
	return nil
}

// outsideOf refuses a place for disks in the directory that VMs are read from, in
// which nothing is written.
func outsideOf(from, storage string) error {
	dir, ok := strings.CutPrefix(storage, volume.KindDir+":")
	if !ok || from == "" {
		return nil
	}
	root, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return nil // beside an OVA there is room for others
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if inside, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(inside) {
		return usagef("--storage %s: it is in %s, where nothing is written: choose a directory outside of it", storage, from)
	}
	return nil
}

func usageErr(err error) error { return &exitError{code: exitUsage, err: err} }

// askPassword fills in the password: from the file, the environment (done
// already), or a person at the terminal.
func askPassword(c *cli.Context, t terminal, cfg *esxi.Config) error {
	if err := findPassword(c, t, cfg); err != nil {
		return &passwordError{err}
	}
	return nil
}

// passwordError says that there is no password. That the command line lacks it counts
// more than that a migration stops for it.
type passwordError struct{ err error }

func (e *passwordError) Error() string { return e.err.Error() }
func (e *passwordError) Unwrap() error { return e.err }

func findPassword(c *cli.Context, t terminal, cfg *esxi.Config) error {
	file := c.String("password-file")
	if file == "" {
		file = credentialFile(t.getenv, cfg.URL.Host, t.several)
	}
	if file != "" {
		secret, err := await(c.Context, func() (esxi.Secret, error) { return readPassword(file) }) // perhaps a pipe
		cfg.Password = secret
		return err
	}
	if cfg.Password != "" {
		return nil
	}
	if !t.interactive() {
		return &exitError{
			code: exitUsage, err: errors.New("no password, and no terminal to ask for it"),
			hint: "give --password-file FILE, or set GOVC_PASSWORD",
		}
	}
	user := cfg.URL.User.Username()
	if user == "" {
		user = "root"
	}
	prompt := func() { fmt.Fprintf(t.err, "Password of %s on %s: ", user, cfg.URL.Host) }
	secret, err := readHidden(c.Context, int(t.in.Fd()), prompt)
	fmt.Fprintln(t.err)
	cfg.Password = secret
	return err
}

// readHidden reads a line from a terminal that doesn't show it, from before the
// prompt on. It leaves the terminal as it was, also when it is interrupted.
func readHidden(ctx context.Context, fd int, prompt func()) (esxi.Secret, error) {
	was, err := term.GetState(fd)
	if err == nil {
		err = hide(fd)
	}
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(fd, was) }() // it has gone away if that can't be done
	prompt()
	b, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	switch {
	case ctx.Err() != nil:
		return "", err
	case errors.Is(err, io.EOF) || err == nil && len(b) == 0:
		return "", usagef("no password given")
	}
	return esxi.Secret(b), err
}

// hide turns a terminal's echo off.
func hide(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// await returns what a read that can't be interrupted returns, or ctx's cause
// when ctx ends first. The read then goes on until the program ends.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		value, err := read()
		got <- answer{value, err}
	}()
	select {
	case a := <-got:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func readPassword(file string) (esxi.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	line, err := bufio.NewReader(io.LimitReader(f, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usagef("--password-file %s: its first line is empty", file)
	}
	return esxi.Secret(line), nil
}

// dial connects to the ESXi host that the command line names.
func dial(ctx context.Context, c *cli.Context, t terminal) (*esxi.Client, esxi.Config, error) {
	cfg, err := sourceConfig(c, t, "")
	if err != nil {
		return nil, cfg, err
	}
	client, err := esxi.Dial(ctx, cfg)
	return client, cfg, err
}
