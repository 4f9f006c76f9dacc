package host

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Detach starts this program anew, with its own name and arguments, in a session
// of its own: it outlives the terminal, and whoever started us. What it says goes
// to a file.
func Detach(log string, argv ...string) error {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the program has its own
	cmd := exec.Cmd{Path: "/proc/self/exe", Args: argv, Dir: "/", Stdout: out, Stderr: out, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return cmd.Process.Release()
}
