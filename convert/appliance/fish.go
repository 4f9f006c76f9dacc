package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"esxodus/inventory/fit"
)

// Limits of the conversation with guestfish.
const (
	maxLine   = 8000    // bytes of a command: guestfish reads 8191 at a time
	maxAnswer = 8 << 20 // bytes: libguestfs itself passes on at most 4 MiB
)

// Error is a call that the appliance refused.
type Error struct {
	Call string // guestfish's name of it: "mount"
	Text string // what libguestfs says, on one line
}

// Error gives libguestfs's text, which names the call.
func (e *Error) Error() string { return e.Text }

// Is makes what the kernel in the appliance says comparable with io/fs's errors.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return strings.HasSuffix(e.Text, ": No such file or directory")
	case fs.ErrExist:
		return strings.HasSuffix(e.Text, ": File exists")
	}
	return false
}

// call has guestfish do one thing and returns what it prints, without the
// final line feed. When ctx ends or limit passes, the appliance is killed: the
// answer could come at any time and be taken for the next one's.
func (a *Appliance) call(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	if a.broken != nil {
		return "", fmt.Errorf("%s: the appliance was stopped: %w", name, a.broken)
	}
	line, err := commandLine(name, args)
	if err != nil {
		return "", err
	}
	cause := fmt.Errorf("%s: no answer from the appliance within %v", name, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, cause)
	defer cancel()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: not done: %w", name, context.Cause(ctx))
	}
	start := time.Now()
	out, err := a.converse(ctx, line)
	if a.log != nil {
		a.log.DebugContext(ctx, "appliance answered", "call", name, "args", args, "took", time.Since(start), "error", err)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		a.broken = err
		news, _ := a.fish.News() // what is known of the reason: best effort
		if text := complaint(news); text != "" {
			err = fmt.Errorf("%w (%s)", err, text)
		}
		return "", errors.Join(fmt.Errorf("appliance: %w", err), a.halt(0))
	}
	news, err := a.fish.News()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if text := complaint(news); text != "" {
		return "", &Error{Call: name, Text: text}
	}
	return out, nil
}

// converse sends a line and returns what is printed until a word that nobody
// in the appliance can know.
func (a *Appliance) converse(ctx context.Context, line string) (string, error) {
	end := rand.Text()
	stop := context.AfterFunc(ctx, func() { _ = a.fish.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := a.fish.Write([]byte(line + "\necho " + end + "\n")); err != nil {
		return "", fmt.Errorf("guestfish has ended: %w", err)
	}
	var answer []byte
	mark := []byte(end + "\n")
	for buf := make([]byte, 64<<10); !bytes.HasSuffix(answer, mark); {
		n, err := a.fish.Read(buf)
		if err != nil {
			return "", fmt.Errorf("guestfish has ended: %w", err)
		}
		if answer = append(answer, buf[:n]...); len(answer) > maxAnswer {
			return "", fmt.Errorf("more than %d bytes of answer", maxAnswer)
		}
	}
	answer = bytes.TrimSuffix(answer, mark)
	return string(bytes.TrimSuffix(answer, []byte("\n"))), nil
}

// commandLine writes a command of guestfish whose failure doesn't end it.
func commandLine(name string, args []string) (string, error) {
	var b strings.Builder
	b.WriteString("-" + name)
	for _, arg := range args {
		q, err := quote(arg)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		b.WriteString(" " + q)
	}
	if b.Len() > maxLine {
		return "", fmt.Errorf("%s: a command of %d bytes is longer than the %d that guestfish reads", name, b.Len(), maxLine)
	}
	return b.String(), nil
}

// quote writes an argument as guestfish reads it (guestfish(1), "Escape
// sequences in double quoted arguments").
func quote(arg string) (string, error) {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(arg) {
		switch c := arg[i]; {
		case c == 0:
			return "", fmt.Errorf("%q holds a NUL byte", arg)
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}

// shellWords writes an argv as a POSIX shell reads it.
func shellWords(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = fit.Shell(w)
	}
	return strings.Join(words, " ")
}

// complaint makes one line of what guestfish wrote to stderr, "" when that is
// no error. Anything but a warning is one.
func complaint(news string) string {
	var lines []string
	for line := range strings.Lines(news) {
		line = strings.TrimSpace(fit.Line(line))
		// "*stdin*:12: libguestfs: error: mount: …"
		if rest, ok := strings.CutPrefix(line, "*stdin*:"); ok {
			if _, text, ok := strings.Cut(rest, ": "); ok {
				line = text
			}
		}
		if line == "" || strings.HasPrefix(line, "libguestfs: warning:") {
			continue
		}
		if line == "Do:" || strings.HasPrefix(line, "To see full error messages") {
			break // advice on environment variables follows
		}
		lines = append(lines, strings.TrimPrefix(line, "libguestfs: error: "))
	}
	return strings.Join(lines, "; ")
}

// nonce is a word that nothing is called yet.
func nonce() string { return rand.Text()[:16] }
