package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
)

// LZ4's legacy format (LZ4 Frame Format Description, "Legacy frame"), the one
// that Linux unpacks: a magic number, and blocks, each after its size. There is
// no mark of the end.
const (
	magicLZ4 = 0x184C2102
	maxBlock = 4 << 20 // bytes of a block here; 8 MiB are allowed
)

// writeLZ4 writes b uncompressed: as blocks of nothing but literals (LZ4 Block
// Format Description).
func writeLZ4(out *bytes.Buffer, b []byte) {
	number := func(n int) { out.Write(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	number(magicLZ4)
	for literals := range slices.Chunk(b, maxBlock) {
		token := []byte{byte(min(len(literals), 15)) << 4}
		if more := len(literals) - 15; more >= 0 {
			token = append(token, bytes.Repeat([]byte{255}, more/255)...)
			token = append(token, byte(more%255))
		}
		number(len(token) + len(literals))
		out.Write(token)
		out.Write(literals)
	}
}

// Limits of how far an initrd's archives are followed. The first one is
// uncompressed where there is microcode in it, a few files.
const (
	maxEntries = 256
	maxZeros   = 1 << 20 // bytes between two archives
)

// endsInLZ4 reports whether the last archive of an initrd is of LZ4's legacy
// format and ends where the initrd does. Archives of which only a decompressor
// knows where they end are not followed.
func endsInLZ4(r io.ReaderAt, size int64) (bool, error) {
	w := &walker{r: r, size: size}
	for w.err == nil && w.at < size {
		head := w.bytes(6)
		switch {
		case isCPIO(head):
			w.cpio()
		case len(head) > 0 && head[0] == 0:
			w.zeros()
		case len(head) >= 4 && binary.LittleEndian.Uint32(head) == magicLZ4:
			if w.blocks(); w.at == size {
				return true, w.err
			}
		default:
			return false, w.err
		}
	}
	return false, w.err
}

// walker goes from one archive to the next. It stops where it understands no
// more, by going to the end, and at the first error.
type walker struct {
	r        io.ReaderAt
	size, at int64
	err      error
}

// bytes reads n bytes, fewer at the end.
func (w *walker) bytes(n int) []byte {
	if w.err != nil {
		return nil
	}
	b := make([]byte, min(int64(n), w.size-w.at))
	if m, err := w.r.ReadAt(b, w.at); m < len(b) {
		w.err = errors.Join(err, io.ErrUnexpectedEOF)
		return nil
	}
	return b
}

// giveUp goes to where nothing follows.
func (w *walker) giveUp() { w.at = w.size + 1 }

// zeros skips zeros.
func (w *walker) zeros() {
	for from := w.at; w.err == nil && w.at < w.size; {
		b := w.bytes(512)
		rest := bytes.TrimLeft(b, "\x00")
		w.at += int64(len(b) - len(rest))
		switch {
		case len(rest) > 0:
			return
		case w.at-from > maxZeros:
			w.giveUp()
		}
	}
}

func isCPIO(b []byte) bool {
	return bytes.HasPrefix(b, []byte("070701")) || bytes.HasPrefix(b, []byte("070702"))
}

// cpio skips an uncompressed archive (cpio(5), newc).
func (w *walker) cpio() {
	const header = 110
	for range maxEntries {
		h := w.bytes(header)
		if len(h) < header || !isCPIO(h) {
			break
		}
		length, err1 := strconv.ParseUint(string(h[54:62]), 16, 32)
		name, err2 := strconv.ParseUint(string(h[94:102]), 16, 32)
		if err1 != nil || err2 != nil {
			break
		}
		w.at += header
		last := name == 11 && string(w.bytes(10)) == "TRAILER!!!"
		w.at = (w.at + int64(name) + 3) &^ 3
		w.at = (w.at + int64(length) + 3) &^ 3
		if last || w.at > w.size {
			return
		}
	}
	w.giveUp()
}

// blocks skips LZ4's blocks, also those of further archives that follow at once.
func (w *walker) blocks() {
	for w.err == nil && w.at < w.size {
		head := w.bytes(4)
		if len(head) < 4 {
			w.giveUp()
			return
		}
		switch n := int64(binary.LittleEndian.Uint32(head)); n {
		case magicLZ4:
			w.at += 4
		case 0:
			return // zeros follow
		default:
			w.at += 4 + n
		}
	}
}
