package proofs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"esxodus/convert/layout"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	"esxodus/fixtures/machine"
)

// bench is what the tests share: the programs, and the guests converted so far.
type bench struct {
	dir      string
	mu       sync.Mutex
	built    func() error
	subjects map[string]*subject
}

// shared outlives the test that needs it first.
var shared bench

func TestMain(m *testing.M) { os.Exit(shared.run(m)) }

func (b *bench) run(m *testing.M) int {
	dir, err := os.MkdirTemp("/var/tmp", "esxodus-proofs-") // gigabytes, which QEMU's user must reach
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b.dir, b.subjects = dir, map[string]*subject{}
	b.built = sync.OnceValue(b.build)
	defer func() {
		for _, s := range b.subjects {
			s.forget()
		}
		_ = os.RemoveAll(dir)
	}()
	return m.Run()
}

// build makes the program, with the boot map's installer beside it.
func (b *bench) build() error {
	for target, args := range map[string][]string{
		"esxodus": {"-tags", "libvirt_dlopen", "esxodus/cmd/esxodus"},
		"lilo":    {"esxodus/cmd/lilo"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(b.dir, target)}, args...)...)
		cmd.Env = os.Environ()
		if target == "lilo" {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", target, err, out)
		}
	}
	return nil
}

// subject returns the one of that guest with that layout and those changes. answers
// is for all that ask for it.
func (b *bench) subject(guest string, kind layout.Kind, answers bool, changes []string) *subject {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := guest
	if kind != layout.Auto {
		name += "." + string(kind) // there is a guest debian-lvm
	}
	if len(changes) > 0 {
		name += fmt.Sprintf(".%.2x", sha256.Sum256([]byte(strings.Join(changes, "\n"))))
	}
	s, ok := b.subjects[name]
	if !ok {
		s = &subject{name: name, guest: guest, layout: kind, changes: changes, answers: answers, vm: name + "-" + strings.ToLower(rand.Text()[:4])}
		b.subjects[name] = s
	}
	return s
}

// killed is the guest whose conversion is killed while the appliance is at work,
// and resumed: all tests of it must find what they find of the others.
const killed = "debian-two"

// proven is the guest that the program itself boots as well, from the domain
// that it defined: that starts by BIOS, while the source started through UEFI. It
// answers on its network, too.
const proven = "debian-uefi"

// subject is a guest that was converted.
type subject struct {
	once    sync.Once // converts it
	err     error
	name    string      // of its directory
	guest   string      // debian
	layout  layout.Kind // that is asked for
	changes []string    // made to it on ESXi: guestfish's commands
	answers bool        // the program boots it, and it answers on its network
	vm      string      // its name on the ESXi host, and the domain's
	plan    plan.VMPlan // what was carried out
	sources []string    // the raw disks as they were, in the plan's order
	disks   []string    // the volumes
	took    time.Duration
	network []plan.AnsweredNIC // how it answered, if the program booted it
}

// converted converts a guest of scripts/guest-debian.sh, once, as esxodus does
// when it isn't asked for a layout. Its tests run side by side.
func converted(t *testing.T, guest string) *subject {
	t.Helper()
	return convertedTo(t, guest, layout.Auto)
}

// convertedTo is converted for a layout that is asked for, of a guest that is
// changed before.
func convertedTo(t *testing.T, guest string, kind layout.Kind, changes ...string) *subject {
	t.Helper()
	dir := needed(t, guest)
	return shared.subject(guest, kind, guest == proven, changes).ready(t, dir)
}

// needed skips a test where what it needs isn't there, and returns the directory of
// its guest.
func needed(t *testing.T, guest string) string {
	t.Helper()
	t.Parallel()
	fixtures.Rung(t, "boot")
	if os.Getuid() != 0 {
		fixtures.Missing(t, "root")
	}
	if !fixtures.Libvirt(t) {
		t.Skip("no libvirtd")
	}
	dir := fixtures.Guest(t, guest)
	fixtures.Tool(t, "guestfish")
	return dir
}

// answering is convertedTo of a guest that the program boots on its network.
func answering(t *testing.T, guest string, kind layout.Kind, changes ...string) *subject {
	t.Helper()
	dir := needed(t, guest)
	return shared.subject(guest, kind, true, changes).ready(t, dir)
}

// ready converts it, once.
func (s *subject) ready(t *testing.T, dir string) *subject {
	t.Helper()
	s.once.Do(func() {
		s.err = errors.Join(shared.built(), s.convert(dir, fixtures.Appliance(t)))
		t.Logf("%s converted in %v", s.guest, s.took.Round(time.Second))
	})
	if s.err != nil {
		t.Fatalf("converting %s: %v", s.guest, s.err)
	}
	return s
}

func (s *subject) home() string { return filepath.Join(shared.dir, s.name) }

