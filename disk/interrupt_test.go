package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"esxodus/convert/plan"
	"esxodus/convert/source"
	"esxodus/disk"
	"esxodus/disk/disktest"
	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
)

// Copies that are cut at random moments. A disk goes over in many mappings, so that a
// block is small and a hundred cuts are cheap.
const (
	cutMoments = 100 // of each way
	cutUnit    = 64 << 10
	cutSize    = 64*cutUnit + 512
	cutEvery   = 4 * cutUnit // between two checkpoints
	cutWorkers = 2
	cutTwice   = cutEvery + cutWorkers*cutUnit // what one cut may cost: what no checkpoint had, and what was in flight
	cutChild   = "ESXODUS_TEST_COPY"           // in the environment of a process that is to be killed
)

// TestInterrupted cuts copies at random moments, and wants each to go on where it was
// to the same bits, with no more read twice than lies between two checkpoints.
func TestInterrupted(t *testing.T) {
	if text := os.Getenv(cutChild); text != "" {
		killedCopy(t, text)
		return
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := fixtures.OpenDir(t)
	truth := map[string][]byte{"flat": flatDisk(t, filepath.Join(dir, "flat")), "chain": chainDisk(t, filepath.Join(dir, "chain"))}
	for i, way := range []struct {
		name, disk string
		origin     plan.Origin
	}{
		{"flat", "flat", plan.Origin{Path: "[datastore1] flat/x.vmdk", Way: plan.WayHTTPS}},
		{"chain", "chain", plan.Origin{Path: "[datastore1] chain/x-000001.vmdk", Way: plan.WayHTTPS}},
		{"chain by SSH", "chain", plan.Origin{Path: "[datastore1] chain/x-000001.vmdk", Way: plan.WaySSH}},
		{"flat from a mount", "flat", plan.Origin{Path: "[datastore1] flat/x.vmdk", Way: plan.WayFile}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := &cutter{
				t: t, dir: dir, want: truth[way.disk], work: disktest.FastDir(t), origin: way.origin,
				random: rand.New(rand.NewPCG(seed, uint64(i))), cuts: map[string]int{},
			}
			c.start()
			for c.number() < cutMoments {
				c.copy()
			}
			c.check()
		})
	}
}

// flatDisk makes a disk of one flat extent, and returns its content.
func flatDisk(t *testing.T, dir string) []byte {
	t.Helper()
	content := disktest.Content(cutSize, 3)
	writeAll(t, dir, map[string]string{"x.vmdk": fixtures.Descriptor(cutSize/disk.SectorSize, "x-flat.vmdk"), "x-flat.vmdk": string(content)})
	return content
}

