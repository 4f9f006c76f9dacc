package conf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Serial is a serial line that the loader talks on.
type Serial struct {
	Port   int  // 0 is COM1, ttyS0
	Speed  int  // bits per second
	Parity byte // 'n', 'o' or 'e'
	Bits   int  // 7 or 8
}

// parseSerial reads "port[,speed[parity[bits]]]": "0,115200n8".
func parseSerial(text string) (Serial, error) {
	s := Serial{Speed: 2400, Parity: 'n', Bits: 8}
	port, rest, more := strings.Cut(text, ",")
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 3 {
		return Serial{}, fmt.Errorf("the port %q is not 0 to 3", port)
	}
	s.Port = n
	if !more {
		return s, nil
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	if s.Speed, err = parseSpeed(rest[:digits]); err != nil {
		return Serial{}, err
	}
	return s, s.format(rest[digits:])
}

// format reads parity and bits.
func (s *Serial) format(text string) error {
	if text == "" {
		return nil
	}
	s.Parity = text[0] | 0x20
	if !strings.ContainsRune("noe", rune(s.Parity)) {
		return fmt.Errorf("the parity %q is not n, o or e", text[:1])
	}
	switch text[1:] {
	case "":
		if s.Parity != 'n' {
			s.Bits = 7 // as LILO has it
		}
	case "7", "8":
		s.Bits = int(text[1] - '0')
	default:
		return fmt.Errorf("%q bits: want 7 or 8", text[1:])
	}
	return nil
}

func parseSpeed(text string) (int, error) {
	switch text {
	case "110", "150", "300", "600", "1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200":
		return strconv.Atoi(text)
	}
	return 0, fmt.Errorf("the speed %q is not one of 110, 150, 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200", text)
}

// parseVideo reads a video mode.
func parseVideo(text string) (uint16, error) {
	switch strings.ToLower(text) {
	case "normal":
		return VideoNormal, nil
	case "ext", "extended":
		return VideoExt, nil
	case "ask":
		return VideoAsk, nil
	}
	n, err := strconv.ParseUint(text, 0, 16)
	if err != nil {
		return 0, errors.New("want normal, ext, ask or a number up to 65535")
	}
	return uint16(n), nil
}

// checkLabel keeps to what can be typed at the boot prompt as one word.
func checkLabel(name string) error {
	if len(name) > MaxLabel {
		return fmt.Errorf("%d characters long, at most %d can be", len(name), MaxLabel)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '=' || c == '"' || c == '#' {
			return errors.New(`want ASCII letters, digits and signs without spaces, =, " and #`)
		}
	}
	return nil
}
