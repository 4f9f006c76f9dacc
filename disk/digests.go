package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"esxodus/disk/internal/readat"
)

// digest is the SHA-256 of a block; all zero where none is known.
type digest [sha256.Size]byte

func (d digest) there() bool { return d != digest{} }

const (
	digestMagic   = "ESXODUS\x01"
	digestHeader  = 4096 // bytes before the first record
	digestWindow  = 2048 // records read at once
	maxBlockCount = 1 << 26
)

// ErrOtherPlan is returned where a digest file was made for other mappings,
// another target size or another source than it is opened for.
var ErrOtherPlan = errors.New("the digest file belongs to another copy")

// ErrDamaged is returned where a digest file can't be one that was made whole.
var ErrDamaged = errors.New("damaged")

// Digests is the file of a copy's block hashes. Its header says for which
// mappings it is; then follows one SHA-256 per block in the target's order,
// which is all zero until the block is on the target's stable storage.
type Digests struct {
	f      *os.File
	path   string
	blocks int64
	size   int64 // of the target, bytes
	plan   digest
	every  int64 // bytes of the target between two checkpoints
}

// CreateDigests makes the digest file of a copy of maps to a target of size
// bytes. source names what is read, in words that change when its content may
// have (a path and a content ID, say). A file that exists already is an error
// wrapping [fs.ErrExist]. The file is either complete on stable storage or
// absent, whatever happens; a kill may leave what [SweepDigests] and the next
// call remove. Blocks with a digest are taken to be on the target,
// so a digest file must go when its target does.
func CreateDigests(path, source string, size int64, maps []Mapping) (_ *Digests, err error) {
	ps, blocks, err := pieces(size, maps)
	if err != nil {
		return nil, err
	}
	if blocks > maxBlockCount {
		return nil, &DigestsError{path, fmt.Errorf("%d blocks: one file holds at most %d", blocks, maxBlockCount)}
	}
	d := &Digests{path: path, blocks: blocks, size: size, plan: fingerprint(source, size, ps), every: checkpointBytes}
	if err := SweepDigests(path); err != nil {
		return nil, err
	}
	d.f, err = os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+unfinished)
	if err != nil {
		return nil, &DigestsError{path, err}
	}
	defer func() {
		os.Remove(d.f.Name()) //nolint:errcheck // under its own name by now, or of no use
		if err != nil {
			d.f.Close() //nolint:errcheck // the cause is reported
		}
	}()
	if err := d.init(); err != nil {
		return nil, &DigestsError{path, err}
	}
	if err := os.Link(d.f.Name(), path); err != nil {
		return nil, &DigestsError{path, err}
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return nil, &DigestsError{path, err}
	}
	return d, nil
}

// unfinished ends the name of a digest file that is being made.
const unfinished = ".new"

// SweepDigests removes what calls of [CreateDigests] for path left that were
// killed. None may be under way.
func SweepDigests(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return &DigestsError{path, err}
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		random, ends := strings.CutSuffix(rest, unfinished)
		if !ours || !ends || strings.Trim(random, "0123456789") != "" || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &DigestsError{path, err}
		}
	}
	return nil
}

// RemoveDigests removes a digest file, if it is there, with what killed calls of
// [CreateDigests] left of it.
func RemoveDigests(path string) error {
	if err := SweepDigests(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &DigestsError{path, err}
	}
	return nil
}

// init writes the header and makes room for the records.
func (d *Digests) init() error {
	if err := d.lock(); err != nil {
		return err
	}
	if _, err := d.f.WriteAt(d.header(), 0); err != nil {
		return err
	}
	if err := d.f.Truncate(d.length()); err != nil {
		return err
	}
	return d.f.Sync()
}

// OpenDigests opens the file that [CreateDigests] made from the same source,
// size and mappings; an error wrapping [ErrOtherPlan] says that it was made
// from others, one wrapping [ErrDamaged] that it isn't whole. While it is open no
// other process can open it.
func OpenDigests(path, source string, size int64, maps []Mapping) (*Digests, error) {
	ps, blocks, err := pieces(size, maps)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, &DigestsError{path, err}
	}
	d := &Digests{f: f, path: path, blocks: blocks, size: size, plan: fingerprint(source, size, ps), every: checkpointBytes}
	if err := d.check(); err != nil {
		return nil, errors.Join(&DigestsError{path, err}, f.Close())
	}
	return d, nil
}

// check returns what is wrong with the file that was opened.
func (d *Digests) check() error {
	if err := d.lock(); err != nil {
		return err
	}
	got := make([]byte, digestHeader)
	if _, err := d.f.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.HasPrefix(got, []byte(digestMagic)) {
		return fmt.Errorf("%w: it doesn't begin with the magic number", ErrDamaged)
	}
	if !bytes.Equal(got, d.header()) {
		return fmt.Errorf("%w (other mappings, size, source or unused ranges)", ErrOtherPlan)
	}
	fi, err := d.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != d.length() {
		return fmt.Errorf("%w: %d bytes where %d blocks need %d", ErrDamaged, fi.Size(), d.blocks, d.length())
	}
	return nil
}

