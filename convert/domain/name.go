package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"esxodus/inventory"
)

// Lengths in bytes. The device mapper joins volume group and volume with every
// hyphen doubled and allows 127 in all, so that a name of ours must leave room.
const (
	maxName   = 40
	hashChars = 6
)

// Name makes a domain's name of a VM's: letters, digits and . _ + - of ASCII,
// at most 40 bytes, not starting with a hyphen or a dot, and nothing that LVM
// reserves. Accents go (é is e), a few letters are spelt out (ß is ss), each
// run of anything else becomes one hyphen. Where letters are lost or the name
// is cut, six digits of a hash of the whole name follow, so that two Japanese
// names don't become one. Names that are fine stay as they are; the same name
// gives the same result. Different names can still meet ("a b" and "a-b").
func Name(vmName string) string {
	kept, lost := ascii(vmName)
	kept = unreserve(kept)
	if kept != vmName {
		// What ends in a hyphen does so for a character that went.
		kept = strings.TrimRight(kept, "-.")
	}
	if !lost && kept != "" && len(kept) <= maxName {
		return kept
	}
	sum := sha256.Sum256([]byte(vmName))
	tail := hex.EncodeToString(sum[:])[:hashChars]
	if len(kept) > maxName-hashChars-1 {
		kept = strings.TrimRight(kept[:maxName-hashChars-1], "-.")
	}
	if kept == "" {
		kept = "vm"
	}
	return kept + "-" + tail
}

// VolumeName is the name of the logical volume or file for the VM's disk d,
// its index-th: "web-1_scsi0-0". It is a legal LVM name whenever domainName is
// one that [Name] made.
func VolumeName(domainName string, index int, d inventory.Disk) string {
	if d.Class == "" {
		return fmt.Sprintf("%s_disk%d", domainName, index)
	}
	address, _ := ascii(strings.ReplaceAll(d.Address(), ":", "-"))
	return unreserve(domainName + "_" + address)
}

// ascii keeps what is safe, transliterates, and makes a hyphen of each run of
// the rest. lost says that letters or digits went.
func ascii(s string) (kept string, lost bool) {
	var w strings.Builder
	gap := false
	put := func(s string) {
		if gap {
			w.WriteByte('-')
			gap = false
		}
		w.WriteString(s)
	}
	for _, r := range norm.NFKD.String(s) {
		switch {
		case r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r)):
			put(string(r))
		case r >= 0x80 && spelt(r) != "":
			put(spelt(r))
		case unicode.Is(unicode.Mn, r): // an accent, split off by NFKD
		default:
			gap = true
			lost = lost || r == unicode.ReplacementChar || unicode.In(r, unicode.L, unicode.N, unicode.So)
		}
	}
	if gap {
		w.WriteByte('-')
	}
	return w.String(), lost
}

// spelt spells out letters that NFKD leaves whole; "" for all others.
func spelt(r rune) string {
	const table = "ß ss ẞ SS æ ae Æ AE œ oe Œ OE ø o Ø O ł l Ł L đ d Đ D ð d Ð D þ th Þ Th ı i ħ h Ħ H"
	words := strings.Fields(table)
	for i := 0; i < len(words); i += 2 {
		if words[i] == string(r) {
			return words[i+1]
		}
	}
	return ""
}

// LVM keeps these for itself; see lvm(8), "Valid names".
const (
	reservedPrefixes = "snapshot pvmove"
	reservedParts    = "_cdata _cmeta _corig _cpool _cvol _iorig _imeta _mimage _mlog _pmspare _rimage _rmeta _tdata _tmeta _vdata _vorigin _wcorig"
)

// unreserve changes as little as makes s a name that LVM leaves to users, and
// that is neither an option nor a hidden file.
func unreserve(s string) string {
	for p := range strings.FieldsSeq(reservedParts) {
		s = strings.ReplaceAll(s, p, "-"+p[1:])
	}
	s = strings.TrimLeft(s, "-.")
	for p := range strings.FieldsSeq(reservedPrefixes) {
		if strings.HasPrefix(s, p) {
			return "vm-" + s
		}
	}
	return s
}
