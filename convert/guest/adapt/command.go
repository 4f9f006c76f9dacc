package adapt

import "slices"

// maxArgs is how many bytes the arguments of one command come to at most, as
// they are written down for the appliance: it takes lines of 8000, with what it
// adds to them.
const maxArgs = 6000

// commands has a program run on files, in as many commands as it takes.
func (b *builder) commands(program, files []string) {
	for len(files) > 0 {
		n, size := 0, 0
		for _, f := range files {
			if size += written(f); n > 0 && size > maxArgs {
				break
			}
			n++
		}
		b.command(slices.Concat(program, files[:n])...)
		files = files[n:]
	}
}

// written is the size of an argument that is quoted for a shell and, as a part
// of its script, for guestfish once more.
func written(arg string) int {
	size := len(" ''")
	for i := range len(arg) {
		switch c := arg[i]; {
		case c == '\'':
			size += len(`'\\''`)
		case c == '"' || c == '\\':
			size += len(`\\`)
		case c < ' ' || c == 0x7f:
			size += len(`\x00`)
		default:
			size++
		}
	}
	return size
}
