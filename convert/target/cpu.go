package target

import (
	"os"
	"slices"
	"strings"
)

// levels are the flags, as Linux names them, that each of x86-64's levels adds from the
// second on (x86-64 psABI, § 3.1.1, table 3.1).
func levels() [][]string {
	return [][]string{
		{"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
		{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
		{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
	}
}

// cpuLevel is x86-64's level that a host has by its /proc/cpuinfo; 0 where that can't be
// told.
func cpuLevel(cpuinfo string) int {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		flags, level := strings.Fields(value), 1
		for _, adds := range levels() {
			if slices.ContainsFunc(adds, func(f string) bool { return !slices.Contains(flags, f) }) {
				break
			}
			level++
		}
		return level
	}
	return 0
}

// ownLevel is this host's.
func ownLevel() int {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	return cpuLevel(string(b))
}