// convert has the program convert the guest, from a host of its own.
func (s *subject) convert(dir string, env []string) (err error) {
	if len(s.changes) > 0 {
		if dir, err = s.changed(dir, env); err != nil {
			return err
		}
	}
	served, disks := filepath.Join(s.home(), "guests"), filepath.Join(s.home(), "disks")
	if err := errors.Join(os.MkdirAll(disks, 0o755), renamed(dir, filepath.Join(served, s.vm), s.vm)); err != nil {
		return err
	}
	h, err := esxi.Start(context.Background(), esxi.Options{Dir: served})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	password := filepath.Join(s.home(), "password")
	if err := os.WriteFile(password, []byte(h.Password()+"\n"), 0o600); err != nil {
		return err
	}
	begin := time.Now()
	args := []string{
		"convert", "--esxi", strings.Replace(h.URL(), "https://", "https://root@", 1), "--thumbprint", h.Thumbprint(),
		"--password-file", password, "--storage", "dir:" + disks, "--uplink", "eth0", "--virt-type", fixtures.VirtType(),
		"--layout", string(s.layout), "--yes",
	}
	if !s.answers {
		args = append(args, "--no-proof") // the tests boot it
	}
	args = append(args, s.vm)
	if s.guest == killed {
		if err := s.kill(s.command(context.Background(), env, args...)); err != nil {
			return err
		}
		args = []string{"resume", "--password-file", password, s.vm}
	}
	out, err := s.esxodus(env, args...)
	s.took = time.Since(begin)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return s.read(served)
}

// changed makes the subject's own copy of a guest, and changes it.
func (s *subject) changed(built string, env []string) (dir string, err error) {
	if err := os.MkdirAll(s.home(), 0o755); err != nil {
		return "", err
	}
	dir = filepath.Join(s.home(), "built")
	if out, err := exec.Command("cp", "-rL", "--sparse=always", built, dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.Command("guestfish", "--format=raw", "-a", filepath.Join(dir, s.guest+"-flat.vmdk"), "-i")
	cmd.Env, cmd.Stdin = append(os.Environ(), env...), strings.NewReader(strings.Join(s.changes, "\n")+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("changing %s: %w: %s", s.guest, err, out)
	}
	return dir, nil
}

// kill starts a conversion, and kills it without a warning once the appliance
// has begun to write.
func (s *subject) kill(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	overlay := filepath.Join(s.home(), "state", "vms", s.vm, "guest", "disk0.qcow2")
	const empty = 1 << 20 // at least as much as an overlay is without data
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended before it was killed: %w: %s", err, &out)
		case <-time.After(200 * time.Millisecond):
		}
		if info, err := os.Stat(overlay); err == nil && info.Size() > empty {
			err := cmd.Process.Kill()
			<-ended
			return err
		}
	}
}

// esxodus runs the program on the subject's own state.
func (s *subject) esxodus(env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	return s.command(ctx, env, args...).CombinedOutput()
}

func (s *subject) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(shared.dir, "esxodus"), args...)
	cmd.Env = append(append(os.Environ(), env...), "ESXODUS_STATE="+filepath.Join(s.home(), "state"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// read takes from the journal what was planned, and finds the disks.
func (s *subject) read(served string) error {
	f, err := os.Open(filepath.Join(s.home(), "state", "vms", s.vm, "journal"))
	if err != nil {
		return err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("journal of %s: %w", s.vm, err)
	}
	var first struct{ Plan *plan.VMJob }
	if err := json.Unmarshal(line, &first); err != nil || first.Plan == nil {
		return fmt.Errorf("journal of %s: no plan in its first line: %w", s.vm, err)
	}
	s.plan = first.Plan.VM
	state, err := runs.StateDir(filepath.Join(s.home(), "state")).State(s.vm)
	if err != nil {
		return err
	}
	s.network = state.Network
	for _, d := range s.plan.Disks {
		_, file, _ := strings.Cut(d.Path, "] ")
		s.sources = append(s.sources, filepath.Join(served, strings.TrimSuffix(file, ".vmdk")+"-flat.vmdk"))
		s.disks = append(s.disks, d.Volume.Path)
	}
	for _, d := range append(s.sources, s.disks...) {
		if _, err := os.Stat(d); err != nil {
			return err
		}
	}
	for _, work := range []string{"guest", "scratch"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(f.Name()), work)); err == nil {
			return fmt.Errorf("the conversion left its directory %s", work)
		}
	}
	return nil
}

// forget removes the domain and its disks.
func (s *subject) forget() {
	if s.plan.Name == "" {
		return // it never came to be, or was undone
	}
	if out, err := s.esxodus(nil, "rollback", s.vm); err != nil {
		fmt.Fprintf(os.Stderr, "rolling %s back: %v: %s\n", s.vm, err, out)
	}
}

// renamed makes a guest's directory with another name for the VM: others may
// be migrating the same guest.
func renamed(built, dir, vm string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(built, "*.vmdk"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Symlink(f, filepath.Join(dir, filepath.Base(f))); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(filepath.Join(built, "vm.json"))
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	spec["name"] = vm
	if b, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "vm.json"), b, 0o644)
}

// boot starts a converted guest and logs in. It must be our loader that starts
// it.
func boot(t *testing.T, s *subject, c machine.Config) *machine.Machine {
	t.Helper()
	return bootsImage(t, s, c, "Linux")
}

// bootsImage is boot where another image than the first is the default.
func bootsImage(t *testing.T, s *subject, c machine.Config, label string) *machine.Machine {
	t.Helper()
	m := started(t, s, c)
	m.Expect("LILO", machine.BootPatience)
	m.Expect("boot: ", machine.BootPatience)
	m.Expect("Loading "+label, machine.BootPatience)
	m.Login("root", "esxodus")
	return m
}

// started starts a converted guest, with its NICs.
func started(t *testing.T, s *subject, c machine.Config) *machine.Machine {
	t.Helper()
	c.Disks = s.disks
	for _, n := range s.plan.Source.NICs {
		c.NICs = append(c.NICs, machine.NIC{MAC: n.MAC})
	}
	m := machine.New(t, c)
	m.Start()
	return m
}
