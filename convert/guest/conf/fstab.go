package conf

import (
	"path"
	"strconv"
	"strings"

	"esxodus/convert/guest"
)

// mountLine is a line of fstab.
type mountLine struct {
	Spec, Mount, Kind, Options string
}

// ParseFstab reads /etc/fstab. Lines with fewer than two fields are skipped,
// as mount does.
func ParseFstab(b []byte) []mountLine {
	var out []mountLine
	for _, line := range Lines(b) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		m := mountLine{Spec: Unescape(strings.Trim(f[0], `"`)), Mount: Unescape(f[1])}
		if k, v, ok := strings.Cut(m.Spec, "="); ok && !strings.Contains(k, "/") {
			m.Spec = k + "=" + strings.Trim(v, `"`)
		}
		if len(f) > 2 {
			m.Kind = f[2]
		}
		if len(f) > 3 {
			m.Options = f[3]
		}
		if m.Kind == "swap" {
			m.Mount = "swap"
		} else {
			m.Mount = path.Clean("/" + m.Mount)
		}
		out = append(out, m)
	}
	return out
}

// Besides lists what a line's options need: logs and journals of their own, and
// the other disks of a Btrfs.
func (m mountLine) Besides() []guest.Need {
	var needs []guest.Need
	for o := range strings.SplitSeq(m.Options, ",") {
		switch key, value, _ := strings.Cut(o, "="); key {
		case "logdev", "rtdev", "journal_path", "jdev", "device":
			needs = append(needs, guest.Need{File: guest.FstabPath + "'s " + key + "=", Spec: value, Mount: m.Mount})
		}
	}
	return needs
}

// Unescape decodes \040 and the like.
func Unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// UnstableName returns the device in s that a change of bus or order renames:
// /dev/sda1, /dev/nvme0n1p2, also by path or by id of the controller. It is ""
// for anything else.
func UnstableName(s string) string {
	name, ok := strings.CutPrefix(s, "/dev/")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, ",")
	if rest, ok := strings.CutPrefix(name, "disk/"); ok {
		if strings.HasPrefix(rest, "by-path/") || strings.HasPrefix(rest, "by-id/") && !lastingID(rest) {
			return "/dev/" + name
		}
		return ""
	}
	if guest.KernelName.MatchString(name) {
		return "/dev/" + name
	}
	return ""
}

// lastingID reports whether a link in by-id names what is on the disks, which no
// change of bus renames: the device mapper's, LVM's or md's.
func lastingID(link string) bool {
	for _, by := range []string{"by-id/dm-", "by-id/lvm-", "by-id/md-"} {
		if strings.HasPrefix(link, by) {
			return true
		}
	}
	return false
}
