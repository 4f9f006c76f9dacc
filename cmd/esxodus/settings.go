package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/inventory/fit"
	"esxodus/inventory/redact"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// maxConfig bounds what is read of a configuration file, in bytes.
const maxConfig = 1 << 20

// setting is what a configuration file says of one flag.
type setting struct {
	words   []string // one, or those of a flag that is repeatable
	line    int
	profile string // in which it stands, or ""
}

// layer is a part of a configuration file, by flag: what it says for all commands, and
// for one.
type layer struct {
	all      map[string]setting
	commands map[string]map[string]setting
}

// of is what a layer says of a command's flag.
func (l layer) of(command, flag string) (setting, bool) {
	if s, ok := l.commands[command][flag]; ok {
		return s, true
	}
	s, ok := l.all[flag]
	return s, ok
}

// configFile is a configuration file, with the profile that is used of it.
type configFile struct {
	path    string
	profile string
	// layers: the one that counts first is first.
	layers []layer
	// hosts are what is one ESXi host's own, by its name.
	hosts map[string]map[string]setting
}

// configParser reads the nodes of a configuration file.
type configParser struct {
	path string
	app  *cli.App
}

// at is an error in the file.
func (p configParser) at(n *yaml.Node, hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf("%s:%d: %w", p.path, n.Line, fmt.Errorf(format, args...)), hint: hint}
}

// readConfig reads a configuration file, and takes the profile of that name, or, where
// that is "", the one that the file chooses.
func readConfig(path, profile string, app *cli.App) (*configFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, usagef("%s: longer than 1 MiB: that is no configuration file", path)
	}
	return parseConfig(path, text, profile, app)
}

// yamlLine is where the YAML reader says that something is wrong.
var yamlLine = regexp.MustCompile(`^ yaml: line ([0-9]+): `)

func parseConfig(path string, text []byte, profile string, app *cli.App) (*configFile, error) {
	p := configParser{path: path, app: app}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, usagef("%s:%s", path, yamlLine.ReplaceAllString(" "+err.Error(), "$1: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: more than one YAML document: want one", path)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
		root = doc.Content[0]
	}
	base, extra, err := p.layer(root, "", "profile", "profiles", "hosts")
	if err != nil {
		return nil, err
	}
	out := &configFile{path: path, profile: profile, layers: []layer{base}}
	if out.hosts, err = p.hosts(extra["hosts"]); err != nil {
		return nil, err
	}
	chosen := extra["profile"]
	if chosen != nil {
		words, err := p.words("profile", "a profile's name", chosen)
		if err == nil {
			err = p.fits(&cli.StringFlag{Name: "profile"}, chosen, words)
		}
		if err != nil {
			return nil, err
		}
		if out.profile == "" {
			out.profile = words[0]
		}
	}
	profiles, err := p.profiles(extra["profiles"])
	if err != nil {
		return nil, err
	}
	if out.profile == "" {
		return out, nil
	}
	l, ok := profiles[out.profile]
	if !ok {
		return nil, p.noProfile(out.profile, slices.Sorted(maps.Keys(profiles)))
	}
	out.layers = []layer{l, base}
	return out, nil
}

// noProfile is the error for one that isn't there.
func (p configParser) noProfile(name string, names []string) error {
	hint := "it has none: they are written as `profiles: {NAME: {KEY: VALUE}}`"
	if len(names) > 0 {
		hint = "it has " + strings.Join(names, ", ")
	}
	if like := nearest(name, names); like != "" {
		hint = "did you mean " + like + "? " + hint
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("%s: there is no profile %q", p.path, name), hint: hint}
}

