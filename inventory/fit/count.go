package fit

import "strconv"

// Count is a number of things for people: "1 edit", "3 edits".
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
