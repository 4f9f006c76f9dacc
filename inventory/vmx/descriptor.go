package vmx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"

	"esxodus/inventory"
)

const (
	maxLinks      = 64      // of a snapshot chain; ESXi allows 32
	maxDescriptor = 1 << 20 // bytes looked at
	sector        = 512
)

// descriptor is the part of a VMDK's descriptor that the model shows. The copy
// itself uses package disk/vmdk, which reads all of it, strictly.
type descriptor struct {
	capacity int64 // bytes
	kind     string
	cid      string
	longCID  string // 128 bits, of which cid is the end
	parent   string // file name, "" for a base disk
	uuid     string
	thin     bool
}

var (
	extentLine = regexp.MustCompile(`(?i)^(RW|RDONLY|NOACCESS)\s+([0-9]+)\s+[A-Z]+`)
	settingRE  = regexp.MustCompile(`^([A-Za-z.]+)\s*=\s*"?([^"]*)"?$`)
)

// readDescriptor reads a descriptor file, or the descriptor inside a sparse
// extent.
func readDescriptor(fsys fs.FS, name string) (_ descriptor, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return descriptor{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if fi, err := f.Stat(); err != nil {
		return descriptor{}, err
	} else if !fi.Mode().IsRegular() {
		return descriptor{}, fmt.Errorf("%s: not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDescriptor))
	if err != nil {
		return descriptor{}, fmt.Errorf("%s: %w", name, err)
	}
	d, err := parseDescriptor(b)
	if err != nil {
		return descriptor{}, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

func parseDescriptor(b []byte) (descriptor, error) {
	var d descriptor
	text, header := b, int64(-1)
	if bytes.HasPrefix(b, []byte("KDMV")) {
		var err error
		if text, header, err = embedded(b); err != nil {
			return d, err
		}
	}
	if !bytes.Contains(text[:min(len(text), sector)], []byte("# Disk")) {
		return d, errors.New("not a VMDK descriptor")
	}
	total := int64(0)
	for line := range strings.Lines(decoded(bytes.TrimRight(text, "\x00"))) {
		line = strings.TrimSpace(line)
		if m := extentLine.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseInt(m[2], 10, 64)
			if err != nil || n > math.MaxInt64/sector || total > math.MaxInt64-n*sector {
				return d, fmt.Errorf("extent of %.30s sectors", m[2])
			}
			total += n * sector
		} else if m := settingRE.FindStringSubmatch(line); m != nil {
			d.set(strings.ToLower(m[1]), m[2])
		}
	}
	if d.capacity = total; header >= 0 {
		d.capacity = header
	}
	const onlyLong = "fffffffe"
	if strings.HasSuffix(d.longCID, d.cid) || d.longCID != "" && d.cid == onlyLong {
		d.cid = d.longCID // as the API has it; a program that knows only the short one changes that alone
	}
	if d.capacity == 0 {
		return d, errors.New("descriptor has no extent")
	}
	return d, nil
}

// decoded is the text of a descriptor in the encoding that it names.
func decoded(text []byte) string {
	for line := range bytes.Lines(text) {
		m := settingRE.FindSubmatch(bytes.TrimSpace(line))
		if m == nil || !bytes.EqualFold(m[1], []byte("encoding")) {
			continue
		}
		if e := byName(string(m[2])); e != nil {
			return charset{Encoding: e}.decode(text)
		}
	}
	return string(text)
}

// embedded returns the descriptor text and the capacity of a sparse extent.
func embedded(b []byte) ([]byte, int64, error) {
	if len(b) < sector {
		return nil, 0, errors.New("sparse extent is cut short")
	}
	sectors, at, size := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[28:]), binary.LittleEndian.Uint64(b[36:])
	if sectors > math.MaxInt64/sector {
		return nil, 0, fmt.Errorf("capacity of %d sectors", sectors)
	}
	if at == 0 || at > maxDescriptor/sector || size > maxDescriptor/sector || (at+size)*sector > uint64(len(b)) {
		return nil, 0, fmt.Errorf("no descriptor at sector %d of a sparse extent", at)
	}
	return b[at*sector : (at+size)*sector], int64(sectors) * sector, nil
}

func (d *descriptor) set(key, value string) {
	switch key {
	case "createtype":
		d.kind = value
	case "cid":
		d.cid = strings.ToLower(value)
	case "parentfilenamehint":
		d.parent = value
	case "ddb.longcontentid":
		d.longCID = strings.ToLower(value)
	case "ddb.uuid":
		d.uuid = inventory.UUID(value)
	case "ddb.thinprovisioned":
		d.thin = value == "1"
	}
}

// format is the word of inventory.Disk.Format for the descriptor's type.
func (d *descriptor) format() inventory.DiskFormat {
	switch strings.ToLower(d.kind) {
	case "vmfssparse", "monolithicsparse", "twogbmaxextentsparse", "streamoptimized":
		return inventory.FormatSparse
	case "sesparse":
		return inventory.FormatSESparse
	case "vmfsrdm", "vmfsrawdevicemap":
		return inventory.FormatRDM
	case "vmfsrdmp", "vmfspassthroughrawdevicemap", "fulldevice", "vmfsraw", "partitioneddevice":
		return inventory.FormatRawPhysical
	}
	return inventory.FormatFlat
}
