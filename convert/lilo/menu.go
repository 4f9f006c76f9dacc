package lilo

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// SectorSize is the unit of the map, in bytes. Disks with larger logical
// sectors can't be booted by a BIOS.
const SectorSize = 512

// What a map can hold.
const (
	MaxImages   = 32
	MaxLabel    = 15    // bytes
	MaxLine     = 255   // bytes of a one-shot or fallback line, and of what is typed
	MaxCmdline  = 2047  // bytes of an image's command line
	MaxMessage  = 65535 // bytes
	MaxPassword = 63    // bytes

	maxKernel = 512 << 20
	maxInitrd = 2 << 30
	maxRuns   = 1 << 20 // of one file
)

// Hole is the LBA of a run that is on no disk: it reads as zeros.
const Hole = 0

// Run is Count sectors of the boot disk from LBA on, or of zeros where that is
// [Hole].
type Run struct {
	LBA   uint64 `json:"lba"`
	Count uint32 `json:"count"`
}

// File is a file and where its bytes lie on the boot disk. The runs must cover
// Size; what they have beyond it (the rest of a file system's block) is
// ignored.
type File struct {
	Path string // as it was opened; not in the map
	Size int64  // bytes
	Runs []Run
}

// VideoMode is what the kernel's setup code is told about the screen: a mode's
// number or one of the constants.
type VideoMode uint16

// The words of lilo.conf's vga=.
const (
	VideoNormal   VideoMode = 0xffff // normal: 80x25
	VideoExtended VideoMode = 0xfffe // ext: 80x50
	VideoAsk      VideoMode = 0xfffd // ask: the kernel asks
)

// Image is what can be booted.
type Image struct {
	Label string // 1 to 15 bytes of printable ASCII, without space, " and =
	Alias string // the same, or empty
	// Cmdline is the kernel's command line. The loader puts "BOOT_IMAGE=label"
	// before it, and before that "auto" if nobody chose; what was typed after
	// the label follows it.
	Cmdline string
	Kernel  File
	Initrd  *File
	// Video is nil where the kernel's own default stands.
	Video *VideoMode
	// Password is asked for before the image is booted, or (Restricted) only
	// if something was typed after the label.
	Password   *Password
	Restricted bool
	// SingleKey boots the image when its label or alias, which then is one
	// character, is the first key at the prompt.
	SingleKey bool
	// Lock makes what was typed the one-shot line of all later boots.
	Lock bool
	// Fallback becomes the one-shot line, as root's, when this image is booted;
	// empty for none.
	Fallback string
}

// Menu is all that is in a map.
type Menu struct {
	Images  []Image
	Default int // index into Images
	// Delay is waited before the default is booted without a prompt; Shift,
	// Ctrl, Alt or any key makes the prompt appear. Timeout is how long the
	// prompt waits for the first key, 0 for ever. Tenths of a second.
	Delay, Timeout int
	Prompt         bool // at every boot, without a key being pressed
	Serial         *Serial
	Message        []byte // shown before the prompt
	// OneShot is the line that the next boot takes as if it had been typed,
	// once, unless a key is pressed in the time of Delay; empty for none.
	OneShot string
	// OneShotTyped says that it was typed at the prompt (Lock), so that passwords
	// are asked for; for a line that root left they aren't.
	OneShotTyped bool
}

// Serial is a console besides the screen.
type Serial struct {
	Port   int  // 0 to 3: COM1 to COM4
	BPS    int  // one of 110 … 115200
	Parity byte // 'n', 'o' or 'e'
	Bits   int  // 7 or 8
}

// Password is what the loader compares with: PBKDF2-HMAC-SHA256 (RFC 8018).
type Password struct {
	Salt   [16]byte
	Hash   [32]byte
	Rounds uint32
}

// passwordRounds cost the loader some 40 million instructions: nothing on KVM,
// a second or two where processors are emulated.
const passwordRounds = 4096

// NewPassword hashes text, which is 1 to 63 bytes, with a salt from random.
func NewPassword(text string, random io.Reader) (*Password, error) {
	if text == "" || len(text) > MaxPassword {
		return nil, fmt.Errorf("password of %d bytes: the loader takes 1 to %d", len(text), MaxPassword)
	}
	if !printable(text) {
		return nil, errors.New("password: the loader can read only printable ASCII characters")
	}
	p := Password{Rounds: passwordRounds}
	if _, err := io.ReadFull(random, p.Salt[:]); err != nil {
		return nil, fmt.Errorf("salt of a password: %w", err)
	}
	hash, err := p.derive(text)
	p.Hash = hash
	return &p, err
}

// Matches reports whether text is the password.
func (p *Password) Matches(text string) bool {
	hash, err := p.derive(text)
	return err == nil && hash == p.Hash
}

