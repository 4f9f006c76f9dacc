package guest

import (
	"path"
	"strconv"
	"strings"
)

// mountLine is a line of fstab.
type mountLine struct {
	spec, mount, kind, options string
}

// parseFstab reads /etc/fstab. Lines with fewer than two fields are skipped,
// as mount does.
func parseFstab(b []byte) []mountLine {
	var out []mountLine
	for _, line := range lines(b) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		m := mountLine{spec: unescape(strings.Trim(f[0], `"`)), mount: unescape(f[1])}
		if k, v, ok := strings.Cut(m.spec, "="); ok && !strings.Contains(k, "/") {
			m.spec = k + "=" + strings.Trim(v, `"`)
		}
		if len(f) > 2 {
			m.kind = f[2]
		}
		if len(f) > 3 {
			m.options = f[3]
		}
		if m.kind == "swap" {
			m.mount = "swap"
		} else {
			m.mount = path.Clean("/" + m.mount)
		}
		out = append(out, m)
	}
	return out
}

// besides lists what a line's options need: logs and journals of their own, and
// the other disks of a Btrfs.
func (m mountLine) besides() []Need {
	var needs []Need
	for o := range strings.SplitSeq(m.options, ",") {
		switch key, value, _ := strings.Cut(o, "="); key {
		case "logdev", "rtdev", "journal_path", "jdev", "device":
			needs = append(needs, Need{File: fstabPath + "'s " + key + "=", Spec: value, Mount: m.mount})
		}
	}
	return needs
}

// unescape decodes \040 and the like.
func unescape(s string) string {
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

// unstableName returns the device in s that a change of bus or order renames:
// /dev/sda1, /dev/nvme0n1p2, also by path or by id of the controller. It is ""
// for anything else.
func unstableName(s string) string {
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
	if kernelName.MatchString(name) {
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
