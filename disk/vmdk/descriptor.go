package vmdk

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDescriptor = 64 << 10 // bytes
	noParent      = 0xffffffff
)

// Descriptor is the text that describes a disk (Virtual Disk Format 5.0, "The
// Descriptor File").
type Descriptor struct {
	Version         int               // 1 to 3
	Encoding        string            // as written; UTF-8 if absent
	CID             uint32            // content ID; fffffffe refers to ddb.longContentID
	ParentCID       uint32            // ffffffff if there is no parent
	ParentHint      string            // parentFileNameHint
	CreateType      string            // as written: "vmfs", "monolithicSparse", …
	Native          bool              // isNativeSnapshot: the array made it
	ChangeTrackPath string            // changed-block tracking file, if any
	Extents         []Extent          // in the disk's order
	DDB             map[string]string // "ddb.adapterType" and the like, keys in lower case
}

// Extent is an extent line of a descriptor.
type Extent struct {
	Access  string // RW, RDONLY or NOACCESS
	Sectors int64  // length on the disk, more than 0
	Kind    string // FLAT, SPARSE, ZERO, VMFS, … in upper case
	Name    string // of the file, in UTF-8; empty for ZERO
	Offset  int64  // sectors into the file
	Device  string // what else the line of a physical device says
}

// HasParent reports whether the disk holds only the changes to another one.
func (d *Descriptor) HasParent() bool { return d.ParentCID != noParent }

// Size is the disk's size in bytes.
func (d *Descriptor) Size() int64 {
	var n int64
	for _, e := range d.Extents {
		n += e.Sectors * sectorSize
	}
	return n
}

// IsDescriptor reports whether b begins like a descriptor.
func IsDescriptor(b []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(b[:min(len(b), 512)], " \t\r\n"), []byte("\n"))
	s := strings.ToLower(strings.Join(strings.Fields(string(line)), ""))
	return s == "#diskdescriptorfile"
}

// ParseDescriptor parses the text of a descriptor in the encoding that it
// names (UTF-8, windows-1252, GBK, Big5 or Shift_JIS). Its errors wrap
// [ErrFormat] and name the line. It doesn't judge whether the disk can be
// read.
func ParseDescriptor(b []byte) (Descriptor, error) {
	if len(b) > maxDescriptor {
		return Descriptor{}, fmt.Errorf("%w: descriptor of %d bytes; the limit is %d", ErrFormat, len(b), maxDescriptor)
	}
	if !IsDescriptor(b) {
		return Descriptor{}, fmt.Errorf("%w: descriptor doesn't begin with \"# Disk DescriptorFile\"", ErrFormat)
	}
	// qemu-img pads with zeros, and when its random CID gets shorter in the
	// second writing, the end of the first text stands behind them.
	b, _, _ = bytes.Cut(b, []byte{0})
	text, err := decode(b)
	if err != nil {
		return Descriptor{}, fmt.Errorf("%w: descriptor: %w", ErrFormat, err)
	}
	p := parser{seen: map[string]string{}}
	p.d.ParentCID = noParent
	p.d.DDB = map[string]string{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if err := p.line(strings.TrimRight(line, "\r\n")); err != nil {
			return Descriptor{}, fmt.Errorf("%w: descriptor line %d: %w", ErrFormat, n, err)
		}
	}
	if err := p.finish(); err != nil {
		return Descriptor{}, fmt.Errorf("%w: descriptor: %w", ErrFormat, err)
	}
	return p.d, nil
}

// parser gathers a descriptor line by line.
type parser struct {
	d       Descriptor
	seen    map[string]string // keys other than ddb's
	sectors int64
}

func (p *parser) line(s string) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("control character %q", s[i])
	}
	s = strings.Trim(s, " \t")
	if s == "" || s[0] == '#' {
		return nil
	}
	switch word, rest, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " "); strings.ToUpper(word) {
	case "RW", "RDONLY", "NOACCESS":
		return p.extent(strings.ToUpper(word), rest)
	}
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("neither a key nor an extent: %.80q", s)
	}
	return p.pair(strings.ToLower(strings.Trim(key, " \t")), unquote(strings.Trim(value, " \t")))
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func (p *parser) pair(key, value string) error {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("impossible key %.80q", key)
	}
	if strings.HasPrefix(key, "ddb.") {
		p.d.DDB[key] = value
		return nil
	}
	if old, dup := p.seen[key]; dup && old != value {
		return fmt.Errorf("%s is %.80q here and %.80q before", key, value, old)
	}
	p.seen[key] = value
	var err error
	switch key {
	case "version":
		p.d.Version, err = strconv.Atoi(value)
	case "encoding":
		p.d.Encoding = value
	case "cid":
		p.d.CID, err = contentID(value)
	case "parentcid":
		p.d.ParentCID, err = contentID(value)
	case "parentfilenamehint":
		p.d.ParentHint = value
	case "createtype":
		p.d.CreateType = value
	case "isnativesnapshot":
		p.d.Native = strings.EqualFold(value, "yes")
	case "changetrackpath":
		p.d.ChangeTrackPath = value
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func contentID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	return uint32(n), err
}

