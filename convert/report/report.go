// Package report writes plans, inventories and states as text, laid out for the
// columns of the terminal. What a host or a guest named is printed with its
// control characters shown, so that no name can write to the terminal.
//
// Words: a [View] is what a report shows of a plan, as data. A [Form] is how text
// is laid out.
package report

import (
	"fmt"
	"strings"
)

// Bytes is a size for people, in binary units: "1.5 GiB".
func Bytes(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1023.95 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[u]
}
