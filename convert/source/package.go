package source

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"esxodus/convert/plan"
	"esxodus/disk"
	"esxodus/disk/vmdk"
	"esxodus/inventory"
	"esxodus/inventory/ovf"
)

// Package is VMs that were exported: an OVA, or an OVF descriptor with its files beside
// it. An OVA is read in place, never unpacked. What its manifest has a digest of is
// compared with that before it is used, once for each state of the file.
type Package struct {
	noHost

	Path string // of the .ova or .ovf, absolute

	mu      sync.Mutex
	checked map[string]string // the version of each file whose digest is right
}

// errPackage is wrapped by errors about what is in a package.
var errPackage = errors.New("package")

// inOVA reports whether all of it is in one file.
func (s *Package) inOVA() bool { return strings.EqualFold(filepath.Ext(s.Path), ".ova") }

// Inventory reads the descriptor, and compares it with the manifest.
func (s *Package) Inventory(ctx context.Context) (*inventory.Host, error) {
	h, err := s.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	return h, nil
}

func (s *Package) read(ctx context.Context) (*inventory.Host, error) {
	name, err := s.descriptor()
	if err != nil {
		return nil, err
	}
	sums, err := s.manifest()
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, name, sums); err != nil {
		return nil, err
	}
	text, err := s.small(name, ovf.MaxSize)
	if err != nil {
		return nil, err
	}
	vms, err := ovf.Parse(text, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	version := sha256.Sum256(text)
	for i := range vms {
		vm := &vms[i]
		vm.ChangeVersion = hex.EncodeToString(version[:8])
		for _, d := range vm.Disks {
			if _, listed := digestOf(sums, d.Path); !listed && d.Path != "" {
				vm.Notes = append(vm.Notes, fmt.Sprintf("disk %s: no manifest says what its file must be: whether it is whole can't be seen", d.Address()))
			}
		}
	}
	return &inventory.Host{SchemaVersion: inventory.SchemaVersion, Name: s.Path, Datastores: []inventory.Datastore{}, VMs: vms}, nil
}

// OpenDisk opens a disk, once each of its files is seen to be what the manifest says.
func (s *Package) OpenDisk(ctx context.Context, o plan.Origin) (disk.Image, func() error, error) {
	sums, err := s.manifest()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	return openImage(packageFiles{ctx, s, sums}, o.Path, s.Path)
}

// packageFiles opens the files of a package, those too that a disk's own descriptor names.
type packageFiles struct {
	ctx  context.Context // of the check, when a file is opened
	s    *Package
	sums map[string]digest
}

// Open implements vmdk.Opener.
func (p packageFiles) Open(name string) (vmdk.File, error) {
	if err := p.s.check(p.ctx, name, p.sums); err != nil {
		return nil, err
	}
	return p.s.open(name)
}

// Parent implements vmdk.Opener.
func (packageFiles) Parent(hint string) (vmdk.Opener, string, error) {
	return nil, "", fmt.Errorf("%w: a disk that holds changes to %.200q: export the VM without snapshots", errPackage, hint)
}

// packed is a file of a package, open.
type packed interface {
	vmdk.File
	io.Closer
	Version() string
}

