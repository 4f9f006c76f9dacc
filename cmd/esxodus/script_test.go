package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
)

// TestMain makes this test binary stand for the program: scripts, and tests
// that kill it, run it as `esxodus`.
func TestMain(m *testing.M) {
	testscript.Main(crowd{m}, map[string]func(){"esxodus": main})
}

// crowd runs tests many at a time, unless -parallel says how many: most of
// them wait, for a slow host or a guest, and a processor each would be idle.
type crowd struct{ *testing.M }

func (c crowd) Run() int {
	flag.Parse() //nolint:revive // as testing.M does, which would find it done
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	return c.M.Run()
}

// TestScript runs the command line's specification, testdata/script, against
// an ESXi host of its own for each script.
func TestScript(t *testing.T) {
	root := fixtures.OpenDir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         root,
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"power": cmdPower, "fault": cmdFault, "untouched": cmdUntouched, "exit": cmdExit, "lock": cmdLock, "flip": cmdFlip, "fill": cmdFill,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "libvirt" {
				return fixtures.Libvirt(t), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

type hostKey struct{}

// setUp starts the script's ESXi host: the built-in VMs, and a small VM of a
// name of its own, so that scripts don't meet in libvirt.
func setUp(env *testscript.Env) error {
	vm := uniqueName("t")
	guests := filepath.Join(env.WorkDir, ".guests")
	if err := fixtures.SmallGuest(filepath.Join(guests, vm), vm); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h, err := esxi.Start(ctx, esxi.Options{Dir: guests, Builtin: true})
	if err != nil {
		cancel()
		return err
	}
	env.Defer(func() {
		undefine(vm)
		_ = h.Close()
		cancel()
	})
	env.Values[hostKey{}] = h
	password := filepath.Join(env.WorkDir, ".password")
	if err := os.WriteFile(password, []byte(h.Password()+"\n"), 0o600); err != nil {
		return err
	}
	disks := filepath.Join(env.WorkDir, "disks")
	if err := os.Mkdir(disks, 0o755); err != nil {
		return err
	}
	env.Setenv("GOVC_URL", strings.Replace(h.URL(), "https://", "https://root@", 1))
	env.Setenv("HOSTPORT", strings.TrimPrefix(h.URL(), "https://"))
	env.Setenv("THUMBPRINT", h.Thumbprint())
	env.Setenv("PASSWORD_FILE", password)
	env.Setenv("SSH", h.SSHAddr())
	env.Setenv("SSH_FINGERPRINT", fixtures.Fingerprint(h.SSHHostKey()))
	env.Setenv("VM", vm)
	env.Setenv("SRC", "--password-file="+password)
	env.Setenv("ESXODUS_STATE", filepath.Join(env.WorkDir, "state"))
	env.Setenv("STORAGE", "dir:"+disks)
	env.Setenv("VIRT", fixtures.VirtType())
	return nil
}

// undefine removes a script's domain, if it left one.
func undefine(vm string) {
	_ = exec.Command("virsh", "-q", "-c", "qemu:///system", "undefine", vm).Run()
}

func esxiHost(ts *testscript.TestScript) *esxi.Host {
	h, ok := ts.Value(hostKey{}).(*esxi.Host)
	if !ok {
		ts.Fatalf("no ESXi host")
	}
	return h
}

// cmdPower: power VM on|off
func cmdPower(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: power VM on|off")
	}
	esxiHost(ts).SetPower(args[0], args[1] == "on")
}

// cmdFault: fault KIND PATH [key=value…]: the next transfers of PATH go wrong.
func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: fault KIND [PATH [skip=N] [count=N] [after=N] [code=N]] | fault clear|expire")
	}
	switch args[0] {
	case "clear":
		esxiHost(ts).Faults().Clear()
		return
	case "expire":
		esxiHost(ts).Faults().ExpireSessionsAfter(2)
		return
	}
	f := esxi.Fault{Kind: esxi.Kind(strings.ReplaceAll(args[0], "-", " "))}
	if len(args) > 1 {
		f.Path = args[1]
	}
	for _, arg := range args[min(2, len(args)):] {
		key, value, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		ts.Check(err)
		switch key {
		case "skip":
			f.Skip = int(n)
		case "count":
			f.Count = int(n)
		case "after":
			f.After = n
		case "code":
			f.Code = int(n)
		default:
			ts.Fatalf("fault: unknown key %q", key)
		}
	}
	esxiHost(ts).Faults().Add(f)
}

// cmdUntouched: untouched: nothing was written or asked to change on ESXi.
func cmdUntouched(ts *testscript.TestScript, neg bool, args []string) {
	if s := esxiHost(ts).Stats(); len(s.Refused)+len(s.Changes)+s.WriteAttempts > 0 {
		ts.Fatalf("the source was to be changed: %+v", s)
	}
}

// cmdExit: exit CODE command…: runs esxodus and wants that exit code.
func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		got = fixtures.ExitCode(err)
	}
	if want, cerr := strconv.Atoi(args[0]); cerr != nil || got != want {
		ts.Fatalf("%s: exit code %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// cmdLock: lock DIR: another process holds the lock of a run's state directory.
func cmdLock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lock DIR")
	}
	f, err := os.OpenFile(ts.MkAbs(filepath.Join(args[0], "lock")), os.O_CREATE|os.O_RDWR, 0o600)
	ts.Check(err)
	ts.Defer(func() { _ = f.Close() })
	ts.Check(unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
}

// cmdFill: fill FILE…: @NAME@ becomes the value of the variable NAME.
func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fill FILE…")
	}
	for _, file := range args {
		text := regexp.MustCompile("@[A-Z_]+@").ReplaceAllStringFunc(ts.ReadFile(file), func(name string) string {
			return ts.Getenv(strings.Trim(name, "@"))
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

// cmdFlip: flip FILE OFFSET: one bit of the byte there changes.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(flipBit(ts.MkAbs(args[0]), off))
}

// flipBit changes one bit of a file's byte at off.
func flipBit(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	b[0] ^= 8
	if err == nil {
		_, err = f.WriteAt(b, off)
	}
	return errors.Join(err, f.Close())
}
