package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"esxodus/inventory/fit"
	"esxodus/inventory/redact"
)

// LogFile has, in a run's state directory, what was done when, in lines for people.
const LogFile = "log"

// mostLog bounds a log, in bytes: a run that is resumed for ever fills no disk.
const mostLog = 8 << 20

// Log adds a line to a run's log: the time as RFC 3339, and the text without secrets and
// control characters. Of a run that isn't on record it keeps nothing. It need not survive
// a power cut.
func (d StateDir) Log(name, text string) (err error) {
	path := filepath.Join(d.Dir(name), LogFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the log of %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() >= mostLog {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", time.Now().Format(time.RFC3339), fit.Lines(redact.Text(text)))
	return err
}
