package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/lilo"
	"esxodus/fixtures"
)

// TestPowerCut has the real command install a second map over a first one in a
// virtual machine whose disk logs each write (scripts/powercut.sh), and rebuilds
// the disk as a power cut would have left it: after each write, with all that
// was written before, and with any part of what was not flushed yet. From each
// of them the loader must come to a whole map, the old one or the new one, with its
// last resort, also while that is renewed. Some are really booted.
func TestPowerCut(t *testing.T) {
	fixtures.Rung(t, "lab")
	command := buildLilo(t)
	for _, fs := range []string{"ext4", "xfs", "ext2", "plain"} {
		t.Run(fs, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			need(t, "qemu-system-x86_64", "mke2fs", "mmdebstrap")
			out, err := exec.CommandContext(t.Context(), script("powercut.sh"), dir, command, fs).CombinedOutput()
			if err != nil {
				t.Fatalf("powercut.sh: %v\n%s", err, out)
			}
			l := readLog(t, filepath.Join(dir, "log"))
			disk, err := os.ReadFile(filepath.Join(dir, "disk"))
			if err != nil {
				t.Fatal(err)
			}
			p := newPast(t, disk, l)
			p.plain = fs == "plain"
			states := p.check(t)
			t.Logf("%d writes, %d states of the disk", len(p.window), states)
			if fs == "ext4" {
				p.boot(t, dir)
			}
		})
	}
}

// logged is a write or a flush of a log.
type logged struct {
	sector int64
	data   []byte
	flush  bool
}

// end is the first sector after it.
func (w logged) end() int64 { return w.sector + int64(len(w.data))/512 }

// Flags of an entry of a log, from drivers/md/dm-log-writes.c.
const (
	logMagic   = 0x6a736677736872
	logFlush   = 1
	logFUA     = 2
	logDiscard = 4
)

// readLog reads a log of writes.
func readLog(t *testing.T, path string) []logged {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if le.Uint64(b) != logMagic || le.Uint32(b[24:]) != 512 {
		t.Fatalf("no log of sectors of 512 bytes: % x", b[:32])
	}
	count := le.Uint64(b[16:])
	b = b[512:]
	var all []logged
	for range count {
		sector, n, flags := le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
		b = b[512:]
		if flags&(logFlush|logFUA) != 0 {
			all = append(all, logged{flush: true})
		}
		switch {
		case flags&logDiscard != 0 && n > 0:
			all = append(all, logged{sector: int64(sector), data: make([]byte, n*512)})
		case n > 0:
			all = append(all, logged{sector: int64(sector), data: b[:n*512]})
			b = b[n*512:]
		}
		if flags&logFUA != 0 {
			all = append(all, logged{flush: true})
		}
	}
	return all
}

// past is a disk at the time when the first map was in use, and all that was
// written since.
type past struct {
	base   []byte
	window []logged
	marks  map[string]int // indices in window
	plain  bool           // a file system is on the bare disk
	sparse string         // a file with the base, "" until it is needed
}

// file returns a sparse file with the base.
func (p *past) file(t *testing.T) string {
	t.Helper()
	if p.sparse != "" {
		return p.sparse
	}
	full := filepath.Join(t.TempDir(), "full")
	if err := os.WriteFile(full, p.base, 0o600); err != nil {
		t.Fatal(err)
	}
	p.sparse = full + ".sparse"
	sh(t, "cp", "--sparse=always", full, p.sparse)
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	return p.sparse
}

// newPast replays a log up to its first mark of interest.
func newPast(t *testing.T, disk []byte, log []logged) *past {
	t.Helper()
	p := &past{base: make([]byte, len(disk)), marks: map[string]int{}}
	begun := false
	now := make([]byte, len(disk))
	for _, w := range log {
		copy(now[w.sector*512:], w.data)
		name, isMark := bytes.CutPrefix(w.data, []byte("mark: "))
		isMark = isMark && len(w.data) == 512
		if begun {
			p.window = append(p.window, w)
		} else {
			copy(p.base[w.sector*512:], w.data)
		}
		if isMark {
			begun = begun || strings.TrimSpace(string(name)) == "begin"
			p.marks[strings.TrimSpace(string(name))] = len(p.window)
		}
	}
	if !bytes.Equal(now, disk) {
		t.Fatal("the log doesn't make the disk that it is of")
	}
	for _, m := range []string{"begin", "switched", "oneshot", "again", "renewed", "end"} {
		if _, ok := p.marks[m]; !ok {
			t.Fatalf("there is no mark %q in the log", m)
		}
	}
	return p
}

// state is the base with some writes upon it.
type state struct {
	base   []byte
	writes []logged
}

