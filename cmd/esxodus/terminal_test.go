package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"esxodus/convert/report"
	"esxodus/fixtures/esxi"
)

// person is somebody at a terminal in front of the program.
type person struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	screen buffer // all that was ever shown
	shown  chan struct{}
}

// sit makes a terminal of 80 columns and runs the program on it.
func (l *lab) sit(cmd *exec.Cmd) *person { return l.sitAt(cmd, 80) }

// sitAt makes a terminal of so many columns and runs the program on it.
func (l *lab) sitAt(cmd *exec.Cmd, columns uint16) *person {
	l.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	l.check(err)
	l.check(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	l.check(err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	l.check(err)
	l.check(unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	p := &person{t: l.t, master: master, slave: slave, shown: make(chan struct{})}
	cmd.Stdin = slave
	if cmd.Stdout == nil {
		cmd.Stdout = slave
	}
	cmd.Stderr = slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	l.check(cmd.Start())
	go func() {
		defer close(p.shown)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = p.screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = slave.Close()
		_ = master.Close()
	})
	return p
}

// sees waits for text on the screen.
func (p *person) sees(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(p.screen.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%q does not appear; the screen:\n%s", text, tail(p.screen.String()))
		}
	}
}

// asks waits for a prompt at which the terminal doesn't show what is typed.
func (p *person) asks(prompt string) {
	p.t.Helper()
	p.sees(prompt)
	if p.echoes() {
		p.t.Errorf("the terminal shows what is typed at %q", prompt)
	}
}

func (p *person) echoes() bool {
	p.t.Helper()
	tio, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return tio.Lflag&unix.ECHO != 0
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// leaves waits for the program's end and returns all that the screen showed.
func (p *person) leaves(cmd *exec.Cmd, code int) string {
	p.t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	_ = p.slave.Close()
	<-p.shown
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d; the screen:\n%s", got, code, tail(p.screen.String()))
	}
	return p.screen.String()
}

// withoutFile is args without the password file: the program must ask.
func withoutFile(args []string) []string { return replaced(args, "--password-file", "") }

// TestAtATerminal migrates a VM with a person at the terminal: the password is
// asked for and not shown, the plan is confirmed, a bar tells rate and time
// left, and standard output, which isn't the terminal, has the result alone.
func TestAtATerminal(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	l.host.Faults().Slow(2 << 20)
	var args []string
	for _, a := range withoutFile(l.convert("--no-proof", "--output", "json")) {
		if a != "--yes" {
			args = append(args, a)
		}
	}
	cmd := l.command(args...)
	var out buffer
	cmd.Stdout = &out
	p := l.sit(cmd)
	p.asks("Password of root on 127.0.0.1:")
	p.types(l.host.Password() + "\n")
	p.sees(`Convert "` + l.vm + `" now? [y/N] `)
	p.types("y\n")
	screen := p.leaves(cmd, exitDone)
	if strings.Contains(screen, l.host.Password()) {
		t.Error("the password is on the screen")
	}
	bar := regexp.MustCompile(regexp.QuoteMeta(l.vm) + `: copy scsi0:0 +\d+% .*MiB/s.*\[\d+s:\d+s\]`)
	if !bar.MatchString(screen) {
		t.Errorf("no bar with percentage, rate and time left:\n%q", tail(screen))
	}
	for line := range strings.SplitSeq(screen, "\r") {
		if line = strings.TrimPrefix(line, "\n"); strings.Contains(line, "% ") && len([]rune(line)) > 80 {
			t.Errorf("a line of %d columns on a terminal of 80: %q", len([]rune(line)), line)
			break
		}
	}
	var s struct {
		Phase string `json:"phase"`
	}
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil || s.Phase != "converted, not seen to boot" {
		t.Errorf("stdout = %q, %v; want the state as JSON", out.String(), err)
	}
	l.checkDone()
}

// TestNotConfirmed answers no, or nothing: nothing is changed.
func TestNotConfirmed(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"no": "n\n", "return": "\n", "rubbish": "yikes\n", "end of file": "\x04"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			var args []string
			for _, a := range l.convert("--no-proof") {
				if a != "--yes" {
					args = append(args, a)
				}
			}
			cmd := l.command(args...)
			p := l.sit(cmd)
			p.sees("[y/N] ")
			p.types(answer)
			screen := p.leaves(cmd, exitFailed)
			if !strings.Contains(screen, "nothing was changed") {
				t.Errorf("the screen:\n%s", tail(screen))
			}
			l.noDisks()
			if len(l.events()) > 0 {
				t.Error("there is a journal")
			}
		})
	}
}

