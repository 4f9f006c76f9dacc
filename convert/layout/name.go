package layout

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"

	"esxodus/convert/guest"
	"esxodus/disk/lvm"
)

// device is the path of "group/volume" by the device mapper's name.
func device(place string) string {
	group, lv, ok := strings.Cut(place, "/")
	if !ok {
		return ""
	}
	return "/dev/mapper/" + guest.MapperName(group, lv)
}

const (
	// maxWord is how much of a name of the guest's goes into a new one, bytes.
	maxWord = 40
	// maxDevice is how long the path of a volume's device may be, bytes: the
	// device mapper's names have 127, and LVM keeps some for suffixes of its own.
	maxDevice = len("/dev/mapper/") + 110
)

var (
	lvmUUID = regexp.MustCompile(`^[0-9A-Za-z!#]{6}(-[0-9A-Za-z!#]{4}){5}-[0-9A-Za-z!#]{6}$`)
	foreign = regexp.MustCompile(`[^A-Za-z0-9_+.]+`)
)

// word makes a word for a name out of what a guest wrote: runs of what LVM
// doesn't take become one hyphen each. It may be empty.
func word(s string) string {
	s = strings.Trim(foreign.ReplaceAllString(s, "-"), "-.")
	if len(s) > maxWord {
		s = strings.TrimRight(s[:maxWord], "-.")
	}
	return s
}

// groupName is a name for a new volume group, after the guest's host name or
// the domain's: "web-vg", as Debian's installer has it, or "web-vg2".
func groupName(host, domain string, taken map[string]bool) string {
	host, _, _ = strings.Cut(host, ".")
	base := word(host)
	if base == "" || base == "localhost" {
		base = word(domain)
	}
	if base == "" {
		base = "guest"
	}
	return unique(base+"-vg", taken)
}

// volumeName is a name for a new logical volume of a group, after its mount
// point: "root", "boot", "var-log", "swap", or else "part5".
func volumeName(group, mount string, partition int, taken map[string]bool) string {
	base := word(strings.TrimPrefix(mount, "/"))
	if mount == "/" {
		base = "root"
	}
	if base == "" || lvm.Reserved(base) != "" || len(device(group+"/"+base)) > maxDevice {
		base = fmt.Sprintf("part%d", partition)
	}
	return unique(base, taken)
}

// unique appends the first number from 2 on that makes a name new.
func unique(base string, taken map[string]bool) string {
	name := base
	for i := 2; taken[name]; i++ {
		name = fmt.Sprintf("%s%d", base, i)
	}
	return name
}

// pvUUID is an identifier for a new physical volume in LVM's alphabet and
// groups. The same seed and disk give the same one.
func pvUUID(seed, address string) string {
	// LVM's own new ones use no more of its alphabet.
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	sum := sha256.Sum256([]byte("esxodus physical volume\x00" + seed + "\x00" + address))
	var b strings.Builder
	for i, c := range sum {
		if i == 6 || i > 6 && i < 30 && (i-6)%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(alphabet[int(c)%len(alphabet)])
	}
	return b.String()
}