// profiles reads all profiles: what is wrong in one that isn't used is said, too.
func (p configParser) profiles(n *yaml.Node) (map[string]layer, error) {
	out := make(map[string]layer)
	if n == nil {
		return out, nil
	}
	entries, err := p.entries(n, "profiles")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if out[e.key.Value], _, err = p.layer(e.value, e.key.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hosts reads what is each host's own.
func (p configParser) hosts(n *yaml.Node) (map[string]map[string]setting, error) {
	out := make(map[string]map[string]setting)
	if n == nil {
		return out, nil
	}
	entries, err := p.entries(n, "hosts")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		keys, err := p.entries(e.value, "hosts: "+redact.Text(e.key.Value))
		if err != nil {
			return nil, err
		}
		own := make(map[string]setting)
		for _, k := range keys {
			if !slices.Contains(hostFlags(), k.key.Value) {
				return nil, p.at(k.key, "a host may have "+strings.Join(hostFlags(), ", "), "%q can't be one host's own", redact.Text(k.key.Value))
			}
			if own[k.key.Value], err = p.setting(k, nil, "", nil); err != nil {
				return nil, err
			}
		}
		out[hostName(e.key.Value)] = own
	}
	return out, nil
}

// entry is one key of a mapping, and what it holds.
type entry struct{ key, value *yaml.Node }

// entries are those of a mapping, each key once.
func (p configParser) entries(n *yaml.Node, what string) ([]entry, error) {
	if n.Kind != yaml.MappingNode {
		return nil, p.at(n, "", "%s: want keys with values, as in `KEY: VALUE`", what)
	}
	var out []entry
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, p.at(key, "", "%s: a key is a word", what)
		}
		if line, twice := seen[key.Value]; twice {
			return nil, p.at(key, "", "%q is there twice, first in line %d", redact.Text(key.Value), line)
		}
		seen[key.Value] = key.Line
		out = append(out, entry{key, n.Content[i+1]})
	}
	return out, nil
}

// layer reads the file's keys, or those of a profile. Those named in other are returned
// as they are.
func (p configParser) layer(n *yaml.Node, profile string, other ...string) (layer, map[string]*yaml.Node, error) {
	l, extra := layer{all: make(map[string]setting), commands: make(map[string]map[string]setting)}, make(map[string]*yaml.Node)
	what := "the file"
	if profile != "" {
		what = "the profile " + profile
	}
	entries, err := p.entries(n, what)
	if err != nil {
		return l, nil, err
	}
	for _, e := range entries {
		name := e.key.Value
		cmd := p.app.Command(name)
		switch {
		case slices.Contains(other, name):
			extra[name] = e.value
		case e.value.Kind == yaml.MappingNode && cmd != nil && configurable(cmd):
			if l.commands[name], err = p.section(e.value, cmd, profile); err != nil {
				return l, nil, err
			}
		default:
			if l.all[name], err = p.setting(e, nil, profile, other); err != nil {
				return l, nil, err
			}
		}
	}
	return l, extra, nil
}

// section reads the keys that are for one command.
func (p configParser) section(n *yaml.Node, cmd *cli.Command, profile string) (map[string]setting, error) {
	out := make(map[string]setting)
	entries, err := p.entries(n, cmd.Name)
	for _, e := range entries {
		if out[e.key.Value], err = p.setting(e, cmd, profile, nil); err != nil {
			return nil, err
		}
	}
	return out, err
}

// setting reads one key, of a command's flag or, where cmd is nil, of any's.
func (p configParser) setting(e entry, cmd *cli.Command, profile string, other []string) (setting, error) {
	name := e.key.Value
	if why := unkept()[name]; why != "" {
		return setting{}, p.at(e.key, "", "%s can't be in a file: %s", name, why)
	}
	commands := p.app.VisibleCommands()
	if cmd != nil {
		commands = []*cli.Command{cmd}
	}
	var kinds []cli.Flag
	for _, c := range commands {
		if f := fileFlag(c, name); f != nil {
			kinds = append(kinds, f)
		}
	}
	if len(kinds) == 0 {
		return setting{}, p.unknown(e, cmd, other)
	}
	words, err := p.words(name, "a value", e.value)
	for _, f := range kinds {
		if err == nil {
			err = p.fits(f, e.value, words)
		}
	}
	return setting{words: words, line: e.key.Line, profile: profile}, err
}

// unknown is the error for a key that is no flag, with what may have been meant.
func (p configParser) unknown(e entry, cmd *cli.Command, other []string) error {
	var names []string
	hint := "`esxodus help configuration` says what a file may hold"
	if cmd != nil {
		names = fileFlags(cmd)
	} else {
		names = slices.Clone(other)
		for _, c := range p.app.VisibleCommands() {
			names = append(names, fileFlags(c)...)
			if configurable(c) && e.value.Kind == yaml.MappingNode {
				names = append(names, c.Name)
			}
		}
	}
	if others := takers(p.app, e.key.Value); len(others) > 0 {
		hint = "it is a flag of " + strings.Join(others, ", ") + "; " + hint
	} else if like := nearest(e.key.Value, names); like != "" {
		hint = "did you mean " + like + "? " + hint
	}
	of := ""
	if cmd != nil {
		of = " for " + cmd.Name
	}
	return p.at(e.key, hint, "unknown key %q%s", redact.Text(e.key.Value), of)
}

