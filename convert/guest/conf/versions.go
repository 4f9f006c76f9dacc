package conf

import (
	"cmp"
	"strings"
)

// KernelVersion is the version in the name of a kernel image in /boot, "" for
// other files and for rescue images.
func KernelVersion(file string) string {
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "bzImage-", "kernel-"} {
		v, ok := strings.CutPrefix(file, prefix)
		if ok && v != "" && !strings.Contains(v, "rescue") && !strings.HasSuffix(v, ".old") && !strings.HasSuffix(v, ".gz") && !strings.HasSuffix(v, ".hmac") {
			return v
		}
	}
	return ""
}

// InitrdNames are what distributions call the initrd of a kernel.
func InitrdNames(version string) []string {
	return []string{"initrd.img-" + version, "initramfs-" + version + ".img", "initrd-" + version, "initramfs-" + version, "initrd-" + version + ".img"}
}

// CompareVersions orders numbers within text by value: 6.1.0-9 before
// 6.1.0-10.
func CompareVersions(a, b string) int {
	for a != "" && b != "" {
		an, bn := leadingDigits(a), leadingDigits(b)
		if an != "" && bn != "" {
			x, y := strings.TrimLeft(an, "0"), strings.TrimLeft(bn, "0")
			if c := cmp.Or(len(x)-len(y), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[len(an):], b[len(bn):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
