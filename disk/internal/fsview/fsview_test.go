package fsview

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

// shelves is a file system of directories: by number, the numbers and names of what is
// in each. An inode that isn't among them is a file.
type shelves struct {
	dirs  map[uint64][]Entry
	lists map[uint64]int // how often each was listed
}

func (s *shelves) Node(number uint64) (Node, error) { return book{s: s, number: number}, nil }

type book struct {
	s      *shelves
	number uint64
}

func (b book) Mode() fs.FileMode {
	if _, ok := b.s.dirs[b.number]; ok {
		return fs.ModeDir
	}
	return 0
}
func (book) Size() int64                       { return 0 }
func (book) ModTime() time.Time                { return time.Time{} }
func (book) Immutable() bool                   { return false }
func (book) AppendOnly() bool                  { return false }
func (book) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (book) Link() (string, error)             { return "", errors.ErrUnsupported }
func (b book) Entries() (out []Entry, err error) {
	es, ok := b.s.dirs[b.number]
	if !ok {
		return nil, ErrNotDir
	}
	b.s.lists[b.number]++
	return append(out, es...), nil
}

// TestListedOnce: a directory on many paths is read once, whoever asks first, and what
// comes of a path is as if it were read each time.
func TestListedOnce(t *testing.T) {
	t.Parallel()
	s := &shelves{lists: map[uint64]int{}, dirs: map[uint64][]Entry{
		2: {{Number: 5, Name: "var", Kind: 2}, {Number: 4, Name: "etc", Kind: 2}, {Number: 9, Name: "etc", Kind: 1}},
		4: {{Number: 7, Name: "passwd", Kind: 1}, {Number: 6, Name: "fstab", Kind: 1}},
		5: nil,
	}}
	v := New(s, 2)
	for range 3 {
		if fi, err := v.Lstat("etc/fstab"); err != nil || fi.Sys().(book).number != 6 {
			t.Errorf("Lstat(etc/fstab) = %v, %v; want inode 6: the first etc counts", fi, err)
		}
		for name, want := range map[string]error{"etc/shadow": fs.ErrNotExist, "etc/fstab/x": ErrNotDir, "var/log": fs.ErrNotExist} {
			if _, err := v.Lstat(name); !errors.Is(err, want) {
				t.Errorf("Lstat(%s) = %v; want %v", name, err, want)
			}
		}
		es, err := v.ReadDir("etc")
		if err != nil || len(es) != 2 || es[0].Name() != "fstab" || es[1].Name() != "passwd" {
			t.Errorf("ReadDir(etc) = %v, %v", es, err)
		}
	}
	for n, lists := range s.lists {
		if lists != 1 {
			t.Errorf("directory %d was listed %d times", n, lists)
		}
	}
}

// TestKnownBounded: however many and large the directories are, few are remembered.
func TestKnownBounded(t *testing.T) {
	t.Parallel()
	s := &shelves{lists: map[uint64]int{}, dirs: map[uint64][]Entry{2: nil}}
	add := func(number uint64, size int) {
		s.dirs[2] = append(s.dirs[2], Entry{Number: number, Name: fmt.Sprintf("d%04d", number), Kind: 2})
		for i := range size {
			s.dirs[number] = append(s.dirs[number], Entry{Number: 1 << 30, Name: fmt.Sprint(i), Kind: 1})
		}
	}
	add(10, maxKnown)
	for n := range uint64(40) {
		add(100+n, maxKnown/16)
	}
	v := New(s, 2)
	for range 2 {
		for _, e := range s.dirs[2] {
			if _, err := v.Lstat(e.Name + "/1"); err != nil {
				t.Fatal(err)
			}
			held := 0
			for _, es := range v.dirs.known {
				held += len(es)
			}
			if held > maxKnown || len(v.dirs.known) > maxKnown {
				t.Fatalf("%d entries of %d directories are held", held, len(v.dirs.known))
			}
		}
	}
	if s.lists[10] != 2 { // too large to be remembered: each path reads it
		t.Errorf("the large directory was listed %d times; want 2", s.lists[10])
	}
}