// words are the values of a key: one, or a list. None has a password in it.
func (p configParser) words(name, want string, n *yaml.Node) ([]string, error) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []string
	for _, n := range list {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, p.at(n, "", "%s: want %s", name, want)
		}
		if len(redact.Known(n.Value)) > 0 || redact.Text(n.Value) != n.Value {
			return nil, p.at(n, "put it into a file that only root can read, and name that: `password-file: FILE`", "%s: a password doesn't belong in the configuration", name)
		}
		out = append(out, n.Value)
	}
	if len(out) == 0 {
		return nil, p.at(n, "", "%s: want %s", name, want)
	}
	return out, nil
}

// fits makes sure that a flag takes the words.
func (p configParser) fits(f cli.Flag, n *yaml.Node, words []string) error {
	name := f.Names()[0]
	if _, list := f.(*cli.StringSliceFlag); list {
		return nil
	}
	if n.Kind == yaml.SequenceNode {
		return p.at(n, "", "%s: want one value, not a list", name)
	}
	var err error
	var want string
	switch f.(type) {
	case *cli.BoolFlag:
		want = "true or false"
		if words[0] != "true" && words[0] != "false" {
			err = errors.ErrUnsupported
		}
	case *cli.IntFlag:
		want = "a number"
		_, err = strconv.Atoi(words[0])
	case *cli.DurationFlag:
		want = "a time such as 30s or 2m"
		_, err = time.ParseDuration(words[0])
	}
	if err != nil {
		return p.at(n, "", "%s %q: want %s", name, words[0], want)
	}
	if list := choices()[name]; list != nil && !slices.Contains(list, words[0]) {
		return p.at(n, "", "%s %q: want one of %s", name, words[0], strings.Join(list, ", "))
	}
	return nil
}

// unkept are the flags that no file can hold, and why.
func unkept() map[string]string {
	each := "it is decided each time"
	return map[string]string{
		"yes": each, "back": each, "lost": each, "overwrite": each, "plan": each, "o": each, "help": each, "detach": each,
		"config": "it says which file that is",
	}
}

// unheard are the flags of a command that the file isn't heard for: the journal says what
// was planned, and a throttle changes only what it is asked to.
func unheard(command string) []string {
	return map[string][]string{"resume": {"proof", "no-proof"}, "throttle": {"rate", "connections"}}[command]
}

// configurable tells whether a command takes values from the file.
func configurable(cmd *cli.Command) bool {
	return !cmd.Hidden && fileFlag(cmd, "config") != nil
}

// fileFlag is a command's flag of that name, which is its first one, or nil.
func fileFlag(cmd *cli.Command, name string) cli.Flag {
	for _, f := range cmd.Flags {
		if f.Names()[0] == name {
			return f
		}
	}
	return nil
}

// fileFlags are the flags of a command that a file may hold.
func fileFlags(cmd *cli.Command) []string {
	var names []string
	for _, f := range cmd.Flags {
		name := f.Names()[0]
		if unkept()[name] == "" && name != "profile" && !slices.Contains(unheard(cmd.Name), name) {
			names = append(names, name)
		}
	}
	return names
}

// shadows are the flags of the file that one before it in precedence leaves unheard,
// as they say another thing in its place.
func shadows() map[string][]string {
	networks := []string{"uplink", "network", "sriov", "peer", "network-file"}
	return map[string][]string{
		"esxi":     {"from", "off", "vmx"},
		"from":     {"esxi", "vmx", "shutdown", "power-off", "datastore", "via", "scratch"},
		"vmx":      {"esxi", "from"},
		"proof":    {"no-proof"},
		"no-proof": {"proof"},
		"plan":     networks,
	}
}

// ofEnvironment are the variables that are no flag's own, but say the same.
func ofEnvironment() map[string]string {
	return map[string]string{"esxi": "GOVC_URL", "insecure": "GOVC_INSECURE", "password-file": "GOVC_PASSWORD"}
}