// extent parses what follows the access of an extent line:
//
//	4192256 FLAT "name with spaces.vmdk" 0
func (p *parser) extent(access, s string) error {
	size, s, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
	sectors, err := strconv.ParseInt(size, 10, 64)
	if err != nil || sectors <= 0 || sectors > maxSectors {
		return fmt.Errorf("extent: %.40q is not a number of sectors from 1 to %d", size, int64(maxSectors))
	}
	if p.sectors += sectors; p.sectors > maxSectors {
		return fmt.Errorf("extent: the disk becomes larger than %d sectors", int64(maxSectors))
	}
	kind, s, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
	e := Extent{Access: access, Sectors: sectors, Kind: strings.ToUpper(kind)}
	if kind == "" || strings.Trim(e.Kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return fmt.Errorf("extent: impossible type %.40q", kind)
	}
	if err := e.file(strings.Trim(s, " ")); err != nil {
		return err
	}
	p.d.Extents = append(p.d.Extents, e)
	return nil
}

// file parses the end of an extent line: a quoted name and perhaps an offset.
// A quote inside the name isn't escaped, so the last one ends it.
func (e *Extent) file(s string) error {
	if s == "" && e.Kind == "ZERO" {
		return nil
	}
	end := strings.LastIndexByte(s, '"')
	if end < 1 || s[0] != '"' {
		return fmt.Errorf("extent: %.80q is not a quoted file name", s)
	}
	e.Name = s[1:end]
	if e.Name == "" && e.Kind != "ZERO" {
		return fmt.Errorf("extent of type %s without a file name", e.Kind)
	}
	offset, device, _ := strings.Cut(strings.Trim(s[end+1:], " "), " ")
	e.Device = strings.Trim(device, " ")
	if offset == "" {
		return nil
	}
	n, err := strconv.ParseInt(offset, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/sectorSize-e.Sectors {
		return fmt.Errorf("extent: impossible offset %.40q", offset)
	}
	e.Offset = n
	return nil
}

// finish checks that nothing is missing.
func (p *parser) finish() error {
	for _, key := range []string{"version", "cid", "parentcid", "createtype"} {
		if _, ok := p.seen[key]; !ok {
			return fmt.Errorf("no %s", key)
		}
	}
	if len(p.d.Extents) == 0 {
		return fmt.Errorf("no extents")
	}
	return nil
}

// String is the descriptor's text in UTF-8, as ESXi lays it out. Parsing it
// gives the same Descriptor, but for the encoding.
func (d *Descriptor) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Disk DescriptorFile\nversion=%d\nencoding=\"UTF-8\"\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n",
		d.Version, d.CID, d.ParentCID, d.CreateType)
	if d.ParentHint != "" {
		fmt.Fprintf(&b, "parentFileNameHint=\"%s\"\n", d.ParentHint)
	}
	if d.Native {
		b.WriteString("isNativeSnapshot=\"yes\"\n")
	}
	b.WriteString("\n# Extent description\n")
	for _, e := range d.Extents {
		fmt.Fprintf(&b, "%s %d %s", e.Access, e.Sectors, e.Kind)
		if e.Name != "" {
			fmt.Fprintf(&b, " \"%s\"", e.Name)
		}
		if e.Name != "" && (e.Offset != 0 || e.Kind == "FLAT" || e.Device != "") {
			fmt.Fprintf(&b, " %d", e.Offset)
		}
		if e.Device != "" {
			fmt.Fprintf(&b, " %s", e.Device)
		}
		b.WriteByte('\n')
	}
	if d.ChangeTrackPath != "" {
		fmt.Fprintf(&b, "\n# Change Tracking File\nchangeTrackPath=\"%s\"\n", d.ChangeTrackPath)
	}
	b.WriteString("\n# The Disk Data Base\n#DDB\n\n")
	for _, k := range slices.Sorted(maps.Keys(d.DDB)) {
		fmt.Fprintf(&b, "%s = \"%s\"\n", k, d.DDB[k])
	}
	return b.String()
}