func (s state) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(s.base)) {
		return 0, io.EOF
	}
	n := copy(b, s.base[off:])
	for _, w := range s.writes {
		from, to := max(off, w.sector*512), min(off+int64(n), w.end()*512)
		if from < to {
			copy(b[from-off:to-off], w.data[from-w.sector*512:])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// reaches follows the loader's way. Where sectors 2 to 7 have another stage 2
// than sector 0 wants, the loader takes the one that is in the map, which Verify
// looks at as well.
func (s state) reaches(t *testing.T, plain bool) (string, error) {
	t.Helper()
	with := s
	if !plain {
		with.writes = append(slices.Clip(s.writes), logged{sector: lilo.Stage2Sector, data: lilo.Stage2()})
	}
	report, err := lilo.Verify(t.Context(), with, int64(len(s.base)))
	if err != nil {
		return "", err
	}
	if len(report.Images) == 2 { // the last resort is one
		return "old", nil
	}
	return "new", nil
}

// check tries every state that a power cut can leave, and returns how many.
func (p *past) check(t *testing.T) int {
	t.Helper()
	tried, bad := 0, 0
	seen := map[string]bool{}
	try := func(what string, writes []logged) {
		tried++
		got, err := state{p.base, writes}.reaches(t, p.plain)
		seen[got] = true
		if err == nil {
			return
		}
		t.Errorf("%s: the loader finds no map: %v", what, err)
		if bad++; bad == 5 {
			t.FailNow()
		}
	}
	flushed := 0 // writes of the window before the last flush
	for i := 0; i <= len(p.window); i++ {
		if i < len(p.window) && !p.window[i].flush {
			continue
		}
		stable, loose := p.window[:flushed], p.window[flushed:i]
		for n := range len(loose) + 1 {
			writes := append(slices.Clip(stable), loose[:n]...)
			what := fmt.Sprintf("all of %d writes and %d of %d more", flushed, n, len(loose))
			try(what, writes)
			if p.plain {
				try(what+", with the journal's", append(writes, p.journal(t, writes)...))
			}
		}
		for what, subset := range subsets(loose) {
			try(fmt.Sprintf("all of %d writes, of %d more %s", flushed, len(loose), what), append(slices.Clip(stable), subset...))
		}
		flushed = min(i+1, len(p.window))
	}
	if !seen["old"] || !seen["new"] {
		t.Errorf("maps that were found: %v; want the old one first and then the new one", seen)
	}
	return tried
}

// journal has the file system's journal written back, as it is when the file
// system is mounted after a power cut, and returns what that writes to the block
// that sector 0 is in.
func (p *past) journal(t *testing.T, writes []logged) []logged {
	t.Helper()
	need(t, "e2fsck")
	name := filepath.Join(t.TempDir(), "cut")
	sh(t, "cp", "--sparse=always", p.file(t), name)
	defer os.Remove(name)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range writes {
		if _, err := f.WriteAt(w.data, w.sector*512); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "e2fsck", "-E", "journal_only", "-y", name).CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 1 {
			t.Fatalf("e2fsck: %v\n%s", err, out)
		}
	}
	block := make([]byte, 4096)
	if _, err := f.ReadAt(block, 0); err != nil {
		t.Fatal(err)
	}
	return []logged{{data: block}}
}

// subsets yields all parts of a few writes, and of many each alone, all but
// each, and some by chance.
func subsets(w []logged) func(func(string, []logged) bool) {
	pick := func(mask uint64) []logged {
		var s []logged
		for i := range w {
			if mask>>i&1 != 0 {
				s = append(s, w[i])
			}
		}
		return s
	}
	return func(yield func(string, []logged) bool) {
		if len(w) > 63 {
			w = w[:63]
		}
		all := uint64(1)<<len(w) - 1
		var masks []uint64
		if len(w) <= 6 {
			for m := range all {
				masks = append(masks, m)
			}
		} else {
			random := rand.New(rand.NewPCG(1, 2))
			for i := range w {
				masks = append(masks, 1<<i, all&^(1<<i))
			}
			for range 40 {
				masks = append(masks, random.Uint64()&all)
			}
		}
		for _, m := range masks {
			if !yield(fmt.Sprintf("those of the mask %#x", m), pick(m)) {
				return
			}
		}
	}
}

// boot really starts the disk as it was at some instants.
func (p *past) boot(t *testing.T, dir string) {
	t.Helper()
	sector0 := slices.IndexFunc(p.window, func(w logged) bool { return w.sector == 0 && len(w.data) == 512 })
	if sector0 < 0 {
		t.Fatal("sector 0 was never written by itself")
	}
	for _, tt := range []struct {
		name  string
		count int
		want  string
	}{
		{"before anything", 0, "auto BOOT_IMAGE=Linux console=ttyS0 panic=-1 no_timer_check map=old"},
		{"before sector 0", sector0, "auto BOOT_IMAGE=Linux console=ttyS0 panic=-1 no_timer_check map=old"},
		{"after sector 0", sector0 + 1, "auto BOOT_IMAGE=Linux console=ttyS0 panic=-1 no_timer_check map=new"},
		{"with a one-shot line", p.marks["oneshot"], "BOOT_IMAGE=LinuxOLD console=ttyS0 panic=-1 no_timer_check map=new one=shot"},
		{"at the end", len(p.window), "auto BOOT_IMAGE=Linux console=ttyS0 panic=-1 no_timer_check map=new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := filepath.Join(dir, "cut")
			image := slices.Clone(p.base)
			for _, w := range p.window[:tt.count] {
				copy(image[w.sector*512:], w.data)
			}
			if err := os.WriteFile(disk, image, 0o600); err != nil {
				t.Fatal(err)
			}
			bootDisk(t, disk, "virtio-blk", "Command line: "+tt.want)
		})
	}
}

// bootDisk boots a disk until the console shows a text.
func bootDisk(t *testing.T, disk, bus, want string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), script("boot.sh"), disk, "--bus", bus, "--nic", "none",
		"--memory", "512", "--timeout", "1200", "--expect", want).CombinedOutput()
	if err != nil {
		t.Fatalf("boot.sh: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// buildLilo builds the command as it is shipped.
func buildLilo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lilo")
	cmd := exec.CommandContext(t.Context(), script("go.sh"), "build", "-ldflags=-s -w", "-o", name, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

func script(name string) string { return filepath.Join("..", "..", "scripts", name) }

// need skips a test for which a tool is missing, or fails it where it must run.
func need(t *testing.T, tools ...string) {
	t.Helper()
	var errs []error
	for _, tool := range tools {
		_, err := exec.LookPath(tool)
		errs = append(errs, err)
	}
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("not root"))
	}
	err := errors.Join(errs...)
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}
