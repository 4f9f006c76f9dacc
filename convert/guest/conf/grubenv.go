package conf

import "strings"

// Grubenv reads the variables of a GRUB environment block, which are not
// quoted and end at the line.
func Grubenv(b []byte) map[string]string {
	env := map[string]string{}
	for _, line := range Lines(b) {
		if k, v, ok := strings.Cut(line, "="); ok {
			env[k] = v
		}
	}
	return env
}
