package guest

import "testing"

// TestLetters counts as the kernel names its disks.
func TestLetters(t *testing.T) {
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 27: "ab", 26 + 26*26: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("letters(%d) = %s; want %s", n, got, want)
		}
	}
}