// chainDisk is one with a seSparse snapshot on top, of grains here and there.
func chainDisk(t *testing.T, dir string) []byte {
	t.Helper()
	const grain, base = 4096, 0xfffffffe // that one is fixtures.Descriptor's
	content := flatDisk(t, dir)
	delta := disktest.Delta{Size: cutSize, Read: func(g int64) []byte { return disktest.Content(grain, uint64(g)) }}
	for g := int64(0); g < cutSize/grain; g += 1 + g%4*8 {
		delta.Grains = append(delta.Grains, g)
		copy(content[g*grain:], delta.Read(g))
	}
	writeAll(t, dir, map[string]string{
		"x-000001.vmdk":          disktest.Descriptor("seSparse", "SESPARSE", "x-000001-sesparse.vmdk", cutSize, 1, base, "x.vmdk"),
		"x-000001-sesparse.vmdk": string(disktest.SeSparse(delta)),
	})
	return content
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cutter cuts copies of one disk that comes by one way.
type cutter struct {
	t      *testing.T
	dir    string // of the datastore
	work   string
	want   []byte
	origin plan.Origin
	random *rand.Rand
	host   *fixture.Host

	copies int
	read   int64          // in all
	cuts   map[string]int // by kind
}

func (c *cutter) start() {
	c.t.Helper()
	h, err := fixture.Start(context.Background(), fixture.Options{Dir: c.dir})
	if err != nil {
		c.t.Fatal(err)
	}
	c.host = h
	c.t.Cleanup(func() { _ = h.Close() })
}

func (c *cutter) number() (n int) {
	for _, k := range c.cuts {
		n += k
	}
	return n
}

// copy copies the disk once, in as many lives as it is cut to.
func (c *cutter) copy() {
	c.t.Helper()
	c.copies++
	path := filepath.Join(c.work, fmt.Sprint(c.copies))
	dst, err := disk.CreateRaw(path, cutSize)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = dst.Close()
	for c.life(path) {
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.want) {
		c.t.Fatalf("copy %d, cut %v: it differs from its source (%v)", c.copies, c.cuts, err)
	}
	if err := errors.Join(os.Remove(path), os.Remove(path+".digests")); err != nil {
		c.t.Fatal(err)
	}
}

// life goes on with a copy until it is cut, or done. It reports whether it was cut.
func (c *cutter) life(path string) bool {
	c.t.Helper()
	at := c.random.Int64N(2 * cutTwice) // bytes that are asked for until then
	kind := c.next()
	a := c.attempt(path)
	ctx, cancel := context.WithCancelCause(c.t.Context())
	defer cancel(nil)
	var err error
	if kind == "SIGKILL" {
		err = c.child(a, at)
	} else {
		err = a.copy(ctx, c.cut(kind, at, cancel))
	}
	c.read += a.total.Load()
	if err == nil {
		return false
	}
	if !errors.Is(err, errMoment) {
		c.t.Fatalf("%s after %d bytes: %v", kind, at, err)
	}
	c.cuts[kind]++
	if kind == "dead host" {
		c.start()
	}
	return true
}

// next is what the next life is cut by. A process and a host of its own cost most.
func (c *cutter) next() string {
	switch n := c.number(); {
	case n%16 == 5:
		return "SIGKILL"
	case n%32 == 6:
		return "dead host"
	case n%8 == 3:
		return "expired"
	case n%4 == 1:
		return "lost link"
	}
	return "killed"
}

var errMoment = errors.New("cut by the test")

// cut is what cuts a life in this process once at bytes were asked for.
func (c *cutter) cut(kind string, at int64, cancel context.CancelCauseFunc) func(total int64) error {
	var once atomic.Bool
	return func(total int64) error {
		switch {
		case total <= at:
			return nil
		case kind == "lost link":
			return errMoment
		case kind == "expired" && total <= at+cutEvery: // and is killed later
			if once.CompareAndSwap(false, true) {
				c.host.Faults().ExpireSessions()
			}
			return nil
		case kind == "dead host" && once.CompareAndSwap(false, true):
			_ = c.host.Close()
		}
		cancel(errMoment)
		return nil
	}
}

// check wants that no more was read twice than the cuts explain.
func (c *cutter) check() {
	c.t.Helper()
	n := int64(c.number())
	twice := c.read - int64(c.copies)*cutSize
	c.t.Logf("%d copies, cut %v: %d bytes a cut read twice, of %d at most", c.copies, c.cuts, twice/n, cutTwice)
	if twice < 0 || twice > n*cutTwice {
		c.t.Errorf("%d bytes were read twice after %d cuts; want 0 to %d", twice, n, n*cutTwice)
	}
}

// attempt is one life of a copy. Its exported fields are what a child gets.
type attempt struct {
	URL, User, Password, Thumbprint, SSH, SSHKey string
	Mount                                        string // where the datastore is on this machine
	Origin                                       plan.Origin
	Local                                        string // a file of this machine instead of all that
	Once                                         bool   // that is read as a stream
	Target, Digests                              string

	total atomic.Int64 // bytes that were asked for
}

func (c *cutter) attempt(path string) *attempt {
	h := c.host
	return &attempt{
		URL: strings.TrimPrefix(h.URL(), "https://"), User: h.User(), Password: h.Password(), Thumbprint: h.Thumbprint(),
		SSH: h.SSHAddr(), SSHKey: fixtures.Fingerprint(h.SSHHostKey()), Mount: c.dir, Origin: c.origin, Target: path, Digests: path + ".digests",
	}
}

// source is the host, as a program that was just started reaches it.
func (a *attempt) source() (*source.ESXi, error) {
	u, _, err := esxi.ParseURL(a.User + "@" + a.URL)
	if err != nil {
		return nil, err
	}
	return &source.ESXi{
		Config: func() (esxi.Config, error) {
			return esxi.Config{URL: u, Password: esxi.Secret(a.Password), Thumbprint: a.Thumbprint}, nil
		},
		Shell: func(esxi.Config) shell.Config {
			return shell.Config{Addr: a.SSH, User: a.User, Password: esxi.Secret(a.Password), HostKeyFingerprint: a.SSHKey}
		},
		Datastores: map[string]string{"datastore1": a.Mount},
	}, nil
}

// copy copies what isn't on record yet. asked is called with the bytes that were asked
// for by then, before each read.
func (a *attempt) copy(ctx context.Context, asked func(total int64) error) (err error) {
	img, closeImage, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeImage() }()
	dst, err := disk.OpenRaw(a.Target, true)
	if err != nil {
		return err
	}
	defer dst.Close()
	g := &gated{Image: img, asked: asked, total: &a.total}
	maps := g.maps()
	if g.digests, err = disk.OpenDigests(a.Digests, "", cutSize, maps); errors.Is(err, fs.ErrNotExist) {
		g.digests, err = disk.CreateDigests(a.Digests, "", cutSize, maps)
	}
	if err != nil {
		return err
	}
	defer g.digests.Close()
	g.digests.CheckpointEvery(cutEvery)
	if g.before, _, err = g.digests.Blocks(); err != nil {
		return err
	}
	o := disk.Options{Workers: cutWorkers, Digests: g.digests}
	if _, err = disk.Copy(ctx, dst, maps, o); err != nil {
		return err
	}
	_, err = disk.Verify(ctx, dst, maps, o)
	return err
}

