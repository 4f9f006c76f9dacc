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
		if strings.HasPrefix(rest, "by-path/") || strings.HasPrefix(rest, "by-id/") && !strings.HasPrefix(rest, "by-id/dm-") && !strings.HasPrefix(rest, "by-id/lvm-") {
			return "/dev/" + name
		}
		return ""
	}
	if _, _, ok := splitDiskName(name); ok {
		return "/dev/" + name
	}
	return ""
}

// splitDiskName takes a kernel's disk name apart: sdb3 is disk 1, partition 3;
// nvme0n1p2 is disk 0, partition 2. Partition 0 is the whole disk.
func splitDiskName(name string) (disk, partition int, ok bool) {
	if rest, ok := strings.CutPrefix(name, "nvme"); ok {
		ctrl, rest, _ := strings.Cut(rest, "n")
		ns, p, hasPart := strings.Cut(rest, "p")
		d, err1 := strconv.Atoi(ctrl)
		_, err2 := strconv.Atoi(ns)
		if hasPart {
			var err error
			if partition, err = strconv.Atoi(p); err != nil {
				return 0, 0, false
			}
		}
		return d, partition, err1 == nil && err2 == nil && d >= 0 && partition >= 0
	}
	for _, prefix := range []string{"sd", "hd", "vd", "xvd"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		letters := strings.TrimRight(rest, "0123456789")
		if letters == "" || len(letters) > 3 || strings.Trim(letters, "abcdefghijklmnopqrstuvwxyz") != "" {
			return 0, 0, false
		}
		for _, c := range letters {
			disk = disk*26 + int(c-'a') + 1
		}
		if digits := rest[len(letters):]; digits != "" {
			p, err := strconv.Atoi(digits)
			if err != nil {
				return 0, 0, false
			}
			partition = p
		}
		return disk - 1, partition, true
	}
	return 0, 0, false
}