// open opens the file that the descriptor calls name.
func (s *Package) open(name string) (packed, error) {
	if !s.inOVA() {
		f, err := openLocal(filepath.Dir(s.Path), name, name)
		if plain, bad := url.PathUnescape(name); errors.Is(err, os.ErrNotExist) && bad == nil && plain != name {
			f, err = openLocal(filepath.Dir(s.Path), plain, name)
		}
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	f, all, err := s.tar()
	if err != nil {
		return nil, err
	}
	m, ok := all[path.Clean(name)]
	if plain, bad := url.PathUnescape(name); !ok && bad == nil {
		m, ok = all[path.Clean(plain)]
	}
	info, err := f.Stat()
	if err == nil && !ok {
		err = fmt.Errorf("%w: it has no file %.200q", errPackage, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &tarFile{io.NewSectionReader(f, m.offset, m.size), f, name, fmt.Sprintf("%d bytes at %d, changed %s", m.size, m.offset, info.ModTime().UTC().Format(time.RFC3339Nano))}, nil
}

// tar opens an OVA and lists what is in it.
func (s *Package) tar() (*os.File, map[string]member, error) {
	f, err := disk.OpenBelow(filepath.Dir(s.Path), filepath.Base(s.Path))
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	all, err := members(f, info.Size())
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, all, nil
}

// tarFile is a member of an OVA.
type tarFile struct {
	*io.SectionReader
	f             *os.File
	name, version string
}

// Name is what the package calls it.
func (t *tarFile) Name() string { return t.name }

// Version differs once the OVA was written to.
func (t *tarFile) Version() string { return t.version }

// Close closes the OVA.
func (t *tarFile) Close() error { return t.f.Close() }

// descriptor is the name of the .ovf.
func (s *Package) descriptor() (string, error) {
	if !s.inOVA() {
		return filepath.Base(s.Path), nil
	}
	return s.only(".ovf")
}

// only is the name of the one file of a kind in an OVA; [os.ErrNotExist] if there is
// none.
func (s *Package) only(kind string) (string, error) {
	f, all, err := s.tar()
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	var found []string
	for name := range all {
		if strings.EqualFold(path.Ext(name), kind) && !strings.HasPrefix(path.Base(name), ".") { // macOS' tar adds ._box.ovf
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("%w: no %s file in it: %w", errPackage, kind, os.ErrNotExist)
	}
	slices.Sort(found)
	return "", fmt.Errorf("%w: %d %s files in it, %.300q: want one", errPackage, len(found), kind, found)
}

// small reads a whole file of at most limit bytes.
func (s *Package) small(name string, limit int64) (_ []byte, err error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", name, f.Size(), limit)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
}

// digest is what a manifest says of a file.
type digest struct{ kind, hex string }

// manifestLine is a line as ovftool and VirtualBox write it, or `openssl dgst`, which says
// SHA2-256 since its version 3.
var manifestLine = regexp.MustCompile(`^(?i:SHA(?:2-)?(1|256|512)) ?\((.+)\) ?= ?([0-9a-fA-F]+)$`)

// manifest reads what the files must be, by name. A package need not have one.
func (s *Package) manifest() (map[string]digest, error) {
	const most = 1 << 20 // bytes
	base := filepath.Base(s.Path)
	name, err := strings.TrimSuffix(base, filepath.Ext(base))+".mf", error(nil)
	if s.inOVA() {
		name, err = s.only(".mf")
	}
	var text []byte
	if err == nil {
		text, err = s.small(name, most)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sums := make(map[string]digest)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		m := manifestLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%w: %s: want SHA256(file)= digest, got %.100q", errPackage, name, line)
		}
		is := digest{"SHA" + m[1], strings.ToLower(m[3])}
		if old, twice := sums[m[2]]; twice && old != is {
			return nil, fmt.Errorf("%w: %s has two digests of %.200q", errPackage, name, m[2])
		}
		sums[m[2]] = is
	}
	return sums, nil
}

// digestOf is what a manifest says of a file, whose name in the .ovf is part of an
// address: a blank may be %20 there.
func digestOf(sums map[string]digest, name string) (digest, bool) {
	if d, ok := sums[name]; ok {
		return d, true
	}
	plain, err := url.PathUnescape(name)
	d, ok := sums[plain]
	return d, ok && err == nil
}

// check compares a file with its digest, if there is one.
func (s *Package) check(ctx context.Context, name string, sums map[string]digest) (err error) {
	want, ok := digestOf(sums, name)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.checked[name] == f.Version() {
		return nil
	}
	h := map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}[want.kind]()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < f.Size(); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), f.Size()-off)], off)
		if n == 0 && err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		h.Write(buf[:n])
		off += int64(n)
	}
	if is := hex.EncodeToString(h.Sum(nil)); is != want.hex {
		return fmt.Errorf("%w: %s isn't what the manifest says: its %s is %s, not %s: the package is damaged, or was changed; export or fetch it again", errPackage, name, want.kind, is, want.hex)
	}
	if s.checked == nil {
		s.checked = make(map[string]string)
	}
	s.checked[name] = f.Version()
	return nil
}