// TestCtrlC presses the keys at each question, and in mid-copy: the terminal
// is left as it was, and echoes.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"password", "question", "copy"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, esxi.Options{})
			l.hold(l.vm)
			args := l.convert("--no-proof")
			if where == "password" {
				args = withoutFile(args)
			}
			if where == "question" {
				args = append(args[:0:0], args...)
				for i, a := range args {
					if a == "--yes" {
						args = append(args[:i], args[i+1:]...)
						break
					}
				}
			}
			cmd := l.command(args...)
			p := l.sit(cmd)
			switch where {
			case "password":
				p.asks("Password of")
			case "question":
				p.sees("[y/N] ")
			case "copy":
				p.sees("copy scsi0:0")
			}
			time.Sleep(50 * time.Millisecond) // it reads by then; if not, it is interrupted earlier
			p.types("\x03")
			deadline := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			if !deadline.Stop() {
				t.Fatalf("Ctrl-C at the %s does not end it; the screen:\n%s", where, tail(p.screen.String()))
			}
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d (%v); the screen:\n%s", code, err, tail(p.screen.String()))
			}
			if where == "question" {
				p.sees("esxodus: no answer")
				if screen := p.screen.String(); !strings.Contains(screen, "\nesxodus: no answer") {
					t.Errorf("the error doesn't begin on a line of its own:\n%s", tail(screen))
				}
			}
			if !p.echoes() {
				t.Error("the terminal does not echo any more")
			}
			l.noDisks()
		})
	}
}

// TestWithoutATerminal writes plain lines, and no bar, to what isn't one.
func TestWithoutATerminal(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{})
	r := l.run(exitDone, l.convert("--no-proof")...)
	if strings.ContainsAny(r.err+r.out, "\r\x1b") {
		t.Error("there are carriage returns or escape sequences in plain output")
	}
	if !regexp.MustCompile(regexp.QuoteMeta(l.vm) + `: copy scsi0:0 24 MiB of 24 MiB \(100%\)`).MatchString(r.err) {
		t.Errorf("no line tells of the copy:\n%s", tail(r.err))
	}
}

// TestNarrow: results, errors and help fit the terminal that they are shown on.
func TestNarrow(t *testing.T) {
	t.Parallel()
	l := newLab(t, esxi.Options{Builtin: true})
	for _, columns := range []uint16{40, 60, 132} {
		for _, tt := range []struct {
			args []string
			code int
			want string // however it is broken
		}{
			{append([]string{"inventory"}, l.login()...), exitDone, "VM Network"},
			{l.plan(), exitDone, "needs attention"},
			{[]string{"rollback", "--help"}, exitDone, "because their file system isn't mounted"},
			{[]string{"--help"}, exitDone, "show what a migration would do, and change nothing"},
			{[]string{"plan", "--storage", "nfs:x"}, exitUsage, "want dir:/PATH (raw files), lvm:VG (logical volumes) or lvm:VG/POOL (thin ones)"},
		} {
			cmd := l.command(tt.args...)
			screen := strings.ReplaceAll(l.sitAt(cmd, columns).leaves(cmd, tt.code), "\r", "")
			if got := strings.Join(strings.Fields(screen), " "); !strings.Contains(got, tt.want) {
				t.Errorf("%v on %d columns: no %q in\n%s", tt.args, columns, tt.want, screen)
			}
			for line := range strings.Lines(screen) {
				line = strings.TrimRight(line, "\n")
				// A command in backquotes stays whole, to be pasted.
				example := strings.Contains(line, "esxodus ") || strings.Count(line, "`") == 2
				long := slices.ContainsFunc(strings.Fields(line), func(w string) bool { return report.Width(w) > int(columns)-12 })
				if report.Width(line) > int(columns) && !example && !long {
					t.Errorf("%v: a line of %d columns on a terminal of %d: %q", tt.args, report.Width(line), columns, line)
				}
			}
		}
	}
}
