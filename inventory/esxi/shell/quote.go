package shell

import (
	"errors"
	"fmt"
	"strings"

	"esxodus/inventory/fit"
)

// quote joins argv into a line that any POSIX shell, ESXi's busybox too,
// takes apart into exactly argv again. A zero byte has no place in one.
func quote(argv []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", errors.New("no command to run")
	}
	words := make([]string, len(argv))
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return "", fmt.Errorf("%s: argument %d holds a zero byte", argv[0], i)
		}
		words[i] = fit.Shell(arg)
	}
	return strings.Join(words, " "), nil
}