// settled is where a command's flag has its value from.
type settled struct {
	setting
	from, variable string
}

// The places that a value comes from, in the order in which they count.
const (
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromProfile     = "profile"
	fromFile        = "file"
	fromDefault     = "default"
)

// settle says where each flag of a command has its value from. given tells which flags
// are on the command line; file may be nil.
func settle(cmd *cli.Command, file *configFile, getenv func(string) string, given func(flag string) bool) map[string]settled {
	out, gone := make(map[string]settled), make(map[string]bool)
	take := func(found map[string]settled) {
		for name, s := range found {
			out[name] = s
			for _, other := range shadows()[name] {
				gone[other] = true
			}
		}
	}
	outside := make(map[string]settled)
	for _, f := range cmd.Flags {
		name := f.Names()[0]
		if s := (settled{from: fromFlag}); given(name) {
			outside[name] = s
		} else if s.from, s.variable = fromEnvironment, variableOf(f, getenv); s.variable != "" {
			outside[name] = s
		}
	}
	take(outside)
	if file == nil {
		return out
	}
	for _, l := range file.layers {
		found := make(map[string]settled)
		for _, name := range fileFlags(cmd) {
			s, ok := l.of(cmd.Name, name)
			if _, taken := out[name]; !ok || taken || gone[name] {
				continue
			}
			from := fromFile
			if s.profile != "" {
				from = fromProfile
			}
			found[name] = settled{setting: s, from: from}
		}
		take(found)
	}
	return out
}

// variableOf is the variable that has a flag's value, or "".
func variableOf(f cli.Flag, getenv func(string) string) string {
	names := []string{ofEnvironment()[f.Names()[0]]}
	if f.Names()[0] == "password-file" && credentialFile(getenv, "", false) != "" {
		return "CREDENTIALS_DIRECTORY"
	}
	if f.Names()[0] == "password-file" && len(redact.Known(getenv("GOVC_URL"))) > 0 {
		return "GOVC_URL"
	}
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		names = append(names, doc.GetEnvVars()...)
	}
	for _, name := range names {
		if name != "" && getenv(name) != "" {
			return name
		}
	}
	return ""
}

// settings are what the configuration file gave this command.
type settings struct {
	file *configFile
	of   map[string]settled
}

// fromFile tells whether a flag has its value from the file.
func (s *settings) fromFile(flag string) bool {
	return s != nil && (s.of[flag].from == fromFile || s.of[flag].from == fromProfile)
}

// configPath is where the file is unless --config or ESXODUS_CONFIG says another.
const configPath = "/etc/esxodus/config.yaml"

// configFlags choose the configuration file and what is used of it.
func configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Value: configPath, EnvVars: []string{"ESXODUS_CONFIG"}, Usage: "take what isn't said otherwise from the configuration `FILE`"},
		&cli.StringFlag{Name: "profile", Usage: "use the profile `NAME` of the configuration file"},
	}
}

// openConfig reads the file that a command line chooses; nil where there is none.
func openConfig(c *cli.Context) (*configFile, error) {
	path, profile := c.String("config"), c.String("profile")
	named := c.IsSet("config")
	if named && path == "" {
		path = os.DevNull
	}
	file, err := readConfig(path, profile, c.App)
	if errors.Is(err, os.ErrNotExist) && !named && profile == "" {
		return nil, nil //nolint:nilnil // no file says nothing
	}
	if err != nil && exitCode(err) != exitUsage {
		err = fmt.Errorf("the configuration file: %w", err)
		if errors.Is(err, os.ErrNotExist) {
			err = usageErr(err)
		}
	}
	return file, err
}

// heed gives the flags of a command the values that the file has for them.
func (s *settings) heed(c *cli.Context, getenv func(string) string) error {
	if !configurable(c.Command) || c.Command.Name == "config" {
		return nil
	}
	file, err := openConfig(c)
	if err != nil || file == nil {
		return err
	}
	s.file, s.of = file, settle(c.Command, file, getenv, c.IsSet)
	for name, v := range s.of {
		if !s.fromFile(name) {
			continue
		}
		for _, word := range v.words {
			if err := c.Set(name, word); err != nil {
				return usagef("%s:%d: %s %q: %w", file.path, v.line, name, fit.TerminalLine(word), err)
			}
		}
	}
	return nil
}