func (p *Password) derive(text string) (hash [32]byte, err error) {
	key, err := pbkdf2.Key(sha256.New, text, p.Salt[:], int(p.Rounds), len(hash))
	if err != nil {
		return hash, fmt.Errorf("hash of a password: %w", err)
	}
	return [32]byte(key), nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// Check returns an error that names the first thing in the menu that the map
// can't hold or the loader can't do.
func (m *Menu) Check() error {
	if n := len(m.Images); n == 0 || n > MaxImages {
		return fmt.Errorf("%d images: a map holds 1 to %d", n, MaxImages)
	}
	if m.Default < 0 || m.Default >= len(m.Images) {
		return fmt.Errorf("default image %d of %d", m.Default, len(m.Images))
	}
	if m.Delay < 0 || m.Timeout < 0 || m.Delay > maxTenths || m.Timeout > maxTenths {
		return fmt.Errorf("delay %d, timeout %d: want 0 to %d tenths of a second", m.Delay, m.Timeout, maxTenths)
	}
	if len(m.Message) > MaxMessage {
		return fmt.Errorf("message of %d bytes: the loader takes %d", len(m.Message), MaxMessage)
	}
	if err := checkLine("one-shot command line", m.OneShot); err != nil {
		return err
	}
	if err := m.Serial.check(); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range m.Images {
		if err := m.Images[i].check(names); err != nil {
			return fmt.Errorf("image %q: %w", m.Images[i].Label, err)
		}
	}
	return nil
}

// maxTenths is an hour: beyond it a BIOS's clock of a day gets in the way.
const maxTenths = 36000

func checkLine(what, line string) error {
	if len(line) > MaxLine {
		return fmt.Errorf("%s of %d bytes: the loader takes %d", what, len(line), MaxLine)
	}
	if !printable(line) {
		return fmt.Errorf("%s %q: only printable ASCII can be in it", what, line)
	}
	return nil
}

// check checks the image; names are the labels and aliases seen so far, in
// lower case, as the loader makes no difference.
func (i *Image) check(names map[string]bool) error {
	for _, name := range []string{i.Label, i.Alias} {
		if name == "" && i.Label != "" {
			continue
		}
		if name == "" || len(name) > MaxLabel || !printable(name) || strings.ContainsAny(name, " \"=") {
			return fmt.Errorf("label %q: want 1 to %d printable characters without space, quote and =", name, MaxLabel)
		}
		if names[strings.ToLower(name)] {
			return fmt.Errorf("label %q is used twice (upper and lower case are the same)", name)
		}
		names[strings.ToLower(name)] = true
	}
	if i.SingleKey && len(i.Label) != 1 && len(i.Alias) != 1 {
		return errors.New("single-key needs a label or alias of one character")
	}
	if len(i.Cmdline) > MaxCmdline || strings.ContainsRune(i.Cmdline, 0) {
		return fmt.Errorf("command line of %d bytes: want at most %d and no NUL", len(i.Cmdline), MaxCmdline)
	}
	if err := checkLine("fallback", i.Fallback); err != nil {
		return err
	}
	if err := i.Kernel.check(maxKernel); err != nil {
		return err
	}
	if i.Initrd == nil {
		return nil
	}
	return i.Initrd.check(maxInitrd)
}

// rates are those that lilo.conf's serial= takes.
func rates() []int {
	return []int{110, 150, 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}
}

func (s *Serial) check() error {
	if s == nil {
		return nil
	}
	switch {
	case s.Port < 0 || s.Port > 3:
		return fmt.Errorf("serial port %d: want 0 (COM1) to 3 (COM4)", s.Port)
	case !slices.Contains(rates(), s.BPS):
		return fmt.Errorf("serial port at %d bps: want one of %v", s.BPS, rates())
	case !strings.ContainsRune("noe", rune(s.Parity)):
		return fmt.Errorf("serial port's parity %q: want n, o or e", s.Parity)
	case s.Bits != 7 && s.Bits != 8:
		return fmt.Errorf("serial port with %d bits: want 7 or 8", s.Bits)
	}
	return nil
}

func (f *File) check(limit int64) error {
	if f.Size <= 0 || f.Size > limit {
		return fmt.Errorf("%s: size of %d bytes: want 1 to %d", f.Path, f.Size, limit)
	}
	if len(f.Runs) > maxRuns {
		return fmt.Errorf("%s: in %d pieces, more than %d", f.Path, len(f.Runs), maxRuns)
	}
	var n int64
	for _, r := range f.Runs {
		if r.Count == 0 || r.LBA > maxLBA-uint64(r.Count) {
			return fmt.Errorf("%s: run of %d sectors at %d can't be", f.Path, r.Count, r.LBA)
		}
		n += int64(r.Count)
	}
	if k := len(trim(*f)); k > maxRuns {
		return fmt.Errorf("%s: its holes are of %d sectors, more than %d: copy it again with cp --sparse=never", f.Path, k, maxRuns)
	}
	if n < sectors(f.Size) {
		return fmt.Errorf("%s: %d sectors are mapped of %d", f.Path, n, sectors(f.Size))
	}
	return nil
}

// maxLBA keeps offsets in bytes within an int64.
const maxLBA = 1<<54 - 1

// sectors is how many hold n bytes.
func sectors(n int64) int64 { return (n + SectorSize - 1) / SectorSize }