func (d *Digests) lock() error {
	err := unix.Flock(int(d.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("in use: another copy to this target is running")
	}
	return err
}

func (d *Digests) length() int64 { return digestHeader + d.blocks*int64(len(digest{})) }

// header is the first digestHeader bytes of the file.
func (d *Digests) header() []byte {
	b := make([]byte, 0, digestHeader)
	b = append(b, digestMagic...)
	b = binary.LittleEndian.AppendUint64(b, BlockSize)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.blocks))
	b = append(b, d.plan[:]...)
	return b[:digestHeader]
}

// fingerprint identifies a copy. A source without a mask adds nothing to it, as
// before there were masks.
func fingerprint(source string, size int64, ps []piece) digest {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d\n", source, size)
	for _, p := range ps {
		var have int64
		if p.Source != nil {
			have = p.Source.Size()
		}
		fmt.Fprintf(h, "%t %d %d %d %d\n", p.Source != nil, have, p.SourceOffset, p.TargetOffset, p.Length)
		if mask := maskOf(p.Source); mask != "" {
			fmt.Fprintf(h, "mask %q\n", mask)
		}
	}
	return digest(h.Sum(nil))
}

// matches reports whether d can serve for that many blocks of a target of size
// bytes.
func (d *Digests) matches(size, blocks int64) error {
	if d.size != size || d.blocks != blocks {
		return &DigestsError{d.path, fmt.Errorf("%w: made for %d blocks of %d bytes, not for %d of %d", ErrOtherPlan, d.blocks, d.size, blocks, size)}
	}
	return nil
}

// Blocks counts the blocks whose digest is known, and all of them.
func (d *Digests) Blocks() (known, total int64, err error) {
	s := d.scan()
	for i := range d.blocks {
		sum, err := s.at(i)
		if err != nil {
			return 0, 0, err
		}
		if sum.there() {
			known++
		}
	}
	return known, d.blocks, nil
}

// Sum is one hash for the whole copy: the SHA-256 of all blocks' hashes in
// order. It is an error if one isn't known.
func (d *Digests) Sum() ([sha256.Size]byte, error) {
	h := sha256.New()
	s := d.scan()
	for i := range d.blocks {
		sum, err := s.at(i)
		if err != nil {
			return digest{}, err
		}
		if !sum.there() {
			return digest{}, &DigestsError{d.path, fmt.Errorf("block %d of %d has no digest yet: the copy isn't finished", i, d.blocks)}
		}
		h.Write(sum[:]) // never an error
	}
	return digest(h.Sum(nil)), nil
}

// Close closes the file and gives up the lock.
func (d *Digests) Close() error { return d.f.Close() }

// get reads the digests of the blocks from first on into b.
func (d *Digests) get(first int64, b []byte) error {
	if err := readat.Full(d.f, b, digestHeader+first*int64(len(digest{}))); err != nil {
		return &DigestsError{d.path, fmt.Errorf("block %d: %w", first, err)}
	}
	return nil
}

// put writes b, whole digests, as those of the blocks from first on.
func (d *Digests) put(first int64, b []byte) error {
	if _, err := d.f.WriteAt(b, digestHeader+first*int64(len(digest{}))); err != nil {
		return &DigestsError{d.path, fmt.Errorf("block %d: %w", first, err)}
	}
	return nil
}

func (d *Digests) sync() error {
	if err := d.f.Sync(); err != nil {
		return &DigestsError{d.path, err}
	}
	return nil
}

// digestScan reads digests in ascending order, many at a time.
type digestScan struct {
	d     *Digests
	first int64
	n     int64
	buf   [digestWindow * len(digest{})]byte
}

func (d *Digests) scan() *digestScan { return &digestScan{d: d} }

// at is the digest of block i.
func (s *digestScan) at(i int64) (digest, error) {
	if i < s.first || i >= s.first+s.n {
		s.first, s.n = i, 0
		n := min(digestWindow, s.d.blocks-i)
		if n <= 0 {
			return digest{}, &DigestsError{s.d.path, fmt.Errorf("no block %d", i)}
		}
		if err := s.d.get(i, s.buf[:n*int64(len(digest{}))]); err != nil {
			return digest{}, err
		}
		s.n = n
	}
	return digest(s.buf[(i-s.first)*int64(len(digest{})):]), nil
}

// zeroDigest is the digest of a block of n zeros.
func zeroDigest(n int64) digest { return sha256.Sum256(make([]byte, n)) }

// fullZero is the digest of a whole block of zeros.
//
//nolint:gochecknoglobals // a constant that costs some milliseconds to work out
var fullZero = sync.OnceValue(func() digest { return zeroDigest(BlockSize) })
