package target

import "testing"

func TestCPULevel(t *testing.T) {
	const v2 = "fpu sse sse2 cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
	const v3 = v2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
	for text, want := range map[string]int{
		"":                              0,
		"Features\t: fp asimd\n":        0,
		"flags\t\t: fpu sse sse2 ssse3": 1,
		"model\t: 1\nflags\t\t: " + v2 + "\n\nflags: " + v3:                 2,
		"flags\t\t: " + v3 + " avx512f":                                     3,
		"flags: " + v3 + " avx512f avx512bw avx512cd avx512dq avx512vl amx": 4,
	} {
		if got := cpuLevel(text); got != want {
			t.Errorf("%q: level %d, want %d", text, got, want)
		}
	}
}