// gated is an image that is read no further than the checkpoints follow: how many
// bytes a cut costs then doesn't depend on how fast this machine syncs.
type gated struct {
	disk.Image

	digests *disk.Digests
	before  int64 // blocks that were on record when the life began
	asked   func(total int64) error
	total   *atomic.Int64
}

// maps are those of a disk in pieces of a block.
func (g *gated) maps() (maps []disk.Mapping) {
	for off := int64(0); off < cutSize; off += cutUnit {
		maps = append(maps, disk.Mapping{Source: g, SourceOffset: off, TargetOffset: off, Length: min(cutUnit, cutSize-off)})
	}
	return maps
}

func (g *gated) ReadAt(p []byte, off int64) (int, error) {
	total := g.total.Add(int64(len(p)))
	for given := time.Now().Add(30 * time.Second); time.Now().Before(given); time.Sleep(100 * time.Microsecond) {
		if err := g.asked(total); err != nil {
			return 0, err
		}
		known, _, err := g.digests.Blocks()
		if err != nil {
			return 0, err
		}
		if total-(known-g.before)*cutUnit <= cutTwice {
			return g.Image.ReadAt(p, off)
		}
	}
	return 0, fmt.Errorf("%d bytes were asked for, and the checkpoints don't follow", total)
}

// child has another process go on with a copy, and kills it once it has asked for at
// bytes. Its error is errMoment, or nil if the process was done before.
func (c *cutter) child(a *attempt, at int64) error {
	c.t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInterrupted$")
	cmd.Env = append(os.Environ(), cutChild+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var total int64
		if _, err := fmt.Sscanf(lines.Text(), "asked for %d", &total); err != nil {
			said = append(said, lines.Text())
			continue
		}
		a.total.Store(max(a.total.Load(), total))
		if total > at {
			_ = cmd.Process.Kill() // or it has ended
		}
	}
	err = cmd.Wait()
	switch exit, ok := errors.AsType[*exec.ExitError](err); {
	case ok && !exit.Exited():
		return errMoment
	case err != nil:
		return fmt.Errorf("the child: %w\n%s", err, strings.Join(said, "\n"))
	case !slices.Contains(said, "copied"):
		return fmt.Errorf("the child copied nothing:\n%s", strings.Join(said, "\n"))
	}
	return nil
}

// killedCopy is what the child does.
func killedCopy(t *testing.T, text string) {
	t.Helper()
	var a attempt
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	err := a.copy(t.Context(), func(total int64) error {
		_, err := fmt.Fprintf(os.Stdout, "asked for %d\n", total)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, "copied")
}
